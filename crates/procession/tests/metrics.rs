//! The numbers that a `metrics` recorder is given. A program has only one recorder, so this is a single test.

#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use procession::Process;
use procession::support::flush_events;

/// The last value or, for a histogram, the number of values, by name and labels.
#[derive(Clone, Default)]
struct Values(Arc<Mutex<BTreeMap<String, f64>>>);

struct Cell(String, Values);

impl Cell {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(self.1.0.lock().unwrap().entry(self.0.clone()).or_default());
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.change(|all| *all += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|all| *all = value as f64);
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.change(|all| *all += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|all| *all -= value);
    }

    fn set(&self, value: f64) {
        self.change(|all| *all = value);
    }
}

impl HistogramFn for Cell {
    fn record(&self, value: f64) {
        assert!((0.0..600.0).contains(&value));
        self.change(|all| *all += 1.0);
    }
}

impl Values {
    fn cell(&self, key: &Key) -> Arc<Cell> {
        let labels = key.labels().map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        Arc::new(Cell(name, self.clone()))
    }

    fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or_default()
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert!(unit.is_some());
    }

    fn describe_gauge(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert!(unit.is_some());
    }

    fn describe_histogram(&self, _: KeyName, unit: Option<Unit>, _: SharedString) {
        assert_eq!(unit, Some(Unit::Seconds));
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.cell(key))
    }
}

#[test]
fn a_recorder_is_given_the_numbers() {
    let values = Values::default();
    metrics::set_global_recorder(values.clone()).unwrap();
    let numbers = || {
        assert!(flush_events(Duration::from_secs(30)));
        let names = [
            "procession_processes phase=running",
            "procession_processes phase=closing",
            "procession_failures_total",
            "procession_closing_seconds",
        ];
        names.map(|name| values.get(name))
    };
    let app = Process::builder().name("secret-name").build().unwrap();
    let children: Vec<_> = (0..9).map(|_| app.child()).collect();
    assert_eq!(numbers(), [10.0, 0.0, 0.0, 0.0]);
    let failing = app.spawn_thread(|_| Err("secret-error")).unwrap();
    assert!(failing.closed().wait().is_err());
    assert_eq!(numbers(), [10.0, 0.0, 1.0, 1.0]);
    let gate = Process::new();
    app.wait_for(&gate).unwrap();
    app.close();
    assert_eq!(numbers(), [1.0, 1.0, 1.0, 10.0]);
    gate.close();
    app.closed().wait().unwrap();
    assert_eq!(numbers(), [0.0, 0.0, 1.0, 12.0]);
    drop(children);
    // A hook for events is set while a function given to `on_closing` runs.
    let watched = Process::new();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    watched.on_closing(move || assert!(gone.recv().is_err())).unwrap().detach();
    watched.close();
    watched.on_event(|_| ());
    drop(go);
    watched.closed().wait().unwrap();
    let [running, closing, ..] = numbers();
    assert_eq!([running, closing], [0.0, 0.0]);
    // The numbers are right even if events are missed.
    let root = Process::new();
    (0..200_000).for_each(|_| drop(root.child().close()));
    root.close_blocking().unwrap();
    assert_eq!(numbers()[..3], [0.0, 0.0, 1.0]);
    let names: Vec<_> = values.0.lock().unwrap().keys().cloned().collect();
    assert!(names.iter().all(|name| !name.contains("secret")), "{names:?}");
}
