//! Clocks: where intervals get their time from, so that a test can drive it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// A future that is ready when a time has come.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time, and waits for one.
///
/// [`SystemClock`] is the real one, [`ManualClock`] one for tests. One over tokio's time, which
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
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;

    /// A future that is ready at `deadline`, or at once if that has passed.
    fn sleep_until(&self, deadline: Instant) -> Sleep;
}

/// The system's time, with async-io's timer: one thread for the whole program, under every executor.
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
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Box::pin(async move {
            async_io::Timer::at(deadline).await;
        })
    }
}

/// A clock that stands still until a test [advances](Self::advance) it. Clones are the same clock.
///
/// ```
/// use procession::{ManualClock, Periodic, Process};
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// let (app, clock) = (Process::new(), ManualClock::new());
/// let (tell, told) = mpsc::channel();
/// let hourly = Periodic::every(Duration::from_secs(3600)).clock(clock.clone());
/// hourly.spawn_thread(&app, move |_| tell.send("called"))?;
///
/// clock.wait_for_sleepers(1);
/// assert!(told.try_recv().is_err());
/// clock.advance(Duration::from_secs(3600)); // takes no time
/// assert_eq!(told.recv(), Ok("called"));
/// # app.close_blocking()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
pub struct ManualClock {
    shared: Arc<Shared>,
}

struct Shared {
    time: Mutex<Time>,
    /// Somebody has begun to sleep.
    slept: Condvar,
}

struct Time {
    now: Instant,
    /// Who sleeps until when; the number tells sleepers with the same deadline apart.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl ManualClock {
    /// A clock that stands at the present time.
    pub fn new() -> Self {
        let time = Time { now: Instant::now(), sleepers: BTreeMap::new(), next: 0 };
        Self { shared: Arc::new(Shared { time: Mutex::new(time), slept: Condvar::new() }) }
    }

    /// Moves the time on, and wakes all whose deadline that reaches.
    pub fn advance(&self, by: Duration) {
        let mut time = self.shared.time.lock();
        time.now += by;
        let now = time.now;
        let later = time.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut time.sleepers, later);
        drop(time);
        due.into_values().for_each(Waker::wake);
    }

    /// How many sleep.
    pub fn sleepers(&self) -> usize {
        self.shared.time.lock().sleepers.len()
    }

    /// Waits until at least so many sleep: until then, to advance the clock would reach nobody.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn wait_for_sleepers(&self, count: usize) {
        let mut time = self.shared.time.lock();
        self.shared.slept.wait_while(&mut time, |time| time.sleepers.len() < count);
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
        let mut sleeper = Sleeper { shared: self.shared.clone(), deadline, number: None };
        Box::pin(poll_fn(move |context| sleeper.poll(context)))
    }
}

/// One that sleeps on a manual clock.
struct Sleeper {
    shared: Arc<Shared>,
    deadline: Instant,
    number: Option<u64>,
}

impl Sleeper {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut time = self.shared.time.lock();
        if time.now >= self.deadline {
            return Poll::Ready(());
        }
        let number = *self.number.get_or_insert(time.next);
        time.next = time.next.max(number + 1);
        let replaced = time.sleepers.insert((self.deadline, number), context.waker().clone());
        drop(time);
        drop(replaced);
        self.shared.slept.notify_all();
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let removed = self.shared.time.lock().sleepers.remove(&(self.deadline, number));
            drop(removed);
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
