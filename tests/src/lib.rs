//! Items that the end-to-end tests in `tests/` share.

#![forbid(unsafe_code)]

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

#[cfg(all(doctest, unix, not(loom)))]
pub mod docs;
#[cfg(unix)]
pub mod fleet;
pub mod foreign;
pub mod labels;
pub mod program;
pub mod recorder;
#[cfg(unix)]
pub mod screen;

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use procession::{Closed, Error, Phase, Process};

/// How long a test waits for an event that must come. Long, because its only purpose is to turn a hang into a failure.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Waits for the outcome. Fails if it does not come in time.
#[track_caller]
pub fn outcome(closed: &Closed) -> Result<(), Error> {
    closed.wait_timeout(LIMIT).unwrap_or_else(|| panic!("not closed in time: {closed:?}"))
}

/// Waits until the process is Closed, and checks that the outcome is `Ok`.
#[track_caller]
pub fn ends_well(process: &Process) {
    let ended = process.closed().wait_timeout(LIMIT);
    let ended = ended.unwrap_or_else(|| panic!("not closed in time: {process:?}"));
    assert!(ended.is_ok(), "{ended:?}");
}

/// Runs code that may hang on a thread of its own, and fails if it does.
#[track_caller]
pub fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(run()).unwrap());
    told.recv_timeout(LIMIT).expect("it hangs or has panicked")
}

/// A process that is Closing, and the process whose close lets its teardown start.
pub fn closing() -> (Process, Process) {
    let (process, gate) = (Process::new(), Process::new());
    process.wait_for(&gate).unwrap();
    process.close();
    assert_eq!(process.phase(), Phase::Closing);
    (process, gate)
}

/// The CPU time that all threads of this program have used.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap()
}

/// A log of events, in order.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<Vec<&'static str>>>);

impl Events {
    /// Adds an event.
    pub fn add(&self, event: &'static str) {
        self.0.lock().unwrap().push(event);
    }

    /// A function that adds an event.
    pub fn adder(&self, event: &'static str) -> impl FnOnce() + Send + use<> {
        let events = self.clone();
        move || events.add(event)
    }

    /// All events so far.
    pub fn all(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().clone()
    }
}
