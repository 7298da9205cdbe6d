//! Costs are linear: I16. The CPU time for each element is compared at two sizes, one 16 times the other.

#![cfg(target_os = "linux")]

use std::sync::{Mutex, mpsc};
use std::time::Duration;

use procession::{ChildFailure, Error, Inline, Process};
use procession_tests::{LIMIT, cpu_time, ends_well, outcome};

/// How much larger the second size is.
const FACTOR: usize = 16;

/// How much more an element may cost at the second size. With quadratic costs, it would be up to `FACTOR` times as
/// much.
const MOST: f64 = 6.0;

/// The CPU time is that of the whole program, so one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Compares the best of several runs at `size` and at 16 times that. `prepare` is not measured; the value that it makes
/// is dropped after the measurement.
#[track_caller]
fn is_linear<T>(size: usize, prepare: impl Fn(usize) -> T, run: impl Fn(&T)) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
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
    // The first measurement would include the start of the library's threads.
    best(size, 1);
    let (small, large) = (best(size, 8), best(FACTOR * size, 3));
    let ratio = large / small;
    assert!(
        ratio < MOST,
        "an element costs {small:.0} ns of {size}, and {large:.0} ns of {}: {ratio:.1} times as much",
        FACTOR * size
    );
}

/// A process with many wait-for edges, whose lower ends close one after another, in either order.
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
        is_linear(500, prepare, |(process, others)| {
            others.iter().for_each(|other| drop(other.close()));
            ends_well(process);
        });
    }
}

/// Processes that have a child each, so that a search for cycles cannot be skipped.
fn nodes(size: usize) -> Vec<(Process, Process)> {
    let node = |_| {
        let process = Process::new();
        let child = process.child();
        (process, child)
    };
    (0..=size).map(node).collect()
}

/// Links made top down along a chain whose nodes have other children.
#[test]
fn links_made_top_down_along_a_chain() {
    is_linear(100, nodes, |nodes| {
        for pair in nodes.windows(2) {
            pair[0].0.add_child(&pair[1].0).unwrap();
        }
    });
}

/// Links made bottom up along such a chain.
#[test]
fn links_made_bottom_up_along_a_chain() {
    is_linear(100, nodes, |nodes| {
        for pair in nodes.windows(2).rev() {
            pair[0].0.add_child(&pair[1].0).unwrap();
        }
    });
}

/// Failing children of a parent that closes for them: their errors are in its outcome.
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
    is_linear(500, prepare, |(parent, size)| {
        let Err(Error::Many(errors)) = outcome(&parent.close()) else { panic!("no errors") };
        assert_eq!(errors.iter().count(), *size);
    });
}

/// A chain of failing processes under one hook, which is called for each.
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
    is_linear(128, prepare, |(root, told, size)| {
        outcome(&root.close()).unwrap();
        (0..*size).for_each(|_| told.recv_timeout(LIMIT).unwrap());
    });
}

/// Many processes wait for one process, or are closed after it: neither further edges, nor failures, nor their ends
/// look at all of them.
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
    is_linear(500, dependents, |processes| {
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
    is_linear(250, failing, |(_, children)| {
        children.iter().for_each(|child| drop(child.close()));
    });
}

/// A process is closed after many, which end one after another; and many are closed after one.
#[test]
fn orders_of_many() {
    let many = |size: usize| {
        let app = Process::new();
        let one = app.child();
        let others: Vec<Process> = (0..size).map(|_| app.child()).collect();
        (app, one, others)
    };
    is_linear(500, many, |(app, one, others)| {
        others.iter().for_each(|other| one.close_after(other).unwrap());
        others.iter().for_each(|other| drop(other.close()));
        app.close();
        ends_well(app);
    });
    is_linear(500, many, |(app, one, others)| {
        others.iter().for_each(|other| other.close_after(one).unwrap());
        app.close();
        ends_well(app);
    });
}

/// Processes are bound to a signal one after another.
#[cfg(unix)]
#[test]
fn bindings_of_a_signal() {
    use procession::signal::{SIGUSR2, Stages, bind_stages};

    let processes = |size: usize| (0..size).map(|_| Process::new()).collect::<Vec<_>>();
    is_linear(500, processes, |processes| {
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
    is_linear(250, deep, |(_, children)| {
        for child in children {
            Process::new().add_child_no_wait(&Process::new()).unwrap();
            child.close();
        }
    });
}
