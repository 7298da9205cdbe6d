//! Run by the tests in `foreign.rs`: foreign code runs in the place that the first argument names. It `calls` or
//! `panics`, as the second argument says. Without arguments, the program prints the names of all places.

#![forbid(unsafe_code)]

mod clock;
mod places;
mod scene;

use std::cell::RefCell;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use procession::{Inline, Process};

use crate::places::PLACES;
use crate::scene::Scene;

/// How long the program waits for an event that must come.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes healthy children of each kind, and returns how many times each was torn down.
fn healthy(app: &Process) -> Vec<Arc<AtomicUsize>> {
    let (blocking, polled) = (app.child(), app.child());
    let thread = app.spawn_thread(|p| p.closing().wait()).unwrap();
    let task = app.spawn(|p| async move { p.closing().await }).unwrap();
    let inline = Process::builder().parent(app).spawner(Inline).build().unwrap();
    let mut counts = Vec::new();
    for process in [&blocking, &thread, &inline] {
        let count = Arc::new(AtomicUsize::new(0));
        counts.push(count.clone());
        let teardown = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        process.set_teardown(teardown).unwrap();
    }
    for process in [&polled, &task] {
        let count = Arc::new(AtomicUsize::new(0));
        counts.push(count.clone());
        let teardown = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
        };
        process.set_teardown_async(teardown).unwrap();
    }
    counts
}

fn closes(process: &Process) {
    if process.close().wait_timeout(LIMIT).is_none() {
        panic!("not closed in time: {process:?}");
    }
}

fn run(place: &str, panics: bool) {
    let (_, put) = PLACES.iter().find(|(name, _)| *name == place).unwrap();
    let (tell, told) = channel();
    let app = Process::new();
    let mut counts = healthy(&app);
    let faulty = app.child();
    counts.extend(healthy(&app));
    let count = Arc::new(AtomicUsize::new(0));
    counts.push(count.clone());
    let teardown = move || {
        count.fetch_add(1, Ordering::SeqCst);
    };
    app.set_teardown(teardown).unwrap();
    let (waited, kept) = (RefCell::new(false), RefCell::default());
    let scene = Scene { app, panics, tell, told, waited, kept };
    put(&scene, faulty);
    closes(&scene.app);
    if !*scene.waited.borrow() {
        scene.wait();
    }
    each_ran_once(&counts);
    // The library's threads still serve other processes.
    let after = Process::new();
    let counts = healthy(&after);
    closes(&after);
    each_ran_once(&counts);
}

fn each_ran_once(counts: &[Arc<AtomicUsize>]) {
    let counts: Vec<_> = counts.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert!(counts.iter().all(|&count| count == 1), "the teardowns ran {counts:?} times");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, does] = &arguments[..] else {
        PLACES.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let (place, panics) = (place.clone(), does == "panics");
    let (tell, told) = channel();
    let running = thread::spawn(move || {
        // A second run shows whatever the first one has left behind.
        run(&place, panics);
        run(&place, panics);
        drop(tell);
    });
    // The channel is disconnected at the end of the runs, or by a panic.
    let hangs = told.recv_timeout(4 * LIMIT) == Err::<(), _>(RecvTimeoutError::Timeout);
    if hangs || running.join().is_err() {
        eprintln!("{}", if hangs { "a call hangs" } else { "a panic reached the caller" });
        exit(1);
    }
}
