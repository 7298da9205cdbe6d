//! [`Watch`]: everything that a run tells the sweep: which code ran, where the fault struck, the events, and the ends of
//! the threads.
//!
//! # Invariants
//!
//! - W1. A process is recognised by its weak reference, which keeps the address, and therefore the id, from being used
//!   again during the run. No handle is kept, so that the watch keeps no process open.
//! - W2. A thread that waits for something of this is woken by every change. *Because* each change is made in
//!   [`change`](Watch::change), which notifies.
//! - W3. Nothing that can block is called under the lock.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use procession::support::{Fault as Injected, FaultPlace, Gate};
use procession::{Error, Event, EventKind, Process, ProcessId, WeakProcess, support};

use super::fault::Fault;
use super::target::Target;

pub(super) struct Watch {
    case: Option<(Target, Fault)>,
    grace: Duration,
    /// Keeps a teardown that hangs waiting.
    pub(super) gate: Arc<Gate>,
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Seen {
    /// The processes whose code has run (W1).
    known: HashMap<WeakProcess, Known>,
    /// How many of them have the same path and site.
    counts: HashMap<(String, String), usize>,
    /// Where code ran, in the order of the first time.
    pub(super) places: Vec<(Target, FaultPlace)>,
    /// The process that the fault has struck, and when.
    pub(super) struck: Option<(WeakProcess, ProcessId, Instant)>,
    pub(super) events: Vec<Event>,
    open: HashSet<ProcessId>,
    /// The user's function has returned or panicked.
    pub(super) has_built: bool,
    /// The outcomes that the callers that waited for the root were given.
    pub(super) outcomes: Vec<Result<(), Error>>,
}

/// A process whose code has run.
struct Known {
    target: Target,
    /// Where it ran: each place once.
    places: Vec<FaultPlace>,
}

impl Watch {
    /// Watches the root, before anything is below it.
    pub(super) fn of(root: &Process, case: Option<(Target, Fault)>, grace: Duration) -> Arc<Self> {
        let watch = Arc::new(Self {
            case,
            grace,
            gate: Arc::default(),
            seen: Mutex::new(Seen { open: HashSet::from([root.id()]), ..Seen::default() }),
            changed: Condvar::new(),
        });
        let hears = watch.clone();
        root.on_event(move |event| hears.hear(event));
        let decides = watch.clone();
        support::inject(root, move |place, process| decides.decide(place, process));
        watch
    }

    fn hear(&self, event: &Event) {
        self.change(|seen| {
            match event.kind() {
                EventKind::Closed { .. } => _ = seen.open.remove(&event.id()),
                EventKind::Missed { .. } => {}
                _ => _ = seen.open.insert(event.id()),
            }
            seen.events.push(event.clone());
        });
    }

    /// Which fault strikes here?
    fn decide(&self, place: FaultPlace, process: &Process) -> Option<Injected> {
        let (path, site) = (process.path(), process.site().to_string());
        let fault = self.change(|seen| {
            let target = seen.visit(process, place, path, site);
            let (struck, fault) = self.case.as_ref()?;
            if *struck != target || fault.place() != place {
                return None;
            }
            let at = Instant::now();
            seen.struck.get_or_insert_with(|| (process.downgrade(), process.id(), at));
            Some(*fault)
        })?;
        if fault == Fault::BodyIgnoresClosing {
            // The root may not wait for it, and the user's code may close it alone.
            support::abort_past_grace(process, self.grace);
        }
        Some(fault.injected(&self.gate))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        let mut seen = self.seen.lock();
        let result = change(&mut seen);
        drop(seen);
        self.changed.notify_all();
        result
    }

    pub(super) fn look(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock()
    }

    /// Waits until the condition holds; `false` if the deadline is over first.
    pub(super) fn wait(&self, deadline: Instant, holds: impl Fn(&Seen) -> bool) -> bool {
        let mut seen = self.seen.lock();
        while !holds(&seen) {
            if self.changed.wait_until(&mut seen, deadline).timed_out() {
                return holds(&seen);
            }
        }
        true
    }
}

impl Seen {
    /// Code of the process runs, at this place.
    fn visit(
        &mut self,
        process: &Process,
        place: FaultPlace,
        path: String,
        site: String,
    ) -> Target {
        let counts = &mut self.counts;
        let known = self.known.entry(process.downgrade()).or_insert_with(|| {
            let number = counts.entry((path.clone(), site.clone())).or_default();
            *number += 1;
            Known { target: Target { path, site, number: *number }, places: Vec::new() }
        });
        if !known.places.contains(&place) {
            known.places.push(place);
            self.places.push((known.target.clone(), place));
        }
        known.target.clone()
    }

    /// Are all processes Closed?
    pub(super) fn all_closed(&self) -> bool {
        self.open.is_empty()
    }
}
