//! Time in a model: the model moves a manual clock, and the system's clock stands still.

#![cfg(loom)]

use std::time::Duration;

use loom::thread;
use procession::{ManualClock, Periodic, Process, SystemClock};
use procession_loom_tests::{Count, model};

const HOUR: Duration = Duration::from_secs(3600);

/// A periodic process makes a call when the model moves the clock, and not before.
#[test]
fn a_manual_clock_is_moved_by_the_model() {
    model(1, || {
        let (app, called, calls) = (Process::new(), Process::new(), Count::default());
        let clock = ManualClock::new();
        let (closed, counted) = (called.closed(), calls.clone());
        let hourly = Periodic::every(HOUR).clock(clock.clone());
        let call = move |_| {
            counted.add();
            called.close();
        };
        hourly.spawn_thread(&app, call).unwrap();
        clock.wait_for_sleepers(1);
        assert_eq!(calls.get(), 0);
        clock.advance(HOUR);
        closed.wait().unwrap();
        assert_eq!(calls.get(), 1);
        app.close_blocking().unwrap();
    });
}

/// A periodic process on the system's clock never makes a call, and closing does not wait for its pause (I9).
#[test]
fn the_systems_clock_stands_still() {
    model(2, || {
        let app = Process::new();
        let calls = Count::default();
        let counted = calls.clone();
        let hourly = Periodic::tick(HOUR).clock(SystemClock);
        hourly.spawn_thread(&app, move |_| counted.add()).unwrap();
        let other = app.clone();
        let closer = thread::spawn(move || drop(other.close()));
        app.closed().wait().unwrap();
        closer.join().unwrap();
        assert_eq!(calls.get(), 0);
    });
}
