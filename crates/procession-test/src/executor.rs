//! [`TestExecutor`]: an executor that runs only when the test calls it.
//!
//! # Invariants
//!
//! - X1. A task runs only inside [`tick`](TestExecutor::tick) and the methods that call it, *because* a waker only
//!   appends the task to the queue.
//! - X2. With the same seed, and as long as no other thread wakes tasks, the order is the same in each run, *because*
//!   the queue is in the order of the wake-ups, and the next task is the first one or, with a seed, the one that a
//!   random number generator with this seed selects.
//! - X3. No lock is held while a task runs, is dropped or is woken, *because* the queue is locked only to append to it
//!   and to take from it.
//! - X4. A thread in [`block_on`](TestExecutor::block_on) does not sleep through a wake-up, *because* each append
//!   unparks the parkers in the list, the waker of the future unparks its parker, and a parker remembers an unpark.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_task::{Runnable, Task};
use parking::{Parker, Unparker};
use parking_lot::Mutex;
use procession::{Job, Spawn, Threads};

/// How long a test waits for another thread before it fails instead of hanging: 30 s.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The interval at which [`TestExecutor::until`] checks its condition while nothing runs.
const CHECK_INTERVAL: Duration = Duration::from_millis(1);

/// An executor for tests. It is a [`Spawn`], and runs async jobs only when the test calls [`tick`](Self::tick),
/// [`run_until_idle`](Self::run_until_idle), [`block_on`](Self::block_on) or [`until`](Self::until), on the thread that
/// makes the call. Clones share their tasks.
///
/// Tasks run in the order in which they were woken or, with [`with_seed`](Self::with_seed), in a shuffled order that is
/// the same each time. Blocking teardowns run on the spot, before `spawn` returns, as with
/// [`Inline`](procession::Inline), or, with [`blocking_on_threads`](Self::blocking_on_threads), on the library's
/// threads.
///
/// The executor does not control everything: bodies of [`spawn_thread`](procession::Process::spawn_thread) have threads
/// of their own, and hooks, such as that of [`on_closing`](procession::Process::on_closing), run on threads of the
/// library. If a graph has them, wait with `block_on` or `until`.
///
/// ```
/// use procession::Process;
/// use procession_test::TestExecutor;
///
/// let executor = TestExecutor::new();
/// let app = Process::builder().name("app").spawner(executor.clone()).build()?;
/// let worker = app.spawn(|p| async move { p.closing().await })?;
///
/// executor.run_until_idle(); // the worker waits
/// app.close();
/// assert!(!worker.is_closed()); // nothing runs yet
/// executor.run_until_idle();
/// assert!(worker.is_closed() && app.is_closed());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TestExecutor {
    queue: Arc<Queue>,
    is_blocking_on_threads: bool,
}

struct Queue {
    ready: Mutex<Ready>,
}

struct Ready {
    tasks: VecDeque<Runnable>,
    /// Shuffles the order, if there is a seed.
    random: Option<fastrand::Rng>,
    /// The threads that sleep until a task is woken, by the number of their call.
    sleeping: Vec<(u64, Unparker)>,
    next_call: u64,
}

impl TestExecutor {
    /// An executor that runs tasks in the order in which they are woken, and blocking teardowns on the spot.
    #[must_use]
    pub fn new() -> Self {
        Self::with(None)
    }

    /// An executor that runs the tasks that are ready in a shuffled order. The same seed gives the same order, unless
    /// other threads wake tasks.
    ///
    /// ```
    /// use procession_test::TestExecutor;
    /// use std::sync::mpsc;
    ///
    /// let order = |seed| {
    ///     let executor = TestExecutor::with_seed(seed);
    ///     let (tell, told) = mpsc::channel();
    ///     for number in 0..10 {
    ///         let tell = tell.clone();
    ///         executor.spawn(async move { tell.send(number).unwrap() }).detach();
    ///     }
    ///     executor.run_until_idle();
    ///     told.try_iter().collect::<Vec<_>>()
    /// };
    /// assert_eq!(order(7), order(7));
    /// assert_ne!(order(7), order(8));
    /// ```
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self::with(Some(fastrand::Rng::with_seed(seed)))
    }

    fn with(random: Option<fastrand::Rng>) -> Self {
        let ready = Ready { tasks: VecDeque::new(), random, sleeping: Vec::new(), next_call: 0 };
        let queue = Arc::new(Queue { ready: Mutex::new(ready) });
        Self { queue, is_blocking_on_threads: false }
    }

    /// Runs blocking teardowns on the library's threads, in parallel, instead of on the spot. Call this before the
    /// executor is given to a process.
    #[must_use]
    pub fn blocking_on_threads(mut self) -> Self {
        self.is_blocking_on_threads = true;
        self
    }

    /// Spawns a future. It is first polled when a tick selects it. Dropping the task cancels it, unless it is
    /// [detached](async_task::Task::detach).
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let queue = self.queue.clone();
        let (runnable, task) = async_task::spawn(future, move |runnable| queue.append(runnable));
        runnable.schedule();
        task
    }

    /// Polls one task that is ready. Returns `false` if there is none.
    ///
    /// # Panics
    ///
    /// If the task panics. Bodies and teardowns of processes do not: their panics are errors of the outcome.
    pub fn tick(&self) -> bool {
        let next = self.queue.take();
        next.map(Runnable::run).is_some()
    }

    /// Polls tasks until none is ready. Returns the number of polls.
    ///
    /// # Panics
    ///
    /// If a task panics, or after a million polls, because tasks that wake themselves would be polled for ever.
    #[track_caller]
    pub fn run_until_idle(&self) -> usize {
        const MAX_POLLS: usize = 1_000_000;

        let mut polls = 0;
        while self.tick() {
            polls += 1;
            assert!(
                polls < MAX_POLLS,
                "the executor is not idle after {MAX_POLLS} polls: do tasks wake themselves?"
            );
        }
        polls
    }

    /// The number of tasks that are ready to run.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.queue.ready.lock().tasks.len()
    }

    /// Polls the future, and all tasks that are ready, until the future is ready. While nothing is ready, the thread
    /// sleeps until another thread, such as one of the library, wakes the future or a task.
    ///
    /// # Panics
    ///
    /// If a task panics, or if nothing is woken for 30 s ([`LIMIT`]).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the future is ready.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_test::TestExecutor;
    ///
    /// let executor = TestExecutor::new();
    /// let app = Process::builder().spawner(executor.clone()).build()?;
    /// let task = app.spawn_task(|_| async { "80".parse::<u16>() })?;
    /// assert_eq!(executor.block_on(task)?, 80);
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    #[track_caller]
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let sleeper = Sleeper::begin(&self.queue);
        let waker = sleeper.parker.unparker().into();
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            if self.run_until_idle() == 0 && !sleeper.parker.park_timeout(LIMIT) {
                panic!("the future is not ready, and nothing was woken for {LIMIT:?}");
            }
        }
    }

    /// Polls tasks until the condition holds. Other threads may make it true.
    ///
    /// # Panics
    ///
    /// If a task panics, or if the condition does not hold within 30 s ([`LIMIT`]).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the condition holds.
    #[track_caller]
    pub fn until(&self, holds: impl Fn() -> bool) {
        let sleeper = Sleeper::begin(&self.queue);
        let end = Instant::now() + LIMIT;
        while !holds() {
            assert!(Instant::now() < end, "the condition did not hold within {LIMIT:?}");
            if self.run_until_idle() == 0 {
                // A condition can become true without a wake-up.
                let _woken = sleeper.parker.park_timeout(CHECK_INTERVAL);
            }
        }
    }
}

impl Default for TestExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl Spawn for TestExecutor {
    fn spawn(&self, job: Job) {
        match (job.is_blocking(), self.is_blocking_on_threads) {
            (false, _) => TestExecutor::spawn(self, job).detach(),
            (true, false) => job.run(),
            (true, true) => Threads.spawn(job),
        }
    }
}

impl Queue {
    fn append(&self, runnable: Runnable) {
        let mut ready = self.ready.lock();
        ready.tasks.push_back(runnable);
        for (_, unparker) in &ready.sleeping {
            unparker.unpark();
        }
    }

    fn take(&self) -> Option<Runnable> {
        let mut ready = self.ready.lock();
        let count = ready.tasks.len();
        match &mut ready.random {
            Some(random) if count > 1 => {
                let index = random.usize(..count);
                ready.tasks.swap_remove_back(index)
            }
            _ => ready.tasks.pop_front(),
        }
    }
}

/// A call that sleeps while nothing is ready.
struct Sleeper<'a> {
    queue: &'a Queue,
    call: u64,
    parker: Parker,
}

impl<'a> Sleeper<'a> {
    fn begin(queue: &'a Queue) -> Self {
        let parker = Parker::new();
        let mut ready = queue.ready.lock();
        let call = ready.next_call;
        ready.next_call += 1;
        ready.sleeping.push((call, parker.unparker()));
        drop(ready);
        Self { queue, call, parker }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.queue.ready.lock().sleeping.retain(|(call, _)| *call != self.call);
    }
}

impl fmt::Debug for TestExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestExecutor").field("ready", &self.ready()).finish_non_exhaustive()
    }
}
