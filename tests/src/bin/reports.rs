//! Run by the tests in `reports.rs`: programs about which `Main` has something to report. The argument says which.

#![forbid(unsafe_code)]

use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use procession::signal::SIGUSR1;
use procession::{ChildFailure, Error, Exit, Main, Periodic, Process, ok_with};
use procession_tests::recorder;

const SOON: Duration = Duration::from_millis(100);

fn main() -> Exit {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let mut main = Main::new().name("app");
    for option in &arguments[1..] {
        main = match option.as_str() {
            "grace" => main.grace(Duration::from_secs(30)),
            "soon" => main.grace(SOON),
            "give-up" => main.abort_grace(2 * SOON),
            "for-ever" => main.abort_grace(Duration::MAX),
            "quiet" => main.quiet(),
            "no-exit" => main.no_exit(),
            "hooked" => main.on_failure(|_, error| println!("hook: {error}")),
            "ignore" => main.on_child_failure(ChildFailure::Ignore),
            "close" => main.on_child_failure(ChildFailure::Close),
            "traced" => {
                recorder::install();
                main
            }
            other => panic!("{other}"),
        };
    }
    main.dump_on(SIGUSR1).run(|p| body(&p, &arguments[0]))
}

fn body(p: &Process, what: &str) -> Result<(), Error> {
    let named = |name| Process::builder().name(name).parent(p);
    match what {
        "ends" => {}
        "serve" => {
            p.spawn_thread(|worker| worker.closing().wait())?;
        }
        "stubborn" | "close-itself" => {
            named("stubborn").spawn_thread(|worker| assert!(worker.aborting().wait()))?;
            if what == "close-itself" {
                p.close();
            }
        }
        "aborts-itself" => {
            named("stubborn").spawn_thread(|worker| assert!(worker.aborting().wait()))?;
            p.abort();
        }
        "hang" | "flood" => {
            let failures = if what == "flood" { 500 } else { 0 };
            for number in 0..failures {
                let fails = move |_| Err(format!("{number} {}", "!".repeat(300)));
                p.spawn_thread(fails)?.closed().wait().unwrap_err();
            }
            named("hang").spawn_thread(|worker| {
                worker.aborting().wait();
                println!("hanging");
                loop {
                    thread::park();
                }
            })?;
        }
        "teardown" => {
            named("store").teardown(park_for_ever).build()?;
            p.close();
        }
        "order" => order(p)?,
        "culprits" => culprits(p)?,
        "fails" => {
            named("writer").spawn_thread(|_| Err(std::io::Error::other("disk full")))?;
            named("reader").spawn(|_| async { panic!("out of paper") })?;
        }
        "nasty" => {
            named("a\u{1b}[2J").spawn_thread(|_| Err("two\nlines\u{202e}"))?;
            p.spawn_thread(|_| Err(Nasty))?;
        }
        "alike" => {
            let fail = |_| Err("disk full");
            for number in 0..10 {
                let writer = Process::builder().name(format!("writer-{number}")).parent(p);
                writer.spawn_thread(fail)?.closed().wait().unwrap_err();
            }
        }
        "background" => {
            let elsewhere = Process::builder().name("job").parent(Process::background());
            elsewhere.spawn_thread(|_| Err("disk full"))?.closed().wait().unwrap_err();
        }
        "handled" => handled(p)?,
        "detached" => {
            drop(p.spawn_task_thread(|_| Err::<(), _>("detached"))?);
            let late = p.spawn_task_thread(|_| Err::<(), _>("read too late"))?;
            late.process().closed().wait().unwrap_err();
            drop(late);
        }
        "unread-roots" => unread_roots()?,
        "read-roots" => read_roots()?,
        "dropped-roots" => dropped_roots()?,
        "handed-on" => {
            let child = p.spawn_thread(|_| Err("disk full"))?;
            p.spawn_thread(move |_| child.closed().wait())?;
        }
        "question-mark" => {
            p.spawn_thread(|p| {
                let task = p.spawn_task(|_| async { Err::<(), _>("disk full") })?;
                task.wait()
            })?;
        }
        "two-mains" => {
            let other = Main::new().name("other").signals([]).no_exit();
            let status = other.run(|other| {
                drop(other.spawn_task_thread(|_| Err::<(), _>("disk full"))?);
                procession::ok()
            });
            println!("other: {status:?}");
        }
        "periodic" => {
            let ticks = futures_lite::stream::iter(0..3);
            Periodic::on(ticks).spawn_thread(p, |_| Err("disk full"))?;
        }
        other => panic!("{other}"),
    }
    println!("ready");
    Ok(())
}

fn park_for_ever() {
    loop {
        thread::park();
    }
}

/// A body that never ends, and teardowns that come after it, for all reasons.
fn order(p: &Process) -> Result<(), Error> {
    let named = |name: &str| Process::builder().name(name).parent(p).teardown(|| println!("torn"));
    p.set_teardown(|| println!("torn"))?;
    let cache = named("cache").spawn_thread(|_| park_for_ever())?;
    named("log").wait_for(&cache).build()?;
    named("db").close_after(&cache).build()?;
    for number in 0..12 {
        named(&format!("file-{number}")).wait_for(&cache).build()?;
    }
    for letter in 'a'..='n' {
        named(&letter.to_string()).wait_for(&cache).build()?;
    }
    let server = Process::builder().name("server").teardown(|| println!("torn")).build()?;
    let hung = Process::builder().name("hung").parent(p).teardown(park_for_ever).build()?;
    hung.wait_for(&server)?;
    std::mem::forget(server);
    named("done").build()?.close().wait()?;
    p.close();
    Ok(())
}

/// 110 processes, of which three do not end: a thread body, an async body and a session.
fn culprits(p: &Process) -> Result<(), Error> {
    let below = |parent: &Process, name: &str| Process::builder().name(name).parent(parent).build();
    let (db, http) = (below(p, "db")?, below(p, "http")?);
    let cache = Process::builder().name("cache").parent(&db);
    cache.spawn_thread(|cache| assert!(cache.aborting().wait()))?;
    Process::builder().name("index").parent(&db).spawn(|_| pending::<()>())?;
    for number in 0..105 {
        let session = Process::builder().name(format!("session-{number}")).parent(&http);
        session.spawn(move |session| async move {
            match number {
                42 => pending().await,
                _ => session.closing().await,
            }
        })?;
    }
    Ok(())
}

/// Failures that are handled in every way.
fn handled(p: &Process) -> Result<(), Error> {
    let fails = |_| Err("handled");
    let ignoring = Process::builder().parent(p).on_child_failure(ChildFailure::Ignore).build()?;
    ignoring.spawn_thread(fails)?.closed().wait().unwrap_err();
    let closing = Process::builder().parent(&ignoring).on_child_failure(ChildFailure::Close);
    closing.build()?.spawn_thread(fails)?.closed().wait().unwrap_err();
    // A second parent ignores the failure.
    let both = Process::builder().parent(p).parent(&ignoring);
    both.spawn_thread(fails)?.closed().wait().unwrap_err();
    let hooked = p.child();
    hooked.on_failure(|_, _| ());
    hooked.spawn_thread(fails)?.closed().wait().unwrap_err();
    Process::new().spawn_task_thread(|_| Err::<(), _>("handled"))?.wait().unwrap_err();
    p.spawn_task(|_| async { Err::<(), _>("handled") })?.wait().unwrap_err();
    futures_lite::future::block_on(p.run(|_| async { Err("handled") })).unwrap_err();
    drop(p.run(|_| pending::<()>()));
    procession::scope(|scope| scope.spawn_thread(|_| Err("handled")).map(drop)).unwrap_err();
    Process::with_teardown(|| Err("handled")).close_blocking().unwrap_err();
    // The parent aborts this one.
    let aborted = p.child();
    aborted.spawn(|_| pending::<()>())?;
    aborted.abort().wait()?;
    assert_eq!(p.spawn_task(|_| async { ok_with(1) })?.wait()?, 1);
    p.close();
    Ok(())
}

#[derive(Debug)]
struct Nasty;

impl std::fmt::Display for Nasty {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("in Display")
    }
}

impl std::error::Error for Nasty {}

/// Roots that fail after the last handle to them was dropped. Returns once their failures were reported.
fn unread_roots() -> Result<(), Error> {
    let (show, shown) = mpsc::channel::<()>();
    let fails = || {
        let show = show.clone();
        move || Err::<(), _>(Shown(show))
    };
    let named = |name| Process::builder().name(name);
    let fail = fails();
    let thread = named("thread").spawn_thread(|p| {
        let closing = p.closing();
        drop(p);
        closing.wait();
        fail()
    })?;
    let fail = fails();
    let task = named("task").spawn(|p| async {
        let closing = p.closing();
        drop(p);
        closing.await;
        fail()
    })?;
    let teardown = named("teardown").teardown(fails()).build()?;
    let limited = named("limited").time_limit(SOON).teardown(fails()).build()?;
    let (go, gate) = mpsc::channel::<()>();
    let fail = fails();
    let closed = named("closed").teardown(move || {
        let _ = gate.recv();
        fail()
    });
    let closed = closed.build()?;
    drop(closed.close());
    drop((thread, task, teardown, limited, closed));
    drop(go);
    for _ in 0..5 {
        let _ = shown.recv_timeout(Duration::from_secs(5));
    }
    Ok(())
}

/// Roots that fail while a handle or a waiter can read their outcomes.
fn read_roots() -> Result<(), Error> {
    let handle = Process::builder().name("handle").spawn_thread(|_| Err("disk full"))?;
    handle.closed().wait().unwrap_err();
    let waited = Process::builder().name("waited").teardown(|| Err("disk full")).build()?;
    let closed = waited.closed();
    drop(waited);
    closed.wait().unwrap_err();
    let looked_at = Process::builder().name("looked at").teardown(|| Err("disk full")).build()?;
    let _other_handle = looked_at.clone();
    close_unread(&looked_at)?;
    looked_at.outcome().unwrap().unwrap_err();
    let closed_for = closes_for_a_child("closed for")?;
    close_unread(&closed_for)?;
    futures_lite::future::block_on(closed_for.closed()).unwrap_err();
    Ok(())
}

/// Roots that fail while a handle or a waiter could read their outcomes, and are then dropped unread.
fn dropped_roots() -> Result<(), Error> {
    let fails = |name| Process::builder().name(name).teardown(|| Err("disk full")).build();
    let handle = fails("handle")?;
    close_unread(&handle)?;
    let (other, handle) = (handle.clone(), handle);
    drop(handle);
    drop(other);

    let waiter = fails("waiter")?;
    let closed = waiter.closed();
    close_unread(&waiter)?;
    drop(waiter);
    drop(closed);

    let waiter_first = fails("waiter first")?;
    let closed = waiter_first.closed();
    close_unread(&waiter_first)?;
    drop(closed);
    drop(waiter_first);

    // It is still closing when the last handle is dropped.
    let (go, gate) = mpsc::channel::<()>();
    let child = Process::with_teardown(move || {
        let _is_gone = gate.recv();
    });
    let parent = Process::builder().name("with child").spawn_thread(move |p| {
        p.add_child(&child).unwrap();
        Err("disk full")
    })?;
    parent.body_ended().wait()?;
    drop(parent);
    drop(go);

    let closes = closes_for_a_child("closes for")?;
    close_unread(&closes)?;
    drop(closes);
    Ok(())
}

/// A root that closes for a child, which fails when it is closed.
fn closes_for_a_child(name: &'static str) -> Result<Process, Error> {
    let root = Process::builder().name(name).on_child_failure(ChildFailure::Close).build()?;
    Process::builder().name("child").parent(&root).teardown(|| Err("disk full")).build()?;
    Ok(root)
}

/// Closes the process and waits until it is Closed, without reading its outcome.
fn close_unread(process: &Process) -> Result<(), Error> {
    let after = Process::builder().wait_for(process).build()?;
    process.close();
    after.close_blocking()
}

/// An error that tells when it is shown.
#[derive(Debug)]
struct Shown(mpsc::Sender<()>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let _ = self.0.send(());
        f.write_str("disk full")
    }
}

impl std::error::Error for Shown {}
