//! A hundred thousand units.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession::{BoxError, Error, ManualClock, Process};
use procession_runnable::{Runnable, body};
use procession_supervisor::{
    Backoff, BoxFuture, BoxStream, Event, Happening, Manager, MemoryTable, Policy, Row, State,
    Table, Unit,
};

const UNITS: u32 = 100_000;

/// Counts the calls of a table.
#[derive(Clone)]
struct Counted {
    rows: MemoryTable<u32>,
    scans: Arc<AtomicUsize>,
    loads: Arc<AtomicUsize>,
}

impl Table<u32> for Counted {
    fn get<'a>(&'a self, key: &'a u32) -> BoxFuture<'a, Result<Option<Unit>, BoxError>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.rows.get(key)
    }

    fn iter(&self) -> BoxStream<'_, Result<Row<u32>, BoxError>> {
        self.scans.fetch_add(1, Ordering::SeqCst);
        self.rows.iter()
    }
}

/// One failed unit among many is restarted by its own timer, without a scan, and only its own row is loaded.
#[test]
fn one_unit_of_many_restarts_alone() {
    let rows = MemoryTable::new();
    let (fail, failed) = smol::channel::bounded::<()>(1);
    for key in 0..UNITS {
        let failed = failed.clone();
        let fails = key == UNITS / 2;
        rows.insert(
            key,
            body(move |run| {
                let failed = failed.clone();
                async move {
                    run.ready();
                    if fails {
                        if let Some(Ok(())) = run.run_until_closing(failed.recv()).await {
                            return Err("broken");
                        }
                    } else {
                        run.closing().await;
                    }
                    Ok(())
                }
            }),
        );
    }
    let table = Counted { rows, scans: Arc::default(), loads: Arc::default() };
    let clock = ManualClock::new();
    let policy = Policy::new().clock(clock.clone());
    let manager = Manager::builder(table.clone()).policy(policy).start_limit(Duration::MAX).build();
    manager
        .run_blocking(|_| {
            let list = manager.list();
            assert_eq!(list.len(), UNITS as usize);
            assert!(list.iter().all(|unit| unit.state == State::Running));
            let mut events = manager.events();
            let mut next = || events.recv_blocking().unwrap();
            let kind = |event: &Event<u32>| {
                assert_eq!(event.key(), Some(&50_000));
                event.kind()
            };
            fail.send_blocking(()).unwrap();
            assert_eq!(kind(&next()), "failed");
            let restarting = next();
            assert_eq!(kind(&restarting), "restarting");
            let Happening::Restarting { delay, .. } = restarting.what else { panic!() };
            clock.wait_for_sleepers(1);
            clock.advance(delay);
            assert_eq!(kind(&next()), "started");
            assert_eq!(kind(&next()), "ready");
            assert_eq!(table.scans.load(Ordering::SeqCst), 1);
            assert_eq!(table.loads.load(Ordering::SeqCst), 1);
        })
        .unwrap();
    assert!(manager.list().is_empty());
}

/// Many units that the first scan finds are started by several threads, each of them once.
#[test]
fn each_of_many_units_is_started_once() {
    const MANY: usize = 5_000;
    let starts: Arc<[AtomicUsize]> = (0..MANY).map(|_| AtomicUsize::new(0)).collect();
    let rows = MemoryTable::new();
    let idle = body(|run| async move {
        run.ready();
        run.closing().await;
    });
    for key in 0..MANY {
        let (starts, idle) = (starts.clone(), idle.clone());
        rows.insert(
            key,
            Runnable::new(move |start| {
                starts[key].fetch_add(1, Ordering::SeqCst);
                // Some units cannot be started, and some return a process that was made elsewhere.
                match key % 5 {
                    0 => Err(Error::Background),
                    1 => {
                        let elsewhere =
                            Process::background().spawn(|p| async move { p.closing().await });
                        drop(idle.start(start)?);
                        elsewhere
                    }
                    _ => idle.start(start),
                }
            }),
        );
    }
    let policy = Policy::new().backoff(Backoff::new(Duration::MAX, Duration::from_secs(30)));
    let manager = Manager::builder(rows).policy(policy).start_limit(Duration::MAX).build();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(manager.run(|_| async {
            let counts = manager.counts();
            assert_eq!(
                (counts.units, counts.waiting, counts.running),
                (MANY, MANY / 5, MANY / 5 * 4)
            );
            let process = manager.get(&1).unwrap();
            process.close().await.unwrap();
            assert!(starts.iter().all(|starts| starts.load(Ordering::SeqCst) == 1));
        }))
        .unwrap();
    assert!(manager.list().is_empty());
}
