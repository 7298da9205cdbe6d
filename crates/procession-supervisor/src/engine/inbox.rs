//! The inbox of a manager: commands, and runs that have something to tell. It is how other threads reach the
//! one task that moves the units.

use std::mem;
use std::sync::Arc;
use std::task::{Wake, Waker};

use procession::support::{Sleeper, register};

use crate::sync::{AtomicBool, Mutex, Ordering};

/// A run of a unit: the place of the unit, which another may have later, and the run's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunId {
    pub(crate) unit: usize,
    pub(crate) number: u64,
}

/// Of commands `C`.
pub(crate) struct Inbox<C> {
    queue: Mutex<Queue<C>>,
}

struct Queue<C> {
    /// Commands are taken: the manager is running.
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

    /// Takes no more commands. Those that are in it are dropped, and so are answered. Runs that have something
    /// to tell stay in it: the next run of the manager looks at those that are left.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        let commands = mem::take(&mut queue.commands);
        drop(queue);
        drop(commands);
    }

    /// Puts a command in it.
    ///
    /// # Errors
    ///
    /// The command, if it takes none.
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

    /// All that is in it. Who puts something in it after this wakes `waker`.
    pub(crate) fn take(&self, waker: &Waker) -> (Vec<C>, Vec<RunId>) {
        drop(register(&self.queue, waker, |queue| Some(&mut queue.sleeper)));
        let mut queue = self.queue.lock();
        (mem::take(&mut queue.commands), mem::take(&mut queue.woken))
    }
}

/// The waker of a run: puts it in the inbox, once until it is looked at. So a unit that runs has no task of
/// its manager's beside it.
pub(crate) struct Watcher<C> {
    inbox: Arc<Inbox<C>>,
    run: RunId,
    /// It is in the inbox, or was not looked at.
    is_queued: AtomicBool,
}

impl<C> Watcher<C> {
    /// The watcher of a run that is to be looked at.
    pub(crate) fn new(inbox: Arc<Inbox<C>>, run: RunId) -> Arc<Self> {
        Arc::new(Self { inbox, run, is_queued: AtomicBool::new(true) })
    }

    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// The run is about to be looked at: what happens after that is told again.
    pub(crate) fn rearm(&self) {
        // A swap, not a store: what was done before a call that found the run queued already is seen after this.
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
