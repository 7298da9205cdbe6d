//! The rows of a picture: the tree of processes in preorder, in which what does not fit is folded.
//!
//! # Invariants
//!
//! - R1. Each process has a row, or is a member of exactly one fold. *Because* the tree has each process once
//!   ([`Tree`]), a hidden process is collected by the fold of its nearest shown ancestor, and that walk passes it once.
//! - R2. There are at most `limit` rows, if `limit` is at least 2. *Because* [`Plan::used`] counts a shown process that
//!   has children twice, once for the fold that may be below it, and nothing is shown that would exceed the limit.
//!
//! Nothing recurses over the tree.

use std::cmp::Reverse;
use std::collections::VecDeque;

use procession::support::fold::{Member, Part, State, Stem, fold};
use procession::support::text::Count;

use super::critical::Span;
use super::recording::{Life, Recording};
use super::segments::Bounds;

/// A row of a picture.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) content: Content,
    /// The number of shown processes above it.
    pub(crate) depth: usize,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Process(u32),
    /// Processes without rows of their own.
    Fold {
        /// `98 × session`
        label: String,
        members: Vec<u32>,
    },
}

/// Each process once, below its first parent; siblings by the time when they were Closed, the latest first.
pub(crate) struct Tree {
    pub(crate) children: Vec<Vec<u32>>,
}

impl Tree {
    pub(crate) fn of(recording: &Recording) -> Self {
        let count = recording.lives.len();
        let mut children = vec![Vec::new(); count];
        for (index, life) in (0..).zip(&recording.lives).skip(1) {
            let parent = life.parent().filter(|parent| (*parent as usize) < count).unwrap_or(0);
            children[parent as usize].push(index);
        }
        let mut tree = Self { children };
        tree.break_rings(recording);
        for siblings in &mut tree.children {
            siblings.sort_by_cached_key(|&process| {
                (Reverse(end_of(recording.life(process), recording.until)), process)
            });
        }
        tree
    }

    /// Processes that the root does not lead to, such as two that close each other, are moved below the root.
    fn break_rings(&mut self, recording: &Recording) {
        let mut reached = vec![false; self.children.len()];
        self.reach(0, &mut reached);
        for process in 1..self.children.len() {
            if !reached[process] {
                let index = process as u32;
                // It has a parent, because the others are below the root.
                if let Some(parent) = recording.life(index).parent() {
                    self.children[parent as usize].retain(|child| *child != index);
                }
                self.children[0].push(index);
                self.reach(index, &mut reached);
            }
        }
    }

    fn reach(&self, from: u32, reached: &mut [bool]) {
        let mut next = vec![from];
        while let Some(process) = next.pop() {
            if !std::mem::replace(&mut reached[process as usize], true) {
                next.extend(&self.children[process as usize]);
            }
        }
    }
}

/// When it was Closed; a process that is not counts as the latest.
fn end_of(life: &Life, until: u64) -> u64 {
    match life.is_closed() {
        true => Bounds::of(life, until).map_or(0, |bounds| bounds.closed),
        false => u64::MAX,
    }
}

/// All processes, in preorder.
pub(crate) fn all(tree: &Tree) -> Vec<Row> {
    let mut rows = Vec::with_capacity(tree.children.len());
    let mut next = vec![(0, 0)];
    while let Some((process, depth)) = next.pop() {
        rows.push(Row { content: Content::Process(process), depth });
        next.extend(tree.children[process as usize].iter().rev().map(|&child| (child, depth + 1)));
    }
    rows
}

/// At most `limit` rows. Large families are folded even if there is room for them, because many similar rows hide the
/// others.
///
/// The processes on the critical path are shown first, the longest first; then those that are open, have failed, were
/// aborted, or were waited for by an explicit edge.
pub(crate) fn folded(recording: &Recording, tree: &Tree, spans: &[Span], limit: usize) -> Vec<Row> {
    let mut plan = Plan {
        recording,
        tree,
        shown: vec![false; recording.lives.len()],
        is_expanded: vec![false; recording.lives.len()],
        used: 0,
        limit,
    };
    plan.show(0);
    plan.protect(spans);
    plan.expand();
    plan.rows()
}

struct Plan<'a> {
    recording: &'a Recording,
    tree: &'a Tree,
    shown: Vec<bool>,
    /// Its children are shown or in families; otherwise, those that are not shown are one fold.
    is_expanded: Vec<bool>,
    /// The number of rows that the plan may have (R2).
    used: usize,
    limit: usize,
}

impl<'a> Plan<'a> {
    fn children(&self, process: u32) -> &'a [u32] {
        &self.tree.children[process as usize]
    }

    /// The rows for a process, and for the fold below it.
    fn cost(&self, process: u32) -> usize {
        1 + usize::from(!self.children(process).is_empty())
    }

    fn show(&mut self, process: u32) {
        if !std::mem::replace(&mut self.shown[process as usize], true) {
            self.used += self.cost(process);
        }
    }

    /// Shows the processes that should not be folded, with those above them as far as three quarters of the rows last.
    fn protect(&mut self, spans: &[Span]) {
        let recording = self.recording;
        let mut critical: Vec<&Span> = spans.iter().collect();
        critical.sort_by_key(|span| Reverse(span.to - span.from));
        let indices = || (0..).zip(&recording.lives);
        let all = critical
            .into_iter()
            .map(|span| span.process)
            .chain(indices().filter(|(_, life)| is_open(life)).map(|(index, _)| index))
            .chain(indices().filter(|(_, life)| life.has_failed).map(|(index, _)| index))
            .chain(indices().filter(|(_, life)| life.is_aborted()).map(|(index, _)| index))
            .chain(
                recording.edges.iter().filter(|edge| edge.kind.is_explicit()).map(|edge| edge.to),
            );
        let budget = self.limit / 4 * 3;
        let parents = self.parents();
        for process in all {
            if self.used >= budget {
                break;
            }
            let mut missing = Vec::new();
            let (mut cost, mut next) = (0, Some(process));
            while let Some(process) = next.filter(|process| !self.shown[*process as usize]) {
                cost += self.cost(process);
                if self.used + cost > budget {
                    missing.truncate(1); // the process itself
                    break;
                }
                missing.push(process);
                next = parents[process as usize];
            }
            missing.into_iter().for_each(|process| self.show(process));
        }
    }

    /// The parents in the tree.
    fn parents(&self) -> Vec<Option<u32>> {
        let mut parents = vec![None; self.tree.children.len()];
        for (parent, children) in (0..).zip(&self.tree.children) {
            children.iter().for_each(|&child| parents[child as usize] = Some(parent));
        }
        parents
    }

    /// Shows the children of shown processes, level by level, as long as there is room.
    fn expand(&mut self) {
        let mut next: VecDeque<u32> =
            (0..).zip(&self.shown).filter(|(_, shown)| **shown).map(|(index, _)| index).collect();
        while let Some(process) = next.pop_front() {
            let parts = self.parts(process);
            let new: Vec<u32> = parts
                .iter()
                .filter_map(|part| match part {
                    Part::One(child) if !self.shown[*child as usize] => Some(*child),
                    _ => None,
                })
                .collect();
            let folds = parts.iter().filter(|part| matches!(part, Part::Fold(_))).count();
            let rows: usize = new.iter().map(|&child| self.cost(child)).sum();
            // One row was counted for the fold below it.
            let used = self.used + rows + folds - usize::from(!parts.is_empty());
            if used <= self.limit {
                self.is_expanded[process as usize] = true;
                self.used = used;
                for child in new {
                    self.shown[child as usize] = true;
                    next.push_back(child);
                }
            }
        }
    }

    /// The children, in which large families are folded.
    fn parts(&self, process: u32) -> Vec<Part<'a, u32>> {
        let member = |child: u32| {
            let life = self.recording.life(child);
            member(life, self.recording.until, self.shown[child as usize])
        };
        fold(self.children(process), member)
    }

    fn rows(&self) -> Vec<Row> {
        enum Next {
            Process(u32, usize),
            Fold(Option<String>, Vec<u32>, usize),
        }
        let mut rows = Vec::new();
        let mut next = vec![Next::Process(0, 0)];
        while let Some(item) = next.pop() {
            match item {
                Next::Process(process, depth) => {
                    rows.push(Row { content: Content::Process(process), depth });
                    let below = next.len();
                    if self.is_expanded[process as usize] {
                        next.extend(self.parts(process).into_iter().map(|part| match part {
                            Part::One(child) => Next::Process(child, depth + 1),
                            Part::Fold(family) => {
                                let label = family_label(family.stem, family.members.len());
                                Next::Fold(Some(label), family.members, depth + 1)
                            }
                        }));
                    } else {
                        let children = self.children(process).iter();
                        let (shown, hidden): (Vec<u32>, Vec<u32>) =
                            children.partition(|child| self.shown[**child as usize]);
                        next.extend(shown.into_iter().map(|child| Next::Process(child, depth + 1)));
                        if !hidden.is_empty() {
                            next.push(Next::Fold(None, hidden, depth + 1));
                        }
                    }
                    next[below..].reverse();
                }
                Next::Fold(label, tops, depth) => {
                    let (mut members, mut shown) = (Vec::new(), Vec::new());
                    let (count, mut below) = (tops.len(), tops);
                    while let Some(process) = below.pop() {
                        match self.shown[process as usize] {
                            true => shown.push(Next::Process(process, depth)),
                            false => {
                                members.push(process);
                                below.extend(self.children(process));
                            }
                        }
                    }
                    let total = Count(members.len());
                    let label = match label {
                        Some(label) if members.len() > count => {
                            format!("{label} and below, {total} in all")
                        }
                        Some(label) => label,
                        None => format!("{total} more"),
                    };
                    rows.push(Row { content: Content::Fold { label, members }, depth });
                    next.extend(shown);
                }
            }
        }
        rows
    }
}

fn is_open(life: &Life) -> bool {
    let has_begun = Bounds::of(life, 0).is_some();
    has_begun && !life.is_closed()
}

fn family_label(stem: Stem<'_>, count: usize) -> String {
    let count = Count(count);
    match stem {
        Stem::Name(stem) => format!("{count} × {stem}"),
        Stem::Site(site) => format!("{count} × {site}"),
    }
}

fn member(life: &Life, until: u64, protected: bool) -> Member<'_> {
    let bounds = Bounds::of(life, until);
    let state = match (&bounds, life.is_closed()) {
        (_, true) if life.has_failed => State::Failed,
        (_, true) => State::Closed,
        (Some(_), false) if life.is_aborted() => State::Aborting,
        (Some(_), false) => State::Closing,
        (None, false) => State::Running,
    };
    let closing_for =
        bounds.map(|bounds| std::time::Duration::from_micros(bounds.closed - bounds.closing));
    Member {
        stem: Stem::new(life.name.as_deref(), life.site),
        protected,
        blocks: false,
        failed: life.has_failed,
        state,
        closing_for,
        work: life.work,
        site: life.site,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::critical::{Waits, critical_path};
    use super::super::recording::{Edge, EdgeKind, Index, Recording};
    use super::super::testing::{Scene, any_recording, app};
    use super::{Content, Row, Tree, all, folded};

    fn rows(recording: &Recording, limit: usize) -> Vec<Row> {
        let spans = critical_path(recording, &Waits::of(recording)).spans;
        folded(recording, &Tree::of(recording), &spans, limit)
    }

    /// Each process once (R1).
    fn check(recording: &Recording, rows: &[Row]) {
        let mut seen = vec![0; recording.lives.len()];
        for row in rows {
            match &row.content {
                Content::Process(process) => seen[*process as usize] += 1,
                Content::Fold { members, .. } => {
                    assert!(!members.is_empty());
                    members.iter().for_each(|&member| seen[member as usize] += 1);
                }
            }
        }
        assert!(seen.iter().all(|&times| times == 1), "{seen:?}");
    }

    fn drawn(recording: &Recording, rows: &[Row]) -> Vec<String> {
        let label = |row: &Row| match &row.content {
            Content::Process(process) => recording.life(*process).label(),
            Content::Fold { label, .. } => format!("… {label}"),
        };
        rows.iter().map(|row| " ".repeat(row.depth) + &label(row)).collect()
    }

    #[test]
    fn the_critical_child_is_the_first_of_its_family() {
        let recording = app().recording;
        let rows = rows(&recording, 200);
        check(&recording, &rows);
        let expected = [
            "app",
            " db",
            "  cache",
            "  writer",
            " log",
            " server",
            "  admin",
            "  health",
            "  metrics",
            "  tls",
            "  accept",
            " http",
            "  session-97",
            "  … 97 × session",
        ];
        assert_eq!(drawn(&recording, &rows), expected);
    }

    #[test]
    fn important_members_are_not_folded() {
        let mut scene = Scene::new("app");
        for number in 0..1_000_u64 {
            let child = scene.child(0, &format!("c-{number}"));
            scene.closed(child, 0, 10);
        }
        scene.closed(0, 0, 10);
        scene.lives()[17].has_failed = true;
        scene.lives()[18].has_failed = true;
        scene.recording.edges.push(Edge { from: 3, to: 500, kind: EdgeKind::WaitFor });
        let rows = rows(&scene.recording, 200);
        check(&scene.recording, &rows);
        // The critical one, the failed ones, and the one that is waited for.
        let expected = ["app", " c-0", " c-16", " c-17", " c-499", " … 996 × c"];
        assert_eq!(drawn(&scene.recording, &rows), expected);
    }

    #[test]
    fn a_deep_chain_shows_its_end() {
        let mut scene = Scene::new("app");
        let mut last = 0;
        for number in 0..10_000 {
            last = scene.child(last, &format!("link {number}"));
            scene.closed(last, 0, 1_000_000 - number);
        }
        scene.closed(0, 0, 2_000_000);
        let rows = rows(&scene.recording, 200);
        check(&scene.recording, &rows);
        assert!(rows.len() <= 200);
        let shown = drawn(&scene.recording, &rows);
        assert!(shown.iter().any(|row| row.contains("link 9999")), "{shown:?}");
        assert_eq!(all(&Tree::of(&scene.recording)).len(), 10_001);
    }

    #[test]
    fn many_names_share_the_rows() {
        let mut scene = Scene::new("app");
        for letter in 'a'..='z' {
            let parent = scene.child(0, &letter.to_string());
            for other in 'a'..='z' {
                let child = scene.child(parent, &format!("{letter}{other}"));
                scene.closed(child, 0, 10);
            }
            scene.closed(parent, 0, 10);
        }
        scene.closed(0, 0, 10);
        let rows = rows(&scene.recording, 200);
        check(&scene.recording, &rows);
        assert!((150..=200).contains(&rows.len()), "{}", rows.len());
    }

    #[test]
    fn rings_are_below_the_root() {
        let mut scene = Scene::new("app");
        let one = scene.child(0, "one");
        let two = scene.child(one, "two");
        scene.lives()[one as usize].parent = Some(Index::new(two));
        let rows = rows(&scene.recording, 200);
        check(&scene.recording, &rows);
        assert_eq!(drawn(&scene.recording, &rows), ["app", " one", "  two"]);
    }

    proptest! {
        #![proptest_config(super::super::testing::cases())]

        /// R1 and R2.
        #[test]
        fn each_process_has_one_place(recording in any_recording(), limit in 2_usize..50) {
            let rows = rows(&recording, limit);
            check(&recording, &rows);
            prop_assert!(rows.len() <= limit, "{} rows, but the limit is {}", rows.len(), limit);
            check(&recording, &all(&Tree::of(&recording)));
        }
    }
}
