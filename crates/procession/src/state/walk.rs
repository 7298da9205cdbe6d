//! The closing walk: down to the children that are to be closed, up to the processes that waited.
//!
//! It is a loop over two lists, never a recursion (I11), and it locks one node at a time. A leaf goes from
//! Running to Closed in one locked section, and the leaves of one parent are reported to it together.

use std::mem;
use std::sync::Arc;

use super::edges::{Children, EdgeKind, Up};
use super::failing::Failing;
use super::waiters::{Event, Wakers};
use super::{Inner, Node};
use crate::error::Error;
use crate::name::ProcessId;
use crate::phase::Phase;
use crate::reason::Reason;
use crate::sync::MutexGuard;
use crate::teardown::Teardown;

/// A process whose turn to be torn down has come.
pub(crate) struct Ready {
    pub(crate) node: Arc<Node>,
    pub(crate) teardown: Teardown,
    /// The parent that closed it, if its report to that can wait for those of its [`Siblings`].
    pub(crate) under: Option<ProcessId>,
}

/// Reports to one Closing parent that are made together: those of siblings whose teardowns one thread runs
/// one after another.
///
/// They may wait as long as that thread goes on with another child of that parent, since the parent waits for
/// that one all the same. Before anything else the thread must [`report`](Self::report).
#[derive(Default)]
pub(crate) struct Siblings {
    parent: Option<Arc<Node>>,
    ended: u32,
}

impl Siblings {
    /// Are there reports that cannot wait for a child of `under`?
    pub(crate) fn must_report(&self, under: Option<ProcessId>) -> bool {
        self.parent.as_ref().is_some_and(|parent| under != Some(parent.id()))
    }

    /// The teardown of such a child has ended. If there is more to tell than its parent, the result comes
    /// back.
    pub(crate) fn end(&mut self, node: &Node, result: Outcome) -> Result<(), Outcome> {
        let mut inner = node.inner.lock();
        if result.is_err() || !inner.is_leaf() {
            drop(inner);
            return Err(result);
        }
        let Up { target, .. } = inner.end_leaf(node);
        drop(inner);
        self.ended += 1;
        self.parent.get_or_insert(target);
        Ok(())
    }

    /// Makes the reports.
    pub(crate) fn report(&mut self) -> Effects {
        let ended = mem::take(&mut self.ended);
        self.parent.take().map_or_else(Effects::default, |parent| {
            Walk::locked(&parent, |walk, inner| {
                inner.waiting -= ended;
                walk.settle(&parent, inner, None)
            })
        })
    }
}

/// What a teardown came to.
type Outcome = Result<(), Error>;

/// What is left to do when no lock is held any more.
#[derive(Default)]
#[must_use]
pub(crate) struct Effects {
    /// Blocking teardowns of processes with the default spawner: they can go on in one list.
    pub(crate) pooled: Vec<Ready>,
    /// All others.
    pub(crate) spawned: Vec<Ready>,
    pub(crate) wakers: Wakers,
}

impl Effects {
    pub(crate) fn is_empty(&self) -> bool {
        self.pooled.is_empty() && self.spawned.is_empty() && self.wakers.is_empty()
    }
}

/// A walk under way.
#[derive(Default)]
pub(super) struct Walk {
    /// Children that are to be closed.
    families: Vec<Family>,
    /// The next report; further ones in `reports`.
    report: Option<Report>,
    reports: Vec<Report>,
    pub(super) failing: Option<Box<Failing>>,
    effects: Effects,
}

/// The children that a parent closes.
struct Family {
    parent: Arc<Node>,
    children: Children,
    abort: bool,
    /// The parent gave them out of its list, and takes back those that stay open.
    taken: bool,
}

/// A process is Closed, and one that it has an edge to must hear of it.
struct Report {
    up: Up,
    /// Whose edge it is; only compared.
    from: *const Node,
}

impl Node {
    /// Begins to close the process, and to abort it.
    pub(crate) fn close(self: &Arc<Self>, reason: Reason, abort: bool) -> Effects {
        let mut inner = self.inner.lock();
        if !abort && self.phase() == Phase::Running && inner.ends_at_once() {
            self.begin_leaf(&mut inner, Some(reason));
            return self.finish_leaf(inner);
        }
        Walk::resume(inner, |walk, inner| {
            walk.begin(self, inner, reason, abort);
            walk.settle(self, inner, None)
        })
    }

    /// A leaf becomes Closing.
    fn begin_leaf(&self, inner: &mut Inner, reason: Option<Reason>) {
        reason.into_iter().for_each(|reason| inner.set_reason(reason));
        self.phase.advance(Phase::Closing);
    }

    /// A leaf becomes Closed, and its parent hears of it.
    fn finish_leaf(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) -> Effects {
        let up = inner.end_leaf(self);
        drop(inner);
        Walk::tell_parent(Report { up, from: Arc::as_ptr(self) })
    }

    /// Begins to close the process if it waits for nothing; otherwise, that happens later.
    pub(crate) fn close_after_children(self: &Arc<Self>) -> Effects {
        Walk::locked(self, |walk, inner| walk.close_when_idle(self, inner, Reason::Asked))
    }

    /// The body has ended. One that ended well lets its children finish; any other closes them. `place` is
    /// that of its waker for an abort.
    pub(crate) fn body_ended(self: &Arc<Self>, result: Outcome, place: Option<u32>) -> Effects {
        let mut inner = self.inner.lock();
        inner.waiting -= 1;
        let spent = place.and_then(|place| inner.take_waker(self, Event::Aborting, place));
        let at_once = result.is_ok() && inner.ends_at_once();
        let effects = if at_once {
            if self.phase() == Phase::Running {
                let reason = if inner.after_children { None } else { Some(Reason::BodyFinished) };
                self.begin_leaf(&mut inner, reason);
            }
            self.finish_leaf(inner)
        } else {
            Walk::resume(inner, |walk, inner| match result {
                Ok(()) => walk.close_when_idle(self, inner, Reason::BodyFinished),
                Err(error) => {
                    walk.fail(self, inner, error);
                    walk.begin(self, inner, Reason::BodyFailed, false);
                    walk.settle(self, inner, None)
                }
            })
        };
        drop(spent);
        effects
    }

    /// The teardown that was handed out has ended.
    pub(crate) fn torn_down(self: &Arc<Self>, result: Outcome) -> Effects {
        Walk::locked(self, |walk, inner| {
            if let Err(error) = result {
                walk.fail(self, inner, error);
            }
            walk.finish(self, inner, None)
        })
    }

    /// The last handle was dropped: a Running process that no parent holds closes (I8).
    pub(crate) fn last_handle_dropped(self: &Arc<Self>) -> Effects {
        if self.phase() != Phase::Running || self.is_background() {
            return Effects::default();
        }
        let inner = self.inner.lock();
        if self.phase() != Phase::Running || Self::is_held(&inner) {
            return Effects::default();
        }
        Walk::resume(inner, |walk, inner| {
            walk.begin(self, inner, Reason::Dropped, false);
            walk.settle(self, inner, None)
        })
    }
}

/// What one visit to a node left behind.
#[derive(Default)]
struct Visit {
    /// How many of the visitor's edges ended.
    reported: u32,
    /// To be dropped after the lock.
    garbage: Option<Box<Children>>,
}

impl Walk {
    /// A walk that begins with `first` under the node's lock.
    fn locked(node: &Arc<Node>, first: impl FnOnce(&mut Self, &mut Inner) -> Visit) -> Effects {
        Self::resume(node.inner.lock(), first)
    }

    /// [`locked`](Self::locked), with the lock taken already.
    fn resume(
        mut inner: MutexGuard<'_, Inner>,
        first: impl FnOnce(&mut Self, &mut Inner) -> Visit,
    ) -> Effects {
        let mut walk = Self::default();
        let visit = first(&mut walk, &mut inner);
        drop(inner);
        drop(visit.garbage);
        walk.run();
        walk.effects
    }

    /// A walk that begins with the report of a leaf. Most end there: its parent waits for others too, or is
    /// not about to close.
    fn tell_parent(report: Report) -> Effects {
        let mut inner = report.up.target.inner.lock();
        let goes_on = report.up.target.phase() == Phase::Running && !inner.after_children;
        if inner.waiting > 1 || goes_on {
            let mut effects = Effects::default();
            let child = inner.hear(&report, &mut effects.wakers);
            drop(inner);
            drop(child);
            return effects;
        }
        drop(inner);
        let mut walk = Self { report: Some(report), ..Self::default() };
        walk.run();
        walk.effects
    }

    fn run(&mut self) {
        loop {
            if let Some(failure) = self.next_failure() {
                self.carry(failure);
            } else if let Some(report) = self.report.take().or_else(|| self.reports.pop()) {
                self.tell(&report);
            } else if let Some(family) = self.families.pop() {
                self.close_children(family);
            } else {
                return;
            }
        }
    }

    /// Goes down: closes the children, then reports those that are Closed already to the parent, all at once.
    fn close_children(&mut self, family: Family) {
        let Family { parent, mut children, abort, taken } = family;
        let mut reported = 0;
        for place in children.entries_mut() {
            let Some(child) = place else { continue };
            let mut inner = child.inner.lock();
            let closed = if !abort && inner.is_idle_leaf(child, &parent) {
                let closed = self.close_leaf(child, &mut inner, &parent);
                drop(inner);
                reported += u32::from(closed);
                closed
            } else {
                self.begin(child, &mut inner, Reason::ParentClosed, abort);
                let visit = self.settle(child, &mut inner, Some(parent.id()));
                drop(inner);
                drop(visit.garbage);
                reported += visit.reported;
                child.phase() == Phase::Closed
            };
            if closed {
                *place = None;
            }
        }
        let mut inner = parent.inner.lock();
        inner.waiting -= reported;
        if taken && parent.phase() == Phase::Closing {
            if !abort && parent.is_aborting() {
                // The abort came while the children were with us.
                self.abort_children(&parent, children.iter());
            }
            inner.children().put_back(children);
        }
        let visit = self.settle(&parent, &mut inner, None);
        drop(inner);
        drop(visit.garbage);
    }

    /// What [`begin`](Self::begin) and [`settle`](Self::settle) come to for most children; `true` if it is
    /// Closed.
    fn close_leaf(&mut self, child: &Arc<Node>, inner: &mut Inner, parent: &Arc<Node>) -> bool {
        child.begin_leaf(inner, Some(Reason::ParentClosed));
        match inner.take_teardown() {
            Some(teardown) => {
                inner.started = true;
                self.hand_out(child, teardown, Some(parent.id()));
                false
            }
            None => {
                drop(inner.end_leaf(child));
                true
            }
        }
    }

    fn hand_out(&mut self, node: &Arc<Node>, teardown: Teardown, under: Option<ProcessId>) {
        let pooled = node.spawner().is_none() && teardown.is_blocking();
        let effects = &mut self.effects;
        let list = if pooled { &mut effects.pooled } else { &mut effects.spawned };
        list.push(Ready { node: node.clone(), teardown, under });
    }

    fn abort_children<'a>(
        &mut self,
        parent: &Arc<Node>,
        open: impl Iterator<Item = &'a Arc<Node>>,
    ) {
        let mut children = Children::new();
        for child in open {
            children.insert(child.clone());
        }
        self.families.push(Family { parent: parent.clone(), children, abort: true, taken: false });
    }

    /// Goes up: tells a process that one it waited for, or that it was to close, is Closed.
    fn tell(&mut self, report: &Report) {
        let node = &report.up.target;
        let mut inner = node.inner.lock();
        let child = inner.hear(report, &mut self.effects.wakers);
        if report.up.kind == EdgeKind::CloseAfter && inner.is_let_go() {
            self.begin(node, &mut inner, Reason::ParentClosed, false);
        }
        let visit = self.settle(node, &mut inner, None);
        drop(inner);
        drop((visit.garbage, child));
    }

    /// Running becomes Closing, and Closing becomes aborting; whatever hangs under it follows.
    pub(super) fn begin(
        &mut self,
        node: &Arc<Node>,
        inner: &mut Inner,
        reason: Reason,
        abort: bool,
    ) {
        let phase = node.phase();
        if reason == Reason::ParentClosed && !abort && inner.stays_open(phase) {
            return;
        }
        let abort = abort && phase != Phase::Closed && !node.is_aborting();
        if abort {
            node.phase.abort();
            inner.take_wakers(Event::Aborting, &mut self.effects.wakers);
        }
        match phase {
            Phase::Running => {
                inner.set_reason(reason);
                node.phase.advance(Phase::Closing);
                inner.take_wakers(Event::Closing, &mut self.effects.wakers);
                inner.take_queue(&mut self.effects.wakers);
                if let Some(children) = &mut inner.children {
                    let (parent, abort) = (node.clone(), node.is_aborting());
                    let children = children.take_all();
                    self.families.push(Family { parent, children, abort, taken: true });
                }
            }
            Phase::Closing if abort => {
                if let Some(children) = &inner.children {
                    self.abort_children(node, children.iter());
                }
            }
            _ => {}
        }
    }

    /// Running becomes Closing as soon as it waits for nothing.
    fn close_when_idle(&mut self, node: &Arc<Node>, inner: &mut Inner, reason: Reason) -> Visit {
        if node.phase() == Phase::Running && !inner.after_children {
            inner.after_children = true;
            inner.set_reason(reason);
        }
        self.settle(node, inner, None)
    }

    /// Does what a process that waits for nothing has to do: hands out its teardown, once (S3), or makes it
    /// Closed.
    fn settle(&mut self, node: &Arc<Node>, inner: &mut Inner, visitor: Option<ProcessId>) -> Visit {
        if inner.waiting > 0 || inner.started {
            return Visit::default();
        }
        if node.phase() == Phase::Running && inner.after_children {
            let reason = inner.reason().unwrap_or(Reason::Asked);
            self.begin(node, inner, reason, false);
        }
        if node.phase() != Phase::Closing {
            return Visit::default();
        }
        inner.started = true;
        match inner.take_teardown() {
            Some(teardown) => {
                // The reports of `siblings` go to the first parent.
                let under = visitor.filter(|visitor| {
                    inner.parent.as_ref().is_some_and(|parent| parent.id() == *visitor)
                });
                self.hand_out(node, teardown, under);
                Visit::default()
            }
            None => self.finish(node, inner, visitor),
        }
    }

    /// Closing becomes Closed. Edges that end at `visitor` are counted, the others become reports (S4).
    fn finish(&mut self, node: &Arc<Node>, inner: &mut Inner, visitor: Option<ProcessId>) -> Visit {
        node.phase.advance(Phase::Closed);
        for event in [Event::Aborting, Event::Closed] {
            inner.take_wakers(event, &mut self.effects.wakers);
        }
        inner.waiters = None;
        let mut visit = Visit { reported: 0, garbage: inner.children.take() };
        let (first, rest) = inner.take_ups(node);
        for up in first.into_iter().chain(rest) {
            if visitor.is_some_and(|visitor| up.target.id() == visitor) {
                visit.reported += u32::from(up.kind.waits());
                continue;
            }
            let report = Report { up, from: Arc::as_ptr(node) };
            match self.report {
                None => self.report = Some(report),
                Some(_) => self.reports.push(report),
            }
        }
        visit
    }
}

impl Inner {
    /// Is there nobody but its one parent to hear of its end, and nothing to be dropped with it?
    fn is_leaf(&self) -> bool {
        let alone = self.children.is_none() && self.rare.is_none() && !self.is_waited_for();
        alone && self.parent.is_some()
    }

    /// Is it a leaf that can become Closed in this locked section?
    fn ends_at_once(&self) -> bool {
        self.waiting == 0 && !self.started && self.is_leaf() && !self.has_teardown()
    }

    /// Is it Running and waits for nothing, and is it a leaf under `parent`?
    fn is_idle_leaf(&self, node: &Node, parent: &Arc<Node>) -> bool {
        let under = self.parent.as_ref().is_some_and(|own| Arc::ptr_eq(own, parent));
        under && node.phase() == Phase::Running && self.waiting == 0 && self.is_leaf()
    }

    /// A leaf that was Closing becomes Closed. What is left to do is the report to its parent (S4).
    fn end_leaf(&mut self, node: &Node) -> Up {
        self.started = true;
        node.phase.advance(Phase::Closed);
        let parent = self.parent.take().expect("a leaf has a parent");
        Up::first(parent, node)
    }

    /// Takes note of a report; what it removed is to be dropped after the lock.
    fn hear(&mut self, Report { up, from }: &Report, wakers: &mut Wakers) -> Option<Arc<Node>> {
        self.waiting -= u32::from(up.kind.waits());
        if up.kind == EdgeKind::LimitedChild {
            self.return_slot(wakers);
        }
        if up.kind.closes() {
            return self.children.as_mut()?.remove(up.place);
        }
        let rare = self.rare.as_mut()?;
        rare.waits_for.retain(|target| target.as_ptr() != *from);
        rare.held_open -= u32::from(up.kind == EdgeKind::CloseAfter);
        None
    }

    /// A parent closes it: does it stay open for now, to be closed after another?
    fn stays_open(&mut self, phase: Phase) -> bool {
        let held = self.rare.as_mut().filter(|rare| phase == Phase::Running && rare.held_open > 0);
        held.map(|rare| rare.close_asked = true).is_some()
    }

    /// Has a parent closed it, and nothing holds it open any more?
    fn is_let_go(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.close_asked && rare.held_open == 0)
    }
}
