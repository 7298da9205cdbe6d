//! Deadlines: one thread of the library, a sorted map and a parker (I15).
//!
//! It needs no file descriptor and no executor, and no foreign code runs on it: it changes states and wakes the library's
//! own sleepers; whatever else that leads to is handed to the pool, ahead of everything that waits there.
//!
//! # Invariants
//!
//! - The thread sleeps at most until the first deadline in the map. *Because* it looks for the first deadline under the
//!   lock before it parks, and whoever inserts a new first one unparks it, which a parker remembers.
//! - An entry whose process is Closed is not in the map. *Because* a sleeper that removes it is registered for Closed in
//!   the same call that inserts it (I12).
//!
//! Lock order: the map's lock is taken with no lock held but the pool's, and no lock is taken under it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Node, perform};
use crate::value::Reason;

/// The deadline that is `duration` from now; `None` if that is beyond what a clock can express, which is as good as
/// never.
pub fn deadline_after(duration: Duration) -> Option<Instant> {
    now().checked_add(duration)
}

/// Aborts the process after `grace`, unless it is Closed then.
#[cfg(not(loom))]
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    let Some(deadline) = deadline_after(grace) else { return };
    if grace.is_zero() || !thread::abort_at(node, deadline) {
        perform(node.close(Reason::Asked, true));
    }
}

/// A model has no clock: a grace is over at once if it is zero, and otherwise never.
#[cfg(loom)]
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    if grace.is_zero() {
        perform(node.close(Reason::Asked, true));
    }
}

/// The time now.
#[cfg(not(loom))]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time now, which is the same in all executions of a model.
#[cfg(loom)]
pub(crate) fn now() -> Instant {
    static NOW: once_cell::sync::Lazy<Instant> = once_cell::sync::Lazy::new(Instant::now);
    *NOW
}

/// A future that is ready if `deadline` has passed, and otherwise never.
#[cfg(loom)]
pub(crate) async fn sleep_until(deadline: Instant) {
    if deadline > now() {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(loom))]
pub(crate) use thread::sleep_until;
#[cfg(not(loom))]
pub(super) use thread::{prepare, schedule_pool_check};

#[cfg(not(loom))]
mod thread {
    use std::collections::BTreeMap;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::{Arc, Weak};
    use std::task::{Context, Poll, Wake, Waker};
    use std::time::Instant;

    use parking::{Parker, Unparker};

    use crate::run::perform::{drop_sleeper, perform_elsewhere};
    use crate::run::{Effects, Node, pool};
    use crate::state::Moment;
    use crate::value::Reason;
    use crate::value::sleeper::{Sleeper, register};
    use crate::value::sync::{Mutex, spawn_thread};

    /// What identifies an entry: its deadline, and a number that distinguishes those with the same deadline.
    type Key = (Instant, u64);

    struct Deadlines {
        entries: BTreeMap<Key, Action>,
        next: u64,
        /// That of the thread, once it exists.
        unparker: Option<Unparker>,
    }

    /// What happens at a deadline.
    enum Action {
        Abort(Weak<Node>),
        /// Wakes whoever polls a [`Sleep`].
        Wake(Arc<Mutex<Due>>),
        CheckPool,
    }

    static DEADLINES: Mutex<Deadlines> =
        Mutex::new(Deadlines { entries: BTreeMap::new(), next: 0, unparker: None });

    /// Inserts an entry, and makes sure that the thread runs; `None` if the OS cannot create it.
    fn insert(deadline: Instant, action: Action) -> Option<Key> {
        let mut deadlines = DEADLINES.lock();
        let key = (deadline, deadlines.next);
        deadlines.next += 1;
        deadlines.entries.insert(key, action);
        if deadlines.unparker.is_none() {
            deadlines.unparker = start().ok();
        }
        let Some(unparker) = deadlines.unparker.clone() else {
            deadlines.entries.remove(&key);
            return None;
        };
        let is_first = deadlines.entries.first_key_value().is_some_and(|(first, _)| *first == key);
        drop(deadlines);
        if is_first {
            unparker.unpark();
        }
        Some(key)
    }

    /// Removes an entry, if it is still there.
    fn cancel(key: Key) {
        let removed = DEADLINES.lock().entries.remove(&key);
        drop(removed);
    }

    /// Starts the thread, if it does not run yet; `false` if the OS cannot create it.
    pub(in crate::run) fn prepare() -> bool {
        let mut deadlines = DEADLINES.lock();
        if deadlines.unparker.is_none() {
            deadlines.unparker = start().ok();
        }
        deadlines.unparker.is_some()
    }

    fn start() -> std::io::Result<Unparker> {
        let parker = Parker::new();
        let unparker = parker.unparker();
        spawn_thread(Some("procession-deadlines"), move || keep(&parker))?;
        Ok(unparker)
    }

    /// The life of the thread.
    fn keep(parker: &Parker) {
        loop {
            let now = Instant::now();
            let mut sleepers = Effects::default();
            let next = loop {
                match next_by(now) {
                    Ok(Action::Abort(node)) => {
                        if let Some(node) = node.upgrade() {
                            perform_elsewhere(node.close(Reason::Asked, true));
                        }
                    }
                    Ok(Action::Wake(due)) => {
                        let sleeper = due.lock().come();
                        sleeper.into_iter().for_each(|sleeper| sleepers.wake(sleeper));
                    }
                    Ok(Action::CheckPool) => pool::check(),
                    Err(next) => break next,
                }
            };
            perform_elsewhere(sleepers);
            match next {
                Some(next) => drop(parker.park_deadline(next)),
                None => parker.park(),
            }
        }
    }

    /// The next action whose deadline has come by `now`, or else the next deadline.
    fn next_by(now: Instant) -> Result<Action, Option<Instant>> {
        let mut deadlines = DEADLINES.lock();
        match deadlines.entries.first_entry() {
            Some(first) if first.key().0 <= now => Ok(first.remove()),
            Some(first) => Err(Some(first.key().0)),
            None => Err(None),
        }
    }

    /// Has the pool checked at `deadline`; `false` if the OS cannot create the thread. It is called with the pool's lock
    /// held.
    pub(in crate::run) fn schedule_pool_check(deadline: Instant) -> bool {
        insert(deadline, Action::CheckPool).is_some()
    }

    /// Aborts the process at `deadline`, unless it is Closed then; `false` if the OS cannot create the thread.
    pub(super) fn abort_at(node: &Arc<Node>, deadline: Instant) -> bool {
        let Some(key) = insert(deadline, Action::Abort(Arc::downgrade(node))) else { return false };
        let cancel_it = Sleeper::own(Waker::from(Arc::new(Cancel(key))));
        let (is_registered, spare) = node.register_sleeper(Moment::Closed, &mut None, cancel_it);
        if !is_registered {
            cancel(key);
        }
        drop_sleeper(spare);
        true
    }

    /// Removes an entry when it is woken.
    struct Cancel(Key);

    impl Wake for Cancel {
        fn wake(self: Arc<Self>) {
            cancel(self.0);
        }
    }

    /// A future that is ready at a deadline, under every executor.
    ///
    /// If the OS cannot create the thread that keeps it, it is ready early.
    pub(crate) struct Sleep {
        deadline: Instant,
        entry: Option<(Key, Arc<Mutex<Due>>)>,
    }

    #[derive(Default)]
    struct Due {
        has_come: bool,
        sleeper: Option<Sleeper>,
    }

    impl Due {
        fn come(&mut self) -> Option<Sleeper> {
            self.has_come = true;
            self.sleeper.take()
        }
    }

    /// A future that is ready at `deadline`.
    pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
        Sleep { deadline, entry: None }
    }

    impl Future for Sleep {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            let deadline = self.deadline;
            if self.entry.is_none() && Instant::now() < deadline {
                let due = Arc::<Mutex<Due>>::default();
                self.entry = insert(deadline, Action::Wake(due.clone())).map(|key| (key, due));
            }
            let Some((_, due)) = &self.entry else { return Poll::Ready(()) };
            let mut has_come = false;
            let spare = register(due, context.waker(), |due| {
                has_come = due.has_come;
                (!has_come).then_some(&mut due.sleeper)
            });
            drop_sleeper(spare);
            if has_come { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    impl Drop for Sleep {
        fn drop(&mut self) {
            if let Some((key, due)) = self.entry.take() {
                cancel(key);
                let sleeper = due.lock().sleeper.take();
                drop_sleeper(sleeper);
            }
        }
    }
}
