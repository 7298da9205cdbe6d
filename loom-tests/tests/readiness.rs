//! Readiness of runnables: no waiter is left asleep, and each part counts once (I9).

#![cfg(loom)]

use loom::future::block_on;
use loom::thread;
use procession::Process;
use procession_loom_tests::{Count, model};
use procession_runnable::model::{is_ready, whole};
use procession_runnable::{NotReady, Run, Start, body_thread};

/// I9: a run becomes ready while one thread waits for that and another one closes the run.
#[test]
fn a_run_that_is_ready_against_closing() {
    model(2, || {
        let app = Process::new();
        let count = Count::default();
        let counted = count.clone();
        let work = body_thread(move |run: Run| {
            counted.add();
            run.ready();
        });
        let (start, readiness) = Start::under(&app);
        let run = work.start(start).unwrap();
        let closer = thread::spawn(move || drop(run.close()));
        assert_eq!(block_on(readiness), Ok(()));
        assert_eq!(count.get(), 1);
        closer.join().unwrap();
    });
}

/// I9: a run ends before it is ready. The waiter is woken with that error.
#[test]
fn a_run_that_ends_before_it_is_ready() {
    model(2, || {
        let app = Process::new();
        let (start, readiness) = Start::under(&app);
        let run = body_thread(|_| ()).start(start).unwrap();
        assert_eq!(block_on(readiness), Err(NotReady::Ended(run.label())));
    });
}

/// I4, I9: two parts become ready while a thread waits for both. It is woken after both, and sees everything that they
/// did before.
#[test]
fn a_waiter_is_woken_when_all_are_ready() {
    model(3, || {
        let (whole, readiness) = whole();
        let count = Count::default();
        for part in whole.split() {
            let count = count.clone();
            thread::spawn(move || {
                count.add();
                part.reporter().ready();
            });
        }
        assert_eq!(block_on(readiness), Ok(()));
        assert_eq!(count.get(), 2);
    });
}

/// I9: one part is ready and the other one is lost. The waiter is woken, and the whole is never ready.
#[test]
fn a_waiter_is_woken_when_a_part_is_lost() {
    model(3, || {
        let (whole, readiness) = whole();
        let [lost, ready] = whole.split();
        thread::spawn(move || drop(lost));
        thread::spawn(move || ready.reporter().ready());
        let mut readiness = readiness;
        assert_eq!(block_on(&mut readiness), Err(NotReady::Failed));
        assert!(!is_ready(&readiness));
    });
}

/// A part that reports from two threads at once counts once.
#[test]
fn a_part_counts_once() {
    model(3, || {
        let (whole, readiness) = whole();
        let [part, _other] = whole.split();
        let reporter = part.reporter();
        let reporting = thread::spawn(move || reporter.ready());
        part.reporter().ready();
        reporting.join().unwrap();
        assert!(!is_ready(&readiness));
    });
}

/// One thread reports that a part is ready while another one reports its end. Exactly one of the two counts.
#[test]
fn only_the_first_report_of_a_part_counts() {
    model(3, || {
        let (whole, readiness) = whole();
        let [other, part] = whole.split();
        let reporter = part.reporter();
        thread::spawn(move || reporter.ready());
        thread::spawn(move || part.reporter().ended(Process::new().label()));
        assert!(!is_ready(&readiness));
        other.reporter().ready();
        let mut readiness = readiness;
        assert_eq!(block_on(&mut readiness).is_ok(), is_ready(&readiness));
    });
}

/// A run ends too early, and its end closes the process that waits for it. In whichever order the waiter sees the two,
/// its error is the end of the run.
#[test]
fn an_early_end_that_closes_the_process() {
    model(2, || {
        let process = Process::new();
        let (whole, readiness) = whole();
        let label = process.label();
        let run = process.clone();
        let ending = thread::spawn(move || {
            whole.reporter().ended(run.label());
            drop(run.close());
        });
        let start = readiness.until_closing(&process);
        assert_eq!(block_on(start), Err(NotReady::Ended(label)));
        ending.join().unwrap();
    });
}
