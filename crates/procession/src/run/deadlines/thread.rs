//! The deadline thread.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use parking::{Parker, Unparker};

use crate::run::perform::{drop_sleeper, perform_elsewhere};
use crate::run::{Effects, Node, perform, pool};
use crate::state::Moment;
use crate::value::Reason;
use crate::value::sleeper::{Sleeper, register};
use crate::value::sync::{Mutex, spawn_thread};
use crate::value::time::deadline_after;

/// The key of an entry: its deadline, and a number that distinguishes entries with the same deadline.
type Key = (Instant, u64);

struct Deadlines {
    entries: BTreeMap<Key, Action>,
    next: u64,
    /// The unparker of the thread, once it exists.
    unparker: Option<Unparker>,
}

/// An action at a deadline.
enum Action {
    Abort(Weak<Node>),
    /// Wakes the task that polls a [`Sleep`].
    Wake(Arc<Mutex<Due>>),
    CheckPool,
}

/// How long a poll of a [`Sleep`] sleeps if the OS cannot create the thread.
const RETRY: Duration = Duration::from_millis(10);

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

/// The loop of the thread: carries out the actions that are due, and parks until the next deadline.
fn keep(parker: &Parker) {
    loop {
        let now = Instant::now();
        let mut sleepers = Effects::default();
        let next = loop {
            match next_by(now) {
                Ok(Action::Abort(node)) => {
                    if let Some(node) = node.upgrade() {
                        perform_elsewhere(node.close(&Reason::Asked, true));
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

/// Makes the thread check the pool at `deadline`; `false` if the OS cannot create the thread. It is called with the
/// pool's lock held.
pub(in crate::run) fn schedule_pool_check(deadline: Instant) -> bool {
    insert(deadline, Action::CheckPool).is_some()
}

/// Aborts the process at `deadline`, unless it is Closed by then; `false` if the OS cannot create the thread.
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

/// Aborts the process after `grace`, unless it is Closed by then.
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    let Some(deadline) = deadline_after(grace) else { return };
    if grace.is_zero() || !abort_at(node, deadline) {
        perform(node.close(&Reason::Asked, true));
    }
}

/// Aborts the process if it is still Closing `grace` after it began to close, for whatever reason.
pub(crate) fn abort_past_grace(node: &Arc<Node>, grace: Duration) {
    let begin = Waker::from(Arc::new(Grace { node: Arc::downgrade(node), grace }));
    // The sleeper is the library's own, so that it is woken before the wakers of users, which may block.
    let sleeper = Sleeper::own(begin);
    let (is_registered, spare) = node.register_sleeper(Moment::Closing, &mut None, sleeper);
    drop_sleeper(spare);
    if !is_registered {
        abort_after(node, grace);
    }
}

/// Starts the grace when it is woken.
struct Grace {
    node: Weak<Node>,
    grace: Duration,
}

impl Wake for Grace {
    /// This may run on the signal thread, so the abort is left to the thread for deadlines, even without a grace.
    fn wake(self: Arc<Self>) {
        let (Some(node), Some(deadline)) = (self.node.upgrade(), deadline_after(self.grace)) else {
            return;
        };
        if !abort_at(&node, deadline) {
            perform_elsewhere(node.close(&Reason::Asked, true));
        }
    }
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
/// If the OS cannot create the deadline thread, its polls sleep for a while instead.
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
        let remaining = deadline.saturating_duration_since(Instant::now());
        if self.entry.is_none() && !remaining.is_zero() {
            let due = Arc::<Mutex<Due>>::default();
            self.entry = insert(deadline, Action::Wake(due.clone())).map(|key| (key, due));
        }
        let Some((_, due)) = &self.entry else {
            if remaining.is_zero() {
                return Poll::Ready(());
            }
            // Nothing is left to wait with but the polling thread. It tries again soon, and does not spin (I15).
            std::thread::sleep(remaining.min(RETRY));
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
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
