//! A body of the library that only waits for the parts it has started is not named as the cause of the wait (I18).

use std::future::pending;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procession::{Blockers, Link, Periodic, Process, Snapshot};
use procession_runnable::{
    Run, Runnable, Start, body, body_thread, concurrent, concurrent_group, leaf, leaf_thread,
    parallel, run_in, sequence, sequential, start_stop_thread, task,
};
use procession_supervisor::Unit;
use procession_supervisor::shared::{MemorySharedTable, SharedManager, Units};
use procession_tests::LIMIT;

/// Blocks threads until it is opened.
#[derive(Clone)]
struct Gate {
    started: mpsc::Sender<()>,
    shut: Arc<Mutex<mpsc::Receiver<()>>>,
}

/// A gate, the sender that opens it when it is dropped, and the receiver of a message for each thread that it blocks.
fn gate() -> (Gate, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (open, shut) = mpsc::channel();
    let (started, starts) = mpsc::channel();
    (Gate { started, shut: Arc::new(Mutex::new(shut)) }, open, starts)
}

impl Gate {
    fn block(&self) {
        self.started.send(()).unwrap();
        let _ = self.shut.lock().unwrap().recv();
    }
}

/// Is the process of an item waiting for a child of its own?
fn has_wrapper(snapshot: &Snapshot, blockers: &Blockers) -> bool {
    let waits = |process: usize| snapshot.edges_of(process).any(|edge| edge.kind() == Link::Child);
    blockers.first.iter().any(|blocker| waits(blocker.chain.last().unwrap().process))
}

/// Starts something below a process, which closes when `hanging` threads or futures hang in it. Checks that the report
/// then names each of them once, and nothing else.
#[track_caller]
fn assert_named(name: &str, hanging: usize, starts: impl FnOnce(&Process, Gate)) {
    let app = Process::builder().name("app").build().unwrap();
    let (gate, open, started) = gate();
    starts(&app, gate);
    for _ in 0..hanging {
        started.recv_timeout(LIMIT).unwrap_or_else(|_| panic!("{name}: {:#}", app.snapshot()));
    }
    app.close();
    let begin = Instant::now();
    loop {
        let snapshot = app.snapshot();
        let blockers = snapshot.blockers(16);
        if blockers.total == hanging && !has_wrapper(&snapshot, &blockers) {
            break;
        }
        assert!(begin.elapsed() < LIMIT, "{name}:\n{blockers}\nin\n{snapshot:#}");
        thread::yield_now();
    }
    drop(open);
    app.abort();
    assert!(app.closed().wait_timeout(LIMIT).is_some(), "{name}: {:#}", app.snapshot());
}

/// Hangs on a thread.
fn hangs(gate: &Gate) -> Runnable {
    let gate = gate.clone();
    body_thread(move |run| {
        run.ready();
        gate.block();
    })
}

/// Hangs as a future.
fn hangs_async(gate: &Gate) -> Runnable {
    let started = gate.started.clone();
    body(move |run| {
        run.ready();
        started.send(()).unwrap();
        pending::<()>()
    })
}

fn ends_well() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

#[test]
fn a_periodic_process_that_waits_for_its_call_is_not_named() {
    let every = || Periodic::every(Duration::from_millis(1));
    assert_named("thread", 1, |app, gate| {
        every().spawn_thread(app, move |_| gate.block()).unwrap();
    });
    assert_named("async", 1, |app, gate| {
        let call = move |_| {
            gate.started.send(()).unwrap();
            pending::<()>()
        };
        every().spawn(app, call).unwrap();
    });
}

#[test]
fn a_runnable_that_waits_for_its_parts_is_not_named() {
    type Make = fn(&Gate) -> Runnable;
    let made: [(&str, usize, Make); 10] = [
        ("leaf, run", 1, |gate| {
            let gate = gate.clone();
            let run = move |run: Run| {
                run.ready();
                gate.started.send(()).unwrap();
                pending::<()>()
            };
            leaf(run, |_| async {})
        }),
        ("leaf_thread, run", 1, |gate| {
            let gate = gate.clone();
            leaf_thread(move |_| gate.block(), |_| ())
        }),
        ("start_stop_thread, start", 1, |gate| {
            let gate = gate.clone();
            start_stop_thread(move |_| gate.block(), || ())
        }),
        ("concurrent", 2, |gate| concurrent([hangs(gate), ends_well(), hangs_async(gate)])),
        ("concurrent_group", 2, |gate| concurrent_group([hangs(gate), hangs_async(gate)])),
        ("sequence", 1, |gate| sequence([hangs(gate), ends_well()])),
        ("parallel", 2, |gate| parallel([hangs(gate), ends_well(), hangs_async(gate)])),
        ("sequential", 1, |gate| sequential([ends_well(), hangs(gate)])),
        ("task", 1, |gate| task("job", hangs(gate))),
        ("nested", 1, |gate| {
            concurrent([task("job", sequence([hangs(gate), ends_well()])), ends_well()])
        }),
    ];
    for (name, hanging, make) in made {
        assert_named(name, hanging, |app, gate| {
            drop(make(&gate).start(Start::under(app).0).unwrap());
        });
    }
}

/// A graceful stop that hangs is named, and so is the code that it should have ended.
#[test]
fn a_leaf_that_waits_for_its_stop_is_not_named() {
    for is_async in [true, false] {
        let app = Process::builder().name("app").build().unwrap();
        let (gate, open, started) = gate();
        let runnable = match is_async {
            true => {
                let stop = move |_| {
                    gate.started.send(()).unwrap();
                    pending::<()>()
                };
                leaf(|run: Run| async move { run.closing().await }, stop)
            }
            false => leaf_thread(|run: Run| run.closing().wait(), move |_| gate.block()),
        };
        drop(runnable.start(Start::under(&app).0).unwrap());
        app.close();
        started.recv_timeout(LIMIT).unwrap();
        let begin = Instant::now();
        loop {
            let snapshot = app.snapshot();
            let blockers = snapshot.blockers(16);
            if blockers.total == 1 && !has_wrapper(&snapshot, &blockers) {
                break;
            }
            assert!(begin.elapsed() < LIMIT, "{blockers}\nin\n{snapshot:#}");
            thread::yield_now();
        }
        drop(open);
        app.abort();
        assert!(app.closed().wait_timeout(LIMIT).is_some());
    }
}

#[test]
fn a_body_around_a_runnable_that_hangs_is_not_named() {
    assert_named("run_in", 1, |app, gate| {
        let (app, runnable) = (app.clone(), parallel([hangs(&gate), ends_well()]));
        thread::spawn(move || {
            let run = run_in(&app, &runnable, |p| async move { p.closing().await });
            futures_lite::future::block_on(run)
        });
    });
}

#[test]
fn a_shared_manager_that_waits_for_its_units_is_not_named() {
    assert_named("shared manager", 2, |app, gate| {
        let table = MemorySharedTable::new();
        let units = Units::new(table.clone());
        for key in ["one", "two"] {
            units.put(key, "unit", "").wait().unwrap();
        }
        let manager = SharedManager::builder(table).name("manager").program("program");
        let manager = manager.build(move |_| Ok(Unit::new(hangs(&gate))));
        drop(manager.runnable().start(Start::under(app).0).unwrap());
    });
}
