//! The closing walk: down to the children that close, and up to the processes that waited.
//!
//! ```text
//!          begin: Running → Closing            settle: nothing left to wait for
//! close ──▶ node ──────────────▶ its children ──▶ … ──▶ leaf ──▶ its teardown leaves as an effect,
//!                                                         │      or it is finished at once
//!                                                         ▼
//!                    parent ◀── tell: one edge less ◀── finish: Closing → Closed
//! ```
//!
//! It is a loop over a list of steps, never a recursion (I11), and it locks one node at a time. Every process ends the
//! same way: [`Walk::settle`] finds, under its lock, that it waits for nothing, and either hands its teardown out or
//! [finishes](Walk::finish) it; so a leaf without a teardown goes from Running to Closed in one locked section.
//! Children that end while the walk goes over their parent's list are counted, and subtracted from the parent's count
//! together.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::contents::{Contents, Failed, Happening};
use super::edge_kind::EdgeKind;
use super::effects::{Due, Effects};
use super::ended::{AHEAD, Ended, fetch};
use super::node::{Children, Inner, More, Node, Postponed, TeardownStage, Up};
use super::sleepers::{Moment, Place};
use super::watched::spread;
use crate::value::sleeper::Sleeper;
use crate::value::stamp::Stamp;
use crate::value::{Phase, Reason};

/// A walk under way.
pub(super) struct Walk<C: Contents> {
    /// The next process to tell; all further steps are in `steps`.
    next: Option<Up<C>>,
    steps: Vec<Step<C>>,
    pub(super) effects: Effects<C>,
    /// The time, once it has been read.
    now: Option<Stamp>,
    /// The number of children in the list that is being walked over; zero between lists.
    family: usize,
    /// When observers were last told that a process is Closing.
    told_at: Option<Instant>,
}

enum Step<C: Contents> {
    /// Go up: the process at the lower end of this edge is Closed.
    Tell(Up<C>),
    /// Go down.
    Close(Family<C>),
}

/// The children that a parent closes.
struct Family<C: Contents> {
    parent: Arc<Node<C>>,
    children: Children<C>,
    /// The kind of the edges to them.
    kind: EdgeKind,
    abort: bool,
    /// They were taken out of the parent's list, and those that stay open must be put back.
    taken: bool,
}

impl<C: Contents> Node<C> {
    /// Begins to close the process, perhaps by force.
    pub(crate) fn close(self: &Arc<Self>, reason: &Reason, abort: bool) -> Effects<C> {
        Walk::from(self, |walk, inner| {
            let is_first_abort = abort && !self.is_aborting() && *reason != Reason::ParentClosed;
            walk.begin(self, inner, reason, abort);
            if is_first_abort && self.is_aborting() {
                inner.extras().aborted_at = Some(walk.date(inner));
            }
        })
    }

    /// Begins to close the process as soon as it waits for nothing.
    pub(crate) fn close_after_children(self: &Arc<Self>) -> Effects<C> {
        Walk::from(self, |_, inner| self.close_when_idle(inner, &Reason::Asked))
    }

    /// The body has ended. A body that ended well lets the children finish; one that failed closes them, and perhaps
    /// the parents. `place` is the place of the body's sleeper for an abort; the sleeper is returned, to be dropped.
    pub(crate) fn body_ended(
        self: &Arc<Self>,
        failed: Option<Failed<C>>,
        place: Option<Place>,
    ) -> (Effects<C>, Option<Sleeper>) {
        let mut walk = Walk::new();
        let has_failed = failed.is_some();
        if let Some(failed) = failed {
            walk.fail(self, failed, |walk, inner| {
                inner.tell(self, || Happening::BodyEnded);
                walk.begin(self, inner, &Reason::BodyFailed, false);
            });
        }
        let mut spent = None;
        // The body is counted off only now: until here, the processes that wait for this one are open, and hear of the
        // failure.
        walk.visit(self, |walk, inner| {
            // Before the sleepers for the end of the body are looked for, because there is usually no other one.
            spent = place.and_then(|place| inner.take_sleeper(self, Moment::Aborting, place));
            walk.end_body(self, inner);
            if !has_failed {
                inner.tell(self, || Happening::BodyEnded);
                self.close_when_idle(inner, &Reason::BodyFinished);
            }
        });
        (walk.run(), spent)
    }

    /// The maker of the process has given it all its edges.
    pub(crate) fn is_made(self: &Arc<Self>) -> Effects<C> {
        Walk::from(self, |walk, inner| walk.end_body(self, inner))
    }

    /// The teardown that was handed out has ended.
    #[inline]
    pub(crate) fn torn_down(self: &Arc<Self>, failed: Option<Failed<C>>) -> Effects<C> {
        let mut walk = Walk::new();
        if let Some(failed) = failed {
            walk.fail(self, failed, |_, _| {});
        }
        let mut inner = self.inner.lock();
        inner.tell(self, || Happening::TeardownEnded);
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

    /// Sets the reason, so that Running becomes Closing as soon as the process waits for nothing.
    fn close_when_idle(&self, inner: &mut Inner<C>, reason: &Reason) {
        if self.phase() == Phase::Running && !inner.has_reason() {
            inner.set_reason(reason);
        }
    }
}

impl<C: Contents> Walk<C> {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            next: None,
            steps: Vec::new(),
            effects: Effects::default(),
            now: None,
            family: 0,
            told_at: None,
        }
    }

    /// A walk that begins with `first` under the node's lock.
    #[inline(always)]
    fn from(node: &Arc<Node<C>>, first: impl FnOnce(&mut Self, &mut Inner<C>)) -> Effects<C> {
        let mut walk = Self::new();
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

    /// Takes steps until there are none.
    #[inline(always)]
    pub(super) fn run(mut self) -> Effects<C> {
        self.tell_next();
        if !self.steps.is_empty() {
            self.take_steps();
            return self.effects;
        }
        let effects = mem::take(&mut self.effects);
        // No step was ever added, because only `take_steps` removes them, so there is nothing to drop.
        mem::forget(self);
        effects
    }

    #[inline(always)]
    fn tell_next(&mut self) {
        while let Some(up) = self.next.take() {
            self.tell(up);
        }
    }

    fn take_steps(&mut self) {
        while let Some(step) = self.steps.pop() {
            match step {
                Step::Tell(up) => self.tell(up),
                Step::Close(family) => self.close_children(family),
            }
            self.tell_next();
        }
    }

    /// Counts the body off, and takes the sleepers that wait for its end.
    #[inline(always)]
    fn end_body(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>) {
        node.count_off();
        node.phase.end_body();
        if inner.has_sleepers() {
            inner.take_sleepers(node, Moment::BodyEnded, &mut self.effects);
        }
    }

    /// Running becomes Closing, and Closing becomes aborting; everything below follows.
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
                inner.tell(node, || Happening::Aborting);
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

    /// The part of [`begin_now`](Self::begin_now) for a process that is not bare: takes its sleepers, its queue for
    /// slots and its children.
    fn begin_around(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>, abort: bool) {
        self.told_at = inner.tell_of_closing(node);
        if abort {
            inner.tell(node, || Happening::Aborting);
        }
        if inner.is_awaited() {
            inner.take_sleepers(node, Moment::Closing, &mut self.effects);
            if abort {
                inner.take_sleepers(node, Moment::Aborting, &mut self.effects);
            }
        }
        if inner.more.is_none() {
            // It has a sleeper, and nothing else.
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

    /// Adds the step that closes the children with an edge of this kind, which leave the list until then.
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

    /// Records when the process began to close, unless that is recorded already.
    #[inline(always)]
    pub(super) fn date(&mut self, inner: &mut Inner<C>) -> Stamp {
        let now = *self.now.get_or_insert_with(Stamp::now);
        if inner.closing_since().is_none() {
            inner.set_closing_since(now);
        }
        now
    }

    /// Ends a process that waits for nothing: hands its teardown out, once (S3), or makes it Closed.
    #[inline(always)]
    fn settle(
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
                node.work.teardown_is_due(self.date(inner));
                inner.tell(node, || Happening::TeardownQueued);
                let due = Due { node: node.clone(), teardown };
                if inner.is_no_wait_child() {
                    self.effects.tear_down_no_wait_child(due);
                } else {
                    self.effects.tear_down(due, self.family);
                }
                None
            }
            None => {
                inner.teardown = TeardownStage::Skipped;
                Some(self.finish(node, inner, walking))
            }
        }
    }

    /// Closing becomes Closed. Edges to `walking` are counted; the others become steps (S2).
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

    /// The part of [`finish`](Self::finish) for a process that is not bare: takes its sleepers, its children and its
    /// further edges, and merges its failures.
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
        inner.look_at_children(node, &mut self.effects);
        inner.merge_failures();
        inner.tell_of_end(node, self.told_at);
        if inner.has_only_had_observers() {
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

    /// Counts an edge from `walking` to a child; any other edge becomes a step.
    #[inline(always)]
    fn end_edge(&mut self, up: Up<C>, walking: Option<&Arc<Node<C>>>, ended: &mut Ended<C>) {
        let is_of = |walking| Arc::ptr_eq(&up.target, walking);
        if walking.is_some_and(is_of) && up.kind.closes() {
            ended.counted += u32::from(up.kind.waits());
        } else if self.next.is_none() {
            self.next = Some(up);
        } else {
            self.steps.push(Step::Tell(up));
        }
    }

    /// Goes up: a process that this one waited for, or closes, is Closed (S4).
    #[inline(always)]
    fn tell(&mut self, up: Up<C>) {
        if up.target.phase() != Phase::Closing || !up.kind.closes() {
            return self.tell_under_lock(up);
        }
        if up.kind.waits() && up.target.count_child_off() {
            self.tell_of_last(&up.target);
        }
    }

    /// No child of the process is left, or somebody waits for the children.
    fn tell_of_last(&mut self, node: &Arc<Node<C>>) {
        self.visit(node, |walk, inner| inner.look_at_children(node, &mut walk.effects));
    }

    /// [`tell`](Self::tell) for a process that is Running, or that does not close the one that is Closed.
    fn tell_under_lock(&mut self, up: Up<C>) {
        let Up { target: node, place, kind } = up;
        if kind == EdgeKind::BLOCKED {
            // The thread that is blocked was woken, and removes the edge itself.
            return;
        }
        let mut removed = None;
        self.visit(&node, |walk, inner| {
            let phase = node.phase();
            if kind.waits() {
                node.count_off_in(phase);
                if kind.closes() {
                    inner.look_at_children(&node, &mut walk.effects);
                } else {
                    inner.count_other_off();
                }
            }
            // A Closing process forgets its edges all at once, when it is Closed.
            if phase == Phase::Running {
                removed = inner.remove_edge(place, kind);
                if !kind.is_plain() {
                    walk.tell_more(&node, inner, kind);
                }
            }
        });
        drop(removed);
    }

    /// The further effects of the end of an edge: a slot is free, or a postponed closing begins.
    fn tell_more(&mut self, node: &Arc<Node<C>>, inner: &mut Inner<C>, kind: EdgeKind) {
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

    /// Goes down: closes the children, and subtracts those that are Closed at once from the parent's count together.
    fn close_children(&mut self, family: Family<C>) {
        let Family { parent, mut children, kind, abort, taken } = family;
        let (mut counted, mut are_open) = (0, false);
        self.family = children.len();
        for chunk in children.chunks_mut(AHEAD) {
            fetch(chunk);
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
        parent.count_children_off(counted);
        let mut children = Some(children);
        let mut is_spread_pending = false;
        self.visit(&parent, |walk, inner| {
            inner.look_at_children(&parent, &mut walk.effects);
            // If none is open, there is nothing to put back: the places of the list are not given again.
            if taken && are_open && parent.phase() == Phase::Closing {
                if !abort && parent.is_aborting() {
                    // The abort came while the children were out of the list.
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
