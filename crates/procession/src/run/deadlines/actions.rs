//! The actions at deadlines.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake};
use std::time::{Duration, Instant};

use crate::run::abort::{ReportedBy, abort, close};
use crate::run::hooks::time_limit_over;
use crate::run::perform::{perform, perform_elsewhere};
use crate::run::pool::run_now;
use crate::run::timer::{Key, cancel, run_at};
use crate::run::wakers::{drop_sleeper, register_own};
use crate::run::{Effects, Failure, Node, look_at};
use crate::state::Moment;
use crate::value::sleeper::{Sleeper, register};
use crate::value::sync::Mutex;
use crate::value::time::deadline_after;
use crate::value::{Error, Forced, Phase, Reason, Snapshot};

/// How long a poll of a [`Sleep`] blocks if the OS cannot create the deadline thread.
const RETRY: Duration = Duration::from_millis(10);

/// Aborts the process at `deadline`, unless it is Closed by then; `false` if the OS cannot create the deadline thread.
fn abort_at(node: &Arc<Node>, deadline: Instant) -> bool {
    let weak = Arc::downgrade(node);
    act_at(node, deadline, move || {
        if let Some(node) = weak.upgrade() {
            perform_elsewhere(close(&node, &Reason::Asked, true, ReportedBy::Event));
        }
    })
}

/// Runs `action` at `deadline`, unless the process is Closed by then; `false` if the OS cannot create the deadline
/// thread. The action must not own the process.
pub(crate) fn act_at(
    node: &Arc<Node>,
    deadline: Instant,
    action: impl FnOnce() + Send + 'static,
) -> bool {
    let Some(key) = run_at(deadline, action) else { return false };
    if !register_own(node, Moment::Closed, Arc::new(Cancel(key))) {
        cancel(key);
    }
    true
}

/// Aborts the process after `grace`, unless it is Closed by then. If it had to be aborted, its outcome contains
/// [`Error::Forced`].
pub(crate) fn abort_after(node: &Arc<Node>, grace: Duration) {
    let Some(deadline) = deadline_after(grace) else { return };
    let weak = Arc::downgrade(node);
    let act = move || force_elsewhere(&weak, grace, ReportedBy::Event, |_| ());
    if grace.is_zero() || !act_at(node, deadline, act) {
        force(node, grace, ReportedBy::Event, |_| ());
    }
}

/// Aborts the process on a thread of the pool, because the search for the items that keep it open would hold up the
/// deadline thread for too long. `record` is given the snapshot in which they were found.
pub(crate) fn force_elsewhere(
    node: &Weak<Node>,
    grace: Duration,
    reported_by: ReportedBy,
    record: impl FnOnce(Snapshot) + Send + 'static,
) {
    if let Some(node) = node.upgrade() {
        run_now(Box::new(move || force(&node, grace, reported_by, record)));
    }
}

/// Aborts the process because the grace has ended, and passes a snapshot of everything that kept it open to `record`.
/// If the process is Closed, or was aborted before, nothing happens.
fn force(
    node: &Arc<Node>,
    grace: Duration,
    reported_by: ReportedBy,
    record: impl FnOnce(Snapshot),
) {
    if node.phase() == Phase::Closed || node.is_aborting() {
        return;
    }
    let snapshot = look_at(node);
    let forced = Forced::new(node.label(), grace, &snapshot);
    let failure = Failure::new(Error::Forced(forced));
    if let Some(effects) = abort(node, &Reason::Asked, Some(failure), reported_by) {
        record(snapshot);
        perform(effects);
    }
}

/// Aborts the process if it is still Closing `grace` after it began to close, whatever the reason. Nothing is added to
/// its outcome.
pub(crate) fn abort_past_grace(node: &Arc<Node>, grace: Duration) {
    let begin = Grace { node: Arc::downgrade(node), grace };
    if !register_own(node, Moment::Closing, Arc::new(begin)) {
        begin_grace(node, grace);
    }
}

/// Starts the grace when it is woken.
struct Grace {
    node: Weak<Node>,
    grace: Duration,
}

impl Wake for Grace {
    fn wake(self: Arc<Self>) {
        if let Some(node) = self.node.upgrade() {
            begin_grace(&node, self.grace);
        }
    }
}

/// Aborts the process, which has begun to close, after `grace`, unless it is Closed by then. Nothing is added to its
/// outcome.
///
/// This may run on the signal thread, so the abort is left to the deadline thread, even if `grace` is zero.
pub(crate) fn begin_grace(node: &Arc<Node>, grace: Duration) {
    let Some(deadline) = deadline_after(grace) else { return };
    if !abort_at(node, deadline) {
        perform_elsewhere(close(node, &Reason::Asked, true, ReportedBy::Event));
    }
}

/// Aborts the process after `limit`, with [`Error::TimeLimit`] as its outcome, unless it is Closed by then.
pub(crate) fn limit_time(node: &Arc<Node>, limit: Duration) {
    let Some(deadline) = deadline_after(limit) else { return };
    let weak = Arc::downgrade(node);
    let end = move || {
        if let Some(node) = weak.upgrade() {
            end_time(node);
        }
    };
    if limit.is_zero() || !act_at(node, deadline, end) {
        end_time(node.clone());
    }
}

/// Aborts the process because its time limit has ended. The hooks are called after that, on a thread of the pool.
fn end_time(node: Arc<Node>) {
    let error = Error::TimeLimit(node.label());
    let Some((effects, waits)) = node.end_time(Failure::new(error.clone())) else { return };
    perform_elsewhere(effects);
    run_now(Box::new(move || perform(time_limit_over(&node, error, waits))));
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
/// If the OS cannot create the deadline thread, its polls block for a short time instead.
pub(crate) struct Sleep {
    deadline: Instant,
    entry: Option<(Key, Arc<Mutex<Alarm>>)>,
}

#[derive(Default)]
struct Alarm {
    has_come: bool,
    sleeper: Option<Sleeper>,
}

impl Alarm {
    fn come(shared: &Mutex<Self>) {
        let mut alarm = shared.lock();
        alarm.has_come = true;
        let sleeper = alarm.sleeper.take();
        drop(alarm);
        let mut effects = Effects::default();
        sleeper.into_iter().for_each(|sleeper| effects.wake(sleeper));
        perform_elsewhere(effects);
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
            let alarm = Arc::<Mutex<Alarm>>::default();
            let shared = alarm.clone();
            self.entry = run_at(deadline, move || Alarm::come(&shared)).map(|key| (key, alarm));
        }
        let Some((_, alarm)) = &self.entry else {
            if remaining.is_zero() {
                return Poll::Ready(());
            }
            // Only the polling thread is left to wait with. It tries again soon, and does not spin (I15).
            std::thread::sleep(remaining.min(RETRY));
            context.waker().wake_by_ref();
            return Poll::Pending;
        };
        let mut has_come = false;
        let spare = register(alarm, context.waker(), |alarm| {
            has_come = alarm.has_come;
            (!has_come).then_some(&mut alarm.sleeper)
        });
        drop_sleeper(spare);
        if has_come { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some((key, alarm)) = self.entry.take() {
            cancel(key);
            let sleeper = alarm.lock().sleeper.take();
            drop_sleeper(sleeper);
        }
    }
}
