//! The first model of the guide: a counter that saves its total when it closes.
//!
//! The teardown waits for an addition that was accepted (I2, I4, I6). Without the call of `wait_for`, the model fails.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;
use procession::{LinkError, Process};

struct Counter {
    process: Process,
    count: Arc<Mutex<u32>>,
}

impl Counter {
    fn new(saved: Arc<Mutex<u32>>) -> Result<Self, LinkError> {
        let count = Arc::new(Mutex::new(0));
        let total = count.clone();
        let save = move || *saved.lock().unwrap() = *total.lock().unwrap();
        let process = Process::builder().name("counter").teardown(save).build()?;
        Ok(Self { process, count })
    }

    /// Counts one more, unless the total is being saved.
    fn add(&self) -> Result<(), LinkError> {
        let adding = Process::new();
        self.process.wait_for(&adding)?; // The teardown waits until `adding` is dropped.
        *self.count.lock().unwrap() += 1;
        Ok(())
    }
}

#[test]
fn what_was_counted_is_saved() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let saved = Arc::new(Mutex::new(0));
        let counter = Arc::new(Counter::new(saved.clone()).unwrap());
        let other = counter.clone();
        let adder = thread::spawn(move || other.add().is_ok());
        counter.process.close_blocking().unwrap();
        let was_added = adder.join().unwrap();
        assert_eq!(*saved.lock().unwrap(), u32::from(was_added));
    });
}
