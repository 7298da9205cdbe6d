//! [`Periodic`]: calls a body again and again.
//!
//! A periodic process is a child of the process that is passed to `spawn`, and each call is a child of the periodic
//! process. Closing closes the call in progress, waits for it, and starts no more. A periodic process has no thread of
//! its own: one thread measures the pauses of the whole program, and each call of a blocking body has a thread while it
//! runs.
//!
//! The eight forms of goprocess's `periodic`, and their equivalents here:
//!
//! ```
//! use futures_lite::stream;
//! use procession::{Periodic, Process};
//! use std::time::Duration;
//!
//! const SECOND: Duration = Duration::from_secs(1);
//! let app = Process::new();
//! let call = |_: Process| println!("called");
//!
//! // Every: a gap of at least the interval between the end of one call and the next.
//! Periodic::every(SECOND).spawn_thread(&app, call)?;
//! // EveryGo: calls may overlap; the gap is between one start and the next.
//! Periodic::every(SECOND).overlapping().spawn_thread(&app, call)?;
//!
//! // Tick: a fixed rate; missed ticks are skipped, and not made up for.
//! Periodic::tick(SECOND).spawn_thread(&app, call)?;
//! // TickGo
//! Periodic::tick(SECOND).overlapping().spawn_thread(&app, call)?;
//!
//! // Ticker, OnSignal: driven by a stream, or by a channel whose receiver is a stream.
//! let (signal, signals) = smol::channel::bounded::<()>(1);
//! Periodic::on(signals.clone()).spawn_thread(&app, call)?;
//! // TickerGo, OnSignalGo
//! Periodic::on(signals).overlapping().spawn_thread(&app, call)?;
//! signal.try_send(()).unwrap(); // or `signal.send_blocking(())`
//!
//! // Each of them with an async body:
//! Periodic::on(stream::iter([1, 2])).spawn(&app, |_| async { println!("called") })?;
//!
//! app.close_blocking()?;
//! # Ok::<(), procession::Error>(())
//! ```

use std::fmt;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{Clock, SystemClock};
use crate::process::Process;
use crate::run::Seed;
use crate::run::body::ErrorRecipient;
use crate::run::foreign::Foreign;
use crate::run::waits::wait_for_own_children;
use crate::value::sync::Mutex;
use crate::value::{BoxError, ChildFailure, Error, IntoOutcome, Site};
use futures_lite::{Stream, StreamExt};

/// Calls a body again and again, one call at a time, until closing.
///
/// Conceptually, this is a loop in a child of the process: it waits for a tick, runs the body as a child of its own,
/// and ends when the process closes. To do something once, use `run_until_closing(clock.sleep(..))` in a body. To keep
/// something running that may fail, use a `Manager` of `procession-supervisor`, whose pauses grow.
///
/// The first call is made at the first tick: after one interval, or with the first item of the stream. If a call fails,
/// the failure is [reported](ChildFailure::Report) unless it is handled, and the calls go on;
/// [`on_failure`](Self::on_failure) changes that. If calls have failed, the outcome of the periodic process is
/// [`Error::FailedCalls`], with the first and the last error and the number of failed calls. The periodic process has
/// its parent's spawner.
///
/// ```
/// use procession::{Periodic, Process};
/// use std::time::Duration;
///
/// let app = Process::new();
/// let mut count = 0;
/// let counter = Periodic::every(Duration::from_millis(1)).spawn(&app, move |call| {
///     count += 1;
///     async move { println!("call {count} is {call:?}") }
/// })?;
/// counter.close(); // ends the pause at once
/// app.close_blocking()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a periodic body is called after `spawn` or `spawn_thread`"]
pub struct Periodic {
    ticks: Ticks,
    on_failure: ChildFailure,
    clock: Arc<dyn Clock>,
}

/// When calls are made.
enum Ticks {
    /// This long after the end of the previous call.
    Every(Duration),
    /// At multiples of this period.
    Rate(Duration),
    /// With each item of this stream.
    Driven(Pin<Box<dyn Stream<Item = ()> + Send>>),
}

impl Periodic {
    /// Calls with a gap of at least `interval` between the end of one call and the start of the next.
    pub fn every(interval: Duration) -> Self {
        Self::with(Ticks::Every(interval))
    }

    /// Calls at a fixed rate, one at each multiple of `period` from now on. Ticks that pass during a call are skipped.
    pub fn tick(period: Duration) -> Self {
        Self::with(Ticks::Rate(period))
    }

    /// A call for each item of `ticks`. When the stream ends, so does the periodic process.
    ///
    /// The stream can be the receiver of a channel, which ends when the channel is closed. Items that come during a
    /// call then wait in the channel. To send from threads too, use a channel whose receiver is a stream and whose
    /// sender can block, such as async-channel's. `std::sync::mpsc` cannot be used, because its receiver cannot wait
    /// for an item and for closing at once.
    pub fn on<S: Stream + Send + 'static>(ticks: S) -> Self {
        Self::with(Ticks::Driven(Box::pin(ticks.map(drop))))
    }

    fn with(ticks: Ticks) -> Self {
        Self { ticks, on_failure: ChildFailure::default(), clock: Arc::new(SystemClock) }
    }

    /// The reaction to a failed call; by default, [`ChildFailure::Report`].
    ///
    /// With [`ChildFailure::Close`], a failed call closes the periodic process and its parent, whatever the parent does
    /// when another child fails. The error becomes part of both outcomes.
    pub fn on_failure(mut self, on_failure: ChildFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// The source of time; by default, [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Lets calls overlap: each tick starts a call, even while others are running.
    pub fn overlapping(self) -> Overlapping {
        Overlapping(self)
    }

    /// Starts the calls of an async body, and returns the periodic process, a child of `parent`.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroInterval`] if the interval is zero, [`Error::Closed`] if the teardown of `parent` has started,
    /// [`Error::Background`] if a failed call would have to close the background process. Then no call is made.
    #[track_caller]
    pub fn spawn<F, Fut>(self, parent: &Process, body: F) -> Result<Process, Error>
    where
        F: FnMut(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let body = OneAtATime::new(body);
        let site = Site::caller();
        self.start(parent, site, false, in_tasks(site, move |call| (body.take().get())(call)))
    }

    /// Starts the calls of a blocking body, and returns the periodic process, a child of `parent`. Each call has a
    /// thread of its own. If the OS cannot create one, the call has failed.
    ///
    /// # Errors
    ///
    /// Those of [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_thread<F, R>(self, parent: &Process, body: F) -> Result<Process, Error>
    where
        F: FnMut(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let body = OneAtATime::new(body);
        let site = Site::caller();
        self.start(parent, site, false, on_threads(site, move |call| (body.take().get())(call)))
    }

    fn start(
        self,
        parent: &Process,
        site: Site,
        overlapping: bool,
        call: impl Fn(&Process) -> Result<Process, Error> + Send + 'static,
    ) -> Result<Process, Error> {
        let Self { ticks, on_failure, clock } = self;
        if let Ticks::Every(Duration::ZERO) | Ticks::Rate(Duration::ZERO) = ticks {
            return Err(Error::ZeroInterval(parent.label()));
        }
        let mut seed = Seed { inherited: parent.passed_on(), ..Seed::at(site) };
        seed.extras().on_child_failure = on_failure;
        if on_failure == ChildFailure::Close {
            if parent.node.is_background() {
                return Err(Error::Background);
            }
            seed.extras().closes_parents = true;
        }
        // The clock is foreign code. It is called before the process is made, so that its panic leaves no process
        // behind.
        let last = clock.now();
        let (periodic, end) = parent.child_with_body_for(seed)?;
        let pause = Pause { ticks, last, clock };
        if on_failure != ChildFailure::Close {
            periodic.node.count_calls(periodic.label());
        }
        periodic.start(end, move |process| run(process, pause, overlapping, call));
        Ok(periodic)
    }
}

/// [`Periodic`], with calls that may overlap. Made by [`Periodic::overlapping`].
///
/// ```
/// use procession::{Periodic, Process};
/// use std::time::Duration;
///
/// let app = Process::new();
/// let probe = Periodic::tick(Duration::from_millis(1)).overlapping();
/// probe.spawn(&app, |call| async move { call.closing().await })?; // each call stays until closing
/// app.close_blocking()?;
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a periodic body is called after `spawn` or `spawn_thread`"]
#[derive(Debug)]
pub struct Overlapping(Periodic);

impl Overlapping {
    /// [`Periodic::spawn`], for calls that may overlap.
    ///
    /// # Errors
    ///
    /// Those of [`Periodic::spawn`].
    #[track_caller]
    pub fn spawn<F, Fut>(self, parent: &Process, body: F) -> Result<Process, Error>
    where
        F: Fn(Process) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let site = Site::caller();
        self.0.start(parent, site, true, in_tasks(site, body))
    }

    /// [`Periodic::spawn_thread`], for calls that may overlap.
    ///
    /// # Errors
    ///
    /// Those of [`Periodic::spawn`].
    #[track_caller]
    pub fn spawn_thread<F, R>(self, parent: &Process, body: F) -> Result<Process, Error>
    where
        F: Fn(Process) -> R + Send + Sync + 'static,
        R: IntoOutcome,
    {
        let site = Site::caller();
        self.0.start(parent, site, true, on_threads(site, body))
    }
}

/// The body of calls that are made one at a time. A call takes the body, and puts it back at its end, even after a
/// panic, so no lock is held while the body runs (I10).
struct OneAtATime<F: Send + 'static>(Arc<Mutex<Option<Foreign<F>>>>);

/// The body, while a call has taken it.
struct Taken<F: Send + 'static> {
    body: Option<F>,
    back: Arc<Mutex<Option<Foreign<F>>>>,
}

impl<F: Send + 'static> OneAtATime<F> {
    fn new(body: F) -> Self {
        Self(Arc::new(Mutex::new(Some(Foreign::new(body)))))
    }

    fn take(&self) -> Taken<F> {
        let body = self.0.lock().take().map(Foreign::into_inner);
        Taken { body, back: self.0.clone() }
    }
}

impl<F: Send + 'static> Taken<F> {
    fn get(&mut self) -> &mut F {
        self.body.as_mut().expect("calls come one at a time")
    }
}

impl<F: Send + 'static> Drop for Taken<F> {
    fn drop(&mut self) {
        *self.back.lock() = self.body.take().map(Foreign::new);
    }
}

/// Starts each call as an async body. If the process of the call is Closing before the first poll, the user's body is
/// not called.
fn in_tasks<F, Fut>(
    site: Site,
    body: F,
) -> impl Fn(&Process) -> Result<Process, Error> + Send + 'static
where
    F: Fn(Process) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    let body = Arc::new(body);
    move |periodic| {
        let body = body.clone();
        periodic.spawn_at(site, move |call| async move {
            if call.is_closing() {
                return Ok(());
            }
            let called = body(call);
            drop(body);
            called.await.into_outcome()
        })
    }
}

/// Starts each call on a thread.
fn on_threads<F, R>(
    site: Site,
    body: F,
) -> impl Fn(&Process) -> Result<Process, Error> + Send + 'static
where
    F: Fn(Process) -> R + Send + Sync + 'static,
    R: IntoOutcome,
{
    let body = Arc::new(body);
    move |periodic| {
        let body = body.clone();
        periodic.spawn_thread_at(site, ErrorRecipient::Nobody, move |call| {
            if call.is_closing() { Ok(()) } else { body(call).into_outcome() }
        })
    }
}

/// The body of a periodic process.
async fn run(
    process: Process,
    mut pause: Pause,
    overlapping: bool,
    call: impl Fn(&Process) -> Result<Process, Error>,
) -> Result<(), BoxError> {
    while process.run_until_closing(pause.next()).await == Some(true) {
        process.node.count_call();
        match call(&process) {
            // A failure was counted, and was reported.
            Ok(call) if !overlapping => {
                drop(wait_for_own_children(&process.node, call.closed()).await);
            }
            // So was the failure of a thread that could not be created.
            Ok(_) | Err(_) => {}
        }
        pause.call_ended();
    }
    Ok(())
}

/// The pause between two calls.
struct Pause {
    ticks: Ticks,
    /// The last tick, or the end of the last call.
    last: Instant,
    clock: Arc<dyn Clock>,
}

impl Pause {
    /// Waits for the next tick; `false` if there are no more.
    async fn next(&mut self) -> bool {
        let deadline = match &mut self.ticks {
            Ticks::Driven(ticks) => return ticks.next().await.is_some(),
            Ticks::Every(interval) => self.last.checked_add(*interval),
            Ticks::Rate(period) => next_multiple(self.last, *period, self.clock.now()),
        };
        match deadline {
            Some(deadline) => {
                self.clock.sleep_until(deadline).await;
                self.last = deadline;
            }
            // The deadline is later than a clock can express, so it never comes.
            None => pending().await,
        }
        true
    }

    fn call_ended(&mut self) {
        if let Ticks::Every(_) = self.ticks {
            self.last = self.clock.now();
        }
    }
}

/// The first tick that is not before `now`. The ticks are at `last` plus each positive multiple of `period`.
fn next_multiple(last: Instant, period: Duration, now: Instant) -> Option<Instant> {
    let since = now.saturating_duration_since(last);
    if since < period {
        return last.checked_add(period);
    }
    // It fits, because it is less than `since`, and 64 bits of nanoseconds are 584 years.
    let past = Duration::from_nanos((since.as_nanos() % period.as_nanos()) as u64);
    if past.is_zero() { Some(now) } else { now.checked_add(period - past) }
}

impl fmt::Debug for Periodic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Periodic");
        match &self.ticks {
            Ticks::Every(interval) => debug.field("every", interval),
            Ticks::Rate(period) => debug.field("tick", period),
            Ticks::Driven(_) => debug.field("on", &"a stream"),
        };
        debug.field("on_failure", &self.on_failure).finish_non_exhaustive()
    }
}
