//! The workers: simulated work that fails in several ways.

use std::future::pending;
use std::ops::Range;
use std::thread;
use std::time::Duration;

use procession::{Clock, SystemClock};
use procession_runnable::{Run, body, body_thread};
use procession_supervisor::{Backoff, Manager, MemoryTable, Policy, Rate, Restart, Unit};

/// The time that a worker has to stop before it is aborted.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A manager of `count` workers, named `worker 01`, `worker 02` and so on. If `has_stuck`, the last one is stuck.
pub(crate) fn manager(count: u32, has_stuck: bool) -> Manager<String> {
    let table = MemoryTable::new();
    let digits = count.to_string().len().max(2);
    for number in 1..=count {
        let worker = match number == count && has_stuck {
            true => body_thread(stuck),
            false => body(move |run| work(run, number)),
        };
        let unit = Unit::new(worker).restart(Restart::Permanent);
        table.insert(format!("worker {number:0digits$}"), unit);
    }
    let policy = Policy::new()
        .grace(GRACE)
        .abort_grace(Duration::from_secs(3))
        .backoff(Backoff::new(Duration::from_millis(500), Duration::from_secs(30)))
        .intensity(Rate::new(3, Duration::from_secs(60)));
    Manager::builder(table).name("workers").policy(policy).event_capacity(10_000).build()
}

/// Simulates work until the worker should stop, fails or ends.
async fn work(run: Run, number: u32) -> Result<(), &'static str> {
    pause(&run, 0..500).await;
    run.ready();
    match number % 10 {
        // This worker fails soon after each start, and is given up.
        5 => {
            pause(&run, 200..1_000).await;
            return if run.is_closing() { Ok(()) } else { Err("no route to host") };
        }
        // This worker hangs: it never notices that it should stop. An abort drops its future.
        0 => pending().await,
        _ => {}
    }
    loop {
        pause(&run, 500..4_000).await;
        if run.is_closing() {
            return Ok(());
        }
        match fastrand::u32(..100) {
            0..6 => return Err("the connection was lost"),
            6..9 => panic!("index out of bounds"),
            9..11 => return Ok(()),
            _ => {}
        }
    }
}

/// Ignores even its abort, which is possible because nothing can end a thread from outside.
fn stuck(run: Run) {
    run.ready();
    loop {
        thread::park();
    }
}

/// Waits for a random time in this range, in milliseconds, or until the worker should stop.
async fn pause(run: &Run, milliseconds: Range<u64>) {
    let pause = Duration::from_millis(fastrand::u64(milliseconds));
    run.run_until_closing(SystemClock.sleep_until(SystemClock.now() + pause)).await;
}
