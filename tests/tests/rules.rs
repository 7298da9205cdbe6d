//! Rules about phases, teardowns, ownership and late additions (I1, I2, I6, I8, I17).

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use procession::{ChildFailure, Error, LinkError, Phase, Process, Reason};
use procession_tests::{LIMIT, closing, ends_well, outcome};

fn closed() -> Process {
    let process = Process::new();
    process.close_blocking().unwrap();
    process
}

/// Observes a function that should not be called: it is dropped without a call.
struct Reported(Receiver<()>);

impl Reported {
    fn new() -> (Sender<()>, Self) {
        let (report, reports) = mpsc::channel();
        (report, Self(reports))
    }

    #[track_caller]
    fn dropped_without_a_call(&self) {
        assert_eq!(self.0.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    }
}

fn call(report: &Sender<()>) {
    report.send(()).unwrap();
}

/// I1: `is_aborting()` implies `is_closing()`, even for two racing loads.
#[test]
fn an_aborting_process_is_closing() {
    const BATCH: usize = 10_000;
    let end = Instant::now() + Duration::from_secs(2);
    for _ in 0..20 {
        let processes: Vec<Process> = (0..BATCH).map(|_| Process::new()).collect();
        let too_early = thread::scope(|scope| {
            let observer = scope.spawn(|| {
                let mut too_early = 0;
                for process in &processes {
                    while !process.is_aborting() {
                        std::hint::spin_loop();
                    }
                    too_early += usize::from(!process.is_closing());
                }
                too_early
            });
            for process in &processes {
                process.abort();
            }
            observer.join().unwrap()
        });
        assert_eq!(too_early, 0, "of {BATCH}");
        if Instant::now() > end {
            return;
        }
    }
}

/// I6: a `build()` that is refused has run nothing, even if one of its parents was Closing and would have closed the
/// process.
#[test]
fn a_refused_build_has_not_run_the_teardown() {
    let (parent, gate) = closing();
    let (app, server) = (Process::new(), Process::new());
    server.wait_for(&app).unwrap();
    let ended = closed();
    for _ in 0..200 {
        let (report, reported) = Reported::new();
        let late = Process::builder().parent(&parent).parent(&ended);
        let late = late.teardown(move || call(&report)).build();
        assert_eq!(late.unwrap_err(), LinkError::Closed(ended.label()));
        reported.dropped_without_a_call();

        let (report, reported) = Reported::new();
        let late = Process::builder().parent(&parent).parent(&ended);
        let late = late.teardown_async(move || async move { call(&report) }).build();
        assert_eq!(late.unwrap_err(), LinkError::Closed(ended.label()));
        reported.dropped_without_a_call();

        let (report, reported) = Reported::new();
        let cycle = Process::builder().parent(&parent).wait_for(&server).parent(&app);
        let cycle = cycle.teardown(move || call(&report)).build();
        assert!(matches!(cycle.unwrap_err(), LinkError::Cycle(_)));
        reported.dropped_without_a_call();
    }
    gate.close();
    [&parent, &app, &server].iter().for_each(|process| drop(process.close()));
    [&parent, &app, &server].into_iter().for_each(ends_well);
}

/// I6: a builder that is refused has not run its body.
#[test]
fn a_refused_builder_has_not_run_the_body() {
    let (parent, gate) = closing();
    let ended = closed();
    for _ in 0..200 {
        let (report, reported) = Reported::new();
        let late = Process::builder().parent(&parent).parent(&ended);
        let late = late.spawn_thread(move |_| call(&report));
        assert!(matches!(late, Err(Error::Link(LinkError::Closed(_)))));
        reported.dropped_without_a_call();

        let (report, reported) = Reported::new();
        let late = Process::builder().parent(&parent).parent(&ended);
        let late = late.spawn(move |_| async move { call(&report) });
        assert!(matches!(late, Err(Error::Link(LinkError::Closed(_)))));
        reported.dropped_without_a_call();
    }
    gate.close();
    ends_well(&parent);
}

/// I6: a Closed parent refuses a no-wait child too, whose teardown does not run.
#[test]
fn a_builder_with_a_closed_no_wait_parent_is_refused() {
    let ((parent, gate), ended) = (closing(), closed());
    let (report, reported) = Reported::new();
    let late = Process::builder().parent(&parent).no_wait_parent(&ended);
    let late = late.teardown(move || call(&report)).build();
    assert_eq!(late.unwrap_err(), LinkError::Closed(ended.label()));
    reported.dropped_without_a_call();
    gate.close();
    ends_well(&parent);
}

/// I6: a no-wait child that is added to a Closing process before its teardown has started is closed, and not waited
/// for. `adding_late_is_refused` in `graph.rs` covers a later addition.
#[test]
fn a_no_wait_child_of_a_closing_process_is_closed() {
    let (process, gate) = closing();
    let (child, hold) = (Process::new(), Process::new());
    child.wait_for(&hold).unwrap();
    process.add_child_no_wait(&child).unwrap();
    assert!(child.is_closing());
    gate.close();
    ends_well(&process);
    hold.close();
    ends_well(&child);
}

/// I8: a process outlives its only parent because of `close_after`. A Closed parent does not hold it, so dropping its
/// last handle closes it.
#[test]
fn a_closed_no_wait_parent_does_not_hold_a_process() {
    let (parent, other, process) = (Process::new(), Process::new(), Process::new());
    process.close_after(&other).unwrap();
    parent.add_child_no_wait(&process).unwrap();
    parent.close_blocking().unwrap();
    assert_eq!(process.phase(), Phase::Running);
    let (closing, closed, child) = (process.closing(), process.closed(), process.child());
    drop(process);
    assert_eq!(closing.wait_timeout(LIMIT), Some(()));
    assert_eq!(child.reason(), Some(Reason::ParentClosed));
    assert!(closed.wait_timeout(Duration::ZERO).is_none());
    other.close();
    outcome(&closed).unwrap();
}

/// I8: an open parent holds a process even if another parent of it is Closed.
#[test]
fn an_open_parent_holds_a_process_with_a_closed_parent() {
    let (ended, open, other) = (Process::new(), Process::new(), Process::new());
    let process = Process::new();
    process.close_after(&other).unwrap();
    ended.add_child_no_wait(&process).unwrap();
    open.add_child_no_wait(&process).unwrap();
    ended.close_blocking().unwrap();
    let (closing, closed) = (process.closing(), process.closed());
    drop(process);
    assert_eq!(closing.wait_timeout(Duration::ZERO), None);
    other.close();
    open.close_blocking().unwrap();
    outcome(&closed).unwrap();
}

/// Two processes that close each other: the first edge owns, the second completes the ring.
type Link = fn(&Process, &Process) -> Result<(), LinkError>;

/// Ways in which two processes close each other. The first edge owns its child, the second completes the ring.
const RINGS: [(Link, Link); 3] = [
    (Process::add_child_no_wait, Process::add_child_no_wait),
    (Process::add_child, Process::add_child_no_wait),
    (Process::add_child_no_wait, Process::add_child),
];

/// I8: a ring does not keep itself open: it closes with its last handles.
#[test]
fn a_ring_ends_with_its_last_handles() {
    for (first, second) in RINGS {
        let (a, b) = (Process::new(), Process::new());
        first(&a, &b).unwrap();
        second(&b, &a).unwrap();
        let waiters = [a.closed(), b.closed()];
        drop((a, b));
        for waiter in &waiters {
            outcome(waiter).unwrap();
        }
    }
}

/// I8: the same for a ring of three, whose handles are dropped in any order.
#[test]
fn a_ring_of_three_ends_with_its_last_handles() {
    for [one, two, three] in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut ring = [(); 3].map(|()| Some(Process::new()));
        let waiters = [0, 1, 2].map(|index: usize| ring[index].as_ref().unwrap().closed());
        for index in 0..3 {
            let (upper, lower) = (ring[index].as_ref(), ring[(index + 1) % 3].as_ref());
            upper.unwrap().add_child_no_wait(lower.unwrap()).unwrap();
        }
        [one, two, three].into_iter().for_each(|index: usize| drop(ring[index].take()));
        for waiter in &waiters {
            outcome(waiter).unwrap();
        }
    }
}

/// I8: the edge that completes a ring closes its child but does not own it. The other edges own theirs.
#[test]
fn the_last_edge_of_a_ring_does_not_own() {
    for (first, second) in RINGS {
        // `a` owns `b`: dropping `b` closes nothing.
        let (a, b) = (Process::new(), Process::new());
        first(&a, &b).unwrap();
        second(&b, &a).unwrap();
        let closed = b.closed();
        drop(b);
        assert!(!a.is_closing());
        assert_eq!(a.phase(), Phase::Running);
        a.close();
        outcome(&closed).unwrap();
        ends_well(&a);
        // `b` does not own `a`: dropping `a` closes both.
        let (a, b) = (Process::new(), Process::new());
        first(&a, &b).unwrap();
        second(&b, &a).unwrap();
        let closed = a.closed();
        drop(a);
        outcome(&closed).unwrap();
        ends_well(&b);
        assert_eq!(b.reason(), Some(Reason::ParentClosed));
    }
}

/// I8: each member of a ring closes the others.
#[test]
fn a_ring_closes_its_members() {
    for (first, second) in RINGS {
        for closes_first in [true, false] {
            let (a, b) = (Process::new(), Process::new());
            first(&a, &b).unwrap();
            second(&b, &a).unwrap();
            let closed = if closes_first { a.close() } else { b.close() };
            outcome(&closed).unwrap();
            ends_well(&a);
            ends_well(&b);
        }
    }
}

/// I8: a parent outside a ring holds all of it.
#[test]
fn a_parent_holds_a_ring() {
    let (app, a, b) = (Process::new(), Process::new(), Process::new());
    app.add_child(&a).unwrap();
    a.add_child_no_wait(&b).unwrap();
    b.add_child_no_wait(&a).unwrap();
    let (waiters, ends) = ([a.closing(), b.closing()], [a.closed(), b.closed()]);
    drop((a, b));
    for waiter in &waiters {
        assert_eq!(waiter.wait_timeout(Duration::ZERO), None);
    }
    app.close_blocking().unwrap();
    for end in &ends {
        outcome(end).unwrap();
    }
}

/// I8: no-wait children that form a chain and a diamond, but no ring, are owned, in whichever order the edges are
/// added.
#[test]
fn a_diamond_of_no_wait_children_is_owned() {
    // The edges of a diamond, and of a chain below it.
    let edges = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)];
    for rotation in 0..edges.len() {
        let mut processes: Vec<Process> = (0..5).map(|_| Process::new()).collect();
        for index in 0..edges.len() {
            let (upper, lower) = edges[(index + rotation) % edges.len()];
            processes[upper].add_child_no_wait(&processes[lower]).unwrap();
        }
        let closing: Vec<_> = processes.iter().map(Process::closing).collect();
        let closed: Vec<_> = processes.iter().map(Process::closed).collect();
        let app = processes.remove(0);
        drop(processes);
        for waiter in &closing {
            assert_eq!(waiter.wait_timeout(Duration::ZERO), None);
        }
        app.close();
        for waiter in &closed {
            outcome(waiter).unwrap();
        }
    }
}

/// An abort by a parent does not override `close_after`: a process is aborted when its turn comes.
#[test]
fn an_abort_from_above_keeps_the_order() {
    for closed_before in [false, true] {
        let app = Process::new();
        let ((release, released), (tell, told)) = (mpsc::channel::<()>(), mpsc::channel());
        let first = app.spawn_thread(move |p| {
            p.aborting().wait();
            tell.send(()).unwrap();
            released.recv().unwrap_or(());
        });
        let first = first.unwrap();
        let (report, reports) = mpsc::channel();
        let seen = first.clone();
        let second = Process::builder().parent(&app).close_after(&first);
        // Only an abort ends it.
        let second = second.spawn(|_| pending::<()>()).unwrap();
        let (own, aborted) = (second.clone(), second.aborting());
        second.set_teardown(move || report.send((own.is_aborting(), seen.is_closed()))).unwrap();
        if closed_before {
            app.close();
            assert_eq!(second.phase(), Phase::Running);
        }
        app.abort();
        told.recv_timeout(LIMIT).unwrap();
        assert!(!second.is_aborting());
        assert_eq!(second.phase(), Phase::Running);
        release.send(()).unwrap();
        assert_eq!(aborted.wait_timeout(LIMIT), Some(true));
        ends_well(&app);
        assert_eq!(reports.recv_timeout(LIMIT), Ok((true, true)));
        assert!(matches!(second.outcome(), Some(Err(Error::Aborted(_)))));
    }
}

/// I17: a panic in the future given to `close_when` counts as the failure of a child, so it closes the process only
/// with `ChildFailure::Close`.
#[test]
fn a_panic_of_the_future_of_close_when_is_a_failure_of_a_child() {
    for on_child_failure in [ChildFailure::default(), ChildFailure::Close] {
        let (tell, told) = mpsc::channel();
        let app =
            Process::builder().name("app").on_child_failure(on_child_failure).build().unwrap();
        app.on_failure(move |_, error| tell.send(error.to_string()).unwrap());
        let (gate, dropped) = (Process::new(), mpsc::channel::<()>());
        let (held, closed) = (dropped.0, gate.closed());
        app.close_when(async move {
            let _held = held;
            let _ = closed.await;
            panic!("in the future")
        })
        .unwrap();
        gate.close();
        let error = told.recv_timeout(LIMIT).unwrap();
        assert!(error.starts_with("process `app` › tests/tests/rules.rs:"), "{error}");
        assert!(error.ends_with(" panicked: in the future"), "{error}");
        assert_eq!(dropped.1.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
        if on_child_failure == ChildFailure::Close {
            assert!(matches!(outcome(&app.closed()), Err(Error::Panicked(_))));
            continue;
        }
        assert_eq!(app.phase(), Phase::Running);
        app.close_blocking().unwrap();
    }
}

/// I2: a Closed process has at most one teardown too.
#[test]
fn a_second_teardown_of_a_closed_process_is_refused() {
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = ran.clone();
        move || {
            ran.fetch_add(1, Ordering::SeqCst);
        }
    };
    let refuses = |process: &Process, runs: usize| {
        assert!(matches!(process.set_teardown(count()), Err(Error::TeardownSet(_))));
        let polled = count();
        let refused = process.set_teardown_async(move || async move { polled() });
        assert!(matches!(refused, Err(Error::TeardownSet(_))));
        assert_eq!(ran.load(Ordering::SeqCst), runs);
    };
    let process = closed();
    process.set_teardown(count()).unwrap();
    refuses(&process, 1);

    let process = closed();
    let polled = count();
    process.set_teardown_async(move || async move { polled() }).unwrap();
    refuses(&process, 2);

    // A teardown that failed, or that was set before the end, counts too.
    let process = closed();
    assert!(matches!(process.set_teardown(|| Err("disk full")), Err(Error::Failed(_))));
    refuses(&process, 2);
    let process = Process::with_teardown(count());
    process.close_blocking().unwrap();
    refuses(&process, 3);
}

/// I2: the same if several threads set one at once.
#[test]
fn one_of_several_teardowns_of_a_closed_process_runs() {
    for _ in 0..100 {
        let (process, ran, start) = (closed(), AtomicUsize::new(0), Barrier::new(3));
        let ran = Arc::new(ran);
        let set = thread::scope(|scope| {
            let setters = [(); 3].map(|()| {
                scope.spawn(|| {
                    let ran = ran.clone();
                    start.wait();
                    let teardown = move || {
                        ran.fetch_add(1, Ordering::SeqCst);
                    };
                    process.set_teardown(teardown).is_ok()
                })
            });
            setters.map(|setter| setter.join().unwrap())
        });
        assert_eq!(set.into_iter().filter(|&set| set).count(), 1);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

/// A Closed process leaves the bindings of signals at once: the captures of its hooks are dropped without another
/// signal or binding.
#[cfg(unix)]
#[test]
fn a_closed_process_does_not_stay_bound_to_signals() {
    use procession::signal::{self, SIGUSR2};

    let process = Process::new();
    let (held, dropped) = mpsc::channel::<()>();
    process.on_failure(move |_, _| held.send(()).unwrap());
    signal::bind(&process, [SIGUSR2]).unwrap();
    process.close_blocking().unwrap();
    drop(process);
    assert_eq!(dropped.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
}
