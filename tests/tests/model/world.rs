//! The sequential model: the effects of a call are complete when it returns.

use std::collections::BTreeSet;
use std::fmt;

use procession::{Phase, Reason};

/// A [`Reason`] without the name of the child or the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Asked,
    ParentClosed,
    BodyFinished,
    BodyFailed,
    ChildFailed,
    Dropped,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Asked => Self::Asked,
            Reason::ParentClosed => Self::ParentClosed,
            Reason::BodyFinished => Self::BodyFinished,
            Reason::BodyFailed => Self::BodyFailed,
            Reason::ChildFailed(_) => Self::ChildFailed,
            Reason::Dropped => Self::Dropped,
            other => panic!("{other}"),
        }
    }
}

/// What an edge does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Child,
    NoWaitChild,
    WaitFor,
    CloseAfter,
}

impl Kind {
    fn closes(self) -> bool {
        matches!(self, Self::Child | Self::NoWaitChild)
    }

    fn waits(self) -> bool {
        self != Self::NoWaitChild
    }
}

/// The result of adding an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linked {
    Added,
    Cycle,
    Closed,
}

/// A process of the model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// `None` while it is Running.
    pub(crate) phase: Option<Phase>,
    pub(crate) aborting: bool,
    /// Why it closes or, while Running, why it will close as soon as it waits for nothing.
    pub(crate) why: Option<Why>,
    pub(crate) after_children: bool,
    /// A parent has closed it while `close_after` held it open; true if the parent aborted it.
    pub(crate) postponed: Option<bool>,
    /// The processes that it closes.
    pub(crate) closes: Vec<usize>,
    /// The processes that it waits for.
    pub(crate) waits: Vec<usize>,
    /// Those of `waits` that must be Closed before a parent closes this one.
    pub(crate) closes_after: Vec<usize>,
    /// The parents that keep it open.
    pub(crate) owners: Vec<usize>,
    pub(crate) body: bool,
    pub(crate) closes_for_a_child: bool,
    pub(crate) failed: bool,
    pub(crate) teardown_set: bool,
    /// Its teardown, if there is one: does it fail?
    pub(crate) teardown: Option<bool>,
    pub(crate) torn_down: bool,
    /// The number of its hooks, and of their calls.
    pub(crate) hooks: usize,
    pub(crate) told: usize,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) all: Vec<Model>,
    /// Some processes that close each other have been linked.
    pub(crate) has_rings: bool,
}

/// An event of a process, which may happen once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// It begins to close.
    Begins(usize),
    IsClosed(usize),
}

/// The processes that are not Closed, one per line.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, model) in self.all.iter().enumerate().filter(|&(n, _)| !self.is_closed(n)) {
            let Model { closes, waits, closes_after, owners, .. } = model;
            write!(f, "\n{n}: {:?}, closes {closes:?}, waits for {waits:?}, ", self.phase(n))?;
            write!(f, "closes after {closes_after:?}, owned by {owners:?}")?;
        }
        Ok(())
    }
}

impl World {
    pub(crate) fn phase(&self, n: usize) -> Phase {
        self.all[n].phase.unwrap_or(Phase::Running)
    }

    pub(crate) fn is_closed(&self, n: usize) -> bool {
        self.phase(n) == Phase::Closed
    }

    fn is_running(&self, n: usize) -> bool {
        self.phase(n) == Phase::Running
    }

    /// The processes that close this one, or have closed it.
    pub(crate) fn parents(&self, n: usize) -> Vec<usize> {
        (0..self.all.len()).filter(|&parent| self.all[parent].closes.contains(&n)).collect()
    }

    /// Does a parent own it, and so keep it open?
    pub(crate) fn is_owned(&self, n: usize) -> bool {
        self.all[n].owners.iter().any(|&owner| !self.is_closed(owner))
    }

    fn is_held_open(&self, n: usize) -> bool {
        self.all[n].closes_after.iter().any(|&other| !self.is_closed(other))
    }

    /// A new child of `parent`, which is not Closed.
    pub(crate) fn add_child(&mut self, parent: usize, child: Model) {
        let n = self.all.len();
        self.all.push(child);
        self.all[parent].closes.push(n);
        self.all[parent].waits.push(n);
        self.all[n].owners.push(parent);
        if !self.is_running(parent) {
            self.close(n, Why::ParentClosed, self.all[parent].aborting);
        }
    }

    /// Adds an edge, unless it is refused.
    pub(crate) fn link(&mut self, upper: usize, lower: usize, kind: Kind) -> Linked {
        if upper == lower {
            return Linked::Cycle;
        }
        if self.is_closed(upper) {
            return Linked::Closed;
        }
        if self.is_closed(lower) {
            return Linked::Added;
        }
        if self.completes_cycle(upper, lower, kind) {
            return Linked::Cycle;
        }
        if kind.closes() {
            if self.is_owned_by(upper, lower) {
                self.has_rings = true;
            } else {
                self.all[lower].owners.push(upper);
            }
            self.all[upper].closes.push(lower);
        }
        if kind.waits() {
            self.all[upper].waits.push(lower);
        }
        if kind == Kind::CloseAfter {
            self.all[upper].closes_after.push(lower);
        }
        if kind.closes() && !self.is_running(upper) {
            self.close(lower, Why::ParentClosed, self.all[upper].aborting);
        }
        Linked::Added
    }

    /// Does `owner` keep `n` open, directly or through others (I8)?
    fn is_owned_by(&self, n: usize, owner: usize) -> bool {
        let mut seen = BTreeSet::from([n]);
        let mut open = vec![n];
        while let Some(n) = open.pop() {
            let owners = self.all[n].owners.iter().filter(|&&owner| !self.is_closed(owner));
            open.extend(owners.filter(|&&owner| seen.insert(owner)));
        }
        seen.contains(&owner)
    }

    /// Would the new edge keep some process open for ever (I5)?
    fn completes_cycle(&self, upper: usize, lower: usize, kind: Kind) -> bool {
        let mut is_cycle = false;
        if kind.waits() {
            let is_ordered = kind == Kind::CloseAfter && self.is_running(upper);
            let event = if is_ordered { Event::Begins(upper) } else { Event::IsClosed(upper) };
            is_cycle |= self.dependents(event).contains(&Event::IsClosed(lower));
        }
        // Without another parent, the lower process will close because of the upper one.
        if kind.closes() && self.is_running(lower) && self.parents(lower).is_empty() {
            let dependents = self.dependents(Event::Begins(lower));
            // A process that only closes together with the lower one, as in a ring, does not complete a cycle.
            is_cycle |= self.comes_after(lower, &dependents).contains(&upper);
        }
        is_cycle
    }

    /// The events that cannot happen before `event`: every event that may depend on it, except those that turn out to
    /// have another way.
    fn dependents(&self, event: Event) -> BTreeSet<Event> {
        let mut dependents = BTreeSet::from([event]);
        let events = (0..self.all.len()).flat_map(|n| [Event::Begins(n), Event::IsClosed(n)]);
        let events: Vec<_> = events.filter(|&event| !self.has_happened(event)).collect();
        let parents: Vec<_> = (0..self.all.len()).map(|n| self.parents(n)).collect();
        loop {
            let count = dependents.len();
            let more = events.iter().filter(|&&event| {
                let (all_of, one_of) = self.requirements(event, &parents);
                all_of.iter().chain(&one_of).any(|event| dependents.contains(event))
            });
            let more: Vec<_> = more.copied().collect();
            dependents.extend(more);
            if dependents.len() == count {
                break;
            }
        }
        loop {
            let free = dependents.iter().copied().find(|&candidate| {
                let (all_of, one_of) = self.requirements(candidate, &parents);
                let is_free = |event: &Event| !dependents.contains(event);
                let has_way = one_of.is_empty() || one_of.iter().any(is_free);
                candidate != event && all_of.iter().all(is_free) && has_way
            });
            let Some(free) = free else { return dependents };
            dependents.remove(&free);
        }
    }

    fn has_happened(&self, event: Event) -> bool {
        match event {
            Event::Begins(n) => !self.is_running(n),
            Event::IsClosed(n) => self.is_closed(n),
        }
    }

    /// What must happen before `event`: all events of the first list, and one of the second.
    fn requirements(&self, event: Event, parents: &[Vec<usize>]) -> (Vec<Event>, Vec<Event>) {
        match event {
            Event::Begins(n) => {
                let closes_after = &self.all[n].closes_after;
                // If one parent has closed it, no other parent has to.
                let is_chosen = parents[n].iter().any(|&parent| !self.is_running(parent));
                let parents = parents[n].iter().filter(|_| !is_chosen);
                (
                    closes_after.iter().map(|&other| Event::IsClosed(other)).collect(),
                    parents.map(|&parent| Event::Begins(parent)).collect(),
                )
            }
            Event::IsClosed(n) => {
                let waits = self.all[n].waits.iter().map(|&other| Event::IsClosed(other));
                (waits.chain([Event::Begins(n)]).collect(), Vec::new())
            }
        }
    }

    /// The processes that begin to close only after `n` does, if `dependents` are the events that cannot happen before:
    /// those that are closed after a dependent process, and those whose parents are all among them.
    fn comes_after(&self, n: usize, dependents: &BTreeSet<Event>) -> BTreeSet<usize> {
        let mut after = BTreeSet::new();
        loop {
            let more = (0..self.all.len()).find(|other| {
                let closes_after = &self.all[*other].closes_after;
                let is_held =
                    closes_after.iter().any(|&other| dependents.contains(&Event::IsClosed(other)));
                let parents = self.parents(*other);
                let is_late =
                    !parents.is_empty() && parents.iter().all(|parent| after.contains(parent));
                let is_required = dependents.contains(&Event::Begins(*other));
                *other != n && is_required && (is_held || is_late) && !after.contains(other)
            });
            let Some(more) = more else { return after };
            after.insert(more);
        }
    }

    /// Begins to close the process.
    pub(crate) fn close(&mut self, n: usize, why: Why, abort: bool) {
        let mut begun = Vec::new();
        self.begin(n, why, abort, &mut begun);
        self.walk(begun);
    }

    fn begin(&mut self, n: usize, why: Why, abort: bool, begun: &mut Vec<usize>) {
        let is_held_open = self.is_held_open(n);
        let model = &mut self.all[n];
        match model.phase {
            None if why == Why::ParentClosed && is_held_open => {
                model.postponed = Some(model.postponed == Some(true) || abort);
            }
            None => {
                model.phase = Some(Phase::Closing);
                model.why = Some(why);
                model.aborting = abort || model.postponed == Some(true);
                begun.push(n);
            }
            Some(Phase::Closing) if abort && !model.aborting => {
                model.aborting = true;
                begun.push(n);
            }
            Some(_) => {}
        }
    }

    /// Closes the children of the processes that have begun to close or to abort.
    fn walk(&mut self, mut begun: Vec<usize>) {
        while let Some(n) = begun.pop() {
            for child in self.all[n].closes.clone() {
                self.begin(child, Why::ParentClosed, self.all[n].aborting, &mut begun);
            }
        }
    }

    /// Closes the process as soon as it waits for nothing.
    pub(crate) fn close_after_children(&mut self, n: usize, why: Why) {
        let model = &mut self.all[n];
        if model.phase.is_none() && !model.after_children {
            model.after_children = true;
            model.why = Some(why);
        }
    }

    pub(crate) fn end_body(&mut self, n: usize, is_ok: bool) {
        let aborted = self.all[n].aborting;
        self.all[n].body = false;
        if is_ok && !aborted {
            return self.close_after_children(n, Why::BodyFinished);
        }
        let mut begun = Vec::new();
        self.begin(n, Why::BodyFailed, false, &mut begun);
        self.fail(n, aborted, &mut begun);
        self.walk(begun);
    }

    /// Calls the hooks for the failure, and closes the parents that close for a failed child.
    fn fail(&mut self, n: usize, aborted: bool, begun: &mut Vec<usize>) {
        self.tell_hooks(n);
        self.all[n].failed = true;
        let mut heard = BTreeSet::new();
        let mut next = vec![n];
        while let Some(n) = next.pop() {
            for parent in self.parents(n) {
                let model = &self.all[parent];
                let is_dropped = aborted && model.aborting;
                if is_dropped || !model.closes_for_a_child || self.is_closed(parent) {
                    continue;
                }
                if heard.insert(parent) {
                    self.all[parent].failed = true;
                    self.begin(parent, Why::ChildFailed, false, begun);
                    next.push(parent);
                }
            }
        }
    }

    /// Calls each hook of the process and of the processes above it, once.
    pub(crate) fn tell_hooks(&mut self, n: usize) {
        let mut seen = BTreeSet::from([n]);
        let mut open = vec![n];
        while let Some(n) = open.pop() {
            self.all[n].told += self.all[n].hooks;
            open.extend(self.parents(n).into_iter().filter(|&parent| seen.insert(parent)));
        }
    }

    /// Ends the processes that wait for nothing, until none is left.
    pub(crate) fn settle(&mut self) {
        while let Some(n) = (0..self.all.len()).find(|&n| self.is_due(n)) {
            let model = &mut self.all[n];
            if model.phase.is_none() {
                let why = model.why.unwrap();
                self.close(n, why, false);
                continue;
            }
            if let Some(fails) = model.teardown {
                model.torn_down = true;
                if fails {
                    let mut begun = Vec::new();
                    self.fail(n, false, &mut begun);
                    self.walk(begun);
                }
            }
            self.all[n].phase = Some(Phase::Closed);
            self.release();
        }
    }

    fn is_due(&self, n: usize) -> bool {
        let model = &self.all[n];
        let is_idle = !model.body && model.waits.iter().all(|&n| self.is_closed(n));
        let is_closing = self.phase(n) == Phase::Closing;
        is_idle && (is_closing || self.is_running(n) && model.after_children)
    }

    /// Closes the processes that a parent has closed, and that nothing holds open any longer.
    fn release(&mut self) {
        for n in 0..self.all.len() {
            if self.is_running(n) && !self.is_held_open(n) {
                if let Some(abort) = self.all[n].postponed {
                    self.close(n, Why::ParentClosed, abort);
                }
            }
        }
    }
}
