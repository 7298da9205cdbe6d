//! Events for `tracing` subscribers, and the spans that bodies run in.
//!
//! A subscriber is foreign code, so it is called with no lock of the library held, and in a catch. There are two kinds
//! of events:
//!
//! - The *phases*, at TRACE, are events of an observer that the whole program shares. The thread that calls the hooks
//!   records them, in the order in which they happened. So a closing pays only for an entry in the queue; a subscriber
//!   that blocks, or that closes a process, neither holds up a walk nor nests in one; and the events of each process
//!   are complete and in order, which effects, carried out after the lock is released, would not guarantee. They carry
//!   the path of their process instead of the caller's span, and go to the global subscriber.
//! - *Failures, aborts and stalls*, at ERROR or WARN, are rare. They are recorded on the spot, where the caller's span
//!   and a subscriber that is set only for this thread are still available. (Failures are recorded in `reports`.)
//!
//! Without a subscriber for the level, each event costs one relaxed load, that of the maximum level. For the phases,
//! that load happens when a process is made. If a subscriber is set later, it is noticed when the next process is made,
//! and the tree in which that is made is traced from then on.

use std::sync::Arc;
use std::time::Duration;

use ::tracing::level_filters::LevelFilter;
use ::tracing::{Level, Span, enabled, event, info_span};

use super::Node;
use super::catch::{catch, contain};
use crate::value::text::{Elapsed, Processes};
use crate::value::time::millis;
use crate::value::{Blocker, Blockers, Event, EventKind, Label, Snapshot, Stall};

/// Might a subscriber want the phases? One relaxed load.
#[inline]
pub(super) fn may_trace_phases() -> bool {
    is_on(LevelFilter::TRACE)
}

#[inline]
fn is_on(level: LevelFilter) -> bool {
    ::tracing::level_filters::STATIC_MAX_LEVEL >= level && LevelFilter::current() >= level
}

/// Does the subscriber want the phases?
#[inline]
pub(super) fn traces_phases() -> bool {
    let wants = || catch(|| enabled!(target: "procession", Level::TRACE));
    may_trace_phases() && wants().unwrap_or(false)
}

/// Records an event at TRACE. Called by the thread that calls the hooks.
pub(super) fn phase(event: &Event) {
    let (process, name) = (event.path(), event.kind.name());
    match &event.kind {
        EventKind::Closing(reason) => event!(
            target: "procession", Level::TRACE, event = name, process, reason = %reason, "{event}"
        ),
        EventKind::Closed { outcome, closing_for } => event!(
            target: "procession", Level::TRACE, event = name, process,
            closing_ms = millis(*closing_for),
            outcome = if outcome.is_ok() { "ok" } else { "failed" }, "{event}"
        ),
        // It was recorded at once, at ERROR or WARN.
        EventKind::Failed(_) => {}
        _ => event!(target: "procession", Level::TRACE, event = name, process, "{event}"),
    }
}

/// Records that the subscriber was too slow.
pub(super) fn missed(count: u64) {
    event!(
        target: "procession", Level::WARN, event = "missed", count,
        "the subscriber was too slow: {}", EventKind::Missed { count }
    );
}

/// Might a subscriber want warnings? One relaxed load.
pub(super) fn may_warn() -> bool {
    is_on(LevelFilter::WARN)
}

/// Might a subscriber want errors? One relaxed load.
pub(super) fn may_want_errors() -> bool {
    is_on(LevelFilter::ERROR)
}

/// Records that the process with this label is being aborted, by a direct abort.
pub(super) fn aborting(label: &Label) {
    contain(|| {
        if enabled!(target: "procession", Level::WARN) {
            event!(
                target: "procession", Level::WARN, event = "aborting", process = label.path(),
                site = %label.site(), "{label} is being aborted"
            );
        }
    });
}

/// A closing that is slow, for [`stalled`].
pub(crate) struct SlowClosing<'a> {
    pub(crate) message: &'a str,
    pub(crate) process: &'a str,
    pub(crate) closing: Duration,
    /// The number of processes that are not Closed.
    pub(crate) open: usize,
    /// The number of items that prevent the process from closing.
    pub(crate) blockers: usize,
    /// The rest of the grace, if there is one.
    pub(crate) abort_in: Option<Duration>,
    pub(crate) next_report: Duration,
}

/// Records that a closing is slow.
pub(crate) fn stalled(slow: &SlowClosing<'_>) {
    let SlowClosing { message, process, closing, open, blockers, abort_in, next_report } = *slow;
    let (closing_ms, next_report_ms) = (millis(closing), millis(next_report));
    event!(
        name: "stalled", target: "procession", Level::WARN, event = "stalled", process, closing_ms,
        open, blockers, abort_in_ms = abort_in.map(millis), next_report_ms, "{message}"
    );
}

/// Records the items that prevent a process from closing. `paths` has the path of each item's process.
pub(crate) fn blocked_by(items: &Blockers, paths: &[String]) {
    for item in texts(items, paths) {
        let ItemTexts { item, process, chain, site } = &item;
        let (kind, thread) = (item.kind.name(), item.thread.as_deref());
        let (for_ms, more) = (item.age.map(millis), item.more);
        event!(
            name: "blocked_by", target: "procession", Level::WARN, event = "blocked_by", process,
            chain, kind, thread, site, for_ms, more, "{item}"
        );
    }
}

/// Records the teardowns that will not run, because the program ends.
#[cfg(all(feature = "signal", any(unix, windows)))]
pub(crate) fn will_not_run(teardowns: &Blockers, paths: &[String]) {
    for item in texts(teardowns, paths) {
        let ItemTexts { item, process, chain, site } = &item;
        event!(
            name: "will_not_run", target: "procession", Level::ERROR, event = "will_not_run",
            process, chain, site, more = item.more, "{item}"
        );
    }
}

/// The texts in the event of an item.
struct ItemTexts<'a> {
    item: &'a Blocker,
    process: &'a str,
    chain: String,
    site: String,
}

fn texts<'a>(items: &'a Blockers, paths: &'a [String]) -> impl Iterator<Item = ItemTexts<'a>> {
    items.first.iter().zip(paths).map(|(item, process)| ItemTexts {
        item,
        process,
        chain: item.name().to_string(),
        site: item.site.to_string(),
    })
}

/// Records the slow closing of a process with a hook for that, and the items in the snapshot that prevent it.
pub(super) fn stalled_with_hook(stall: &Stall, snapshot: &Snapshot) {
    if !may_warn() {
        return;
    }
    contain(|| {
        if !enabled!(target: "procession", Level::WARN) {
            return;
        }
        let Stall { process, closing_for, open, blockers, next } = stall;
        let (elapsed, processes) = (Elapsed(*closing_for), Processes(*open));
        stalled(&SlowClosing {
            message: &format!("still closing after {elapsed}, {processes} open"),
            process: &process.path(),
            closing: *closing_for,
            open: *open,
            blockers: blockers.total,
            abort_in: None,
            next_report: *next,
        });
        blocked_by(blockers, &snapshot.paths(blockers));
    });
}

/// The span of a body. It is boxed, because every async body has space for one.
pub(super) struct BodySpan(Option<Box<Span>>);

impl BodySpan {
    /// The span of a body that a thread or a spawner runs. It has no parent span, because the field `process` is the
    /// whole path.
    #[inline]
    pub(super) fn root(node: &Arc<Node>) -> Option<Self> {
        Self::new(|| {
            let process = node.label().path();
            info_span!(target: "procession", parent: None, "body", process)
        })
    }

    /// The span of a body that its caller polls. Its parent is the caller's span.
    #[inline]
    pub(super) fn inside(node: &Arc<Node>) -> Option<Self> {
        Self::new(|| info_span!(target: "procession", "body", process = node.label().path()))
    }

    /// The span, if a subscriber wants it.
    #[inline]
    fn new(make: impl FnOnce() -> Span) -> Option<Self> {
        if !is_on(LevelFilter::INFO) {
            return None;
        }
        let make = || {
            let is_wanted = enabled!(target: "procession", Level::INFO);
            is_wanted.then(|| Self(Some(Box::new(make()))))
        };
        catch(make).unwrap_or(None)
    }

    /// Runs code of the body inside the span. `run` must not panic.
    #[inline]
    pub(super) fn run<R>(&self, run: impl FnOnce() -> R) -> R {
        let Some(span) = self.0.as_deref() else { return run() };
        let entered = catch(|| span.enter());
        let result = run();
        contain(|| drop(entered));
        result
    }
}

impl Drop for BodySpan {
    #[inline]
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            contain(|| drop(span));
        }
    }
}
