//! The metrics that a recorder receives. A program has only one recorder, so there is only one test.

#![cfg(not(loom))]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString,
    Unit,
};
use procession_runnable::body;
use procession_supervisor::{Manager, MemoryTable};

/// The numbers of running units and of restarts.
#[derive(Clone, Default)]
struct Values(Arc<[AtomicU64; 2]>);

struct Cell(Values, usize);

impl CounterFn for Cell {
    fn increment(&self, _: u64) {}

    fn absolute(&self, value: u64) {
        self.0.0[self.1].store(value, Ordering::SeqCst);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.0[self.1].store(value as u64, Ordering::SeqCst);
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert_eq!(key.name(), "procession_restarts_total");
        Counter::from_arc(Arc::new(Cell(self.clone(), 1)))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        assert_eq!(key.name(), "procession_units");
        let is_running = key.labels().any(|label| label.value() == "running");
        if is_running { Gauge::from_arc(Arc::new(Cell(self.clone(), 0))) } else { Gauge::noop() }
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_recorder_gets_the_metrics() {
    let values = Values::default();
    metrics::set_global_recorder(values.clone()).unwrap();
    let table = MemoryTable::new();
    let runs = Arc::new(AtomicU64::new(0));
    for key in 0..3 {
        let runs = runs.clone();
        let unit = body(move |run| {
            let run_number = runs.fetch_add(1, Ordering::SeqCst);
            async move {
                run.ready();
                if run_number == 0 {
                    return Err("broken");
                }
                run.closing().await;
                Ok(())
            }
        });
        table.insert(key, unit);
    }
    let manager = Manager::new(table);
    let mut events = manager.events();
    let numbers = || [0, 1].map(|at| values.0[at].load(Ordering::SeqCst));
    manager
        .run_blocking(|_| {
            let is_restarted = || runs.load(Ordering::SeqCst) == 4 && manager.counts().running == 3;
            while !is_restarted() {
                events.recv_blocking().unwrap();
            }
            // The task publishes the metrics after the events.
            while numbers() != [3, 1] {
                std::thread::yield_now();
            }
        })
        .unwrap();
    assert_eq!(numbers(), [0, 1]);
}
