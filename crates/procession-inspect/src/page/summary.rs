//! The state of the root, and the items that prevent it from closing.

use std::time::Duration;

use procession::support::text::Escaped;
use procession::support::{columns, renamed};
use procession::{Phase, Reason, Snapshot};
use serde::Serialize;

use super::facts::Facts;
use super::model::{Blocker, State, Step, Summary};
use super::texts::Texts;

/// The number of blockers that are listed.
const BLOCKERS: usize = 16;

/// A root that has been Closing for this long is stalled.
const STALLED: Duration = Duration::from_secs(5);

/// An abort this long before the end of the grace is considered to be because of it.
const TOLERANCE: Duration = Duration::from_millis(20);

/// The maximum number of characters of a blocker's line.
const LINE_LIMIT: usize = 600;

pub(crate) fn summary(snapshot: &Snapshot, facts: &Facts<'_>) -> Summary {
    let root = snapshot.root();
    let state = match (root.phase(), root.is_aborting()) {
        (Phase::Running, _) => State::Running,
        (Phase::Closing, false) => State::Closing,
        (Phase::Closing, true) => State::Aborting,
        (Phase::Closed, _) => State::Closed,
    };
    let (mut running, mut closing, mut aborting) = (0, 0, 0);
    for process in snapshot.processes() {
        match (process.phase(), process.is_aborting()) {
            (Phase::Running, _) => running += 1,
            (Phase::Closing, false) => closing += 1,
            (Phase::Closing, true) => aborting += 1,
            (Phase::Closed, _) => {}
        }
    }
    let closing_for = match &facts.outcome {
        Some((_, closing_for)) => Some(*closing_for),
        None => root.closing_for(),
    };
    let aborting_for = root.aborting_for().filter(|_| state == State::Aborting);
    let since_closed =
        facts.tally.last_closed.map(|last| facts.now.saturating_duration_since(last));
    let left = |limit: Option<Duration>, since: Option<Duration>| {
        Some(millis(limit?.saturating_sub(since?)))
    };
    let deadlines = facts.deadlines;
    let grace = deadlines.and_then(|deadlines| deadlines.grace);
    let abort_grace = deadlines.and_then(|deadlines| deadlines.abort_grace);
    let exit_in_ms = left(abort_grace, aborting_for);
    // Outside of `Main`, a deadline that had to abort leaves an error in the outcome, which is not a failure of the
    // root.
    let has_own_failure = || facts.tally.failures.iter().any(|failed| failed.id == root.id());
    let is_forced = deadlines.is_none() && root.is_aborting() && root.has_failed();
    Summary {
        state,
        stalled: state != State::Closed && closing_for.is_some_and(|age| age >= STALLED),
        reason: root.reason().filter(|_| state != State::Running).map(reason),
        closing_ms: closing_for.map(millis),
        aborting_ms: aborting_for.map(millis),
        last_closed_ms: closing_for.filter(|_| state != State::Closed).map(|closing_for| {
            millis(since_closed.map_or(closing_for, |since| since.min(closing_for)))
        }),
        closed_recently: facts.tally.recently(facts.now),
        abort_in_ms: left(grace, closing_for).filter(|_| state == State::Closing),
        exit_in_ms,
        exit_code: deadlines.filter(|_| exit_in_ms.is_some()).map(|all| all.code_by_force),
        grace_over: is_forced && !has_own_failure()
            || aborting_for.zip(closing_for).zip(grace).is_some_and(
                |((aborting_for, closing_for), grace)| {
                    closing_for.saturating_sub(aborting_for) + TOLERANCE >= grace
                },
            ),
        up_ms: millis(facts.up),
        running,
        closing,
        aborting,
        closed: facts.tally.closed,
        failed: facts.tally.failed,
        is_main: deadlines.is_some(),
        outcome: facts.outcome.as_ref().map(|(outcome, _)| facts.texts.error(outcome)),
    }
}

/// The first blockers of a root that is closing, and the number of those that are neither listed nor folded.
pub(crate) fn blockers(snapshot: &Snapshot, keys: &[u64], texts: &Texts) -> (Vec<Blocker>, usize) {
    if snapshot.root().phase() == Phase::Running {
        return (Vec::new(), 0);
    }
    let blockers = snapshot.blockers(BLOCKERS);
    let more = blockers.more();
    let listed = blockers.first.into_iter().map(|blocker| {
        let blocker = match texts.is_redacted() {
            true => renamed(blocker, &|name| texts.raw(name).into_owned()),
            false => blocker,
        };
        let text = blocker.to_string();
        let line = |text: &str| Escaped { text, limit: LINE_LIMIT }.to_string();
        let [who, what, since] = columns(&blocker).map(|part| line(&part));
        let chain = blocker.chain.iter().map(|step| Step {
            key: keys[step.process],
            label: Escaped { text: &step.label(), limit: 60 }.to_string(),
            edge: step.link.map(word),
        });
        Blocker {
            kind: blocker.kind.name(),
            chain: chain.collect(),
            skipped: blocker.skipped,
            thread: blocker
                .thread
                .as_deref()
                .map(|name| Escaped { text: name, limit: 60 }.to_string()),
            site: blocker.site.to_string(),
            for_ms: blocker.age.map(millis),
            aborting_ms: blocker.aborting_for.map(millis),
            behind: blocker.behind,
            more: blocker.more,
            text: line(&text),
            who,
            what,
            since,
        }
    });
    (listed.collect(), more)
}

/// The reason in words; a signal by its name.
fn reason(reason: &Reason) -> String {
    match reason {
        // Its label is a name.
        Reason::ChildFailed(_) => "a child failed".to_owned(),
        reason => reason.to_string(),
    }
}

/// The stable name that the core has for a value.
pub(crate) fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "none".to_owned(),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
