//! The graphs of the examples survive every fault of a sweep.

#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use procession::{BoxError, Process};
use procession_runnable::{Runnable, run_in};
use procession_test::{Case, Fault, Report, Sweep};
use procession_tests::LIMIT;

#[path = "../../examples/echo.rs"]
#[expect(dead_code, reason = "only the example itself has a use for `main` and what it calls")]
mod echo;
#[path = "../../examples/web.rs"]
#[expect(dead_code, reason = "only the example itself has a use for `main` and what it calls")]
mod web;
#[path = "../../examples/supervise/workers.rs"]
mod workers;

/// A path that no other run uses.
fn scratch_path(name: &str) -> PathBuf {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("procession-swept-{}-{run}-{name}", std::process::id()))
}

/// Checks that each of these faults was injected into the process whose path ends like this.
#[track_caller]
fn assert_has_cases(report: &Report, path_ends: &str, faults: &[Fault]) {
    for fault in faults {
        let is_it = |case: &Case| case.path().ends_with(path_ends) && case.fault() == Some(*fault);
        assert!(report.cases().iter().any(is_it), "no case {path_ends}, {fault}: {report}");
    }
}

/// Does the fault of this case keep the teardown of the process from its work?
fn is_skipped(case: &Case, path_ends: &str) -> bool {
    let skips = [Fault::TeardownPanics, Fault::TeardownFails];
    case.path().ends_with(path_ends) && case.fault().is_some_and(|fault| skips.contains(&fault))
}

const BODY: [Fault; 3] = [Fault::BodyPanics, Fault::BodyIgnoresClosing, Fault::BodyEndsEarly];
const TEARDOWN: [Fault; 3] = [Fault::TeardownPanics, Fault::TeardownFails, Fault::TeardownHangs];

/// Starts the runnable, and waits until it is ready or has failed.
fn start(app: &Process, runnable: Runnable) -> Result<(), BoxError> {
    let (tell, ready) = mpsc::channel();
    Process::builder().name("main").parent(app).spawn(move |p| async move {
        let body = |p: Process| async move {
            tell.send(())?;
            p.closing().await;
            procession::ok()
        };
        run_in(&p, &runnable, body).await
    })?;
    let _has_started = ready.recv();
    Ok(())
}

#[test]
fn echo_survives_every_fault() {
    let build = |app: &Process| -> Result<PathBuf, BoxError> {
        let path = scratch_path("echo.log");
        let address = echo::start(app, &path)?;
        // With a fault, the server may not accept connections.
        let _echoed = connect(address);
        Ok(path)
    };
    let report = Sweep::new().run_checked(build, |case, path| {
        let path = path.as_ref().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(
            is_skipped(case, "app/log") || text.ends_with("end of log\n"),
            "the log is not complete: {text}"
        );
    });
    assert_has_cases(&report, "app/server", &TEARDOWN);
    assert_has_cases(&report, "app/log", &TEARDOWN);
    let bodies = report.cases().iter().filter(|case| case.fault() == Some(Fault::BodyPanics));
    assert!(bodies.count() >= 3, "{report}"); // the listener, a connection, the metrics
}

fn connect(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"hello")?;
    stream.read_exact(&mut [0; 5])
}

#[test]
fn web_survives_every_fault() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    let build = move |app: &Process| -> Result<PathBuf, BoxError> {
        let _context = handle.enter();
        let path = scratch_path("notes.db");
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let on_tokio = Process::builder().name("tokio").parent(app).spawner(handle.clone());
        start(&on_tokio.build()?, web::stack(listen, path.clone(), Duration::ZERO))?;
        Ok(path)
    };
    // The second process of the worker is the `on_closing` function that closes its queue. Without it, nothing ends the
    // thread that waits for the queue.
    let closes_queue = |path: &str| path.contains("/worker/") && path.ends_with("#2");
    let sweep = Sweep::new().except(move |path, _| closes_queue(path));
    let report = sweep.run_checked(build, |case, path| {
        let path = path.as_ref().unwrap();
        let has_log = path.with_extension("db-wal").exists();
        for extension in ["db", "db-wal", "db-shm"] {
            let _may_be_missing = std::fs::remove_file(path.with_extension(extension));
        }
        assert!(is_skipped(case, "/database") || !has_log, "the database was not closed");
    });
    for part in ["/database", "/worker", "/http", "/drain"] {
        assert!(report.cases().iter().any(|case| case.path().contains(part)), "{part}: {report}");
    }
}

#[test]
fn supervise_survives_every_fault() {
    let report = Sweep::new().run(|app| start(app, workers::manager(3, false).runnable()));
    assert_has_cases(&report, "worker 01", &BODY);
}
