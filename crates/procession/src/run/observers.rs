//! Observers: each calls a user's hook, or writes for `tracing` or `metrics`, and has a queue of events.
//!
//! # Invariants
//!
//! - O1. Under a node's lock, an event is only appended to a queue, so no foreign code runs (I10). One thread of the
//!   library, `procession-events`, takes the events out and calls the hooks, in a catch, with no lock held. So a hook
//!   may do anything, and may even close the process that the event is about. While it blocks, it delays only hooks.
//! - O2. A queue holds at most [`CAPACITY`] events. If it is full, further events are only counted, and the count is
//!   delivered when the queue is emptied, after the events in it. (While a batch is being delivered, its events no
//!   longer count towards the capacity.)
//! - O3. No event is forgotten. *Because* an observer whose queue is not empty is in the list, or the thread has taken
//!   it from the list: the append that finds `is_listed` unset adds the observer to the list, and the thread unsets it
//!   under the queue's lock in the section in which it takes the events.
//! - O4. The thread does not sleep while the list is not empty. *Because* it sets `is_idle` under the list's lock,
//!   after it has found the list empty, and an append that adds to the list unparks it if `is_idle` is set. (A parker
//!   remembers that it was unparked.) After the thread has delivered something, it sleeps for at most [`PAUSE`] and
//!   checks again, so that a burst of events wakes it once instead of once for each event; an append that fills half of
//!   a queue wakes it earlier.
//! - O5. Nothing is left behind (I12). An observer is referred to only by the scopes of open processes and by the list.
//!   When the last reference is dropped, a thread of the pool drops the hook. So a hook may hold a handle to the
//!   process that it is set on: that keeps the process open until it is closed, but does not keep its node after that.
//!
//! Lock order: a node's lock, a queue's lock, the list's lock, the timer's lock.

use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_listener::{Event as Notification, Listener};
use once_cell::sync::OnceCell;
use parking::{Parker, Unparker};

use super::catch::contain;
#[cfg(feature = "test-faults")]
use super::fault::{Fault, FaultHook, FaultPlace};
use super::foreign::Foreign;
use super::{Failure, Inherited, Node, NodeContents, timer};
use crate::state::{NodeEvent, ObservedEvent, Scope};
use crate::value::sync::{Mutex, spawn_thread};
use crate::value::{Above, Event, EventKind, ProcessId, Segment, Site, Source};

/// The maximum number of events that wait in a queue.
const CAPACITY: usize = 65_536;

/// A buffer with a larger capacity than this is kept only while that many events come at once.
const LARGE: usize = 1024;

/// How long the thread waits for more events after it has delivered some.
const PAUSE: Duration = Duration::from_millis(1);

/// The time after which creating the thread is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// Receives the events of the processes that it is set on, and of those that inherit it.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Inner>);

struct Inner {
    role: Role,
    /// The process that it is set on.
    source: OnceCell<Source>,
    queue: Mutex<Queue>,
}

type Hook = Box<dyn Fn(&Event) + Send + Sync>;

/// The recipient of the events.
enum Role {
    Hook(Foreign<Hook>),
    #[cfg(feature = "tracing")]
    Tracing,
    #[cfg(feature = "metrics")]
    Metrics,
    /// It receives no events, but decides which faults strike.
    #[cfg(feature = "test-faults")]
    Faults(Foreign<FaultHook>),
}

#[derive(Default)]
struct Queue {
    entries: Vec<Entry>,
    /// The address of the last [`Above`] in the entries, or 0. Its entry keeps it alive.
    above: usize,
    /// The number of entries that are events.
    count: usize,
    missed: u64,
    is_listed: bool,
}

/// An entry of a queue.
enum Entry {
    /// The processes above those of the entries that follow. Siblings have the same ones, so one entry serves many
    /// events. A clone for each event would contend for the reference count.
    Above(Option<Arc<Above>>),
    Event {
        id: ProcessId,
        named: Option<Arc<Inherited>>,
        site: Site,
        at: Instant,
        event: NodeEvent<NodeContents>,
    },
}

impl Queue {
    /// Appends an event.
    fn push(&mut self, event: ObservedEvent<'_, NodeContents>) {
        let ObservedEvent { id, named, site, above, at, event } = event;
        let address = above.map_or(0, |above| Arc::as_ptr(above).addr());
        if self.above != address || self.entries.is_empty() {
            self.entries.push(Entry::Above(above.cloned()));
            self.above = address;
        }
        self.count += event.count();
        self.entries.push(Entry::Event { id, named: named.cloned(), site, at, event });
    }
}

impl Observer {
    /// An observer that calls `hook`.
    pub(crate) fn hook(hook: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        prepare();
        Self::new(Role::Hook(Foreign::new(Box::new(hook))))
    }

    /// An observer that decides which faults strike.
    #[cfg(feature = "test-faults")]
    pub(super) fn faults(faults: FaultHook) -> Self {
        Self::new(Role::Faults(Foreign::new(faults)))
    }

    #[cfg(feature = "test-faults")]
    pub(super) fn has_faults(&self) -> bool {
        matches!(self.0.role, Role::Faults(_))
    }

    /// The fault that strikes at a place, which is foreign code.
    #[cfg(feature = "test-faults")]
    pub(super) fn fault(&self, place: FaultPlace, node: &Arc<Node>) -> Option<Fault> {
        match &self.0.role {
            Role::Faults(faults) => (faults.get())(place, node),
            _ => None,
        }
    }

    fn new(role: Role) -> Self {
        let queue = Mutex::new(Queue::default());
        Self(Arc::new(Inner { role, source: OnceCell::new(), queue }))
    }

    /// Records the process that the observer is set on, which may have been made after the observer.
    pub(crate) fn set_source(&self, node: &Arc<Node>) {
        self.0.source.get_or_init(|| node.source());
    }

    /// Is it the one that writes for `tracing`?
    pub(super) fn is_tracing(&self) -> bool {
        #[cfg(feature = "tracing")]
        return matches!(self.0.role, Role::Tracing);
        #[cfg(not(feature = "tracing"))]
        false
    }

    /// Appends an event. It is called under a node's lock (O1).
    pub(super) fn push(&self, event: ObservedEvent<'_, NodeContents>) {
        #[cfg(feature = "metrics")]
        if let Role::Metrics = self.0.role {
            super::metrics::count(&event.event);
        }
        #[cfg(feature = "test-faults")]
        if self.has_faults() {
            return;
        }
        let mut queue = self.0.queue.lock();
        let (before, added) = (queue.count, event.event.count());
        // Once events are missing, all that follow are, until the queue is delivered with their number at its end.
        if queue.missed > 0 || before + added > CAPACITY {
            queue.missed += added as u64;
            return;
        }
        queue.push(event);
        let is_half_full = before < CAPACITY / 2 && before + added >= CAPACITY / 2;
        let was_listed = mem::replace(&mut queue.is_listed, true);
        if !was_listed || is_half_full {
            // Before the queue is unlocked, so that an observer with `is_listed` set is in the list (O3).
            let mut list = LIST.lock();
            if !was_listed {
                list.observers.push(self.clone());
            }
            list.wake(is_half_full);
        }
    }

    /// Delivers the events in the queue. The queue gets the buffer `spare`, which is replaced by the queue's old
    /// buffer.
    fn deliver(&self, spare: &mut Vec<Entry>) {
        let mut queue = self.0.queue.lock();
        queue.is_listed = false;
        queue.count = 0;
        let mut entries = mem::replace(&mut queue.entries, mem::take(spare));
        let missed = mem::take(&mut queue.missed);
        drop(queue);
        let count = entries.len();
        match &self.0.role {
            Role::Hook(hook) => {
                deliver(&mut entries, |event| (hook.get())(event));
                if let (1.., Some(source)) = (missed, self.0.source.get()) {
                    let kind = EventKind::Missed { count: missed };
                    let event = Event { source: source.clone(), at: Instant::now(), kind };
                    contain(|| (hook.get())(&event));
                }
            }
            #[cfg(feature = "tracing")]
            Role::Tracing => {
                deliver(&mut entries, super::tracing::phase);
                if missed > 0 {
                    contain(|| super::tracing::missed(missed));
                }
            }
            #[cfg(feature = "test-faults")]
            Role::Faults(_) => {}
            #[cfg(feature = "metrics")]
            Role::Metrics => {
                let happened = entries.iter().filter_map(|entry| match entry {
                    Entry::Above(_) => None,
                    Entry::Event { event, .. } => Some(event),
                });
                contain(|| super::metrics::publish(happened));
            }
        }
        // While there are many events, two large buffers are swapped. They are freed when there are few events again.
        if entries.capacity() <= LARGE || count > LARGE {
            entries.clear();
            *spare = entries;
        }
    }
}

impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Calls foreign code for each event.
fn deliver(entries: &mut Vec<Entry>, call: impl Fn(&Event)) {
    let mut above_all = None;
    for entry in entries.drain(..) {
        match entry {
            Entry::Above(above) => above_all = above,
            Entry::Event { id, named, site, at, event } => {
                let (kind, next, _kept) = kinds_of(event);
                let name = named.and_then(|named| named.name().cloned());
                let own = Segment { name, site };
                let source = Source { id, own, above: above_all.take() };
                let mut event = Event { source, at, kind };
                contain(|| call(&event));
                if let Some(next) = next {
                    event.kind = next;
                    contain(|| call(&event));
                }
                above_all = event.source.above;
            }
        }
    }
}

/// The event as users see it, the next one if there are two, and its failure. The failure must be dropped last, so that
/// no user's error is dropped on this thread.
fn kinds_of(event: NodeEvent<NodeContents>) -> (EventKind, Option<EventKind>, Option<Failure>) {
    let (mut next, mut kept) = (None, None);
    let mut error = |failure: Box<Failure>| {
        let error = (*failure).clone().into_error();
        kept = Some(*failure);
        error
    };
    let kind = match event {
        NodeEvent::Made => EventKind::Made,
        NodeEvent::Closing(reason) => EventKind::Closing(reason),
        NodeEvent::Aborting => EventKind::Aborting,
        NodeEvent::BodyEnded => EventKind::BodyEnded,
        NodeEvent::TeardownQueued => EventKind::TeardownQueued,
        NodeEvent::TeardownStarted => EventKind::TeardownStarted,
        NodeEvent::TeardownEnded => EventKind::TeardownEnded,
        NodeEvent::Failed(failure) => EventKind::Failed(error(failure)),
        NodeEvent::Closed { failure, closing_millis } => {
            let outcome = failure.map_or(Ok(()), |failure| Err(error(failure)));
            let closing_for = Duration::from_millis(closing_millis.into());
            EventKind::Closed { outcome, closing_for }
        }
        NodeEvent::ClosedAtOnce(reason) => {
            next = Some(EventKind::Closed { outcome: Ok(()), closing_for: Duration::ZERO });
            EventKind::Closing(reason)
        }
    };
    (kind, next, kept)
}

/// The observers of the program, which a process without a parent is given when it is made.
#[inline]
pub(crate) fn of_program() -> Option<Arc<Scope<NodeContents>>> {
    #[cfg_attr(not(any(feature = "tracing", feature = "metrics")), expect(unused_mut))]
    let mut observers: Vec<Observer> = Vec::new();
    #[cfg(feature = "metrics")]
    observers.extend([own(&METRICS, || Role::Metrics)]);
    #[cfg(feature = "tracing")]
    if super::tracing::traces_phases() {
        observers.extend([own(&TRACING, || Role::Tracing)]);
    }
    (!observers.is_empty()).then(|| Scope::new(observers, None))
}

/// If a subscriber for the phases was set after `parent` was made, everything above and below `parent` is traced from
/// now on. Called before a child is made. Without a subscriber for the phases, it costs one relaxed load.
#[inline]
pub(crate) fn look_for_tracing(parent: &Arc<Node>) {
    #[cfg(feature = "tracing")]
    if super::tracing::may_trace_phases() && !parent.is_traced() {
        trace_tree(parent);
    }
    #[cfg(not(feature = "tracing"))]
    let _ = parent;
}

#[cfg(feature = "tracing")]
#[cold]
fn trace_tree(node: &Arc<Node>) {
    if super::tracing::traces_phases() {
        let observer = own(&TRACING, || Role::Tracing);
        node.topmost().add_observer(observer.clone());
        node.add_observer(observer);
    }
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
type Own = OnceCell<Observer>;

#[cfg(feature = "tracing")]
static TRACING: Own = Own::new();

#[cfg(feature = "metrics")]
static METRICS: Own = Own::new();

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn own(cell: &Own, role: impl FnOnce() -> Role) -> Observer {
    let observer = cell.get_or_init(|| Observer::new(role()));
    prepare();
    observer.clone()
}

/// The observers with events, and the thread that delivers them.
struct List {
    observers: Vec<Observer>,
    /// The unparker of the thread, once it exists.
    unparker: Option<Unparker>,
    /// The thread is parked until it is unparked.
    is_idle: bool,
    /// The number of calls of [`flush`], and the number of those that the thread has answered.
    asked: u64,
    answered: u64,
}

static LIST: Mutex<List> = Mutex::new(List {
    observers: Vec::new(),
    unparker: None,
    is_idle: false,
    asked: 0,
    answered: 0,
});

/// Notified when the thread has answered calls of [`flush`].
static ANSWERED: Notification = Notification::new();

impl List {
    fn wake(&mut self, is_urgent: bool) {
        if self.is_idle || is_urgent {
            self.is_idle = false;
            if let Some(unparker) = &self.unparker {
                unparker.unpark();
            }
        }
    }
}

/// Starts the thread, unless it is already running. If the OS cannot create it, that is tried again from time to time.
pub(crate) fn prepare() {
    let mut list = LIST.lock();
    if list.unparker.is_some() {
        return;
    }
    let parker = Parker::new();
    let unparker = parker.unparker();
    match spawn_thread(Some("procession-events"), move || deliver_all(&parker)) {
        Ok(()) => list.unparker = Some(unparker),
        Err(_) => drop(timer::call_at(Instant::now() + RETRY, prepare)),
    }
}

/// The loop of the thread.
fn deliver_all(parker: &Parker) {
    IS_EVENT_THREAD.set(true);
    let mut has_paused = true;
    let mut spare = Vec::new();
    loop {
        let mut list = LIST.lock();
        let observers = mem::take(&mut list.observers);
        let asked = list.asked;
        if observers.is_empty() && has_paused && list.answered == asked {
            list.is_idle = true;
            drop(list);
            spare = Vec::new();
            parker.park();
            continue;
        }
        drop(list);
        has_paused = observers.is_empty();
        for observer in observers {
            observer.deliver(&mut spare);
        }
        answer(asked);
        parker.park_timeout(PAUSE);
    }
}

fn answer(asked: u64) {
    let mut list = LIST.lock();
    if list.answered != asked {
        list.answered = asked;
        drop(list);
        ANSWERED.notify(usize::MAX);
    }
}

thread_local! {
    static IS_EVENT_THREAD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Waits until the hooks were called for every event so far; `false` if that takes longer than `timeout`, or if this is
/// called by a hook.
pub(crate) fn flush(timeout: Duration) -> bool {
    if IS_EVENT_THREAD.get() {
        return false;
    }
    let mut list = LIST.lock();
    if list.unparker.is_none() {
        return list.observers.is_empty();
    }
    list.asked += 1;
    let asked = list.asked;
    list.wake(true);
    drop(list);
    let deadline = crate::value::time::deadline_after(timeout);
    loop {
        let listener = ANSWERED.listen();
        if LIST.lock().answered >= asked {
            return true;
        }
        match deadline {
            Some(deadline) => {
                if listener.wait_deadline(deadline).is_none() {
                    return LIST.lock().answered >= asked;
                }
            }
            None => listener.wait(),
        }
    }
}

// An event is moved several times on its way into the queue.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Entry>() <= 64);
