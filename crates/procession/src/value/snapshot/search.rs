//! The search for [`Blockers`].
//!
//! It goes breadth-first from the root along the edges that are waited for, to processes that are not Closed, so that
//! each chain is as short as it can be. At the end of a chain it finds an item: code that runs, a held slot, or a
//! process that nobody has asked to close.
//!
//! 1. A Running process with a Closing parent is about to be closed, however the search reaches it: it is not an item,
//!    and nothing below it is looked at, except the processes that it closes after.
//! 2. Any other Running process that has no reason, and that a wait leads to, has not been asked to close, and neither
//!    has anything below it.
//! 3. A Running process closes after its children have finished: their work is an item.
//! 4. Code that is blocked in a wait for another process or for a slot is not an item; the chain continues there.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::blocker::{Blocker, BlockerKind, Blockers, ChainLink};
use super::fold::{FAMILY_LIMIT, Stem};
use super::{Edge, Link, ProcessInfo, Snapshot};
use crate::value::{Phase, Site, Work};

/// The number of steps of a chain that are kept, in addition to the first.
const NEAREST: usize = 16;

/// All items that prevent the root of a snapshot from closing.
pub(super) struct Search<'a> {
    snapshot: &'a Snapshot,
    /// The phases again, next to each other, because the search looks at each several times.
    phases: Vec<Phase>,
    /// In the order in which they were found.
    items: Vec<Item>,
    /// For each process, how it was reached for the first time. Because the upper end was reached before, the steps
    /// form no ring.
    steps: Vec<Option<Step>>,
    is_visited: Vec<bool>,
    /// Does the process have a Closing parent, which is about to close it?
    is_about_to_close: Vec<bool>,
    /// The limiters that were reached by a wait for a slot.
    limiters: HashSet<u32>,
    queue: VecDeque<(u32, Option<Step>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Step {
    from: u32,
    link: Link,
}

#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) process: u32,
    pub(super) kind: BlockerKind,
    step: Option<Step>,
    /// Which of the limiter's slots it is.
    slot: u32,
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
        let phases: Vec<Phase> = snapshot.processes.iter().map(|process| process.phase).collect();
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
            is_about_to_close,
            limiters: HashSet::new(),
            queue: VecDeque::new(),
        };
        if search.is_open(0) {
            search.queue.push_back((0, None));
        }
        while let Some((process, step)) = search.queue.pop_front() {
            search.reach(process, step);
        }
        search
    }

    /// The oldest items, folded.
    pub(super) fn blockers(&self, limit: usize) -> Blockers {
        let first = self.oldest_lines(limit).iter().map(|line| self.blocker(line)).collect();
        Blockers { first, total: self.items.len() }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// For each process, is it on the chain of one of the first `limit` blockers?
    pub(super) fn on_chains(&self, limit: usize) -> Vec<bool> {
        let mut on_chains = vec![false; self.steps.len()];
        for line in self.oldest_lines(limit) {
            let item = &self.items[line.item];
            on_chains[item.process as usize] = true;
            let mut step = item.step;
            while let Some(Step { from, .. }) = step {
                on_chains[from as usize] = true;
                step = self.steps[from as usize];
            }
        }
        on_chains
    }

    fn reach(&mut self, process: u32, step: Option<Step>) {
        let position = process as usize;
        if process != 0 {
            self.steps[position] = self.steps[position].or(step);
        }
        if let Some(step) = step.filter(|step| step.link == Link::SlotWait) {
            return self.reach_limiter(process, step);
        }
        if std::mem::replace(&mut self.is_visited[position], true) {
            return;
        }
        let info = self.info(process);
        let is_finished_first = step.is_some_and(|step| {
            step.link == Link::Child && self.phases[step.from as usize] == Phase::Running
        });
        if self.phases[position] == Phase::Closing {
            self.look_at(process, step);
        } else if self.is_about_to_close[position] {
            self.follow(process, |edge| edge.kind() == Link::CloseAfter);
        } else if is_finished_first {
            if !self.look_at(process, step) && info.reason.is_none() {
                self.found(process, BlockerKind::NotAsked, step);
            }
        } else if info.reason.is_some() {
            self.look_at(process, step);
        } else {
            self.found(process, BlockerKind::NotAsked, step);
        }
    }

    /// Each slot that a guard holds is an item. Children hold the other slots, so their work is followed.
    fn reach_limiter(&mut self, process: u32, step: Step) {
        if !self.limiters.insert(process) {
            return;
        }
        for slot in 0..super::index(self.info(process).held_slots().len()) {
            self.items.push(Item { process, kind: BlockerKind::Slot, step: Some(step), slot });
        }
        self.follow(process, |edge| edge.kind() == Link::Child);
    }

    /// Its work is an item, unless it is blocked; then it continues with all that the process waits for. Returns
    /// whether there was anything.
    fn look_at(&mut self, process: u32, step: Option<Step>) -> bool {
        let edges = self.snapshot.edges_of(process).iter();
        let mut open = edges.filter(|edge| self.is_open(edge.to()));
        let is_blocked = open.any(|edge| matches!(edge.kind(), Link::Blocked | Link::SlotWait));
        let kind = BlockerKind::of(self.info(process).work).filter(|_| !is_blocked);
        if let Some(kind) = kind {
            self.found(process, kind, step);
        }
        self.follow(process, |edge| edge.kind() != Link::NoWaitChild) || kind.is_some()
    }

    fn found(&mut self, process: u32, kind: BlockerKind, step: Option<Step>) {
        self.items.push(Item { process, kind, step, slot: 0 });
    }

    /// Follows these edges to open processes. Returns whether there are any.
    fn follow(&mut self, from: u32, is_followed: impl Fn(&Edge) -> bool) -> bool {
        let mut any = false;
        for edge in self.snapshot.edges_of(from) {
            if is_followed(edge) && self.is_open(edge.to()) {
                any = true;
                self.queue
                    .push_back((super::index(edge.to()), Some(Step { from, link: edge.kind() })));
            }
        }
        any
    }

    fn info(&self, process: u32) -> &'a ProcessInfo {
        self.snapshot.process(process)
    }

    fn is_open(&self, position: usize) -> bool {
        self.phases[position] != Phase::Closed
    }

    /// A hook or a future is a process of its own only inside the library: its chain ends at its parent.
    fn is_helper(&self, process: u32) -> bool {
        process != 0 && matches!(self.info(process).work, Work::Hook | Work::Future)
    }
}

/// One line: an item, and how many others of its family it stands for.
struct Line {
    item: usize,
    more: usize,
}

impl Search<'_> {
    /// The lines that have lasted longest, the oldest first; those of the same age in the order of their items.
    fn oldest_lines(&self, limit: usize) -> Vec<Line> {
        let mut lines = self.lines();
        let by_age = |line: &Line| (Reverse(self.age(&self.items[line.item])), line.item);
        if limit < lines.len() {
            if limit > 0 {
                lines.select_nth_unstable_by_key(limit - 1, by_age);
            }
            lines.truncate(limit);
        }
        lines.sort_unstable_by_key(by_age);
        lines
    }

    /// The items; more than eight of the same family are one line, and the oldest stands for them.
    fn lines(&self) -> Vec<Line> {
        let mut families: HashMap<Family<'_>, usize> = HashMap::new();
        let mut lines: Vec<Line> = Vec::new();
        let mut family_of = Vec::with_capacity(self.items.len());
        let mut last = None; // siblings follow each other, so that most need not be looked up
        for (item, family) in self.items.iter().map(|item| self.family(item)).enumerate() {
            let position = match last {
                Some((last, position)) if last == family => position,
                _ => *families.entry(family).or_insert(lines.len()),
            };
            last = Some((family, position));
            family_of.push(position);
            match lines.get_mut(position) {
                None => lines.push(Line { item, more: 0 }),
                Some(line) => {
                    line.more += 1;
                    if self.age(&self.items[item]) > self.age(&self.items[line.item]) {
                        line.item = item;
                    }
                }
            }
        }
        let single =
            family_of.iter().enumerate().filter(|&(_, &family)| lines[family].more < FAMILY_LIMIT);
        let single: Vec<Line> = single.map(|(item, _)| Line { item, more: 0 }).collect();
        lines.retain(|line| line.more >= FAMILY_LIMIT);
        lines.extend(single);
        lines
    }

    fn family(&self, item: &Item) -> Family<'_> {
        Family {
            step: item.step,
            stem: Stem::of(self.info(item.process)),
            kind: item.kind,
            site: self.site(item),
        }
    }

    fn blocker(&self, line: &Line) -> Blocker {
        let item = &self.items[line.item];
        let info = self.info(item.process);
        let (chain, skipped) = self.chain(item);
        let is_named = item.kind != BlockerKind::Slot && !self.is_helper(item.process);
        let stem = match Stem::of(info) {
            Stem::Name(stem) if is_named => stem.len(),
            _ => 0,
        };
        Blocker {
            chain,
            skipped,
            kind: item.kind,
            thread: info.thread_name().cloned(),
            site: self.site(item),
            age: self.age(item),
            aborting_for: info.aborting_for(),
            behind: match item.kind {
                BlockerKind::TeardownQueued => self.snapshot.pool_busy,
                _ => 0,
            },
            more: line.more,
            stem,
        }
    }

    /// The first step and the nearest ones, from the top, and how many are missing between them.
    fn chain(&self, item: &Item) -> (Vec<ChainLink>, usize) {
        let (mut chain, mut skipped) = (Vec::new(), 0);
        let (mut process, mut step) = (item.process, item.step);
        loop {
            let is_first = step.is_none();
            if !self.is_helper(process) {
                if chain.len() < NEAREST || is_first {
                    let info = self.info(process);
                    chain.push(ChainLink {
                        process: process as usize,
                        name: info.name.clone(),
                        site: info.site,
                        link: step.map(|step| step.link),
                    });
                } else {
                    skipped += 1;
                }
            }
            let Some(Step { from, .. }) = step else { break };
            (process, step) = (from, self.steps[from as usize]);
        }
        chain.reverse();
        (chain, skipped)
    }

    fn age(&self, item: &Item) -> Option<Duration> {
        let info = self.info(item.process);
        match item.kind {
            BlockerKind::NotAsked => None,
            BlockerKind::ThreadBody | BlockerKind::AsyncBody => info.closing_for(),
            BlockerKind::Slot => Some(info.held_slots()[item.slot as usize].held_for),
            _ => info.work_for(),
        }
    }

    fn site(&self, item: &Item) -> Site {
        let info = self.info(item.process);
        match item.kind {
            BlockerKind::Slot => info.held_slots()[item.slot as usize].site,
            _ => info.site,
        }
    }
}

/// The common part of the items of one line.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Family<'a> {
    step: Option<Step>,
    stem: Stem<'a>,
    kind: BlockerKind,
    site: Site,
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
    fn own_work_and_children_are_both_in_the_way() {
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
    fn no_wait_children_are_not_in_the_way() {
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
        scene.at(app).reason = Some(Reason::BodyFinished);
        let body = scene.running("body", "src/db.rs:12");
        scene.work(body, Work::ThreadBody, AGE);
        let idle = scene.running("idle", "src/db.rs:12");
        let group = scene.running("group", "src/db.rs:12");
        let inner = scene.running("inner", "src/db.rs:12");
        scene.work(inner, Work::AsyncBody, AGE);
        let ending = scene.running("ending", "src/db.rs:12");
        scene.at(ending).reason = Some(Reason::BodyFinished);
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
    fn a_process_that_is_about_to_be_closed_is_not_in_the_way() {
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
    fn a_wait_for_a_slot_leads_to_all_that_hold_one() {
        let (mut scene, app) = app();
        let pool = scene.running("pool", "src/pool.rs:20");
        scene.at(pool).rare().held_slots =
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
            ("app importer pool", BlockerKind::Slot),
            ("app importer pool worker", BlockerKind::AsyncBody),
        ];
        expect(scene, &expected);
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
