//! [`frame`]: what a page shows for a query, and [`next`], what is sent of it.
//!
//! # Invariants
//!
//! - F1. A frame is at most [`FRAME_LIMIT`] bytes of JSON. *Because* rows, which are the only unbounded part, are left
//!   out from the end until it is.
//! - F2. Replaying a patch on the frame before it yields the next frame, exactly. *Because* the next frame is made in
//!   that way: a row that has not changed keeps its ages, plus the time between the frames, if they differ from the
//!   measured ones by no more than [`TOLERANCE`]; any other row is sent. The times of a unit are points in time, and
//!   are kept in the same way.

use std::collections::{HashMap, HashSet};

use super::model::{Content, Frame, Key, Patch, Row, VERSION};
use super::query::{Column, Query};
use super::row::length;
use super::rows::{BUDGET, rows};
use super::sample::Sample;
use super::units::{Listed, settle};

/// The maximum number of bytes of a frame.
pub(crate) const FRAME_LIMIT: usize = 256 << 10;

/// The difference in milliseconds between an age that was measured and one that was counted.
const TOLERANCE: u64 = 25;

/// The time in milliseconds for which the row of a process that is Closed is shown.
const GONE: u64 = 3_000;

/// What a page shows.
pub(crate) fn frame(sample: &Sample, query: &Query) -> Frame {
    let (rows, view) = rows(sample, query);
    let mut frame = Frame {
        v: VERSION,
        seq: None,
        at: sample.at,
        program: (*sample.program).clone(),
        view,
        summary: sample.summary.clone(),
        blockers: sample.blockers.clone(),
        blockers_more: sample.blockers_more,
        failures: Vec::new(),
        failures_dropped: sample.failures_dropped,
        rows: Vec::new(),
        managers: Vec::new(),
        units: Vec::new(),
    };
    // Failures may use a quarter of the space; rows use what is left.
    let mut used = 0;
    for failure in &sample.failures {
        used += json_length(failure);
        if used > FRAME_LIMIT / 4 {
            break;
        }
        frame.failures.push(failure.clone());
    }
    frame.failures_dropped += (sample.failures.len() - frame.failures.len()) as u64;
    let Listed { managers, units } =
        if query.is_units { sample.units() } else { Listed::default() };
    frame.managers = managers;
    let mut used = json_length(&frame) + 256;
    for unit in units {
        used += json_length(&unit) + 1;
        if used > FRAME_LIMIT {
            break;
        }
        frame.units.push(unit);
    }
    for row in rows {
        used += length(&row) + 1;
        if used > FRAME_LIMIT {
            break;
        }
        frame.rows.push(row);
    }
    frame.view.hidden += frame.view.rows - frame.rows.len();
    frame.view.rows = frame.rows.len();
    frame
}

fn json_length(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// Adds the rows of processes that were in the last frame and were Closed since then.
pub(crate) fn keep_closed(before: &Frame, frame: &mut Frame, sample: &Sample, query: &Query) {
    if query.sort.column != Column::Tree || before.view.q != frame.view.q {
        return;
    }
    let present: HashSet<Key> = frame.rows.iter().map(|row| row.key.clone()).collect();
    let mut used = json_length(frame);
    for (position, row) in before.rows.iter().enumerate() {
        let (Key::Process(key), Content::Process(process)) = (&row.key, &row.content) else {
            continue;
        };
        let gone = process.gone.unwrap_or(frame.at);
        used += length(row) + 64;
        let is_over = frame.at.since(gone) >= GONE || frame.rows.len() >= BUDGET;
        if is_over
            || used > FRAME_LIMIT
            || present.contains(&row.key)
            || sample.index_of(*key).is_some()
        {
            continue;
        }
        let mut row = row.clone();
        if let Content::Process(process) = &mut row.content {
            process.gone = Some(gone);
            (process.phase, process.aborting) = ("closed", false);
            (process.for_ms, process.work, process.expanded) = (None, None, None);
            (process.open, process.children, process.blocks) = (0, 0, false);
            process.error = sample.error_of(*key).map(|error| error.chars().take(60).collect());
            process.failed |= process.error.is_some();
        }
        // Below the row that was above it.
        let above = before.rows[..position].iter().rev();
        let place =
            above.filter_map(|above| frame.rows.iter().position(|row| row.key == above.key)).next();
        frame.rows.insert(place.map_or(0, |place| place + 1), row);
    }
    frame.view.rows = frame.rows.len();
}

/// The frame that follows `before`, with the ages that a reader counts, and the patch that leads to it.
pub(crate) fn next(before: &Frame, mut frame: Frame) -> (Frame, Patch) {
    let passed = frame.at.since(before.at);
    let base = before.seq.unwrap_or(0);
    frame.seq = Some(base + 1);
    let old: HashMap<&Key, &Row> = before.rows.iter().map(|row| (&row.key, row)).collect();
    let mut set = Vec::new();
    for row in &mut frame.rows {
        match old.get(&row.key).map(|old| aged(old, passed)) {
            Some(old) if is_about(&old, row) => *row = old,
            _ => set.push(row.clone()),
        }
    }
    let keys: Vec<Key> = frame.rows.iter().map(|row| row.key.clone()).collect();
    let present: HashSet<&Key> = keys.iter().collect();
    let gone = before.rows.iter().filter(|row| !present.contains(&row.key));
    let del: Vec<Key> = gone.map(|row| row.key.clone()).collect();
    let stay = before.rows.iter().filter(|row| present.contains(&row.key)).map(|row| &row.key);
    let is_ordered = stay.clone().count() == keys.len() && stay.eq(&keys);
    settle(&before.units, &mut frame.units);
    let is_changed = frame.failures != before.failures;
    let managers = (frame.managers != before.managers).then(|| frame.managers.clone());
    let units = (frame.units != before.units).then(|| frame.units.clone());
    let patch = Patch {
        v: VERSION,
        seq: base + 1,
        base,
        at: frame.at,
        view: frame.view.clone(),
        summary: frame.summary.clone(),
        blockers: frame.blockers.clone(),
        blockers_more: frame.blockers_more,
        failures: is_changed.then(|| frame.failures.clone()),
        failures_dropped: frame.failures_dropped,
        set,
        del,
        order: (!is_ordered).then_some(keys),
        managers,
        units,
    };
    (frame, patch)
}

/// The row after this time.
pub(crate) fn aged(row: &Row, passed: u64) -> Row {
    let mut row = row.clone();
    let add = |age: &mut u64| *age += passed;
    match &mut row.content {
        Content::Process(process) => {
            process.for_ms.iter_mut().for_each(add);
            process.work.iter_mut().filter_map(|work| work.for_ms.as_mut()).for_each(add);
        }
        Content::Fold { fold } => fold.for_ms.iter_mut().for_each(add),
        Content::Reference { .. } | Content::Next { .. } => {}
    }
    row
}

/// Are they the same, except for small differences between the ages?
fn is_about(counted: &Row, measured: &Row) -> bool {
    let mut same = measured.clone();
    let take = |from: Option<u64>, to: &mut Option<u64>| {
        if let (Some(from), Some(to)) = (from, to.as_mut()) {
            if from.abs_diff(*to) <= TOLERANCE {
                *to = from;
            }
        }
    };
    match (&counted.content, &mut same.content) {
        (Content::Process(from), Content::Process(to)) => {
            take(from.for_ms, &mut to.for_ms);
            if let (Some(from), Some(to)) = (&from.work, &mut to.work) {
                take(from.for_ms, &mut to.for_ms);
            }
        }
        (Content::Fold { fold: from }, Content::Fold { fold: to }) => {
            take(from.for_ms, &mut to.for_ms)
        }
        _ => {}
    }
    same == *counted
}
