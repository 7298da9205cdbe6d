//! The closing walk: down to the children that a closing process closes, and up to the processes that waited for it.
//!
//! ```text
//!          begin: Running → Closing            settle: nothing left to wait for
//! close ──▶ node ──────────────▶ its children ──▶ … ──▶ leaf ──▶ its teardown leaves as an effect,
//!                                                         │      or it is finished at once
//!                                                         ▼
//!                    parent ◀── release: one edge less ◀── finish: Closing → Closed
//! ```
//!
//! The walk is a loop over a list of steps, never a recursion (I11), and it locks one node at a time. Every process
//! ends in the same way: [`Walk::settle`] finds, under the node's lock, that the process waits for nothing, and either
//! hands out its teardown or [finishes](Walk::finish) it. So a leaf without a teardown goes from Running to Closed in
//! one locked section. Children that end while the walk goes over their parent's list are counted, and subtracted from
//! the parent's count together.

use std::mem::{self, ManuallyDrop};
use std::sync::Arc;
use std::time::Instant;

use super::contents::{Contents, Failed, NodeEvent};
use super::edge_kind::EdgeKind;
use super::effects::{Due, Effects};
use super::ended::{AHEAD, Ended, fetch};
use super::node::{Children, Inner, More, Node, Postponed, TeardownStage, Up};
use super::sleepers::{Moment, Place};
use super::watched::spread;
use crate::value::sleeper::Sleeper;
use crate::value::stamp::Stamp;
use crate::value::time::now;
use crate::value::{Phase, Reason};

/// A walk under way.
pub(super) struct Walk<C: Contents> {
    /// The next edge to release; all further steps are in `steps`.
    next: Option<Up<C>>,
    steps: Vec<Step<C>>,
    pub(super) effects: Effects<C>,
    /// The time of the walk, once the clock was read.
    now: Option<Stamp>,
    /// The length of the list of children that the walk goes over at the moment; zero between lists.
    family: u32,
    /// The observers of the process that the walk is at will be notified of its closing together with its end.
    is_notice_due: bool,
    /// The time in that notice. In a list of children, it is the time at which the walk reached the current chunk, once
    /// the clock was read.
    notice_at: Option<Instant>,
}

enum Step<C: Contents> {
    /// Go up along this edge, whose lower process is Closed.
    Release(Up<C>),
    /// Go down to these children.
    Close(Family<C>),
}

/// The children that a parent closes.
struct Family<C: Contents> {
    parent: Arc<Node<C>>,
    children: Children<C>,
    /// The kind of the edges to them.
    kind: EdgeKind,
    abort: bool,
    /// The children were taken out of the parent's list, so those that stay open must be put back.
    taken: bool,
}

impl<C: Contents> Node<C> {
    /// Begins to close the process or, if `abort` is set because a process above is being aborted, to abort it.
    pub(crate) fn close(self: &Arc<Self>, reason: &Reason, abort: bool) -> Effects<C> {
        Walk::from(self, |walk, inner| walk.begin(self, inner, reason, abort))
    }

    /// Begins to close the process as soon as it waits for nothing.
    pub(crate) fn close_after_children(self: &Arc<Self>) -> Effects<C> {
        Walk::from(self, |_, inner| self.close_when_idle(inner, &Reason::Asked))
    }

    /// The body has ended. A body that succeeded lets the children finish; one that failed closes them, and perhaps the
    /// parents. `place` is that of the sleeper that an abort would wake; the sleeper is returned for the caller to
    /// drop.
    pub(crate) fn body_ended(
        self: &Arc<Self>,
        failed: Option<Failed<C>>,
        place: Option<Place>,
    ) -> (Effects<C>, Option<Sleeper>) {
        let mut walk = ManuallyDrop::new(Walk::new());
        let has_failed = failed.is_some();
        if let Some(failed) = failed {
            walk.fail(self, failed, |walk, inner| {
                inner.notify_observers(self, || NodeEvent::BodyEnded);
                walk.begin(self, inner, &Reason::BodyFailed, false);
            });
        }
        let mut spent = None;
        // The body is subtracted only now. Until here, the processes that wait for this one are open, so the failure
        // still reaches them.
        walk.visit(self, |walk, inner| {
            // Before the sleepers for the end of the body are searched for, because usually there is no other sleeper.
            spent = place.and_then(|place| inner.take_sleeper(self, Moment::Aborting, place));
            walk.end_body(self, inner);
            if !has_failed {
                inner.notify_observers(self, || NodeEvent::BodyEnded);
                self.close_when_idle(inner, &Reason::BodyFinished);
            }
        });
        (walk.run(), spent)
    }

    /// The maker of the process has added all its edges, and the process no longer waits for its maker.
    pub(crate) fn finish_making(self: &Arc<Self>) -> Effects<C> {
        Walk::from(self, |walk, inner| walk.end_body(self, inner))
    }

    /// The teardown, which was handed out, has ended.
    #[inline]
    pub(crate) fn torn_down(self: &Arc<Self>, failed: Option<Failed<C>>) -> Effects<C> {
        let mut walk = ManuallyDrop::new(Walk::new());
        if let Some(failed) = failed {
            walk.fail(self, failed, |_, _| {});
        }
        let mut inner = self.inner.lock();
        inner.notify_observers(self, || NodeEvent::TeardownEnded);
        let is_last = !inner.leaves_end_to_report();
        let ended = is_last.then(|| walk.finish(self, &mut inner, None));
        drop(inner);
        drop(ended);
        walk.run()
    }

    /// The last handle was dropped: a Running process that no parent holds closes (I8).
    pub(crate) fn last_handle_dropped(self: &Arc<Self>) -> Effects<C> {
        if self.phase() != Phase::Running || self.is_background() {
            return Effects::default();
        }
        Walk::from(self, |walk, inner| {
            if self.phase() == Phase::Running && !inner.is_held() {
                walk.begin(self, inner, &Reason::Dropped, false);
            }
        })
    }

    /// Sets the reason, which makes a Running process close as soon as it waits for nothing.
    fn close_when_idle(&self, inner: &mut Inner<C>, reason: &Reason) {
        if self.phase() == Phase::Running && !inner.has_reason() {
            inner.set_reason(reason);
        }
    }
}

impl<C: Contents> Walk<C> {
    /// A new walk. If it is certain to [run](Self::run), the caller can leave out its drop.
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            next: None,
            steps: Vec::new(),
            effects: Effects::default(),
            now: None,
            family: 0,
            is_notice_due: false,
            notice_at: None,
        }
    }

    /// Runs a walk that begins with `first`, called under the node's lock.
    #[inline(always)]
    fn from(node: &Arc<Node<C>>, first: impl FnOnce(&mut Self, &mut Inner<C>)) -> Effects<C> {
        let mut walk = ManuallyDrop::new(Self::new());
        walk.visit(node, first);
        walk.run()
    }

    /// Calls `change` under the node's lock, and settles the node.
    #[inline(always)]
    pub(super) fn visit(
        &mut self,
        node: &Arc<Node<C>>,
        change: impl FnOnce(&mut Self, &mut Inner<C>),
    ) {
        let mut inner = node.inner.lock();
        change(self, &mut inner);
        let ended = self.settle(node, &mut inner, None);
        drop(inner);
        drop(ended);
    }

    /// Takes steps until none are left. After that, the walk has nothing to drop.
    ///
    /// It is not passed by value, because the processor would have to wait for the fields that were written last before
    /// it could copy them.
    #[inline(always)]
    pub(super) fn run(&mut self) -> Effects<C> {
        self.release_next();
        if !self.steps.is_empty() {
            self.take_steps();
            self.steps = Vec::new();
        }
        mem::take(&mut self.effects)
    }

    #[inline(always)]
    fn release_next(&mut self) {
        while let Some(up) = self.next.take() {
            self.release(up);
        }
    }

    fn take_steps(&mut self) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Release(up) => self.release(up),
                Step::Close(family) => self.close_children(family),
            }
            self.release_next();
        }
    }

    /// Subtracts the body from `waiting`, and takes the sleepers that wait for its end.
    #[inline(always)]
    fn end_body(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>) {
        node.decrement_waiting();
        node.phase.end_body();
        if inner.has_sleepers() {
            inner.take_sleepers(node, Moment::BodyEnded, &mut self.effects);
        }
    }

    /// Running becomes Closing; with `abort`, Closing becomes aborting. Everything below follows.
    #[inline(always)]
    pub(super) fn begin(
        &mut self,
        node: &Arc<Node<C>>,
        inner: &mut Inner<C>,
        reason: &Reason,
        abort: bool,
    ) {
        match node.phase() {
            Phase::Running => {
                if matches!(reason, Reason::ParentClosed) && inner.postpone(abort) {
                    return;
                }
                inner.set_reason(reason);
                let abort = abort || inner.is_abort_postponed();
                self.begin_now(node, inner, abort);
            }
            Phase::Closing if abort && !node.is_aborting() => {
                node.phase.abort();
                inner.notify_observers(node, || NodeEvent::Aborting);
                inner.take_sleepers(node, Moment::Aborting, &mut self.effects);
                if let Some(children) = inner.no_wait_children() {
                    self.abort_children(node, EdgeKind::NO_WAIT_CHILD, children.iter());
                }
                if let Some(children) = inner.waited_children() {
                    self.abort_children(node, EdgeKind::CHILD, children.iter());
                }
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    /// Running becomes Closing, for the reason that was set.
    #[inline(always)]
    fn begin_now(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>, abort: bool) {
        node.phase.begin_closing(abort);
        if node.report().is_some() {
            self.effects.report_closing(node);
        }
        if !inner.is_bare() {
            self.begin_around(node, inner, abort);
        }
    }

    /// The part of [`begin_now`](Self::begin_now) for a process that is not [bare](Inner::is_bare): takes its sleepers,
    /// its queue for slots and its children.
    fn begin_around(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>, abort: bool) {
        self.is_notice_due = inner.notify_of_closing(node);
        if self.is_notice_due && (self.family == 0 || self.notice_at.is_none()) {
            // In a list of children, the clock is read once for each chunk. *The times of the events of a child are in
            // order*, because its only earlier event was that it was made, and it was in the list before the walk
            // reached the chunk.
            self.notice_at = Some(now());
        }
        if abort {
            inner.notify_observers(node, || NodeEvent::Aborting);
        }
        if inner.is_awaited() {
            inner.take_sleepers(node, Moment::Closing, &mut self.effects);
            if abort {
                inner.take_sleepers(node, Moment::Aborting, &mut self.effects);
            }
        }
        if inner.more.is_none() {
            // It has a sleeper and nothing else.
            return;
        }
        inner.take_queue(&mut self.effects);
        node.begin_closing_hooks(inner);
        if inner.no_wait_children().is_some() {
            self.take_children(node, inner, EdgeKind::NO_WAIT_CHILD, abort);
        }
        if inner.waited_children().is_some_and(|children| !children.is_empty()) {
            self.take_children(node, inner, EdgeKind::CHILD, abort);
        }
    }

    /// Adds the step that closes the children of this kind. Until that step, they are not in the list of children.
    fn take_children(
        &mut self,
        node: &Arc<Node<C>>,
        inner: &mut Inner<C>,
        kind: EdgeKind,
        abort: bool,
    ) {
        let children = inner.children(kind).take_all();
        if !children.is_empty() {
            let parent = node.clone();
            self.steps.push(Step::Close(Family { parent, children, kind, abort, taken: true }));
        }
    }

    /// Records when the process began to close, unless that was recorded before. Returns the time of the walk.
    #[inline(always)]
    pub(super) fn date(&mut self, inner: &mut Inner<C>) -> Stamp {
        let now = *self.now.get_or_insert_with(Stamp::now);
        if inner.closing_since().is_none() {
            inner.set_closing_since(now);
        }
        now
    }

    /// If the process waits for nothing, hands out its teardown, once (S3), or makes it Closed.
    #[inline(always)]
    pub(super) fn settle(
        &mut self,
        node: &Arc<Node<C>>,
        inner: &mut Inner<C>,
        walking: Option<&Arc<Node<C>>>,
    ) -> Option<Ended<C>> {
        if node.is_waiting() || inner.teardown.has_started() {
            if node.phase() == Phase::Closing {
                self.date(inner);
            }
            return None;
        }
        if node.phase() == Phase::Running {
            if !inner.has_reason() {
                return None;
            }
            let abort = inner.is_abort_postponed();
            self.begin_now(node, inner, abort);
            if node.is_waiting() {
                // It waits for its closing hooks.
                self.date(inner);
                return None;
            }
        }
        match inner.take_teardown() {
            Some(teardown) => {
                inner.teardown = TeardownStage::Started;
                node.work.mark_teardown_due(self.date(inner));
                inner.notify_observers(node, || NodeEvent::TeardownQueued);
                let node = node.clone();
                if inner.is_no_wait_child() {
                    self.effects.tear_down_no_wait_child(Due { node, teardown });
                } else {
                    self.effects.tear_down(node, teardown, self.family as usize);
                }
                None
            }
            None => {
                inner.teardown = TeardownStage::Skipped;
                Some(self.finish(node, inner, walking))
            }
        }
    }

    /// Closing becomes Closed. Child edges from `walking` are counted; all other up edges become steps (S2).
    #[inline(always)]
    pub(super) fn finish(
        &mut self,
        node: &Arc<Node<C>>,
        inner: &mut Inner<C>,
        walking: Option<&Arc<Node<C>>>,
    ) -> Ended<C> {
        node.phase.finish();
        if node.report().is_some() {
            self.effects.report_closed(node);
        }
        let mut ended = Ended { counted: 0, more: None };
        if let Some(up) = inner.take_first_up(node) {
            self.end_edge(up, walking, &mut ended);
        }
        if !inner.is_bare() {
            self.finish_around(node, inner, walking, &mut ended);
        }
        ended
    }

    /// The part of [`finish`](Self::finish) for a process that is not [bare](Inner::is_bare): takes its sleepers, its
    /// children and its further edges, and merges its failures.
    fn finish_around(
        &mut self,
        node: &Arc<Node<C>>,
        inner: &mut Inner<C>,
        walking: Option<&Arc<Node<C>>>,
        ended: &mut Ended<C>,
    ) {
        if inner.is_awaited() {
            inner.take_sleepers(node, Moment::Aborting, &mut self.effects);
            inner.take_sleepers(node, Moment::Closed, &mut self.effects);
        }
        inner.check_children(node, &mut self.effects);
        inner.merge_failures();
        let is_notice_due = mem::take(&mut self.is_notice_due);
        inner.notify_of_end(node, self.notice_at.filter(|_| is_notice_due));
        if inner.has_only_observers() {
            inner.more = None;
            return;
        }
        inner.forget_hooks();
        ended.more = match inner.more.as_deref_mut() {
            // The extras stay, for the outcome.
            Some(More { children, waiters, extras: Some(extras), .. }) => {
                *waiters = None;
                let mut children = mem::take(children);
                for child in extras.no_wait_children.take().into_iter().flat_map(|list| *list) {
                    children.insert(child);
                }
                let has_children = children.may_have_entries();
                has_children.then(|| Box::new(More { children, ..More::default() }))
            }
            _ => inner.more.take(),
        };
        for up in inner.take_further_ups() {
            self.end_edge(up, walking, ended);
        }
    }

    /// Counts the edge if it is a child edge from `walking`; otherwise makes it a step.
    #[inline(always)]
    fn end_edge(&mut self, up: Up<C>, walking: Option<&Arc<Node<C>>>, ended: &mut Ended<C>) {
        let is_of = |walking| Arc::ptr_eq(&up.target, walking);
        if walking.is_some_and(is_of) && up.kind.closes() {
            ended.counted += u32::from(up.kind.waits());
        } else if self.next.is_none() {
            self.next = Some(up);
        } else {
            self.steps.push(Step::Release(up));
        }
    }

    /// Goes up along an edge whose lower process is Closed (S4).
    #[inline(always)]
    fn release(&mut self, up: Up<C>) {
        if up.target.phase() != Phase::Closing || !up.kind.closes() {
            return self.release_under_lock(up);
        }
        if up.kind.waits() && up.target.decrement_waiting_for_child() {
            self.recheck(&up.target);
        }
    }

    /// Checks a process that has no child left, or whose children are awaited.
    fn recheck(&mut self, node: &Arc<Node<C>>) {
        self.visit(node, |walk, inner| inner.check_children(node, &mut walk.effects));
    }

    /// [`release`](Self::release) for an upper process that is Running, or for an edge that does not close.
    fn release_under_lock(&mut self, up: Up<C>) {
        let Up { target: node, place, kind } = up;
        if kind == EdgeKind::BLOCKED {
            // The blocked thread was woken, and removes the edge itself.
            return;
        }
        let mut removed = None;
        self.visit(&node, |walk, inner| {
            let phase = node.phase();
            if kind.waits() {
                node.decrement_waiting_in(phase);
                if kind.closes() {
                    inner.check_children(&node, &mut walk.effects);
                } else {
                    inner.decrement_other_waits();
                }
            }
            // A Closing process removes all its edges at once, when it becomes Closed.
            if phase == Phase::Running {
                removed = inner.remove_edge(place, kind);
                if !kind.is_plain() {
                    walk.apply_release(&node, inner, kind);
                }
            }
        });
        drop(removed);
    }

    /// Applies the further effects of the end of an edge: a slot is returned, or a postponed closing begins.
    fn apply_release(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>, kind: EdgeKind) {
        if kind.holds_slot() {
            inner.return_slot(&mut self.effects);
        }
        if kind.orders() && !inner.is_held_open() {
            let postponed = inner.extras().postponed.take();
            if let Some(Postponed { abort }) = postponed {
                self.begin(node, inner, &Reason::ParentClosed, abort);
            }
        }
    }

    /// Goes down: closes the children, and subtracts all those that are Closed at once from the parent's count
    /// together.
    fn close_children(&mut self, family: Family<C>) {
        let Family { parent, mut children, kind, abort, taken } = family;
        let (mut counted, mut are_open) = (0, false);
        self.family = children.len() as u32;
        for chunk in children.chunks_mut(AHEAD) {
            fetch(chunk);
            self.notice_at = None;
            for place in chunk {
                let Some(child) = place else { continue };
                let mut inner = child.inner.lock();
                self.begin(child, &mut inner, &Reason::ParentClosed, abort);
                let ended = self.settle(child, &mut inner, Some(&parent));
                drop(inner);
                match ended {
                    Some(ended) => {
                        counted += ended.counted;
                        *place = None;
                    }
                    None => are_open = true,
                }
            }
        }
        self.family = 0;
        parent.decrement_waiting_for_children(counted);
        let mut children = Some(children);
        let mut is_spread_pending = false;
        self.visit(&parent, |walk, inner| {
            inner.check_children(&parent, &mut walk.effects);
            // If none is open, nothing has to be put back, because the places of a list that was taken are never
            // reused.
            if taken && are_open && parent.phase() == Phase::Closing {
                if !abort && parent.is_aborting() {
                    // The abort came while the children were not in the list.
                    let open = children.iter().flat_map(Children::<C>::iter);
                    walk.abort_children(&parent, kind, open);
                }
                children
                    .take()
                    .into_iter()
                    .for_each(|children| inner.children(kind).put_back(children));
                is_spread_pending = inner.is_spread_pending();
            }
        });
        drop(children);
        if is_spread_pending {
            spread(vec![parent]);
        }
    }

    /// Adds the step that aborts the children that are still open.
    fn abort_children<'a>(
        &mut self,
        parent: &Arc<Node<C>>,
        kind: EdgeKind,
        open: impl Iterator<Item = &'a Arc<Node<C>>>,
    ) {
        let mut children = Children::<C>::new();
        for child in open {
            children.insert(child.clone());
        }
        let parent = parent.clone();
        self.steps.push(Step::Close(Family { parent, children, kind, abort: true, taken: false }));
    }
}
