//! A program with a live page: `cargo run --example page`, then open the address that it prints. Ctrl-C closes it, and
//! three of its parts hang until the grace of 30 s is over.

use std::thread;
use std::time::Duration;

use procession::{BoxError, Exit, Main, Process};
use procession_inspect::MainExt;

fn main() -> Exit {
    Main::new().name("app").grace(Duration::from_secs(30)).inspect(|page| page).run(run)
}

pub(crate) fn run(app: Process) -> Result<(), BoxError> {
    let db = Process::builder().name("db").parent(&app).build()?;
    let stubborn = |p: Process| assert!(p.aborting().wait());
    let cache = Process::builder().name("cache").parent(&db).spawn_thread(stubborn)?;
    let writer = Process::builder().name("writer").parent(&db);
    let writer = writer.spawn_thread(|_| Err("disk full"))?;
    let http = Process::builder().name("http").parent(&app).build()?;
    let session = |number: usize| {
        let session = Process::builder().name(format!("session-{number}")).parent(&http);
        session.spawn(|p| async move { assert!(p.aborting().await) })
    };
    let sessions: Vec<Process> = (0..38).map(session).collect::<Result<_, _>>()?;
    // The log waits for a server that nobody closes.
    let server = Process::builder().name("server").spawn(|p| async move { p.closing().await })?;
    let log = Process::builder().name("log").parent(&app).wait_for(&server).build()?;
    let worker = |number: usize| {
        let worker = Process::builder().name(format!("worker {number}")).parent(&app);
        worker.spawn_thread(move |p| {
            p.closing().wait();
            thread::sleep(Duration::from_millis(100 * number as u64));
        })
    };
    let workers: Vec<Process> = (0..20).map(worker).collect::<Result<_, _>>()?;
    let aborting = app.aborting();
    thread::spawn(move || {
        aborting.wait();
        server.close();
    });
    app.closing().wait();
    drop((cache, writer, sessions, log, workers));
    Ok(())
}
