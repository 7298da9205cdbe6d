//! The page of the units, complete without a script.

use maud::{Markup, PreEscaped, html};
use procession::support::text::Count;

use super::listed::{STATES, badge};
use crate::page::headers::UNITS_SCRIPT;
use crate::page::html::{Tabs, data_of, document, header, icon};
use crate::page::model::{At, Frame, Manager, State, Unit};
use crate::page::words;

pub(crate) fn page(frame: &Frame, tabs: &Tabs<'_>) -> String {
    let (summary, program) = (&frame.summary, &frame.program);
    let states: serde_json::Map<String, serde_json::Value> = STATES
        .iter()
        .map(|(name, class, words)| ((*name).to_owned(), serde_json::json!([class, words])))
        .collect();
    let data = serde_json::json!({ "mount": tabs.mount, "states": states, "frame": frame });
    let live = html! { span #live .dim { "Updated " (frame.at.clock()) "; reloads every 5 s" } };
    let body = html! {
        (header(summary, program, tabs, "Units", live))
        main {
            section {
                h2 { "Managers" }
                @if frame.managers.is_empty() { p.empty { "No manager is shown: add it with " code { "Inspect::units" } "." } }
                ul #managers { @for manager in &frame.managers { li { (of_manager(manager)) } } }
            }
            section #units-panel {
                table #units aria-label="Units" {
                    thead {
                        tr {
                            th scope="col" { "Unit" }
                            th scope="col" { "State" }
                            th scope="col" { "For" }
                            th scope="col" { "Restarts" }
                            th scope="col" { "Next" }
                            th scope="col" { "Last error" }
                            th scope="col" { "Manager" }
                            th scope="col" { "Token" }
                        }
                    }
                    tbody #rows { @for unit in &frame.units { (tr(unit, frame.at)) } }
                }
                p #empty .empty { (empty(frame)) }
            }
        }
        (PreEscaped(format!("<script type=\"application/json\" id=\"data\">{}</script>", data_of(&data))))
        (PreEscaped(format!("<script>{UNITS_SCRIPT}</script>")))
    };
    let head = html! {
        @if summary.state != State::Closed { noscript { meta http-equiv="refresh" content="5"; } }
    };
    document(&words::title(summary, &program.name), icon(summary), head, body)
}

/// `workers: 20 units, 17 running, 2 waiting, 1 stuck · owner web-3, manager 7`
fn of_manager(manager: &Manager) -> Markup {
    let counts = [
        (manager.running, "running"),
        (manager.starting, "starting"),
        (manager.stopping, "stopping"),
        (manager.waiting, "waiting"),
        (manager.stuck, "stuck"),
        (manager.ended, "ended"),
        (manager.idle, "not running"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> =
        counts.map(|(count, word)| format!("{} {word}", Count(count))).collect();
    html! {
        b { (manager.name) } ": " (words::count(manager.units, "unit", "units"))
        @if !counts.is_empty() { ", " (counts.join(", ")) }
        @if let Some(owner) = &manager.owner {
            " · owner " (owner.program)
            @if let Some(number) = owner.manager { ", manager " (number) }
            @else { ", not registered" }
        }
    }
}

fn tr(unit: &Unit, at: At) -> Markup {
    let (class, words) = badge(unit.state);
    let next = match (unit.restart_at, unit.deadline_at, unit.aborted) {
        (Some(restart), ..) => format!("restart in {}", words::age(restart.since(at))),
        (_, Some(deadline), false) => format!("abort in {}", words::age(deadline.since(at))),
        (_, Some(deadline), true) => {
            format!("aborted; stuck in {}", words::age(deadline.since(at)))
        }
        (_, _, true) => "aborted".to_owned(),
        _ => "–".to_owned(),
    };
    let dash = || "–".to_owned();
    // On a small screen, empty cells are left out.
    html! {
        tr data-key=(unit.key) {
            td.process title=(unit.key) { (unit.key) }
            td.phase { span class={ "badge " (class) } { (words) } }
            td.for { (words::age(at.since(unit.since))) }
            td.restarts { (unit.restarts) }
            td.next.none[next == "–"] { (next) }
            td.last.none[unit.error.is_none()] title=[unit.error.as_ref()] {
                @if let Some(error) = &unit.error { span.error { (error) } } @else { "–" }
            }
            td.manager { (unit.manager) }
            td.token { (unit.token.map_or_else(dash, |token| token.to_string())) }
        }
    }
}

/// What is said below the rows.
fn empty(frame: &Frame) -> String {
    let all: usize = frame.managers.iter().map(|manager| manager.units).sum();
    match (all, frame.units.len()) {
        (0, _) => "There are no units.".to_owned(),
        (all, shown) if shown < all => {
            format!(
                "{} of {} units; those that need attention come first",
                Count(shown),
                Count(all)
            )
        }
        _ => String::new(),
    }
}
