//! A model that fails is a test that fails, wherever its threads are, and says what they were waiting for. A panic that
//! the library catches does not end a model. What a model leaves behind can be dropped after it.

#![cfg(loom)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use loom::future::block_on;
use loom::thread;
use procession::{Error, Limited, Process};
use procession_loom_tests::{assert_fails, model};
use procession_runnable::{Start, body};
use procession_supervisor::{Manager, MemoryTable};

fn named(name: &'static str) -> Process {
    Process::builder().name(name).build().unwrap()
}

/// A model in which `worker` waits for `gate`, which never closes.
fn with_worker(end: fn(Process)) {
    model(2, move || {
        let (app, gate) = (named("app"), named("gate"));
        let waiter = gate.closed();
        let worker = Process::builder().name("worker").parent(&app);
        let _worker = worker.spawn_thread(move |_| waiter.wait()).unwrap();
        end(app);
        drop(gate);
    });
}

/// The report names the waits of the model and of the body.
#[test]
fn a_body_that_never_ends() {
    let expected = [
        "Id(0) was waiting for process `app` to be Closed",
        "Id(1), code of process `worker`, was waiting for process `gate` to be Closed",
    ];
    assert_fails("a_body_that_never_ends", &expected, || {
        with_worker(|app| app.close_blocking().unwrap());
    });
}

/// The report names the wait of a future that the model polls.
#[test]
fn a_future_that_never_ends() {
    let expected = ["Id(0) was waiting for process `app` to be Closed"];
    assert_fails("a_future_that_never_ends", &expected, || {
        with_worker(|app| block_on(app.close()).unwrap());
    });
}

/// The report names the wait of the teardown.
#[test]
fn a_teardown_that_never_ends() {
    let expected = ["code of process `app`, was waiting for process `gate` to be aborting"];
    assert_fails("a_teardown_that_never_ends", &expected, || {
        model(2, || {
            let gate = named("gate");
            let waiter = gate.aborting();
            let app =
                Process::builder().name("app").teardown(move || assert!(waiter.wait())).build();
            let closed = app.unwrap().close();
            closed.wait().unwrap();
            drop(gate);
        });
    });
}

/// The report names the limiter by the line that made it.
#[test]
fn a_slot_that_never_comes() {
    let expected =
        ["Id(1) was waiting for process loom-tests/tests/failing.rs:", " to have a free slot"];
    assert_fails("a_slot_that_never_comes", &expected, || {
        model(2, || {
            let app = named("app");
            let one = Limited::new(&app, 1).unwrap();
            let slot = one.try_acquire().unwrap();
            let waiter = thread::spawn(move || one.acquire().wait().map(drop));
            waiter.join().unwrap().unwrap();
            drop(slot);
        });
    });
}

/// The report names the wait of the model. Units that still run are dropped with the model.
#[test]
fn a_manager_that_never_ends() {
    let expected = ["Id(0) was waiting for process `manager` to be Closed"];
    assert_fails("a_manager_that_never_ends", &expected, || {
        model(1, || {
            let app = named("app");
            let table = MemoryTable::new();
            table.insert(1, body(|_| std::future::pending::<()>()));
            let (start, _readiness) = Start::under(&app);
            let run = Manager::new(table).runnable().start(start).unwrap();
            run.closed().wait().unwrap();
        });
    });
}

/// An assertion fails while every thread holds handles. They are dropped with the model, and do not abort the test
/// program.
#[test]
fn an_assertion_with_handles_on_all_stacks() {
    assert_fails("an_assertion_with_handles_on_all_stacks", &["it is closing"], || {
        model(2, || {
            let app = named("app");
            let child = app.child();
            let other = app.clone();
            let closer = thread::spawn(move || drop(other.close()));
            assert!(!app.is_closing(), "it is closing");
            closer.join().unwrap();
            drop(child);
        });
    });
}

/// A panic of loom itself ends the model wherever it happens: here, a body starts too many threads, and nothing reads
/// its outcome.
#[test]
fn a_panic_of_loom_in_a_body_ends_the_model() {
    let expected = ["assertion failed: self.threads.len() < self.max()"];
    assert_fails("a_panic_of_loom_in_a_body_ends_the_model", &expected, || {
        model(1, || {
            let app = named("app");
            let body = |_| (0..5).for_each(|_| drop(thread::spawn(|| ())));
            let worker = app.spawn_thread(body).unwrap();
            drop(worker.closed().wait());
        });
    });
}

/// I7: a panic of a body is caught, and the values that it drops are really dropped.
#[test]
fn a_panic_that_is_caught_does_not_end_the_model() {
    model(2, || {
        let (app, held) = (named("app"), named("held"));
        let closed = held.closed();
        let worker = app.spawn_thread(move |_| {
            let _held = held;
            panic!("in the body");
        });
        closed.wait().unwrap();
        let outcome = worker.unwrap().closed().wait();
        assert!(matches!(outcome, Err(Error::Panicked(_))));
    });
}

/// I9: a wait with a timeout ends in both ways, and leaves nothing behind.
#[test]
fn a_timeout_is_a_choice_of_the_model() {
    let ends = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
    let [in_time, late, had_slot] = ends.clone();
    model(2, move || {
        let app = named("app");
        let one = Limited::new(&app, 1).unwrap();
        let slot = one.try_acquire().unwrap();
        let other = app.clone();
        let closer = thread::spawn(move || {
            drop(slot);
            other.close();
        });
        let second = Duration::from_secs(1);
        if let Some(Ok(_slot)) = one.acquire().wait_timeout(second) {
            had_slot.fetch_add(1, Ordering::Relaxed);
        }
        let end = match app.closed().wait_timeout(second) {
            Some(_) => &in_time,
            None => &late,
        };
        end.fetch_add(1, Ordering::Relaxed);
        closer.join().unwrap();
    });
    assert!(ends.iter().all(|count| count.load(Ordering::Relaxed) > 0), "{ends:?}");
}

/// An error that outlives the model in which it was made is dropped without a call of loom, which would panic.
#[test]
fn an_error_is_dropped_after_the_model() {
    static KEPT: Mutex<Vec<Error>> = Mutex::new(Vec::new());
    static DROPPED: AtomicUsize = AtomicUsize::new(0);

    #[derive(Debug)]
    struct Broken;

    impl std::fmt::Display for Broken {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("broken")
        }
    }

    impl std::error::Error for Broken {}

    impl Drop for Broken {
        fn drop(&mut self) {
            DROPPED.fetch_add(usize::from(!std::thread::panicking()), Ordering::Relaxed);
        }
    }

    model(2, || {
        let process = Process::with_teardown(|| Err(Broken));
        let other = process.clone();
        let closes = thread::spawn(move || other.close());
        let outcome = process.close_blocking();
        closes.join().unwrap();
        KEPT.lock().unwrap().extend(outcome.err());
    });
    let kept = std::mem::take(&mut *KEPT.lock().unwrap());
    let count = kept.len();
    assert!(count > 0);
    drop(kept);
    assert_eq!(DROPPED.load(Ordering::Relaxed), count);
}
