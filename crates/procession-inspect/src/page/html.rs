//! The page as HTML, complete without a script.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use procession::support::text::Count;

use super::detail::Detail;
use super::headers::{SCRIPT, STYLE};
use super::model::{Frame, Program, State, Summary};
use super::query::{Column, Query, Scope};
use super::table::{link, table};
use super::words;
use super::{dialogs, panels};

/// The page of a process.
pub(crate) fn page(frame: &Frame, query: &Query, mount: &str, has_timeline: bool) -> String {
    let summary = &frame.summary;
    let name = &frame.program.name;
    let is_closed = summary.state == State::Closed;
    let last_failure = frame.failures.first().map(|failure| failure.at);
    let tabs = Tabs { mount, query, has_timeline, has_units: frame.view.managers > 0 };
    let body = html! {
        header {
            div.top {
                strong.name { (name) }
                span #program .dim { (program(frame)) }
                (navigation(&tabs, "Tree"))
                span #live .dim {
                    "Updated " (frame.at.clock()) @if !is_closed { "; reloads every 5 s" }
                }
                button #help-open type="button" aria-label="Help: keys" hidden { "?" }
            }
            div.state {
                span #badges {
                    @for (class, text) in words::badges(summary) {
                        span class={ "badge " (class) } { (text) }
                    }
                }
                @if let Some(reason) = &summary.reason { span #reason { (reason) } }
                @else { span #reason {} }
                span #deadline .right { (words::deadline(summary)) }
            }
            div.counts {
                span #counts { (words::counts(summary, last_failure)) }
                span #progress .right { (words::progress(summary)) }
            }
            p #note hidden { span #note-text {} " " button #note-button type="button" hidden {} }
            p #closed hidden[!is_closed] {
                "This page no longer updates. "
                @if has_timeline {
                    a #save-timeline href={ (mount) "/timeline.svg" } { "Download timeline" } " "
                }
                a #save-json href={ (mount) "/snapshot.json" } { "Download JSON" }
            }
        }
        p #said .quiet role="status" aria-live="polite" {}
        main {
            (panels::blockers(frame, mount))
            (panels::failures(frame, mount))
            section #processes {
                h2 { "Processes" }
                (filter(frame, query))
                (table(frame, query, mount))
            }
        }
        (dialogs::dialogs())
        (PreEscaped(format!("<script type=\"application/json\" id=\"data\">{}</script>", data(frame, mount))))
        (PreEscaped(format!("<script>{SCRIPT}</script>")))
    };
    document(
        &words::title(summary, name),
        icon(&frame.summary),
        html! {
            @if !is_closed { noscript { meta http-equiv="refresh" content="5"; } }
        },
        body,
    )
}

/// The program's pid and host; where there is little space, only the host.
fn program(frame: &Frame) -> Markup {
    html! { span.wide { "pid " (frame.program.pid) " on " } (frame.program.host) }
}

/// What `/timeline` shows while there is nothing to draw.
pub(crate) fn no_timeline(frame: &Frame, mount: &str) -> String {
    let title = format!("{}: timeline", frame.program.name);
    let body = html! {
        header {
            div.top {
                strong.name { (frame.program.name) }
                span.dim { (program(frame)) }
                nav { a href=(link(mount, &Query::default())) { "Tree" } }
            }
        }
        main {
            p.empty {
                "Nothing to draw: the timeline begins when closing does. "
                a href={ (mount) "/timeline.svg" } { "Download what there is" }
            }
        }
    };
    document(&title, icon(&frame.summary), html! {}, body)
}

/// The page of one process.
pub(crate) fn detail_page(frame: &Frame, detail: &Detail, query: &Query, mount: &str) -> String {
    let row = match &detail.process.content {
        super::model::Content::Process(row) => row,
        _ => unreachable!("the row of a process"),
    };
    let body = html! {
        header {
            div.top {
                strong.name { (detail.who) }
                nav {
                    a href=(link(mount, query)) { "Tree" }
                    @if let super::model::Key::Process(key) = detail.process.key {
                        a href=(graph_link(mount, Some(key))) { "Graph" }
                    }
                }
                span.dim { (frame.at.clock()) }
            }
        }
        main {
            dl {
                dt { "Phase" } dd { (super::table::phase(row)) }
                @if let Some(age) = row.for_ms { dt { "For" } dd { (words::age(age)) } }
                @if let Some(reason) = &row.reason { dt { "Reason" } dd { (reason.replace('_', " ")) } }
                @if let Some(work) = &row.work {
                    dt { "Work" } dd { (super::table::work_text(work)) }
                }
                dt { "Made at" } dd.site { (row.site) }
                @if let Some(age) = detail.aborting_ms { dt { "Aborted" } dd { (words::age(age)) " ago" } }
                @for slot in &detail.held_slots {
                    dt { "Held slot" } dd { (slot.site) ", for " (words::age(slot.held_ms)) }
                }
            }
            @for error in &detail.errors { h2 { "Error" } pre { (error) } }
            h2 { "Closes or waits for" }
            @if detail.edges.is_empty() { p.empty { "Nothing." } }
            ul {
                @for edge in &detail.edges {
                    li { a href={ (mount) "/process/" (edge.key) } { (edge.label) } " " span.dim { (edge.edge.replace('_', " ")) } }
                }
                @if detail.edges_more > 0 { li { "… and " (Count(detail.edges_more)) " more" } }
            }
        }
    };
    document(&detail.who, icon(&frame.summary), html! {}, body)
}

/// The page of a process that was Closed and dropped before anybody looked.
pub(crate) fn gone(program: &Program) -> String {
    let body = html! {
        header {
            div.top { strong.name { (program.name) } span.dim { "pid " (program.pid) " on " (program.host) } }
            div.state { span.badge.closed { "○ Closed" } }
        }
    };
    document(&format!("○ {}", program.name), ICONS[3], html! {}, body)
}

pub(crate) fn document(title: &str, icon: &str, head: Markup, body: Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link #icon rel="icon" href=(icon);
                (PreEscaped(format!("<style>{STYLE}</style>")))
                (head)
            }
            body { (body) }
        }
    }
    .into_string()
}

/// Pictures of the tab: Running, Closing, stalled, Closed, aborting, and a connection that is lost.
const ICONS: [&str; 6] = [
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' fill='%230b5a9c'/%3E%3C/svg%3E",
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 2a6 6 0 0 0 0 12z' fill='%237d5200'/%3E%3Ccircle cx='8' cy='8' r='6' fill='none' stroke='%237d5200' stroke-width='2'/%3E%3C/svg%3E",
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect x='2' y='2' width='12' height='12' fill='%23b3171d'/%3E%3C/svg%3E",
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='6' fill='none' stroke='%2355616d' stroke-width='2'/%3E%3C/svg%3E",
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 2l6 12H2z' fill='%235b2a86'/%3E%3C/svg%3E",
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M8 2l6 12H2z' fill='none' stroke='%23b3171d' stroke-width='2'/%3E%3C/svg%3E",
];

pub(crate) fn icon(summary: &Summary) -> &'static str {
    match summary.state {
        State::Running => ICONS[0],
        State::Closing if summary.stalled => ICONS[2],
        State::Closing => ICONS[1],
        State::Closed => ICONS[3],
        State::Aborting => ICONS[4],
    }
}

/// The frame, for the script: nothing in it can end its element.
fn data(frame: &Frame, mount: &str) -> String {
    data_of(&serde_json::json!({ "mount": mount, "icons": ICONS, "frame": frame }))
}

/// JSON in which nothing can end the element that it is in.
pub(crate) fn data_of(json: &serde_json::Value) -> String {
    json.to_string().replace('<', "\\u003c")
}

/// Where the tabs lead.
pub(crate) struct Tabs<'a> {
    pub(crate) mount: &'a str,
    pub(crate) query: &'a Query,
    pub(crate) has_timeline: bool,
    pub(crate) has_units: bool,
}

/// The tabs; `current` is the one that is shown.
fn navigation(tabs: &Tabs<'_>, current: &str) -> Markup {
    let Tabs { mount, query, .. } = tabs;
    let page = |tab: &str| (tab == current).then_some("page");
    html! {
        nav {
            a href=(link(mount, &Query::default())) aria-current=[page("Tree")] { "Tree" }
            a #graph href=(graph_link(mount, query.root)) aria-current=[page("Graph")] { "Graph" }
            @if tabs.has_timeline { a #timeline href={ (mount) "/timeline" } { "Timeline" } }
            @if tabs.has_units { a href={ (mount) "/units" } aria-current=[page("Units")] { "Units" } }
            a #json href={ (mount) "/snapshot.json?" (query) } { "JSON" }
        }
    }
}

/// The header of a page beside the tree: the program, the tabs, and the state of the root.
pub(crate) fn header(
    summary: &Summary,
    program: &Program,
    tabs: &Tabs<'_>,
    current: &str,
    live: Markup,
) -> Markup {
    html! {
        header {
            div.top {
                strong.name { (program.name) }
                span.dim { "pid " (program.pid) " on " (program.host) }
                (navigation(tabs, current))
                (live)
            }
            div.state {
                @for (class, text) in words::badges(summary) {
                    span class={ "badge " (class) } { (text) }
                }
                span.right { (words::deadline(summary)) }
            }
        }
    }
}

/// The address of the graph of a process, or of the root.
pub(crate) fn graph_link(mount: &str, key: Option<u64>) -> String {
    match key {
        Some(key) => format!("{mount}/graph?root={key}"),
        None => format!("{mount}/graph"),
    }
}

/// The filter is a form, so that it works without a script.
fn filter(frame: &Frame, query: &Query) -> Markup {
    html! {
        form #filter method="get" action="" role="search" {
            label { "Filter " input type="search" name="q" value=(query.filter) maxlength="100" placeholder="name, path or file"; }
            fieldset {
                @for scope in Scope::ALL {
                    label {
                        input type="radio" name="scope" value=(scope.name()) checked[scope.name() == frame.view.scope];
                        " " (scope.name())
                    }
                }
            }
            @if query.sort.column != Column::Tree {
                input type="hidden" name="sort" value=(query.sort.to_string());
            }
            button { "Apply" }
            span #matches .dim { (matches(frame)) }
            span #held hidden { "Order is held " button type="button" { "Resume" } }
        }
    }
}

/// `12 of 100,000 match`
fn matches(frame: &Frame) -> String {
    match frame.view.q.is_empty() {
        true => String::new(),
        false => format!("{} of {} match", Count(frame.view.matches), Count(frame.view.total)),
    }
}
