//! The panels above the table: what closing waits for, and what has failed.

use maud::{Markup, html};
use procession::support::text::Count;

use super::model::{Blocker, Frame, State};
use super::query::Query;
use super::table::{brief, link};
use super::words::clip;

pub(crate) fn blockers(frame: &Frame, mount: &str) -> Markup {
    let count: usize =
        frame.blockers.iter().map(|one| 1 + one.more).sum::<usize>() + frame.blockers_more;
    let is_running = frame.summary.state == State::Running;
    html! {
        section #blockers {
            h2 { "Waiting for" @if !is_running { " (" (Count(count)) ")" } }
            @if is_running { p.empty { "No blockers: nothing is closing." } }
            @else if frame.summary.state == State::Closed { p.empty { "Nothing: everything is Closed." } }
            @else if frame.blockers.is_empty() { p.empty { "It is not known what it waits for." } }
            ol { @for blocker in &frame.blockers { (line(blocker, mount)) } }
            @if frame.blockers_more > 0 { p.dim { "and " (Count(frame.blockers_more)) " more" } }
            // Where there is little space, only the first one is shown, until the link is followed.
            @if frame.blockers.len() > 1 {
                a.fewer href="#processes" { "▾ only the first" }
                a.others href="#blockers" { "▸ " (frame.blockers.len() - 1) " more" }
            }
        }
    }
}

/// The line of the core in columns. `Show` leads to the row of the process; the script adds `Copy`.
fn line(blocker: &Blocker, mount: &str) -> Markup {
    let key = blocker.chain.last().map(|step| step.key);
    html! {
        li {
            b.who { (blocker.who) }
            span.what { (blocker.what) }
            span.site title=(blocker.site) { (brief(&blocker.site)) }
            span.since { (blocker.since) }
            span.acts {
                @if let Some(key) = key {
                    a.button href={ (link(mount, &Query::default())) "#p" (key) } { "Show" }
                }
            }
        }
    }
}

pub(crate) fn failures(frame: &Frame, mount: &str) -> Markup {
    html! {
        section #failures {
            h2 { "Failures (" (clip(frame.summary.failed)) ")" }
            @if frame.failures.is_empty() { p.empty { "Nothing has failed." } }
            ul {
                @for failure in &frame.failures {
                    li {
                        span.mark { "✕ " } (failure.at.clock()) " "
                        b { a.label href={ (mount) "/process/" (failure.key) } { (failure.who) } } " failed: " (failure.error) " "
                        span.site title=(failure.site) { "(" (brief(&failure.site)) ")" }
                    }
                }
            }
            @if frame.failures_dropped > 0 { p.dim { (clip(frame.failures_dropped)) " older dropped" } }
        }
    }
}
