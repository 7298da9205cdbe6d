//! A worked model of the guide: an ordered queue.
//!
//! Each row is a process that waits for the previous row, and whose teardown writes the row. So rows are written in the
//! order in which the queue took them, in whatever order they are closed, and the queue is Closed when everything that
//! it took is written.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::Mutex;
use loom::thread;
use procession::{Inline, LinkError, Process};
use procession_loom_tests::model;

struct Queue {
    process: Process,
    /// The rows that the queue has taken, and the process of the last one.
    taken: Mutex<(Vec<u32>, Option<Process>)>,
    written: Arc<Mutex<Vec<u32>>>,
}

impl Queue {
    fn new() -> Self {
        let process = Process::builder().name("queue").spawner(Inline).build().unwrap();
        Self { process, taken: Mutex::default(), written: Arc::default() }
    }

    /// Takes a row, unless the queue is Closed. It is written after all that were taken before.
    fn put(&self, row: u32) -> Result<(), LinkError> {
        let written = self.written.clone();
        let mut taken = self.taken.lock().unwrap();
        // The row is made as a child. With `child()` and then `set_teardown`, the queue could be Closed in between.
        let mut builder = Process::builder().parent(&self.process);
        if let Some(before) = &taken.1 {
            builder = builder.wait_for(before);
        }
        let write = builder.teardown(move || written.lock().unwrap().push(row)).build()?;
        taken.0.push(row);
        taken.1 = Some(write.clone());
        drop(taken);
        write.close();
        Ok(())
    }
}

/// I2, I4, I6: `close` against rows that are being added. Each row that was taken is written, in order.
#[test]
fn what_the_queue_took_is_written_in_order() {
    model(2, || {
        let queue = Arc::new(Queue::new());
        let other = queue.clone();
        let putting = thread::spawn(move || other.put(1));
        let _taken_or_refused = queue.put(2);
        queue.process.close_blocking().unwrap();
        // Everything that it has taken must be written by now.
        let written = queue.written.lock().unwrap().clone();
        let _taken_or_refused = putting.join().unwrap();
        let taken = queue.taken.lock().unwrap().0.clone();
        assert_eq!(written, taken);
    });
}
