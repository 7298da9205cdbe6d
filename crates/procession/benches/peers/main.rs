//! The cost of processes, compared with that of other crates in the same run.
//!
//! `cargo bench -p procession --bench peers` prints a table. The last rows, heap bytes and allocations, come from the
//! benchmark `heap`, whose allocator counts them. Each figure is the median of several rounds. The two sides of a row
//! take turns.

#![forbid(unsafe_code)]

mod built_on;
mod growth;
mod latency;
mod pool;
mod table;
mod tasks;

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use procession::Process;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use table::{Table, median};

const CHILDREN: usize = 100_000;
const ROUNDS: usize = 15;

fn main() {
    let mut table = Table::new();
    let peers = wide(&mut table);
    teardowns(&mut table, peers);
    churn(&mut table);
    is_closing(&mut table);
    tasks::bodies(&mut table);
    watched(&mut table);
    tasks::watched_bodies(&mut table);
    tasks::pending_polls(&mut table);
    tasks::subsystems(&mut table);
    built_on::limited(&mut table, 100);
    built_on::limited(&mut table, 10_000);
    built_on::scope(&mut table);
    latency::thread(&mut table);
    latency::task(&mut table);
    pool::teardowns(&mut table);
    growth::growth(&mut table);
    table.print();
    heap();
}

/// The time that `run` takes for each of `count` elements.
fn each(count: usize, run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed() / u32::try_from(count).expect("a small count")
}

fn wide_tokens(count: usize) {
    let (root, tracker) = (CancellationToken::new(), TaskTracker::new());
    let children: Vec<_> = (0..count).map(|_| (root.child_token(), tracker.token())).collect();
    root.cancel();
    tracker.close();
    drop(children);
    assert!(tracker.is_empty());
}

fn wide_processes(count: usize) {
    wide_below(&Process::new(), count);
}

fn wide_below(root: &Process, count: usize) {
    let children: Vec<_> = (0..count).map(|_| root.child()).collect();
    root.close();
    assert!(root.is_closed());
    drop(children);
}

fn wide(table: &mut Table) -> Duration {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each(CHILDREN, || wide_tokens(CHILDREN)));
        ours.push(each(CHILDREN, || wide_processes(CHILDREN)));
    }
    let theirs = median(theirs);
    table.row("create + close + drop, 100,000 children of one root", median(ours), theirs, 0.7);
    theirs
}

fn teardowns(table: &mut Table, peers: Duration) {
    static RAN: AtomicU64 = AtomicU64::new(0);
    let mut ours = Vec::new();
    for _ in 0..ROUNDS {
        let ran = RAN.load(Ordering::Relaxed);
        let counter = &RAN;
        ours.push(each(CHILDREN, || {
            let root = Process::new();
            let children: Vec<_> = (0..CHILDREN)
                .map(|_| {
                    let child = root.child();
                    let set = child.set_teardown(move || {
                        counter.fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(set.is_ok());
                    child
                })
                .collect();
            assert!(root.close_blocking().is_ok());
            drop(children);
        }));
        assert_eq!(RAN.load(Ordering::Relaxed) - ran, CHILDREN as u64);
    }
    table.row("the same, each with a teardown closure", median(ours), peers, 1.4);
}

fn churn(table: &mut Table) {
    let (root, token, tracker) = (Process::new(), CancellationToken::new(), TaskTracker::new());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each(CHILDREN, || {
            for _ in 0..CHILDREN {
                let (child, tracked) = (token.child_token(), tracker.token());
                child.cancel();
                drop((child, tracked));
            }
        }));
        ours.push(each(CHILDREN, || {
            for _ in 0..CHILDREN {
                let child = root.child();
                child.close();
                drop(child);
            }
        }));
    }
    table.row("churn: make and close one child", median(ours), median(theirs), 0.7);
}

fn is_closing(table: &mut Table) {
    const LOADS: usize = 1_000_000;
    let (process, token) = (Process::new(), CancellationToken::new());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each(LOADS / 1000, || {
            let cancelled = (0..LOADS).filter(|_| token.is_cancelled()).count();
            assert_eq!(black_box(cancelled), 0);
        }));
        ours.push(each(LOADS / 1000, || {
            let closing = (0..LOADS).filter(|_| process.is_closing()).count();
            assert_eq!(black_box(closing), 0);
        }));
    }
    table.row("1,000 × `is_closing()`", median(ours), median(theirs), 0.1);
}

/// The first row, with and without a hook for events that does nothing.
fn watched(table: &mut Table) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(each(CHILDREN, || wide_processes(CHILDREN)));
        let root = Process::new();
        root.on_event(|_| ());
        with.push(each(CHILDREN, || wide_below(&root, CHILDREN)));
    }
    let name = "the first row with a no-op event hook, beside the same without";
    table.row(name, median(with), median(without), 3.0);
}

/// Runs the benchmark that counts allocations.
fn heap() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["bench", "--quiet", "-p", "procession", "--bench", "heap"];
    let status = std::process::Command::new(cargo).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "the benchmark `heap` failed");
}
