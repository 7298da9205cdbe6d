//! Bodies on tokio, compared with tracked tasks and subsystems.

use std::future::Future;
use std::time::{Duration, Instant};

use procession::Process;
use tokio::runtime::Runtime;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::table::{Table, median};

const ROUNDS: usize = 15;

pub(crate) fn each_task<F: Future>(runtime: &Runtime, count: u32, run: F) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        run.await;
        start.elapsed() / count
    })
}

/// Bodies that wait for closing: spawns them, closes, and waits until all have ended.
pub(crate) fn bodies(table: &mut Table) {
    const BODIES: u32 = 10_000;
    let runtime = Runtime::new().expect("a runtime");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each_task(&runtime, BODIES, async {
            let (root, tracker) = (CancellationToken::new(), TaskTracker::new());
            for _ in 0..BODIES {
                let token = root.child_token();
                tracker.spawn(async move { token.cancelled().await });
            }
            root.cancel();
            tracker.close();
            tracker.wait().await;
        }));
        ours.push(each_task(&runtime, BODIES, bodies_below(Process::new(), BODIES)));
    }
    table.row("10,000 tokio bodies: spawn, close, wait", median(ours), median(theirs), 1.1);
}

async fn bodies_below(root: Process, count: u32) {
    for _ in 0..count {
        assert!(root.spawn(|p| async move { p.closing().await }).is_ok());
    }
    assert!(root.close().await.is_ok());
}

/// The same bodies, with and without a hook for events that does nothing.
pub(crate) fn watched_bodies(table: &mut Table) {
    const BODIES: u32 = 10_000;
    let runtime = Runtime::new().expect("a runtime");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(each_task(&runtime, BODIES, bodies_below(Process::new(), BODIES)));
        let root = Process::new();
        root.on_event(|_| ());
        with.push(each_task(&runtime, BODIES, bodies_below(root, BODIES)));
    }
    let name = "10,000 tokio bodies with a no-op event hook, beside the same without";
    table.row(name, median(with), median(without), 3.0);
}

/// A body that is woken and is pending again, many times.
pub(crate) fn pending_polls(table: &mut Table) {
    const POLLS: u32 = 200_000;
    async fn pend() {
        for _ in 0..POLLS {
            tokio::task::yield_now().await;
        }
    }
    let runtime = one_thread();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each_task(&runtime, POLLS, async {
            let tracker = TaskTracker::new();
            let task = tracker.spawn(pend());
            assert!(task.await.is_ok());
        }));
        ours.push(each_task(&runtime, POLLS, async {
            let body = Process::new().spawn(|_| pend()).expect("it is open");
            assert!(body.closed().await.is_ok());
        }));
    }
    let name = "a pending poll of a tokio body, beside a tracked task";
    table.row(name, median(ours), median(theirs), 1.3);
}

fn one_thread() -> Runtime {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
}

/// Bodies below a named process, compared with named subsystems.
pub(crate) fn subsystems(table: &mut Table) {
    const SUBSYSTEMS: u32 = 1_000;
    let runtime = Runtime::new().expect("a runtime");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each_task(&runtime, SUBSYSTEMS, async {
            let toplevel = Toplevel::new(async |root: &mut SubsystemHandle| {
                for _ in 0..SUBSYSTEMS {
                    let subsystem = async |handle: &mut SubsystemHandle| {
                        handle.on_shutdown_requested().await;
                        Ok::<(), std::io::Error>(())
                    };
                    root.start(SubsystemBuilder::new("worker", subsystem));
                }
                root.request_shutdown();
            });
            let ended = toplevel.handle_shutdown_requests(Duration::from_secs(60)).await;
            assert!(ended.is_ok());
        }));
        ours.push(each_task(&runtime, SUBSYSTEMS, async {
            let root = Process::builder().name("worker").build().expect("no edges");
            for _ in 0..SUBSYSTEMS {
                assert!(root.spawn(|p| async move { p.closing().await }).is_ok());
            }
            assert!(root.close_within(Duration::from_secs(60)).await.is_ok());
        }));
    }
    let name = "1,000 named bodies, beside tokio-graceful-shutdown's subsystems";
    table.row(name, median(ours), median(theirs), 1.0);
}
