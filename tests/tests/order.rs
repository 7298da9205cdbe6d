//! Phases and teardowns (I1, I2, I3, I4), and the order of closing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use procession::{ChildFailure, Error, Inline, LinkError, Phase, Process, Reason};
use procession_tests::{Events, LIMIT, ends_well, outcome};

/// I1: every observer, whether it loads, blocks or polls, sees the phases in order.
#[test]
fn every_observer_sees_the_phases_in_order() {
    for _ in 0..200 {
        let process = Process::with_teardown(|| ());
        let start = Arc::new(Barrier::new(4));
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                let mut last = Phase::Running;
                while last != Phase::Closed {
                    let phase = process.phase();
                    assert!(last <= phase);
                    assert!(phase == Phase::Running || process.is_closing());
                    last = phase;
                }
            });
            scope.spawn(|| {
                start.wait();
                process.closing().wait();
                assert!(process.phase() >= Phase::Closing);
                assert!(process.reason().is_some());
                process.closed().wait().unwrap();
                assert_eq!(process.phase(), Phase::Closed);
            });
            scope.spawn(|| {
                start.wait();
                futures_lite::future::block_on(async {
                    process.closing().await;
                    assert!(process.is_closing());
                    process.closed().await.unwrap();
                    assert!(process.is_closed());
                });
            });
            start.wait();
            process.close_blocking().unwrap();
        });
    }
}

/// I1, I2: a teardown sees its process Closing, and everything that the process waits for Closed.
#[test]
fn a_teardown_runs_while_closing_and_after_everything_it_waits_for() {
    let (server, outside) = (Process::new(), Process::new());
    let child = server.child();
    let body = server.spawn_thread(|p| p.closing().wait()).unwrap();
    server.wait_for(&outside).unwrap();
    let (seen, watched) = mpsc::channel();
    let observed = [child, body, outside.clone()];
    let weak = Arc::new(std::sync::Mutex::new(None::<Process>));
    let own = weak.clone();
    server
        .set_teardown(move || {
            let own = own.lock().unwrap().take().unwrap();
            let closed = observed.iter().all(Process::is_closed);
            seen.send((own.phase(), closed)).unwrap();
        })
        .unwrap();
    *weak.lock().unwrap() = Some(server.clone());
    server.close();
    assert!(watched.try_recv().is_err());
    outside.close();
    assert_eq!(watched.recv_timeout(LIMIT), Ok((Phase::Closing, true)));
    ends_well(&server);
}

/// I2: a teardown runs once, even if many threads close the process, close it through two parents, and abort it.
#[test]
fn a_teardown_runs_once() {
    for _ in 0..200 {
        let ran = Arc::new(AtomicUsize::new(0));
        let (left, right) = (Process::new(), Process::new());
        let counter = ran.clone();
        let child = Process::with_teardown(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        });
        left.add_child(&child).unwrap();
        right.add_child(&child).unwrap();
        let start = Barrier::new(4);
        thread::scope(|scope| {
            scope.spawn(|| (start.wait(), left.close_blocking().unwrap()));
            scope.spawn(|| (start.wait(), right.close_blocking().unwrap()));
            scope.spawn(|| (start.wait(), child.close_blocking().unwrap()));
            start.wait();
            child.abort();
        });
        ends_well(&child);
        assert_eq!(ran.load(Ordering::SeqCst), 1);
    }
}

/// I2: past a deadline, the teardown still runs once, after the body.
#[test]
fn past_a_deadline_the_teardown_still_runs() {
    let events = Events::default();
    let app = Process::with_teardown(events.adder("teardown"));
    let stuck = app.spawn(|_| std::future::pending::<()>()).unwrap();
    stuck.set_teardown(events.adder("body's teardown")).unwrap();
    let closed = app.close_within(std::time::Duration::from_millis(20));
    assert!(matches!(outcome(&closed), Err(Error::Forced(forced)) if forced.total() == 1));
    assert_eq!(events.all(), ["body's teardown", "teardown"]);
    assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
}

/// I3: every caller gets the same outcome, at any time.
#[test]
fn the_outcome_is_the_same_for_everyone() {
    let process = Process::builder().name("disk").teardown(|| Err("full")).build().unwrap();
    let early = process.closed();
    let text = |error: Error| error.with_causes().to_string();
    let first = text(process.close_blocking().unwrap_err());
    assert_eq!(first, "process `disk` failed: full");
    assert_eq!(text(early.wait().unwrap_err()), first);
    assert_eq!(text(process.close().wait().unwrap_err()), first);
    assert_eq!(text(process.abort().wait().unwrap_err()), first);
    let polled = futures_lite::future::block_on(process.closed());
    assert_eq!(text(polled.unwrap_err()), first);
    assert_eq!(text(process.outcome().unwrap().unwrap_err()), first);
}

/// I3: if both fail, the outcome has the error of the body, then that of the teardown.
#[test]
fn body_and_teardown_both_fail() {
    let app = Process::new();
    let worker = app
        .spawn_thread(|p| {
            p.set_teardown(|| Err("second")).unwrap();
            Err("first")
        })
        .unwrap();
    let Err(Error::Many(errors)) = outcome(&worker.closed()) else { panic!("not many") };
    let texts: Vec<String> = errors.iter().map(|error| error.with_causes().to_string()).collect();
    assert!(texts[0].ends_with("first") && texts[1].ends_with("second"), "{texts:?}");
    assert!(errors.to_string().starts_with("2 errors:\n"));
    assert_eq!(worker.reason(), Some(Reason::BodyFailed));
}

/// I4: the teardown of a process that waits for another one sees everything that the other teardown did, without a
/// lock.
#[test]
fn teardowns_are_ordered() {
    for _ in 0..300 {
        let written = Arc::new(AtomicUsize::new(0));
        let (store, read) = (written.clone(), written.clone());
        let child = Process::with_teardown(move || store.store(1, Ordering::Relaxed));
        let parent = Process::with_teardown(move || {
            if read.load(Ordering::Relaxed) == 1 { Ok(()) } else { Err("not seen") }
        });
        parent.add_child(&child).unwrap();
        let closing = child.clone();
        let closer = thread::spawn(move || drop(closing.close()));
        parent.close();
        ends_well(&parent);
        closer.join().unwrap();
    }
}

/// I4: wait-for edges order teardowns across trees.
#[test]
fn the_log_is_torn_down_after_the_server() {
    let events = Events::default();
    let app = Process::with_teardown(events.adder("app"));
    let server = app.child();
    server.set_teardown(events.adder("server")).unwrap();
    let connection = server.child();
    connection.set_teardown(events.adder("connection")).unwrap();
    let _log = Process::builder()
        .parent(&app)
        .wait_for(&server)
        .teardown(events.adder("log"))
        .build()
        .unwrap();
    app.close_blocking().unwrap();
    assert_eq!(events.all(), ["connection", "server", "log", "app"]);
}

/// A body that returns `Ok` lets its children finish; one that fails closes them.
#[test]
fn an_ok_body_lets_children_finish_and_a_failed_one_closes_them() {
    let app = Process::new();
    let (give, take) = mpsc::channel();
    let finished = app.spawn_thread(move |p| give.send(p.child()).unwrap()).unwrap();
    let child = take.recv_timeout(LIMIT).unwrap();
    assert!(!child.is_closing());
    child.close();
    ends_well(&finished);
    assert_eq!(finished.reason(), Some(Reason::BodyFinished));

    let (give, take) = mpsc::channel();
    let failed = app
        .spawn_thread(move |p| {
            give.send(p.child()).unwrap();
            Err("lost")
        })
        .unwrap();
    assert!(outcome(&failed.closed()).is_err());
    let child = take.recv_timeout(LIMIT).unwrap();
    assert_eq!(child.reason(), Some(Reason::ParentClosed));
}

/// `close_after_children` waits for the present children, and for those that are added later.
#[test]
fn close_after_children_waits_for_all_children() {
    let batch = Process::builder().spawner(Inline).build().unwrap();
    let (one, other) = (batch.child(), batch.child());
    let closed = batch.close_after_children();
    one.close();
    assert_eq!(batch.phase(), Phase::Running);
    let late = batch.child();
    other.close();
    assert_eq!(batch.phase(), Phase::Running);
    late.close();
    outcome(&closed).unwrap();
    assert_eq!(batch.reason(), Some(Reason::Asked));
}

/// In a chain of three, a process that is closed after another one stays Running until that one is Closed. Its reason
/// is still that its parent closed.
#[test]
fn siblings_that_close_one_after_the_other() {
    let app = Process::new();
    let events = Events::default();
    let names = ["http", "worker", "database"];
    let mut next: Option<Process> = None;
    let mut all = Vec::new();
    for name in names {
        let builder = Process::builder().name(name).parent(&app);
        let builder = match &next {
            Some(before) => builder.close_after(before),
            None => builder,
        };
        let (events, before) = (events.clone(), next.clone());
        let process = builder.spawn_thread(move |p| {
            p.closing().wait();
            assert_eq!(p.reason(), Some(Reason::ParentClosed));
            assert!(before.is_none_or(|before| before.is_closed()));
            events.add(name);
        });
        next = Some(process.unwrap());
        all.extend(next.clone());
    }
    app.close_blocking().unwrap();
    assert_eq!(events.all(), names);
    assert!(all.iter().all(|process| process.outcome().unwrap().is_ok()));
}

/// `close_after` delays only a close or an abort by a parent. A direct call closes the process at once, and so does its
/// own end. The edge is refused if it would complete a cycle, and has no effect if the other process is Closed.
#[test]
fn close_after_delays_only_closing_by_a_parent() {
    let (app, other) = (Process::new(), Process::new());
    let held = |what: &dyn Fn(&Process)| {
        let process = app.child();
        process.close_after(&other).unwrap();
        what(&process);
        process
    };
    assert!(held(&|p| drop(p.close())).is_closing());
    assert!(held(&|p| drop(p.abort())).is_closing());
    assert!(held(&|p| drop(p.spawn_thread(|_| ()))).phase() == Phase::Running);
    let body = Process::builder().parent(&app).close_after(&other).spawn(|_| async {}).unwrap();
    let kept = held(&|_| ());
    assert!(matches!(other.close_after(&kept), Err(LinkError::Cycle(_))));
    assert!(matches!(kept.close_after(&kept), Err(LinkError::Cycle(_))));
    app.close();
    assert_eq!(kept.phase(), Phase::Running);
    // A process that is added late is held open too.
    let late = Process::new();
    late.close_after(&other).unwrap();
    app.add_child(&late).unwrap();
    assert_eq!(late.phase(), Phase::Running);
    let text = format!("{app:?}");
    assert!(text.contains("waits_for: [6 children]"), "{text}");
    app.abort();
    assert_eq!((kept.phase(), late.phase()), (Phase::Running, Phase::Running));
    assert!(!app.is_closed());
    other.close();
    ends_well(&app);
    assert!(kept.is_aborting() && late.is_aborting());
    assert!(body.is_closed());
    let (app, closed) = (Process::new(), Process::new());
    closed.close_blocking().unwrap();
    let process = app.child();
    process.close_after(&closed).unwrap();
    app.close_blocking().unwrap();
    let background = Process::background();
    assert!(matches!(background.close_after(&process), Err(LinkError::Background)));
}

/// If a parent's abort waits for `close_after`, and the process meanwhile closes for another reason, the abort still
/// takes effect.
#[test]
fn an_abort_that_waits_for_its_turn_is_not_forgotten() {
    type Close = fn(&Process);
    let ways: [Close; 3] = [
        |p| drop(p.close()),
        |p| drop(p.close_after_children()),
        |p| {
            p.spawn_thread(|_| Err("failed")).unwrap();
        },
    ];
    for close in ways {
        let (app, other) = (Process::new(), Process::new());
        let held = Process::builder().parent(&app).on_child_failure(ChildFailure::Close);
        let held = held.close_after(&other).build().unwrap();
        let stuck = Process::builder().parent(&held).on_child_failure(ChildFailure::Close);
        let stuck = stuck.spawn(|_| std::future::pending::<()>()).unwrap();
        app.abort();
        assert!(!held.is_closing());
        close(&held);
        other.close();
        assert!(app.closed().wait_timeout(LIMIT).is_some());
        assert!(held.is_aborting());
        assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
    }
}

/// A process has two parents and is closed after two others. The first parent to close counts, and the process closes
/// after both others.
#[test]
fn a_process_may_close_after_two_others() {
    let (one, two, app, unit) = (Process::new(), Process::new(), Process::new(), Process::new());
    app.add_child(&one).unwrap();
    let gate = Process::new();
    one.wait_for(&gate).unwrap();
    let user = app.child();
    unit.close_after(&one).unwrap();
    unit.close_after(&two).unwrap();
    app.add_child(&unit).unwrap();
    user.add_child(&unit).unwrap();
    user.close();
    assert_eq!(unit.phase(), Phase::Running);
    app.close();
    two.close();
    assert_eq!(unit.phase(), Phase::Running);
    gate.close();
    ends_well(&app);
    assert_eq!(unit.reason(), Some(Reason::ParentClosed));
}

/// `Builder::close_before`: the new process closes before the given ones. Those whose teardown has started are not
/// affected.
#[test]
fn a_process_that_closes_before_others() {
    let (app, ended) = (Process::new(), Process::new());
    ended.close_blocking().unwrap();
    let database = app.child();
    let used = database.clone();
    let server = Process::builder().parent(&app).close_before(&database).close_before(&ended);
    let server = server.spawn_thread(move |p| {
        p.closing().wait();
        assert!(!used.is_closing());
    });
    app.close_blocking().unwrap();
    assert!(database.is_closed());
    assert!(server.unwrap().outcome().unwrap().is_ok());
}
