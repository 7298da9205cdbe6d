//! Compares the cost of 100,000 supervised units with that of 100,000 plain async bodies, in one run. `cargo bench -p
//! procession-supervisor --bench units` prints the tables. The two sides take turns, and each time is the median of its
//! rounds.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use procession::{Job, Process};
use procession_runnable::{body, run_in};
use procession_supervisor::{Manager, MemoryTable, State};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const UNITS: u32 = 100_000;
const ROUNDS: usize = 9;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(runtime.block_on(plain_bodies()));
        ours.push(runtime.block_on(units()));
    }
    let (ours, plain) = (median(ours), median(plain));
    let ratio = ours.as_secs_f64() / plain.as_secs_f64();
    let mark = if ratio <= 2.0 { "" } else { " (missed)" };
    println!("| work, ns for each of 100,000 | supervised | plain bodies | ratio | must be |");
    println!("|---|---|---|---|---|");
    let each = |time: Duration| (time / UNITS).as_nanos();
    println!("| start to ready | {} | {} | {ratio:.2} | ≤ 2{mark} |", each(ours), each(plain));

    memory();
}

/// Measures the heap that an idle unit holds, including the task of its body, and the heap that a plain body holds.
fn memory() {
    let executor = Arc::new(smol::Executor::new());
    let spawner = executor.clone();
    let app = Process::builder().spawner(move |job: Job| spawner.spawn(job).detach()).build();
    let app = app.expect("a process without edges");
    let table = table();
    let manager = Manager::builder(table.clone()).start_limit(Duration::MAX).build();
    let settle = || while executor.try_tick() {};
    let supervised = measure(|| {
        let ended = run_in(&app, &manager.runnable(), |p| async move { p.closing().await });
        executor.spawn(async { assert!(ended.await.is_ok()) }).detach();
        settle();
    });
    assert_eq!(
        manager.list().iter().filter(|unit| unit.state == State::Running).count(),
        UNITS as usize
    );
    app.close();
    settle();
    let app = Process::builder().spawner({
        let executor = executor.clone();
        move |job: Job| executor.spawn(job).detach()
    });
    let app = app.build().expect("a process without edges");
    let plain = measure(|| {
        for _ in 0..UNITS {
            assert!(app.spawn(|p| async move { p.closing().await }).is_ok());
        }
        settle();
    });
    app.close();
    settle();
    println!();
    println!("| heap for each of 100,000 when idle | bytes | allocations | must be |");
    println!("|---|---|---|---|");
    let row = |what: &str, counted: AllocationInfo, bound: &str| {
        let bytes = counted.bytes_current as f64 / f64::from(UNITS);
        let count = counted.count_current as f64 / f64::from(UNITS);
        println!("| {what} | {bytes:.0} | {count:.1} | {bound} |");
    };
    row("supervised unit", supervised, "≤ 2048");
    row("plain body", plain, "");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// The time until 100,000 plain bodies are ready. Each is ready when it is first polled.
async fn plain_bodies() -> Duration {
    let app = Process::new();
    let ready = Arc::new((AtomicU32::new(0), Notify::new()));
    let start = Instant::now();
    for _ in 0..UNITS {
        let ready = ready.clone();
        let spawned = app.spawn(move |p| async move {
            if ready.0.fetch_add(1, Ordering::Relaxed) + 1 == UNITS {
                ready.1.notify_one();
            }
            p.closing().await;
        });
        assert!(spawned.is_ok());
    }
    ready.1.notified().await;
    let taken = start.elapsed();
    assert!(app.close().await.is_ok());
    taken
}

fn table() -> MemoryTable<u32> {
    let table = MemoryTable::new();
    let idle = body(|run| async move {
        run.ready();
        run.closing().await;
    });
    for key in 0..UNITS {
        table.insert(key, idle.clone());
    }
    table
}

async fn units() -> Duration {
    let manager = Manager::builder(table()).start_limit(Duration::MAX).build();
    let start = Instant::now();
    let mut taken = Duration::ZERO;
    let ended = manager.run(|_| async { taken = start.elapsed() }).await;
    assert!(ended.is_ok());
    taken
}
