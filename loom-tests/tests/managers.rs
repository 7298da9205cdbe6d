//! The inbox of a manager, and a manager: no command and no report of a run is lost (I9).

#![cfg(loom)]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::thread;
use procession::Process;
use procession_loom_tests::model;
use procession_runnable::{Run, Start, body};
use procession_supervisor::model::Inbox;
use procession_supervisor::{Manager, ManagerError, MemoryTable};

/// I9: two runs report at once, and both reports arrive.
#[test]
fn reports_of_two_runs_both_arrive() {
    model(3, || {
        let inbox = Inbox::<()>::new();
        for _ in 0..2 {
            let inbox = inbox.clone();
            thread::spawn(move || inbox.tell());
        }
        let mut heard = 0;
        block_on(poll_fn(|context| {
            heard += inbox.take(context.waker()).1;
            if heard == 2 { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// I9: a command is sent while the inbox is closed. It is refused, or dropped with the inbox; either way, its sender is
/// answered.
#[test]
fn a_command_to_a_closed_inbox_is_answered() {
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

/// I9: a command wakes the task that waits for one.
#[test]
fn a_command_wakes_the_manager() {
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

fn worker() -> procession_runnable::Runnable {
    body(|run: Run| async move {
        run.ready();
        run.closing().await;
    })
}

/// I9: a manager starts its unit, and a call stops it. The call is answered, and each step is one event, in order.
#[test]
fn a_manager_stops_its_unit_by_a_call() {
    model(1, || {
        let table = MemoryTable::new();
        table.insert("worker", worker());
        let manager = Manager::new(table);
        let mut events = manager.events();
        manager.run_blocking(|_| manager.stop_blocking(&"worker")).unwrap();
        for kind in ["started", "ready", "stopping", "stopped"] {
            assert_eq!(events.try_recv().map(|event| event.kind()), Some(kind));
        }
        assert!(events.try_recv().is_none());
    });
}

/// I9: a call is made while the manager ends. It is answered in every case.
#[test]
fn a_call_against_the_end_of_the_manager() {
    model(2, || {
        let app = Process::new();
        let manager = Manager::new(MemoryTable::<u32>::new());
        let (start, readiness) = Start::under(&app);
        let run = manager.runnable().start(start).unwrap();
        assert_eq!(block_on(readiness), Ok(()));
        let caller = manager.clone();
        let calling = thread::spawn(move || caller.stop_blocking(&7));
        run.close_blocking().unwrap();
        let answer = calling.join().unwrap().unwrap_err();
        assert!(matches!(answer, ManagerError::NotFound { .. } | ManagerError::NotRunning));
    });
}
