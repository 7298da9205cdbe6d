//! The dialogs, which only the script opens: the keys, the orders, and the details of a process.

use maud::{Markup, html};

use super::query::Column;

/// The keys, and what they do.
const KEYS: [(&str, &str); 16] = [
    ("/", "filter"),
    ("Esc", "clear the filter, then leave it; close a dialog"),
    ("j, k, ↓, ↑", "next row, row before"),
    ("→", "open the row"),
    ("←", "close the row, then go to its parent"),
    ("Enter", "details"),
    ("b", "next blocker"),
    ("n", "next failed process"),
    ("o", "only open processes, or all"),
    ("s", "order"),
    ("Space", "hold the order of the rows, or release it"),
    ("g", "graph of the row"),
    ("t", "timeline"),
    ("y", "copy the row"),
    ("?", "this help"),
    ("Tab, Enter", "reach and use everything without these keys"),
];

pub(crate) fn dialogs() -> Markup {
    html! {
        dialog #help aria-label="Keys" {
            h2 { "Keys" }
            dl { @for (key, meaning) in KEYS { dt { kbd { (key) } } dd { (meaning) } } }
            (close())
        }
        dialog #sorts aria-label="Order" {
            h2 { "Order" }
            ul {
                @for column in Column::ALL {
                    li { button type="button" data-sort=(column.name()) { (words(column)) } }
                }
            }
            (close())
        }
        dialog #details aria-label="Details" { div {} (close()) }
    }
}

fn words(column: Column) -> &'static str {
    match column {
        Column::Tree => "tree: as they were made",
        Column::Name => "name",
        Column::Phase => "phase",
        Column::For => "for: how long it has been closing",
        Column::Open => "open: the number of open children",
    }
}

fn close() -> Markup {
    html! { button.close type="button" { "Close" } }
}
