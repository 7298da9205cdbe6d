//! Run by the tests in `signals.rs`: binds processes to signals in the way that its argument names, and
//! prints what happens to them.

#![forbid(unsafe_code)]

use procession::Process;
use procession::signal::{self, SIGHUP, SIGINT, SIGTERM, SIGUSR1, Stages};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("stages") => stages(Stages::CloseAbortExit),
        Some("two-stages") => stages(Stages::CloseAbort),
        Some("one-stage") => stages(Stages::Close),
        Some("hanging-waker") => hanging_waker(),
        Some("several") => several(),
        Some("former") => former(),
        other => panic!("{other:?}"),
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

/// Prints each stage, and never ends by itself.
fn stages(stages: Stages) {
    let app = Process::builder().name("app").build().unwrap();
    let stubborn = app
        .spawn_thread(|p| {
            p.closing().wait();
            println!("closing");
            p.aborting().wait();
            println!("aborting");
            hang()
        })
        .unwrap();
    signal::bind_stages(&app, [SIGINT, SIGTERM], stages).unwrap();
    println!("bound");
    app.closing().wait();
    println!("reason: {:?}", app.reason());
    stubborn.closed().wait().unwrap();
}

/// Everything hangs: the body, the teardown, and the waker that is woken for the first signal.
fn hanging_waker() {
    use std::future::Future;
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};

    struct Hang;
    impl Wake for Hang {
        fn wake(self: Arc<Self>) {
            println!("hanging");
            hang()
        }
    }
    let app = Process::new();
    let _child = app.spawn_thread(|_| hang()).unwrap();
    let waker = Waker::from(Arc::new(Hang));
    let mut closing = Box::pin(app.closing());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut aborting = Box::pin(app.aborting());
    assert!(aborting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    signal::bind(&app, [SIGINT]).unwrap();
    println!("bound");
    hang()
}

/// Many processes share a signal and one helper thread.
fn several() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let bound: Vec<Process> = (0..100).map(|_| Process::new()).collect();
    for process in &bound {
        signal::bind(process, [SIGHUP, SIGUSR1]).unwrap();
    }
    println!("helpers: {}", threads() - before);
    println!("bound");
    for process in &bound {
        process.closed().wait().unwrap();
    }
    println!("all closed");
}

/// After a bound process is Closed, the signal does what it did before.
fn former() {
    let app = Process::new();
    signal::bind(&app, [SIGUSR1, SIGTERM]).unwrap();
    // SIGHUP is ignored by who starts this, as `nohup` does.
    signal::bind(&app, [SIGHUP]).unwrap();
    println!("bound");
    app.closed().wait().unwrap();
    println!("closed");
    hang()
}
