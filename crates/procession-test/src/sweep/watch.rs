//! [`Watch`]: everything that the sweep observes of a run: which code ran, where the fault struck, the events, and the
//! ends of the threads.
//!
//! # Invariants
//!
//! - W1. A process is recognised by its weak reference, *because* that prevents its address, and therefore its id, from
//!   being used again during the run. The watch has no handles, so it keeps no process open.
//! - W2. Every change wakes the threads that wait for one, *because* each change is made in [`change`](Watch::change),
//!   which notifies them.
//! - W3. Nothing that can block is called under the lock: values such as paths are computed before it is taken.

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
    /// A teardown that hangs waits for it.
    pub(super) gate: Arc<Gate>,
    observed: Mutex<Observed>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Observed {
    /// The processes whose code has run, by weak reference (W1).
    known: HashMap<WeakProcess, Known>,
    /// The number of known processes with each path and site.
    counts: HashMap<(String, String), usize>,
    /// The places where code ran, in the order of their first time.
    pub(super) places: Vec<(Target, FaultPlace)>,
    /// The process that the fault struck, and when.
    pub(super) struck: Option<(WeakProcess, ProcessId, Instant)>,
    pub(super) events: Vec<Event>,
    open: HashSet<ProcessId>,
    /// Has the user's function returned or panicked?
    pub(super) has_built: bool,
    /// The outcomes that the callers who waited for the root got.
    pub(super) outcomes: Vec<Result<(), Error>>,
}

/// A process whose code has run.
struct Known {
    target: Target,
    /// The places where it ran, each once.
    places: Vec<FaultPlace>,
}

impl Watch {
    /// Watches the root. Call it before the root has children.
    pub(super) fn of(root: &Process, case: Option<(Target, Fault)>, grace: Duration) -> Arc<Self> {
        let watch = Arc::new(Self {
            case,
            grace,
            gate: Arc::default(),
            observed: Mutex::new(Observed {
                open: HashSet::from([root.id()]),
                ..Observed::default()
            }),
            changed: Condvar::new(),
        });
        let records = watch.clone();
        root.on_event(move |event| records.record(event));
        let decides = watch.clone();
        support::inject(root, move |place, process| decides.decide(place, process));
        watch
    }

    fn record(&self, event: &Event) {
        self.change(|observed| {
            match event.kind() {
                EventKind::Closed { .. } => _ = observed.open.remove(&event.id()),
                EventKind::Missed { .. } => {}
                _ => _ = observed.open.insert(event.id()),
            }
            observed.events.push(event.clone());
        });
    }

    /// The fault that strikes here, if any.
    fn decide(&self, place: FaultPlace, process: &Process) -> Option<Injected> {
        let (path, site) = (process.path(), process.site().to_string());
        let fault = self.change(|observed| {
            let target = observed.record_code(process, place, path, site);
            let (struck, fault) = self.case.as_ref()?;
            if *struck != target || fault.place() != place {
                return None;
            }
            let at = Instant::now();
            observed.struck.get_or_insert_with(|| (process.downgrade(), process.id(), at));
            Some(*fault)
        })?;
        if fault == Fault::BodyIgnoresClosing {
            // Closing the root may not abort it: the root may not wait for it, or the user's code may close only it.
            support::abort_past_grace(process, self.grace);
        }
        Some(fault.injected(&self.gate))
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Observed) -> T) -> T {
        let mut observed = self.observed.lock();
        let result = change(&mut observed);
        drop(observed);
        self.changed.notify_all();
        result
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock()
    }

    /// Waits until the condition holds. Returns `false` if the deadline passes first.
    pub(super) fn wait(&self, deadline: Instant, holds: impl Fn(&Observed) -> bool) -> bool {
        let mut observed = self.observed.lock();
        while !holds(&observed) {
            if self.changed.wait_until(&mut observed, deadline).timed_out() {
                return holds(&observed);
            }
        }
        true
    }
}

impl Observed {
    /// Records that code of the process runs at this place.
    fn record_code(
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
