//! The inbox of a manager: commands from callers, reports from the runs of its units, and what these leave behind. It is
//! the only way in which other threads reach the manager's task.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use procession::support::{Listener, RunEvent, RunId, Sleeper, register, wake_sleeper};
use procession::{Process, WeakProcess};

use super::left_in_runs::LeftInRuns;
use crate::stuck_units::LeftBehind;
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
    /// What nested managers and sets have left behind, until the end of the run that they are part of is handled.
    left: LeftInRuns,
    /// The [stand-in](super::left).
    stand_in: Option<WeakProcess>,
    sleeper: Option<Sleeper>,
}

impl<C> Inbox<C> {
    pub(crate) fn new() -> Arc<Self> {
        let queue = Queue {
            is_open: false,
            commands: Vec::new(),
            reports: Vec::new(),
            left: LeftInRuns::default(),
            stand_in: None,
            sleeper: None,
        };
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

    /// The [stand-in](super::left); `None` if there was none yet, or if it no longer exists.
    pub(crate) fn stand_in(&self) -> Option<Process> {
        self.queue.lock().stand_in.as_ref()?.upgrade()
    }

    /// Sets the stand-in, which waits for whatever the runs leave behind from now on.
    pub(crate) fn set_stand_in(&self, stand_in: &Process) {
        self.queue.lock().stand_in = Some(stand_in.downgrade());
    }

    /// What nested managers and sets have left behind in this run so far.
    pub(crate) fn left_in(&self, run: RunId) -> Vec<Arc<LeftBehind>> {
        self.queue.lock().left.of(run.number)
    }

    /// The end of this run was handled.
    pub(crate) fn forget_left_in(&self, run: RunId) {
        let left = self.queue.lock().left.remove(run.number);
        drop(left);
    }

    fn add_left(&self, run: RunId, left: Arc<LeftBehind>) {
        let mut queue = self.queue.lock();
        let ended = queue.left.add(run.number, left.clone());
        drop(queue);
        drop(ended);
        if let (Some(stand_in), Some(open)) = (self.stand_in(), left.open()) {
            // If it is refused, everything that the manager has left behind has ended, so this is not part of it.
            let _waits = stand_in.wait_for(&open);
        }
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
        if let RunEvent::Leaves(about) = told {
            if let Ok(left) = about.downcast() {
                self.add_left(run, left);
            }
            return None;
        }
        let mut queue = self.queue.lock();
        queue.reports.push((run, told));
        queue.sleeper.take()
    }
}
