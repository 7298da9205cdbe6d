//! The cost of inspecting a program: snapshots and blockers of many processes, and how long they hold up a thread that
//! closes some of them.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;

fn main() {
    snapshot_and_closing(1_000_000);
    report(100_000);
    hold_up(100_000);
}

/// A root with children, and the handles to them.
fn wide(children: usize) -> (Process, Vec<Process>) {
    let root = Process::new();
    let children = (0..children).map(|_| root.child()).collect();
    (root, children)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn snapshot_and_closing(count: usize) {
    let (mut snapshots, mut closings) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let (root, children) = wide(count);
        let start = Instant::now();
        let snapshot = root.snapshot();
        snapshots.push(start.elapsed());
        drop(black_box(snapshot));
        let start = Instant::now();
        root.close();
        closings.push(start.elapsed());
        assert!(root.is_closed());
        drop(children);
    }
    let (snapshot, closing) = (median(snapshots), median(closings));
    let ratio = snapshot.as_secs_f64() / closing.as_secs_f64();
    println!(
        "snapshot of {count}: {snapshot:.2?}, closing the same: {closing:.2?}, ratio {ratio:.2}"
    );
}

/// The first report of a stuck program: every process is Closing, and has a body that does not end.
fn report(count: usize) {
    let root = Process::builder().name("app").build().expect("it has no edge");
    let body = |number: usize| {
        let session = Process::builder().name(format!("session-{number}")).parent(&root);
        session.spawn(|_| std::future::pending::<()>()).expect("the root is open")
    };
    let bodies: Vec<_> = (0..count).map(body).collect();
    root.close();
    let report = || {
        let start = Instant::now();
        let blockers = root.blockers(16);
        assert_eq!(blockers.total, count);
        black_box(blockers.to_string());
        start.elapsed()
    };
    let time = median((0..15).map(|_| report()).collect());
    println!("blockers of {count} stuck bodies, as text: {time:.2?}");
    assert!(root.abort().wait().is_ok());
    drop(bodies);
}

/// The longest times that making and closing a child takes, with and without a thread that continuously takes snapshots
/// of the parent.
fn hold_up(count: usize) {
    let (root, children) = wide(count);
    let churn = || {
        let mut times: Vec<Duration> = (0..1_000_000)
            .map(|_| {
                let start = Instant::now();
                root.child().close();
                start.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() - times.len() / 10_000]
    };
    let without = churn();
    let is_done = AtomicBool::new(false);
    let with = thread::scope(|threads| {
        threads.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                black_box(root.snapshot());
            }
        });
        let with = churn();
        is_done.store(true, Ordering::Relaxed);
        with
    });
    let ratio = with.as_secs_f64() / without.as_secs_f64();
    println!(
        "p99.99 of making and closing a child next to {count} others: {without:.2?} alone, {with:.2?} while another \
         thread takes snapshots, ratio {ratio:.1}"
    );
    drop(children);
}
