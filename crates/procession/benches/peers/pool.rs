//! The pool for blocking teardowns, compared with the crate `blocking`, which a spawner uses in its place.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use procession::{Job, Process, Spawn};

use crate::table::{Table, median};
use crate::{CHILDREN, each};

const ROUNDS: usize = 7;

/// Blocking jobs on the threads of the crate `blocking`.
struct Blocking;

impl Spawn for Blocking {
    fn spawn(&self, job: Job) {
        blocking::unblock(move || job.run()).detach();
    }
}

fn root(is_ours: bool) -> Process {
    let builder = Process::builder();
    let root = if is_ours { builder.build() } else { builder.spawner(Blocking).build() };
    root.expect("it has no parent")
}

/// Closes `count` siblings that each have this teardown, and waits.
fn close(is_ours: bool, count: usize, teardown: impl Fn() + Clone + Send + 'static) {
    let root = root(is_ours);
    let children: Vec<_> = (0..count).map(|_| root.child()).collect();
    for child in &children {
        child.set_teardown(teardown.clone()).expect("it is the first one");
    }
    root.close().wait().expect("nothing failed");
}

/// The number of threads on which the teardowns run.
fn threads(is_ours: bool, count: usize, pause: Duration) -> usize {
    let ids = Arc::new(Mutex::new(HashSet::<ThreadId>::new()));
    let inserted = ids.clone();
    close(is_ours, count, move || {
        thread::sleep(pause);
        inserted.lock().expect("nothing panics").insert(thread::current().id());
    });
    ids.lock().expect("nothing panics").len()
}

pub(crate) fn teardowns(table: &mut Table) {
    let rows = [
        ("100,000 teardowns that return at once", CHILDREN, Duration::ZERO, 1.0),
        // The pool takes a while to find out that all its threads are blocked.
        ("2,000 teardowns that block for 1 ms", 2_000, Duration::from_millis(1), 2.0),
        ("one teardown after another", 1, Duration::ZERO, 1.0),
    ];
    for (name, count, pause, limit) in rows {
        let times = if count == 1 { 10_000 } else { 1 };
        let run = |is_ours| {
            each(count * times, || {
                for _ in 0..times {
                    close(is_ours, count, move || {
                        if !pause.is_zero() {
                            thread::sleep(pause);
                        }
                    });
                }
            })
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            theirs.push(run(false));
            ours.push(run(true));
        }
        let (on_ours, on_theirs) = (threads(true, count, pause), threads(false, count, pause));
        let name = format!("{name} (the crate `blocking`; {on_ours} threads, and {on_theirs})");
        table.row(&name, median(ours), median(theirs), limit);
    }
}
