//! Compares the cost of 100,000 supervised units with that of 100,000 plain async bodies in one run: `cargo bench -p
//! procession-supervisor --bench units` prints the tables. The two sides take turns, and each time is the median of its
//! rounds.

#![forbid(unsafe_code)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use allocation_counter::{AllocationInfo, measure};
use procession::{ChildFailure, Job, Process};
use procession_runnable::{body, run_in};
use procession_supervisor::{Backoff, Manager, MemoryTable, Policy, Rate, State};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

const UNITS: u32 = 100_000;
const FAILING: u32 = 10_000;
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

    restarts(&runtime);
    memory();
}

/// Units that fail at once and are ready again, and plain bodies that fail at once and are spawned again.
fn restarts(runtime: &Runtime) {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(runtime.block_on(bodies_again()));
        ours.push(runtime.block_on(units_again()));
    }
    let (ours, plain) = (median(ours), median(plain));
    let ratio = ours.as_secs_f64() / plain.as_secs_f64();
    let mark = if ratio <= 3.0 { "" } else { " (missed)" };
    let each = |time: Duration| (time / FAILING).as_nanos();
    println!(
        "| fail to ready again, of 10,000 | {} | {} | {ratio:.2} | ≤ 3{mark} |",
        each(ours),
        each(plain)
    );
}

/// A gate that opens once, and the number of bodies that are ready.
#[derive(Default)]
struct Rounds {
    is_open: AtomicBool,
    opened: Notify,
    ready: AtomicU32,
    all: Notify,
}

impl Rounds {
    /// Counts a body as ready, and waits until the gate opens; the body should then fail. Returns `false` at once if
    /// the gate is open already.
    async fn is_first(&self) -> bool {
        let opened = self.opened.notified();
        let is_first = !self.is_open.load(Ordering::SeqCst);
        if (self.ready.fetch_add(1, Ordering::SeqCst) + 1) % FAILING == 0 {
            self.all.notify_one();
        }
        if is_first {
            opened.await;
        }
        is_first
    }

    async fn open(&self) -> Duration {
        let start = Instant::now();
        self.is_open.store(true, Ordering::SeqCst);
        self.opened.notify_waiters();
        self.all.notified().await;
        start.elapsed()
    }
}

async fn units_again() -> Duration {
    let table = MemoryTable::new();
    let rounds = Arc::new(Rounds::default());
    for key in 0..FAILING {
        let rounds = rounds.clone();
        let unit = body(move |run| {
            let rounds = rounds.clone();
            async move {
                run.ready();
                if rounds.is_first().await {
                    return Err("broken");
                }
                run.closing().await;
                Ok(())
            }
        });
        table.insert(key, unit);
    }
    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO).jitter(false);
    let manager = Manager::builder(table)
        .start_limit(Duration::MAX)
        .policy(Policy::new().backoff(backoff))
        .restart_rate(Rate::new(1, Duration::ZERO))
        .build();
    let mut taken = Duration::ZERO;
    let ended = manager.run(|_| async {
        rounds.all.notified().await;
        taken = rounds.open().await;
    });
    assert!(ended.await.is_ok());
    taken
}

async fn bodies_again() -> Duration {
    let app = Process::builder().on_child_failure(ChildFailure::Ignore).build();
    let app = app.expect("a process without edges");
    let rounds = Arc::new(Rounds::default());
    let spawn = |rounds: Arc<Rounds>| {
        let spawned = app.spawn(move |p| async move {
            if rounds.is_first().await {
                return Err("broken");
            }
            p.closing().await;
            Ok(())
        });
        spawned.expect("the parent is open")
    };
    let bodies: Vec<Process> = (0..FAILING).map(|_| spawn(rounds.clone())).collect();
    rounds.all.notified().await;
    let again = async {
        for body in bodies {
            assert!(body.closed().await.is_err());
            spawn(rounds.clone());
        }
    };
    let (taken, ()) = futures_lite::future::zip(rounds.open(), again).await;
    assert!(app.close().await.is_ok());
    taken
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
    let row = |what: &str, counted: AllocationInfo, bound: Option<(f64, f64)>| {
        let bytes = counted.bytes_current as f64 / f64::from(UNITS);
        let count = counted.count_current as f64 / f64::from(UNITS);
        let bound = bound.map_or_else(String::new, |(most_bytes, most)| {
            let mark = if bytes <= most_bytes && count <= most + 0.05 { "" } else { " (missed)" };
            format!("≤ {most_bytes}, {most}{mark}")
        });
        println!("| {what} | {bytes:.0} | {count:.1} | {bound} |");
    };
    row("supervised unit", supervised, Some((600.0, 5.0)));
    row("plain body", plain, None);
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
