//! The inbox of a manager: commands from callers, and reports from the runs of its units. It is the only way in which
//! other threads reach the manager's task.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use procession::support::{Listener, RunEvent, RunId, Sleeper, register, wake_sleeper};

use crate::sync::Mutex;

/// An inbox for commands of type `C`.
pub(crate) struct Inbox<C> {
    queue: Mutex<Queue<C>>,
}

struct Queue<C> {
    /// Does the inbox accept commands? It does while the manager is running.
    is_open: bool,
    commands: Vec<C>,
    reports: Vec<(RunId, RunEvent)>,
    sleeper: Option<Sleeper>,
}

impl<C> Inbox<C> {
    pub(crate) fn new() -> Arc<Self> {
        let queue =
            Queue { is_open: false, commands: Vec::new(), reports: Vec::new(), sleeper: None };
        Arc::new(Self { queue: Mutex::new(queue) })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.queue.lock().is_open
    }

    pub(crate) fn open(&self) {
        self.queue.lock().is_open = true;
    }

    /// Rejects commands from now on, and drops the queued ones, which answers their callers. Reports stay queued for
    /// the next run of the manager.
    ///
    /// It also drops the sleeper. So the inbox holds no foreign value once the manager has ended, and may be dropped
    /// anywhere.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.is_open = false;
        let dropped = (mem::take(&mut queue.commands), queue.sleeper.take());
        drop(queue);
        drop(dropped);
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
        wake_sleeper(sleeper);
        Ok(())
    }

    /// Takes everything out of the inbox. Anything that is added later wakes `waker`.
    pub(crate) fn take(&self, waker: &Waker) -> (Vec<C>, Vec<(RunId, RunEvent)>) {
        let (mut commands, mut reports) = (Vec::new(), Vec::new());
        let replaced = register(&self.queue, waker, |queue| {
            // This may be called twice. The second call takes what came while the waker was being cloned.
            move_all(&mut queue.commands, &mut commands);
            move_all(&mut queue.reports, &mut reports);
            Some(&mut queue.sleeper)
        });
        drop(replaced);
        (commands, reports)
    }
}

fn move_all<T>(from: &mut Vec<T>, to: &mut Vec<T>) {
    if to.is_empty() {
        mem::swap(from, to);
    } else {
        to.append(from);
    }
}

/// Because runs report to the inbox, the manager needs neither a task nor a waker for each running unit.
impl<C: Send + 'static> Listener for Inbox<C> {
    fn notify(&self, run: RunId, told: RunEvent) -> Option<Sleeper> {
        let mut queue = self.queue.lock();
        queue.reports.push((run, told));
        queue.sleeper.take()
    }
}
