//! A process's node.
//!
//! Conceptually, a [`Node`] is a small state machine behind a lock, with strong pointers along its edges. A process
//! that is not Closed points to its children, and to everything that waits for it or closes it. These pointers form
//! cycles while a process is open. None is left when it is Closed, and they keep no process open: handles are counted
//! separately, and a process that nothing holds closes (I8).
//!
//! # Invariants
//!
//! Everything in [`Inner`] changes under the node's lock. `phase` is written under it and read without it.
//!
//! - S1. The phase only advances, and aborting, once set, stays (I1). *Because* only `begin_closing`, `abort` and
//!   `finish` of [`PhaseWord`] store it, each under the node's lock and after a look at the phase in the same
//!   locked section.
//! - S2. `waiting` counts the edges along which the process waits and that have not been reported, and its body.
//!   *Because* linking an edge counts it in, and the thread that makes the lower process Closed takes its up edges in
//!   that locked section and reports each exactly once. (`unlink_all` may take an edge back before that, and then
//!   counts it off instead.)
//! - S3. The teardown leaves the node at most once, when the phase is Closing and `waiting` is 0. *Because*
//!   `Walk::settle` takes it and advances the field `teardown` in one locked section, and otherwise it is only taken
//!   back from a process that was never handed out (`forget_teardown`); and nothing is added to `waiting` after that,
//!   because each addition looks at `teardown` under the same lock. So the teardown runs once, after everything the
//!   process waits for (I2).
//! - S4. `waiting` is added to only under the node's lock. While Running, it is also subtracted from only under the
//!   lock. Once Closing, the end of an edge subtracts without the lock, and takes the lock only if the result is 0; the
//!   subtractions are one release sequence, and a load that then finds 0 acquires it, so everything that the ended
//!   processes did happens-before the teardown (I4). *No end is missed*, because each subtraction that comes to 0 is
//!   followed by a look under the lock, and an addition in between makes a later subtraction come to 0 again.
//! - S5. A process is held open by its handles and by up edges that own it and whose upper process is not Closed
//!   (I8). A process made under a waiting parent is held by it until it is Closed, *because* that parent waits for
//!   it and therefore cannot be Closed first; so its handles are not counted. A ring never holds itself, *because*
//!   an edge that would complete a ring of owning edges is linked without owning, under the graph lock.
//! - S6. Waiters are registered and taken under the lock, with a look at the phase in the same section, so none is
//!   missed (I9).
//! - S7. The search for a cycle and the linking of the edge are one section of the graph lock. A fresh process
//!   waits for nothing and nothing waits for it, so an edge to it completes no cycle and needs neither (I5).
//! - S8. A node that is freed holds no strong pointer to another node, so freeing one never recurses (I11). *Because*
//!   `finish` takes the children and the up edges out. Dropping the values that it holds for the layers above never
//!   runs foreign code on the spot, so they may be dropped anywhere, also under a lock.
//!
//! # Lock order
//!
//! The graph lock, then nodes. Two nodes are locked at once only under the graph lock; otherwise a thread locks one
//! node at a time. So nodes need no order among themselves. Dropping a value of the layers above may take a lock of
//! theirs (that of the pool), under which no node is ever locked.
//!
//! Nothing foreign is run, woken, cloned or dropped under a lock (I10): sleepers and teardowns leave the locked
//! section by value, and a waker is cloned before the lock is taken.

use std::mem;
use std::sync::{Arc, Weak};

use super::contents::Contents;
use super::edge_kind::EdgeKind;
use super::known_hooks::KnownHooks;
use super::limit::Limit;
use super::phase_word::{Holder, PhaseWord};
#[cfg(all(feature = "tokio-util", not(loom)))]
use super::sleepers::Moment;
use super::sleepers::{TeardownOrSleeper, Waiters};
use super::stable_list::StableList;
use crate::value::sync::{AtomicU32, Mutex, Ordering};
use crate::value::{ChildFailure, Label, Phase, ProcessId, Reason, WorkCell};

/// One process.
pub(crate) struct Node<C: Contents> {
    pub(super) phase: PhaseWord,
    /// The kind of code that the process runs at the moment.
    pub(crate) work: WorkCell,
    /// How many handles there are, as long as they [count](Self::counts_handles).
    pub(crate) handles: AtomicU32,
    /// How many edges and bodies the process waits for (S2, S4).
    pub(super) waiting: AtomicU32,
    /// The place in the first parent's list of children. Guarded by that parent's lock.
    pub(super) place: AtomicU32,
    inherited: Option<Arc<Inherited<C>>>,
    pub(super) inner: Mutex<Inner<C>>,
}

pub(super) struct Inner<C: Contents> {
    /// The first parent that also waits for this process; all other up edges are in `extras`.
    pub(super) parent: Option<Arc<Node<C>>>,
    /// The kind of the edge to `parent`.
    pub(super) parent_edge: EdgeKind,
    pub(super) teardown: TeardownStage,
    /// Why it closes. If it is set while Running, the process closes as soon as it waits for nothing.
    reason: Option<BriefReason>,
    pub(super) teardown_or_sleeper: TeardownOrSleeper<C>,
    pub(super) children: Option<Box<Children<C>>>,
    pub(super) waiters: Option<Box<Waiters>>,
    pub(super) extras: Option<Box<Extras<C>>>,
}

/// The children of a process, each in the place that its up edge names. The closing walk takes the children that are
/// there when it begins, and puts back those that stay open, so that an abort finds them.
pub(super) type Children<C> = StableList<Arc<Node<C>>>;

/// How far the teardown has come: from Unset via Set or Skipped to Started. Only the teardown of a process that was
/// never handed out goes back, from Set to Unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TeardownStage {
    /// No teardown was set.
    Unset,
    /// A teardown was set, and is in the node.
    Set,
    /// The process has stopped waiting and had no teardown: one that is set now is run by the caller that sets it.
    Skipped,
    /// The teardown has left the node, or was run by the caller that set it too late.
    Started,
}

impl TeardownStage {
    /// Has the process stopped waiting, so that it can wait for nothing more (S3)?
    pub(super) fn has_started(self) -> bool {
        matches!(self, Self::Skipped | Self::Started)
    }
}

/// The name and the spawner of a process, which it shares with the processes that inherit them.
pub(crate) struct Inherited<C: Contents> {
    pub(crate) name: Option<Arc<str>>,
    /// Where bodies and teardowns run; `None` is the default.
    pub(crate) spawner: Option<C::Spawner>,
    /// The same without the name, for children that have none; `None` if there is nothing else.
    pub(crate) unnamed: Option<Arc<Inherited<C>>>,
}

impl<C: Contents> Inherited<C> {
    /// A name, together with a spawner that is inherited without a name.
    pub(crate) fn named(name: Arc<str>, unnamed: Option<Arc<Self>>) -> Arc<Self> {
        let spawner = unnamed.as_ref().and_then(|inherited| inherited.spawner.clone());
        Arc::new(Self { name: Some(name), spawner, unnamed })
    }

    pub(crate) fn unnamed(spawner: C::Spawner) -> Arc<Self> {
        Arc::new(Self { name: None, spawner: Some(spawner), unnamed: None })
    }
}

/// A [`Reason`] in one byte: every process has room for one.
#[derive(Clone, Copy)]
enum BriefReason {
    Asked,
    ParentClosed,
    BodyFinished,
    BodyFailed,
    Dropped,
    /// A reason that carries a value; it is in `Extras::reason`.
    Detailed,
}

/// The fields that few processes need.
pub(crate) struct Extras<C: Contents> {
    /// The teardown, if a sleeper has taken the room in `Inner::teardown_or_sleeper`.
    pub(super) teardown: Option<C::Teardown>,
    /// The up edges that close this process, other than the one to `Inner::parent`.
    pub(super) parents: StableList<Up<C>>,
    /// The up edges that do not close this process: to those that wait for it, or are closed after it.
    pub(super) dependents: StableList<Up<C>>,
    /// The processes that this one waits for without closing them.
    pub(super) waits_for: StableList<Down<C>>,
    /// The processes that it waits for, and that must be Closed before its parents close it.
    pub(super) closes_after: StableList<Down<C>>,
    /// The processes for which threads that run its code are blocked.
    pub(super) blocked_for: StableList<Down<C>>,
    /// A parent has closed it while `closes_after` held it open, perhaps by force.
    pub(super) postponed: Option<Postponed>,
    /// The errors of its body, its teardown, and of children that it closed for; merged when it is Closed.
    pub(super) failures: Vec<C::Failure>,
    reason: Option<Reason>,
    /// What the process does when a child fails.
    pub(crate) on_child_failure: ChildFailure,
    /// Its failure closes its parents, whatever they do when another child fails.
    pub(crate) closes_parents: bool,
    /// The hooks for failures in its tree.
    pub(crate) hooks: Vec<C::Hook>,
    /// The hooks above it, if it has looked for them.
    pub(super) known_hooks: Option<KnownHooks<C>>,
    /// It closes, or has closed, a process without waiting for it.
    pub(super) has_had_no_wait_child: bool,
    #[cfg(all(feature = "tokio-util", not(loom)))]
    pub(super) tokens: Vec<(Moment, C::Token)>,
    /// The slots for its children, if it limits their number.
    pub(crate) limit: Option<Limit>,
}

/// A closing by a parent that waits until nothing in `closes_after` holds the process open.
#[derive(Clone, Copy)]
pub(super) struct Postponed {
    pub(super) abort: bool,
}

/// An edge, as it is stored at its lower end.
pub(super) struct Up<C: Contents> {
    pub(super) target: Arc<Node<C>>,
    /// The place in the target's list of such edges.
    pub(super) place: u32,
    pub(super) kind: EdgeKind,
}

/// An edge that does not close, as it is stored at its upper end.
pub(super) struct Down<C: Contents> {
    /// Weak, because a process that waits for another does not hold it.
    pub(super) target: Weak<Node<C>>,
    /// The place in the target's `ups`.
    pub(super) place: u32,
}

/// Everything that a new process starts with.
pub(crate) struct Seed<C: Contents> {
    pub(crate) inherited: Option<Arc<Inherited<C>>>,
    pub(crate) teardown: Option<C::Teardown>,
    /// It has a body, or its maker has yet to add edges: it waits for that to end.
    pub(crate) body: bool,
    /// It holds a slot of the parent that it is made under.
    pub(crate) limited: bool,
    /// It never closes.
    pub(crate) background: bool,
    pub(crate) extras: Option<Box<Extras<C>>>,
}

impl<C: Contents> Default for Seed<C> {
    #[inline]
    fn default() -> Self {
        Self {
            inherited: None,
            teardown: None,
            body: false,
            limited: false,
            background: false,
            extras: None,
        }
    }
}

impl<C: Contents> Seed<C> {
    pub(crate) fn extras(&mut self) -> &mut Extras<C> {
        self.extras.get_or_insert_default()
    }
}

impl<C: Contents> Default for Extras<C> {
    fn default() -> Self {
        Self {
            teardown: None,
            parents: StableList::new(),
            dependents: StableList::new(),
            waits_for: StableList::new(),
            closes_after: StableList::new(),
            blocked_for: StableList::new(),
            postponed: None,
            failures: Vec::new(),
            reason: None,
            on_child_failure: ChildFailure::default(),
            closes_parents: false,
            hooks: Vec::new(),
            known_hooks: None,
            has_had_no_wait_child: false,
            #[cfg(all(feature = "tokio-util", not(loom)))]
            tokens: Vec::new(),
            limit: None,
        }
    }
}

impl<C: Contents> Node<C> {
    /// A process that nothing is linked to yet, with one handle.
    pub(crate) fn new(seed: Seed<C>) -> Arc<Self> {
        let holder = if seed.background { Holder::Background } else { Holder::Handles };
        Arc::new(Self::with_parent(seed, None, holder))
    }

    #[inline]
    pub(super) fn with_parent(seed: Seed<C>, parent: Option<Arc<Self>>, holder: Holder) -> Self {
        let (teardown, teardown_or_sleeper) = match seed.teardown {
            Some(teardown) => (TeardownStage::Set, TeardownOrSleeper::Teardown(teardown)),
            None => (TeardownStage::Unset, TeardownOrSleeper::Empty),
        };
        Self {
            phase: PhaseWord::new(holder),
            work: WorkCell::new(),
            handles: AtomicU32::new(1),
            waiting: AtomicU32::new(u32::from(seed.body)),
            place: AtomicU32::new(0),
            inherited: seed.inherited,
            inner: Mutex::new(Inner {
                parent,
                parent_edge: if seed.limited { EdgeKind::LIMITED_CHILD } else { EdgeKind::CHILD },
                teardown,
                reason: None,
                teardown_or_sleeper,
                children: None,
                waiters: None,
                extras: seed.extras,
            }),
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    pub(crate) fn is_aborting(&self) -> bool {
        self.phase.is_aborting()
    }

    /// Is it Running, and is the number of its handles all that is known to keep it open (S5)?
    #[inline]
    pub(crate) fn counts_handles(&self) -> bool {
        self.phase.counts_handles()
    }

    /// Counts one more thing that the process waits for. Call it under the node's lock.
    #[inline]
    pub(super) fn count_in(&self) {
        if self.phase() == Phase::Running {
            // While Running, it is written only under the lock (S4), so this need not be an atomic read-modify-write.
            self.waiting.store(self.waiting.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one thing less. Call it under the node's lock.
    #[inline]
    pub(super) fn count_off(&self) {
        self.count_off_in(self.phase());
    }

    /// [`count_off`](Self::count_off), with the phase as it is under the lock.
    #[inline]
    pub(super) fn count_off_in(&self, phase: Phase) {
        if phase == Phase::Running {
            self.waiting.store(self.waiting.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        } else {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_background(&self) -> bool {
        self.phase.is_background()
    }

    pub(crate) fn inherited(&self) -> Option<&Arc<Inherited<C>>> {
        self.inherited.as_ref()
    }

    pub(crate) fn name(&self) -> Option<&Arc<str>> {
        self.inherited.as_ref()?.name.as_ref()
    }

    pub(crate) fn spawner(&self) -> Option<&C::Spawner> {
        self.inherited.as_ref()?.spawner.as_ref()
    }

    pub(crate) fn id(self: &Arc<Self>) -> ProcessId {
        ProcessId::of(Arc::as_ptr(self))
    }

    pub(crate) fn label(self: &Arc<Self>) -> Label {
        Label::new(self.name().cloned(), self.id())
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        let inner = self.inner.lock();
        // While Running, it may be the reason of a closing that waits for the children.
        if self.phase() == Phase::Running { None } else { inner.reason() }
    }

    /// The token that is kept for the moment: `token`, unless there is one already. The bool says whether it is new.
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

    /// The outcome, once Closed (I3).
    pub(crate) fn outcome(&self) -> Option<Result<(), C::Failure>> {
        if self.phase() != Phase::Closed {
            return None;
        }
        let inner = self.inner.lock();
        // They were merged when it became Closed.
        let failure = inner.extras.as_ref().and_then(|extras| extras.failures.first().cloned());
        Some(failure.map_or(Ok(()), Err))
    }

    /// Sets the teardown, unless one was set or the process has stopped waiting.
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

    /// Takes the teardown back from a process that was never handed out.
    pub(crate) fn forget_teardown(&self) -> Option<C::Teardown> {
        let mut inner = self.inner.lock();
        let forgotten = inner.take_teardown();
        if forgotten.is_some() {
            inner.teardown = TeardownStage::Unset;
        }
        forgotten
    }

    /// Does `parent` close it, and not wait for it?
    pub(super) fn is_no_wait_child_of(&self, parent: &Self) -> bool {
        let inner = self.inner.lock();
        let of_parent =
            inner.closing_ups().filter(|(up, _)| std::ptr::eq(&raw const ***up, parent));
        none_waits(of_parent.map(|(_, kind)| kind))
    }

    /// For a look at what keeps the process from being Closed: the labels of at most `limit` processes that it closes
    /// or waits for, and the number of edges and bodies that it waits for.
    pub(crate) fn waiting_for(&self, limit: usize) -> (Vec<Label>, u32) {
        let inner = self.inner.lock();
        let waiting = self.waiting.load(Ordering::Relaxed);
        let mut nodes: Vec<Arc<Self>> = inner
            .children
            .iter()
            .flat_map(|children| children.iter())
            .filter(|child| child.phase() != Phase::Closed)
            .take(limit)
            .cloned()
            .collect();
        if let Some(extras) = &inner.extras {
            let downs = extras.waits_for.iter().chain(extras.closes_after.iter());
            nodes.extend(downs.filter_map(|down| down.target.upgrade()).take(limit));
        }
        drop(inner);
        nodes.retain(|node| node.phase() != Phase::Closed && !node.is_no_wait_child_of(self));
        nodes.truncate(limit);
        (nodes.iter().map(Self::label).collect(), waiting)
    }
}

/// The result of [`Node::set_teardown`].
pub(crate) enum SetTeardown<C: Contents> {
    Set,
    AlreadySet(C::Teardown),
    /// The process has stopped waiting and had no teardown: the caller must run this one, once.
    TooLate(C::Teardown),
}

impl<C: Contents> Inner<C> {
    pub(super) fn extras(&mut self) -> &mut Extras<C> {
        self.extras.get_or_insert_default()
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        Some(match self.reason? {
            BriefReason::Asked => Reason::Asked,
            BriefReason::ParentClosed => Reason::ParentClosed,
            BriefReason::BodyFinished => Reason::BodyFinished,
            BriefReason::BodyFailed => Reason::BodyFailed,
            BriefReason::Dropped => Reason::Dropped,
            BriefReason::Detailed => return self.extras.as_ref()?.reason.clone(),
        })
    }

    pub(super) fn has_reason(&self) -> bool {
        self.reason.is_some()
    }

    #[inline]
    pub(super) fn set_reason(&mut self, reason: &Reason) {
        let brief = match reason {
            Reason::Asked => BriefReason::Asked,
            Reason::ParentClosed => BriefReason::ParentClosed,
            Reason::BodyFinished => BriefReason::BodyFinished,
            Reason::BodyFailed => BriefReason::BodyFailed,
            Reason::Dropped => BriefReason::Dropped,
            Reason::Signal(_) | Reason::ChildFailed(_) => {
                self.extras().reason = Some(reason.clone());
                BriefReason::Detailed
            }
        };
        self.reason = Some(brief);
    }

    /// Merges the failures, when the process becomes Closed.
    pub(super) fn merge_failures(&mut self) {
        let Some(extras) = &mut self.extras else { return };
        if extras.failures.len() > 1 {
            let merged = C::merge(mem::take(&mut extras.failures));
            extras.failures.push(merged);
        }
    }

    /// Lets go of the hooks, when the process becomes Closed, because one of them may hold a handle to the process
    /// itself. They stay if it has had a no-wait child, because they must hear of the failure of one that outlives it.
    pub(super) fn forget_hooks(&mut self) {
        if let Some(extras) = &mut self.extras {
            extras.known_hooks = None;
            if !extras.has_had_no_wait_child {
                extras.hooks = Vec::new();
            }
        }
    }

    /// Takes the edge to the first parent; the caller reports it (S2).
    #[inline]
    pub(super) fn take_first_up(&mut self, node: &Node<C>) -> Option<Up<C>> {
        let target = self.parent.take()?;
        Some(Up { target, place: node.place.load(Ordering::Relaxed), kind: self.parent_edge })
    }

    /// Takes the other up edges; the caller reports them (S2).
    pub(super) fn take_further_ups(&mut self) -> impl Iterator<Item = Up<C>> + use<C> {
        let extras = self.extras.as_mut();
        let lists =
            extras.map(|extras| [&mut extras.parents, &mut extras.dependents].map(mem::take));
        lists.into_iter().flatten().flatten()
    }

    /// The processes that close this one, with what the edges do.
    fn closing_ups(&self) -> impl Iterator<Item = (&Arc<Node<C>>, EdgeKind)> {
        let first = self.parent.iter().map(|parent| (parent, self.parent_edge));
        let further = self.extras.iter().flat_map(|extras| extras.parents.iter());
        first.chain(further.map(|up| (&up.target, up.kind)))
    }

    /// The processes that close this one.
    pub(super) fn parents(&self) -> impl Iterator<Item = &Arc<Node<C>>> {
        self.closing_ups().map(|(parent, _)| parent)
    }

    /// Does it have parents, none of which waits for it?
    #[inline]
    pub(super) fn is_no_wait_child(&self) -> bool {
        self.parent.is_none() && none_waits(self.closing_ups().map(|(_, kind)| kind))
    }

    /// Does a parent hold it open (S5)?
    pub(super) fn is_held(&self) -> bool {
        self.closing_ups().any(|(parent, kind)| kind.owns() && parent.phase() != Phase::Closed)
    }

    pub(super) fn children(&mut self) -> &mut Children<C> {
        self.children.get_or_insert_with(|| Box::new(StableList::new()))
    }

    pub(super) fn closes_for_a_child(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.on_child_failure == ChildFailure::Close)
    }

    pub(super) fn is_limiter(&self) -> bool {
        self.extras.as_ref().is_some_and(|extras| extras.limit.is_some())
    }
}

/// Are there edges, none of which waits?
fn none_waits(edges: impl Iterator<Item = EdgeKind>) -> bool {
    let mut edges = edges.peekable();
    edges.peek().is_some() && edges.all(|kind| !kind.waits())
}
