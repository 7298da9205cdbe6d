//! [`Listed`]: the managers and their units, as they are shown.
//!
//! *No lock is held while a source is asked*, because a sample asks its sources when a frame is made, which holds none.
//! A source that panics is left out.

use std::sync::Arc;

use procession::support::catch;

use crate::page::model::{At, Manager, Unit};
use crate::page::texts::Texts;

/// The maximum number of units that are listed.
pub(crate) const UNITS: usize = 500;

/// The maximum number of managers that are listed.
const MANAGERS: usize = 32;

/// The difference in milliseconds by which the times of two frames may differ, because clocks differ.
const TOLERANCE: u64 = 50;

/// The states of units, those that need attention first: as in the JSON, and the class and the words of a badge.
pub(crate) const STATES: [(&str, &str, &str); 10] = [
    ("stuck", "stalled", "■ Stuck"),
    ("given_up", "failed", "✕ Given up"),
    ("waiting", "closing", "◐ Waiting for its restart"),
    ("stopping", "closing", "◐ Stopping"),
    ("loading", "running", "◌ Loading"),
    ("starting", "running", "◌ Starting"),
    ("initial", "closed", "○ Not started"),
    ("running", "running", "● Running"),
    ("ended", "closed", "○ Ended"),
    ("stopped", "closed", "○ Stopped"),
];

/// A manager, and at most [`UNITS`] of its units, those that need attention first. The time is that of the sample.
pub(crate) type Source = Arc<dyn Fn(&Texts, At) -> (Manager, Vec<Unit>) + Send + Sync>;

/// The sources of a page.
pub(crate) type Sources = Arc<[Source]>;

#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) managers: Vec<Manager>,
    pub(crate) units: Vec<Unit>,
}

impl Listed {
    pub(crate) fn new(sources: &Sources, texts: &Texts, at: At) -> Self {
        let mut listed = Self::default();
        for source in sources.iter().take(MANAGERS) {
            if let Ok((manager, units)) = catch(|| source(texts, at)) {
                listed.managers.push(manager);
                listed.units.extend(units);
            }
        }
        listed.units.sort_by_key(|unit| rank(unit.state));
        listed.units.truncate(UNITS);
        listed
    }
}

fn rank(state: &str) -> usize {
    STATES.iter().position(|(name, ..)| *name == state).unwrap_or(STATES.len())
}

/// The class and the words of the badge of a state.
pub(crate) fn badge(state: &str) -> (&'static str, &'static str) {
    STATES.get(rank(state)).map_or(("closed", "○"), |&(_, class, words)| (class, words))
}

/// Keeps a time of the frame before if the new one differs only because two clocks differ, so that a unit that has not
/// changed is equal to what it was.
pub(crate) fn settle(before: &[Unit], units: &mut [Unit]) {
    let known: std::collections::HashMap<(&str, &str), &Unit> =
        before.iter().map(|unit| ((&*unit.manager, &*unit.key), unit)).collect();
    let take = |from: At, to: &mut At| {
        if from.0.abs_diff(to.0) <= TOLERANCE {
            *to = from;
        }
    };
    for unit in units {
        let Some(before) = known.get(&(&*unit.manager, &*unit.key)) else { continue };
        take(before.since, &mut unit.since);
        for (from, to) in
            [(before.restart_at, &mut unit.restart_at), (before.deadline_at, &mut unit.deadline_at)]
        {
            if let (Some(from), Some(to)) = (from, to) {
                take(from, to);
            }
        }
    }
}
