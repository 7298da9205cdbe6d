//! Which processes a picture shows, within a budget of rows.
//!
//! Each process has at most one row of its own: below the first process that closes it or, if no such process is drawn,
//! below the first process that waits for it. Other edges to it are drawn as references. Rows are made breadth-first
//! until the budget is used up. Up to half of it is reserved for the processes on the chains of the first blockers.

use std::collections::VecDeque;
use std::ops::Range;

use super::fold::{Fold, Member, Part, fold};
use super::search::Search;
use super::{BlockerKind, Edge, Link, Snapshot};

/// The number of blockers whose chains are protected from being folded.
pub(super) const BLOCKERS_SHOWN: usize = 16;

pub(super) struct Outline<'a> {
    /// Breadth-first: the first is the root, and the rows below one row are next to each other.
    pub(super) rows: Vec<Row<'a>>,
    /// The number of processes without a row because the budget was used up, except those below a fold.
    pub(super) hidden: usize,
}

pub(super) struct Row<'a> {
    pub(super) content: Content<'a>,
    /// The edge from the process above; `None` for the root.
    pub(super) link: Option<Link>,
    /// The row above it in the tree; the root's is itself.
    pub(super) parent: usize,
    /// The number of rows above it in the tree.
    pub(super) depth: usize,
    /// The rows below it.
    pub(super) below: Range<usize>,
}

pub(super) enum Content<'a> {
    /// A process, and the kind of blocker that it is, if it is one.
    Process(u32, Option<BlockerKind>),
    /// A reference to a process that has its row elsewhere, or has none.
    Reference(u32),
    /// Folded members of a family, and whether they are references.
    Fold(Fold<'a, u32>, bool),
    /// The processes below the last level that is drawn.
    Deeper { levels: usize, processes: usize },
}

/// The limits of a picture.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) rows: usize,
    pub(super) levels: usize,
    /// Are there rows for edges to processes that have their row elsewhere?
    pub(super) references: bool,
}

impl<'a> Outline<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, bounds: Bounds) -> Self {
        let Marks { blocks, is_protected, owners } = Marks::new(snapshot);
        let protected = is_protected.iter().filter(|&&is_protected| is_protected).count();
        let mut planner = Planner {
            snapshot,
            bounds,
            blocks,
            reserved: protected.min(bounds.rows / 2),
            is_protected,
            owners,
            has_row: vec![false; snapshot.processes.len()],
            rows: Vec::new(),
            hidden: Vec::new(),
            hidden_deeper: 0,
        };
        planner.plan();
        let hidden = planner.size_of_hidden();
        Self { rows: planner.rows, hidden }
    }
}

/// The facts about each process of a snapshot, by index, that decide how it is drawn. Other crates use it for their
/// pictures too.
#[derive(Debug)]
pub struct Marks {
    /// The kind of blocker that the process is, if it is one. If nothing is closing, there are no blockers.
    pub blocks: Vec<Option<BlockerKind>>,
    /// Is the process on the chain of one of the first 16 blockers? Such processes are not folded.
    pub is_protected: Vec<bool>,
    /// The edge below which the process is drawn; `None` for the root. These edges are a spanning tree of the graph,
    /// found breadth-first along edges that close; an edge that only waits is followed when no closing edge is left to
    /// follow. Of several equal edges, it is the first.
    pub owners: Vec<Option<Edge>>,
}

impl Marks {
    /// The marks of the processes of a snapshot.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let search = Search::new(snapshot);
        let mut blocks = vec![None; snapshot.processes.len()];
        for item in &search.items {
            blocks[item.process as usize].get_or_insert(item.kind);
        }
        if search.items.first().is_some_and(|item| item.is_root_not_asked()) {
            blocks[0] = None; // nothing is closing
        }
        let is_protected = search.on_chains(BLOCKERS_SHOWN);
        Self { blocks, is_protected, owners: owners(snapshot) }
    }
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    bounds: Bounds,
    blocks: Vec<Option<BlockerKind>>,
    is_protected: Vec<bool>,
    /// The number of rows that are still reserved for protected processes.
    reserved: usize,
    /// For each process, the edge below which its row is.
    owners: Vec<Option<Edge>>,
    /// Does the process have a row, or has it been counted as hidden?
    has_row: Vec<bool>,
    rows: Vec<Row<'a>>,
    /// The processes for which no row was left.
    hidden: Vec<u32>,
    /// The number of processes below the last level for whose count no row was left.
    hidden_deeper: usize,
}

/// The lower end of an edge, and the kind of the edge.
type Target = (u32, Link);

impl<'a> Planner<'a> {
    fn plan(&mut self) {
        self.has_row[0] = true;
        self.reserved = self.reserved.saturating_sub(1);
        let content = Content::Process(0, self.blocks[0]);
        self.rows.push(Row { content, link: None, parent: 0, depth: 0, below: 0..0 });
        let mut next = 0;
        while let Some(row) = self.rows.get(next) {
            if let Content::Process(process, _) = row.content {
                let first = self.rows.len();
                self.open(next, process, row.depth + 1);
                self.rows[next].below = first..self.rows.len();
            }
            next += 1;
        }
    }

    /// Adds the rows below a process: first those that it closes, then those that it only waits for.
    fn open(&mut self, parent: usize, process: u32, depth: usize) {
        if depth >= self.bounds.levels {
            if let Some(deeper) = self.deeper(process) {
                self.add(Row {
                    content: deeper,
                    link: Some(Link::Child),
                    parent,
                    depth,
                    below: 0..0,
                });
            }
            return;
        }
        let (mut owned, mut elsewhere) = ([vec![], vec![]], [vec![], vec![]]);
        for edge in self.snapshot.edges.of(process) {
            if edge.kind() == Link::ChildrenWait && edge.from() == edge.to() {
                continue; // its children are below it
            }
            let waits = usize::from(!edge.kind().closes());
            let target = edge.to;
            if self.owners[edge.to()] == Some(edge) && !self.has_row[edge.to()] {
                self.has_row[edge.to()] = true;
                owned[waits].push((target, edge.kind()));
            } else if self.bounds.references && !self.is_own_child(&edge) {
                elsewhere[waits].push((target, edge.kind()));
            }
        }
        for (owned, elsewhere) in owned.into_iter().zip(elsewhere) {
            self.add_folded(owned, false, parent, depth);
            self.add_folded(elsewhere, true, parent, depth);
        }
    }

    fn add_folded(&mut self, targets: Vec<Target>, references: bool, parent: usize, depth: usize) {
        let member = |(process, _): Target| {
            let is_protected = self.is_protected[process as usize] && !references;
            let blocks = self.blocks[process as usize].is_some();
            Member::new(self.snapshot.info(process), is_protected, blocks)
        };
        for part in fold(&targets, member) {
            let (content, link) = match part {
                Part::One((process, link)) if references => (Content::Reference(process), link),
                Part::One((process, link)) => {
                    (Content::Process(process, self.blocks[process as usize]), link)
                }
                Part::Fold(fold) => {
                    let link = fold.members[0].1;
                    let members = fold.members.into_iter().map(|(process, _)| process).collect();
                    let fold = Fold { stem: fold.stem, members, counts: fold.counts };
                    (Content::Fold(fold, references), link)
                }
            };
            self.add(Row { content, link: Some(link), parent, depth, below: 0..0 });
        }
    }

    /// Adds a row, if the budget allows it.
    fn add(&mut self, row: Row<'a>) {
        let is_protected = match row.content {
            Content::Process(process, _) => self.is_protected[process as usize],
            _ => false,
        };
        let kept = if is_protected { 0 } else { self.reserved };
        if self.rows.len() + kept < self.bounds.rows {
            self.reserved -= usize::from(is_protected && self.reserved > 0);
            self.rows.push(row);
            return;
        }
        match row.content {
            Content::Process(process, _) => self.hidden.push(process),
            Content::Fold(fold, false) => self.hidden.extend(fold.members),
            Content::Deeper { processes, .. } => self.hidden_deeper += processes,
            Content::Reference(_) | Content::Fold(_, true) => {}
        }
    }

    /// Is it a wait for a process whose row is below the same upper process because of another edge?
    fn is_own_child(&self, edge: &Edge) -> bool {
        let has_same_from = |owner: Edge| owner.from() == edge.from();
        !edge.kind().closes() && self.owners[edge.to()].is_some_and(has_same_from)
    }

    /// The content of a row that counts the processes below this one; `None` if there are none.
    fn deeper(&mut self, process: u32) -> Option<Content<'a>> {
        let (mut levels, mut processes) = (0, 0);
        let mut level = self.take_below(&[process]);
        while !level.is_empty() {
            levels += 1;
            processes += level.len();
            level = self.take_below(&level);
        }
        (levels > 0).then_some(Content::Deeper { levels, processes })
    }

    /// The processes without a row on the next level below these processes. They count as having a row afterwards.
    fn take_below(&mut self, level: &[u32]) -> Vec<u32> {
        let mut below = Vec::new();
        for &process in level {
            for edge in self.snapshot.edges.of(process) {
                let is_owner = self.owners[edge.to()] == Some(edge);
                if is_owner && !std::mem::replace(&mut self.has_row[edge.to()], true) {
                    below.push(edge.to);
                }
            }
        }
        below
    }

    /// The number of hidden processes, including everything below them.
    fn size_of_hidden(&mut self) -> usize {
        let (mut size, mut level) = (self.hidden_deeper, std::mem::take(&mut self.hidden));
        while !level.is_empty() {
            size += level.len();
            level = self.take_below(&level);
        }
        size
    }
}

/// Finds the edges that rows follow: see [`Marks::owners`].
fn owners(snapshot: &Snapshot) -> Vec<Option<Edge>> {
    let mut owners: Vec<Option<Edge>> = vec![None; snapshot.processes.len()];
    let (mut queue, mut waits) = (VecDeque::from([0]), VecDeque::new());
    loop {
        while let Some(process) = queue.pop_front() {
            for edge in snapshot.edges.of(process) {
                if edge.to() == 0 || owners[edge.to()].is_some() {
                    continue;
                }
                if edge.kind().closes() {
                    owners[edge.to()] = Some(edge);
                    queue.push_back(edge.to);
                } else {
                    waits.push_back(edge);
                }
            }
        }
        match waits.pop_front() {
            None => return owners,
            Some(edge) if owners[edge.to()].is_some() => {}
            Some(edge) => {
                owners[edge.to()] = Some(edge);
                queue.push_back(edge.to);
            }
        }
    }
}
