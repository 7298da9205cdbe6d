//! A worked model of the guide: a cache with a refresher.
//!
//! The refresher is a body of the cache, so the cache's teardown waits for it, and nothing fills the cache after it was
//! emptied (I2). The refresher pauses in a wait with a timeout, which in a model ends in both ways.

#![cfg(loom)]

use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;
use procession::Process;
use procession_loom_tests::model;

const PERIOD: Duration = Duration::from_secs(60);

struct Cache {
    process: Process,
    refresher: Process,
    /// The number of times that it was refreshed; `None` once it is emptied.
    entry: Arc<Mutex<Option<u32>>>,
}

impl Cache {
    fn new() -> Self {
        let entry = Arc::new(Mutex::new(Some(0)));
        let emptied = entry.clone();
        let process = Process::builder()
            .name("cache")
            .teardown(move || *emptied.lock().unwrap() = None)
            .build()
            .unwrap();
        let refreshed = entry.clone();
        let refresh = move |refresher: Process| {
            while refresher.closing().wait_timeout(PERIOD).is_none() {
                let mut entry = refreshed.lock().unwrap();
                *entry = Some(entry.unwrap_or(0) + 1);
            }
        };
        let refresher = process.spawn_thread(refresh).unwrap();
        Self { process, refresher, entry }
    }

    /// The entry, unless the cache was emptied.
    fn get(&self) -> Option<u32> {
        *self.entry.lock().unwrap()
    }
}

/// I2, I4: the teardown runs after the body, so an emptied cache stays empty.
#[test]
fn an_emptied_cache_stays_empty() {
    // Counted over all executions, so with the standard library's atomics.
    let refreshed = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let most = refreshed.clone();
    model(2, move || {
        let cache = Arc::new(Cache::new());
        let reader = cache.clone();
        let reading = thread::spawn(move || {
            let (before, after) = (reader.get(), reader.get());
            assert!(after.is_none() || after >= before, "the entry went back");
            after
        });
        cache.process.close_blocking().unwrap();
        let seen = reading.join().unwrap().unwrap_or(0);
        // The cache has waited for the refresher. Otherwise, the refresher could have filled the cache by now.
        cache.refresher.closed().wait().unwrap();
        assert_eq!(cache.get(), None);
        most.fetch_max(seen, std::sync::atomic::Ordering::Relaxed);
    });
    let refreshed = refreshed.load(std::sync::atomic::Ordering::Relaxed);
    assert!(refreshed > 0, "the model has executions in which the period is over");
}
