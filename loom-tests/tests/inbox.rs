//! The inbox of the supervisor's manager: no command and no wake-up of a run is lost. The file under check is
//! the crate's own, over loom's locks and atomics.

#![cfg(loom)]

#[path = "../../crates/procession-supervisor/src/engine/inbox.rs"]
mod inbox;
#[path = "over_loom/sync.rs"]
mod sync;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;
use procession_loom_tests::{Count, model};

use inbox::{Inbox, RunId, Watcher};

const RUN: RunId = RunId { unit: 0, number: 1 };

/// A run that has something to tell twice, from two threads, is looked at after both: what is told while it
/// is looked at is told again.
#[test]
fn a_run_is_looked_at_after_all_that_it_told() {
    model(3, || {
        let inbox = Inbox::<()>::new();
        let watcher = Watcher::new(inbox.clone(), RUN);
        // It is looked at first when it is started.
        watcher.rearm();
        let told = Count::default();
        for _ in 0..2 {
            let (waker, told) = (Waker::from(watcher.clone()), told.clone());
            thread::spawn(move || {
                told.add();
                waker.wake();
            });
        }
        let mut seen = 0;
        block_on(poll_fn(|context| {
            let (_, woken) = inbox.take(context.waker());
            for run in woken {
                assert_eq!(run, watcher.run());
                watcher.rearm();
                seen = told.get();
            }
            if seen == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// A command that comes while the inbox is closed is refused, or dropped with it, which answers it.
#[test]
fn a_command_is_answered() {
    model(3, || {
        let inbox = Inbox::new();
        inbox.open();
        let (sender, command) = (inbox.clone(), Arc::new(()));
        let answered = Arc::downgrade(&command);
        let sending = thread::spawn(move || drop(sender.command(command)));
        inbox.close();
        sending.join().unwrap();
        assert!(!inbox.is_open());
        assert_eq!(answered.strong_count(), 0);
    });
}

/// Who waits for a command is woken by it.
#[test]
fn a_command_wakes() {
    model(3, || {
        let inbox = Inbox::new();
        inbox.open();
        let sender = inbox.clone();
        thread::spawn(move || sender.command(7));
        let taken = block_on(poll_fn(|context| match inbox.take(context.waker()).0.pop() {
            Some(command) => Poll::Ready(command),
            None => Poll::Pending,
        }));
        assert_eq!(taken, 7);
    });
}
