//! Closing against adding: what is added in time is waited for, and what comes too late is refused (I2, I5, I6).

#![cfg(loom)]

use loom::thread;
use procession::{Error, Inline, LinkError, Process};
use procession_loom_tests::{Count, model};

/// A process whose teardown runs on the thread that closes it.
fn inline_with(teardown: impl FnOnce() + Send + 'static) -> Process {
    Process::builder().spawner(Inline).teardown(teardown).build().unwrap()
}

/// I4, I6: `close` against `add_child`. Either the child is closed and torn down before the parent, or it is refused
/// and untouched.
#[test]
fn add_child() {
    model(3, || {
        let (ran, seen) = (Count::default(), Count::default());
        let child = inline_with(ran.adder());
        let (before, add) = (ran.clone(), seen.adder());
        let parent = inline_with(move || {
            if before.get() == 1 {
                add();
            }
        });
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close()));
        match parent.add_child(&child) {
            Ok(()) => {
                parent.closed().wait().unwrap();
                assert_eq!(seen.get(), 1);
            }
            Err(error) => {
                assert!(matches!(error, LinkError::Closed(_)));
                assert!(!child.is_closing());
            }
        }
        closer.join().unwrap();
    });
}

/// I6: `add_child` and `child` on a process that stays Closing for a while. The children are closed at once, and waited
/// for.
#[test]
fn add_child_while_the_parent_is_closing() {
    model(2, || {
        let (parent, gate, child) = (Process::new(), Process::new(), Process::new());
        parent.wait_for(&gate).unwrap();
        let other = parent.clone();
        let closer = thread::spawn(move || {
            other.close();
            gate.close();
        });
        let fresh = parent.child();
        if parent.add_child(&child).is_ok() {
            parent.closed().wait().unwrap();
            assert!(child.is_closed());
        }
        closer.join().unwrap();
        assert!(fresh.is_closed() && parent.is_closed());
    });
}

/// I6: `close` against `add_child_no_wait`. Either the child is closed, or it is refused and untouched.
#[test]
fn add_child_no_wait() {
    model(3, || {
        let (parent, child) = (Process::new(), Process::new());
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close()));
        let added = parent.add_child_no_wait(&child).is_ok();
        closer.join().unwrap();
        assert!(parent.is_closed());
        assert_eq!(child.is_closed(), added);
    });
}

/// I4, I6: `close` against `wait_for`. Either the teardown runs after that of the other process, or the edge is
/// refused.
#[test]
fn wait_for() {
    model(2, || {
        let server_ran = Count::default();
        let server = inline_with(server_ran.adder());
        let log = Process::new();
        let other = log.clone();
        let closer = thread::spawn(move || drop(other.close()));
        let linked = log.wait_for(&server);
        server.close();
        log.closed().wait().unwrap();
        if linked.is_ok() {
            assert_eq!(server_ran.get(), 1);
        }
        closer.join().unwrap();
    });
}

/// I6: `close` against `child`. The child is closed, and the parent waits for it unless it is Closed already.
#[test]
fn child() {
    model(3, || {
        let parent = Process::new();
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close()));
        let child = parent.child();
        parent.closed().wait().unwrap();
        closer.join().unwrap();
        assert!(child.is_closed());
    });
}

/// I2, I6: `close` against `set_teardown`. The function runs once, either as the teardown or at once.
#[test]
fn set_teardown() {
    model(3, || {
        let ran = Count::default();
        let process = Process::builder().spawner(Inline).build().unwrap();
        let other = process.clone();
        let closer = thread::spawn(move || drop(other.close()));
        process.set_teardown(ran.adder()).unwrap();
        process.closed().wait().unwrap();
        assert_eq!(ran.get(), 1);
        closer.join().unwrap();
        assert_eq!(ran.get(), 1);
    });
}

/// I2: two threads set a teardown at once. One of them is refused, and the other one's runs.
#[test]
fn two_teardowns() {
    model(3, || {
        let (first, second) = (Count::default(), Count::default());
        let process = Process::builder().spawner(Inline).build().unwrap();
        let (other, add) = (process.clone(), first.adder());
        let setter = thread::spawn(move || other.set_teardown(add).is_ok());
        let set = process.set_teardown(second.adder());
        assert!(matches!(set, Ok(()) | Err(Error::TeardownSet(_))));
        assert_eq!(setter.join().unwrap(), set.is_err());
        process.close();
        assert_eq!((first.get(), second.get()), if set.is_ok() { (0, 1) } else { (1, 0) });
    });
}

/// I5: two threads add the two halves of a cycle. Exactly one half is refused.
#[test]
fn the_two_halves_of_a_cycle() {
    model(3, || {
        let (one, other) = (Process::new(), Process::new());
        let (a, b) = (one.clone(), other.clone());
        let linker = thread::spawn(move || a.wait_for(&b).is_ok());
        let linked = other.add_child(&one).is_ok();
        assert_ne!(linker.join().unwrap(), linked);
    });
}

/// I6: `close_after_children` against adding a child. The process closes as soon as it waits for nothing, and not
/// before.
#[test]
fn close_after_children() {
    model(3, || {
        let parent = Process::new();
        let first = parent.child();
        let other = parent.clone();
        let closer = thread::spawn(move || {
            other.close_after_children();
            assert!(!other.is_closing());
            first.close();
        });
        let child = parent.child();
        if !child.is_closing() {
            // It was added in time, so the parent waits for it.
            assert!(!parent.is_closing());
            child.close();
        }
        parent.closed().wait().unwrap();
        closer.join().unwrap();
        assert!(child.is_closed());
    });
}

/// I6: `close` against `spawn_thread`. Either the body runs and is waited for, or it does not run.
#[test]
fn spawn_thread() {
    model(2, || {
        let ran = Count::default();
        let parent = Process::new();
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close()));
        let add = ran.adder();
        let spawned = parent.spawn_thread(move |_| add());
        parent.closed().wait().unwrap();
        assert_eq!(ran.get(), usize::from(spawned.is_ok()));
        closer.join().unwrap();
    });
}

/// I6, I9: adding an edge against the end of its lower process. Either the edge learns of the end, or it was never
/// there.
fn link_against_the_end_of_the_lower_process(
    link: impl Fn(&Process, &Process) -> Result<(), LinkError> + Send + Sync + 'static,
) {
    model(3, move || {
        let (upper, lower) = (Process::new(), Process::new());
        let other = lower.clone();
        let closer = thread::spawn(move || drop(other.close()));
        link(&upper, &lower).unwrap();
        closer.join().unwrap();
        // An edge that does not learn of the end would keep `upper` open for ever.
        upper.close_blocking().unwrap();
    });
}

/// I6, I9: the edge is a wait-for edge.
#[test]
fn wait_for_against_the_end_of_the_lower_process() {
    link_against_the_end_of_the_lower_process(Process::wait_for);
}

/// I6, I9: the edge is that of a child.
#[test]
fn add_child_against_the_end_of_the_child() {
    link_against_the_end_of_the_lower_process(Process::add_child);
}

/// I6: `close_after_children` on a process without children, against the first child. Either it closes at once and
/// refuses the child, or the child holds it open.
#[test]
fn close_after_children_against_the_first_child() {
    model(3, || {
        let (parent, child) = (Process::new(), Process::new());
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close_after_children()));
        let added = parent.add_child(&child);
        closer.join().unwrap();
        assert_eq!(parent.is_closing(), added.is_err());
        assert!(!child.is_closing());
        child.close();
        parent.closed().wait().unwrap();
    });
}
