//! The table of processes as HTML.

use maud::{Markup, html};
use procession::support::text::Count;

use super::model::{Content, Fold, Frame, Key, Process, Row, Work};
use super::query::{Column, Query};
use super::rows::PROCESSES;
use super::words;

/// The number of levels that are indented.
const LEVELS: usize = 12;

pub(crate) fn table(frame: &Frame, query: &Query, mount: &str) -> Markup {
    html! {
        table #table role="treegrid" aria-label="Processes" tabindex="-1" {
            thead role="rowgroup" {
                tr {
                    (header(query, mount, Column::Name, "Process"))
                    (header(query, mount, Column::Phase, "Phase"))
                    (header(query, mount, Column::For, "For"))
                    th scope="col" role="columnheader" { "Work" }
                    (header(query, mount, Column::Open, "Open"))
                    th scope="col" role="columnheader" { "Waits for" }
                    th scope="col" role="columnheader" { "Site" }
                }
            }
            tbody #rows role="rowgroup" {
                @for row in &frame.rows { (tr(row, frame, query, mount)) }
            }
        }
        p #empty .empty { (empty(frame, query, mount)) }
    }
}

/// What is said instead of rows, or below them.
fn empty(frame: &Frame, query: &Query, mount: &str) -> Markup {
    let view = &frame.view;
    html! {
        @if view.total > PROCESSES {
            "There are more than 1,000,000 processes: only the counts, the blockers and the failures are shown."
        } @else if view.matches == 0 && !view.q.is_empty() {
            "No process matches “" (view.q) "”. "
            a href=(link(mount, &query.with_filter(""))) { "Clear filter" }
        } @else if view.matches == 0 {
            "No process is “" (view.scope) "”. "
            a href=(link(mount, &query.with_scope(super::query::Scope::All))) { "Show all" }
        } @else if view.total == 1 {
            (frame.program.name) " has no children yet."
        } @else if view.hidden > 0 && query.sort.column != Column::Tree {
            (Count(view.rows)) " of " (Count(view.matches)) "; filter to see others"
        } @else if view.hidden > 0 {
            (Count(view.hidden)) " more processes are not shown; filter to see them"
        }
        @if view.root.is_some() {
            " " a href=(link(mount, &query.with_root(None))) { "Show the whole tree" }
        }
    }
}

/// The script makes the same after the order has changed.
fn header(query: &Query, mount: &str, column: Column, text: &str) -> Markup {
    let is_tree = column == Column::Name && query.sort.column == Column::Tree;
    let (sorted, sign) = match (query.sort.column == column, query.sort.is_reversed) {
        (false, _) => (None, if is_tree { " ▲" } else { "" }),
        (true, false) => (Some("ascending"), " ▲"),
        (true, true) => (Some("descending"), " ▼"),
    };
    html! {
        th scope="col" role="columnheader" data-sort=(column.name()) aria-sort=[sorted] {
            a href=(link(mount, &query.sorted_by(column))) { (text) (sign) }
            @if is_tree { span.dim { " tree" } }
            @else if column == Column::Name {
                a.dim href=(link(mount, &query.sorted_by(Column::Tree))) { " tree" }
            }
        }
    }
}

fn tr(row: &Row, frame: &Frame, query: &Query, mount: &str) -> Markup {
    match &row.content {
        Content::Process(process) => process_tr(row, process, query, mount),
        Content::Fold { fold } => fold_tr(row, fold, query, mount),
        Content::Reference { reference } => html! {
            tr role="row" id={ "p" (row.key) } data-key=(row.key) aria-level=(row.depth + 1) {
                td.process role="gridcell" {
                    (indent(row.depth)) "↗ " a href={ (mount) "/process/" (reference.to) } { (reference.label) }
                    @if !reference.see.is_empty() { span.dim { " (see " (reference.see) ")" } }
                }
                td role="gridcell" colspan="6" {}
            }
        },
        Content::Next { next } => html! {
            tr role="row" id={ "p" (row.key) } data-key=(row.key) aria-level=(row.depth + 1) {
                td.process role="gridcell" colspan="7" {
                    (indent(row.depth))
                    a href=(link(mount, &query.with_fold(&next.fold, next.pages + 1))) { "Next 100" }
                    span.dim { " of " (Count(next.count)) " more in " (frame.program.name) }
                }
            }
        },
    }
}

fn process_tr(row: &Row, process: &Process, query: &Query, mount: &str) -> Markup {
    let Key::Process(key) = row.key else { return html! {} };
    let arrow = match process.expanded {
        Some(true) => Some(("▾", false)),
        Some(false) => Some(("▸", true)),
        None => None,
    };
    let mut class = String::new();
    for (is_set, name) in
        [(process.dimmed, "above "), (process.blocks, "blocks "), (process.gone.is_some(), "gone")]
    {
        if is_set {
            class += name;
        }
    }
    let expanded = process.expanded.map(|is_expanded| is_expanded.to_string());
    html! {
        tr role="row" class=(class) id={ "p" (key) } data-key=(key) aria-level=(row.depth + 1) aria-expanded=[expanded] {
            td.process role="gridcell" {
                (indent(row.depth))
                @match arrow {
                    Some((sign, opens)) => {
                        a.arrow href=(link(mount, &query.with_process(key, opens)))
                            aria-label=(if opens { "open" } else { "close" }) { (sign) }
                    }
                    None => span.arrow {},
                }
                @if matches!(process.edge.as_deref(), Some("wait_for" | "close_after" | "blocked" | "slot_wait" | "children_wait" | "body_wait")) { "⇢ " }
                a.label href={ (mount) "/process/" (key) } {
                    (process.who.as_ref().unwrap_or(&process.label))
                }
                @if process.blocks { " " span.tag { "■ BLOCKS" } }
            }
            td.phase role="gridcell" { (phase(process)) }
            td.for role="gridcell" { (process.for_ms.map_or_else(|| "–".to_owned(), words::age)) }
            td.work.none[process.error.is_none() && process.work.is_none()] role="gridcell" {
                @match (&process.error, &process.work) {
                    (Some(error), _) => { span.error { (error) } },
                    (None, Some(work)) => { (work_text(work)) },
                    (None, None) => "–",
                }
            }
            td.open role="gridcell" { (dash(process.open)) }
            td.waits role="gridcell" { (waits(process)) }
            td.site role="gridcell" title=(process.site) { (brief(&process.site)) }
        }
    }
}

fn fold_tr(row: &Row, fold: &Fold, query: &Query, mount: &str) -> Markup {
    let key = row.key.to_string();
    let (sign, pages) = if fold.shown > 0 { ("▾", 0) } else { ("▸", 1) };
    html! {
        tr.fold role="row" id={ "p" (key) } data-key=(key) aria-level=(row.depth + 1) aria-expanded=((fold.shown > 0).to_string()) {
            td.process role="gridcell" {
                (indent(row.depth))
                a.arrow href=(link(mount, &query.with_fold(&key, pages))) { (sign) }
                a.label href=(link(mount, &query.with_fold(&key, pages))) { (fold.text) }
            }
            td.phase role="gridcell" { (fold_counts(fold)) }
            td.for role="gridcell" { (fold.for_ms.map_or_else(|| "–".to_owned(), words::age)) }
            td.work role="gridcell" {
                @match &fold.work {
                    Some(work) => { (Count(fold.count)) " × " (words::work(work)) },
                    None => "–",
                }
            }
            td.open role="gridcell" { "–" }
            td.waits role="gridcell" { "–" }
            td.site role="gridcell" { "" }
        }
    }
}

/// `37 closing`
pub(crate) fn fold_counts(fold: &Fold) -> String {
    let counts = [
        (fold.running, "running"),
        (fold.closing, "closing"),
        (fold.aborting, "aborting"),
        (fold.closed, "closed"),
        (fold.failed, "failed"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    counts.map(|(count, word)| format!("{} {word}", Count(count))).collect::<Vec<_>>().join(", ")
}

/// The badge of a phase.
pub(crate) fn phase(process: &Process) -> Markup {
    let (class, text) = phase_words(process);
    html! { span class={ "badge " (class) } { (text) } }
}

/// A phase: a class, and a sign with a word.
pub(crate) fn phase_words(process: &Process) -> (&'static str, &'static str) {
    match (process.phase, process.aborting, process.failed) {
        (_, _, true) => ("failed", "✕ Failed"),
        ("closing", true, _) => ("aborting", "▲ Aborting"),
        ("closing", ..) => ("closing", "◐ Closing"),
        ("closed", ..) => ("closed", "○ Closed"),
        _ => ("running", "● Running"),
    }
}

/// ``thread body `cache-refresh`, 3 h 05 min``
pub(crate) fn work_text(work: &Work) -> String {
    let mut text = words::work(&work.kind).to_owned();
    if let Some(thread) = &work.thread {
        text += &format!(" `{thread}`");
    }
    if let Some(age) = work.for_ms {
        text += &format!(", {}", words::age(age));
    }
    text
}

fn waits(process: &Process) -> String {
    let mut waits: Vec<String> = process.waits_for.iter().map(|wait| wait.label.clone()).collect();
    if process.waits_more > 0 {
        waits.push(format!("{} more", Count(process.waits_more)));
    }
    if process.open > 0 && process.phase == "closing" {
        waits.push(words::count(process.open, "child", "children"));
    }
    if waits.is_empty() { "–".to_owned() } else { waits.join(", ") }
}

/// The file and the line, without the directories above the last one.
pub(crate) fn brief(site: &str) -> &str {
    let mut slashes = site.rmatch_indices(['/', '\\']);
    slashes.nth(1).map_or(site, |(position, _)| &site[position + 1..])
}

fn dash(count: usize) -> String {
    if count == 0 { "–".to_owned() } else { Count(count).to_string() }
}

/// Empty elements of a fixed width, because no element has a style of its own.
fn indent(depth: usize) -> Markup {
    html! {
        @for _ in 0..depth.min(LEVELS) { i.in {} }
        @if depth > LEVELS { span.dim { "⋯" } }
    }
}

/// The address of a query.
pub(crate) fn link(mount: &str, query: &Query) -> String {
    let query = query.to_string();
    // A router that is nested does not know its own address with a slash at the end.
    let page = if mount.is_empty() { "/" } else { mount };
    if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") }
}
