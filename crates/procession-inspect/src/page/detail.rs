//! One process in full, and all processes.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Bytes;
use serde::Serialize;

use super::model::{At, Program, Row, Summary, VERSION};
use super::row::{failed_row, process_row};
use super::sample::Sample;
use super::summary::{millis, word};

/// The number of edges of a process that are listed.
const EDGES: usize = 100;

/// The number of bytes of all errors of a process.
const ERRORS: usize = 64 << 10;

/// The number of rows that are made at a time.
const PART: usize = 256;

/// Everything about one process.
#[derive(Serialize)]
pub(crate) struct Detail {
    v: u32,
    at: At,
    pub(crate) path: String,
    /// The path as people read it.
    pub(crate) who: String,
    pub(crate) process: Row,
    /// Its errors, up to 64 KiB together.
    pub(crate) errors: Vec<String>,
    pub(crate) aborting_ms: Option<u64>,
    pub(crate) held_slots: Vec<Slot>,
    pub(crate) edges: Vec<End>,
    pub(crate) edges_more: usize,
}

#[derive(Serialize)]
pub(crate) struct Slot {
    pub(crate) site: String,
    pub(crate) held_ms: u64,
}

/// The lower end of an edge.
#[derive(Serialize)]
pub(crate) struct End {
    pub(crate) key: u64,
    pub(crate) label: String,
    pub(crate) edge: String,
}

/// The process with this key. One that is Closed is known only if it is one of the last that have failed.
pub(crate) fn detail(sample: &Sample, key: u64) -> Option<Detail> {
    match sample.index_of(key) {
        Some(index) => Some(of_process(sample, key, index)),
        None => of_failure(sample, key),
    }
}

/// The errors of a process, the newest first.
fn errors(sample: &Sample, key: u64) -> Vec<String> {
    let errors = sample.failures.iter().zip(&sample.errors);
    let errors = errors.filter(|(failure, _)| failure.key == key);
    let mut left = ERRORS;
    let errors = errors.map_while(|(_, error)| {
        let error = sample.texts.detail(error, left);
        left -= error.len();
        (!error.is_empty()).then_some(error)
    });
    errors.collect()
}

/// What is left of a process that is Closed.
fn of_failure(sample: &Sample, key: u64) -> Option<Detail> {
    let failure = sample.failures.iter().find(|failure| failure.key == key)?;
    Some(Detail {
        v: VERSION,
        at: sample.at,
        path: failure.path.clone(),
        who: failure.who.clone(),
        process: failed_row(failure),
        errors: errors(sample, key),
        aborting_ms: None,
        held_slots: Vec::new(),
        edges: Vec::new(),
        edges_more: 0,
    })
}

fn of_process(sample: &Sample, key: u64, index: u32) -> Detail {
    let process = sample.process(index);
    let edges = sample.edges_of(index);
    let ends = edges.clone().take(EDGES).map(|edge| End {
        key: sample.keys[edge.to()],
        label: sample.texts.label(sample.snapshot.process(edge.to())),
        edge: word(edge.kind()),
    });
    let slots = process
        .held_slots()
        .iter()
        .take(EDGES)
        .map(|slot| Slot { site: slot.site.to_string(), held_ms: millis(slot.held_for) });
    Detail {
        v: VERSION,
        at: sample.at,
        path: sample.path(index as usize, "/"),
        who: sample.path(index as usize, " › "),
        process: process_row(sample, index, 0),
        errors: errors(sample, key),
        aborting_ms: process.aborting_for().map(millis),
        held_slots: slots.collect(),
        edges: ends.collect(),
        edges_more: edges.len().saturating_sub(EDGES),
    }
}

/// All processes, in parts, so that the memory for an answer does not grow with their number.
pub(crate) struct All {
    sample: Arc<Sample>,
    next: usize,
    ready: VecDeque<Bytes>,
}

#[derive(Serialize)]
struct Head<'a> {
    v: u32,
    at: At,
    program: &'a Program,
    summary: &'a Summary,
    blockers: &'a [super::model::Blocker],
    failures: &'a [super::model::Failure],
}

impl All {
    pub(crate) fn new(sample: Arc<Sample>) -> Self {
        let head = Head {
            v: VERSION,
            at: sample.at,
            program: &sample.program,
            summary: &sample.summary,
            blockers: &sample.blockers,
            failures: &sample.failures,
        };
        let mut head = serde_json::to_vec(&head).unwrap_or_default();
        head.pop();
        head.extend_from_slice(b",\"rows\":[");
        Self { sample, next: 0, ready: [head.into()].into() }
    }
}

impl Iterator for All {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(ready);
        }
        let order = &self.sample.tree.order;
        if self.next > order.len() {
            return None;
        }
        let end = (self.next + PART).min(order.len());
        let mut part = Vec::new();
        for (position, &index) in order.iter().enumerate().take(end).skip(self.next) {
            if position > 0 {
                part.push(b',');
            }
            let row = process_row(&self.sample, index, 0);
            // Plain values are always written.
            let _written = serde_json::to_writer(&mut part, &row);
        }
        self.next = end;
        if end == order.len() {
            part.extend_from_slice(b"]}");
            self.next += 1;
        }
        Some(part.into())
    }
}
