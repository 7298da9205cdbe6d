//! The reports of `Main` as `tracing` events.

use tracing::Level;

use super::report::{Listed, Next, Paint, Report, Waiting};
use crate::run::tracing::{SlowClosing, blocked_by, stalled, will_not_run};
use crate::value::text::Signal;
use crate::value::time::millis;

/// Records an event with this name. With a condition, the event has the first level if the condition holds, otherwise
/// the second. This is a macro, because a level must be a constant.
macro_rules! event {
    ($condition:expr, $level:expr, $other:expr, $name:literal, $message:expr, $($field:tt)*) => {
        if $condition {
            event!($level, $name, $message, $($field)*)
        } else {
            event!($other, $name, $message, $($field)*)
        }
    };
    ($level:expr, $name:literal, $message:expr, $($field:tt)*) => {
        tracing::event!(
            name: $name,
            target: "procession",
            $level,
            event = $name,
            $($field)*
            "{}",
            $message
        )
    };
}

/// Does a subscriber want the reports of `Main`?
pub(super) fn are_wanted() -> bool {
    tracing::enabled!(target: "procession", Level::WARN)
}

/// Records the report. `process` is the path of the root.
pub(super) fn record(report: &Report, process: &str, grace: Option<std::time::Duration>) {
    let message = report.message(Paint(false));
    let grace_ms = grace.map(millis);
    match report {
        Report::Closing { signal, .. } | Report::AlreadyClosing { signal, .. } => {
            record_signal(*signal, 1, &message, process, grace_ms)
        }
        Report::Aborting { signal, .. } => record_signal(*signal, 2, &message, process, grace_ms),
        Report::Exiting { signal, .. } => record_signal(*signal, 3, &message, process, grace_ms),
        Report::Stalled { closing, next_report, next, waiting } => {
            let abort_in = match next {
                Next::Abort(left) => Some(*left),
                _ => None,
            };
            stalled(&SlowClosing {
                message: &message,
                process,
                closing: *closing,
                open: waiting.open,
                blockers: waiting.listed.items.total,
                abort_in,
                next_report: *next_report,
            });
        }
        Report::GraceOver { grace, waiting, .. } => {
            let (grace_ms, aborted) = (millis(*grace), waiting.open);
            event!(Level::WARN, "grace_over", message, process, grace_ms, aborted,);
        }
        Report::GaveUp { abort_grace, code, waiting, teardowns, .. } => {
            let (abort_grace_ms, open, exit_code) = (millis(*abort_grace), waiting.open, *code);
            let teardowns = teardowns.items.total;
            event!(
                Level::ERROR,
                "gave_up",
                message,
                process,
                abort_grace_ms,
                open,
                teardowns,
                exit_code,
            );
        }
        // Failures are recorded where they happen.
        Report::Failed { .. } | Report::Lost { .. } => {}
        Report::Closed(summary) => {
            let (closing_ms, outcome) = (millis(summary.closing), summary.outcome());
            let (failures, exit_code) = (summary.failures, summary.code);
            let aborted = summary.forced.as_ref().map_or(0, |(total, _)| *total);
            event!(
                outcome == "ok",
                Level::INFO,
                Level::WARN,
                "closed",
                message,
                process,
                closing_ms,
                outcome,
                failures,
                aborted,
                exit_code,
            );
        }
        Report::EndFailed { .. } => event!(Level::ERROR, "end_failed", message, process,),
        Report::Dump { tree } => event!(Level::WARN, "dump", tree, process,),
    }
    if let Some(Waiting { listed: Listed { items, paths }, .. }) = report.waiting() {
        blocked_by(items, paths);
    }
    if let Some(Listed { items, paths }) = report.teardowns() {
        will_not_run(items, paths);
    }
}

fn record_signal(signal: i32, stage: u32, message: &str, process: &str, grace_ms: Option<u64>) {
    let signal = Signal(signal).to_string();
    let signal = signal.as_str();
    event!(
        stage == 1,
        Level::INFO,
        Level::WARN,
        "signal",
        message,
        process,
        signal,
        stage,
        grace_ms,
    );
}
