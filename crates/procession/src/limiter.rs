//! [`Limited`]: limits the number of children that run at a time.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::process::Process;
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::run::call_stack::innermost_label;
use crate::run::park::ThisThread;
use crate::run::waits::begin_wait_for_slot;
use crate::run::{Seed, Unlinked, drop_sleeper, flush, perform};
use crate::state::{Added, Limit, SlotAttempt, Ticket};
use crate::value::model::{Waiting, model_has_failed};
use crate::value::time::deadline_after;
use crate::value::{Error, IntoOutcome, Site};

/// Limits the number of children that run at a time: a caller that wants one more waits for a slot.
///
/// Conceptually, a limiter is a process with a fixed number of places for children, and a queue of callers.
///
/// The slot of a child is free again when the child is Closed, that is, after its own children and its teardown have
/// ended. Slots are given in the order in which they were requested. To wait for one,
/// [`spawn_thread`](Self::spawn_thread) blocks the thread, and [`spawn`](Self::spawn) suspends the task; the `try_`
/// variants do not wait; [`acquire`](Self::acquire) waits for a [`Slot`] for either kind of body, and can have a
/// timeout. When the process closes, all waiting callers get [`Error::Closed`].
///
/// A child that fails counts as a failed child of the process for which the limiter was made, and may
/// [close](crate::ChildFailure::Close) that process.
///
/// Clones share the slots. When the last clone, waiter and slot are dropped, the process of the limiter closes as soon
/// as its children have finished.
///
/// # Limited or a semaphore?
///
/// A permit of a semaphore is free again when its guard is dropped, even if the task has started more work, and a
/// semaphore does not know that the program is closing. A slot is free again only when everything below its child is
/// Closed, and closing ends the queue. To limit something that is not a process, such as memory, use a semaphore. To
/// limit how often something starts, use [`Periodic`](crate::Periodic).
///
/// In goprocess, this is the `RateLimiter`.
///
/// ```
/// use procession::{Error, Limited, Process};
///
/// let server = Process::builder().name("server").build()?;
/// let requests = Limited::new(&server, 2)?;
/// let stuck = |p: Process| p.closing().wait();
/// requests.spawn_thread(stuck)?;
/// requests.spawn_thread(stuck)?;
/// assert!(matches!(requests.try_spawn_thread(stuck), Err(Error::Full(_))));
///
/// server.close_blocking()?;
/// assert!(matches!(requests.spawn_thread(stuck), Err(Error::Closed(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Limited {
    shared: Arc<Shared>,
}

/// The state that a limiter, its waiters and its slots share.
struct Shared {
    /// The parent of the limited children. It is itself a child of the process for which the limiter was made.
    process: Process,
}

impl Limited {
    /// Makes a limiter for children of `parent`. The limited children are children of an intermediate process, which is
    /// a child of `parent`. Errors call that process the limiter.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroLimit`] if `limit` is 0, [`Error::Closed`] if the teardown of `parent` has started.
    #[track_caller]
    pub fn new(parent: &Process, limit: usize) -> Result<Self, Error> {
        if limit == 0 {
            return Err(Error::ZeroLimit(parent.label()));
        }
        let mut seed = Seed { inherited: parent.passed_on(), ..Seed::at(Site::caller()) };
        seed.extras().limit = Some(Limit::new(limit));
        let (process, added) = parent.fresh_child(seed);
        match added {
            Added::Open | Added::Late => Ok(Self { shared: Arc::new(Shared { process }) }),
            Added::Refused => Err(Error::Closed(parent.label())),
        }
    }

    /// The process whose children are limited, for example to close it, to wait for it, or to set hooks on it.
    ///
    /// Children that are added to this process in other ways take no slot.
    pub fn process(&self) -> &Process {
        &self.shared.process
    }

    /// Waits for a slot, then runs `body` as [`Process::spawn`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the process is Closing. Then the body is not run.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, the body is dropped without being run. The future gives up its place in
    /// the queue, and a slot that it was given goes to the next waiter.
    ///
    /// ```
    /// use procession::{Limited, Process};
    ///
    /// # futures_lite::future::block_on(async {
    /// let app = Process::new();
    /// let downloads = Limited::new(&app, 4)?;
    /// for page in 0..100 {
    ///     downloads.spawn(move |_| async move { println!("page {page}") }).await?;
    /// }
    /// drop(downloads);
    /// app.close_after_children().await?;
    /// # Ok::<(), procession::Error>(())
    /// # }).unwrap()
    /// ```
    #[track_caller]
    pub fn spawn<F, Fut>(
        &self,
        body: F,
    ) -> impl Future<Output = Result<Process, Error>> + Send + use<F, Fut>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let mut acquire = self.acquire_at(None);
        let site = Site::caller();
        async move {
            let mut made = None;
            let child = poll_fn(|context| acquire.poll_child(&mut made, site, context.waker()));
            let (child, end) = child.await?;
            child.start(end, body);
            Ok(child)
        }
    }

    /// Waits for a slot, then runs `body` as [`Process::spawn_thread`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the process is Closing; [`Error::NoThread`] if the OS cannot create a thread;
    /// [`Error::Deadlock`] at once if the wait for a slot could never end, as with [`Acquire::wait`]. Then the body is
    /// not run.
    ///
    #[doc = include_str!("../docs/blocking.md")]
    #[track_caller]
    pub fn spawn_thread<F, R>(&self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.acquire_at(None).wait()?.spawn_thread(body)
    }

    /// [`spawn`](Self::spawn), if there is a slot.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there is none, and those of `spawn`. Then the body is not run.
    #[track_caller]
    pub fn try_spawn<F, Fut>(&self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.try_acquire_at(None)?.spawn(body)
    }

    /// [`spawn_thread`](Self::spawn_thread), if there is a slot.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there is none, and those of `spawn_thread`. Then the body is not run.
    #[track_caller]
    pub fn try_spawn_thread<F, R>(&self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.try_acquire_at(None)?.spawn_thread(body)
    }

    /// A waiter for a slot: a future that can also block a thread.
    ///
    /// ```
    /// use procession::{Limited, Process};
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let one = Limited::new(&app, 1)?;
    /// let slot = one.acquire().wait()?;
    /// let mut next = one.acquire();
    /// assert!(next.wait_timeout(Duration::from_millis(1)).is_none());
    /// // An async body, spawned from blocking code.
    /// slot.spawn(|_| async { println!("in the only slot") })?;
    /// next.wait()?.spawn_thread(|_| println!("after it"))?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn acquire(&self) -> Acquire {
        self.acquire_at(Some(Site::caller()))
    }

    fn acquire_at(&self, site: Option<Site>) -> Acquire {
        Acquire { shared: self.shared.clone(), ticket: None, site }
    }

    /// Takes a slot, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Full`] if there is none, [`Error::Closed`] if the process is Closing.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<Slot, Error> {
        self.try_acquire_at(Some(Site::caller()))
    }

    fn try_acquire_at(&self, site: Option<Site>) -> Result<Slot, Error> {
        let process = self.process();
        match process.node.try_take_slot() {
            SlotAttempt::Taken => Ok(Slot::new(&self.shared, site)),
            SlotAttempt::NoneFree => Err(Error::Full(process.label())),
            SlotAttempt::Closed => Err(Error::Closed(process.label())),
        }
    }
}

/// When the limiter is no longer used, lets the children finish, and then closes the process.
impl Drop for Shared {
    fn drop(&mut self) {
        if !model_has_failed() {
            self.process.close_after_children();
        }
    }
}

/// Waits for a slot. It joins the queue when it is first polled or waited for. Made by [`Limited::acquire`].
///
/// It yields [`Error::Closed`] when the process closes.
///
/// # Cancel safety
///
/// It can be dropped at any time, and another one made: nothing is left behind. It gives up its place in the queue, and
/// a slot that it was given goes to the next waiter.
#[must_use = "a waiter does nothing unless it is awaited or waited for"]
pub struct Acquire {
    shared: Arc<Shared>,
    /// The place in the queue.
    ticket: Option<Ticket>,
    /// The place where it was made, if a caller, and not a child, will hold the slot.
    site: Option<Site>,
}

impl Acquire {
    /// Blocks until there is a slot.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the process is Closing; [`Error::Deadlock`] at once if all slots are held by processes that
    /// wait for the process whose code calls this, or for work that only this thread could do because it drives a
    /// current-thread tokio runtime. That is checked only when the wait begins: if the last holder begins to wait for
    /// the caller later, both wait for ever.
    ///
    #[doc = include_str!("../docs/blocking.md")]
    pub fn wait(mut self) -> Result<Slot, Error> {
        self.block(None).map(|slot| slot.expect("without a deadline, it waits for a slot"))
    }

    /// Blocks until there is a slot; `None` if the timeout ends first. In that case, this value keeps its place in the
    /// queue until it is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the process is Closing. A wait with a timeout is never refused, unless the timeout is
    /// longer than a clock can measure.
    ///
    #[doc = include_str!("../docs/blocking-timeout.md")]
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<Slot, Error>> {
        self.block(deadline_after(timeout)).transpose()
    }

    /// [`wait_timeout`](Self::wait_timeout), with a deadline.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the process is Closing. A wait with a deadline is never refused.
    ///
    #[doc = include_str!("../docs/blocking-timeout.md")]
    pub fn wait_deadline(&mut self, deadline: Instant) -> Option<Result<Slot, Error>> {
        self.block(Some(deadline)).transpose()
    }

    fn block(&mut self, deadline: Option<Instant>) -> Result<Option<Slot>, Error> {
        let thread = ThisThread::new();
        let mut slot = self.poll_slot(thread.waker());
        if slot.is_pending() {
            let process = &self.shared.process;
            let _shown = match deadline {
                None => begin_wait_for_slot(&process.node)?,
                Some(_) => Vec::new(),
            };
            flush();
            let _waiting = Waiting::record(innermost_label, "to have a free slot", || {
                process.node.own_label()
            });
            while slot.is_pending() && thread.park(deadline) {
                slot = self.poll_slot(thread.waker());
            }
        }
        match slot {
            Poll::Ready(slot) => slot.map(Some),
            Poll::Pending => Ok(None),
        }
    }

    /// Waits for a slot for a child. The child is made at the first call, and is added to its parent in the locked
    /// section that takes the slot.
    fn poll_child(
        &mut self,
        made: &mut Option<Unlinked>,
        site: Site,
        waker: &Waker,
    ) -> Poll<Result<(Process, BodyEnd), Error>> {
        let process = &self.shared.process;
        let child = made.get_or_insert_with(|| process.unlinked_child(site));
        match process.take_slot_for(child, &mut self.ticket, waker) {
            SlotAttempt::Taken => {
                let node = made.take().expect("it was made above").linked();
                let end = BodyEnd::of(node.clone());
                Poll::Ready(Ok((Process { node }, end)))
            }
            SlotAttempt::NoneFree => Poll::Pending,
            SlotAttempt::Closed => Poll::Ready(Err(Error::Closed(process.label()))),
        }
    }

    fn poll_slot(&mut self, waker: &Waker) -> Poll<Result<Slot, Error>> {
        let process = &self.shared.process;
        let (look, spare) = process.node.take_slot(&mut self.ticket, waker);
        drop_sleeper(spare);
        match look {
            SlotAttempt::Taken => Poll::Ready(Ok(Slot::new(&self.shared, self.site))),
            SlotAttempt::NoneFree => Poll::Pending,
            SlotAttempt::Closed => Poll::Ready(Err(Error::Closed(process.label()))),
        }
    }
}

impl Future for Acquire {
    type Output = Result<Slot, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.poll_slot(context.waker())
    }
}

impl Drop for Acquire {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.filter(|_| !model_has_failed()) {
            let (effects, left) = self.shared.process.node.leave_queue(ticket);
            drop_sleeper(left);
            perform(effects);
        }
    }
}

/// A slot of a [`Limited`], for one child. If it is dropped unused, it goes to the waiter that has waited longest.
#[must_use = "a slot that is dropped is free again"]
pub struct Slot {
    /// `None` once a child holds the slot.
    shared: Option<Arc<Shared>>,
    /// The place of the record that a caller holds the slot, if there is one.
    holder: Option<u32>,
}

impl Slot {
    /// A slot that was taken. If a caller will hold it, `site` is the place of that caller.
    fn new(shared: &Arc<Shared>, site: Option<Site>) -> Self {
        let holder = site.map(|site| shared.process.node.add_slot_holder(site));
        Self { shared: Some(shared.clone()), holder }
    }

    /// Runs `body` in this slot, as [`Process::spawn`] does. If the process has begun to close in the meantime, the
    /// child is Closing from the start.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of the process has started. Then the body is not run.
    #[track_caller]
    pub fn spawn<F, Fut>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let (child, end) = self.into_child(Site::caller())?;
        child.start(end, body);
        Ok(child)
    }

    /// Runs `body` in this slot, as [`Process::spawn_thread`] does.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of the process has started, [`Error::NoThread`] if the OS cannot
    /// create a thread. Then the body is not run, and the slot is free again.
    #[track_caller]
    pub fn spawn_thread<F, R>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let (child, end) = self.into_child(Site::caller())?;
        child.start_thread(end, ErrorRecipient::Caller, body)?;
        Ok(child)
    }

    /// Makes a child that holds the slot until it is Closed.
    fn into_child(mut self, site: Site) -> Result<(Process, BodyEnd), Error> {
        let process = self.shared.as_ref().map(|shared| &shared.process);
        let process = process.expect("a slot is used once");
        let inherited = process.passed_on();
        let seed = Seed { inherited, limited: true, ..Seed::at(site) };
        let child = process.child_with_body_for(seed)?;
        if let Some(holder) = self.holder.take() {
            process.node.remove_slot_holder(holder);
        }
        self.shared = None;
        Ok(child)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.as_ref().filter(|_| !model_has_failed()) {
            if let Some(holder) = self.holder {
                shared.process.node.remove_slot_holder(holder);
            }
            perform(shared.process.node.return_slot());
        }
    }
}

impl fmt::Debug for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Limited").field(self.process()).finish()
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acquire").field(&self.shared.process.label()).finish()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.shared.as_ref().map(|shared| shared.process.label());
        f.debug_tuple("Slot").field(&label).finish()
    }
}
