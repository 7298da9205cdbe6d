//! [`StableList`]: a list in which each entry keeps its place, with insertion and removal in constant time.

use std::mem;

/// A list in which each entry keeps its place, the number by which it is removed.
///
/// A list whose entries come and go does not grow (I12): a freed place is reused before a new one is added, and a list
/// that becomes empty frees a large buffer.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone, PartialEq, Eq, Hash))]
pub(crate) struct StableList<T> {
    entries: Vec<Option<T>>,
    /// The places that were emptied by [`remove`](Self::remove) or by a sweep. Other gaps are not reused.
    free: Vec<u32>,
    /// The place of the first entry. The entries at lower places were taken all at once.
    base: u32,
    /// At this number of entries, [`insert_and_sweep`](Self::insert_and_sweep) sweeps.
    sweep_at: u32,
}

/// A list that becomes empty keeps a buffer of up to this many places, and a shorter list is not swept.
const SMALL: usize = 64;

impl<T> StableList<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), base: 0, sweep_at: SMALL as u32 }
    }

    /// Inserts the value at a free place, and returns the place.
    ///
    /// # Panics
    ///
    /// If all 2³² places are in use.
    #[inline(always)]
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.entries[(place - self.base) as usize] = Some(value);
            return place;
        }
        let place =
            u32::try_from(self.base as usize + self.entries.len()).expect("fewer than 2^32 places");
        self.entries.push(Some(value));
        place
    }

    /// [`insert`](Self::insert) for a list from which nothing is removed in other ways. Each time the list has doubled,
    /// the dead entries are removed and returned, so its size stays linear in the number of live entries.
    pub(crate) fn insert_and_sweep(
        &mut self,
        value: T,
        is_dead: impl Fn(&T) -> bool,
    ) -> (u32, Vec<T>) {
        let mut dead = Vec::new();
        if self.len() >= self.sweep_at as usize {
            for (place, entry) in (self.base..).zip(&mut self.entries) {
                if let Some(value) = entry.take_if(|value| is_dead(value)) {
                    dead.push(value);
                    self.free.push(place);
                }
            }
            self.sweep_at = u32::try_from(self.len().max(SMALL / 2) * 2).unwrap_or(u32::MAX);
        }
        (self.insert(value), dead)
    }

    /// Removes the entry at this place. If it was taken together with all others, there is none.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.entry(place)?.take()?;
        if (place - self.base) as usize + 1 == self.entries.len() {
            // The last place is removed instead of being listed as free.
            self.entries.pop();
        } else {
            self.free.push(place);
        }
        if self.is_empty() {
            self.entries.clear();
            self.free.clear();
            if self.entries.capacity() > SMALL {
                *self = Self { base: self.base, ..Self::new() };
            }
        }
        Some(value)
    }

    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.entry(place)?.as_mut()
    }

    fn entry(&mut self, place: u32) -> Option<&mut Option<T>> {
        self.entries.get_mut(place.checked_sub(self.base)? as usize)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// The entries at the next `count` places after the first `skip` places of the list; `None` past its end.
    pub(crate) fn chunk(&self, skip: usize, count: usize) -> Option<impl Iterator<Item = &T>> {
        let rest = self.entries.get(skip..).filter(|rest| !rest.is_empty())?;
        Some(rest.iter().take(count).flatten())
    }

    /// The entries at the next `count` places from `place` on, and the place after them; `None` past the end. Entries
    /// that were taken all at once are skipped.
    pub(crate) fn chunk_from(
        &self,
        place: u32,
        count: usize,
    ) -> Option<(u32, impl Iterator<Item = &T> + Clone)> {
        let skip = place.saturating_sub(self.base) as usize;
        let rest = self.entries.get(skip..).filter(|rest| !rest.is_empty())?;
        let chunk = &rest[..count.min(rest.len())];
        Some((self.base + (skip + chunk.len()) as u32, chunk.iter().flatten()))
    }

    /// Was the list taken as a whole, and not put back?
    pub(crate) fn is_taken(&self) -> bool {
        self.base > 0
    }

    /// The number of entries. Entries that were taken through [`entries_mut`](Self::entries_mut) still count.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Does it have no entries, as counted by [`len`](Self::len)?
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Does it have entries, or was it taken as a whole, perhaps with entries?
    pub(crate) fn may_have_entries(&self) -> bool {
        self.is_taken() || !self.is_empty()
    }

    /// All entries and gaps, for the caller to read or take entries. A place that is emptied this way is not reused.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Option<T>> {
        self.entries.iter_mut()
    }

    /// [`entries_mut`](Self::entries_mut) in chunks of `size` places.
    pub(crate) fn chunks_mut(&mut self, size: usize) -> impl Iterator<Item = &mut [Option<T>]> {
        self.entries.chunks_mut(size)
    }

    /// Takes the whole list, for a while. Entries that are inserted in the meantime get places after those of the taken
    /// list.
    pub(crate) fn take_all(&mut self) -> Self {
        let base = self.base + self.entries.len() as u32;
        mem::replace(self, Self { base, ..Self::new() })
    }

    /// Puts back a list that was taken with [`take_all`](Self::take_all), in front of the entries that were inserted
    /// since.
    pub(crate) fn put_back(&mut self, mut taken: Self) {
        debug_assert_eq!(taken.base as usize + taken.entries.len(), self.base as usize);
        taken.entries.append(&mut self.entries);
        taken.free.append(&mut self.free);
        *self = taken;
    }
}

impl<T> Default for StableList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IntoIterator for StableList<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Option<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter().flatten()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::StableList;

    fn filled(count: u32) -> (StableList<u32>, Vec<u32>) {
        let mut list = StableList::new();
        let places = (0..count).map(|value| list.insert(value)).collect();
        (list, places)
    }

    #[test]
    fn a_freed_place_is_reused() {
        let (mut list, places) = filled(3);
        assert_eq!(list.remove(places[1]), Some(1));
        assert_eq!(list.remove(places[1]), None);
        assert_eq!(list.insert(7), places[1]);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 7, 2]);
    }

    #[test]
    fn the_free_list_has_no_place_beyond_the_end() {
        let (mut list, places) = filled(3);
        list.remove(places[1]);
        list.remove(places[2]);
        list.insert(8);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 8]);
        list.insert(9);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 8, 9]);
    }

    #[test]
    fn an_emptied_list_frees_its_buffer() {
        let (mut list, places) = filled(10_000);
        for place in places {
            assert!(list.remove(place).is_some());
        }
        assert_eq!(list.iter().count(), 0);
        assert!(list.entries.capacity() <= super::SMALL);
        assert!(list.free.capacity() <= super::SMALL);
    }

    #[test]
    fn a_list_that_comes_and_goes_does_not_grow() {
        let (mut list, mut places) = filled(10);
        for round in 0..10_000 {
            list.remove(places.remove(round % 10));
            places.push(list.insert(0));
            assert!(list.entries.len() <= 11 && list.free.len() <= 11);
        }
    }

    /// The former owner of the place may still ask for its removal.
    #[test]
    fn a_gap_that_was_not_freed_is_not_reused() {
        let (mut list, places) = filled(3);
        let mut taken = list.take_all();
        taken.entries_mut().nth(1).unwrap().take();
        list.put_back(taken);
        list.remove(places[2]);
        let later = [list.insert(7), list.insert(8)];
        assert!(!later.contains(&places[1]));
        assert_eq!(list.remove(places[1]), None);
    }

    #[test]
    fn a_list_that_frees_its_buffer_does_not_reuse_taken_places() {
        let (mut list, taken_places) = filled(3);
        let taken = list.take_all();
        let later: Vec<_> = (0..=super::SMALL as u32).map(|value| list.insert(value)).collect();
        assert!(later.into_iter().all(|place| list.remove(place).is_some()));
        assert!(!taken_places.contains(&list.insert(7)));
        list.put_back(taken);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 7]);
    }

    #[test]
    fn a_list_that_is_taken_twice_does_not_reuse_places() {
        let (mut list, mut places) = filled(3);
        let first = list.take_all();
        places.extend([list.insert(3), list.insert(4)]);
        let second = list.take_all();
        assert!(!places.contains(&list.insert(5)));
        list.put_back(second);
        list.put_back(first);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn taken_entries_keep_their_places() {
        let (mut list, places) = filled(3);
        list.remove(places[0]);
        let taken = list.take_all();
        let (late, later) = (list.insert(7), list.insert(8));
        assert_eq!(list.remove(places[1]), None);
        assert_eq!(list.remove(late), Some(7));
        list.put_back(taken);
        assert_eq!(list.iter().copied().collect::<Vec<_>>(), [1, 2, 8]);
        assert_eq!(list.remove(places[2]), Some(2));
        assert_eq!(list.remove(later), Some(8));
        assert_eq!(list.remove(places[1]), Some(1));
    }
}
