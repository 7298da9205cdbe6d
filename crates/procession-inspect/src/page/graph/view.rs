//! The page around a graph. It needs no script.

use maud::{PreEscaped, html};

use crate::page::html::{Tabs, document, graph_link, header, icon};
use crate::page::sample::Sample;
use crate::page::table::link;
use crate::page::words;

use super::svg;

/// The page with the graph below a process.
pub(crate) fn page(sample: &Sample, top: u32, tabs: &Tabs<'_>) -> String {
    let key = sample.key(top);
    let (mount, label) = (tabs.mount, sample.texts.label(sample.process(top)));
    let tree = tabs.query.with_root((top != 0).then_some(key));
    with_head(
        sample,
        tabs,
        html! {
            p {
                "Processes that " b { (label) } " closes or waits for, at " (sample.at.clock()) " UTC. "
                a href=(graph_link(mount, tabs.query.root)) { "Refresh" } " · "
                a href={ (mount) "/graph.svg?root=" (key) } download={ "graph-" (key) ".svg" } { "Download SVG" } " · "
                a href=(link(mount, &tree)) { "Show in the tree" } " · "
                a href={ (mount) "/process/" (key) } { "Details" }
                @if top != 0 { " · " a href=(graph_link(mount, None)) { "Graph of " (sample.program.name) } }
            }
            div.picture tabindex="0" role="region" aria-label="Graph" { (PreEscaped(svg(sample, top, false))) }
        },
    )
}

/// The page for a process that is not known.
pub(crate) fn unknown(sample: &Sample, tabs: &Tabs<'_>) -> String {
    with_head(
        sample,
        tabs,
        html! {
            p.empty {
                "There is no such process: it may be Closed. "
                a href=(graph_link(tabs.mount, None)) { "Graph of " (sample.program.name) }
            }
        },
    )
}

fn with_head(sample: &Sample, tabs: &Tabs<'_>, content: maud::Markup) -> String {
    let (summary, program) = (&sample.summary, &sample.program);
    let body = html! {
        (header(summary, program, tabs, "Graph", html! {}))
        main { (content) }
    };
    document(&words::title(summary, &program.name), icon(summary), html! {}, body)
}
