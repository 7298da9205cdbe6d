//! Run by the tests in `resources.rs`: a program that uses up the resource that its argument names, and still does its
//! work. It prints how each part ended.

#![forbid(unsafe_code)]

use std::fs::File;
use std::future::pending;
use std::sync::mpsc;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use procession::{Main, Process};
use procession_runnable::{Start, body_thread};
use procession_supervisor::{Manager, MemoryTable, Supervisor, Unit};
use procession_tests::{LIMIT, cpu_time, outcome};
use rustix::process::{Resource, Rlimit, setrlimit};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("executor-without-descriptors") => executor_without_descriptors(),
        Some("deadline-without-descriptors") => deadline_without_descriptors(),
        Some("grace-without-descriptors") => grace_without_descriptors(),
        Some("blocked-executor") => blocked_executor(),
        Some("blocked-executor-units") => blocked_executor_units(),
        Some("blocked-teardowns") => blocked_teardowns(),
        other => panic!("{other:?}"),
    }
}

/// Uses up all file descriptors of this program until the returned files are dropped.
fn use_up_descriptors() -> Vec<File> {
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: Some(64) }).unwrap();
    let mut files = Vec::new();
    let refused = loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => break error,
        }
    };
    let too_many = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(refused.raw_os_error(), Some(too_many));
    files
}

/// No descriptor is free when the shared executor starts. Async bodies and teardowns still run, and nothing spins.
fn executor_without_descriptors() {
    let held = use_up_descriptors();
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let again = tell.clone();
    let body = app.spawn(move |p| async move {
        tell.send("body").unwrap();
        p.closing().await;
    });
    app.set_teardown_async(move || async move { again.send("teardown").unwrap() }).unwrap();
    assert_eq!(told.recv_timeout(LIMIT), Ok("body"));
    println!("the body has begun");
    app.close();
    assert_eq!(told.recv_timeout(LIMIT), Ok("teardown"));
    outcome(&app.closed()).unwrap();
    outcome(&body.unwrap().closed()).unwrap();
    println!("the tree is closed");
    // The body never ends, so the executor is idle. Its CPU time in one second is printed.
    let idle = Process::new();
    let begun = idle.spawn(|_| pending::<()>());
    let before = cpu_time();
    assert!(idle.closed().wait_timeout(Duration::from_secs(1)).is_none());
    println!("idle: {} ms", (cpu_time() - before).as_millis());
    outcome(&idle.abort()).unwrap();
    assert!(begun.unwrap().is_closed());
    drop(held);
    println!("done");
}

/// A process whose body only an abort ends.
fn stubborn() -> Process {
    let app = Process::new();
    app.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    app
}

/// No descriptor is free at the first deadline. The abort still comes.
fn deadline_without_descriptors() {
    let held = use_up_descriptors();
    for _ in 0..2 {
        let app = stubborn();
        let aborting = app.aborting();
        let closed = app.close_within(Duration::from_millis(50));
        assert_eq!(aborting.wait_timeout(LIMIT), Some(true));
        let _ = outcome(&closed);
        println!("aborted");
    }
    drop(held);
    println!("done");
}

/// The same for the grace of `Main`.
fn grace_without_descriptors() {
    let _exit = Main::new().grace(Duration::from_millis(50)).run(|p| {
        let held = use_up_descriptors();
        p.set_teardown(move || {
            drop(held);
            println!("torn down");
        })?;
        p.spawn_thread(|worker| {
            worker.aborting().wait();
            println!("aborted");
        })?;
        p.close();
        Ok::<(), procession::Error>(())
    });
    println!("done");
}

/// Async bodies block every thread of the shared executor. Deadlines and blocking teardowns do not need it.
fn blocked_executor() {
    let gate = Arc::new(RwLock::new(()));
    let held = gate.write().unwrap();
    let blockers = block_executor(&gate);
    let app = stubborn();
    let (report, reports) = mpsc::channel();
    app.set_teardown(move || report.send(()).unwrap()).unwrap();
    let aborting = app.aborting();
    let closed = app.close_within(Duration::from_millis(50));
    assert_eq!(aborting.wait_timeout(LIMIT), Some(true));
    println!("aborted");
    let _ = outcome(&closed);
    assert_eq!(reports.recv_timeout(LIMIT), Ok(()));
    println!("torn down");
    let other = Process::new();
    other.set_teardown_async(|| async {}).unwrap();
    outcome(&other.close()).unwrap();
    println!("torn down by a future");
    drop(held);
    outcome(&blockers.close()).unwrap();
    println!("done");
}

/// Blocks all threads of the shared executor until the gate can be read.
fn block_executor(gate: &Arc<RwLock<()>>) -> Process {
    let blockers = Process::new();
    let (tell, told) = mpsc::channel();
    for _ in 0..64 {
        let (gate, tell) = (gate.clone(), tell.clone());
        let blocks = move |_| async move {
            // A body that begins after the gate has opened does not count.
            let _ = tell.send(());
            drop(gate.read());
        };
        blockers.spawn(blocks).unwrap();
    }
    // Once each thread runs a body, no further body can begin.
    told.recv_timeout(LIMIT).unwrap();
    while told.recv_timeout(Duration::from_millis(100)).is_ok() {}
    blockers
}

/// The shared executor is blocked, and with it the tasks of a manager and of a set. Their units are still aborted at
/// the end of their grace. When the tasks run again, they report the aborts.
fn blocked_executor_units() {
    let (tell, told) = mpsc::channel();
    let unit = || {
        let tell = tell.clone();
        let stubborn = body_thread(move |run| {
            run.ready();
            tell.send("ready").unwrap();
            run.aborting().wait();
            tell.send("aborted").unwrap();
        });
        Unit::new(stubborn).grace(Duration::from_millis(50))
    };
    let table = MemoryTable::new();
    table.insert("managed", unit());
    let manager = Manager::new(table);
    let set = Supervisor::one_for_one([("member", unit())]);
    let (mut of_manager, mut of_set) = (manager.events(), set.events());
    let app = Process::new();
    let running = [manager.runnable(), set.runnable()];
    let running = running.map(|each| each.start(Start::under(&app).0).unwrap());
    for _ in &running {
        assert_eq!(told.recv_timeout(LIMIT), Ok("ready"));
    }
    let gate = Arc::new(RwLock::new(()));
    let held = gate.write().unwrap();
    let blockers = block_executor(&gate);
    let closed = app.close();
    for _ in &running {
        assert_eq!(told.recv_timeout(LIMIT), Ok("aborted"));
    }
    println!("aborted");
    drop(held);
    outcome(&closed).unwrap();
    while of_manager.recv_blocking().unwrap().kind() != "aborted" {}
    println!("told by the manager");
    while of_set.recv_blocking().unwrap().kind() != "aborted" {}
    println!("told by the set");
    outcome(&blockers.close()).unwrap();
    println!("done");
}

/// For a second, more teardowns are due than may run at once, and all that run block, so the library has nothing to do.
fn blocked_teardowns() {
    const TEARDOWNS: usize = 600;
    const AT_ONCE: usize = 512;
    let gate = Arc::new(RwLock::new(()));
    let held = gate.write().unwrap();
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    for _ in 0..TEARDOWNS {
        let (gate, tell) = (gate.clone(), tell.clone());
        let teardown = move || {
            tell.send(()).unwrap();
            drop(gate.read());
        };
        app.child().set_teardown(teardown).unwrap();
    }
    app.close();
    for _ in 0..AT_ONCE {
        told.recv_timeout(LIMIT).unwrap();
    }
    let before = cpu_time();
    // No teardown ends in this second, so nothing happens.
    assert!(told.recv_timeout(Duration::from_secs(1)).is_err());
    println!("idle: {} ms", (cpu_time() - before).as_millis());
    drop(held);
    outcome(&app.closed()).unwrap();
    println!("done");
}
