//! The inbox of a manager: commands, and runs with something to report. Other threads reach the manager's single task
//! only through it.

use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};

use procession::support::{Sleeper, register};

use crate::sync::{AtomicBool, Mutex, Ordering};

/// Identifies a run: the index of its unit, which another unit may use later, and the run's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId {
    pub(crate) unit: usize,
    pub(crate) number: u64,
}

/// An inbox for commands of type `C`.
pub(crate) struct Inbox<C> {
    queue: Mutex<Queue<C>>,
}

struct Queue<C> {
    /// The inbox accepts commands, because the manager is running.
    is_open: bool,
    commands: Vec<C>,
    woken: Vec<RunId>,
    sleeper: Option<Sleeper>,
}

impl<C> Inbox<C> {
    pub(crate) fn new() -> Arc<Self> {
        let queue =
            Queue { is_open: false, commands: Vec::new(), woken: Vec::new(), sleeper: None };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.queue.lock().is_open
    }

    pub(crate) fn open(&self) {
        self.queue.lock().is_open = true;
    }

    /// Rejects commands from now on, and drops the queued ones, which answers their callers. Woken runs stay queued:
    /// the next run of the manager looks at them.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        let commands = mem::take(&mut queue.commands);
        drop(queue);
        drop(commands);
    }

    /// Queues a command.
    ///
    /// # Errors
    ///
    /// Returns the command if the inbox is closed.
    pub(crate) fn command(&self, command: C) -> Result<(), C> {
        let mut queue = self.queue.lock();
        if !queue.is_open {
            return Err(command);
        }
        queue.commands.push(command);
        let sleeper = queue.sleeper.take();
        drop(queue);
        sleeper.into_iter().for_each(|sleeper| sleeper.into_waker().wake());
        Ok(())
    }

    /// Takes everything in the inbox. Whatever is added later wakes `waker`.
    pub(crate) fn take(&self, waker: &Waker) -> (Vec<C>, Vec<RunId>) {
        drop(register(&self.queue, waker, |queue| Some(&mut queue.sleeper)));
        let mut queue = self.queue.lock();
        (mem::take(&mut queue.commands), mem::take(&mut queue.woken))
    }
}

/// The waker of a run: it adds the run to the inbox, at most once until the manager looks at the run. The manager
/// therefore needs no task for each running unit.
pub(crate) struct Watcher<C> {
    inbox: Arc<Inbox<C>>,
    run: RunId,
    /// The run is in the inbox, or the manager has not looked at it yet.
    is_queued: AtomicBool,
}

impl<C> Watcher<C> {
    /// The watcher of a new run. It counts as queued, because the manager looks at the run next.
    pub(crate) fn new(inbox: Arc<Inbox<C>>, run: RunId) -> Arc<Self> {
        Arc::new(Self { inbox, run, is_queued: AtomicBool::new(true) })
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// Call this right before looking at the run: a wake after it queues the run again.
    pub(crate) fn rearm(&self) {
        // A swap, not a store: it acquires the writes that precede a `wake` that found the run already queued. Pairs
        // with the swap in `wake_by_ref`.
        self.is_queued.swap(false, Ordering::AcqRel);
    }
}

impl<C: Send + 'static> Wake for Watcher<C> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.inbox.queue.lock();
        queue.woken.push(self.run);
        let sleeper = queue.sleeper.take();
        drop(queue);
        sleeper.into_iter().for_each(|sleeper| sleeper.into_waker().wake());
    }
}
