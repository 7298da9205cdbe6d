//! A program that builds on procession and model-checks itself: feature `loom` and `--cfg loom` are all it
//! needs.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;
use procession::{Inline, Process};
use procession_loom_tests::model;

/// A queue that takes no row once it closes, and writes all it has taken before it is Closed.
struct Queue {
    process: Process,
    rows: Arc<Mutex<Vec<u32>>>,
    written: Arc<Mutex<Vec<u32>>>,
}

impl Queue {
    fn new() -> Self {
        let (rows, written) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let flush = {
            let (rows, written) = (rows.clone(), written.clone());
            move || written.lock().unwrap().append(&mut rows.lock().unwrap())
        };
        let process = Process::builder().spawner(Inline).teardown(flush).build().unwrap();
        Self { process, rows, written }
    }

    /// Each row is put by a child from its birth on, so that the queue's teardown waits for it. (With
    /// `child()` and then `set_teardown` the queue could be Closed in between: the model finds that.)
    fn put(&self, row: u32) -> bool {
        let rows = self.rows.clone();
        let child = Process::builder()
            .parent(&self.process)
            .teardown(move || rows.lock().unwrap().push(row))
            .build();
        child.inspect(|child| drop(child.close())).is_ok()
    }
}

#[test]
fn what_the_queue_took_is_written() {
    model(2, || {
        let queue = Arc::new(Queue::new());
        let other = queue.clone();
        let writer = thread::spawn(move || other.put(1));
        queue.process.close_blocking().unwrap();
        let taken = writer.join().unwrap();
        let written = queue.written.lock().unwrap().clone();
        assert!(!taken || written == [1], "{written:?}");
    });
}
