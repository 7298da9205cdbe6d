//! [`History`]: the serial numbers of processes, from one snapshot to the next.
//!
//! A process keeps its key while its id, label, site, parent and the kind of the edge from it agree, and its phase has
//! not gone back. *Two processes never have the same key*, because a key is given out once, and an id that is used
//! again at the same place would have to belong to a process that looks the same and is no younger. Nothing is kept
//! about a process that is missing from the last snapshot.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use procession::support::Marks;
use procession::{Link, Phase, ProcessId, Site, Snapshot};

#[derive(Default)]
pub(crate) struct History {
    last: u64,
    round: u32,
    known: HashMap<ProcessId, Known>,
    hasher: RandomState,
    /// The keys of processes that have failed, by the numbers of their first failures.
    failures: HashMap<u64, u64>,
}

#[derive(Clone, Copy)]
struct Known {
    key: u64,
    label: u64,
    site: Site,
    parent: u64,
    edge: Option<Link>,
    phase: Phase,
    round: u32,
}

impl History {
    /// The keys of the processes of a snapshot, by index. `order` has each parent before its children.
    pub(crate) fn keys(&mut self, snapshot: &Snapshot, marks: &Marks, order: &[u32]) -> Vec<u64> {
        self.round = self.round.wrapping_add(1);
        let mut keys = vec![0; snapshot.processes().len()];
        for &index in order {
            let process = snapshot.process(index as usize);
            let owner = marks.owners[index as usize];
            let now = Known {
                key: self.last + 1,
                label: self.hasher.hash_one(process.name()),
                site: process.site(),
                parent: owner.map_or(0, |edge| keys[edge.from()]),
                edge: owner.map(|edge| edge.kind()),
                phase: process.phase(),
                round: self.round,
            };
            let known = self.known.entry(process.id()).or_insert(now);
            let key = if now.continues(known) { known.key } else { now.key };
            self.last = self.last.max(key);
            *known = Known { key, ..now };
            keys[index as usize] = key;
        }
        keys
    }

    /// The keys of the processes that have failed, each given as the number of its first failure, its id and its site:
    /// the key of a process which the last snapshots have shown or, for one that was never seen, a new one. Must be
    /// called before [`forget`](Self::forget).
    pub(crate) fn failures(
        &mut self,
        failures: impl Iterator<Item = (u64, ProcessId, Site)>,
    ) -> Vec<u64> {
        let mut keys = HashMap::new();
        let failures = failures.map(|(number, id, site)| {
            let known = keys.get(&number).or_else(|| self.failures.get(&number)).copied();
            let key = known.unwrap_or_else(|| {
                let known = self.known.get(&id).filter(|known| known.site == site);
                known.map(|known| known.key).unwrap_or_else(|| {
                    self.last += 1;
                    self.last
                })
            });
            keys.insert(number, key);
            key
        });
        let result = failures.collect();
        self.failures = keys;
        result
    }

    /// Forgets the processes that the last snapshot did not show.
    pub(crate) fn forget(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        if self.known.capacity() > 4 * self.known.len() + 1024 {
            self.known.shrink_to_fit();
        }
    }
}

impl Known {
    fn continues(&self, before: &Self) -> bool {
        self.label == before.label
            && self.site == before.site
            && self.parent == before.parent
            && self.edge == before.edge
            && rank(self.phase) >= rank(before.phase)
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Running => 0,
        Phase::Closing => 1,
        Phase::Closed => 2,
    }
}
