//! Run by the test `without_threads_bodies_are_refused_and_teardowns_run`, in a program that cannot start a thread.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use procession::{Error, Process};

fn main() {
    assert!(std::thread::Builder::new().spawn(|| ()).is_err());
    let ran = Arc::new(AtomicUsize::new(0));
    let count = || {
        let ran = ran.clone();
        move || {
            ran.fetch_add(1, Ordering::SeqCst);
        }
    };
    let app = Process::builder().name("app").teardown(count()).build().unwrap();
    assert!(matches!(app.spawn_thread(|_| panic!("run")), Err(Error::NoThread(_))));
    let body = app.spawn(|_| async { panic!("run") }).unwrap();
    assert!(matches!(body.outcome(), Some(Err(Error::NoThread(_)))));
    for _ in 0..10 {
        app.child().set_teardown(count()).unwrap();
        let (polled, count) = (app.child(), count());
        polled.set_teardown_async(move || async move { count() }).unwrap();
    }
    app.on_closing(count()).unwrap().detach();
    app.close().wait().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 22);

    let app = Process::new();
    app.child().set_teardown(count()).unwrap();
    let gate = Process::new();
    app.wait_for(&gate).unwrap();
    app.on_closing(count()).unwrap().detach();
    app.close();
    app.children_closed().wait().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 24);
    gate.close();
    app.closed().wait().unwrap();
}
