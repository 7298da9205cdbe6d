//! The deadline thread: one thread of the library, a sorted map and a parker (I15).
//!
//! The thread needs no file descriptor and no executor, and no foreign code runs on it. An action only changes the
//! state of processes, wakes the library's own sleepers, and hands everything else to the pool.
//!
//! # Invariant
//!
//! The thread sleeps at most until the first deadline in the map, *because* it reads that deadline under the lock
//! before it parks, and a thread that inserts a new first deadline unparks it. (A parker remembers that it was
//! unparked.)
//!
//! Lock order: the lock of the map is the last one. It may be taken under the pool's lock, and therefore also under a
//! node's. No lock is taken under it.

use std::collections::BTreeMap;
use std::time::Instant;

use parking::{Parker, Unparker};

use crate::value::sync::{Mutex, spawn_thread};

/// The key of an entry: its deadline, and a number that distinguishes entries with the same deadline.
pub(super) type Key = (Instant, u64);

struct Timer {
    entries: BTreeMap<Key, Action>,
    next: u64,
    /// The unparker of the thread, once it exists.
    unparker: Option<Unparker>,
}

/// The action at a deadline. It runs no foreign code.
enum Action {
    Call(fn()),
    Run(Box<dyn FnOnce() + Send>),
}

static TIMER: Mutex<Timer> =
    Mutex::new(Timer { entries: BTreeMap::new(), next: 0, unparker: None });

/// Runs `action` at `deadline`; `None` if the OS cannot create the deadline thread.
pub(super) fn run_at(deadline: Instant, action: impl FnOnce() + Send + 'static) -> Option<Key> {
    insert(deadline, Action::Run(Box::new(action)))
}

/// Calls `action` at `deadline`; `false` if the OS cannot create the deadline thread. This allocates no closure, and
/// may be called with the pool's lock held.
pub(super) fn call_at(deadline: Instant, action: fn()) -> bool {
    insert(deadline, Action::Call(action)).is_some()
}

/// Removes an entry, if it is still there.
pub(super) fn cancel(key: Key) {
    let removed = TIMER.lock().entries.remove(&key);
    drop(removed);
}

/// Starts the thread, unless it is running; `false` if the OS cannot create it.
pub(super) fn prepare() -> bool {
    TIMER.lock().unparker().is_some()
}

fn insert(deadline: Instant, action: Action) -> Option<Key> {
    let mut timer = TIMER.lock();
    let unparker = timer.unparker()?;
    let key = (deadline, timer.next);
    timer.next += 1;
    timer.entries.insert(key, action);
    let is_first = timer.entries.first_key_value().is_some_and(|(first, _)| *first == key);
    drop(timer);
    if is_first {
        unparker.unpark();
    }
    Some(key)
}

impl Timer {
    /// The unparker of the thread, which is started unless it is running.
    fn unparker(&mut self) -> Option<Unparker> {
        if self.unparker.is_none() {
            self.unparker = start().ok();
        }
        self.unparker.clone()
    }
}

fn start() -> std::io::Result<Unparker> {
    let parker = Parker::new();
    let unparker = parker.unparker();
    spawn_thread(Some("procession-deadlines"), move || keep(&parker))?;
    Ok(unparker)
}

/// The main function of the thread: carries out the actions that are due, and parks until the next deadline.
fn keep(parker: &Parker) {
    loop {
        let now = Instant::now();
        let next = loop {
            match next_by(now) {
                Ok(Action::Call(action)) => action(),
                Ok(Action::Run(action)) => action(),
                Err(next) => break next,
            }
        };
        match next {
            Some(next) => drop(parker.park_deadline(next)),
            None => parker.park(),
        }
    }
}

/// Takes the next action whose deadline has come by `now`. The error is the next deadline, if there is one.
fn next_by(now: Instant) -> Result<Action, Option<Instant>> {
    let mut timer = TIMER.lock();
    match timer.entries.first_entry() {
        Some(first) if first.key().0 <= now => Ok(first.remove()),
        Some(first) => Err(Some(first.key().0)),
        None => Err(None),
    }
}
