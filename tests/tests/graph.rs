//! Edges: cycles are refused (I5), late additions are defined (I6), nothing recurses (I11), parents do not grow (I12),
//! and bad input is refused.

use std::thread;

use procession::{Error, Inline, LinkError, Phase, Process, Reason};
use procession_tests::{Events, LIMIT, closing, ends_well, outcome};

fn named(name: &str) -> Process {
    Process::builder().name(name).build().unwrap()
}

/// I5: a cycle of any length is refused with the path of the cycle, and the graph does not change.
#[test]
fn a_cycle_is_refused() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    a.add_child(&b).unwrap();
    b.wait_for(&c).unwrap();
    let Err(LinkError::Cycle(cycle)) = c.add_child(&a) else { panic!("not refused") };
    let names: Vec<_> = cycle.path().iter().filter_map(|label| label.name()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let text = LinkError::Cycle(cycle).to_string();
    assert!(text.contains("process `b` waits for process `c`"), "{text}");
    assert!(matches!(a.add_child(&a), Err(LinkError::Cycle(_))));
    assert!(matches!(a.wait_for(&a), Err(LinkError::Cycle(_))));
    assert!(matches!(a.add_child_no_wait(&a), Err(LinkError::Cycle(_))));
    // The graph has not changed: `c` does not close `a`, and no wait forms a cycle.
    c.close_blocking().unwrap();
    assert!(!a.is_closing());
    a.close_blocking().unwrap();
    assert!(b.is_closed());
}

/// I5: two processes that close each other without waiting do not form a cycle of waits.
#[test]
fn two_may_close_each_other_without_waiting() {
    let (a, b) = (Process::new(), Process::new());
    a.add_child_no_wait(&b).unwrap();
    b.add_child_no_wait(&a).unwrap();
    b.close_blocking().unwrap();
    ends_well(&a);
}

/// I5: two threads add the two halves of a cycle at once. Exactly one half is refused.
#[test]
fn one_of_the_two_halves_of_a_cycle_is_refused() {
    for _ in 0..500 {
        let (a, b) = (Process::new(), Process::new());
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| a.add_child(&b).is_ok());
            let second = scope.spawn(|| b.wait_for(&a).is_ok());
            (first.join().unwrap(), second.join().unwrap())
        });
        assert_ne!(first, second);
    }
}

/// I5, I11: a long cycle is refused too, and the search does not recurse.
#[test]
fn a_long_cycle_is_refused() {
    let first = Process::new();
    let mut last = first.clone();
    for _ in 0..100_000 {
        last = last.child();
    }
    let Err(LinkError::Cycle(cycle)) = last.wait_for(&first) else { panic!("not refused") };
    assert_eq!(cycle.path().len(), 100_001);
    first.close();
    ends_well(&last);
}

/// I6: a child that is added to a Closing process is closed and waited for.
#[test]
fn a_child_added_to_a_closing_process_is_closed() {
    let (process, gate) = closing();
    let outside = Process::new();
    let child = Process::new();
    child.wait_for(&outside).unwrap();
    process.add_child(&child).unwrap();
    assert_eq!(child.reason(), Some(Reason::ParentClosed));

    let no_wait = Process::new();
    process.add_child_no_wait(&no_wait).unwrap();
    assert!(no_wait.is_closing());

    let other = Process::new();
    process.wait_for(&other).unwrap();
    assert!(!other.is_closing());

    assert!(process.child().is_closing());
    let body = process.spawn_thread(|p| assert!(p.is_closing())).unwrap();
    let task = process.spawn(|p| async move { assert!(p.is_closing()) }).unwrap();

    gate.close();
    for last in [&outside, &other] {
        assert_eq!(process.phase(), Phase::Closing);
        last.close();
    }
    ends_well(&process);
    ends_well(&body);
    ends_well(&task);
}

/// I6: once the teardown of a process has started, each addition is refused and changes nothing.
#[test]
fn adding_late_is_refused() {
    let process = Process::builder().name("late").spawner(Inline).build().unwrap();
    let own = process.clone();
    process
        .set_teardown(move || {
            assert_eq!(own.phase(), Phase::Closing);
            assert_refuses_additions(&own);
        })
        .unwrap();
    process.close_blocking().unwrap();
    assert_refuses_additions(&process);
}

/// Checks that the process refuses each kind of addition, and runs nothing of it.
fn assert_refuses_additions(process: &Process) {
    let child = Process::new();
    assert_eq!(process.add_child(&child), Err(LinkError::Closed(process.label())));
    assert_eq!(process.add_child_no_wait(&child), Err(LinkError::Closed(process.label())));
    assert_eq!(process.wait_for(&child), Err(LinkError::Closed(process.label())));
    assert!(!child.is_closing());
    assert!(process.child().is_closed());
    let spawned = process.spawn_thread(|_| panic!("run"));
    assert!(matches!(spawned, Err(Error::Closed(_))));
    let spawned = process.spawn(|_| async { panic!("run") });
    assert!(matches!(spawned, Err(Error::Closed(_))));
    let run = futures_lite::future::block_on(process.run(|_| async { panic!("run") }));
    assert!(matches!(run, Err(Error::Closed(_))));
    let built = Process::builder().parent(process).teardown(|| panic!("run")).build();
    assert_eq!(built.unwrap_err(), LinkError::Closed(process.label()));
}

/// I6: an edge to a Closed process is accepted and has no effect.
#[test]
fn an_edge_to_a_closed_process_has_no_effect() {
    let (process, closed) = (Process::new(), Process::new());
    closed.close_blocking().unwrap();
    process.add_child(&closed).unwrap();
    process.add_child_no_wait(&closed).unwrap();
    process.wait_for(&closed).unwrap();
    process.close_blocking().unwrap();
}

/// I6: a builder that is refused does not run its teardown, and no process waits for it.
#[test]
fn a_refused_builder_leaves_no_trace() {
    let (app, server, closed) = (Process::new(), Process::new(), Process::new());
    server.wait_for(&app).unwrap();
    closed.close_blocking().unwrap();
    let cycle = Process::builder().parent(&app).wait_for(&server).teardown(|| panic!("run"));
    assert!(matches!(cycle.build(), Err(LinkError::Cycle(_))));
    let late = Process::builder().parent(&app).parent(&closed).teardown(|| panic!("run"));
    assert!(matches!(late.build(), Err(LinkError::Closed(_))));
    let open = Process::new();
    let late = Process::builder().wait_for(&open).parent(&app).parent(&closed);
    assert!(matches!(late.build(), Err(LinkError::Closed(_))));
    app.close_blocking().unwrap();
    server.close_blocking().unwrap();
}

/// The first of two parents to close closes the child, and each parent waits for it.
#[test]
fn a_child_with_two_parents() {
    let events = Events::default();
    let tcp = Process::with_teardown(events.adder("tcp"));
    let tls = Process::with_teardown(events.adder("tls"));
    let socket = Process::builder()
        .parent(&tcp)
        .parent(&tls)
        .teardown(events.adder("socket"))
        .build()
        .unwrap();
    tls.close_blocking().unwrap();
    assert!(socket.is_closed());
    assert_eq!(tcp.phase(), Phase::Running);
    tcp.close_blocking().unwrap();
    assert_eq!(events.all(), ["socket", "tls", "tcp"]);
}

fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(64 * 1024).spawn(run).unwrap().join().unwrap();
}

/// I11: a chain of 1,000,000 processes can be made, closed and dropped on a small stack.
#[test]
fn a_long_chain_closes_on_a_small_stack() {
    on_a_small_stack(|| {
        let first = Process::new();
        let mut last = first.clone();
        for _ in 0..1_000_000 {
            last = last.child();
        }
        first.close();
        assert!(last.is_closed());
    });
}

/// I11: the same for a chain that links existing processes, and is closed by dropping the first handle.
#[test]
fn a_long_chain_is_dropped_on_a_small_stack() {
    on_a_small_stack(|| {
        let first = Process::new();
        let mut last = first.clone();
        for _ in 0..100_000 {
            let next = Process::new();
            last.add_child(&next).unwrap();
            last = next;
        }
        let closed = last.closed();
        drop((first, last));
        closed.wait().unwrap();
    });
}

/// I11: the same for a chain of wait-for edges, which closes from its far end.
#[test]
fn a_long_chain_of_wait_for_edges_closes_on_a_small_stack() {
    on_a_small_stack(|| {
        let first = Process::new();
        let mut last = first.clone();
        for _ in 0..100_000 {
            let next = Process::new();
            next.wait_for(&last).unwrap();
            next.close();
            last = next;
        }
        assert!(!last.is_closed());
        first.close();
        assert!(last.is_closed());
    });
}

/// I11: the teardowns of a chain do not run inside each other, whatever runs them.
#[test]
fn a_long_chain_of_teardowns_does_not_nest() {
    on_a_small_stack(|| {
        let run_on_the_spot = |job: procession::Job| job.run();
        for root in [
            Process::builder().spawner(Inline).build().unwrap(),
            Process::builder().spawner(run_on_the_spot).build().unwrap(),
            Process::new(),
        ] {
            let mut last = root.clone();
            for depth in 0..20_000 {
                last = last.child();
                if depth % 2 == 0 {
                    last.set_teardown(|| ()).unwrap();
                } else if depth % 1000 == 1 {
                    last.set_teardown_async(|| async {}).unwrap();
                }
            }
            outcome(&root.close()).unwrap();
            assert!(last.is_closed());
        }
    });
}

/// `Debug` of a process shows what it waits for.
#[test]
fn debug_says_what_a_process_waits_for() {
    let app = named("app");
    let held = named("held");
    let worker = Process::builder().name("worker").parent(&app).wait_for(&held).build().unwrap();
    app.close();
    let text = format!("{app:?}");
    assert!(text.contains("phase: Closing") && text.contains("[1 child]"), "{text}");
    let text = format!("{worker:?}");
    assert!(text.contains("\"app/worker\"") && text.contains("[1 process]"), "{text}");
    held.close();
    assert!(app.closed().wait_timeout(LIMIT).is_some());
    assert!(format!("{app:?}").ends_with("waits_for: [] }"));
}
