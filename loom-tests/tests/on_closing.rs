//! `on_closing` functions against closing and against their guards (I2, I6).

#![cfg(loom)]

use loom::thread;
use procession::{Error, Process};
use procession_loom_tests::{Count, model};

/// The guard cancels the function while the process closes. The function is cancelled or runs: one of the two, and not
/// both.
#[test]
fn cancelling_against_closing() {
    model(3, || {
        let ran = Count::default();
        let process = Process::new();
        let guard = process.on_closing(ran.adder()).unwrap();
        let canceller = thread::spawn(move || guard.cancel());
        process.close().wait().unwrap();
        let cancelled = canceller.join().unwrap();
        assert_eq!(ran.get() + usize::from(cancelled), 1);
    });
}

/// I2, I6: a function is registered while the process closes. It runs once, before Closed, or it is refused because the
/// teardown has started.
#[test]
fn adding_against_closing() {
    model(3, || {
        let (ran, torn_down) = (Count::default(), Count::default());
        let process = Process::with_teardown(torn_down.adder());
        let other = process.clone();
        let hook = ran.adder();
        let adder = thread::spawn(move || match other.on_closing(hook) {
            Ok(guard) => {
                guard.detach();
                1
            }
            Err(Error::Closed(_)) => 0,
            Err(error) => panic!("{error}"),
        });
        process.close().wait().unwrap();
        assert_eq!(torn_down.get(), 1);
        let expected = adder.join().unwrap();
        assert_eq!(ran.get(), expected);
    });
}

/// One thread closes the process while another one aborts it. The function runs once.
#[test]
fn closing_against_aborting() {
    model(2, || {
        let ran = Count::default();
        let process = Process::new();
        let _guard = process.on_closing(ran.adder()).unwrap();
        let other = process.clone();
        let closer = thread::spawn(move || drop(other.close()));
        process.abort().wait().unwrap();
        assert_eq!(ran.get(), 1);
        closer.join().unwrap();
    });
}
