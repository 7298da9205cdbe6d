//! Run by a test in `foreign.rs`: makes a chain of 100,000 processes on a small stack, in which each process owns
//! the last handle of the next one, and drops the chain. The argument says what owns the handle.

#![forbid(unsafe_code)]

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::Context;
use std::thread;

use procession::{Closed, Inline, Job, Process};
use procession_tests::LIMIT;
use procession_tests::foreign::{keep, waker};

const LENGTH: usize = 100_000;

/// Makes the process that owns `next`.
fn link(owner: &str, next: Owned) -> Process {
    match owner {
        "hook" => {
            let process = Process::new();
            process.on_failure(move |_, _| keep(&next));
            process
        }
        "teardown" => Process::with_teardown(move || drop(next)),
        "inline-teardown" => {
            Process::builder().spawner(Inline).teardown(move || drop(next)).build().unwrap()
        }
        "async-teardown" => {
            let teardown = move || async move { drop(next) };
            Process::builder().teardown_async(teardown).build().unwrap()
        }
        "error" => Process::with_teardown(move || Err(next)),
        "inline-error" => {
            Process::builder().spawner(Inline).teardown(move || Err(next)).build().unwrap()
        }
        "spawner" => {
            let spawner = move |job: Job| {
                keep(&next);
                job.run();
            };
            Process::builder().spawner(spawner).build().unwrap()
        }
        "body" => {
            let process = Process::new();
            let body = move |p: Process| async move {
                p.closing().await;
                drop(next);
            };
            process.spawn(body).unwrap();
            process
        }
        other => panic!("{other}"),
    }
}

/// The last handle of a process.
struct Owned {
    _process: Process,
    /// The receiver is disconnected when all handles are dropped.
    _alive: std::sync::mpsc::Sender<()>,
}

impl StdError for Owned {}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owned")
    }
}

impl fmt::Display for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

fn main() {
    let owner = std::env::args().nth(1).unwrap();
    let run = move || if owner == "waker" { chain_of_wakers() } else { chain(&owner) };
    thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
    println!("all closed");
}

fn chain(owner: &str) {
    let (alive, gone) = channel();
    let last = Process::new();
    let closed = last.closed();
    let mut next = last;
    for _ in 0..LENGTH {
        next = link(owner, Owned { _process: next, _alive: alive.clone() });
    }
    drop((next, alive));
    assert!(closed.wait_timeout(LIMIT).is_some());
    assert_eq!(gone.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
}

/// The waker of each process's waiter owns the next process.
fn chain_of_wakers() {
    let last = Process::new();
    let closed = last.closed();
    let mut next = last;
    let mut waiters: Vec<std::pin::Pin<Box<Closed>>> = Vec::new();
    for _ in 0..LENGTH {
        let process = Process::new();
        let waker = waker(move || keep(&next));
        let mut waiter = Box::pin(process.closed());
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        waiters.push(waiter);
        next = process;
    }
    drop(next);
    assert!(closed.wait_timeout(LIMIT).is_some());
}
