//! [`TestApp`]: a root process, an executor and a clock.

use std::ops::Deref;
use std::time::Duration;

use procession::{Error, ManualClock, Process};

use crate::{Recorder, TestExecutor};

/// A root process named `app` whose async code runs on a [`TestExecutor`], with a [`ManualClock`] that stands still
/// until the test advances it, and a [`Recorder`] of the events. It dereferences to the process.
///
/// ```
/// use procession::Periodic;
/// use procession_test::TestApp;
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use std::time::Duration;
///
/// let app = TestApp::new();
/// let calls = Arc::new(AtomicU32::new(0));
/// let hour = Duration::from_secs(3600);
/// let hourly = Periodic::every(hour).clock(app.clock().clone());
/// hourly.spawn(&app, {
///     let calls = calls.clone();
///     move |_| {
///         calls.fetch_add(1, Ordering::Relaxed);
///         async {}
///     }
/// })?;
///
/// app.advance(hour); // takes no time
/// app.advance(hour);
/// assert_eq!(calls.load(Ordering::Relaxed), 2);
/// app.close_and_run()?;
/// # Ok::<(), procession::BoxError>(())
/// ```
#[derive(Debug)]
pub struct TestApp {
    process: Process,
    executor: TestExecutor,
    clock: ManualClock,
    recorder: Recorder,
}

impl TestApp {
    /// A root process on a new executor.
    #[must_use]
    #[track_caller]
    pub fn new() -> Self {
        Self::on(TestExecutor::new())
    }

    /// A root process on this executor.
    #[must_use]
    #[track_caller]
    pub fn on(executor: TestExecutor) -> Self {
        let builder = Process::builder().name("app").spawner(executor.clone());
        let process = builder.build().expect("a process without a parent can always be made");
        let recorder = Recorder::of(&process);
        Self { process, executor, clock: ManualClock::new(), recorder }
    }

    /// The root process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The executor.
    #[must_use]
    pub fn executor(&self) -> &TestExecutor {
        &self.executor
    }

    /// The clock. It has no effect unless the code under test uses it.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The events of all processes since the root was made.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Runs all tasks until none is ready, advances the clock, and runs all tasks again.
    ///
    /// # Panics
    ///
    /// In the cases of [`TestExecutor::run_until_idle`], and if the new time is later than an `Instant` can express.
    #[track_caller]
    pub fn advance(&self, by: Duration) {
        self.executor.run_until_idle();
        self.clock.advance(by);
        self.executor.run_until_idle();
    }

    /// Closes the root, and runs the executor until the root is Closed.
    ///
    /// # Errors
    ///
    /// Those of the outcome.
    ///
    /// # Panics
    ///
    /// In the cases of [`TestExecutor::block_on`]: for example, if a body ignores closing.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the root is Closed.
    #[track_caller]
    pub fn close_and_run(&self) -> Result<(), Error> {
        self.process.close();
        self.executor.block_on(self.process.closed())
    }
}

impl Default for TestApp {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for TestApp {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
