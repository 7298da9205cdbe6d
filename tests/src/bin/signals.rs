//! Run by the tests in `signals.rs` and `resources.rs`: binds processes to signals as its argument says, and prints
//! what happens to them.

#![forbid(unsafe_code)]

use procession::Process;
use procession::signal::{self, SIGHUP, SIGINT, SIGTERM, SIGUSR1, Stages};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("stages") => stages(&[&[SIGINT, SIGTERM]], Stages::CloseAbortExit),
        Some("two-stages") => stages(&[&[SIGINT, SIGTERM]], Stages::CloseAbort),
        Some("one-stage") => stages(&[&[SIGINT, SIGTERM]], Stages::Close),
        Some("two-bindings") => stages(&[&[SIGINT], &[SIGTERM]], Stages::CloseAbortExit),
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

/// Prints each stage. Only a signal ends the program. Each set of signals is a binding of its own.
fn stages(bindings: &[&[i32]], stages: Stages) {
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
    for signals in bindings {
        signal::bind_stages(&app, signals.iter().copied(), stages).unwrap();
    }
    println!("bound");
    app.closing().wait();
    println!("reason: {:?}", app.reason());
    stubborn.closed().wait().unwrap();
}

/// Everything hangs: the body, the teardown, and the wakers that the first two signals wake.
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
    let wakers = [Waker::from(Arc::new(Hang)), Waker::from(Arc::new(Hang))];
    let mut closing = Box::pin(app.closing());
    assert!(closing.as_mut().poll(&mut Context::from_waker(&wakers[0])).is_pending());
    let mut aborting = Box::pin(app.aborting());
    assert!(aborting.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_pending());
    signal::bind(&app, [SIGINT]).unwrap();
    println!("bound");
    hang()
}

/// The number of threads that handle signals. The kernel cuts the names of threads after 15 bytes.
fn signal_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    let names = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")));
    names.filter(|name| name.as_ref().is_ok_and(|name| name == "procession-sign\n")).count()
}

/// Many processes share a signal, and one thread handles it.
fn several() {
    let bound: Vec<Process> = (0..100).map(|_| Process::new()).collect();
    for process in &bound {
        signal::bind(process, [SIGHUP, SIGUSR1]).unwrap();
    }
    // A thread sets its name when it begins to run.
    while signal_threads() == 0 {
        std::thread::yield_now();
    }
    println!("signal threads: {}", signal_threads());
    println!("bound");
    for process in &bound {
        process.closed().wait().unwrap();
    }
    println!("all closed");
}

/// When the bound process is Closed, the signal has its former action again.
fn former() {
    let app = Process::new();
    signal::bind(&app, [SIGUSR1, SIGTERM]).unwrap();
    // The program that starts this one ignores SIGHUP, as `nohup` does.
    signal::bind(&app, [SIGHUP]).unwrap();
    println!("bound");
    app.closed().wait().unwrap();
    println!("closed");
    hang()
}
