//! The survey: everything that a process closes or waits for, as a [`Snapshot`].
//!
//! It locks one node at a time, and reads the fields of a node in one locked section, so they are consistent with each
//! other (except for the work, which is published without the lock). Edges are read in chunks of 32 places, with the
//! lock released in between, so a closing thread never waits for long. Children keep their places while others come and
//! go, and while a walk has taken them, so no child is read twice.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::iter;
use std::sync::Arc;

use super::contents::Contents;
use super::ended::fetch_one;
use super::node::{Children, Down, Inner, More, Node, TeardownStage};
use super::stable_list::StableList;
use crate::value::stamp::Stamp;
use crate::value::{Age, EdgeList, Facts, Index, Link, Phase, ProcessList, Rare, Snapshot, Work};

/// The number of places of a list that are read in one locked section.
const CHUNK: usize = 32;

/// The facts about the work of processes that only the layers above know.
pub(crate) trait Workplaces<C: Contents> {
    /// The name of the thread that runs blocking code of the process.
    fn thread_of(&self, node: &Arc<Node<C>>, work: Work) -> Option<Arc<str>>;

    /// The number of tasks that a teardown in the queue of the library's threads waits for, because these threads have
    /// reached their limit; otherwise 0.
    fn tasks_ahead(&self) -> usize;
}

/// Takes a snapshot of the process and of everything below it.
pub(crate) fn survey<C: Contents>(
    root: &Arc<Node<C>>,
    workplaces: &impl Workplaces<C>,
) -> Snapshot {
    let mut above = root.path_above(usize::MAX);
    above.reverse();
    let mut survey = Survey {
        now: Stamp::now(),
        workplaces,
        open: VecDeque::new(),
        shared: HashMap::new(),
        processes: ProcessList::default(),
        edges: EdgeList::default(),
        teardowns_left: Vec::new(),
        has_late_parents: false,
        root: Arc::as_ptr(root),
    };
    survey.find(root, None, aborted_above(root));
    while let Some(found) = survey.open.pop_front() {
        survey.look_below(found);
    }
    if survey.has_late_parents {
        survey.processes.find_first_parents(&survey.edges);
    }
    let above = above.iter().map(|segment| segment.to_string().into()).collect();
    Snapshot::new(above, survey.processes, survey.edges, workplaces.tasks_ahead())
        .with_teardowns_left(survey.teardowns_left)
}

/// Reads the process alone, and counts the edges along which it waits for open processes, by kind.
pub(crate) fn glance<C: Contents>(
    node: &Arc<Node<C>>,
    workplaces: &impl Workplaces<C>,
) -> (Facts, BTreeMap<Link, usize>) {
    let aborted_at = aborted_above(node);
    let facts = read(node, &node.inner.lock(), Stamp::now(), None, aborted_at, workplaces);
    let mut counts = BTreeMap::new();
    for_each_edge(node, |_, kind| {
        if kind != Link::NoWaitChild {
            *counts.entry(kind).or_default() += 1;
        }
    });
    (facts, counts)
}

/// Calls `visit` for each edge to a process that is not Closed, with no lock held.
fn for_each_edge<C: Contents>(node: &Arc<Node<C>>, mut visit: impl FnMut(&Arc<Node<C>>, Link)) {
    let mut cursors = Cursors::default();
    let mut below = Vec::new();
    let mut is_done = false;
    while !is_done {
        let inner = node.inner.lock();
        is_done = inner.edges_from(node.phase(), &mut cursors, &mut below);
        drop(inner);
        for (lower, kind) in below.drain(..) {
            if lower.phase() != Phase::Closed {
                visit(&lower, kind);
            }
        }
    }
}

/// Reads the facts about a process whose node is locked.
#[inline(always)]
fn read<C: Contents>(
    node: &Arc<Node<C>>,
    inner: &Inner<C>,
    now: Stamp,
    first_parent: Option<u32>,
    aborted_at: Option<Stamp>,
    workplaces: &impl Workplaces<C>,
) -> Facts {
    let (work, work_since) = node.work.get_since();
    let thread = workplaces.thread_of(node, work.kind());
    Facts {
        site: node.site,
        name: node.name().cloned(),
        rare: match inner.more.is_none() && thread.is_none() {
            true => None,
            false => inner.rare_facts(thread, now).boxed(),
        },
        closing_for: Age::between(inner.closing_since(), now),
        aborting_for: Age::between(aborted_at, now),
        work_for: Age::between(work_since, now),
        first_parent: first_parent.map_or(Index::NONE, Index::from),
        phase: node.phase(),
        aborting: node.is_aborting(),
        work,
        reason: inner.reason,
    }
}

/// The time of the abort that the process is part of. It is recorded at the process or at the nearest aborting process
/// above it that was aborted directly.
fn aborted_above<C: Contents>(node: &Arc<Node<C>>) -> Option<Stamp> {
    let aborting = iter::once(node.clone()).chain(node.first_parents());
    let mut aborting = aborting.take_while(|node| node.is_aborting());
    aborting.find_map(|node| node.inner.lock().extras_ref()?.aborted_at)
}

struct Survey<'a, C: Contents, W> {
    now: Stamp,
    workplaces: &'a W,
    /// The processes whose edges have yet to be read.
    open: VecDeque<Found<C>>,
    /// The processes to which several edges may lead. They are kept alive, so that no other node gets the same address.
    shared: HashMap<*const Node<C>, (Arc<Node<C>>, u32)>,
    processes: ProcessList,
    edges: EdgeList,
    /// The processes whose teardowns have not left their nodes, in the order in which they were found.
    teardowns_left: Vec<u32>,
    /// A process was found along a wait before it was found below one of its parents.
    has_late_parents: bool,
    /// It may be found again below itself, on a ring.
    root: *const Node<C>,
}

struct Found<C: Contents> {
    node: Arc<Node<C>>,
    index: u32,
    aborted_at: Option<Stamp>,
    /// The number of children that the process waited for when its own fields were read.
    children: usize,
}

/// The next place to read in each list of edges.
#[derive(Default)]
struct Cursors {
    children: u32,
    no_wait_children: u32,
    downs: [u32; 3],
    shown_waits: u32,
}

impl<C: Contents, W: Workplaces<C>> Survey<'_, C, W> {
    /// Adds a process, unless it was added before. Returns its index.
    fn find(
        &mut self,
        node: &Arc<Node<C>>,
        first_parent: Option<u32>,
        aborted_above: Option<Stamp>,
    ) -> u32 {
        // A program has no room for more processes than a u32 can count.
        let index = self.processes.len() as u32;
        let inner = node.inner.lock();
        let is_root = Arc::as_ptr(node) == self.root;
        if first_parent.is_none() || inner.has_further_ups() || is_root {
            if let Some((_, known)) = self.shared.get(&Arc::as_ptr(node)) {
                let known = *known;
                let first = self.processes.first_parent(known);
                let is_late = first_parent.is_some() && first.get().is_none();
                self.has_late_parents |= is_late && known > 0;
                return known;
            }
            self.shared.insert(Arc::as_ptr(node), (node.clone(), index));
        }
        let own_abort = inner.extras_ref().and_then(|extras| extras.aborted_at);
        let aborted_at = own_abort.or(aborted_above).filter(|_| node.is_aborting());
        let facts = read(node, &inner, self.now, first_parent, aborted_at, self.workplaces);
        // With the lock held, because that is faster, and takes no longer than a comparison of two names.
        self.processes.push(node.id(), facts);
        let has_edges = inner.more.as_deref().is_some_and(More::may_have_edges);
        let children = inner.waited_children().map_or(0, Children::<C>::len);
        if inner.teardown == TeardownStage::Set {
            self.teardowns_left.push(index);
        }
        drop(inner);
        if has_edges {
            self.open.push_back(Found { node: node.clone(), index, aborted_at, children });
        }
        index
    }

    /// Reads the edges of a process.
    fn look_below(&mut self, found: Found<C>) {
        let Found { node, index, aborted_at, children } = found;
        self.processes.reserve(children);
        for_each_edge(&node, |lower, kind| {
            let is_child = matches!(kind, Link::Child | Link::NoWaitChild);
            let aborted_above = aborted_at.filter(|_| is_child);
            let to = match Arc::ptr_eq(lower, &node) {
                true => index,
                false => self.find(lower, is_child.then_some(index), aborted_above),
            };
            self.edges.push(index, kind, to);
        });
    }
}

impl<C: Contents> Inner<C> {
    /// The facts that few processes need.
    fn rare_facts(&self, thread: Option<Arc<str>>, now: Stamp) -> Rare {
        let extras = self.extras_ref();
        let lists = [self.waited_children(), self.no_wait_children()];
        let limit = extras.and_then(|extras| extras.limit.as_ref());
        Rare {
            reason: extras.and_then(|extras| extras.reason.clone()),
            failed: extras.is_some_and(|extras| !extras.failures.is_empty()),
            closing_children: lists.into_iter().flatten().any(Children::<C>::is_taken),
            thread,
            held_slots: limit.map_or_else(Vec::new, |limit| limit.held(now)),
            failure_hook_for: self.calling_hooks_since().map(|since| now.since(since)),
        }
    }

    /// Can the process be found along other edges than the one from its first parent?
    fn has_further_ups(&self) -> bool {
        self.parent.is_none()
            || self.extras_ref().is_some_and(|extras| {
                !extras.parents.is_empty()
                    || !extras.dependents.is_empty()
                    || extras.limit.is_some()
            })
    }

    /// Adds the next edges of each kind to `below`; `true` if there are no more.
    fn edges_from(
        &self,
        phase: Phase,
        cursors: &mut Cursors,
        below: &mut Vec<(Arc<Node<C>>, Link)>,
    ) -> bool {
        let Some(more) = &self.more else { return true };
        let mut is_done = add_children(&more.children, &mut cursors.children, Link::Child, below);
        let Some(extras) = &more.extras else { return is_done };
        if let Some(children) = &extras.no_wait_children {
            let cursor = &mut cursors.no_wait_children;
            is_done &= add_children(children, cursor, Link::NoWaitChild, below);
        }
        let downs = [
            (&extras.waits_for, Link::WaitFor),
            (&extras.closes_after, Link::CloseAfter),
            (&extras.blocked_for, Link::Blocked),
        ];
        // A Closing process that waits only for its children has no order left: the edges of `closes_after` that also
        // wait are counted in `other_waits`, and the others matter only until it closes.
        let has_order = phase == Phase::Running || extras.other_waits > 0;
        for ((downs, kind), cursor) in downs.into_iter().zip(&mut cursors.downs) {
            if kind == Link::CloseAfter && !has_order {
                continue;
            }
            is_done &= add(downs, cursor, |down: &Down<C>| {
                below.extend(down.upgrade().map(|lower| (lower, kind)));
            });
        }
        is_done
            & add(&extras.shown_waits, &mut cursors.shown_waits, |(target, kind)| {
                below.extend(target.upgrade().map(|target| (target, *kind)));
            })
    }
}

fn add_children<C: Contents>(
    children: &Children<C>,
    cursor: &mut u32,
    kind: Link,
    below: &mut Vec<(Arc<Node<C>>, Link)>,
) -> bool {
    // Prefetched, because cloning is an atomic read-modify-write, which waits for earlier accesses.
    if let Some((_, chunk)) = children.chunk_from(*cursor, CHUNK) {
        chunk.for_each(fetch_one);
    }
    add(children, cursor, |child| below.push((child.clone(), kind)))
}

/// Calls `visit` for the entries at the next places; `true` if there are no more.
fn add<T>(list: &StableList<T>, cursor: &mut u32, visit: impl FnMut(&T)) -> bool {
    match list.chunk_from(*cursor, CHUNK) {
        Some((next, chunk)) => {
            *cursor = next;
            chunk.for_each(visit);
            false
        }
        None => true,
    }
}
