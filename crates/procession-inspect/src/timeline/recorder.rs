//! [`Recorder`]: gathers the lives of the processes of a tree.
//!
//! The boundaries come from events. Edges, kinds of work and the names of threads come from snapshots, which a thread
//! of the recorder takes while the root is Closing, at growing intervals: an edge to a process that is Closed before
//! the first snapshot, within a millisecond or so, is not seen.
//!
//! # Invariants
//!
//! - T1. No foreign code runs under the lock. *Because* errors are formatted before it is taken, in a catch, and the
//!   names and labels that are formatted under it are the library's.
//! - T2. A life belongs to one process, though ids are used again. *Because* events arrive in the order in which they
//!   entered the queue, in which the end of a process comes before the next process with its id: an event about an id
//!   whose life is Closed begins a new life. While the root is Closing, Closed processes can still be found, for a
//!   snapshot that is older than the events; it must agree on the site.
//! - T3. A process that only a snapshot knows will be Closed by an event. *Because* it is added only if it was open,
//!   and no event about it had been handled, when it was added.
//!
//! # Lost events
//!
//! If more events happen at once than the core's queue holds, some are lost, and the picture says how many. The end of
//! the root is then known from a waiter. *No process is shown as open though it is Closed*, because once the root is
//! Closed, a process without an end ends at its last known time: the critical path cannot lead through an end that was
//! not seen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use procession::support::text::{Count, ERROR_LIMIT, Escaped, Signal};
use procession::support::{self, with_causes};
use procession::{
    Error, Event, EventKind, Link, Phase, Process, ProcessId, ProcessInfo, Reason, Snapshot, Stall,
    WeakProcess, Work,
};

use super::recording::{
    Cause, Edge, EdgeKind, Index, Life, Mark, MarkKind, Moment, Program, Recording,
};
use super::store::{CAPACITY, ROOT, Slot, Store};
use crate::texts::{UNPRINTABLE, beginning};

/// When the first stall report is recorded; the others follow at doubling intervals.
const STALLED: Duration = Duration::from_secs(5);

/// The time between two snapshots: the first one, the last one, and in relation to the time that a snapshot takes.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(10);
const PAUSE_FACTOR: u32 = 20;

/// The number of processes of a snapshot that are looked at in one locked section.
const LOCKED: usize = 1024;

/// The maximum numbers of marks, and of edges besides those from first parents.
const MARKS: usize = 100;
const EDGES: usize = CAPACITY;

/// An abort this long before the end of the grace is considered to be because of it.
const TOLERANCE: Duration = Duration::from_millis(20);

pub(crate) struct Recorder {
    root: WeakProcess,
    root_id: ProcessId,
    /// The zero of all times, on two clocks.
    began: Instant,
    began_at: SystemTime,
    grace: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    store: Store,
    /// The lives of the processes that are open and, from when the root is Closing, of those that were.
    slots: HashMap<ProcessId, Slot>,
    edges: HashSet<Edge>,
    marks: Vec<Mark>,
    not_recorded: u64,
    missed: u64,
    is_closing: bool,
    /// When the root was found Closed, which is a little later than it was.
    root_closed: Option<u64>,
}

impl Recorder {
    /// Records everything that happens below `root` from now on.
    pub(crate) fn start(root: &Process) -> Arc<Self> {
        let recorder = Self::new(root);
        let observer = recorder.clone();
        root.on_event(move |event| observer.observe(event));
        let observer = recorder.clone();
        support::on_stall_unrecorded(root, STALLED, move |stall| observer.stall(stall));
        if let Some(reason) = root.reason().filter(|_| root.is_closing()) {
            recorder.root_is_closing(0, &reason);
        }
        recorder
    }

    /// A recorder of this process, which is not told of anything yet.
    fn new(root: &Process) -> Arc<Self> {
        let recorder = Arc::new(Self {
            root: root.downgrade(),
            root_id: root.id(),
            began: Instant::now(),
            began_at: SystemTime::now(),
            grace: support::grace_of_program(root),
            state: Mutex::default(),
        });
        let mut state = recorder.state.lock();
        let slot = state.store.add(Life::new(name(root.name().as_deref()), root.site(), None));
        state.slots.extend(slot.map(|slot| (root.id(), slot)));
        drop(state);
        recorder
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn observe(self: &Arc<Self>, event: &Event) {
        let at = self.micros(event.at());
        let is_root = event.id() == self.root_id;
        match event.kind() {
            EventKind::Missed { count, .. } => self.state.lock().missed += count,
            EventKind::Made => self.state.lock().made(event, at),
            EventKind::Closing(reason) if is_root => self.root_is_closing(at, reason),
            EventKind::Closing(reason) => {
                // The event of the root may have been lost.
                if *reason == Reason::ParentClosed && event.parent() == Some(self.root_id) {
                    self.root_is_closing(at, reason);
                }
                self.state.lock().closing(event, at, reason);
            }
            EventKind::Aborting => {
                let is_grace_over = is_root && self.is_grace_over(at);
                self.state.lock().aborting(event, at, is_root, is_grace_over);
            }
            EventKind::BodyEnded => self.state.lock().set(event, Moment::BodyEnded, at),
            EventKind::TeardownQueued => self.state.lock().set(event, Moment::TeardownQueued, at),
            EventKind::TeardownStarted => self.state.lock().set(event, Moment::TeardownStarted, at),
            EventKind::TeardownEnded => self.state.lock().set(event, Moment::TeardownEnded, at),
            EventKind::Closed { outcome, .. } => {
                let error = outcome.as_ref().err().map(|error| (is_failure(error), message(error)));
                self.state.lock().closed(event, at, error);
            }
            _ => {}
        }
    }

    fn root_is_closing(self: &Arc<Self>, at: u64, reason: &Reason) {
        let mut state = self.state.lock();
        if state.is_closing {
            return;
        }
        state.is_closing = true;
        state.set_reason(ROOT, at, reason);
        if let Reason::Signal(signal) = reason {
            state.mark(at, MarkKind::Signal, Signal(*signal).to_string(), Vec::new());
        }
        drop(state);
        let recorder = self.clone();
        let thread = std::thread::Builder::new().name("procession-timeline".to_owned());
        // Without a thread, the edges besides those from first parents are missing.
        drop(thread.spawn(move || recorder.look_on()));
    }

    fn is_grace_over(&self, at: u64) -> bool {
        let closing = self.state.lock().store.get(ROOT).and_then(|root| root.at(Moment::Closing));
        let (Some(grace), Some(closing)) = (self.grace, closing) else { return false };
        Duration::from_micros(at.saturating_sub(closing)) + TOLERANCE >= grace
    }

    /// Takes snapshots until the root is Closed.
    fn look_on(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(root) = self.root.upgrade() else { return };
            let closed = root.closed();
            let began = Instant::now();
            let snapshot = root.snapshot();
            drop(root);
            self.add(&snapshot);
            drop(snapshot);
            let pause_for = pause.max(began.elapsed() * PAUSE_FACTOR);
            if closed.wait_timeout(pause_for).is_some() {
                self.state.lock().root_closed = Some(self.micros(Instant::now()));
                return;
            }
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Adds what only a snapshot shows.
    fn add(&self, snapshot: &Snapshot) {
        let parents = parents(snapshot);
        let mut slots: Vec<Option<Slot>> = vec![None; snapshot.processes().len()];
        // Parents come before their children.
        for part in parents.chunks(LOCKED) {
            let mut state = self.state.lock();
            for &(process, parent) in part {
                let info = snapshot.process(process);
                let parent = parent.and_then(|parent| slots[parent]);
                slots[process] = state.seen(info, parent, process == 0);
            }
        }
        let mut edges = snapshot.edges();
        while edges.len() > 0 {
            let mut state = self.state.lock();
            for edge in edges.by_ref().take(LOCKED) {
                if let (Some(from), Some(to)) = (slots[edge.from()], slots[edge.to()]) {
                    state.add_edge(from, to, edge.kind());
                }
            }
        }
    }

    fn stall(&self, stall: &Stall) {
        let at = self.micros(Instant::now());
        let mut lines: Vec<String> = stall.blockers.first.iter().map(ToString::to_string).collect();
        let more = stall.blockers.total.saturating_sub(lines.len());
        if more > 0 {
            lines.push(format!("… and {} more", Count(more)));
        }
        self.state.lock().mark(at, MarkKind::Stall, "stall report".to_owned(), lines);
    }

    /// The program is being ended by force.
    pub(crate) fn exits(&self) {
        let at = self.micros(Instant::now());
        self.state.lock().mark(at, MarkKind::Exit, "exit".to_owned(), Vec::new());
    }

    /// What was recorded until now.
    pub(crate) fn recording(&self) -> Recording {
        let is_over = self.root.upgrade().is_none_or(|root| root.is_closed());
        let state = self.state.lock();
        let mut kept = state.store.kept();
        // The time is read under the lock, so nothing that was recorded is later.
        let until = self.micros(Instant::now());
        let move_to = |slot: Slot| kept.index_of.get(&slot).copied();
        let moved = state.edges.iter().filter_map(|edge| {
            Some(Edge { from: move_to(edge.from)?, to: move_to(edge.to)?, kind: edge.kind })
        });
        let mut edges: Vec<Edge> = moved.collect();
        let (marks, missed) = (state.marks.clone(), state.missed);
        let (not_recorded, root_closed) = (state.not_recorded, state.root_closed);
        drop(state);
        if is_over && missed > 0 {
            kept.lives[ROOT as usize].set(Moment::Closed, root_closed.unwrap_or(until));
            kept.lives.iter_mut().for_each(Life::end_at_last_known_time);
        }
        edges.sort_unstable();
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let host = Escaped::name(&host).to_string();
        let program = Program { pid: std::process::id(), host, began: self.began_at };
        let (lives, details) = (kept.lives, kept.details);
        Recording { program, until, lives, details, edges, marks, not_recorded, missed }
    }
}

impl State {
    /// The life of the process that an event is about.
    fn slot(&self, event: &Event) -> Option<Slot> {
        let slot = *self.slots.get(&event.id())?;
        let life = self.store.get(slot)?;
        (!life.is_closed()).then_some(slot)
    }

    /// The same. If there is no such life, it begins now (T2).
    fn slot_or_new(&mut self, event: &Event) -> Option<Slot> {
        self.slot(event).or_else(|| self.begin(event))
    }

    fn begin(&mut self, event: &Event) -> Option<Slot> {
        let parent = event.parent().and_then(|parent| self.slots.get(&parent).copied());
        let slot = self.store.add(Life::new(name(event.name()), event.site(), parent))?;
        self.slots.insert(event.id(), slot);
        Some(slot)
    }

    fn made(&mut self, event: &Event, at: u64) {
        if let Some(life) = self.begin(event).and_then(|slot| self.store.get_mut(slot)) {
            life.set(Moment::Made, at);
        }
    }

    fn set(&mut self, event: &Event, moment: Moment, at: u64) {
        if let Some(life) = self.slot_or_new(event).and_then(|slot| self.store.get_mut(slot)) {
            life.set(moment, at);
        }
    }

    fn closing(&mut self, event: &Event, at: u64, reason: &Reason) {
        match self.slot_or_new(event) {
            Some(slot) => self.set_reason(slot, at, reason),
            None if self.is_closing => self.not_recorded += 1,
            None => {}
        }
    }

    fn set_reason(&mut self, slot: Slot, at: u64, reason: &Reason) {
        let Some(life) = self.store.get_mut(slot) else { return };
        life.set(Moment::Closing, at);
        life.cause = Cause::of(reason);
        if life.cause == Cause::Other {
            let text = Escaped::error(&reason.to_string()).to_string();
            self.store.detail(slot).reason = Some(text.into());
        }
    }

    fn aborting(&mut self, event: &Event, at: u64, is_root: bool, is_grace_over: bool) {
        self.set(event, Moment::Aborting, at);
        if is_grace_over {
            self.mark(at, MarkKind::GraceOver, "grace over".to_owned(), Vec::new());
        }
        if is_root {
            self.mark(at, MarkKind::Abort, "abort".to_owned(), Vec::new());
        }
    }

    fn closed(&mut self, event: &Event, at: u64, error: Option<(bool, Box<str>)>) {
        let Some(slot) = self.slot(event) else { return };
        let Some(life) = self.store.get_mut(slot) else { return };
        life.set(Moment::Closed, at);
        if let Some((is_failure, message)) = error {
            life.has_failed = is_failure;
            self.store.detail(slot).error = Some(message);
        }
        if !self.is_closing {
            self.slots.remove(&event.id());
            self.store.closed_early(slot);
        }
    }

    /// A snapshot shows this process. It is added if no event has been about it yet (T3).
    fn seen(&mut self, info: ProcessInfo<'_>, parent: Option<Slot>, is_root: bool) -> Option<Slot> {
        let known = self.slots.get(&info.id()).copied();
        let is_it =
            |slot: &Slot| self.store.get(*slot).is_some_and(|life| life.site == info.site());
        let slot = match known {
            Some(slot) => Some(slot).filter(is_it)?,
            None => {
                parent.filter(|_| !is_root && info.phase() != Phase::Closed)?;
                let slot = self.store.add(Life::new(name(info.name()), info.site(), parent))?;
                self.slots.insert(info.id(), slot);
                slot
            }
        };
        if let Some(parent) = parent.filter(|_| !is_root) {
            self.store.set_parent(slot, parent);
        }
        let life = self.store.get_mut(slot)?;
        let is_body = matches!(info.work(), Work::ThreadBody | Work::AsyncBody | Work::CallerBody);
        // A failure hook is part of the end of the work, not a kind of work with events of its own.
        let is_kind = info.work() != Work::FailureHook;
        if is_body || is_kind && life.work == Work::None {
            life.work = info.work();
        }
        if let Some(thread) = info.thread() {
            let thread = Escaped::name(thread).to_string().into();
            self.store.detail(slot).thread.get_or_insert(thread);
        }
        Some(slot)
    }

    fn add_edge(&mut self, from: Slot, to: Slot, kind: Link) {
        let is_first_parent =
            self.store.get(to).is_some_and(|life| life.parent == Some(Index::new(from)));
        let kind = match kind {
            Link::Child if is_first_parent => return,
            Link::Child => EdgeKind::Child,
            Link::NoWaitChild => EdgeKind::NoWaitChild,
            Link::WaitFor => EdgeKind::WaitFor,
            Link::CloseAfter => EdgeKind::CloseAfter,
            _ => return,
        };
        if self.edges.len() < EDGES {
            self.edges.insert(Edge { from, to, kind });
        }
    }

    fn mark(&mut self, at: u64, kind: MarkKind, label: String, lines: Vec<String>) {
        if self.marks.len() < MARKS {
            self.marks.push(Mark { at, kind, label, lines });
        }
    }
}

/// The processes of the snapshot, each after its first parent, if one that closes it is in the snapshot.
fn parents(snapshot: &Snapshot) -> Vec<(usize, Option<usize>)> {
    let count = snapshot.processes().len();
    let mut is_placed = vec![false; count];
    let mut order = Vec::with_capacity(count);
    for start in 0..count {
        if std::mem::replace(&mut is_placed[start], true) {
            continue;
        }
        // Those that are not below the root were only waited for.
        let mut next = order.len();
        order.push((start, None));
        while let Some(&(process, _)) = order.get(next) {
            next += 1;
            for edge in snapshot.edges_of(process) {
                let closes = matches!(edge.kind(), Link::Child | Link::NoWaitChild);
                if closes && !std::mem::replace(&mut is_placed[edge.to()], true) {
                    order.push((edge.to(), Some(process)));
                }
            }
        }
    }
    order
}

/// A name as it is recorded: escaped, and none if it is empty.
fn name(name: Option<&str>) -> Option<Box<str>> {
    name.filter(|name| !name.is_empty()).map(|name| Escaped::name(name).to_string().into())
}

/// An abort from above is not a failure.
fn is_failure(error: &Error) -> bool {
    !matches!(error, Error::Aborted(_))
}

/// The message of an error, which is formatted by a user's code.
fn message(error: &Error) -> Box<str> {
    let message = beginning(&with_causes(error), 4 * (ERROR_LIMIT + 1));
    Escaped::error(message.as_deref().unwrap_or(UNPRINTABLE)).to_string().into()
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
