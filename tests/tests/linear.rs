//! Costs are linear (I16): each test compares the CPU time for an element at two sizes, one 16 times the other.

#![cfg(target_os = "linux")]

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use procession::{ChildFailure, Error, Inline, Process};
use procession_tests::{LIMIT, cpu_time, ends_well, outcome};

/// The second size divided by the first.
const FACTOR: usize = 16;

/// The largest accepted ratio of the costs for an element. If costs were quadratic, it would be about `FACTOR`.
const MAX_RATIO: f64 = 6.0;

/// One test runs at a time, because the CPU time is that of the whole program.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Compares the best of several runs at `size` and at `FACTOR` times `size`. Neither `prepare` nor the drop of its
/// value is measured.
#[track_caller]
fn assert_linear<T>(size: usize, prepare: impl Fn(usize) -> T, run: impl Fn(&T)) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let best = |size: usize, runs: usize| {
        let measure = |_| {
            let prepared = prepare(size);
            let before = cpu_time();
            run(&prepared);
            cpu_time() - before
        };
        let best: Duration = (0..runs).map(measure).min().unwrap();
        best.as_secs_f64() * 1e9 / size as f64
    };
    // Not measured: this run starts the library's threads.
    best(size, 1);
    let (small, large) = (best(size, 8), best(FACTOR * size, 3));
    let ratio = large / small;
    assert!(
        ratio < MAX_RATIO,
        "an element costs {small:.0} ns of {size}, and {large:.0} ns of {}: {ratio:.1} times as much",
        FACTOR * size
    );
}

/// One process has many wait-for edges, whose lower ends close one after another, in either order.
#[test]
fn wait_for_edges_of_one_process() {
    for reversed in [false, true] {
        let prepare = |size: usize| {
            let process = Process::new();
            let mut others: Vec<Process> = (0..size).map(|_| Process::new()).collect();
            others.iter().for_each(|other| process.wait_for(other).unwrap());
            if reversed {
                others.reverse();
            }
            process.close();
            (process, others)
        };
        assert_linear(500, prepare, |(process, others)| {
            others.iter().for_each(|other| drop(other.close()));
            ends_well(process);
        });
    }
}

/// Makes processes with a child each, so that a search for cycles cannot skip them.
fn parents_with_a_child(size: usize) -> Vec<(Process, Process)> {
    let node = |_| {
        let process = Process::new();
        let child = process.child();
        (process, child)
    };
    (0..=size).map(node).collect()
}

/// Links are made top down along a chain whose processes have other children.
#[test]
fn links_made_top_down_along_a_chain() {
    assert_linear(100, parents_with_a_child, |nodes| {
        for pair in nodes.windows(2) {
            pair[0].0.add_child(&pair[1].0).unwrap();
        }
    });
}

/// Links are made bottom up along such a chain.
#[test]
fn links_made_bottom_up_along_a_chain() {
    assert_linear(100, parents_with_a_child, |nodes| {
        for pair in nodes.windows(2).rev() {
            pair[0].0.add_child(&pair[1].0).unwrap();
        }
    });
}

/// Children fail below a parent with `ChildFailure::Close`, whose outcome has all their errors.
#[test]
fn failing_children_of_a_parent_that_closes() {
    let prepare = |size: usize| {
        let parent = Process::builder().spawner(Inline).on_child_failure(ChildFailure::Close);
        let parent = parent.build().unwrap();
        for _ in 0..size {
            parent.child().set_teardown(|| Err("disk full")).unwrap();
        }
        (parent, size)
    };
    assert_linear(500, prepare, |(parent, size)| {
        let Err(Error::Many(errors)) = outcome(&parent.close()) else { panic!("no errors") };
        assert_eq!(errors.iter().count(), *size);
    });
}

/// The processes of a chain fail under one hook, which is called for each of them.
#[test]
fn a_chain_of_failures_under_a_hook() {
    let prepare = |size: usize| {
        let (tell, told) = mpsc::channel();
        let root = Process::builder().spawner(Inline).build().unwrap();
        root.on_failure(move |_, _| tell.send(()).unwrap());
        let mut last = root.clone();
        for _ in 0..size {
            last = last.child();
            last.set_teardown(|| Err("disk full")).unwrap();
        }
        (root, told, size)
    };
    assert_linear(128, prepare, |(root, told, size)| {
        outcome(&root.close()).unwrap();
        (0..*size).for_each(|_| told.recv_timeout(LIMIT).unwrap());
    });
}

/// Many processes wait for one process, or are closed after it. Neither further edges, nor failures, nor their ends
/// visit all of them.
#[test]
fn edges_beside_many_dependents() {
    let dependents = |size: usize| -> Vec<Process> {
        let of = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
        let dependent = |_| {
            let dependent = Process::new();
            dependent.wait_for(&of).unwrap();
            dependent
        };
        std::iter::once(of.clone()).chain((0..size).map(dependent)).collect()
    };
    assert_linear(500, dependents, |processes| {
        for _ in &processes[1..] {
            Process::new().add_child_no_wait(&processes[0]).unwrap();
        }
    });
    let failing = |size: usize| {
        let processes = dependents(size);
        let child = |_| {
            let builder = Process::builder().parent(&processes[0]).spawner(Inline);
            builder.teardown(|| Err("broken")).build().unwrap()
        };
        let children: Vec<Process> = (0..size).map(child).collect();
        (processes, children)
    };
    assert_linear(250, failing, |(_, children)| {
        children.iter().for_each(|child| drop(child.close()));
    });
}

/// One process is closed after many, which end one after another; and many are closed after one.
#[test]
fn close_after_edges_of_one_process() {
    let many = |size: usize| {
        let app = Process::new();
        let one = app.child();
        let others: Vec<Process> = (0..size).map(|_| app.child()).collect();
        (app, one, others)
    };
    assert_linear(500, many, |(app, one, others)| {
        others.iter().for_each(|other| one.close_after(other).unwrap());
        others.iter().for_each(|other| drop(other.close()));
        app.close();
        ends_well(app);
    });
    assert_linear(500, many, |(app, one, others)| {
        others.iter().for_each(|other| other.close_after(one).unwrap());
        app.close();
        ends_well(app);
    });
}

/// Many processes are bound to one signal, one after another.
#[cfg(unix)]
#[test]
fn bindings_of_a_signal() {
    use procession::signal::{SIGUSR2, Stages, bind_stages};

    let processes = |size: usize| (0..size).map(|_| Process::new()).collect::<Vec<_>>();
    assert_linear(500, processes, |processes| {
        for process in processes {
            bind_stages(process, [SIGUSR2], Stages::Close).unwrap();
        }
        processes.iter().for_each(|process| drop(process.close()));
    });
}

/// Processes fail below a deep chain with a hook, while other processes are linked elsewhere.
#[test]
fn failures_below_a_hook_while_others_are_linked() {
    let deep = |size: usize| {
        let app = Process::new();
        app.on_failure(|_, _| ());
        let bottom = (0..size).fold(app.clone(), |above, _| above.child());
        let failing = |_| {
            let builder = Process::builder().parent(&bottom).spawner(Inline);
            builder.teardown(|| Err("broken")).build().unwrap()
        };
        let children: Vec<Process> = (0..size).map(failing).collect();
        (app, children)
    };
    assert_linear(250, deep, |(_, children)| {
        for child in children {
            Process::new().add_child_no_wait(&Process::new()).unwrap();
            child.close();
        }
    });
}
