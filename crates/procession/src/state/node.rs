//! The node of a process.
//!
//! Conceptually, a [`Node`] is a small state machine behind a lock, with strong pointers along its edges. A process
//! that is not Closed points to its children, and to everything that waits for it or closes it. These pointers form
//! cycles while a process is open, but none is left when it is Closed. They keep no process open: handles are counted
//! separately, and a process that nothing holds closes (I8).
//!
//! # Invariants
//!
//! Everything in [`Inner`] changes under the node's lock. `phase` is written under it and read without it.
//!
//! - S1. The phase only advances, and aborting, once set, stays (I1). *Because* only `begin_closing`, `abort` and
//!   `finish` of [`PhaseWord`] change these bits, each under the node's lock and after checking the phase in the same
//!   locked section.
//! - S2. `waiting` counts the edges along which the process waits and that have not been released, its body or its
//!   maker, and the report that its time limit has ended. *Because* linking an edge increments it, and the thread that
//!   makes the lower process Closed takes its up edges in that locked section and releases each exactly once.
//!   (`unlink_all` may remove an edge before that, and then decrements `waiting` instead.)
//! - S3. The teardown leaves the node at most once, when the phase is Closing and `waiting` is 0. *Because*
//!   `Walk::settle` takes it and advances the field `teardown` in one locked section, and otherwise it is taken only
//!   from a process to which no caller has a handle (`forget_teardown`); and nothing is added to `waiting` after that,
//!   because each addition checks `teardown` under the same lock. So the teardown runs once, after everything that the
//!   process waits for (I2).
//! - S4. `waiting` is incremented only under the node's lock. While the process is Running, it is also decremented only
//!   under the lock. Once the process is Closing, the end of an edge to a child decrements it without the lock, and
//!   takes the lock only if the result is 0 or a sleeper [waits for the children](super::children). These decrements
//!   form one release sequence, and a load that then finds 0 acquires it, so everything that the ended processes did
//!   happens-before the teardown (I4). *No end is missed*, because each decrement to 0 is followed by a check under the
//!   lock, and an increment in between makes a later decrement reach 0 again.
//! - S5. A process is held open by its handles and by up edges that own it and whose upper process is not Closed (I8).
//!   A process that is made under a waiting parent is held by it until the process is Closed, *because* the parent
//!   waits for it and cannot be Closed first; so its handles are not counted. A ring never holds itself open, *because*
//!   an edge that would complete a ring of owning edges is linked without owning, under the graph lock.
//! - S6. Waiters are registered and taken under the lock, and the phase is checked in the same section, so none is
//!   missed (I9).
//! - S7. The search for a cycle and the linking of the edge are one section of the graph lock. A fresh process
//!   waits for nothing and nothing waits for it, so an edge to it completes no cycle and needs neither (I5).
//! - S8. A node that is freed holds no strong pointer to another node, so freeing one never recurses (I11), *because*
//!   `finish` takes the children and the up edges out. Dropping the values that a node holds for the layers above never
//!   runs foreign code on the spot, so they may be dropped anywhere, even under a lock.
//!
//! # Lock order
//!
//! The graph lock comes before nodes. Two nodes are locked at once only under the graph lock, and when a watched child
//! or closing hook is added, which no other thread locks yet. Otherwise, a thread locks one node at a time. So nodes
//! need no order among themselves. Notifying an observer, or dropping a value of the layers above, may take a lock of
//! those layers (of a queue of events, or of the pool), under which no node is ever locked.
//!
//! Nothing foreign is run, woken, cloned or dropped under a lock (I10): sleepers and teardowns leave the locked section
//! by value, and a waker is cloned before the lock is taken.

use std::sync::{Arc, Weak};

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::inherited::Inherited;
use super::known_hooks::KnownHooks;
use super::limit::Limit;
use super::phase_word::PhaseWord;
use super::scope::Watch;
#[cfg(all(feature = "tokio-util", not(loom)))]
use super::sleepers::Moment;
use super::sleepers::{TeardownOrSleeper, Waiters};
use super::stable_list::StableList;
use crate::value::stamp::Stamp;
use crate::value::sync::{AtomicU32, Mutex, Ordering};
use crate::value::{
    BriefReason, ChildFailure, Label, Link, Name, Phase, ProcessId, Reason, Site, WorkCell,
};

/// The bit of `waiting` that is set while a sleeper may wait for the children.
pub(super) const CHILDREN_AWAITED: u32 = 1 << 31;

/// One process.
pub(crate) struct Node<C: Contents> {
    pub(super) phase: PhaseWord,
    /// The code that the process is running.
    pub(crate) work: WorkCell,
    /// The number of handles, if they [are counted](Self::counts_handles), and [a bit](super::readers::handles::LEFT).
    pub(super) handles: AtomicU32,
    /// The number of waiters that can read the outcome, if handles are counted, and a bit. See
    /// [`readers`](super::readers).
    #[cfg(not(loom))]
    pub(super) end_waiters: std::sync::atomic::AtomicU16,
    /// The number of things that the process waits for (S2, S4), and the bit [`CHILDREN_AWAITED`].
    pub(super) waiting: AtomicU32,
    /// The place in the first parent's list of children. Guarded by that parent's lock.
    pub(super) place: AtomicU32,
    /// Where it was made.
    pub(crate) site: Site,
    pub(super) inherited: Option<Arc<Inherited<C::Spawner, C::Report>>>,
    pub(super) inner: Mutex<Inner<C>>,
}

/// The part of a node that its lock guards.
pub(super) struct Inner<C: Contents> {
    /// The first parent that also waits for this process; all other up edges are in the extras.
    pub(super) parent: Option<Arc<Node<C>>>,
    /// The kind of the edge to `parent`.
    pub(super) parent_edge: EdgeKind,
    pub(super) teardown: TeardownStage,
    /// The reason for its closing. If it is set while Running, the process closes as soon as it waits for nothing.
    pub(super) reason: Option<BriefReason>,
    /// When it began to close, in the parts of a [`Stamp`]. They stay 0 in a process that becomes Closed in the same
    /// locked section.
    pub(super) closing_since_low: u32,
    pub(super) closing_since_high: u8,
    pub(super) teardown_or_sleeper: TeardownOrSleeper<C>,
    pub(super) more: Option<Box<More<C>>>,
}

/// The stage of the teardown. It advances from Unset via Set or Skipped to Started. Only in a process to which no
/// caller has a handle can it go back, from Set to Unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TeardownStage {
    /// No teardown was set.
    Unset,
    /// A teardown was set, and is in the node.
    Set,
    /// The process has stopped waiting and had no teardown. If one is set now, the caller that sets it runs it.
    Skipped,
    /// The teardown has left the node, or is run by the caller that set it too late.
    Started,
}

impl TeardownStage {
    /// Has the process stopped waiting, so that it can wait for nothing more (S3)?
    pub(super) fn has_started(self) -> bool {
        matches!(self, Self::Skipped | Self::Started)
    }
}

/// The children, the sleepers for which the node itself has no space, the extras, and the observers.
pub(super) struct More<C: Contents> {
    /// The children that the process waits for.
    pub(super) children: Children<C>,
    pub(super) waiters: Option<Box<Waiters>>,
    pub(super) extras: Option<Box<Extras<C>>>,
    /// The observers, if the process is watched.
    pub(super) watch: Option<Watch<C>>,
}

/// The children of a process, each at the place that its up edge names. The closing walk takes the list when it begins,
/// and puts back the children that stay open, so that an abort finds them.
pub(super) type Children<C> = StableList<Arc<Node<C>>>;

/// The fields that few processes need.
pub(crate) struct Extras<C: Contents> {
    /// The teardown, if a sleeper has taken the space in `Inner::teardown_or_sleeper`.
    pub(super) teardown: Option<C::Teardown>,
    /// The children that the process closes and does not wait for.
    pub(super) no_wait_children: Option<Box<Children<C>>>,
    /// The hooks that become children when the process begins to close.
    pub(super) closing_hooks: Option<Box<Children<C>>>,
    /// The up edges that close this process, other than the one to `Inner::parent`.
    pub(super) parents: StableList<Up<C>>,
    /// The up edges that do not close this process: to processes that wait for it or close after it.
    pub(super) dependents: StableList<Up<C>>,
    /// The processes that this one waits for without closing them.
    pub(super) waits_for: StableList<Down<C>>,
    /// The processes that must be Closed before the parents of this one close it. This one usually waits for them too.
    pub(super) closes_after: StableList<Down<C>>,
    /// The processes whose end is awaited by blocked threads that run code of this process.
    pub(super) blocked_for: StableList<Down<C>>,
    /// The processes whose slots, children or bodies are awaited by blocked threads that run code of this process.
    pub(super) shown_waits: StableList<(Weak<Node<C>>, Link)>,
    /// The number of edges along which it waits for processes that are not its children, plus one while it waits for
    /// the report that its time limit has ended.
    pub(super) other_waits: u32,
    /// The number of times that the sleepers waiting for the children were taken, modulo 2³².
    pub(super) children_closed: u32,
    /// The postponed closing, if a parent has closed the process while `closes_after` holds it open.
    pub(super) postponed: Option<Postponed>,
    /// When it was aborted, if it was not aborted together with a process above it.
    pub(super) aborted_at: Option<Stamp>,
    /// The errors of its body, of its teardown, and of children that it closed for. They are merged when it is Closed.
    pub(super) failures: Vec<C::Failure>,
    /// The failure of a process whose time limit has ended. It replaces all other failures.
    pub(super) past_limit: Option<C::Failure>,
    /// Set if the process ends only after the report of that failure.
    pub(super) limit_report: Option<LimitReport>,
    /// The reason, if it carries a value.
    pub(super) reason: Option<Reason>,
    /// The failures that are left to the caller to which the process was handed; `None` if there is no such caller.
    pub(super) left_to_caller: Option<Vec<C::Failure>>,
    /// The failures of a root that are left to its [readers](super::readers).
    pub(super) left_to_readers: Vec<C::Failure>,
    /// The calls, if it is a periodic process that goes on when one of them fails.
    pub(super) calls: Option<Box<Calls<C>>>,
    /// The reaction of the process to the failure of a child.
    pub(crate) on_child_failure: ChildFailure,
    /// It passes the failures of its children on, whatever its own reaction to them is.
    pub(super) passes_failures_on: bool,
    /// Its failure closes its parents, whatever their reaction to the failure of another child is.
    pub(crate) closes_parents: bool,
    /// The hooks for failures in its tree.
    pub(crate) hooks: Vec<C::Hook>,
    /// The start of each call of the hooks for a failure of the process, as long as the call lasts.
    pub(super) calling_hooks: Vec<Stamp>,
    /// The cached hooks above it, if they have been searched for.
    pub(super) known_hooks: Option<KnownHooks<C>>,
    /// It has, or has had, a no-wait child.
    pub(super) has_had_no_wait_child: bool,
    /// The tokens that are kept for moments of the process.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    pub(super) tokens: Vec<(Moment, C::Token)>,
    /// The slots for its children, if it limits their number.
    pub(crate) limit: Option<Limit>,
    /// The values of the run that it was [attached](Node::attach) to, if it was not made for that run.
    pub(super) attached: Option<Arc<Inherited<C::Spawner, C::Report>>>,
}

/// A closing by a parent that is postponed until nothing in `closes_after` holds the process open.
#[derive(Clone, Copy)]
pub(super) struct Postponed {
    pub(super) abort: bool,
}

/// An edge, as it is stored at its lower end: it leads up.
pub(super) struct Up<C: Contents> {
    pub(super) target: Arc<Node<C>>,
    /// The place of the edge in the list of the target.
    pub(super) place: u32,
    pub(super) kind: EdgeKind,
}

/// An edge that does not close, as it is stored at its upper end: it leads down.
pub(super) struct Down<C: Contents> {
    /// Weak, because waiting for a process does not hold it open.
    pub(super) target: Weak<Node<C>>,
    /// The place of the edge in `Extras::dependents` of the target.
    pub(super) place: u32,
}

/// The calls of a periodic process.
pub(crate) struct Calls<C: Contents> {
    pub(super) label: Label,
    pub(super) calls: usize,
    pub(super) failed: usize,
    pub(super) first: Option<C::Failure>,
    pub(super) last: Option<C::Failure>,
}

/// The state of a process whose time limit ended during its teardown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitReport {
    /// The report has not been made.
    Due,
    /// The report has not been made, and the teardown has ended.
    AfterTeardown,
}

impl<C: Contents> Node<C> {
    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.phase.is_aborting()
    }

    /// Are its handles counted? While it is Running, their number is then all that is known to keep it open (S5). After
    /// that, it says whether somebody can read the outcome. A model counts them only while it is Running.
    #[inline]
    pub(crate) fn counts_handles(&self) -> bool {
        self.phase.counts_handles()
    }

    /// Does it wait for anything?
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire) & !CHILDREN_AWAITED > 0
    }

    /// Increments `waiting`. Call it under the node's lock.
    #[inline]
    pub(super) fn increment_waiting(&self) {
        if self.phase() == Phase::Running {
            // While Running, it is written only under the lock (S4), so an atomic read-modify-write is not needed.
            self.waiting.store(self.waiting.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Decrements `waiting`. Call it under the node's lock.
    #[inline]
    pub(super) fn decrement_waiting(&self) {
        self.decrement_waiting_in(self.phase());
    }

    /// [`decrement_waiting`](Self::decrement_waiting), given the phase that was read under the lock.
    #[inline]
    pub(super) fn decrement_waiting_in(&self, phase: Phase) {
        if phase == Phase::Running {
            self.waiting.store(self.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_background(&self) -> bool {
        self.phase.is_background()
    }

    pub(crate) fn id(&self) -> ProcessId {
        ProcessId::of(std::ptr::from_ref(self))
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        let inner = self.inner.lock();
        // While Running, it may be the reason for a closing that waits for the children.
        if self.phase() == Phase::Running { None } else { inner.reason() }
    }

    /// How long ago it began to close, in the coarse time of a [`Stamp`].
    #[cfg(not(loom))]
    pub(crate) fn closing_for(&self) -> std::time::Duration {
        let since = self.inner.lock().closing_since();
        since.map_or_else(Default::default, |since| crate::value::stamp::Stamp::now().since(since))
    }

    /// The token that is kept for the moment. It is `token`, unless one was kept before. The bool says whether it is
    /// new.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    pub(crate) fn keep_token(&self, moment: Moment, token: C::Token) -> (C::Token, bool) {
        let mut inner = self.inner.lock();
        let tokens = &mut inner.extras().tokens;
        match tokens.iter().find(|(of, _)| *of == moment) {
            Some((_, kept)) => (kept.clone(), false),
            None => {
                tokens.push((moment, token.clone()));
                (token, true)
            }
        }
    }

    /// The outcome, once Closed (I3). Its reader has read the failures that are left to the readers.
    pub(crate) fn outcome(&self) -> Option<Result<(), C::Failure>> {
        if self.phase() != Phase::Closed {
            return None;
        }
        let mut inner = self.inner.lock();
        let read = inner.take_left_to_readers();
        // They were merged when it became Closed.
        let failure = inner.extras_ref().and_then(|extras| extras.failures.first().cloned());
        drop(inner);
        drop(read);
        Some(failure.map_or(Ok(()), Err))
    }

    /// Sets the teardown, unless one was set before or the process has stopped waiting.
    #[inline]
    pub(crate) fn set_teardown(&self, teardown: C::Teardown) -> SetTeardown<C> {
        let mut inner = self.inner.lock();
        match inner.teardown {
            TeardownStage::Unset => {
                inner.teardown = TeardownStage::Set;
                inner.put_teardown(teardown);
                SetTeardown::Set
            }
            TeardownStage::Skipped => {
                inner.teardown = TeardownStage::Started;
                SetTeardown::TooLate(teardown)
            }
            TeardownStage::Set | TeardownStage::Started => SetTeardown::AlreadySet(teardown),
        }
    }

    /// Takes the teardown from a process to which no caller has a handle.
    pub(crate) fn forget_teardown(&self) -> Option<C::Teardown> {
        let mut inner = self.inner.lock();
        let forgotten = inner.take_teardown();
        if forgotten.is_some() {
            inner.teardown = TeardownStage::Unset;
        }
        forgotten
    }
}

/// The result of [`Node::set_teardown`].
pub(crate) enum SetTeardown<C: Contents> {
    Set,
    AlreadySet(C::Teardown),
    /// The process has stopped waiting and had no teardown: the caller must run this one, once.
    TooLate(C::Teardown),
}

impl<C: Contents> Node<C> {
    pub(crate) fn inherited(&self) -> Option<&Arc<Inherited<C::Spawner, C::Report>>> {
        self.inherited.as_ref()
    }

    pub(crate) fn name(&self) -> Option<&Name> {
        self.inherited.as_ref()?.name()
    }

    #[inline]
    pub(crate) fn spawner(&self) -> Option<&C::Spawner> {
        self.inherited.as_ref()?.spawner()
    }

    /// The report to its supervisor, if it was made for a run.
    #[inline]
    pub(crate) fn report(&self) -> Option<&C::Report> {
        self.inherited.as_ref()?.report()
    }

    /// Makes it the process of a run for which it was not made.
    pub(crate) fn attach(&self, run: Arc<Inherited<C::Spawner, C::Report>>) {
        let mut inner = self.inner.lock();
        let before = inner.extras().attached.replace(run);
        drop(inner);
        drop(before);
    }

    /// The values of the run whose process it is, if there is one.
    pub(crate) fn supervised(&self) -> Option<Arc<Inherited<C::Spawner, C::Report>>> {
        match &self.inherited {
            Some(inherited) if inherited.report().is_some() => Some(inherited.clone()),
            _ => self.inner.lock().extras_ref()?.attached.clone(),
        }
    }
}
