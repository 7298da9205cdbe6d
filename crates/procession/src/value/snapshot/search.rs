//! The search for the items that prevent a process from closing.
//!
//! It goes breadth-first from the root along the edges that wait, to processes that are not Closed. Therefore each
//! chain is as short as possible. At the end of a chain is an item: code that runs, a held slot, or a process that
//! nobody has asked to close.
//!
//! 1. A Running process with a Closing parent is about to be closed, however the search reaches it. It is not an item,
//!    and the search follows only its close-after edges.
//! 2. Any other Running process that a wait leads to, and that has no reason to close, has not been asked to close. It
//!    is an item, and nothing below it is searched.
//! 3. A Running process that has a reason will close once its children have finished, so their work is an item.
//! 4. Code that is blocked in a wait for another process, for the children or the body of one, or for a slot, is not an
//!    item: the chain continues there. If no child is open any more, the code that waited for children is an item again,
//!    because then only that code keeps the process open.
//! 5. While a closing walk has taken the children of a process, the snapshot does not contain them. The fact that they
//!    are being closed is then an item.

use std::collections::{HashSet, VecDeque};

use super::blocker::BlockerKind;
use super::{Edge, Link, ProcessInfo, Snapshot};
use crate::value::Phase;

/// All items that prevent the root of a snapshot from closing.
pub(super) struct Search<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// A copy of the phases, next to each other in memory, because the search reads each of them several times.
    phases: Vec<Phase>,
    /// In the order in which they were found.
    pub(super) items: Vec<Item>,
    /// For each process, the step by which it was reached for the first time. The steps form no ring, because the upper
    /// end of a step was reached before its lower end.
    pub(super) steps: Vec<Option<Step>>,
    is_visited: Vec<bool>,
    /// Does the process have an item for its own work, or because nobody has asked it to close?
    has_item: Vec<bool>,
    /// For each process that was reached, the nearest Closing process on the way to it, which may be the process
    /// itself.
    pub(super) nearest_closing: Vec<Option<u32>>,
    /// Does the process have a Closing parent, which is about to close it?
    is_about_to_close: Vec<bool>,
    /// The processes that were visited because of a wait for something other than their end.
    partially_visited: HashSet<(u32, Link)>,
    queue: VecDeque<(u32, Option<Step>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) link: Link,
}

#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) process: u32,
    pub(super) kind: BlockerKind,
    pub(super) step: Option<Step>,
    /// The index of the limiter's slot, if the item is one.
    pub(super) slot: u32,
}

impl Item {
    /// Does it say that the root itself has not been asked to close?
    pub(super) fn is_root_not_asked(&self) -> bool {
        self.process == 0 && self.kind == BlockerKind::NotAsked
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let number = snapshot.processes.len();
        let phases: Vec<Phase> = snapshot.processes().map(|process| process.phase()).collect();
        let mut is_about_to_close = vec![false; number];
        for edge in snapshot.edges.iter().filter(|edge| edge.kind().closes()) {
            if phases[edge.from()] == Phase::Closing {
                is_about_to_close[edge.to()] = true;
            }
        }
        let mut search = Self {
            snapshot,
            phases,
            items: Vec::new(),
            steps: vec![None; number],
            is_visited: vec![false; number],
            has_item: vec![false; number],
            nearest_closing: vec![None; number],
            is_about_to_close,
            partially_visited: HashSet::new(),
            queue: VecDeque::new(),
        };
        if search.is_open(0) {
            search.queue.push_back((0, None));
        }
        while let Some((process, step)) = search.queue.pop_front() {
            search.visit(process, step);
        }
        search
    }

    fn visit(&mut self, process: u32, step: Option<Step>) {
        let position = process as usize;
        if process != 0 {
            self.steps[position] = self.steps[position].or(step);
        }
        if self.nearest_closing[position].is_none() {
            self.nearest_closing[position] = match (self.phases[position], step) {
                (Phase::Closing, _) => Some(process),
                (_, Some(step)) => self.nearest_closing[step.from as usize],
                (_, None) => None,
            };
        }
        match step {
            Some(step) if step.link == Link::SlotWait => return self.reach_limiter(process, step),
            Some(step) if step.link == Link::ChildrenWait => {
                return self.reach_children(process, step);
            }
            Some(step) if step.link == Link::BodyWait => return self.reach_body(process, step),
            _ => {}
        }
        if std::mem::replace(&mut self.is_visited[position], true) {
            return;
        }
        let info = self.info(process);
        let is_finished_first = step.is_some_and(|step| {
            step.link == Link::Child && self.phases[step.from as usize] == Phase::Running
        });
        if self.phases[position] == Phase::Closing {
            self.add_items_of(process, step);
        } else if self.is_about_to_close[position] {
            self.follow(process, |edge| edge.kind() == Link::CloseAfter);
        } else if is_finished_first {
            if !self.add_items_of(process, step) && info.reason().is_none() {
                self.add_item(process, BlockerKind::NotAsked, step);
            }
        } else if info.reason().is_some() {
            self.add_items_of(process, step);
        } else {
            self.add_item(process, BlockerKind::NotAsked, step);
        }
    }

    /// Each slot that a guard holds is an item. Children hold the other slots, so the search follows them.
    fn reach_limiter(&mut self, process: u32, step: Step) {
        if !self.partially_visited.insert((process, Link::SlotWait)) {
            return;
        }
        for slot in 0..super::index(self.info(process).held_slots().len()) {
            self.items.push(Item { process, kind: BlockerKind::Slot, step: Some(step), slot });
        }
        self.follow(process, |edge| edge.kind() == Link::Child);
    }

    /// Follows the children of a process, because only they are waited for.
    fn reach_children(&mut self, process: u32, step: Step) {
        // The children of the process whose own code waits are followed anyway.
        if step.from != process && self.partially_visited.insert((process, Link::ChildrenWait)) {
            self.follow(process, |edge| edge.kind() == Link::Child);
        }
    }

    /// Looks at the body of a process, because only that is waited for.
    fn reach_body(&mut self, process: u32, step: Step) {
        if !self.partially_visited.insert((process, Link::BodyWait)) {
            return;
        }
        let is_asked = self.phases[process as usize] == Phase::Closing
            || self.info(process).reason().is_some()
            || self.is_about_to_close[process as usize];
        if !is_asked {
            self.add_item(process, BlockerKind::NotAsked, Some(step));
        } else if !self.add_work(process, Some(step)) {
            self.follow(process, |edge| edge.kind().blocks());
        }
    }

    /// Adds an item for the work of the process, unless the work is blocked, and follows everything that the process
    /// waits for. Returns whether it found anything.
    fn add_items_of(&mut self, process: u32, step: Option<Step>) -> bool {
        let mut any = self.add_work(process, step);
        if self.info(process).is_closing_children() {
            any = true;
            let kind = BlockerKind::ClosingChildren;
            self.items.push(Item { process, kind, step, slot: 0 });
        }
        self.follow(process, |edge| edge.kind() != Link::NoWaitChild) || any
    }

    /// Adds an item for each kind of work of the process, unless the work is blocked. Returns whether there is an item.
    fn add_work(&mut self, process: u32, step: Option<Step>) -> bool {
        let edges = self.snapshot.edges.of(process);
        let mut open = edges.filter(|edge| self.is_open(edge.to()));
        if open.any(|edge| edge.kind().blocks() && self.is_unfinished(&edge)) {
            return false;
        }
        let is_new = !self.has_item[process as usize];
        let mut any = false;
        for kind in self.info(process).works().filter_map(|(work, _)| BlockerKind::of(work)) {
            any = true;
            if is_new {
                self.items.push(Item { process, kind, step, slot: 0 });
            }
        }
        self.has_item[process as usize] |= any;
        any
    }

    fn add_item(&mut self, process: u32, kind: BlockerKind, step: Option<Step>) {
        if !std::mem::replace(&mut self.has_item[process as usize], true) {
            self.items.push(Item { process, kind, step, slot: 0 });
        }
    }

    /// Is a blocked wait really for something? A wait for children is over when none of them is open any more, although
    /// the code that waits may not have noticed.
    fn is_unfinished(&self, edge: &Edge) -> bool {
        let target = edge.to;
        let is_open_child = |edge: &Edge| edge.kind() == Link::Child && self.is_open(edge.to());
        edge.kind() != Link::ChildrenWait
            || self.info(target).is_closing_children()
            || self.snapshot.edges.of(target).any(|edge| is_open_child(&edge))
    }

    /// Follows the edges that `is_followed` selects, to open processes. Returns whether there are any.
    fn follow(&mut self, from: u32, is_followed: impl Fn(&Edge) -> bool) -> bool {
        let mut any = false;
        for edge in self.snapshot.edges.of(from) {
            if is_followed(&edge) && self.is_open(edge.to()) {
                any = true;
                self.queue.push_back((edge.to, Some(Step { from, link: edge.kind() })));
            }
        }
        any
    }

    pub(super) fn info(&self, process: u32) -> ProcessInfo<'a> {
        self.snapshot.info(process)
    }

    fn is_open(&self, position: usize) -> bool {
        self.phases[position] != Phase::Closed
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::testing::{AGE, Scene, app, held, wide};
    use crate::value::{BlockerKind, Link, Phase, Reason, Work};

    /// The chains of labels, with the kinds of the items at their ends.
    fn found(scene: Scene) -> Vec<(String, BlockerKind)> {
        let blockers = scene.snapshot().blockers(usize::MAX).first;
        let chain = |blocker: &crate::value::Blocker| {
            let labels = blocker.chain.iter().map(|step| step.label().into_owned());
            labels.collect::<Vec<_>>().join(" ")
        };
        blockers.iter().map(|blocker| (chain(blocker), blocker.kind)).collect()
    }

    fn expect(scene: Scene, expected: &[(&str, BlockerKind)]) {
        let found = found(scene);
        let found: Vec<_> = found.iter().map(|(chain, kind)| (chain.as_str(), *kind)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_running_root_has_not_been_asked() {
        let mut scene = Scene::default();
        let root = scene.running("app", "src/main.rs:9");
        scene.work(root, Work::AsyncBody, AGE);
        let child = scene.closing_below(root, "db", "src/db.rs:12");
        scene.work(child, Work::AsyncBody, AGE);
        expect(scene, &[("app", BlockerKind::NotAsked)]);
    }

    #[test]
    fn a_closed_root_waits_for_nothing() {
        let (mut scene, app) = app();
        scene.at(app).phase = Phase::Closed;
        scene.work(app, Work::AsyncBody, AGE);
        assert_eq!(scene.snapshot().blockers(16).total, 0);
    }

    #[test]
    fn own_work_and_children_are_both_blockers() {
        let (mut scene, app) = app();
        scene.work(app, Work::ThreadBody, AGE);
        let child = scene.closing_below(app, "db", "src/db.rs:12");
        scene.work(child, Work::Teardown, Duration::from_secs(7));
        let closed = scene.closing_below(app, "done", "src/db.rs:12");
        scene.work(closed, Work::AsyncBody, AGE);
        scene.at(closed).phase = Phase::Closed;
        expect(scene, &[("app db", BlockerKind::Teardown), ("app", BlockerKind::ThreadBody)]);
    }

    #[test]
    fn no_wait_children_are_not_blockers() {
        let (mut scene, app) = app();
        let child = scene.closing("log", "src/log.rs:17");
        scene.work(child, Work::AsyncBody, AGE);
        scene.edge(app, Link::NoWaitChild, child);
        expect(scene, &[]);
    }

    /// A process that closes once it is idle finishes its Running children first.
    #[test]
    fn children_of_a_running_process_are_finished_first() {
        let mut scene = Scene::default();
        let app = scene.running("app", "src/main.rs:9");
        scene.at(app).set_reason(Reason::BodyFinished);
        let body = scene.running("body", "src/db.rs:12");
        scene.work(body, Work::ThreadBody, AGE);
        let idle = scene.running("idle", "src/db.rs:12");
        let group = scene.running("group", "src/db.rs:12");
        let inner = scene.running("inner", "src/db.rs:12");
        scene.work(inner, Work::AsyncBody, AGE);
        let ending = scene.running("ending", "src/db.rs:12");
        scene.at(ending).set_reason(Reason::BodyFinished);
        for child in [body, idle, group, ending] {
            scene.edge(app, Link::Child, child);
        }
        scene.edge(group, Link::Child, inner);
        let expected = [
            ("app body", BlockerKind::ThreadBody),
            ("app idle", BlockerKind::NotAsked),
            ("app group inner", BlockerKind::AsyncBody),
        ];
        expect(scene, &expected);
    }

    #[test]
    fn a_process_that_is_about_to_be_closed_is_not_a_blocker() {
        let (mut scene, app) = app();
        let log = scene.closing_below(app, "log", "src/log.rs:17");
        let server = scene.running("server", "src/main.rs:33");
        scene.work(server, Work::AsyncBody, AGE);
        scene.edge(log, Link::WaitFor, server);
        scene.edge(app, Link::Child, server);
        expect(scene, &[]);
    }

    #[test]
    fn a_postponed_process_waits_for_those_it_closes_after() {
        let (mut scene, app) = app();
        let log = scene.running("log", "src/log.rs:17");
        scene.work(log, Work::AsyncBody, AGE);
        scene.edge(app, Link::Child, log);
        let child = scene.closing_below(log, "writer", "src/log.rs:17");
        scene.work(child, Work::AsyncBody, AGE);
        let server = scene.closing("server", "src/main.rs:33");
        scene.work(server, Work::ThreadBody, AGE);
        scene.edge(log, Link::CloseAfter, server);
        expect(scene, &[("app log server", BlockerKind::ThreadBody)]);
    }

    /// Chains are as short as they can be, and a ring of edges ends the search.
    #[test]
    fn each_process_is_visited_once() {
        let (mut scene, app) = app();
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let far = scene.closing_below(db, "far", "src/db.rs:12");
        let near = scene.closing_below(app, "near", "src/db.rs:12");
        scene.work(near, Work::AsyncBody, AGE);
        for (from, to) in [(far, near), (db, near), (near, app), (near, far)] {
            scene.edge(from, Link::WaitFor, to);
        }
        expect(scene, &[("app near", BlockerKind::AsyncBody)]);
    }

    #[test]
    fn a_wait_for_a_slot_leads_to_all_holders() {
        let (mut scene, app) = app();
        let pool = scene.running("pool", "src/pool.rs:20");
        scene.at(pool).rare_mut().held_slots =
            vec![held("src/pool.rs:20", 100), held("src/http.rs:9", 8_200)];
        let worker = scene.running("worker", "src/http.rs:88");
        scene.work(worker, Work::AsyncBody, AGE);
        scene.edge(pool, Link::Child, worker);
        let importer = scene.closing_below(app, "importer", "src/export.rs:12");
        scene.work(importer, Work::ThreadBody, AGE);
        scene.edge(importer, Link::SlotWait, pool);
        let other = scene.closing_below(app, "other", "src/export.rs:12");
        scene.work(other, Work::AsyncBody, AGE);
        scene.edge(other, Link::SlotWait, pool);
        let expected = [
            ("app importer pool", BlockerKind::Slot),
            ("app importer pool worker", BlockerKind::AsyncBody), // as old as the nearest closing above it
            ("app importer pool", BlockerKind::Slot),
        ];
        expect(scene, &expected);
    }

    /// A body that waits for the children of its own process, or for those of another one.
    #[test]
    fn a_wait_for_children_leads_to_them() {
        let (mut scene, app) = app();
        let importer = scene.closing_below(app, "importer", "src/export.rs:12");
        scene.work(importer, Work::ThreadBody, AGE);
        let part = scene.closing_below(importer, "part", "src/export.rs:12");
        scene.work(part, Work::ThreadBody, AGE);
        scene.edge(importer, Link::ChildrenWait, importer);
        let other = scene.closing_below(app, "other", "src/http.rs:9");
        scene.work(other, Work::ThreadBody, AGE);
        let group = scene.running("group", "src/main.rs:33");
        scene.work(group, Work::AsyncBody, AGE);
        let member = scene.running("member", "src/main.rs:33");
        scene.work(member, Work::AsyncBody, AGE);
        scene.edge(group, Link::Child, member);
        scene.edge(other, Link::ChildrenWait, group);
        let snapshot = scene.snapshot();
        let lines = snapshot.blockers(9).first;
        let labels = lines.iter().map(|line| line.chain.last().unwrap().label().into_owned());
        assert_eq!(labels.collect::<Vec<_>>(), ["part", "member"]);
        let text = snapshot.to_string();
        assert!(!text.contains("importer (above)") && text.contains("⇢ group: Running"), "{text}");
    }

    /// A wait for children that are Closed no longer blocks the code that waited.
    #[test]
    fn a_wait_for_children_ends_with_the_last_one() {
        for is_closing_children in [false, true] {
            let (mut scene, app) = app();
            let importer = scene.closing_below(app, "importer", "src/export.rs:12");
            scene.work(importer, Work::AsyncBody, AGE);
            scene.at(importer).rare_mut().closing_children = is_closing_children;
            let part = scene.closing_below(importer, "part", "src/export.rs:12");
            scene.at(part).phase = Phase::Closed;
            scene.edge(importer, Link::ChildrenWait, importer);
            let expected = match is_closing_children {
                true => BlockerKind::ClosingChildren,
                false => BlockerKind::AsyncBody,
            };
            expect(scene, &[("app importer", expected)]);
        }
    }

    /// A body that is waited for is an item of its own, or nobody has asked it to end.
    #[test]
    fn a_wait_for_a_body_leads_to_it() {
        let (mut scene, app) = app();
        let importer = scene.closing_below(app, "importer", "src/export.rs:12");
        scene.work(importer, Work::ThreadBody, AGE);
        let server = scene.running("server", "src/main.rs:33");
        scene.work(server, Work::AsyncBody, AGE);
        let child = scene.running("connection", "src/main.rs:33");
        scene.work(child, Work::AsyncBody, AGE);
        scene.edge(server, Link::Child, child);
        scene.edge(importer, Link::BodyWait, server);
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        scene.work(db, Work::ThreadBody, AGE);
        scene.edge(importer, Link::BodyWait, db);
        let expected =
            [("app db", BlockerKind::ThreadBody), ("app importer server", BlockerKind::NotAsked)];
        expect(scene, &expected);
    }

    /// While a walk has the children, they are missing from the snapshot.
    #[test]
    fn closing_the_children_is_a_blocker() {
        let (mut scene, app) = app();
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        scene.at(db).rare_mut().closing_children = true;
        let blockers = scene.snapshot().blockers(16);
        let line = blockers.to_string();
        let start = "app › db: its children are being closed (";
        let end = "), asked to close 6.1 s ago";
        assert!(line.starts_with(start) && line.ends_with(end), "{line}");
    }

    /// A process that nobody has asked to close is as old as the nearest closing above it.
    #[test]
    fn processes_that_nobody_has_asked_are_sorted_by_age_too() {
        let (mut scene, app) = app();
        let young = scene.closing_below(app, "young", "src/db.rs:12");
        scene.at(young).closing_for = Some(Duration::from_secs(1)).into();
        scene.work(young, Work::ThreadBody, AGE);
        let middle = scene.closing_below(app, "middle", "src/db.rs:12");
        scene.at(middle).closing_for = Some(Duration::from_secs(4)).into();
        let group = scene.running("group", "src/main.rs:33");
        let idle = scene.running("idle", "src/main.rs:33");
        scene.at(group).set_reason(Reason::BodyFinished);
        scene.edge(group, Link::Child, idle);
        scene.edge(middle, Link::WaitFor, group);
        let old = scene.closing_below(app, "old", "src/db.rs:12");
        scene.at(old).closing_for = Some(Duration::from_secs(6)).into();
        scene.work(old, Work::ThreadBody, AGE);
        let blockers = scene.snapshot().blockers(16).first;
        let ages: Vec<_> = blockers.iter().map(|blocker| (blocker.kind, blocker.age)).collect();
        let expected = [
            (BlockerKind::ThreadBody, Duration::from_secs(6)),
            (BlockerKind::NotAsked, Duration::from_secs(4)),
            (BlockerKind::ThreadBody, Duration::from_secs(1)),
        ];
        assert_eq!(ages, expected.map(|(kind, age)| (kind, Some(age))));
    }

    /// The chain skips a helper, whose code is the code of its parent.
    #[test]
    fn a_hook_that_waits_continues_the_chain() {
        let (mut scene, app) = app();
        let hook = scene.closing_below(app, "", "src/http.rs:51");
        scene.work(hook, Work::Hook, AGE);
        let db = scene.closing("db", "src/db.rs:12");
        scene.work(db, Work::AsyncBody, AGE);
        scene.edge(hook, Link::Blocked, db);
        expect(scene, &[("app db", BlockerKind::AsyncBody)]);
    }

    #[test]
    fn the_oldest_come_first() {
        let (mut scene, app) = app();
        for (name, seconds) in [("a", 3), ("b", 9), ("c", 5), ("d", 9)] {
            let child = scene.closing_below(app, name, "src/db.rs:12");
            scene.work(child, Work::Teardown, Duration::from_secs(seconds));
        }
        let snapshot = scene.snapshot();
        let first = |limit| {
            let first = snapshot.blockers(limit).first;
            first.iter().map(|blocker| blocker.chain[1].label().into_owned()).collect::<String>()
        };
        assert_eq!(
            (first(1), first(2), first(3), first(9)),
            ("b".into(), "bd".into(), "bdc".into(), "bdca".into())
        );
    }

    /// In a release build it takes less than 20 ms.
    #[test]
    fn many_blockers_take_little_time() {
        let snapshot = wide(100_000);
        let start = Instant::now();
        assert_eq!(snapshot.blockers(16).total, 100_000);
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    }
}
