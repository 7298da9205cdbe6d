//! A shutdown of 110 processes that takes two seconds, and its timeline:
//! `cargo run --example shutdown -- shutdown.svg`.
//!
//! The thread of `cache` ends late, `importer` has to be aborted, `writer` fails, and `log` waits for `server`.

use std::thread;
use std::time::Duration;

use procession::{BoxError, Process};
use procession_inspect::Timeline;

fn main() -> Result<(), BoxError> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "shutdown.svg".to_owned());
    let app = Process::builder().name("app").teardown(|| pause(80)).build()?;
    app.on_failure(|process, error| println!("{}: {error}", process.path()));
    let timeline = Timeline::of(&app);

    let db = Process::builder().name("db").parent(&app).teardown(|| pause(400)).build()?;
    let cache = Process::builder().name("cache").parent(&db).spawn_thread(ends_after(1400))?;
    let writer = Process::builder().name("writer").parent(&db).spawn_thread(|p| {
        ends_after(250)(p);
        Err("disk full")
    })?;

    let http = Process::builder().name("http").parent(&app).build()?;
    let sessions: Vec<Process> = (0..98)
        .map(|number: u64| {
            let session = Process::builder().name(format!("session-{number}")).parent(&http);
            session.spawn_thread(ends_after(number * number / 20))
        })
        .collect::<Result<_, _>>()?;

    let server = Process::builder().name("server").parent(&app).spawn_thread(ends_after(700))?;
    let workers: Vec<Process> = ["accept", "tls", "health", "admin"]
        .into_iter()
        .map(|name| Process::builder().name(name).parent(&server).build())
        .collect::<Result<_, _>>()?;
    let log = Process::builder().name("log").parent(&app).wait_for(&server);
    let log = log.teardown(|| pause(150)).build()?;

    let importer = Process::builder().name("importer").parent(&app).spawn_thread(|p| {
        assert!(p.aborting().wait());
        pause(200);
    })?;
    let metrics = Process::builder().name("metrics").parent(&app).close_after(&importer);
    let metrics = metrics.teardown(|| pause(60)).build()?;

    pause(300);
    // The importer is aborted after a while; nothing else is.
    drop(importer.close_within(Duration::from_millis(500)));
    if let Err(error) = app.close_blocking() {
        println!("{error}");
    }
    println!("{}", timeline.critical_path());
    timeline.save(&path)?;
    println!("wrote {path}");
    drop((cache, writer, sessions, workers, log, metrics));
    Ok(())
}

/// A body that ends this many milliseconds after it was asked to close.
fn ends_after(millis: u64) -> impl Fn(Process) {
    move |p| {
        p.closing().wait();
        pause(millis);
    }
}

fn pause(millis: u64) {
    thread::sleep(Duration::from_millis(millis));
}
