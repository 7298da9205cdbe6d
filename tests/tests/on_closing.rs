//! `on_closing`: functions that run when a process begins to close.

use std::io::Read;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use procession::{ChildFailure, Error, Phase, Process, Work};
use procession_tests::{LIMIT, closing, ends_well, in_time, outcome};

/// A function to register, and a channel on which it sends its thread when it runs.
fn telling() -> (impl FnOnce() + Send + 'static, mpsc::Receiver<ThreadId>) {
    let (tell, told) = mpsc::channel();
    (move || tell.send(thread::current().id()).unwrap(), told)
}

/// The function interrupts a blocked read, so the process becomes Closed.
#[test]
fn a_blocked_read_is_interrupted() {
    let app = Process::new();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, _) = listener.accept().unwrap();
    let (tell, told) = mpsc::channel();
    let reader = app
        .spawn_thread(move |p| {
            let other = stream.try_clone()?;
            let guard = p.on_closing(move || other.shutdown(Shutdown::Both))?;
            tell.send(()).unwrap();
            let read = (&stream).read(&mut [0; 8])?;
            assert_eq!(read, 0);
            drop(guard);
            procession::ok()
        })
        .unwrap();
    told.recv_timeout(LIMIT).unwrap();
    in_time(move || app.close_blocking()).unwrap();
    ends_well(&reader);
    drop(silent);
}

/// The function runs once, before the teardown, and never on the stack of `close`, `abort` or `close_blocking`.
#[test]
fn the_function_runs_once_before_the_teardown() {
    let close: fn(&Process) = |p| drop(p.close());
    for close in [close, |p| drop(p.abort()), |p| drop(p.close_blocking())] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let (told, teardown) = (log.clone(), log.clone());
        let process = Process::with_teardown(move || teardown.lock().unwrap().push(None));
        let hook = move || told.lock().unwrap().push(Some(thread::current().id()));
        let guard = process.on_closing(hook).unwrap();
        close(&process);
        ends_well(&process);
        assert!(!guard.cancel());
        let log = log.lock().unwrap();
        assert_eq!(log.len(), 2, "{log:?}");
        assert!(log[0].is_some_and(|thread| thread != thread::current().id()) && log[1].is_none());
    }
}

/// I10: the function may take a lock that the caller of `close` holds: `close` still returns at once.
#[test]
fn a_lock_of_the_caller_of_close_delays_only_the_function() {
    let process = Process::new();
    let shared = Arc::new(Mutex::new(0));
    let other = shared.clone();
    process.on_closing(move || *other.lock().unwrap() += 1).unwrap().detach();
    let held = shared.lock().unwrap();
    let closed = process.close();
    assert_eq!(process.phase(), Phase::Closing);
    drop(held);
    outcome(&closed).unwrap();
    assert_eq!(*shared.lock().unwrap(), 1);
}

/// If the process is already Closing, the function runs at once. If its teardown has started, or it is the background
/// process, the call is refused.
#[test]
fn a_late_function_runs_at_once_or_is_refused() {
    let (process, gate) = closing();
    let (tell, told) = telling();
    let guard = process.on_closing(tell).unwrap();
    told.recv_timeout(LIMIT).unwrap();
    assert!(!guard.cancel());
    gate.close();
    ends_well(&process);
    let refused = process.on_closing(|| ()).unwrap_err();
    assert!(matches!(&refused, Error::Closed(label) if *label == process.label()), "{refused}");
    let refused = Process::background().on_closing(|| ()).unwrap_err();
    assert!(matches!(refused, Error::Background), "{refused}");
}

/// A refused function is dropped without a call.
#[test]
fn a_refused_function_is_dropped() {
    let process = Process::new();
    process.close_blocking().unwrap();
    let (tell, told) = mpsc::channel::<()>();
    assert!(process.on_closing(move || drop(tell)).is_err());
    assert_eq!(told.recv_timeout(LIMIT), Err(mpsc::RecvTimeoutError::Disconnected));
}

/// Dropping the guard cancels the function. A library thread drops its captures at once.
#[test]
fn dropping_the_guard_cancels_it() {
    struct Dropped(mpsc::Sender<ThreadId>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }

    let process = Process::new();
    let (tell, told) = mpsc::channel();
    let (ran, run) = (Arc::new(AtomicUsize::new(0)), Dropped(tell));
    let count = ran.clone();
    let guard = process.on_closing(move || {
        count.fetch_add(1, Ordering::SeqCst);
        drop(run);
    });
    drop(guard.unwrap());
    assert_ne!(told.recv_timeout(LIMIT).unwrap(), thread::current().id());
    assert!(process.on_closing(|| panic!("cancelled")).unwrap().cancel());
    assert_eq!(process.phase(), Phase::Running);
    process.close_blocking().unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

/// A function that has started is not cancelled, and dropping its guard does not wait for it.
#[test]
fn a_running_function_is_not_cancelled() {
    let process = Process::new();
    let (started, start) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let guard = process.on_closing(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    let guard = guard.unwrap();
    let closed = process.close();
    start.recv_timeout(LIMIT).unwrap();
    assert!(!guard.cancel());
    assert_eq!(closed.wait_timeout(Duration::ZERO).map(|outcome| outcome.is_ok()), None);
    go.send(()).unwrap();
    outcome(&closed).unwrap();
}

/// A function that has not started delays neither the end of the body nor `close_after_children`.
#[test]
fn a_waiting_function_keeps_no_process_running() {
    let process = Process::new();
    let (tell, told) = telling();
    process.on_closing(tell).unwrap().detach();
    assert_eq!(process.child_count(), 0);
    outcome(&process.close_after_children()).unwrap();
    told.try_recv().unwrap();

    let (tell, told) = telling();
    let body =
        Process::new().spawn_thread(move |p| p.on_closing(tell).map(procession::OnClosing::detach));
    ends_well(&body.unwrap());
    told.try_recv().unwrap();
}

/// I8: neither the guard nor a function that captures no handle keeps a process open: it closes with its last handle.
#[test]
fn neither_guard_nor_function_is_a_handle() {
    let process = Process::new();
    let (tell, told) = telling();
    let guard = process.on_closing(tell).unwrap();
    let closed = process.closed();
    drop(process);
    outcome(&closed).unwrap();
    told.try_recv().unwrap();
    assert!(!guard.cancel());
}

/// A panic or an error of the function counts as the failure of a child: hooks receive it, and a parent with
/// `ChildFailure::Close` has it in its outcome. The other functions still run.
#[test]
fn failures_are_those_of_a_child() {
    let app = Process::builder().name("app").on_child_failure(ChildFailure::Close);
    let app = app.build().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    app.on_failure(move |_, error| told.lock().unwrap().push(error.with_causes().to_string()));
    app.on_closing(|| panic!("out of paper")).unwrap().detach();
    app.on_closing(|| Err("no disk")).unwrap().detach();
    let (tell, ran) = telling();
    app.on_closing(tell).unwrap().detach();
    app.close();
    let Err(Error::Many(errors)) = outcome(&app.closed()) else { panic!() };
    ran.try_recv().unwrap();
    let mut all: Vec<String> = errors.iter().map(|error| error.with_causes().to_string()).collect();
    all.sort();
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    assert_eq!(all, seen);
    let is = |text: &str, end: &str| {
        text.starts_with("process `app` › tests/tests/on_closing.rs:") && text.ends_with(end)
    };
    assert!(is(&all[0], "panicked: out of paper") && is(&all[1], "failed: no disk"), "{all:?}");
}

/// I13: the function cannot wait for its own process.
#[test]
fn a_wait_for_its_own_process_is_refused() {
    let process = Process::new();
    let (tell, told) = mpsc::channel();
    let closed = process.closed();
    process.on_closing(move || drop(tell.send(closed.wait()))).unwrap().detach();
    process.close();
    let refused = told.recv_timeout(LIMIT).unwrap();
    assert!(matches!(refused, Err(Error::Deadlock(_))), "{refused:?}");
    ends_well(&process);
}

/// 600 bodies block until a function of their own process interrupts them, and 600 teardowns block too. The limit of
/// 512 does not apply to the functions.
#[test]
fn the_limit_of_the_pool_does_not_delay_it() {
    let app = Process::new();
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(Mutex::new(gate));
    let blocked = Process::new();
    let running = Arc::new(AtomicUsize::new(0));
    for _ in 0..520 {
        let (gate, running) = (gate.clone(), running.clone());
        let child = blocked.child();
        let teardown = move || {
            running.fetch_add(1, Ordering::SeqCst);
            let _ = gate.lock().unwrap().recv();
        };
        child.set_teardown(teardown).unwrap();
    }
    blocked.close();
    while running.load(Ordering::SeqCst) < 512 {
        thread::yield_now();
    }
    let (tell, told) = telling();
    app.on_closing(tell).unwrap().detach();
    app.close();
    told.recv_timeout(LIMIT).unwrap();
    ends_well(&app);
    drop(go);
    ends_well(&blocked);
}

/// I18: a function that blocks has a line of its own among the blockers, under its process.
#[test]
fn a_function_that_blocks_is_a_blocker() {
    let app = Process::builder().name("app").build().unwrap();
    let server = Process::builder().name("server").parent(&app).build().unwrap();
    let (started, start) = mpsc::channel();
    let (go, gate) = mpsc::channel::<()>();
    let line = line!() + 1;
    let guard = server.on_closing(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    guard.unwrap().detach();
    let closed = app.close();
    start.recv_timeout(LIMIT).unwrap();
    let blockers = app.blockers(16).to_string();
    let hook =
        format!("app › server: closing hook (tests/tests/on_closing.rs:{line}), running for ");
    assert!(blockers.starts_with(&hook) && blockers.lines().count() == 1, "{blockers}");
    let snapshot = app.snapshot();
    let works: Vec<Work> = snapshot.processes().map(|process| process.work()).collect();
    assert!(works.contains(&Work::Hook), "{works:?}");
    drop(go);
    outcome(&closed).unwrap();
}

/// I12: a long-lived process does not grow as guards come and go.
#[test]
fn cancelled_functions_leave_nothing_behind() {
    let process = Process::new();
    let kept: Vec<_> = (0..100).map(|_| process.on_closing(|| ()).unwrap()).collect();
    let alive = Arc::new(());
    for _ in 0..10_000 {
        let held = alive.clone();
        assert!(process.on_closing(move || drop(held)).unwrap().cancel());
    }
    drop(kept);
    process.close_blocking().unwrap();
}
