//! Readiness of runnables: no word is lost, and it is said once. The file under check is the crate's own, over
//! loom's locks and atomics.

#![cfg(loom)]

#[path = "../../crates/procession-runnable/src/ready.rs"]
#[expect(unreachable_pub)] // There it is the public face of a crate.
mod ready;
#[path = "over_loom/sync.rs"]
mod sync;

use loom::future::block_on;
use loom::thread;
use procession::Process;
use procession_loom_tests::{Count, model};

use ready::{Ready, Unready};

/// Two parts say it while somebody waits: who waits is woken after both, and sees what they did before.
#[test]
fn a_waiter_is_woken_when_all_are_ready() {
    model(3, || {
        let (whole, readiness) = Ready::pair();
        let count = Count::default();
        for part in whole.split(2) {
            let count = count.clone();
            thread::spawn(move || {
                count.add();
                part.ready().say();
            });
        }
        assert_eq!(block_on(readiness), Ok(()));
        assert_eq!(count.get(), 2);
    });
}

/// One is ready and one is lost: the whole is never ready, and who waits is told.
#[test]
fn a_waiter_is_woken_when_a_part_is_lost() {
    model(3, || {
        let (whole, readiness) = Ready::pair();
        let watch = readiness.watch();
        let mut parts = whole.split(2);
        let lost = parts.remove(0);
        thread::spawn(move || drop(lost));
        let ready = parts.remove(0);
        thread::spawn(move || ready.ready().say());
        assert_eq!(block_on(readiness), Err(Unready::Failed));
        assert!(!watch.is_ready());
    });
}

/// A part that says it twice at once has said it once.
#[test]
fn a_part_counts_once() {
    model(3, || {
        let (whole, readiness) = Ready::pair();
        let mut parts = whole.split(2);
        let part = parts.remove(0);
        let said = part.ready().clone();
        let saying = thread::spawn(move || said.say());
        part.ready().say();
        saying.join().unwrap();
        assert!(!readiness.watch().is_ready());
    });
}

/// A part says that it is ready while its end is reported: one of the two counts, once, and what a part of
/// something larger says is not passed on twice.
#[test]
fn a_part_says_one_thing() {
    model(3, || {
        let (whole, readiness) = Ready::pair();
        let watch = readiness.watch();
        let mut parts = whole.split(2);
        let other = parts.remove(0);
        let part = parts.remove(0);
        let said = part.ready().clone();
        thread::spawn(move || said.say());
        thread::spawn(move || {
            part.ready().lose(|| Unready::Ended(Process::new().label()));
        });
        assert!(!watch.is_ready());
        other.ready().say();
        assert_eq!(block_on(readiness).is_ok(), watch.is_ready());
    });
}
