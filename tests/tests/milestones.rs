//! The waiters `body_ended` and `children_closed`.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use procession::{Error, Process};
use procession_tests::{LIMIT, closing, ends_well, in_time, outcome};

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, woken: &Arc<Woken>) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(woken.clone())))
}

/// `body_ended` is ready when the body has ended, even if a child is still open, for every kind of body.
#[test]
fn body_ended_while_a_child_is_open() {
    let app = Process::new();
    let start: [fn(&Process) -> Process; 3] = [
        |app| app.spawn_thread(|p| p.spawn(|_| pending::<()>()).map(drop)).unwrap(),
        |app| app.spawn(|p| async move { p.spawn(|_| pending::<()>()).map(drop) }).unwrap(),
        |app| {
            let (tell, told) = mpsc::channel();
            let run = app.run(move |p| async move {
                tell.send(p.clone()).unwrap();
                p.spawn(|_| pending::<()>()).map(drop)
            });
            thread::spawn(move || futures_lite::future::block_on(async { drop(run.await) }));
            told.recv_timeout(LIMIT).unwrap()
        },
    ];
    for start in start {
        let body = start(&app);
        assert_eq!(body.body_ended().wait_timeout(LIMIT), Some(()));
        assert!(!body.is_closing());
        assert_eq!(futures_lite::future::block_on(body.body_ended()), ());
    }
    app.abort().wait().unwrap();
}

/// `body_ended` of a process without a body is ready at once, however the process was made.
#[test]
fn body_ended_is_ready_without_a_body() {
    let other = Process::new();
    let built = Process::builder().wait_for(&other).close_after(&other).build().unwrap();
    for process in [&Process::new(), &other.child(), &built, Process::background()] {
        assert_eq!(process.body_ended().wait_timeout(Duration::ZERO), Some(()));
        process.body_ended().wait().unwrap();
    }
}

/// A body that is aborted or panics has ended too, and the waiter is woken.
#[test]
fn a_body_that_does_not_return_has_ended() {
    let app = Process::new();
    let body = app.spawn(|p| async move {
        p.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
        pending::<()>().await;
    });
    let body = body.unwrap();
    let (mut ended, woken) = (body.body_ended(), Arc::new(Woken::default()));
    assert!(poll(&mut ended, &woken).is_pending());
    assert_eq!(ended.wait_timeout(Duration::ZERO), None);
    body.abort();
    ended.wait_timeout(LIMIT).unwrap();
    assert!(poll(&mut ended, &woken).is_ready());
    let panics = app.spawn_thread(|_| panic!("expected")).unwrap();
    panics.body_ended().wait_timeout(LIMIT).unwrap();
    app.close();
    assert!(outcome(&app.closed()).is_ok());
}

/// I13: a body cannot wait for its own end, but the body of a child can.
#[test]
fn a_body_cannot_wait_for_its_own_end() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let body = app.spawn_thread(move |p| {
        let of_parent = p.body_ended();
        p.spawn_thread(move |_| tell.send(of_parent.wait()).unwrap())?;
        p.body_ended().wait()
    });
    let refused = outcome(&body.unwrap().closed()).unwrap_err();
    assert!(matches!(refused, Error::Deadlock(_)), "{refused}");
    assert!(refused.to_string().ends_with("cannot wait for the end of its own body"), "{refused}");
    told.recv_timeout(LIMIT).unwrap().unwrap();
    app.close_blocking().unwrap();
}

/// A body may wait for its children again and again. Wait-for edges and no-wait children do not count.
#[test]
fn a_body_waits_for_its_children() {
    for is_closing in [false, true] {
        let (app, gate) = if is_closing { closing() } else { (Process::new(), Process::new()) };
        let (other, outlives) = (Process::new(), Process::new());
        let (waits_for, no_wait) = (other.clone(), outlives.clone());
        let body = app.spawn_thread(move |p| {
            p.wait_for(&waits_for)?;
            if !is_closing {
                p.add_child_no_wait(&no_wait)?;
            }
            let ran = Arc::new(AtomicUsize::new(0));
            for round in 1..=20 {
                for _ in 0..3 {
                    let ran = ran.clone();
                    p.spawn_thread(move |_| _ = ran.fetch_add(1, Ordering::SeqCst))?;
                }
                p.children_closed().wait()?;
                assert_eq!(ran.load(Ordering::SeqCst), 3 * round);
            }
            procession::ok()
        });
        let body = body.unwrap();
        body.body_ended().wait_timeout(LIMIT).unwrap();
        assert!(!body.is_closed());
        other.close();
        ends_well(&body);
        gate.close();
        outlives.close();
        app.close_blocking().unwrap();
    }
}

/// A pending `children_closed` is ready after a moment without children, even if there are new children when it is
/// polled. This holds for each of several waiters, and a waiter can be reused.
#[test]
fn a_short_moment_is_not_missed() {
    for is_closing in [false, true] {
        let (app, gate) = if is_closing { closing() } else { (Process::new(), Process::new()) };
        let start = || {
            let (go, gate) = mpsc::channel::<()>();
            let child = app.spawn_thread(move |_| _ = gate.recv()).unwrap();
            (go, child)
        };
        let (go, child) = start();
        let mut waiters = [app.children_closed(), app.children_closed(), app.children_closed()];
        let woken: [Arc<Woken>; 3] = Default::default();
        if is_closing {
            // The wait-for edge to `gate` does not count.
            assert!(!gate.is_closed());
        }
        for (waiter, woken) in waiters.iter_mut().zip(&woken) {
            assert!(poll(waiter, woken).is_pending());
        }
        drop(go);
        outcome(&child.closed()).unwrap();
        let (next_go, next) = start();
        for (waiter, woken) in waiters.iter_mut().zip(&woken) {
            while woken.0.load(Ordering::SeqCst) == 0 {
                thread::yield_now();
            }
            assert!(poll(waiter, woken).is_ready());
            assert_eq!(woken.0.load(Ordering::SeqCst), 1);
            assert!(poll(waiter, woken).is_pending());
        }
        drop(waiters);
        assert_eq!(app.children_closed().wait_timeout(Duration::ZERO), None);
        drop(next_go);
        ends_well(&next);
        app.children_closed().wait_timeout(LIMIT).unwrap();
        gate.close();
        app.close_blocking().unwrap();
        app.children_closed().wait().unwrap();
    }
}

/// A body waits for its children. When the process closes, all of them close, and the body is woken.
#[test]
fn closing_all_children_wakes_a_waiting_body() {
    let app = Process::new();
    let body = app.spawn_thread(|p| {
        for _ in 0..1_000 {
            p.child();
        }
        let _with_body = p.spawn(|p| async move { p.closing().await })?;
        p.children_closed().wait()
    });
    let body = body.unwrap();
    while body.child_count() < 1_001 {
        thread::yield_now();
    }
    in_time(move || app.close_blocking()).unwrap();
    ends_well(&body);
}

/// I13: code of a child cannot wait for the children of a process above it, but other code can.
#[test]
fn a_child_cannot_wait_for_the_children_above_it() {
    let app = Process::builder().name("app").build().unwrap();
    let above = app.clone();
    let pool = app.child();
    let worker = pool.spawn_thread(move |_| above.children_closed().wait()).unwrap();
    let refused = outcome(&worker.closed()).unwrap_err();
    let Error::Deadlock(deadlock) = &refused else { panic!("{refused}") };
    assert_eq!(*deadlock.target(), app.label());
    assert!(refused.to_string().contains("cannot wait for the children of process `app`"));

    let other = Process::new();
    let of_app = app.children_closed();
    let waits = other.spawn_thread(move |_| of_app.wait()).unwrap();
    app.wait_for(&other).unwrap();
    pool.close_blocking().unwrap();
    ends_well(&waits);
    other.close_blocking().unwrap();
    app.close_blocking().unwrap();
}

/// I13: a current-thread runtime cannot wait for children or bodies that it polls.
#[test]
fn a_runtime_cannot_wait_for_its_own_bodies() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    in_time(move || {
        runtime.block_on(async {
            let app = Process::new();
            let body = app.spawn(|p| async move { p.closing().await }).unwrap();
            assert!(matches!(app.children_closed().wait(), Err(Error::Deadlock(_))));
            assert!(matches!(body.body_ended().wait(), Err(Error::Deadlock(_))));
            // It may wait for a thread body, which it does not poll.
            let threads = Process::new();
            threads.spawn_thread(|_| ()).unwrap().body_ended().wait().unwrap();
            threads.children_closed().wait().unwrap();
            app.close().await.unwrap();
        });
    });
}

/// I9: waiters that are dropped while children come and go leave nothing behind.
#[test]
fn dropped_waiters_leave_nothing_behind() {
    let app = Process::new();
    let woken = Arc::new(Woken::default());
    let keeps = app.child();
    for _ in 0..1_000 {
        let mut waiter = app.children_closed();
        assert!(poll(&mut waiter, &woken).is_pending());
        app.child().close_blocking().unwrap();
    }
    assert_eq!((woken.0.load(Ordering::SeqCst), Arc::strong_count(&woken)), (0, 1));
    keeps.close_blocking().unwrap();
    app.children_closed().wait().unwrap();
    app.close_blocking().unwrap();
}
