//! The lines of [`Blockers`]: items of a snapshot, such as those that a [`Search`] found, with their chains. Large
//! families are folded.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use super::blocker::{Blocker, BlockerKind, Blockers, ChainLink};
use super::fold::{FAMILY_LIMIT, Stem};
use super::search::{Item, Search, Step};
use super::{ProcessInfo, Snapshot};
use crate::value::{Name, Site, Work};

/// The number of steps of a chain that are kept, in addition to the first.
const NEAREST: usize = 16;

/// One line: an item, and the number of other items of its family that are folded into it.
struct Line {
    item: usize,
    more: usize,
}

/// Items of a snapshot, and the chain down to each of them.
pub(super) struct Found<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) items: &'a [Item],
    /// For each process, the last step of the chain down to it.
    pub(super) steps: &'a [Option<Step>],
    /// For each process, the nearest Closing process on that chain, which may be the process itself.
    pub(super) nearest_closing: &'a [Option<u32>],
}

impl Search<'_> {
    /// The oldest items, folded.
    pub(super) fn blockers(&self, limit: usize) -> Blockers {
        self.found().oldest(limit)
    }

    /// Says for each process whether it is on the chain of one of the first `limit` blockers.
    pub(super) fn on_chains(&self, limit: usize) -> Vec<bool> {
        self.found().on_chains(limit)
    }

    fn found(&self) -> Found<'_> {
        let Self { snapshot, items, steps, nearest_closing, .. } = self;
        Found { snapshot, items, steps, nearest_closing }
    }
}

impl Found<'_> {
    /// The oldest items, folded.
    fn oldest(&self, limit: usize) -> Blockers {
        self.blockers(&self.oldest_lines(limit))
    }

    /// The first items, folded.
    #[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
    pub(super) fn first(&self, limit: usize) -> Blockers {
        let mut lines = self.lines();
        lines.sort_unstable_by_key(|line| line.item);
        lines.truncate(limit);
        self.blockers(&lines)
    }

    fn blockers(&self, lines: &[Line]) -> Blockers {
        let first = lines.iter().map(|line| self.blocker(line)).collect();
        Blockers { first, total: self.items.len() }
    }

    fn on_chains(&self, limit: usize) -> Vec<bool> {
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

    /// The oldest lines, the oldest first. Lines of the same age are in the order of their items.
    fn oldest_lines(&self, limit: usize) -> Vec<Line> {
        let mut lines = self.lines();
        let by_age = |line: &Line| (Reverse(self.rank(&self.items[line.item])), line.item);
        if limit < lines.len() {
            if limit > 0 {
                lines.select_nth_unstable_by_key(limit - 1, by_age);
            }
            lines.truncate(limit);
        }
        lines.sort_unstable_by_key(by_age);
        lines
    }

    /// One line for each item, except that a family of more than eight items is one line, for its oldest item.
    fn lines(&self) -> Vec<Line> {
        let mut families: HashMap<Family<'_>, usize> = HashMap::new();
        let mut lines: Vec<Line> = Vec::new();
        let mut family_of = Vec::with_capacity(self.items.len());
        let mut last = None; // siblings follow each other, so most need not be looked up
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
                    if self.rank(&self.items[item]) > self.rank(&self.items[line.item]) {
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
            thread: info.thread_name().filter(|_| item.kind != BlockerKind::FailureHook).cloned(),
            site: self.site(item),
            age: self.age(item),
            aborting_for: info.aborting_for(),
            behind: match item.kind {
                BlockerKind::TeardownQueued if info.facts.work.is_in_pool_queue() => {
                    self.snapshot.tasks_ahead
                }
                _ => 0,
            },
            more: line.more,
            stem,
        }
    }

    /// The first step and the nearest ones, from the top down, and the number of steps left out in between.
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
                        name: info.facts.name.as_ref().map(Name::to_shared),
                        site: info.site(),
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

    /// The age by which items are sorted. An item without one gets the age of the nearest Closing process above it.
    fn rank(&self, item: &Item) -> Option<Duration> {
        self.age(item).or_else(|| self.nearest_closing_for(item))
    }

    /// How long ago the nearest Closing process on the chain began to close.
    fn nearest_closing_for(&self, item: &Item) -> Option<Duration> {
        self.info(self.nearest_closing[item.process as usize]?).closing_for()
    }

    /// A hook or a future is a process only inside the library, so the chain of its item ends at its parent.
    fn is_helper(&self, process: u32) -> bool {
        process != 0 && matches!(self.info(process).facts.work.kind(), Work::Hook | Work::Future)
    }

    fn age(&self, item: &Item) -> Option<Duration> {
        let info = self.info(item.process);
        match item.kind {
            BlockerKind::NotAsked => self.nearest_closing_for(item),
            BlockerKind::ThreadBody | BlockerKind::AsyncBody | BlockerKind::ClosingChildren => {
                info.closing_for()
            }
            BlockerKind::Slot => Some(info.held_slots()[item.slot as usize].held_for),
            kind => {
                let of_kind = |work| BlockerKind::of(work) == Some(kind);
                info.works().find(|(work, _)| of_kind(*work)).and_then(|(_, work_for)| work_for)
            }
        }
    }

    fn info(&self, process: u32) -> ProcessInfo<'_> {
        self.snapshot.info(process)
    }

    fn site(&self, item: &Item) -> Site {
        let info = self.info(item.process);
        match item.kind {
            BlockerKind::Slot => info.held_slots()[item.slot as usize].site,
            _ => info.site(),
        }
    }
}

/// The properties that all items of one line share.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Family<'a> {
    step: Option<Step>,
    stem: Stem<'a>,
    kind: BlockerKind,
    site: Site,
}
