//! A worked model of the guide: a deliberate bug, and the report of the model that finds it.
//!
//! A worker sleeps until a bell rings, and its caller rings the bell only if the worker sleeps. If the caller looks
//! after the worker has looked for a job and before it sleeps, the bell never rings. A test hardly ever finds that; the
//! model does.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use procession::Process;
use procession_loom_tests::{assert_fails, model};

fn hand_over_a_job() {
    let [has_job, is_asleep] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let app = Process::builder().name("app").build().unwrap();
    let bell = Process::builder().name("bell").build().unwrap();

    let (job, asleep, rung) = (has_job.clone(), is_asleep.clone(), bell.closing());
    let work = move |_: Process| {
        if !job.load(Ordering::SeqCst) {
            // The bug: the caller may look now.
            asleep.store(true, Ordering::SeqCst);
            rung.wait();
        }
    };
    let worker = Process::builder().name("worker").parent(&app).spawn_thread(work).unwrap();

    has_job.store(true, Ordering::SeqCst);
    if is_asleep.load(Ordering::SeqCst) {
        bell.close();
    }
    worker.closed().wait().unwrap();
}

/// The model ends in a deadlock, and its report names both threads and what they were waiting for.
#[test]
fn a_wake_up_is_lost() {
    assert_fails(
        "a_wake_up_is_lost",
        &[
            "deadlock; threads = [(Id(0), Blocked",
            "Id(0) was waiting for process `worker` to be Closed",
            "Id(1), code of process `worker`, was waiting for process `bell` to be Closing",
        ],
        || model(2, hand_over_a_job),
    );
}
