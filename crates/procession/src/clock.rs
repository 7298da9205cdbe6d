//! Clocks: sources of time for periodic processes, one of which tests can control.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::run::{deadlines, drop_sleeper, wake_sleeper};
use crate::value::model::model_has_failed;
use crate::value::sleeper::{Sleeper, register};
use crate::value::sync::{Event, Mutex};
use crate::value::time::now;

/// A future that is ready at a certain time. Made by a [`Clock`].
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time, and sleeps until a given time.
///
/// [`SystemClock`] is the real clock, and [`ManualClock`] is one for tests. This clock uses tokio's time, which
/// `tokio::time::pause` can stop:
///
/// ```
/// use procession::{Clock, Sleep};
/// use std::time::Instant;
///
/// struct TokioClock;
///
/// impl Clock for TokioClock {
///     fn now(&self) -> Instant {
///         tokio::time::Instant::now().into_std()
///     }
///
///     fn sleep_until(&self, deadline: Instant) -> Sleep {
///         Box::pin(tokio::time::sleep_until(deadline.into()))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a clock",
    label = "this is not a clock",
    note = "clocks are `SystemClock`, `ManualClock` for tests, and types that implement `Clock`"
)]
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;

    /// A future that is ready at `deadline`, or at once if the deadline has passed.
    fn sleep_until(&self, deadline: Instant) -> Sleep;

    /// A future that is ready `duration` from now. If that is later than an [`Instant`] can express, the future is
    /// never ready.
    ///
    /// ```
    /// use procession::{Clock, Process, SystemClock};
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let job = app.spawn(|p| async move {
    ///     SystemClock.sleep(Duration::from_millis(1)).await; // with any executor
    ///     // or, to stop sleeping when the process closes:
    ///     p.run_until_closing(SystemClock.sleep(Duration::MAX)).await;
    /// })?;
    /// app.close_blocking()?;
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    fn sleep(&self, duration: Duration) -> Sleep {
        match self.now().checked_add(duration) {
            Some(deadline) => self.sleep_until(deadline),
            None => Box::pin(pending()),
        }
    }
}

/// The system's time. One thread serves all sleeping futures of the program, with any executor.
///
/// In a loom model, this clock stands still: only a sleep of zero ends.
///
/// ```
/// use procession::{Clock, SystemClock};
/// use std::time::Duration;
///
/// let start = SystemClock.now();
/// futures_lite::future::block_on(SystemClock.sleep_until(start + Duration::from_millis(1)));
/// assert!(start.elapsed() >= Duration::from_millis(1));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Box::pin(deadlines::sleep_until(deadline))
    }
}

/// A clock that stands still until a test [advances](Self::advance) it. Clones share one time.
///
/// ```
/// use procession::{ManualClock, Periodic, Process};
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (app, clock) = (Process::new(), ManualClock::new());
/// let (sender, receiver) = mpsc::channel();
/// let hourly = Periodic::every(Duration::from_secs(3600)).clock(clock.clone());
/// hourly.spawn_thread(&app, move |_| sender.send("called"))?;
///
/// clock.wait_for_sleepers(1);
/// assert!(receiver.try_recv().is_err());
/// clock.advance(Duration::from_secs(3600)); // takes no time
/// assert_eq!(receiver.recv(), Ok("called"));
/// # app.close_blocking()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    time: Mutex<Time>,
    /// Notified when a future begins to sleep.
    slept: Event,
}

struct Time {
    now: Instant,
    /// The sleepers, by deadline, and by a number that distinguishes those with the same deadline.
    sleepers: BTreeMap<(Instant, u64), Option<Sleeper>>,
    next: u64,
}

impl ManualClock {
    /// Makes a clock that shows the present time.
    pub fn new() -> Self {
        let time = Time { now: now(), sleepers: BTreeMap::new(), next: 0 };
        Self { shared: Arc::new(Shared { time: Mutex::new(time), slept: Event::new() }) }
    }

    /// Moves the time forward by this duration, and wakes all futures whose deadline has come.
    ///
    /// # Panics
    ///
    /// If the new time is later than an [`Instant`] can express.
    pub fn advance(&self, by: Duration) {
        let mut time = self.shared.time.lock();
        time.now += by;
        let now = time.now;
        let later = time.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut time.sleepers, later);
        drop(time);
        for sleeper in due.into_values().flatten() {
            wake_sleeper(Some(sleeper));
        }
    }

    /// The number of futures that are sleeping. A future sleeps from its first poll on.
    pub fn sleepers(&self) -> usize {
        self.shared.time.lock().sleepers.len()
    }

    /// Waits until at least `count` futures are sleeping, so that the next [`advance`](Self::advance) can wake them.
    ///
    /// # Blocking
    ///
    /// Blocks the thread, with no limit on the time. Do not call it in async code.
    pub fn wait_for_sleepers(&self, count: usize) {
        self.shared.slept.wait_until(|| self.sleepers() >= count);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.shared.time.lock().now
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let mut sleeping = Sleeping { shared: self.shared.clone(), deadline, number: None };
        Box::pin(poll_fn(move |context| sleeping.poll(context)))
    }
}

/// A future that sleeps on a manual clock.
struct Sleeping {
    shared: Arc<Shared>,
    deadline: Instant,
    number: Option<u64>,
}

impl Sleeping {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut has_come = false;
        let number = &mut self.number;
        let deadline = self.deadline;
        let spare = register(&self.shared.time, context.waker(), |time| {
            has_come = time.now >= deadline;
            if has_come {
                return None;
            }
            let number = *number.get_or_insert(time.next);
            time.next = time.next.max(number + 1);
            Some(time.sleepers.entry((deadline, number)).or_default())
        });
        drop_sleeper(spare);
        if has_come {
            return Poll::Ready(());
        }
        self.shared.slept.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(number) = self.number.filter(|_| !model_has_failed()) {
            let removed = self.shared.time.lock().sleepers.remove(&(self.deadline, number));
            drop_sleeper(removed.flatten());
        }
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.shared.time.lock();
        f.debug_struct("ManualClock")
            .field("now", &time.now)
            .field("sleepers", &time.sleepers.len())
            .finish()
    }
}
