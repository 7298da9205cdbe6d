//! Tests of the events that observers receive: see [`watched`](super::watched).

use std::sync::Arc;

use super::edge_kind::EdgeKind;
use super::edges::{Added, fresh_child, link};
use super::seed::Seed;
use super::testing::{Log, Node};
use super::watched::spread;
use crate::value::{Reason, Site};

fn root() -> Arc<Node> {
    Node::new(Seed::at(Site::caller()), None)
}

fn child(parent: &Arc<Node>) -> Arc<Node> {
    let (child, added) = fresh_child(parent, Seed::at(Site::caller()), None);
    assert!(matches!(added, Added::Open));
    child
}

fn count(log: &Log, word: &str) -> usize {
    log.0.lock().iter().filter(|line| line.ends_with(word)).count()
}

/// Children that a closing walk has taken are given the observer when they are put back (E4).
#[test]
fn children_that_a_walk_has_taken_are_not_forgotten() {
    let (parent, log, other) = (root(), Log::default(), Log::default());
    let children: Vec<_> = (0..100).map(|_| child(&parent)).collect();
    let taken = parent.inner.lock().children(EdgeKind::CHILD).take_all();
    parent.add_observer(log.clone());
    parent.add_observer(other.clone());
    assert!(children.iter().all(|child| !child.phase.is_watched()));
    let mut inner = parent.inner.lock();
    inner.children(EdgeKind::CHILD).put_back(taken);
    assert!(inner.is_spread_pending() && !inner.is_spread_pending());
    drop(inner);
    spread(vec![parent.clone()]);
    drop(parent.close(&Reason::Asked, false));
    assert_eq!((count(&log, "closed"), count(&other, "closed")), (101, 101));
}

/// Whichever of two observers is added first, a process has both, and each receives each event once.
#[test]
fn observers_meet_in_any_order() {
    for outer_first in [false, true] {
        let top = root();
        let mid = child(&top);
        let leaf = child(&mid);
        let (outer, inner) = (Log::default(), Log::default());
        let mut sets = [(&top, &outer), (&mid, &inner)];
        if !outer_first {
            sets.reverse();
        }
        // The second time changes nothing.
        for (node, log) in sets.into_iter().chain(sets) {
            node.add_observer(log.clone());
        }
        drop(leaf.close(&Reason::Asked, false));
        assert_eq!((count(&outer, "closed"), count(&inner, "closed")), (1, 1));
        drop(child(&mid));
        assert_eq!((count(&outer, "made"), count(&inner, "made")), (1, 1));
        drop(top.close(&Reason::Asked, false));
        assert_eq!((count(&outer, "closed"), count(&inner, "closed")), (4, 3));
    }
}

/// Two processes that close each other are each other's first parents.
#[test]
fn a_ring_ends_the_spread() {
    let (one, other, log) = (root(), root(), Log::default());
    for (upper, lower) in [(&one, &other), (&other, &one)] {
        assert!(link(upper, lower, EdgeKind::NO_WAIT_CHILD).is_ok());
    }
    one.add_observer(log.clone());
    drop(other.close(&Reason::Asked, false));
    assert_eq!((count(&log, "closing"), count(&log, "closed")), (2, 2));
}

/// Most processes have no children. With a scope for them, an observer that is added late would take 250 bytes for each
/// process instead of 100.
#[test]
fn a_process_without_children_has_no_scope_for_them() {
    let (top, log) = (root(), Log::default());
    let leaves: Vec<_> = (0..100).map(|_| child(&top)).collect();
    top.add_observer(log.clone());
    let has_scope_below = |node: &Arc<Node>| {
        let inner = node.inner.lock();
        let watch = inner.more.as_deref().and_then(|more| more.watch.as_ref());
        watch.expect("it is watched").below.is_some()
    };
    assert!(has_scope_below(&top) && !leaves.iter().any(has_scope_below));
    // It is made for the first child.
    let _late = child(&leaves[0]);
    assert!(has_scope_below(&leaves[0]));
    assert_eq!(count(&log, "made"), 1);
}

/// A Closed process has no observers, and holds nothing of them (E1).
#[test]
fn the_end_drops_the_observers() {
    let (node, log) = (root(), Log::default());
    node.add_observer(log.clone());
    let leaf = child(&node);
    assert_eq!(Arc::strong_count(&log.0), 3);
    drop(node.close(&Reason::Asked, false));
    node.add_observer(log.clone());
    assert_eq!(Arc::strong_count(&log.0), 1);
    assert!(node.inner.lock().more.is_none() && leaf.inner.lock().more.is_none());
}

/// However a process ends, its observers are notified that it began to close before they are notified of anything that
/// follows, even if it is Closed in the same step.
#[test]
fn the_closing_comes_before_everything_that_follows() {
    let leaf = || Seed::at(Site::caller());
    let torn_down = || Seed { teardown: Some("teardown"), ..leaf() };
    let with_body = || Seed { body: true, ..leaf() };
    let end = ["closing", "closed"];
    let forced = ["closing", "aborting", "closed"];
    let teardown = ["closing", "teardown queued", "teardown ended", "closed"];
    let body = ["closing", "body ended", "closed"];
    for by_parent in [false, true] {
        for (seed, abort, expected) in [
            (leaf(), false, &end[..]),
            (leaf(), true, &forced),
            (torn_down(), false, &teardown),
            (with_body(), false, &body),
        ] {
            let (parent, log) = (root(), Log::default());
            let (node, _added) = fresh_child(&parent, seed, None);
            node.add_observer(log.clone());
            let closed = if by_parent { &parent } else { &node };
            let mut effects = match abort {
                true => closed.abort(&Reason::Asked, None, None).expect("it is Running"),
                false => closed.close(&Reason::Asked, false),
            };
            for due in effects.take_due() {
                drop(due.node.torn_down(None));
            }
            if node.phase.has_body() {
                drop(node.body_ended(None, None));
            }
            let lines: Vec<_> = expected.iter().map(|word| format!("? {word}")).collect();
            assert_eq!(*log.0.lock(), lines, "closed by its parent: {by_parent}");
        }
    }
}
