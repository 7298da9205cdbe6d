//! The time for each element must not grow with the number of elements (I16).

use std::time::Duration;

use procession::{ChildFailure, Process};

use crate::table::{Table, median};
use crate::{each, wide_processes};

const ROUNDS: usize = 5;

/// Handles this number of elements, and returns the time for each of them.
type Work = fn(usize) -> Duration;

pub(crate) fn growth(table: &mut Table) {
    for (name, run) in [("a chain", chain as fn(usize)), ("a fan", wide_processes)] {
        let (mut large, mut small) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            small.push(each(1_000_000, || (0..100).for_each(|_| run(10_000))));
            large.push(each(1_000_000, || run(1_000_000)));
        }
        let name = format!("{name} of 1,000,000, beside one of 10,000");
        table.row(&name, median(large), median(small), 2.0);
    }
    let works: [(&str, Work); 5] = [
        ("wait-for edges of one process", edges),
        ("links made top down along a chain", links),
        ("failing children of a `Close` parent", failing_children),
        ("a chain of failing processes under a hook", failing_chain),
        ("a failing child with a hook above it", failures),
    ];
    for (name, run) in works {
        let (mut large, mut small) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            small.push((0..10).map(|_| run(1_000)).sum::<Duration>() / 10);
            large.push(run(100_000));
        }
        let name = format!("{name}: 100,000, beside 1,000");
        table.row(&name, median(large), median(small), 3.0);
    }
}

fn chain(count: usize) {
    let root = Process::new();
    let mut last = root.clone();
    for _ in 1..count {
        last = last.child();
    }
    root.close();
    assert!(last.is_closed());
}

fn edges(count: usize) -> Duration {
    let others: Vec<_> = (0..count).map(|_| Process::new()).collect();
    each(count, || {
        let process = Process::new();
        others.iter().for_each(|other| assert!(process.wait_for(other).is_ok()));
        process.close();
        others.iter().for_each(|other| drop(other.close()));
        assert!(process.is_closed());
    })
}

/// Each process already has another child, so every new edge needs a search for cycles.
fn links(count: usize) -> Duration {
    let processes: Vec<_> = (0..count).map(|_| Process::new()).collect();
    let _others: Vec<_> = processes.iter().map(Process::child).collect();
    each(count, || {
        for pair in processes.windows(2) {
            assert!(pair[0].add_child(&pair[1]).is_ok());
        }
    })
}

/// A child whose teardown fails.
fn failing(parent: &Process) -> Process {
    let child = parent.child();
    assert!(child.set_teardown(|| Err("failed")).is_ok());
    child
}

fn failing_children(count: usize) -> Duration {
    let root = Process::builder().on_child_failure(ChildFailure::Close).build().expect("no edges");
    let children: Vec<_> = (0..count).map(|_| failing(&root)).collect();
    each(count, || {
        assert!(root.close_blocking().is_err());
        assert!(children.iter().all(Process::is_closed));
    })
}

fn failing_chain(count: usize) -> Duration {
    let root = Process::new();
    root.on_failure(|_, _| ());
    let mut last = root.clone();
    for _ in 0..count {
        last = failing(&last);
    }
    each(count, || assert!(root.close_blocking().is_ok()))
}

fn failures(count: usize) -> Duration {
    let root = Process::new();
    root.on_failure(|_, _| ());
    let children: Vec<_> = (0..count).map(|_| failing(&root)).collect();
    each(count, || {
        assert!(root.close_blocking().is_ok());
        drop(children);
    })
}
