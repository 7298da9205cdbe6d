//! A list in which each entry keeps its place, and a free list gives O(1) insertion and removal.

use std::mem;

/// Entries with stable positions. A list that comes and goes does not grow (I12): a freed place is
/// taken before a new one, and an emptied list gives a large buffer back.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    /// The place of the first entry. Those before it were taken all at once, and are not given again.
    base: u32,
}

/// An emptied list keeps its buffers up to this many places.
const KEEP: usize = 64;

impl<T> Slots<T> {
    pub(crate) const fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new(), base: 0 }
    }

    /// Puts the value in a free place and returns the place.
    ///
    /// # Panics
    ///
    /// With 2³² places.
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

    /// Empties the place. One that was taken with all the others is empty already.
    pub(crate) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.entry(place)?.take()?;
        self.free.push(place);
        if self.free.len() == self.entries.len() {
            self.entries.clear();
            self.free.clear();
            if self.entries.capacity() > KEEP {
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

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }

    /// Removes and returns the entries that `matches` holds for; the others keep their places.
    pub(crate) fn take_if(&mut self, matches: impl Fn(&T) -> bool) -> Vec<Option<T>> {
        if self.iter().all(&matches) {
            return self.take_all();
        }
        let chosen: Vec<u32> = (self.base..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.as_ref().is_some_and(&matches))
            .map(|(place, _)| place)
            .collect();
        chosen.into_iter().map(|place| self.remove(place)).collect()
    }

    /// Takes all of it, with gaps where an entry was removed. Its places are not given again.
    pub(crate) fn take_all(&mut self) -> Vec<Option<T>> {
        self.base += self.entries.len() as u32;
        self.free.clear();
        mem::take(&mut self.entries)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Slots;

    #[test]
    fn a_freed_place_is_taken_again() {
        let mut slots = Slots::new();
        let places: Vec<u32> = (0..3).map(|value| slots.insert(value)).collect();
        assert_eq!(slots.remove(places[1]), Some(1));
        assert_eq!(slots.remove(places[1]), None);
        assert_eq!(slots.insert(7), places[1]);
        assert_eq!(slots.iter().count(), 3);
        assert_eq!(slots.iter().copied().collect::<Vec<_>>(), [0, 7, 2]);
    }

    #[test]
    fn an_emptied_list_gives_its_buffer_back() {
        let mut slots = Slots::new();
        let places: Vec<u32> = (0..10_000).map(|value| slots.insert(value)).collect();
        for place in places {
            slots.remove(place);
        }
        assert_eq!(slots.iter().count(), 0);
        assert!(slots.entries.capacity() <= super::KEEP);
        assert!(slots.free.capacity() <= super::KEEP);
    }

    #[test]
    fn taking_some_leaves_the_others_in_place() {
        let mut slots = Slots::new();
        let places: Vec<u32> = (0..6).map(|value| slots.insert(value)).collect();
        assert_eq!(slots.take_if(|value| value % 2 == 0), [Some(0), Some(2), Some(4)]);
        assert_eq!(slots.remove(places[3]), Some(3));
        let left = slots.take_if(|_| true);
        assert_eq!(left.into_iter().flatten().collect::<Vec<_>>(), [1, 5]);
        assert_eq!(slots.iter().count(), 0);
    }

    #[test]
    fn a_place_that_was_taken_with_all_is_never_given_again() {
        let mut slots = Slots::new();
        let before = slots.insert('a');
        assert_eq!(slots.take_all(), [Some('a')]);
        let after = slots.insert('b');
        assert_ne!(before, after);
        assert_eq!(slots.remove(before), None);
        assert_eq!(slots.remove(after), Some('b'));
    }
}
