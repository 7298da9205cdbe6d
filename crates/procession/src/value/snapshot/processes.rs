//! [`ProcessList`]: the processes of a snapshot.
//!
//! Most processes of a large program are children of the same parent that were made at the same place, are in the same
//! phase and run nothing. Consecutive processes that differ in nothing but their id share one entry, so each of them
//! takes 12 bytes. That is what limits the time of a large snapshot, because most of it is spent on memory accesses.

use super::edges::EdgeList;
use super::facts::Facts;
use super::index::{Index, index};
use super::info::ProcessInfo;
use crate::value::ProcessId;

/// The processes of a snapshot, by index.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessList {
    ids: Vec<ProcessId>,
    /// For each process, the index of its facts.
    facts_of: Vec<u32>,
    facts: Vec<Facts>,
    /// The first parents, unless those among the facts are right.
    first_parents: Vec<Index>,
}

impl ProcessList {
    /// Adds a process, and returns its index.
    #[inline(always)]
    pub(crate) fn push(&mut self, id: ProcessId, facts: Facts) {
        if !self.facts.last().is_some_and(|last| last.apply_to(&facts)) {
            self.facts.push(facts);
        }
        self.ids.push(id);
        // A program has no room for more processes than a u32 can count.
        self.facts_of.push(self.facts.len() as u32 - 1);
    }

    pub(crate) fn reserve(&mut self, count: usize) {
        self.ids.reserve(count);
        self.facts_of.reserve(count);
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn ids(&self) -> &[ProcessId] {
        &self.ids
    }

    /// The process with this index.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(super) fn get(&self, index: usize) -> ProcessInfo<'_> {
        let facts = &self.facts[self.facts_of[index] as usize];
        let first_parent = self.first_parents.get(index).copied().unwrap_or(facts.first_parent);
        ProcessInfo { id: self.ids[index], first_parent, facts }
    }

    pub(crate) fn first_parent(&self, index: u32) -> Index {
        self.get(index as usize).first_parent
    }

    pub(super) fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = ProcessInfo<'_>> + DoubleEndedIterator + Clone {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Finds the first parents: breadth-first from the root, then from the processes that can only be reached along
    /// edges that do not close. Edges may form a ring, but first parents do not, because a process gets its first
    /// parent when it is reached for the first time.
    pub(crate) fn find_first_parents(&mut self, edges: &EdgeList) {
        let mut has_parent = vec![false; self.len()];
        for edge in edges.iter().filter(|edge| edge.kind.closes()) {
            has_parent[edge.to()] = true;
        }
        let mut first_parents = vec![Index::NONE; self.len()];
        let mut reached = vec![false; self.len()];
        let mut queue = Vec::with_capacity(self.len());
        // The root, then the processes without a parent, then the rest: rings that can only be reached along waits.
        let starts = [0].into_iter();
        let without_parent = (0..self.len()).filter(|&process| !has_parent[process]);
        for start in starts.chain(without_parent).chain(0..self.len()) {
            if std::mem::replace(&mut reached[start], true) {
                continue;
            }
            let mut next = queue.len();
            queue.push(index(start));
            while let Some(&parent) = queue.get(next) {
                next += 1;
                for edge in edges.of(parent).filter(|edge| edge.kind.closes()) {
                    if !std::mem::replace(&mut reached[edge.to()], true) {
                        first_parents[edge.to()] = parent.into();
                        queue.push(edge.to);
                    }
                }
            }
        }
        self.first_parents = first_parents;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::super::facts::Rare;
    use super::super::testing::{at, held};
    use super::{Facts, Index, ProcessList};
    use crate::value::{Phase, ProcessId, Reason, Work};

    type Change = fn(&mut Facts);

    const CHANGES: [Change; 10] = [
        |facts| facts.site = at("src/log.rs:17"),
        |facts| facts.name = Some("other".into()),
        |facts| facts.name = None,
        |facts| facts.closing_for = Some(Duration::from_secs(1)).into(),
        |facts| facts.aborting_for = Some(Duration::from_secs(1)).into(),
        |facts| (facts.work, facts.work_for) = (Work::Hook.into(), None.into()),
        |facts| facts.work_for = Some(Duration::from_secs(1)).into(),
        |facts| facts.first_parent = 7.into(),
        |facts| facts.phase = Phase::Closing,
        |facts| facts.aborting = true,
    ];

    fn id(number: usize) -> ProcessId {
        ProcessId::of(std::ptr::without_provenance::<u8>(4096 + 64 * number))
    }

    fn facts() -> Facts {
        Facts { name: Some("session".into()), ..Facts::new(at("src/db.rs:12")) }
    }

    /// Processes that differ in one fact do not share their facts, and each keeps its own.
    #[test]
    fn facts_are_shared_by_equal_neighbours_only() {
        let mut list = ProcessList::default();
        let mut expected = Vec::new();
        let mut push = |facts: Facts| {
            expected.push(format!("{facts:?}"));
            list.push(id(expected.len()), facts);
        };
        for change in CHANGES {
            push(facts());
            push(facts());
            let mut changed = facts();
            change(&mut changed);
            push(changed);
        }
        let rare = [
            Rare { reason: Some(Reason::Signal(2)), ..Rare::default() },
            Rare { failed: true, ..Rare::default() },
            Rare { closing_children: true, ..Rare::default() },
            Rare { thread: Some("thread".into()), ..Rare::default() },
            Rare { held_slots: vec![held("src/db.rs:12", 5)], ..Rare::default() },
            Rare { failure_hook_for: Some(Duration::ZERO), ..Rare::default() },
        ];
        for rare in rare {
            push(Facts { rare: rare.boxed(), ..facts() });
        }
        let mut asked = facts();
        asked.set_reason(Reason::Asked);
        asked.rare = None;
        push(asked.clone());
        push(asked);
        push(Facts { rare: Rare::default().boxed(), ..facts() });
        let found: Vec<String> = list.iter().map(|info| format!("{:?}", info.facts)).collect();
        assert_eq!(found, expected);
        assert!(list.iter().zip(1..).all(|(info, number)| info.id == id(number)));
        // Of the 20 pairs of neighbours above, 11 are equal: one for each change, and the two that were asked to close.
        assert_eq!(list.facts.len(), list.len() - 11);
    }

    #[test]
    fn a_large_family_shares_its_facts() {
        let mut list = ProcessList::default();
        (0..1000).for_each(|number| list.push(id(number), facts()));
        assert_eq!((list.len(), list.facts.len()), (1000, 1));
        assert_eq!(list.get(999).id, id(999));
        assert_eq!(list.first_parent(999), Index::NONE);
    }
}
