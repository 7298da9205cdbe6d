//! Calls of a hook while a process stays Closing.
//!
//! While the process is Running, a sleeper for Closing holds the hook. While it is Closing, the hook is held by an
//! entry of the deadline thread, and by a sleeper for Closed that removes that entry. Both sleepers are the library's
//! own, and leave the node when their moment has come, so nothing is left once the process is Closed (I12). Therefore
//! the hook may hold a handle to the process.
//!
//! The deadline thread only schedules. The blockers are searched for, and the hook is called, on a thread of the pool
//! that does not count towards its limit. If a call has not returned when the next one is due, the next one is skipped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::{Duration, Instant};

use crate::run::catch::contain;
use crate::run::foreign::Foreign;
use crate::run::pool::run_now;
use crate::run::timer::{Key, cancel, run_at};
use crate::run::wakers::register_own;
use crate::run::{Node, look_at};
use crate::state::Moment;
use crate::value::sync::Mutex;
use crate::value::{Phase, Stall};

/// The number of blockers that a hook is given.
const BLOCKERS: usize = 16;

/// The shortest time before the first call, so that a hook with an `after` of zero does not spin.
const SHORTEST: Duration = Duration::from_millis(1);

type Hook = Box<dyn Fn(&Stall) + Send + Sync>;

/// A hook for a slow closing.
struct Watcher {
    node: Weak<Node>,
    after: Duration,
    /// Are the stalls also `tracing` events?
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "for events"))]
    is_recorded: bool,
    hook: Foreign<Hook>,
    /// The entry of the deadline thread; `None` before the process is Closing, and once it is Closed.
    entry: Mutex<Option<Key>>,
    is_closed: AtomicBool,
    is_calling: AtomicBool,
}

/// Calls `hook` when the process has been Closing for `after`, for twice that, for four times that, and so on, until it
/// is Closed.
pub(crate) fn watch_for_stalls(
    node: &Arc<Node>,
    after: Duration,
    is_recorded: bool,
    hook: impl Fn(&Stall) + Send + Sync + 'static,
) {
    let watcher = Arc::new(Watcher {
        node: Arc::downgrade(node),
        after: after.max(SHORTEST),
        is_recorded,
        hook: Foreign::new(Box::new(hook)),
        entry: Mutex::new(None),
        is_closed: AtomicBool::new(false),
        is_calling: AtomicBool::new(false),
    });
    if !register_own(node, Moment::Closing, Arc::new(Begin(watcher.clone()))) {
        watcher.begin(node);
    }
}

/// Schedules the first call when it is woken.
struct Begin(Arc<Watcher>);

impl Wake for Begin {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.0.node.upgrade() {
            self.0.begin(&node);
        }
    }
}

/// Removes the entry when it is woken.
struct End(Arc<Watcher>);

impl Wake for End {
    fn wake(self: Arc<Self>) {
        self.0.end();
    }
}

impl Watcher {
    /// The process has begun to close: schedules the first call.
    fn begin(self: &Arc<Self>, node: &Arc<Node>) {
        let closing_for = node.closing_for();
        let Some(began) = Instant::now().checked_sub(closing_for) else { return };
        // The first of the times that has not passed yet.
        let mut total = self.after;
        while total < closing_for {
            total = total.saturating_mul(2);
        }
        self.schedule(began, total);
        if !register_own(node, Moment::Closed, Arc::new(End(self.clone()))) {
            self.end();
        }
    }

    /// The process is Closed: no more calls are made.
    fn end(&self) {
        let mut entry = self.entry.lock();
        self.is_closed.store(true, Ordering::Relaxed);
        let key = entry.take();
        drop(entry);
        key.into_iter().for_each(cancel);
    }

    /// Schedules the call of the hook for the time when the process will have been Closing for `total`.
    fn schedule(self: &Arc<Self>, began: Instant, total: Duration) {
        let Some(deadline) = began.checked_add(total) else { return };
        let mut entry = self.entry.lock();
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let watcher = self.clone();
        *entry = run_at(deadline, move || watcher.act(began, total));
    }

    /// The process has been Closing for `total`. This runs on the deadline thread.
    fn act(self: Arc<Self>, began: Instant, total: Duration) {
        self.schedule(began, total.saturating_mul(2));
        if !self.is_calling.swap(true, Ordering::Acquire) {
            run_now(Box::new(move || {
                self.call(total);
                self.is_calling.store(false, Ordering::Release);
            }));
        }
    }

    fn call(&self, total: Duration) {
        let Some(node) = self.node.upgrade() else { return };
        let snapshot = look_at(&node);
        let blockers = snapshot.blockers(BLOCKERS);
        let open = snapshot.open();
        if node.phase() != Phase::Closing {
            return;
        }
        let closing_for = node.closing_for().max(total);
        let next = total.saturating_mul(2).saturating_sub(closing_for);
        let stall = Stall { process: node.label(), closing_for, open, blockers, next };
        #[cfg(feature = "tracing")]
        if self.is_recorded {
            crate::run::tracing::stalled_with_hook(&stall, &snapshot);
        }
        contain(|| (self.hook.get())(&stall));
    }
}
