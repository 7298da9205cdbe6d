//! Compares the cost of runnables with that of other crates in one run: `cargo bench -p procession-runnable --bench
//! peers` prints a table. Each figure is the median of the rounds, and the two sides of a row take turns.

#![forbid(unsafe_code)]

use std::future::Future;
use std::time::{Duration, Instant};

use procession::Process;
use procession_runnable::{Runnable, body, concurrent_group, parallel, run_in, run_to_end};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};

const PARTS: u32 = 1_000;
const ROUNDS: usize = 31;

fn main() {
    println!("| work, ns for each | procession | peer | ratio | must be |");
    println!("|---|---|---|---|---|");
    let runtime = Runtime::new().expect("a runtime");
    subsystems(&runtime);
    join_set(&runtime);
}

fn each<F: Future>(runtime: &Runtime, run: F) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        run.await;
        start.elapsed() / PARTS
    })
}

fn row(work: &str, mut ours: Vec<Duration>, mut theirs: Vec<Duration>, limit: f64) {
    let median = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos()
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    let ratio = ours as f64 / theirs as f64;
    let mark = if ratio <= limit { "" } else { " (missed)" };
    println!("| {work} | {ours} | {theirs} | {ratio:.2} | ≤ {limit}{mark} |");
}

/// 1,000 parts from start to stop.
fn subsystems(runtime: &Runtime) {
    let leaf = body(|run| async move {
        run.ready();
        run.closing().await;
    });
    let all: Runnable = parallel((0..PARTS).map(|_| leaf.clone()));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each(runtime, async {
            let toplevel = Toplevel::new(async |root: &mut SubsystemHandle| {
                for number in 0..PARTS {
                    let subsystem = async |handle: &mut SubsystemHandle| {
                        handle.on_shutdown_requested().await;
                        Ok::<(), std::io::Error>(())
                    };
                    root.start(SubsystemBuilder::new(format!("worker[{number}]"), subsystem));
                }
                root.request_shutdown();
            });
            let ended = toplevel.handle_shutdown_requests(Duration::from_secs(60)).await;
            assert!(ended.is_ok());
        }));
        ours.push(each(runtime, async {
            assert!(run_in(&Process::new(), &all, |_| async {}).await.is_ok());
        }));
    }
    row("parallel of 1,000, start to stop (tokio-graceful-shutdown)", ours, theirs, 0.25);
}

/// 1,000 parts that run to their end. Both sides start their parts in a task of the runtime, as the group does: a task
/// that is started by a thread of the runtime goes to that thread's own queue, and one that is started by another
/// thread goes to a queue that all share.
fn join_set(runtime: &Runtime) {
    let all = concurrent_group((0..PARTS).map(|_| body(|_| tokio::task::yield_now())));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each(runtime, async {
            let all = tokio::spawn(async {
                let mut set = JoinSet::new();
                for _ in 0..PARTS {
                    set.spawn(async {
                        tokio::task::yield_now().await;
                        Ok::<(), std::io::Error>(())
                    });
                }
                while let Some(ended) = set.join_next().await {
                    assert!(ended.is_ok_and(|ended| ended.is_ok()));
                }
            });
            assert!(all.await.is_ok());
        }));
        ours.push(each(runtime, async {
            assert!(run_to_end(&Process::new(), &all).await.is_ok());
        }));
    }
    row("concurrent_group of 1,000 (JoinSet)", ours, theirs, 1.3);
}
