//! Features built on processes: limited children and thread scopes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use procession::{Limited, Process};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::each;
use crate::table::{Table, median};
use crate::tasks::each_task;

const ROUNDS: usize = 15;

/// Short bodies, at most `limit` at a time: each is spawned when there is a slot.
pub(crate) fn limited(table: &mut Table, limit: usize) {
    const BODIES: u32 = 10_000;
    static RAN: AtomicU64 = AtomicU64::new(0);
    async fn body() {
        tokio::task::yield_now().await;
        RAN.fetch_add(1, Ordering::Relaxed);
    }
    let runtime = Runtime::new().expect("a runtime");
    let before = RAN.load(Ordering::Relaxed);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        theirs.push(each_task(&runtime, BODIES, async {
            let (token, tracker) = (CancellationToken::new(), TaskTracker::new());
            let semaphore = Arc::new(Semaphore::new(limit));
            for _ in 0..BODIES {
                let permit = semaphore.clone().acquire_owned().await.expect("an open semaphore");
                let token = token.clone();
                tracker.spawn(async move {
                    assert!(!token.is_cancelled());
                    body().await;
                    drop(permit);
                });
            }
            tracker.close();
            tracker.wait().await;
        }));
        ours.push(each_task(&runtime, BODIES, async {
            let root = Process::new();
            let limited = Limited::new(&root, limit).expect("a limit");
            for _ in 0..BODIES {
                let spawned = limited.spawn(|p| async move {
                    assert!(!p.is_closing());
                    body().await;
                });
                assert!(spawned.await.is_ok());
            }
            drop(limited);
            assert!(root.close_after_children().await.is_ok());
        }));
    }
    assert_eq!(RAN.load(Ordering::Relaxed) - before, 2 * ROUNDS as u64 * u64::from(BODIES));
    let name = format!("a limited tokio body, {limit} at a time (Semaphore + TaskTracker)");
    table.row(&name, median(ours), median(theirs), 1.2);
}

/// A scope of four threads that borrow.
pub(crate) fn scope(table: &mut Table) {
    const SCOPES: usize = 1_000;
    const THREADS: u64 = 4;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ran = AtomicU64::new(0);
        let count = || {
            ran.fetch_add(1, Ordering::Relaxed);
        };
        theirs.push(each(SCOPES, || {
            for _ in 0..SCOPES {
                thread::scope(|scope| {
                    for _ in 0..THREADS {
                        scope.spawn(count);
                    }
                });
            }
        }));
        ours.push(each(SCOPES, || {
            for _ in 0..SCOPES {
                let ended = procession::scope(|p| {
                    for _ in 0..THREADS {
                        assert!(p.spawn_thread(|_| count()).is_ok());
                    }
                });
                assert!(ended.is_ok());
            }
        }));
        assert_eq!(ran.into_inner(), 2 * SCOPES as u64 * THREADS);
    }
    table.row("a scope of 4 threads (std::thread::scope)", median(ours), median(theirs), 1.2);
}
