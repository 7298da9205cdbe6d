//! The state machine: phases, edges and the closing walk. It knows no thread, no future and no spawner: what
//! is to be run or woken it hands back as [`Effects`], and its callers tell it when a body or a teardown has
//! ended.
//!
//! # A process's node
//!
//! A [`Node`] is one process. A Running process holds its children, and a process that is not Closed holds
//! those that wait for it or close it. These are cycles of strong pointers while a process is open, and none
//! is left when it is Closed, which every process comes to: a handle is counted in `handles`, apart from the
//! node's strong count, and a process that nobody holds closes (I8). Strong pointers up cost less than weak
//! ones, which have to be upgraded, and they keep a Closing process that waits alive without more ado.
//!
//! # Invariants
//!
//! All fields of [`Inner`] change under the node's lock; `phase` is written under it and read without.
//!
//! - S1. `phase` only advances: Running, Closing, Closed; aborting, once set, stays (I1).
//! - S2. `waiting` counts what the process waits for: its edges to waited children, its wait-for edges, and
//!   its body. Each has exactly one report when it ends, made by whoever ended it.
//! - S3. The teardown leaves the node when the phase is Closing and `waiting` is 0, and `started` is set in
//!   the same locked section. Nothing is added to `waiting` after that. So it runs once, after all that the
//!   process waits for (I2).
//! - S4. Whoever makes a process Closed takes its up edges in the same locked section, and makes a report for
//!   each after it: the lock that a report takes is what orders the two teardowns (I4).
//! - S5. A Running process that no handle holds has a parent that is Running and holds it; a Closing one is
//!   held by what it waits for, by the job of its body or its teardown, until Closed. `waits_for` alone is
//!   weak: who waits for another does not hold it.
//! - S6. Waiters are registered and taken under the lock, with a look at the phase in the same section, so
//!   that none is missed (I9).
//! - S7. A waiting cycle is looked for and the edge linked in one section of the graph lock. A fresh process
//!   waits for nothing, so an edge to it closes no cycle and needs neither (I5).
//!
//! # Lock order
//!
//! The graph lock, then nodes. Two nodes are locked at once only by who holds the graph lock; everyone else
//! locks one node and nothing more. So no two nodes need an order between them.
//!
//! Nothing foreign is run, woken, dropped or logged under a lock (I10): wakers, teardowns and nodes leave the
//! locked section by value.

mod cycle;
mod edges;
mod failing;
mod limit;
mod places;
mod waiters;
mod walk;

#[cfg(all(feature = "tokio-util", not(loom)))]
use std::any::Any;
use std::mem;
use std::sync::{Arc, Weak};

use crate::error::Error;
use crate::failure::{ChildFailure, Hook};
use crate::name::{Label, ProcessId};
use crate::phase::{AtomicPhase, Phase};
use crate::reason::Reason;
use crate::spawn::Spawner;
use crate::sync::{AtomicU32, Mutex};
use crate::teardown::Teardown;

pub(crate) use cycle::{waiting_for, waits_for};
use edges::{Children, Up};
pub(crate) use edges::{EdgeKind, Refused, fresh_child, link, unlink_all};
pub(crate) use failing::hooks_are_used;
pub(crate) use limit::{Limit, Look, Ticket};
pub(crate) use waiters::{Event, Wakers};
use waiters::{Spot, Waiters};
pub(crate) use walk::{Effects, Ready, Siblings};

/// One process.
pub(crate) struct Node {
    phase: AtomicPhase,
    /// How many [`Process`](crate::Process) values there are, as long as that [counts](Node::counts_handles).
    pub(crate) handles: AtomicU32,
    /// The place in the first parent's list of children. Guarded by that parent's lock.
    place: AtomicU32,
    /// The name in `inherited` is this process's own.
    named: bool,
    /// It holds a slot of its first parent.
    limited: bool,
    /// It was made under a parent, which holds it until it is Closed.
    held: bool,
    inherited: Option<Arc<Inherited>>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The first parent that waits for this process; further up edges stand in `rare`.
    parent: Option<Arc<Node>>,
    waiting: u32,
    /// The teardown has left the node (S3).
    started: bool,
    /// A teardown was set, now or before.
    teardown_set: bool,
    /// Close as soon as `waiting` is 0; `reason` says why.
    after_children: bool,
    reason: Option<BriefReason>,
    spot: Spot,
    children: Option<Box<Children>>,
    waiters: Option<Box<Waiters>>,
    rare: Option<Box<Rare>>,
}

/// What a process has from its making on, and shares with those that inherit it.
#[derive(Default)]
pub(crate) struct Inherited {
    pub(crate) name: Option<Arc<str>>,
    /// Where bodies and teardowns run; `None` is the default.
    pub(crate) spawner: Option<Spawner>,
}

/// A [`Reason`] in one byte: every process has room for one.
#[derive(Clone, Copy)]
enum BriefReason {
    Asked,
    ParentClosed,
    BodyFinished,
    BodyFailed,
    Dropped,
    /// One that says more; it stands in `Rare::reason`.
    Rare,
}

/// What few processes need.
#[derive(Default)]
pub(crate) struct Rare {
    /// The teardown, if a waker was first in `Inner::spot`.
    teardown: Option<Teardown>,
    /// The up edges beside `Inner::parent`.
    ups: Vec<Up>,
    /// Whom this process waits for without closing them.
    waits_for: Vec<Weak<Node>>,
    /// How many of these it is closed after.
    held_open: u32,
    /// A parent has closed it, and it is held open until then.
    close_asked: bool,
    /// The error of the body, then of body and teardown, and of the children that it closed for.
    failure: Option<Error>,
    reason: Option<Reason>,
    /// What it does when a child fails.
    pub(crate) on_child_failure: ChildFailure,
    /// Its failure closes its parents, whatever they do when a child fails.
    pub(crate) closes_parents: bool,
    /// Who is told of failures in its tree.
    pub(crate) hooks: Vec<Hook>,
    /// What a front end keeps with the process, for an event of it.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    kept: Vec<(Event, Box<dyn Any + Send>)>,
    /// How many children it may have at a time, of those that take a slot.
    pub(crate) limit: Option<Limit>,
}

/// What a new process starts with.
#[derive(Default)]
pub(crate) struct Seed {
    pub(crate) inherited: Option<Arc<Inherited>>,
    /// The name in `inherited` is its own.
    pub(crate) named: bool,
    pub(crate) teardown: Option<Teardown>,
    /// It has a body, and waits for it.
    pub(crate) body: bool,
    /// It holds a slot of the parent that it is made under.
    pub(crate) limited: bool,
    /// It never closes.
    pub(crate) background: bool,
    pub(crate) rare: Option<Box<Rare>>,
}

impl Seed {
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

impl Node {
    /// A process that nothing is linked to yet, with one handle.
    pub(crate) fn new(seed: Seed) -> Arc<Self> {
        Arc::new(Self::with_parent(seed, None))
    }

    #[inline]
    fn with_parent(seed: Seed, parent: Option<Arc<Self>>) -> Self {
        Self {
            phase: AtomicPhase::new(seed.background),
            handles: AtomicU32::new(1),
            place: AtomicU32::new(0),
            named: seed.named,
            limited: seed.limited,
            held: parent.is_some(),
            inherited: seed.inherited,
            inner: Mutex::new(Inner {
                parent,
                waiting: u32::from(seed.body),
                started: false,
                teardown_set: seed.teardown.is_some(),
                after_children: false,
                reason: None,
                spot: seed.teardown.map_or(Spot::Empty, Spot::Teardown),
                children: None,
                waiters: None,
                rare: seed.rare,
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

    /// Does the number of handles mean anything? Only while the process is Running and nothing else is known
    /// to hold it (I8).
    #[inline]
    pub(crate) fn counts_handles(&self) -> bool {
        !self.held && self.phase() == Phase::Running
    }

    pub(crate) fn is_background(&self) -> bool {
        self.phase.is_background()
    }

    pub(crate) fn inherited(&self) -> Option<&Arc<Inherited>> {
        self.inherited.as_ref()
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    pub(crate) fn name(&self) -> Option<Arc<str>> {
        if self.named { self.inherited.as_ref()?.name.clone() } else { None }
    }

    pub(crate) fn spawner(&self) -> Option<&Spawner> {
        self.inherited.as_ref()?.spawner.as_ref()
    }

    pub(crate) fn id(self: &Arc<Self>) -> ProcessId {
        ProcessId::of(Arc::as_ptr(self))
    }

    pub(crate) fn label(self: &Arc<Self>) -> Label {
        Label::new(self.name(), self.id())
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        let inner = self.inner.lock();
        // Before Closing it may be there already, for `after_children`.
        if self.phase() == Phase::Running { None } else { inner.reason() }
    }

    /// What is kept with the process for the event; made at the first call.
    #[cfg(all(feature = "tokio-util", not(loom)))]
    pub(crate) fn keep<T>(&self, event: Event, make: impl FnOnce() -> T) -> T
    where
        T: Any + Clone + Send,
    {
        let mut inner = self.inner.lock();
        let kept = &mut inner.rare().kept;
        let of_event = kept.iter().filter(|(of, _)| *of == event);
        match of_event.filter_map(|(_, kept)| kept.downcast_ref::<T>()).next() {
            Some(found) => found.clone(),
            None => {
                let made = make();
                kept.push((event, Box::new(made.clone())));
                made
            }
        }
    }

    /// The outcome, once Closed (I3).
    pub(crate) fn outcome(&self) -> Option<Result<(), Error>> {
        if self.phase() != Phase::Closed {
            return None;
        }
        let inner = self.inner.lock();
        Some(inner.rare.as_ref().and_then(|rare| rare.failure.clone()).map_or(Ok(()), Err))
    }

    /// Sets the teardown, unless one was set or the process is Closed.
    pub(crate) fn set_teardown(&self, teardown: Teardown) -> SetTeardown {
        let mut inner = self.inner.lock();
        if inner.teardown_set {
            drop(inner);
            return SetTeardown::AlreadySet;
        }
        if self.phase() == Phase::Closed {
            drop(inner);
            return SetTeardown::Closed(teardown);
        }
        inner.teardown_set = true;
        inner.put_teardown(teardown);
        SetTeardown::Set
    }

    /// Takes the teardown back from a process that was never handed out.
    pub(crate) fn forget_teardown(&self) -> Option<Teardown> {
        self.inner.lock().take_teardown()
    }

    /// What keeps the process from being Closed, for a person who reads a hanging shutdown: the labels of at
    /// most `limit` processes that it waits for, and how many things it waits for in all.
    pub(crate) fn waiting_for(&self, limit: usize) -> (Vec<Label>, u32) {
        let inner = self.inner.lock();
        let waiting = inner.waiting;
        let mut nodes: Vec<Arc<Self>> = inner
            .children
            .iter()
            .flat_map(|children| children.iter())
            .filter(|child| child.phase() != Phase::Closed)
            .take(limit)
            .cloned()
            .collect();
        if let Some(rare) = &inner.rare {
            nodes.extend(rare.waits_for.iter().filter_map(Weak::upgrade).take(limit));
        }
        drop(inner);
        nodes.retain(|node| node.phase() != Phase::Closed);
        nodes.truncate(limit);
        (nodes.iter().map(Self::label).collect(), waiting)
    }
}

/// What came of [`Node::set_teardown`].
pub(crate) enum SetTeardown {
    Set,
    AlreadySet,
    /// The process is Closed; here is the teardown again.
    Closed(Teardown),
}

impl Inner {
    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn reason(&self) -> Option<Reason> {
        Some(match self.reason? {
            BriefReason::Asked => Reason::Asked,
            BriefReason::ParentClosed => Reason::ParentClosed,
            BriefReason::BodyFinished => Reason::BodyFinished,
            BriefReason::BodyFailed => Reason::BodyFailed,
            BriefReason::Dropped => Reason::Dropped,
            BriefReason::Rare => return self.rare.as_ref()?.reason.clone(),
        })
    }

    fn set_reason(&mut self, reason: Reason) {
        self.reason = Some(match reason {
            Reason::Asked => BriefReason::Asked,
            Reason::ParentClosed => BriefReason::ParentClosed,
            Reason::BodyFinished => BriefReason::BodyFinished,
            Reason::BodyFailed => BriefReason::BodyFailed,
            Reason::Dropped => BriefReason::Dropped,
            Reason::Signal(_) | Reason::ChildFailed(_) => {
                self.rare().reason = Some(reason);
                BriefReason::Rare
            }
        });
    }

    /// Adds an error to the outcome to be.
    fn add_failure(&mut self, error: Error) {
        let failure = &mut self.rare().failure;
        *failure = Error::all(failure.take().into_iter().chain([error])).err();
    }

    /// The up edges; who takes them makes the reports (S4).
    fn take_ups(&mut self, node: &Node) -> (Option<Up>, Vec<Up>) {
        let first = self.parent.take().map(|parent| Up::first(parent, node));
        let rest = self.rare.as_mut().map_or_else(Vec::new, |rare| mem::take(&mut rare.ups));
        (first, rest)
    }
}
