//! The words of the page, which the script and the server share with the texts of the core.

use std::time::Duration;

use procession::support::text::{Count, Elapsed, Span};

use super::model::{At, State, Summary};

/// The words for a kind of work.
pub(crate) fn work(kind: &str) -> &'static str {
    match kind {
        "thread_body" => "thread body",
        "async_body" => "async body",
        "teardown" => "teardown",
        "async_teardown" => "async teardown",
        "teardown_queued" => "teardown, queued",
        "hook" => "closing hook",
        "future" => "future",
        "failure_hook" => "failure hook or subscriber",
        _ => "",
    }
}

/// `12.4 s`
pub(crate) fn age(millis: u64) -> String {
    Elapsed(Duration::from_millis(millis)).to_string()
}

fn span(millis: u64) -> String {
    Span(Duration::from_millis(millis / 100 * 100)).to_string()
}

pub(crate) fn clip(count: u64) -> Count {
    Count(usize::try_from(count).unwrap_or(usize::MAX))
}

/// `1 process`, `3 processes`.
pub(crate) fn count(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", Count(count), if count == 1 { one } else { many })
}

/// A badge: a class, a sign and words.
pub(crate) type Badge = (&'static str, String);

/// The badges of the header.
pub(crate) fn badges(summary: &Summary) -> Vec<Badge> {
    let closing = summary.closing_ms.map(age).unwrap_or_default();
    let mut badges = vec![match summary.state {
        State::Running => ("running", format!("● Running {}", age(summary.up_ms))),
        State::Closing => ("closing", format!("◐ Closing {closing}")),
        State::Aborting => {
            let aborting = summary.aborting_ms.map(age).unwrap_or_default();
            ("aborting", format!("▲ Aborting {aborting} (closing {closing})"))
        }
        State::Closed => ("closed", format!("○ Closed after {closing}")),
    }];
    if summary.stalled && summary.state != State::Aborting {
        badges.push(("stalled", "■ STALLED".to_owned()));
    }
    badges
}

/// The time that is left, and the end of it.
pub(crate) fn deadline(summary: &Summary) -> String {
    match summary.state {
        State::Running => String::new(),
        State::Closing => match summary.abort_in_ms {
            Some(left) => format!("grace ends in {}, then abort", span(left)),
            None if summary.is_main => "no deadline: send the signal again to abort".to_owned(),
            None => "no deadline".to_owned(),
        },
        State::Aborting => {
            let by = if summary.grace_over { "aborted by grace" } else { "aborted" };
            match (summary.exit_in_ms, summary.exit_code) {
                (Some(left), Some(code)) => {
                    format!("{by} · exit in {} with code {code}", span(left))
                }
                _ => by.to_owned(),
            }
        }
        State::Closed => summary.outcome.clone().unwrap_or_default(),
    }
}

/// `44 open: 1 running, 43 closing · 66 closed · 1 failed`; while nothing is closing, the time of the last failure too.
pub(crate) fn counts(summary: &Summary, last_failure: Option<At>) -> String {
    let mut parts = Vec::new();
    let of = |number: usize, word: &str| (number > 0).then(|| format!("{} {word}", Count(number)));
    let kinds = [
        of(summary.running, "running"),
        of(summary.closing, "closing"),
        of(summary.aborting, "aborting"),
    ];
    let kinds: Vec<String> = kinds.into_iter().flatten().collect();
    let open = Count(summary.open());
    match kinds.is_empty() || summary.state == State::Running && summary.closing == 0 {
        true => parts.push(format!("{open} open")),
        false => parts.push(format!("{open} open: {}", kinds.join(", "))),
    }
    if summary.state != State::Running {
        parts.push(format!("{} closed", clip(summary.closed)));
    }
    parts.push(format!("{} failed", clip(summary.failed)));
    if summary.state == State::Running {
        parts.push(format!("last failure {}", last_failure.map_or("–".to_owned(), At::clock)));
    }
    parts.join(" · ")
}

/// Is there progress?
pub(crate) fn progress(summary: &Summary) -> String {
    match (summary.state, summary.closed_recently, summary.last_closed_ms) {
        (State::Running | State::Closed, ..) => String::new(),
        (_, 0, Some(last)) => format!("nothing closed for {}", age(last)),
        (_, recently, _) => {
            format!("{} closed in the last second", clip(recently))
        }
    }
}

/// The title of the tab, which is seen in the background.
pub(crate) fn title(summary: &Summary, name: &str) -> String {
    let seconds = summary.closing_ms.unwrap_or(0) / 1000;
    match summary.state {
        State::Running => format!("● {name}"),
        State::Closing if summary.stalled => format!("■ {seconds} s {name}"),
        State::Closing => format!("◐ {seconds} s {name}"),
        State::Aborting => format!("▲ {name}"),
        State::Closed => format!("○ {name}"),
    }
}
