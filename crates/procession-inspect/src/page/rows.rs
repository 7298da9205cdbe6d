//! The rows of the table: those of the tree, folded and within a budget, or a flat list.
//!
//! # Invariants
//!
//! - W1. A process has at most one row of its own. *Because* each is placed below its owner in the spanning tree of the
//!   sample, once; other edges that close lead to rows that only refer to it.
//! - W2. There are at most [`BUDGET`] rows, and those on the chains of the first blockers are among them. *Because*
//!   rows are made breadth-first until the budget is used up, and a part of it is kept for these processes and for what
//!   the query opens; the core folds none of them.
//! - W3. Every process that matches has a row, is counted in a fold, or is counted as hidden.

use std::ops::Range;

use procession::support::fold::{Fold as Family, Member, Part, fold};
use procession::{Link, Phase};

use super::model::{Content, Fold, Key, Next, Reference, Row, View};
use super::query::{Column, Query, Scope};
use super::row::{fit, fold_content, fold_key, process_row};
use super::sample::{Sample, closes};

/// The maximum number of rows of a view.
pub(crate) const BUDGET: usize = 500;

/// The number of members that each page of an open fold shows.
pub(crate) const PAGE: usize = 100;

/// Above this number of processes, there are no rows.
pub(crate) const PROCESSES: usize = 1_000_000;

/// The rows for a query, and how much of the answer they are.
pub(crate) fn rows(sample: &Sample, query: &Query) -> (Vec<Row>, View) {
    let scope = query.scope(sample.snapshot.root().phase() != Phase::Running);
    let total = sample.keys.len();
    let root = query.root.and_then(|root| sample.index_of(root));
    let mut view = View {
        q: query.filter.clone(),
        scope: scope.name(),
        sort: query.sort.to_string(),
        open: query.open_keys(),
        root: root.map(|root| sample.key(root)),
        managers: sample.sources.len(),
        rows: 0,
        matches: 0,
        total,
        hidden: 0,
    };
    if total > PROCESSES || query.is_units {
        view.hidden = total;
        return (Vec::new(), view);
    }
    let top = root.unwrap_or(0);
    let filter = Filter::new(sample, query, scope, top);
    view.matches = filter.matches;
    let (mut rows, hidden) = match query.sort.column {
        Column::Tree => Planner::new(sample, query, &filter, top).plan(),
        column => flat(sample, &filter, column, query.sort.is_reversed),
    };
    rows.iter_mut().for_each(fit);
    (view.rows, view.hidden) = (rows.len(), hidden);
    (rows, view)
}

/// Which processes are shown.
struct Filter {
    /// By index.
    seen: Vec<Seen>,
    matches: usize,
    /// May there be processes that do not match?
    is_on: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It is above one that matches.
    Above,
    Matches,
}

impl Filter {
    fn new(sample: &Sample, query: &Query, scope: Scope, top: u32) -> Self {
        let filter = query.filter.to_lowercase();
        let is_on = !filter.is_empty() || scope != Scope::All;
        let mut seen = vec![Seen::No; sample.keys.len()];
        // A name in the middle of the path counts for everything below it.
        let mut in_path = vec![false; if filter.is_empty() { 0 } else { sample.keys.len() }];
        let mut matches = 0;
        let order = sample.tree.from(top);
        for &index in &*order {
            let process = sample.process(index);
            let is_in_scope = match scope {
                Scope::All => true,
                Scope::Open => process.phase() != Phase::Closed,
                Scope::Failed => {
                    process.has_failed() || sample.error_of(sample.key(index)).is_some()
                }
                Scope::Blocking => sample.marks.blocks[index as usize].is_some(),
            };
            let is_found = filter.is_empty() || {
                let above = sample.owner(index).is_some_and(|edge| in_path[edge.from()]);
                in_path[index as usize] = above || is_in_path(sample, index, &filter);
                in_path[index as usize] || is_in_work(sample, index, &filter)
            };
            if is_in_scope && is_found {
                seen[index as usize] = Seen::Matches;
                matches += 1;
            }
        }
        for &index in order.iter().rev() {
            if let Some(edge) = sample.owner(index).filter(|_| index != top) {
                if seen[index as usize] != Seen::No && seen[edge.from()] == Seen::No {
                    seen[edge.from()] = Seen::Above;
                }
            }
        }
        if seen[top as usize] == Seen::No {
            seen[top as usize] = Seen::Above;
        }
        Self { seen, matches, is_on }
    }

    fn shows(&self, index: u32) -> bool {
        self.seen[index as usize] != Seen::No
    }
}

fn is_in_path(sample: &Sample, index: u32, filter: &str) -> bool {
    let label = sample.texts.label(sample.process(index));
    if contains(&label, filter) {
        return true;
    }
    // Parts of several names: `db/cache`, and `db › cache`.
    if !filter.contains(['/', '›']) {
        return false;
    }
    let filter = filter.replace(" › ", "/");
    let mut path = label;
    let mut above = sample.owner(index);
    for _ in 0..8 {
        let Some(edge) = above else { break };
        let from = u32::try_from(edge.from()).unwrap_or(0);
        path = format!("{}/{path}", sample.texts.label(sample.process(from)));
        above = sample.owner(from);
    }
    contains(&path, &filter)
}

fn is_in_work(sample: &Sample, index: u32, filter: &str) -> bool {
    let process = sample.process(index);
    let work = super::words::work(&super::summary::word(process.work()));
    contains(work, filter)
        || process.thread().is_some_and(|thread| contains(&sample.texts.short(thread), filter))
        || contains(&process.site().to_string(), filter)
        || sample.error_of(sample.key(index)).is_some_and(|error| contains(error, filter))
}

/// `filter` is in lower case.
fn contains(text: &str, filter: &str) -> bool {
    text.to_lowercase().contains(filter)
}

/// A row before its texts are made.
struct Node<'a> {
    kind: Kind<'a>,
    depth: usize,
    /// The rows below it.
    below: Range<usize>,
    expanded: Option<bool>,
}

enum Kind<'a> {
    Process(u32),
    /// A process that has its row elsewhere, and the parent that this one is below.
    Reference(u32, u32),
    Fold {
        key: String,
        family: Family<'a, u32>,
        link: Link,
        shown: usize,
        parent: u32,
    },
    Next {
        key: String,
        count: usize,
        pages: usize,
        parent: u32,
    },
}

struct Planner<'a> {
    sample: &'a Sample,
    query: &'a Query,
    filter: &'a Filter,
    /// Processes that are not folded, and for which a part of the budget is kept.
    is_protected: Vec<bool>,
    reserved: usize,
    nodes: Vec<Node<'a>>,
    hidden: usize,
    top: u32,
}

impl<'a> Planner<'a> {
    fn new(sample: &'a Sample, query: &'a Query, filter: &'a Filter, top: u32) -> Self {
        let mut is_protected = sample.marks.is_protected.clone();
        // What the query opens must be reached.
        for &key in &query.opened {
            let mut above = sample.index_of(key);
            while let Some(index) = above.filter(|&index| !is_protected[index as usize]) {
                is_protected[index as usize] = true;
                above = sample.owner(index).map(|edge| u32::try_from(edge.from()).unwrap_or(0));
            }
        }
        let protected = is_protected.iter().filter(|&&is_protected| is_protected).count();
        let opened: usize = query.folds.values().map(|pages| pages * PAGE).sum();
        let reserved = (protected + opened + query.opened.len() * PAGE).min(BUDGET * 4 / 5);
        Self { sample, query, filter, is_protected, reserved, nodes: Vec::new(), hidden: 0, top }
    }

    /// The rows, in the order of the tree, and the number of processes that are hidden.
    fn plan(mut self) -> (Vec<Row>, usize) {
        self.nodes.push(Node {
            kind: Kind::Process(self.top),
            depth: 0,
            below: 0..0,
            expanded: None,
        });
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            if let Kind::Process(process) = node.kind {
                let (first, depth) = (self.nodes.len(), node.depth + 1);
                let has_more = self.expand(process, depth);
                self.nodes[next].below = first..self.nodes.len();
                self.nodes[next].expanded = has_more.then_some(self.nodes.len() > first);
            }
            next += 1;
        }
        let mut rows = Vec::with_capacity(self.nodes.len());
        let mut stack = vec![0];
        while let Some(position) = stack.pop() {
            let node = &self.nodes[position];
            stack.extend(node.below.clone().rev());
            rows.push(self.row(node));
        }
        (rows, self.hidden)
    }

    /// Adds the rows below a process: first those that it closes, then those that it only waits for, then references.
    /// Returns whether there is anything below it.
    fn expand(&mut self, process: u32, depth: usize) -> bool {
        let (sample, key) = (self.sample, self.sample.key(process));
        let shown = sample.tree.children(process).iter().copied();
        let (mut closed, mut waited): (Vec<_>, Vec<_>) = shown
            .filter(|&child| self.filter.shows(child))
            .filter_map(|child| Some((child, sample.owner(child)?.kind())))
            .partition(|(_, link)| closes(*link));
        let is_reference = |edge: &procession::Edge| {
            let is_owner = |owner: procession::Edge| owner.from() == process as usize;
            let to = u32::try_from(edge.to()).unwrap_or(0);
            closes(edge.kind()) && !sample.owner(to).is_some_and(is_owner)
        };
        let references: Vec<(u32, Link)> = sample
            .edges_of(process)
            .filter(is_reference)
            .map(|edge| (u32::try_from(edge.to()).unwrap_or(0), edge.kind()))
            .filter(|(to, _)| self.filter.shows(*to))
            .collect();
        let has_any = !closed.is_empty() || !waited.is_empty() || !references.is_empty();
        let is_opened = self.query.opened.contains(&key);
        if self.query.closed.contains(&key) {
            // Collapsed on purpose; the viewer knows.
            return has_any;
        }
        self.add_all(std::mem::take(&mut closed), false, process, depth, is_opened);
        self.add_all(std::mem::take(&mut waited), false, process, depth, is_opened);
        self.add_all(references, true, process, depth, is_opened);
        has_any
    }

    fn add_all(
        &mut self,
        targets: Vec<(u32, Link)>,
        references: bool,
        parent: u32,
        depth: usize,
        is_opened: bool,
    ) {
        let sample = self.sample;
        let is_protected = |child: u32| self.is_protected[child as usize] && !references;
        let member = |(child, _): (u32, Link)| {
            let blocks = sample.marks.blocks[child as usize].is_some();
            Member::new(sample.process(child), is_protected(child), blocks)
        };
        for part in fold(&targets, member) {
            match part {
                Part::One((child, _)) if references => {
                    let node = Kind::Reference(child, parent);
                    self.add(node, depth, is_opened);
                }
                Part::One((child, _)) => {
                    let forced = is_opened || self.is_protected[child as usize];
                    self.add(Kind::Process(child), depth, forced);
                }
                Part::Fold(family) => {
                    let link = family.members[0].1;
                    let key = fold_key(sample.key(parent), link, references, family.stem, sample);
                    let members = family.members.into_iter().map(|(child, _)| child).collect();
                    let family = Family { stem: family.stem, members, counts: family.counts };
                    self.add_fold(key, family, link, references, parent, depth);
                }
            }
        }
    }

    fn add_fold(
        &mut self,
        key: String,
        family: Family<'a, u32>,
        link: Link,
        references: bool,
        parent: u32,
        depth: usize,
    ) {
        let pages = self.query.folds.get(&key).copied().unwrap_or(0);
        let shown = (pages * PAGE).min(family.members.len());
        let (members, left) = (family.members[..shown].to_vec(), family.members.len() - shown);
        let fold = Kind::Fold { key: key.clone(), family, link, shown, parent };
        if !self.add(fold, depth, pages > 0) {
            return;
        }
        for member in members {
            match references {
                true => self.add(Kind::Reference(member, parent), depth, true),
                false => self.add(Kind::Process(member), depth, true),
            };
        }
        if pages > 0 && left > 0 && Query::has_next_page(pages) {
            self.add(Kind::Next { key, count: left, pages, parent }, depth, true);
        }
    }

    /// Adds a row, if the budget allows it.
    fn add(&mut self, kind: Kind<'a>, depth: usize, is_forced: bool) -> bool {
        let kept = if is_forced { 0 } else { self.reserved };
        if self.nodes.len() + kept < BUDGET {
            self.reserved -= usize::from(is_forced && self.reserved > 0);
            self.nodes.push(Node { kind, depth, below: 0..0, expanded: None });
            return true;
        }
        match kind {
            Kind::Process(process) => self.hidden += self.size(&[process]),
            Kind::Fold { family, .. } => self.hidden += self.size(&family.members),
            Kind::Reference(..) | Kind::Next { .. } => {}
        }
        false
    }

    /// The number of processes that match, at and below these.
    fn size(&self, tops: &[u32]) -> usize {
        let (mut size, mut below) = (0, tops.to_vec());
        while let Some(process) = below.pop() {
            size += usize::from(self.filter.seen[process as usize] == Seen::Matches);
            below.extend_from_slice(self.sample.tree.children(process));
        }
        size
    }

    fn row(&self, node: &Node<'_>) -> Row {
        let (sample, depth) = (self.sample, node.depth);
        match &node.kind {
            Kind::Process(process) => {
                let mut row = process_row(sample, *process, depth);
                if let Content::Process(content) = &mut row.content {
                    content.expanded = node.expanded;
                    content.dimmed =
                        self.filter.is_on && self.filter.seen[*process as usize] == Seen::Above;
                }
                row
            }
            Kind::Reference(process, parent) => {
                let (from, to) = (sample.key(*parent), sample.key(*process));
                let see = sample
                    .owner(*process)
                    .map_or_else(String::new, |edge| sample.path(edge.from(), " › "));
                let label = sample.texts.label(sample.process(*process));
                let reference = Reference { to, label, see };
                let key = Key::Other(format!("r{from}.{to}"));
                Row { key, parent: Some(from), depth, content: Content::Reference { reference } }
            }
            Kind::Fold { key, family, link, shown, parent } => {
                let fold = Fold { shown: *shown, ..fold_content(sample, family, *link) };
                let (key, parent) = (Key::Other(key.clone()), Some(sample.key(*parent)));
                Row { key, parent, depth, content: Content::Fold { fold } }
            }
            Kind::Next { key, count, pages, parent } => {
                let next = Next { fold: key.clone(), count: *count, pages: *pages };
                let (key, parent) = (Key::Other(format!("next.{key}")), Some(sample.key(*parent)));
                Row { key, parent, depth, content: Content::Next { next } }
            }
        }
    }
}

/// The processes that match, sorted.
fn flat(sample: &Sample, filter: &Filter, column: Column, is_reversed: bool) -> (Vec<Row>, usize) {
    let place = |index: u32| -> (u64, String) {
        let process = sample.process(index);
        match column {
            Column::Name => (0, sample.texts.label(process).to_lowercase()),
            Column::Phase => (phase_rank(process), String::new()),
            Column::For => {
                let millis = process.closing_for().map_or(0, |age| age.as_millis() as u64 + 1);
                (u64::MAX - millis, String::new())
            }
            Column::Open => (u64::MAX - sample.edges_of(index).len() as u64, String::new()),
            Column::Tree => (0, String::new()),
        }
    };
    // Ties are broken by key, in either direction.
    let in_order = |one: &((u64, String), u64, u32), other: &((u64, String), u64, u32)| {
        let by_column = one.0.cmp(&other.0);
        let by_column = if is_reversed { by_column.reverse() } else { by_column };
        by_column.then(one.1.cmp(&other.1))
    };
    // Only the first ones are kept, because the places of all processes would take more memory than the sample.
    let mut first = Vec::with_capacity(2 * BUDGET);
    for (index, _) in (0..).zip(&filter.seen).filter(|(_, seen)| **seen == Seen::Matches) {
        first.push((place(index), sample.key(index), index));
        if first.len() == 2 * BUDGET {
            first.select_nth_unstable_by(BUDGET, in_order);
            first.truncate(BUDGET);
        }
    }
    first.sort_unstable_by(in_order);
    first.truncate(BUDGET);
    let hidden = filter.matches - first.len();
    let rows = first.into_iter().map(|(_, _, index)| {
        let mut row = process_row(sample, index, 0);
        if let Content::Process(content) = &mut row.content {
            content.who = Some(sample.path(index as usize, " › "));
        }
        row
    });
    (rows.collect(), hidden)
}

/// Aborting, Closing, Running, Closed.
fn phase_rank(process: procession::ProcessInfo<'_>) -> u64 {
    match (process.phase(), process.is_aborting()) {
        (Phase::Closing, true) => 0,
        (Phase::Closing, false) => 1,
        (Phase::Running, _) => 2,
        (Phase::Closed, _) => 3,
    }
}
