//! `close_after` and `close_before` order closing, so an edge of theirs can complete a cycle that never closes. Such an
//! edge is refused (I5).

use procession::{Error, LinkError, Phase, Process, Reason};
use procession_tests::{LIMIT, ends_well};

/// A kind of edge, from an upper process to a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Child,
    NoWaitChild,
    WaitFor,
    CloseAfter,
}

use Kind::{Child, CloseAfter, NoWaitChild, WaitFor};

/// The kind, the upper process and the lower one.
type Edge = (Kind, usize, usize);

/// Adds the edge to the processes, which it names by index.
fn add(processes: &[Process], (kind, upper, lower): Edge) -> Result<(), LinkError> {
    let (upper, lower) = (&processes[upper], &processes[lower]);
    match kind {
        Child => upper.add_child(lower),
        NoWaitChild => upper.add_child_no_wait(lower),
        WaitFor => upper.wait_for(lower),
        CloseAfter => upper.close_after(lower),
    }
}

/// All permutations of the edges.
fn orders(edges: &[Edge]) -> Vec<Vec<Edge>> {
    if edges.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, &first) in edges.iter().enumerate() {
        let mut rest = edges.to_vec();
        rest.remove(index);
        for mut order in orders(&rest) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

fn processes(names: &[&str]) -> Vec<Process> {
    names.iter().map(|&name| Process::builder().name(name).build().unwrap()).collect()
}

/// Checks that the edge was refused with a cycle that contains the process `name`.
#[track_caller]
fn assert_names_in_cycle(refused: &Result<(), LinkError>, name: &str, what: &dyn std::fmt::Debug) {
    let Err(LinkError::Cycle(cycle)) = refused else {
        panic!("not refused: {what:?}: {refused:?}")
    };
    let on_it = cycle.path().iter().any(|label| label.name() == Some(name));
    assert!(on_it, "{what:?}: {refused:?}");
}

/// Adds the edges in every order. Checks that the last one is refused, with a cycle that contains process 0, that the
/// others are accepted, and that the refused edge has changed nothing.
#[track_caller]
fn last_edge_is_refused(names: &[&str], edges: &[Edge]) {
    for order in orders(edges) {
        let processes = processes(names);
        let (&last, others) = order.split_last().unwrap();
        for &edge in others {
            let added = add(&processes, edge);
            assert!(added.is_ok(), "{edge:?} of {order:?}: {added:?}");
        }
        assert_names_in_cycle(&add(&processes, last), names[0], &order);
        assert_nothing_has_changed(&processes, others, last);
    }
}

/// Checks that the refused edge neither closes its lower end nor delays its upper end.
#[track_caller]
fn assert_nothing_has_changed(processes: &[Process], others: &[Edge], refused: Edge) {
    assert!(processes.iter().all(|process| process.phase() == Phase::Running));
    let (kind, upper, lower) = refused;
    let held_up = others.iter().any(|&(kind, above, _)| kind == CloseAfter && above == upper);
    let app = Process::new();
    app.add_child(&processes[upper]).unwrap();
    app.close();
    if held_up {
        processes[upper].close();
    }
    // Only the refused edge could order these two: without it, a parent closes the lower one at once.
    assert!(processes[upper].is_closing(), "{others:?} without {refused:?}");
    if matches!(kind, Child | NoWaitChild) {
        assert!(!processes[lower].is_closing(), "{others:?} without {refused:?}");
    }
    processes.iter().for_each(|process| drop(process.close()));
    processes.iter().for_each(ends_well);
    ends_well(&app);
}

/// I5: a process cannot be closed after its own child, because only the process closes that child.
#[test]
fn a_process_cannot_close_after_its_child() {
    last_edge_is_refused(&["p", "q"], &[(CloseAfter, 0, 1), (Child, 0, 1)]);
}

/// I5: the same for a no-wait child.
#[test]
fn a_process_cannot_close_after_its_no_wait_child() {
    last_edge_is_refused(&["p", "q"], &[(CloseAfter, 0, 1), (NoWaitChild, 0, 1)]);
}

/// I5: a process cannot be closed after one that closes only with its child.
#[test]
fn a_process_cannot_close_after_its_grandchild() {
    for lower in [Child, NoWaitChild] {
        let edges = [(CloseAfter, 0, 2), (Child, 0, 1), (lower, 1, 2)];
        last_edge_is_refused(&["p", "c", "q"], &edges);
    }
    let edges = [(CloseAfter, 0, 3), (Child, 0, 1), (Child, 1, 2), (Child, 2, 3)];
    last_edge_is_refused(&["p", "c", "d", "q"], &edges);
}

/// I5: a process cannot be closed after one that waits for its child, along any kind of edge.
#[test]
fn a_process_cannot_close_after_one_that_waits_for_its_child() {
    for waits in [WaitFor, CloseAfter] {
        for closes in [Child, NoWaitChild] {
            let edges = [(CloseAfter, 0, 2), (closes, 0, 1), (waits, 2, 1)];
            last_edge_is_refused(&["p", "c", "q"], &edges);
        }
    }
}

/// I5: the same if it waits for a grandchild, through other processes.
#[test]
fn a_process_cannot_close_after_one_that_waits_for_its_grandchild() {
    let edges = [(CloseAfter, 0, 3), (Child, 0, 1), (Child, 1, 2), (WaitFor, 3, 2)];
    last_edge_is_refused(&["p", "c", "d", "q"], &edges);
    let edges = [(CloseAfter, 0, 3), (Child, 0, 1), (WaitFor, 2, 1), (WaitFor, 3, 2)];
    last_edge_is_refused(&["p", "c", "w", "q"], &edges);
}

/// I5: two processes cannot each be closed after a child of the other.
#[test]
fn two_processes_cannot_close_after_each_others_children() {
    // `p` waits for the child of `q`, and `q` for the child of `p`.
    let edges = [(CloseAfter, 0, 3), (CloseAfter, 1, 2), (Child, 0, 2), (Child, 1, 3)];
    last_edge_is_refused(&["p", "q", "of p", "of q"], &edges);
}

/// I5: a second parent makes a cycle harmless only if it closes independently. Two parents that are both children of
/// the process do not.
#[test]
fn a_second_parent_inside_does_not_help() {
    let processes = processes(&["p", "a", "b", "q"]);
    for edge in [(Child, 0, 1), (Child, 0, 2), (Child, 1, 3), (Child, 2, 3)] {
        add(&processes, edge).unwrap();
    }
    assert_names_in_cycle(&add(&processes, (CloseAfter, 0, 3)), "p", &"two parents inside");
    assert_nothing_has_changed(&processes, &[], (CloseAfter, 0, 3));
}

/// I5: of the two parents of a process, one closes because of the process that closes after it, and the other is closed
/// after that process. So neither can close it.
#[test]
fn each_parent_may_depend_on_the_process_in_its_own_way() {
    let names = ["user", "lower", "below", "after", "choice"];
    for kind in [Child, NoWaitChild] {
        let processes = processes(&names);
        let edges =
            [(kind, 1, 2), (kind, 2, 4), (CloseAfter, 3, 1), (kind, 3, 4), (CloseAfter, 0, 4)];
        for edge in edges {
            add(&processes, edge).unwrap();
        }
        assert_names_in_cycle(&add(&processes, (kind, 0, 1)), "user", &edges);
        assert_nothing_has_changed(&processes, &edges, (kind, 0, 1));
    }
}

/// I5: one of the two parents of a process is closed after it, so only the other parent can close it.
#[test]
fn a_parent_that_closes_after_its_child_cannot_close_it() {
    for kind in [Child, NoWaitChild] {
        let processes = processes(&["p", "a", "q"]);
        let edges = [(kind, 0, 2), (kind, 1, 2), (CloseAfter, 1, 2)];
        for edge in edges {
            add(&processes, edge).unwrap();
        }
        assert_names_in_cycle(&add(&processes, (CloseAfter, 0, 1)), "p", &edges);
        assert_nothing_has_changed(&processes, &edges, (CloseAfter, 0, 1));
    }
}

/// I5: an edge to a process that is already Closing, for whatever reason, orders nothing and is accepted.
#[test]
fn a_parent_that_closes_after_a_closing_child_is_accepted() {
    let (app, p) = app_and_p();
    let gate = Process::new();
    let q = Process::builder().wait_for(&gate).build().unwrap();
    p.close_after(&q).unwrap();
    q.close();
    p.add_child(&q).unwrap();
    app.close();
    assert_eq!(p.phase(), Phase::Running);
    gate.close();
    ends_well(&app);
}

/// I5: a parent can be closed after a child that another parent closes. Every edge is accepted, and everything closes.
#[test]
fn a_child_with_a_second_parent_outside_is_accepted() {
    let all = [(Child, 0, 1), (CloseAfter, 0, 1), (Child, 2, 1)];
    for order in orders(&all) {
        if order[2] == (Child, 2, 1) {
            continue; // The first two edges alone are refused.
        }
        for closing_kind in [Child, NoWaitChild] {
            let (app, processes) = (Process::new(), processes(&["p", "q", "outside"]));
            for &(kind, upper, lower) in &order {
                let kind = if upper == 2 { closing_kind } else { kind };
                let added = add(&processes, (kind, upper, lower));
                assert!(added.is_ok(), "{kind:?} of {order:?}: {added:?}");
            }
            app.add_child(&processes[0]).unwrap();
            app.add_child(&processes[2]).unwrap();
            app.close();
            ends_well(&app);
            assert_eq!(processes[1].reason(), Some(Reason::ParentClosed));
            processes.iter().for_each(ends_well);
        }
    }
}

/// I5: a process can be closed after one that waits for its child if that child has another parent outside.
#[test]
fn one_that_waits_for_a_child_with_a_second_parent_is_accepted() {
    let (app, processes) = (Process::new(), processes(&["p", "c", "q", "outside"]));
    for edge in [(Child, 0, 1), (Child, 3, 1), (WaitFor, 2, 1), (CloseAfter, 0, 2)] {
        add(&processes, edge).unwrap();
    }
    [0, 2, 3].iter().for_each(|&index| app.add_child(&processes[index]).unwrap());
    app.close();
    ends_well(&app);
    processes.iter().for_each(ends_well);
}

/// I5: siblings and their children can be closed after one another.
#[test]
fn siblings_and_their_children_are_accepted() {
    let (app, processes) = (Process::new(), processes(&["p", "of p", "sibling", "of sibling"]));
    app.add_child(&processes[0]).unwrap();
    app.add_child(&processes[2]).unwrap();
    for edge in [(Child, 0, 1), (Child, 2, 3), (CloseAfter, 0, 2), (CloseAfter, 0, 3)] {
        add(&processes, edge).unwrap();
    }
    app.close();
    ends_well(&app);
    processes.iter().for_each(ends_well);
}

/// Checks that the builder is refused: it makes no process and runs no teardown, and `p` closes at once with its
/// parent.
#[track_caller]
fn assert_builder_is_refused(app: &Process, p: &Process, builder: procession::Builder<'_>) {
    let built = builder.name("q").teardown(|| panic!("run")).build();
    assert_names_in_cycle(&built.map(drop), "p", &"builder");
    app.close();
    assert!(p.is_closing());
    ends_well(app);
    assert!(p.outcome().unwrap().is_ok());
}

/// A root `app` with a child `p`.
fn app_and_p() -> (Process, Process) {
    let app = Process::new();
    let p = Process::builder().name("p").parent(&app).build().unwrap();
    (app, p)
}

/// I5: `Builder::close_before` refuses the same cycles.
#[test]
fn a_builder_that_closes_before_its_parent_is_refused() {
    let (app, p) = app_and_p();
    assert_builder_is_refused(&app, &p, Process::builder().parent(&p).close_before(&p));
    let (app, p) = app_and_p();
    assert_builder_is_refused(&app, &p, Process::builder().no_wait_parent(&p).close_before(&p));
    let (app, p) = app_and_p();
    let child = p.child();
    assert_builder_is_refused(&app, &p, Process::builder().parent(&child).close_before(&p));
    let (app, p) = app_and_p();
    let child = p.child();
    assert_builder_is_refused(&app, &p, Process::builder().wait_for(&child).close_before(&p));
}

/// I5: `spawn` and `spawn_thread` of a builder return that error too, and do not run the body.
#[test]
fn a_builder_with_a_body_that_closes_before_its_parent_is_refused() {
    let (app, p) = app_and_p();
    let builder = || Process::builder().parent(&p).close_before(&p);
    let spawned = builder().spawn_thread(|_| panic!("run"));
    assert!(matches!(spawned, Err(Error::Link(LinkError::Cycle(_)))), "{spawned:?}");
    let spawned = builder().spawn(|_| async { panic!("run") });
    assert!(matches!(spawned, Err(Error::Link(LinkError::Cycle(_)))), "{spawned:?}");
    assert_eq!(p.phase(), Phase::Running);
    assert!(app.close().wait_timeout(LIMIT).is_some_and(|outcome| outcome.is_ok()));
}

/// I5: `Builder::close_after` refuses the same cycles.
#[test]
fn a_builder_that_closes_after_a_child_is_refused() {
    // The new process is closed after a child of `p`, and `p` after the new process.
    let (app, p) = app_and_p();
    let child = p.child();
    assert_builder_is_refused(&app, &p, Process::builder().close_after(&child).close_before(&p));
    // `p` is closed after `q`, and `q` after a new child of `p`.
    let (app, p) = app_and_p();
    let q = Process::builder().name("q").parent(&app).build().unwrap();
    p.close_after(&q).unwrap();
    let refused = Process::builder().parent(&p).close_before(&q).build();
    assert_names_in_cycle(&refused.map(drop), "p", &"between the two");
    app.close();
    ends_well(&app);
}

/// I5: a new process with another parent outside can be closed before its first parent.
#[test]
fn a_builder_with_a_second_parent_outside_is_accepted() {
    let (app, p) = app_and_p();
    let outside = app.child();
    let q = Process::builder().parent(&p).parent(&outside).close_before(&p).build().unwrap();
    app.close();
    ends_well(&app);
    assert!(q.is_closed() && p.is_closed());
}

/// I5: two threads add the two halves of a cycle at once. Exactly one half is refused, and all processes close.
#[test]
fn one_of_two_halves_added_at_once_is_refused() {
    for _ in 0..500 {
        let (app, p) = app_and_p();
        let q = Process::new();
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| p.add_child(&q).is_ok());
            let second = scope.spawn(|| p.close_after(&q).is_ok());
            (first.join().unwrap(), second.join().unwrap())
        });
        q.close();
        app.close();
        ends_well(&app);
        assert_ne!(first, second);
    }
}

/// A parent closes ordered siblings from the last to the first, as a set does with its units. A sibling that closes for
/// a reason of its own waits for none of the others.
#[test]
fn siblings_in_order_do_not_wait_for_each_other() {
    use procession::support::in_order;

    let app = Process::new();
    let gate = Process::new();
    let make = |before| in_order(Process::builder().parent(&app), before, None).build().unwrap();
    let first = make(None);
    let second = make(Some(&first));
    let third = make(Some(&second));
    third.wait_for(&gate).unwrap();
    // A sibling that closes for a reason of its own.
    second.close();
    ends_well(&second);
    let again = in_order(Process::builder().parent(&app), Some(&first), Some(&third));
    let second = again.build().unwrap();
    app.close();
    assert_eq!(third.phase(), Phase::Closing);
    assert_eq!((first.phase(), second.phase()), (Phase::Running, Phase::Running));
    gate.close();
    ends_well(&app);
    assert!(first.is_closed() && second.is_closed());
}

/// A process that is refused its parent gives up its place in the order of the siblings, and is Closed.
#[test]
fn a_sibling_in_order_that_is_refused() {
    use procession::support::in_order;

    let app = Process::new();
    let after = Process::new();
    app.close();
    ends_well(&app);
    let refused = in_order(Process::builder().parent(&app), None, Some(&after));
    let refused = refused.name("refused").build();
    assert!(matches!(refused, Err(LinkError::Closed(_))));
    after.close();
    ends_well(&after);
}
