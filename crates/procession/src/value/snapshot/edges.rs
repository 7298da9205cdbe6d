//! [`Edge`] and [`EdgeList`]: the edges of a snapshot.

use super::index::{Index, index};

/// An edge of a [`Snapshot`](crate::Snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) kind: Link,
}

impl Edge {
    /// The index of the upper process, which closes the lower one or waits for it.
    #[must_use]
    pub fn from(&self) -> usize {
        self.from as usize
    }

    /// The index of the lower process.
    #[must_use]
    pub fn to(&self) -> usize {
        self.to as usize
    }

    /// The kind of the edge.
    #[must_use]
    pub fn kind(&self) -> Link {
        self.kind
    }
}

/// The kind of an [`Edge`]: the relation of its upper process to its lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Link {
    /// The upper process closes the lower one and waits for it.
    Child,
    /// The upper process closes the lower one, and does not wait for it.
    NoWaitChild,
    /// The upper process waits for the lower one, and does not close it.
    WaitFor,
    /// The upper process waits for the lower one, and its parents close it only after the lower one is Closed.
    CloseAfter,
    /// A thread that runs code of the upper process is blocked in a wait for the lower one.
    Blocked,
    /// A thread that runs code of the upper process is blocked in a wait for a slot of the lower one.
    SlotWait,
    /// A thread that runs code of the upper process is blocked in a wait for the children of the lower one. Both may be
    /// the same process.
    ChildrenWait,
    /// A thread that runs code of the upper process is blocked in a wait for the end of the body of the lower one.
    BodyWait,
}

impl Link {
    /// Does the upper process close the lower one?
    pub(crate) fn closes(self) -> bool {
        matches!(self, Self::Child | Self::NoWaitChild)
    }

    /// Does it stand for a thread that runs code of the upper process and is blocked?
    pub(crate) fn blocks(self) -> bool {
        matches!(self, Self::Blocked | Self::SlotWait | Self::ChildrenWait | Self::BodyWait)
    }
}

/// The edges of a snapshot. Those from one process are next to each other.
///
/// A process usually has consecutive children, because a snapshot finds and numbers them one after the other. Their
/// edges are a single entry, so the edges of a large family need no memory of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct EdgeList {
    runs: Vec<Run>,
    len: u32,
    /// The index of the first run of each process, for the processes up to the last one that has edges.
    first_runs: Vec<Index>,
}

/// Edges of one kind, from one process to consecutive processes.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// The number of its first edge.
    number: u32,
    from: u32,
    /// The lower end of its first edge.
    to: u32,
    kind: Link,
}

impl EdgeList {
    /// Adds an edge. The indices of the upper ends must ascend.
    #[inline]
    pub(crate) fn push(&mut self, from: u32, kind: Link, to: u32) {
        let number = self.len;
        self.len = number.checked_add(1).expect("a snapshot has fewer than 2³² edges");
        if let Some(last) = self.runs.last() {
            let next = last.to.wrapping_add(number - last.number);
            if (last.from, last.kind, next) == (from, kind, to) {
                return;
            }
        }
        self.add_run(Run { number, from, to, kind });
    }

    fn add_run(&mut self, run: Run) {
        let from = run.from as usize;
        if self.first_runs.len() <= from {
            self.first_runs.resize(from, Index::NONE);
            self.first_runs.push(index(self.runs.len()).into());
        } else {
            debug_assert_eq!(self.first_runs.len(), from + 1, "the edges are sorted");
        }
        self.runs.push(run);
    }

    pub(super) fn iter(&self) -> Edges<'_> {
        Edges { list: self, run: 0, number: 0, end: self.len }
    }

    /// The edges from a process.
    pub(super) fn of(&self, process: u32) -> Edges<'_> {
        let first = self.first_runs.get(process as usize).and_then(|run| run.get());
        let Some(first) = first else { return Edges { list: self, run: 0, number: 0, end: 0 } };
        let first = first as usize;
        let runs = &self.runs[first..];
        let is_own = |run: &Run| run.from == process;
        // The range to search is at most twice as long as the list of its runs, so visiting all processes stays linear.
        let mut end = 1;
        while runs.get(end).is_some_and(is_own) {
            end *= 2;
        }
        let count = runs[..end.min(runs.len())].partition_point(is_own);
        Edges {
            list: self,
            run: first,
            number: runs[0].number,
            end: self.end_of(first + count - 1),
        }
    }

    /// The number after the last edge of a run.
    fn end_of(&self, run: usize) -> u32 {
        self.runs.get(run + 1).map_or(self.len, |next| next.number)
    }
}

impl Run {
    fn edge(&self, number: u32) -> Edge {
        Edge { from: self.from, to: self.to + (number - self.number), kind: self.kind }
    }
}

/// Consecutive edges of a list.
#[derive(Clone, Debug)]
pub(crate) struct Edges<'a> {
    list: &'a EdgeList,
    /// The run of the next edge, or the one before it.
    run: usize,
    /// The number of the next edge.
    number: u32,
    end: u32,
}

impl Iterator for Edges<'_> {
    type Item = Edge;

    fn next(&mut self) -> Option<Edge> {
        if self.number == self.end {
            return None;
        }
        if self.number == self.list.end_of(self.run) {
            self.run += 1;
        }
        let edge = self.list.runs[self.run].edge(self.number);
        self.number += 1;
        Some(edge)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = (self.end - self.number) as usize;
        (len, Some(len))
    }
}

impl ExactSizeIterator for Edges<'_> {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Edge, EdgeList, Link};

    /// The list of these edges, and the edges themselves.
    fn list(edges: &[(u32, Link, u32)]) -> (EdgeList, Vec<Edge>) {
        let mut list = EdgeList::default();
        edges.iter().for_each(|&(from, kind, to)| list.push(from, kind, to));
        (list, edges.iter().map(|&(from, kind, to)| Edge { from, to, kind }).collect())
    }

    #[test]
    fn edges_are_found_by_their_upper_ends() {
        let (list, edges) = list(&[
            (0, Link::Child, 1),
            (0, Link::Child, 2),
            (0, Link::Child, 3),
            (0, Link::WaitFor, 4),
            (0, Link::WaitFor, 4),
            (2, Link::Child, 5),
            (2, Link::Child, 7),
            (2, Link::Child, 6),
            (3, Link::Child, 7),
            (3, Link::NoWaitChild, 8),
            (7, Link::BodyWait, 7),
        ]);
        assert_eq!(list.iter().collect::<Vec<_>>(), edges);
        assert_eq!(list.iter().len(), edges.len());
        for process in 0..10 {
            let own: Vec<Edge> = edges.iter().filter(|e| e.from == process).copied().collect();
            assert_eq!(list.of(process).len(), own.len());
            assert_eq!(list.of(process).collect::<Vec<_>>(), own);
        }
    }

    #[test]
    fn an_empty_list_has_no_edge() {
        let (list, _) = list(&[]);
        assert_eq!((list.iter().len(), list.of(0).len(), list.iter().next()), (0, 0, None));
    }

    /// The edges to a family that was found together take no more memory than the first of them.
    #[test]
    fn the_edges_of_a_family_are_one_entry() {
        let mut list = EdgeList::default();
        (1..=1000).for_each(|child| list.push(0, Link::Child, child));
        assert_eq!((list.runs.len(), list.first_runs.len(), list.iter().len()), (1, 1, 1000));
    }
}
