//! The end of a time limit against closing (I2, I3). In a model, a limit of zero ends at once, and any other never
//! ends.

#![cfg(loom)]

use std::time::Duration;

use loom::thread;
use procession::{Error, Process};
use procession_loom_tests::{Count, model};

/// I2, I3: the limit ends while a parent closes. The teardown runs once, and every caller gets the same outcome.
#[test]
fn the_end_of_the_limit_against_close() {
    model(2, || {
        let ran = Count::default();
        let parent = Process::new();
        let other = parent.clone();
        let closer = thread::spawn(move || other.close_blocking());
        let limited = Process::builder().parent(&parent).time_limit(Duration::ZERO);
        if let Ok(process) = limited.teardown(ran.adder()).build() {
            assert!(process.is_aborting() || process.outcome().unwrap().is_ok());
            let before =
                process.outcome().map(|outcome| outcome.map_err(|error| error.to_string()));
            let outcome = process.closed().wait();
            match &outcome {
                Ok(()) => assert!(!process.is_aborting()),
                Err(error) => assert!(matches!(error, Error::TimeLimit(_))),
            }
            let outcome = outcome.map_err(|error| error.to_string());
            assert!(before.is_none_or(|before| before == outcome));
            assert_eq!(ran.get(), 1);
        }
        closer.join().unwrap().unwrap();
    });
}
