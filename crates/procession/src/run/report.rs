//! Notifications from supervised processes to their supervisors.
//!
//! A supervisor may have very many processes, so it registers no waker with any of them. Instead, each supervised
//! process is made with a [`Report`], next to its name. The closing walk leaves an effect for each supervised process
//! that begins to close or ends, and the interpreter calls the supervisor's [`Listener`]. It does so before it calls
//! users' wakers, because a waker that blocks must delay neither the grace of the process nor the supervisor (I9).

use std::any::Any;
use std::iter;
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Duration;

use super::deadlines::begin_grace;
use super::pool::run_now;
use super::wakers::{register_own, wake_sleeper};
use super::{Effects, Inherited, Node, NodeContents};
use crate::state::{Moment, Reported};
use crate::value::sleeper::Sleeper;
use crate::value::sync::{AtomicBool, Ordering};
use crate::value::{Label, Phase};

/// The interface of a supervisor to its processes. The last process that refers to a listener drops it, on any thread
/// and inside `close()`, so the drop must not run foreign code.
pub trait Listener: Send + Sync + 'static {
    /// Something has happened to a run. Returns a sleeper that the caller must wake.
    ///
    /// It is called with no lock of this crate held. It must not run foreign code, and therefore not even drop a
    /// sleeper.
    fn notify(&self, run: RunId, event: RunEvent) -> Option<Sleeper>;
}

/// Identifies a run: the number of its unit, which may be reused for another unit, and the number of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RunId {
    /// The number of the unit.
    pub unit: u32,
    /// The number of the run.
    pub number: u64,
}

/// An event of a run, of which a listener is notified.
///
/// A process that goes from Running to Closed in one step is reported only as Closed. In other cases, Closed may arrive
/// before Closing if different threads report them.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum RunEvent {
    /// The run is ready.
    Ready,
    /// This process ended without an error before the run was ready.
    EndedUnready(Label),
    /// The process of the run has begun to close.
    Closing,
    /// The process of the run is Closed.
    Closed,
    /// A supervisor inside the run ends, and leaves something behind that has not ended. The run itself has not ended
    /// yet. The value, which is opaque to this crate, is what the supervisor says about it. Its drop runs no foreign code.
    Leaves(Arc<dyn Any + Send + Sync>),
}

/// The report of a supervised process.
pub(crate) struct Report(Target);

enum Target {
    Listener(Direct),
    /// The run was renamed, and uses the report that was made with its first name. That report is never itself such a
    /// reference.
    Other(Arc<Inherited>),
}

struct Direct {
    listener: Arc<dyn Listener>,
    number: u64,
    unit: u32,
    /// The run has reported that it is ready, or that it never will be. The swap is `AcqRel`, and pairs with itself and
    /// with the `Acquire` load in [`Report::has_reported_readiness`]: everything that the run did before the first call
    /// happens-before the return of a later call, which does nothing.
    has_reported_readiness: AtomicBool,
    /// The grace in nanoseconds, or [`NO_GRACE`].
    grace: u64,
}

/// Means that there is no grace, or one of more than 584 years.
const NO_GRACE: u64 = u64::MAX;

impl Report {
    /// The report of a run, which is aborted if it is still Closing `grace` after it began to close.
    pub(crate) fn new(listener: Arc<dyn Listener>, run: RunId, grace: Option<Duration>) -> Self {
        let RunId { unit, number } = run;
        let has_reported_readiness = AtomicBool::new(false);
        let grace = grace.and_then(|grace| u64::try_from(grace.as_nanos()).ok());
        let grace = grace.unwrap_or(NO_GRACE);
        Self(Target::Listener(Direct { listener, number, unit, has_reported_readiness, grace }))
    }

    /// A report that refers to the one in these values, for the values of the same run with another name.
    pub(crate) fn of(inherited: &Arc<Inherited>) -> Self {
        match inherited.report() {
            Some(Self(Target::Other(other))) => Self(Target::Other(other.clone())),
            _ => Self(Target::Other(inherited.clone())),
        }
    }

    fn direct(&self) -> &Direct {
        match &self.0 {
            Target::Listener(direct) => direct,
            Target::Other(other) => match other.report() {
                Some(Self(Target::Listener(direct))) => direct,
                _ => unreachable!("`of` refers to a report of its own"),
            },
        }
    }

    /// Are both the report of the same run?
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.direct(), other.direct())
    }

    /// Has the run reported whether it is ready?
    pub(crate) fn has_reported_readiness(&self) -> bool {
        self.direct().has_reported_readiness.load(Ordering::Acquire)
    }

    /// Reports that the run is ready or, with another event or none, that it never will be. Only the first call counts.
    /// Returns a sleeper that the caller must wake.
    pub(crate) fn report_readiness(&self, event: Option<RunEvent>) -> Option<Sleeper> {
        let direct = self.direct();
        if direct.has_reported_readiness.swap(true, Ordering::AcqRel) {
            return None;
        }
        direct.notify(event?)
    }

    /// Reports that the process has begun to close, and begins its grace, or that it is Closed. Returns a sleeper that
    /// the caller must wake.
    fn report_phase(&self, node: &Arc<Node>, is_closed: bool) -> Option<Sleeper> {
        let direct = self.direct();
        if is_closed {
            return direct.notify(RunEvent::Closed);
        }
        if direct.grace != NO_GRACE && node.phase() != Phase::Closed {
            begin_grace(node, Duration::from_nanos(direct.grace));
        }
        direct.notify(RunEvent::Closing)
    }

    /// Reports to the supervisor of the nearest run that the node is part of what the node leaves behind. Does nothing
    /// if it is part of no run. Returns a sleeper that the caller must wake.
    pub(crate) fn leave_behind(
        node: &Arc<Node>,
        left: impl FnOnce() -> Arc<dyn Any + Send + Sync>,
    ) -> Option<Sleeper> {
        let mut nodes = iter::once(node.clone()).chain(node.first_parents());
        let run = nodes.find_map(|node| node.supervised())?;
        run.report()?.direct().notify(RunEvent::Leaves(left()))
    }

    /// Reports the closing and the end of this process, which was not made for the run, as those of the run.
    pub(crate) fn attach(inherited: &Arc<Inherited>, node: &Arc<Node>) {
        node.attach(inherited.clone());
        for (moment, is_closed) in [(Moment::Closing, false), (Moment::Closed, true)] {
            let attached =
                Attached { report: Self::of(inherited), node: Arc::downgrade(node), is_closed };
            let attached = Arc::new(attached);
            if !register_own(node, moment, attached.clone()) {
                attached.wake();
            }
        }
    }
}

impl Direct {
    fn notify(&self, event: RunEvent) -> Option<Sleeper> {
        self.listener.notify(RunId { unit: self.unit, number: self.number }, event)
    }
}

/// Notifies the supervisors, and begins the graces. The sleepers that must be woken for that are added to the effects,
/// ahead of those of users: threads that call a supervisor wait for its answer, and a user's waker may block until such a
/// thread is awake (I9).
#[inline]
pub(super) fn notify_supervisors(effects: &mut Effects) {
    let notify = |Reported { node, is_closed }: Reported<NodeContents>| {
        node.report()?.report_phase(&node, is_closed)
    };
    let sleepers = effects.take_reports().into_iter().filter_map(notify).collect();
    effects.wake_first(sleepers);
}

/// Notifies the supervisor when it is woken.
struct Attached {
    report: Report,
    node: Weak<Node>,
    is_closed: bool,
}

impl Wake for Attached {
    /// This counts as one of the library's own wakers, so the task of the supervisor is woken on a thread of the pool.
    fn wake(self: Arc<Self>) {
        let Some(node) = self.node.upgrade() else { return };
        if let Some(sleeper) = self.report.report_phase(&node, self.is_closed) {
            run_now(Box::new(move || wake_sleeper(Some(sleeper))));
        }
    }
}
