//! Bodies against closing and aborting (I2, I3, I9).

#![cfg(loom)]

use loom::future::block_on;
use loom::thread;
use procession::{Error, Process, Reason};
use procession_loom_tests::{Count, model};

/// I2, I3: the end of a body against `close`. The child becomes Closed once, with the outcome of its body.
#[test]
fn body_end_against_close() {
    model(2, || {
        let ran = Count::default();
        let parent = Process::new();
        let add = ran.adder();
        let child = parent.spawn_thread(move |_| add()).unwrap();
        child.close();
        child.closed().wait().unwrap();
        assert_eq!(ran.get(), 1);
        assert!(matches!(child.reason(), Some(Reason::Asked | Reason::BodyFinished)));
        parent.close_blocking().unwrap();
    });
}

/// I3: the end of an async body against `abort`. The body either ended well or was dropped, and every caller gets the
/// same outcome.
#[test]
fn abort_against_body_end() {
    model(2, || {
        let parent = Process::new();
        let other = parent.clone();
        let runner = thread::spawn(move || {
            block_on(other.run(|p| async move {
                p.closing().await;
            }))
        });
        parent.abort().wait().unwrap();
        match runner.join().unwrap() {
            Ok(()) | Err(Error::Aborted(_) | Error::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    });
}

/// I9: `abort` against a closing walk, which takes the children out of the parent's list. The abort still reaches a
/// sleeping body.
#[test]
fn abort_against_the_closing_walk() {
    model(2, || {
        let parent = Process::new();
        let child = parent.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
        let other = parent.clone();
        let closer = thread::spawn(move || drop(other.close()));
        parent.abort().wait().unwrap();
        assert!(child.is_aborting());
        closer.join().unwrap();
    });
}

/// I3, I9: the future of `run` is dropped unfinished while the process closes.
#[test]
fn run_dropped_against_close() {
    model(2, || {
        let parent = Process::new();
        let run = parent.run(|_| std::future::pending::<()>());
        let dropper = thread::spawn(move || drop(run));
        parent.close_blocking().unwrap();
        dropper.join().unwrap();
    });
}

/// I9: `abort` between the poll of an async body and the registration of its waker. The body is dropped although
/// nothing else would wake it.
#[test]
fn abort_against_a_body_about_to_sleep() {
    model(3, || {
        let parent = Process::new();
        let other = parent.clone();
        let runner = thread::spawn(move || block_on(other.run(|_| std::future::pending::<()>())));
        parent.abort().wait().unwrap();
        let result = runner.join().unwrap();
        assert!(matches!(result, Err(Error::Aborted(_) | Error::Closed(_))));
    });
}

/// I9: the same for a body that a spawner polls.
#[test]
fn abort_against_a_spawned_body_about_to_sleep() {
    model(2, || {
        let parent = Process::new();
        let child = parent.spawn(|_| std::future::pending::<()>()).unwrap();
        parent.abort().wait().unwrap();
        assert!(matches!(child.outcome(), Some(Err(Error::Aborted(_)))));
    });
}
