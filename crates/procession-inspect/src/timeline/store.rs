//! [`Store`]: the lives that a recorder keeps, in bounded memory.
//!
//! # Invariants
//!
//! - B1. There are at most [`CAPACITY`] lives. Any more are not recorded.
//! - B2. A life is removed only if its process is Closed and no life in the store has it as its parent, so the parent
//!   of a life is always in the store, or was never recorded. *Because* `children` counts those lives, and
//!   [`Store::release`] alone removes a life, after a look at both.
//! - B3. Lives are kept in chunks that are never moved, so at most one chunk is not in use: a vector that doubles would
//!   need twice the memory.

use std::collections::{HashMap, VecDeque};

use super::recording::{Detail, Index, Life, Moment};

/// The maximum number of lives.
pub(crate) const CAPACITY: usize = 100_000;

/// The number of failed processes that are kept though they were Closed before the root began to close.
const FAILED: usize = 1_000;

const CHUNK: usize = 1024;

/// A life in the store.
pub(crate) type Slot = u32;

/// The slot of the root.
pub(crate) const ROOT: Slot = 0;

#[derive(Default)]
pub(crate) struct Store {
    chunks: Vec<Vec<Option<Life>>>,
    free: Vec<Slot>,
    count: usize,
    details: HashMap<Slot, Detail>,
    /// Those that are kept because they failed, the oldest first.
    failed: VecDeque<Slot>,
}

impl Store {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Life> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Life> {
        let slot = slot as usize;
        self.chunks.get_mut(slot / CHUNK)?.get_mut(slot % CHUNK)?.as_mut()
    }

    /// Adds a life, if there is room (B1).
    pub(crate) fn add(&mut self, life: Life) -> Option<Slot> {
        if self.count >= CAPACITY {
            return None;
        }
        self.count += 1;
        let parent = life.parent();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.chunks[slot as usize / CHUNK][slot as usize % CHUNK] = Some(life);
                slot
            }
            None => {
                if self.chunks.last().is_none_or(|last| last.len() == CHUNK) {
                    self.chunks.push(Vec::with_capacity(CHUNK));
                }
                let before = self.chunks.len() - 1;
                let last = &mut self.chunks[before];
                last.push(Some(life));
                (before * CHUNK + last.len() - 1) as Slot
            }
        };
        if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
            parent.children += 1;
        }
        Some(slot)
    }

    /// Sets the parent of a life that had none.
    pub(crate) fn set_parent(&mut self, slot: Slot, parent: Slot) {
        let Some(life) = self.get_mut(slot).filter(|life| life.parent.is_none()) else { return };
        life.parent = Some(Index::new(parent));
        if let Some(parent) = self.get_mut(parent) {
            parent.children += 1;
        }
    }

    pub(crate) fn detail(&mut self, slot: Slot) -> &mut Detail {
        self.details.entry(slot).or_default()
    }

    /// The process was Closed before the root began to close: it is removed, unless it has failed, or something below
    /// it is in the store.
    pub(crate) fn closed_early(&mut self, slot: Slot) {
        if self.get(slot).is_some_and(|life| life.has_failed) {
            self.failed.push_back(slot);
            if self.failed.len() > FAILED {
                let oldest = self.failed.pop_front();
                oldest.into_iter().for_each(|oldest| self.release(oldest, true));
            }
            return;
        }
        self.release(slot, false);
    }

    /// Removes a life, and those above it that were kept because of it (B2).
    fn release(&mut self, slot: Slot, is_kept_no_longer: bool) {
        let (mut next, mut may_have_failed) = (Some(slot), is_kept_no_longer);
        while let Some(slot) = next.filter(|slot| *slot != ROOT) {
            let can_go = |life: &&Life| {
                life.is_closed() && life.children == 0 && (may_have_failed || !life.has_failed)
            };
            let Some(life) = self.get(slot).filter(can_go) else {
                // It is kept until its children are gone, and then no longer for its failure.
                if let Some(life) = self.get_mut(slot).filter(|_| may_have_failed) {
                    life.has_failed = false;
                }
                return;
            };
            let parent = life.parent();
            self.chunks[slot as usize / CHUNK][slot as usize % CHUNK] = None;
            self.details.remove(&slot);
            self.free.push(slot);
            self.count -= 1;
            if let Some(parent) = parent.and_then(|parent| self.get_mut(parent)) {
                parent.children -= 1;
            }
            (next, may_have_failed) = (parent, false);
        }
    }

    /// The lives by their age, the root first.
    pub(crate) fn kept(&self) -> Kept {
        let all = self.chunks.iter().flatten();
        let mut order: Vec<(Slot, &Life)> =
            (0..).zip(all).filter_map(|(slot, life)| Some((slot, life.as_ref()?))).collect();
        order.sort_by_key(|(slot, life)| (*slot != ROOT, life.at(Moment::Made), *slot));
        let mut index_of: HashMap<Slot, u32> = HashMap::with_capacity(order.len());
        index_of.extend(order.iter().zip(0..).map(|((slot, _), index)| (*slot, index)));
        let move_to = |slot: Slot| index_of.get(&slot).copied();
        let lives = order.iter().map(|(_, life)| {
            let parent = life.parent().and_then(move_to).map(Index::new);
            let mut life = (*life).clone();
            life.parent = parent;
            life
        });
        let details = self.details.iter();
        let details = details.filter_map(|(slot, detail)| Some((move_to(*slot)?, detail.clone())));
        Kept { lives: lives.collect(), details: details.collect(), index_of }
    }
}

/// The lives of a store, by their age.
pub(crate) struct Kept {
    pub(crate) lives: Vec<Life>,
    pub(crate) details: HashMap<u32, Detail>,
    /// The place of each slot among the lives.
    pub(crate) index_of: HashMap<Slot, u32>,
}

#[cfg(test)]
mod tests {
    use super::super::recording::Moment;
    use super::super::testing::life;
    use super::{CAPACITY, FAILED, ROOT, Slot, Store};

    fn store() -> Store {
        let mut store = Store::default();
        assert_eq!(store.add(life("app")), Some(ROOT));
        store
    }

    fn child(store: &mut Store, parent: Slot) -> Slot {
        let mut life = life("child");
        life.parent = Some(super::Index::new(parent));
        store.add(life).expect("there is room")
    }

    fn close(store: &mut Store, slot: Slot, has_failed: bool) {
        let life = store.get_mut(slot).unwrap();
        life.set(Moment::Closed, 7);
        life.has_failed = has_failed;
        store.closed_early(slot);
    }

    #[test]
    fn a_process_that_is_closed_early_leaves_nothing() {
        let mut store = store();
        for _ in 0..3 * CAPACITY {
            let one = child(&mut store, ROOT);
            close(&mut store, one, false);
        }
        assert_eq!((store.count, store.chunks.len()), (1, 1));
        assert_eq!(store.get(ROOT).unwrap().children, 0);
    }

    #[test]
    fn a_parent_stays_as_long_as_a_child() {
        let mut store = store();
        let parent = child(&mut store, ROOT);
        let inner = child(&mut store, parent);
        close(&mut store, parent, false);
        assert!(store.get(parent).is_some());
        close(&mut store, inner, false);
        assert!(store.get(parent).is_none() && store.get(inner).is_none());
        assert_eq!(store.count, 1);
    }

    #[test]
    fn the_last_failures_are_kept() {
        let mut store = store();
        let slots: Vec<_> = (0..FAILED + 10).map(|_| child(&mut store, ROOT)).collect();
        // The first one has a child that is open.
        let inner = child(&mut store, slots[0]);
        for &slot in &slots {
            store.detail(slot).error = Some("disk full".into());
            close(&mut store, slot, true);
        }
        let kept = slots.iter().filter(|slot| store.get(**slot).is_some()).count();
        assert_eq!(kept, FAILED + 1);
        close(&mut store, inner, false);
        assert_eq!(store.count, 1 + FAILED);
        assert_eq!(store.details.len(), FAILED);
        assert_eq!(store.kept().lives.len(), 1 + FAILED);
    }

    #[test]
    fn there_is_a_limit() {
        let mut store = store();
        for _ in 1..CAPACITY {
            assert!(store.add(life("one")).is_some());
        }
        assert_eq!(store.add(life("more")), None);
    }
}
