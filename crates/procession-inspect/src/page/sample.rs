//! [`Sample`]: a snapshot, with everything that rows are made from. It is made once and shared by all viewers.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use procession::support::{Marks, nearest_labels};
use procession::{Edge, Link, ProcessInfo, Snapshot};

use super::facts::Facts;
use super::history::History;
use super::model::{At, Blocker, Failure, Program, Summary};
use super::summary::{blockers, summary};
use super::tally::State as Tally;
use super::texts::Texts;
use super::units::{Listed, Sources};

/// The maximum number of labels in the path of a process. The cost of a whole path grows with the depth.
const LABELS: usize = 16;

pub(crate) struct Sample {
    pub(crate) at: At,
    pub(crate) taken: Instant,
    pub(crate) snapshot: Snapshot,
    pub(crate) marks: Marks,
    /// By index.
    pub(crate) keys: Vec<u64>,
    pub(crate) tree: Tree,
    pub(crate) program: Arc<Program>,
    pub(crate) summary: Summary,
    pub(crate) blockers: Vec<Blocker>,
    pub(crate) blockers_more: usize,
    /// The newest first.
    pub(crate) failures: Vec<Failure>,
    pub(crate) failures_dropped: u64,
    /// The errors of failures, not shortened.
    pub(crate) errors: Vec<Arc<str>>,
    pub(crate) texts: Texts,
    pub(crate) sources: Sources,
    /// The indices of the processes, sorted by key when a key is looked up for the first time.
    by_key: OnceLock<Box<[u32]>>,
}

/// A snapshot whose processes and failures have serial numbers. It is made with the history locked, so it runs no
/// foreign code.
pub(crate) struct Numbered {
    snapshot: Snapshot,
    marks: Marks,
    tree: Tree,
    keys: Vec<u64>,
    failure_keys: Vec<u64>,
}

impl Numbered {
    pub(crate) fn new(snapshot: Snapshot, history: &mut History, tally: &Tally) -> Self {
        let marks = Marks::new(&snapshot);
        let tree = Tree::new(&snapshot, &marks);
        let keys = history.keys(&snapshot, &marks, &tree.order);
        let failures = tally.failures.iter();
        let failures = failures.map(|failed| (failed.first, failed.id, failed.site));
        let failure_keys = history.failures(failures);
        history.forget();
        Self { snapshot, marks, tree, keys, failure_keys }
    }
}

impl Sample {
    /// Names and errors are redacted here, by a function of the user's.
    pub(crate) fn new(numbered: Numbered, facts: Facts<'_>) -> Self {
        let Numbered { snapshot, marks, tree, keys, failure_keys } = numbered;
        let failed = facts.tally.failures.iter();
        let texts = facts.texts;
        let failures = failed.clone().zip(failure_keys).map(|(failed, key)| Failure {
            key,
            at: failed.at,
            path: texts.path(&failed.labels, "/"),
            label: texts.name_or_site(failed.name(), failed.site),
            who: texts.path(&failed.labels, " › "),
            error: texts.error(&failed.error),
            site: failed.site.to_string(),
        });
        let failures: Vec<Failure> = failures.collect();
        let (blockers, blockers_more) = blockers(&snapshot, &keys, texts);
        Self {
            at: facts.at,
            taken: facts.now,
            summary: summary(&snapshot, &facts),
            errors: failed.map(|failed| failed.error.clone()).collect(),
            failures_dropped: facts.tally.failed - failures.len() as u64,
            failures,
            blockers,
            blockers_more,
            texts: texts.clone(),
            sources: facts.sources.clone(),
            program: facts.program.clone(),
            marks,
            keys,
            tree,
            snapshot,
            by_key: OnceLock::new(),
        }
    }

    /// What the managers say now.
    pub(crate) fn units(&self) -> Listed {
        Listed::new(&self.sources, &self.texts, At::now())
    }

    pub(crate) fn process(&self, index: u32) -> ProcessInfo<'_> {
        self.snapshot.process(index as usize)
    }

    pub(crate) fn key(&self, index: u32) -> u64 {
        self.keys[index as usize]
    }

    /// The process with this key.
    pub(crate) fn index_of(&self, key: u64) -> Option<u32> {
        let by_key = self.by_key.get_or_init(|| {
            let mut by_key: Box<[u32]> = self.tree.order.as_slice().into();
            by_key.sort_unstable_by_key(|&index| self.key(index));
            by_key
        });
        let found = by_key.binary_search_by_key(&key, |&index| self.key(index));
        found.ok().map(|position| by_key[position])
    }

    /// The path of a process: for programs with the separator `/`, for people with ` › `.
    pub(crate) fn path(&self, index: usize, separator: &str) -> String {
        let id = self.snapshot.process(index).id();
        self.texts.path(&nearest_labels(&self.snapshot, id, LABELS), separator)
    }

    /// The edge below which the process is drawn.
    pub(crate) fn owner(&self, index: u32) -> Option<Edge> {
        self.marks.owners[index as usize]
    }

    pub(crate) fn edges_of(&self, index: u32) -> impl ExactSizeIterator<Item = Edge> + Clone {
        self.snapshot.edges_of(index as usize)
    }

    /// The error of a process that has failed.
    pub(crate) fn error_of(&self, key: u64) -> Option<&str> {
        let failure = self.failures.iter().find(|failure| failure.key == key)?;
        Some(&failure.error)
    }
}

/// The spanning tree in which processes are drawn.
pub(crate) struct Tree {
    /// Where the children of each process begin.
    first_child: Vec<u32>,
    children: Vec<u32>,
    /// All processes, each after the one above it.
    pub(crate) order: Vec<u32>,
}

impl Tree {
    fn new(snapshot: &Snapshot, marks: &Marks) -> Self {
        let count = snapshot.processes().len();
        let mut first_child = vec![0_u32; count + 1];
        for owner in marks.owners.iter().flatten() {
            first_child[owner.from() + 1] += 1;
        }
        for index in 0..count {
            first_child[index + 1] += first_child[index];
        }
        let mut next = first_child.clone();
        let mut children = vec![0; first_child[count] as usize];
        // In the order of the edges, which is that of creation.
        let mut is_placed = vec![false; count];
        for edge in snapshot.edges() {
            let is_owner = marks.owners[edge.to()] == Some(edge);
            if is_owner && !std::mem::replace(&mut is_placed[edge.to()], true) {
                children[next[edge.from()] as usize] = u32::try_from(edge.to()).unwrap_or(0);
                next[edge.from()] += 1;
            }
        }
        let mut tree = Self { first_child, children, order: Vec::new() };
        tree.order = tree.below(0, count);
        tree
    }

    /// This process and all below it, each after the one above it.
    pub(crate) fn from(&self, top: u32) -> Cow<'_, [u32]> {
        match top {
            0 => Cow::Borrowed(&self.order),
            top => Cow::Owned(self.below(top, 0)),
        }
    }

    fn below(&self, top: u32, capacity: usize) -> Vec<u32> {
        let mut order = Vec::with_capacity(capacity);
        order.push(top);
        let mut position = 0;
        while let Some(&process) = order.get(position) {
            position += 1;
            order.extend_from_slice(self.children(process));
        }
        order
    }

    fn range(&self, process: u32) -> std::ops::Range<usize> {
        let process = process as usize;
        self.first_child[process] as usize..self.first_child[process + 1] as usize
    }

    /// The processes that are drawn below this one.
    pub(crate) fn children(&self, process: u32) -> &[u32] {
        &self.children[self.range(process)]
    }
}

/// Does the upper process close the lower one?
pub(crate) fn closes(link: Link) -> bool {
    matches!(link, Link::Child | Link::NoWaitChild)
}
