//! [`Picked`]: the processes that a graph shows, and the edges between them.
//!
//! # Invariants
//!
//! - G1. There are at most [`NODES`] nodes and [`EDGES`] edges, whatever the number of processes. *Because* both lists
//!   end there; what is left out is counted.
//! - G2. Each node but the first has an edge from another node that is shown, so the graph is connected. *Because* a
//!   node is shown only if the node that it was found from is.
//! - G3. The time is linear in the processes and edges below the top. *Because* each process is found once, and each
//!   edge is looked at twice.

use std::collections::HashSet;

use procession::support::fold::{Fold, Member, Part, fold};
use procession::{Edge as Found, Link};

use crate::page::sample::{Sample, closes};

/// The maximum number of nodes.
pub(crate) const NODES: usize = 200;

/// The maximum number of edges.
pub(crate) const EDGES: usize = 1_000;

/// The number of nodes that are kept for the chains of blockers, however far away they are.
const KEPT: usize = NODES / 2;

/// A graph, before it is laid out.
pub(crate) struct Picked<'a> {
    pub(crate) top: u32,
    /// The process that was asked for is the first.
    pub(crate) nodes: Vec<Node<'a>>,
    pub(crate) edges: Vec<Edge>,
    /// The number of nodes if there were no limit.
    pub(crate) total: usize,
    /// The number of edges between nodes that are not shown.
    pub(crate) edges_more: usize,
}

pub(crate) struct Node<'a> {
    pub(crate) content: Content<'a>,
    /// The node that it was found from; its own number for the first.
    pub(crate) from: usize,
    /// The number of edges from the first node.
    pub(crate) depth: usize,
}

pub(crate) enum Content<'a> {
    Process(u32),
    /// Members of a family, as in the table.
    Fold(Fold<'a, u32>, Link),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) link: Link,
    /// It is on the chain of a blocker.
    pub(crate) blocks: bool,
}

/// No node.
const NONE: usize = usize::MAX;

impl<'a> Picked<'a> {
    /// The process with this index, and the nearest of those that it closes or waits for.
    pub(crate) fn new(sample: &'a Sample, top: u32) -> Self {
        let mut search = Search {
            sample,
            nodes: vec![Node { content: Content::Process(top), from: 0, depth: 0 }],
            is_found: vec![false; sample.keys.len()],
        };
        search.is_found[top as usize] = true;
        search.run();
        let nodes = search.nodes;
        let total = nodes.len();
        let shown = nearest(sample, &nodes);
        let mut numbers = vec![NONE; total];
        for (number, &node) in shown.iter().enumerate() {
            numbers[node] = number;
        }
        // The number of each process that is shown, alone or in a fold.
        let mut places = vec![NONE; sample.keys.len()];
        let mut kept = Vec::with_capacity(shown.len());
        for (node, mut content) in nodes.into_iter().enumerate() {
            if numbers[node] == NONE {
                continue;
            }
            match &content.content {
                Content::Process(process) => places[*process as usize] = numbers[node],
                Content::Fold(fold, _) => {
                    fold.members.iter().for_each(|&one| places[one as usize] = numbers[node]);
                }
            }
            content.from = numbers[content.from];
            kept.push(content);
        }
        let (edges, edges_more) = edges(sample, &kept, &places);
        Self { top, nodes: kept, edges, total, edges_more }
    }
}

/// A breadth-first search along all edges, in which families are folded.
struct Search<'a> {
    sample: &'a Sample,
    nodes: Vec<Node<'a>>,
    /// By index of the process.
    is_found: Vec<bool>,
}

impl<'a> Search<'a> {
    fn run(&mut self) {
        let mut next = 0;
        while let Some(node) = self.nodes.get(next) {
            if let Content::Process(process) = node.content {
                let depth = node.depth + 1;
                let edges = self.sample.edges_of(process);
                // What it closes comes first, as in the table.
                for closed in [true, false] {
                    let edges = edges.clone().filter(|edge| closes(edge.kind()) == closed);
                    let new = edges
                        .filter(|edge| !std::mem::replace(&mut self.is_found[edge.to()], true));
                    let targets: Vec<Found> = new.collect();
                    self.add(&targets, next, depth);
                }
            }
            next += 1;
        }
    }

    fn add(&mut self, targets: &[Found], from: usize, depth: usize) {
        let sample = self.sample;
        let member = |edge: Found| {
            let is_protected = sample.marks.is_protected[edge.to()];
            let blocks = sample.marks.blocks[edge.to()].is_some();
            Member::new(sample.process(index(edge.to())), is_protected, blocks)
        };
        for part in fold(targets, member) {
            let content = match part {
                Part::One(edge) => Content::Process(index(edge.to())),
                Part::Fold(family) => {
                    let link = family.members[0].kind();
                    let members = family.members.iter().map(|edge| index(edge.to())).collect();
                    let family = Fold { stem: family.stem, members, counts: family.counts };
                    Content::Fold(family, link)
                }
            };
            self.nodes.push(Node { content, from, depth });
        }
    }
}

/// The nodes that are shown, in the order in which they were found.
fn nearest(sample: &Sample, nodes: &[Node<'_>]) -> Vec<usize> {
    if nodes.len() <= NODES {
        return (0..nodes.len()).collect();
    }
    let mut is_shown = vec![false; nodes.len()];
    is_shown[0] = true;
    let mut count = 1;
    let is_kept = |node: &Node<'_>| match node.content {
        Content::Process(process) => sample.marks.is_protected[process as usize],
        Content::Fold(..) => false,
    };
    let mut path = Vec::new();
    for (limit, only_kept) in [(KEPT, true), (NODES, false)] {
        for (number, _) in nodes.iter().enumerate().filter(|(_, node)| !only_kept || is_kept(node))
        {
            // With the nodes that it was found from.
            path.clear();
            let mut above = number;
            while !is_shown[above] && count + path.len() <= limit {
                path.push(above);
                above = nodes[above].from;
            }
            if count + path.len() <= limit {
                path.iter().for_each(|&shown| is_shown[shown] = true);
                count += path.len();
            }
        }
    }
    (0..nodes.len()).filter(|&number| is_shown[number]).collect()
}

/// The edges between nodes that are shown, and the number of those that are left out. Those that were searched along
/// come first.
fn edges(sample: &Sample, nodes: &[Node<'_>], places: &[usize]) -> (Vec<Edge>, usize) {
    let mut known = HashSet::new();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for (from, node) in nodes.iter().enumerate() {
        let (one, many): ([u32; 1], &[u32]);
        let processes = match &node.content {
            Content::Process(process) => {
                one = [*process];
                &one[..]
            }
            Content::Fold(fold, _) => {
                many = &fold.members;
                many
            }
        };
        for edge in processes.iter().flat_map(|&process| sample.edges_of(process)) {
            let to = places[edge.to()];
            if to == NONE || to == from || !known.insert((from, to, edge.kind())) {
                continue;
            }
            let is_protected = |process: usize| sample.marks.is_protected[process];
            let blocks = is_protected(edge.from()) && is_protected(edge.to());
            let is_first = nodes[to].from == from;
            let edge = Edge { from, to, link: edge.kind(), blocks };
            if is_first { first.push(edge) } else { others.push(edge) }
        }
    }
    let more = (first.len() + others.len()).saturating_sub(EDGES);
    first.extend(others);
    first.truncate(EDGES);
    (first, more)
}

pub(crate) fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(0)
}
