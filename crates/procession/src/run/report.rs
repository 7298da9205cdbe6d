//! What supervised processes tell their supervisors.
//!
//! A supervisor may have very many processes, so it registers no waker for any of them. Instead, each process has a
//! [`Report`], beside its name, from its birth on. The closing walk leaves an effect for each supervised process that it
//! closes or ends, and the interpreter calls the supervisor's [`Listener`]. It does so before it calls wakers of users,
//! because one that blocks must delay neither the grace of the process nor the supervisor (I9).

use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::Duration;

use super::deadlines::begin_grace;
use super::pool::run_now;
use super::wakers::{register_own, wake_sleeper};
use super::{Effects, Inherited, Node};
use crate::state::{Moment, Reported};
use crate::value::sleeper::Sleeper;
use crate::value::sync::{AtomicBool, Ordering};
use crate::value::{Label, Phase};

/// A supervisor, as its processes know it. The last process that refers to it may drop it, on any thread and inside
/// `close()`, so its drop must run no foreign code.
pub trait Listener: Send + Sync + 'static {
    /// Something has happened to a run. Returns the sleeper that must be woken for it.
    ///
    /// It is called with no lock of this crate held, and must run no foreign code: not even the drop of a sleeper.
    fn hear(&self, run: RunId, told: Told) -> Option<Sleeper>;
}

/// Identifies a run: a number of its unit, which another unit may have later, and the run's own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct RunId {
    /// The number of the unit.
    pub unit: u32,
    /// The number of the run.
    pub number: u64,
}

/// What a listener hears of a run.
///
/// A process that goes from Running to Closed in one step is reported only as Closed. Otherwise, Closed may be told before
/// Closing if different threads tell them.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums)]
pub enum Told {
    /// The run is ready.
    Ready,
    /// This process ended without an error before the run was ready.
    EndedUnready(Label),
    /// The process of the run has begun to close.
    Closing,
    /// The process of the run is Closed.
    Closed,
}

/// The report of a supervised process.
pub(crate) struct Report(To);

enum To {
    Listener(Direct),
    /// The run has another name by now, and shares the report that was made with its first one. That report is never
    /// itself such a reference.
    Other(Arc<Inherited>),
}

struct Direct {
    listener: Arc<dyn Listener>,
    number: u64,
    unit: u32,
    /// The run has said that it is ready, or that it never will be. The swap is `AcqRel`, and pairs with itself and with
    /// the `Acquire` in [`Report::has_said`]: what the run did before the first call happens-before a later call, which
    /// does nothing.
    has_said: AtomicBool,
    /// In nanoseconds, or [`NO_GRACE`].
    grace: u64,
}

/// There is no grace, or one of more than 584 years.
const NO_GRACE: u64 = u64::MAX;

impl Report {
    /// The report of a run, which is aborted if it is still Closing `grace` after it began to close.
    pub(crate) fn new(listener: Arc<dyn Listener>, run: RunId, grace: Option<Duration>) -> Self {
        let RunId { unit, number } = run;
        let has_said = AtomicBool::new(false);
        let grace = grace.and_then(|grace| u64::try_from(grace.as_nanos()).ok());
        let grace = grace.unwrap_or(NO_GRACE);
        Self(To::Listener(Direct { listener, number, unit, has_said, grace }))
    }

    /// The report that is among these values, for the values of the same run with another name.
    pub(crate) fn of(inherited: &Arc<Inherited>) -> Self {
        match inherited.report() {
            Some(Self(To::Other(other))) => Self(To::Other(other.clone())),
            _ => Self(To::Other(inherited.clone())),
        }
    }

    fn direct(&self) -> &Direct {
        match &self.0 {
            To::Listener(direct) => direct,
            To::Other(other) => match other.report() {
                Some(Self(To::Listener(direct))) => direct,
                _ => unreachable!("`of` refers to a report of its own"),
            },
        }
    }

    /// Are they the report of the same run?
    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.direct(), other.direct())
    }

    /// Has the run said whether it is ready?
    pub(crate) fn has_said(&self) -> bool {
        self.direct().has_said.load(Ordering::Acquire)
    }

    /// The run is ready, or will never be. Only the first call counts.
    pub(crate) fn say(&self, told: Option<Told>) -> Option<Sleeper> {
        let direct = self.direct();
        if direct.has_said.swap(true, Ordering::AcqRel) {
            return None;
        }
        direct.hear(told?)
    }

    /// The process has begun to close, or is Closed.
    fn tell(&self, node: &Arc<Node>, is_closed: bool) -> Option<Sleeper> {
        let direct = self.direct();
        if is_closed {
            return direct.hear(Told::Closed);
        }
        if direct.grace != NO_GRACE && node.phase() != Phase::Closed {
            begin_grace(node, Duration::from_nanos(direct.grace));
        }
        direct.hear(Told::Closing)
    }

    /// The run has this process, which was made for something else.
    pub(crate) fn attach(inherited: &Arc<Inherited>, node: &Arc<Node>) {
        for (moment, is_closed) in [(Moment::Closing, false), (Moment::Closed, true)] {
            let attached =
                Attached { to: Self::of(inherited), node: Arc::downgrade(node), is_closed };
            let attached = Arc::new(attached);
            if !register_own(node, moment, attached.clone()) {
                attached.wake();
            }
        }
    }
}

impl Direct {
    fn hear(&self, told: Told) -> Option<Sleeper> {
        self.listener.hear(RunId { unit: self.unit, number: self.number }, told)
    }
}

/// Begins the graces, and tells the supervisors. The sleepers that must be woken for that are added to the effects.
#[inline]
pub(super) fn tell_supervisors(effects: &mut Effects) {
    for Reported { node, is_closed } in effects.take_reports() {
        let sleeper = node.report().and_then(|report| report.tell(&node, is_closed));
        sleeper.into_iter().for_each(|sleeper| effects.wake(sleeper));
    }
}

/// Tells the supervisor when it is woken.
struct Attached {
    to: Report,
    node: Weak<Node>,
    is_closed: bool,
}

impl Wake for Attached {
    /// This counts as a waker of the library's own, so the task of the supervisor is woken by the pool.
    fn wake(self: Arc<Self>) {
        let Some(node) = self.node.upgrade() else { return };
        if let Some(sleeper) = self.to.tell(&node, self.is_closed) {
            run_now(Box::new(move || wake_sleeper(Some(sleeper))));
        }
    }
}
