//! The calls on threads: their order is unknown, but the rules hold at the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use procession::{Inline, Process};
use procession_tests::LIMIT;

use super::world::Kind;
use super::{Call, counted, on_child_failure};

/// Deals the calls to three threads, closes all processes, and checks the rules.
pub(crate) fn run(calls: &[Call]) {
    let told = Arc::new(AtomicUsize::new(0));
    let (ran, processes): (Vec<_>, Vec<Process>) = (0..6)
        .map(|n| {
            let (ran, teardown) = counted(n == 0);
            let builder = Process::builder().spawner(Inline).teardown(teardown);
            let builder = builder.on_child_failure(on_child_failure(n < 3));
            (ran, builder.build().unwrap())
        })
        .unzip();
    let hook = {
        let told = told.clone();
        move |_: &Process, _: &_| {
            told.fetch_add(1, Ordering::SeqCst);
        }
    };
    processes[0].on_failure(hook);
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (processes, start) = (&processes, &start);
            scope.spawn(move || {
                start.wait();
                calls.iter().skip(part).step_by(3).for_each(|call| make_call(processes, call));
            });
        }
    });
    // Whatever the calls were, no waits form a cycle, and every teardown runs once.
    processes.iter().for_each(|process| drop(process.close()));
    for process in &processes {
        let closed = process.closed().wait_timeout(LIMIT);
        assert!(closed.is_some(), "not closed in time: {process:?}");
    }
    assert!(ran.iter().all(|ran| ran.load(Ordering::SeqCst) == 1));
    assert!(processes[0].outcome().unwrap().is_err());
    assert_eq!(told.load(Ordering::SeqCst), 1);
}

fn make_call(processes: &[Process], call: &Call) {
    let pick = |n: usize| &processes[n % processes.len()];
    match *call {
        Call::Child { parent, .. } => drop(pick(parent).child()),
        Call::Link(upper, lower, kind) => {
            let (upper, lower) = (pick(upper), pick(lower));
            let _refused = match kind {
                Kind::Child => upper.add_child(lower),
                Kind::NoWaitChild => upper.add_child_no_wait(lower),
                Kind::WaitFor => upper.wait_for(lower),
                Kind::CloseAfter => upper.close_after(lower),
            };
        }
        Call::Close(n) => drop(pick(n).close()),
        Call::CloseAfterChildren(n) => drop(pick(n).close_after_children()),
        Call::Abort(n) => drop(pick(n).abort()),
        Call::Wait(n, timeout) => {
            let process = pick(n);
            let is_closed = process.closed().wait_timeout(timeout).is_some();
            let is_aborting = process.aborting().wait_timeout(timeout).is_some();
            let is_closing = process.closing().wait_timeout(timeout).is_some();
            assert!(is_closing || !is_closed && !is_aborting);
        }
        _ => {}
    }
}
