//! Model checks of procession: loom runs each model in every interleaving of its threads, up to a bound on
//! preemptions. The models stand in `tests/`; `cargo loom` runs them. Without `--cfg loom` there is nothing
//! here.

#![forbid(unsafe_code)]
#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};

/// Runs the model in all interleavings with at most `preemptions` of them. Two find nearly all; three are
/// affordable for two threads.
pub fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let executions = std::sync::atomic::AtomicUsize::new(0);
    let executions = Arc::new(executions);
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        run();
    });
    let executions = executions.load(std::sync::atomic::Ordering::Relaxed);
    println!("{executions} executions");
    assert!(executions > 1, "a model with one interleaving checks nothing");
}

/// Counts what was run. Its accesses are relaxed, so that a count is seen only by who is ordered after it
/// (I4).
#[derive(Clone)]
pub struct Count(Arc<AtomicUsize>);

impl Default for Count {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }
}

impl Count {
    /// Counts one more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count, as this thread can see it.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A function that counts one more.
    pub fn adder(&self) -> impl FnOnce() + Send + use<> {
        let count = self.clone();
        move || count.add()
    }
}
