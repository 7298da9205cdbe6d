//! The graph: children and other edges, and the teardown of a process.

use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use super::{Process, Unstarted};
use crate::run::body::BodyEnd;
#[cfg(not(loom))]
use crate::run::observers;
use crate::run::{
    Inherited, Scope, Seed, Teardown, Unlinked, drop_sleeper, inherited_from_context, perform,
};
use crate::state::{Added, EdgeKind, SetTeardown, SlotAttempt, Ticket, fresh_child, link};
use crate::value::{Error, IntoOutcome, LinkError, Reason, Site};

impl Process {
    /// Makes a child of this process, and returns it. If this process is Closing or Closed, the child is closed at
    /// once.
    ///
    /// The child inherits the parent's spawner. Making a child of a Running process needs no search for cycles, and no
    /// lock but the parent's. [`builder`](Self::builder) makes children with names, and [`add_child`](Self::add_child)
    /// adds existing processes.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let parent = Process::new();
    /// let child = parent.child();
    /// parent.close_blocking()?;
    /// assert!(child.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn child(&self) -> Self {
        let (child, added) = self.fresh_child(Seed::inheriting(Site::caller(), self.passed_on()));
        if let Added::Refused = added {
            child.close_with(self);
        }
        child
    }

    /// Makes a child of this process that has no other edges. If it is refused, it is not linked.
    #[inline(always)]
    pub(crate) fn fresh_child(&self, seed: Seed) -> (Self, Added) {
        self.fresh_watched_child(seed, None)
    }

    /// [`fresh_child`](Self::fresh_child), with the observers that its maker gives it.
    #[inline(always)]
    pub(crate) fn fresh_watched_child(
        &self,
        seed: Seed,
        scope: Option<Arc<Scope>>,
    ) -> (Self, Added) {
        #[cfg(not(loom))]
        observers::look_for_tracing(&self.node);
        let (node, added) = fresh_child(&self.node, seed, scope);
        let child = Self { node };
        if let Added::Late = added {
            child.close_with(self);
        }
        (child, added)
    }

    /// Makes a child with a body that will hold a slot of this process. [`take_slot_for`](Self::take_slot_for) adds it
    /// when there is a slot.
    pub(crate) fn unlinked_child(&self, site: Site) -> Unlinked {
        let seed = Seed::inheriting(site, self.passed_on());
        Unlinked::new(&self.node, Seed { body: true, limited: true, ..seed })
    }

    /// Takes a slot for the child, and adds the child, or queues for a slot.
    pub(crate) fn take_slot_for(
        &self,
        child: &Unlinked,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> SlotAttempt {
        #[cfg(not(loom))]
        observers::look_for_tracing(&self.node);
        let (look, spare) = self.node.take_slot_for(child, ticket, waker);
        drop_sleeper(spare);
        look
    }

    #[cold]
    fn close_with(&self, parent: &Self) {
        perform(self.node.close(&Reason::ParentClosed, parent.is_aborting()));
    }

    /// The values that a child without a name or a spawner of its own inherits from this process.
    pub(crate) fn passed_on(&self) -> Option<Arc<Inherited>> {
        match self.node.inherited() {
            Some(own) if own.spawner().is_some() => own.passed_on(),
            _ => inherited_from_context(),
        }
    }

    /// The seed of a child without a name or a spawner of its own.
    #[inline(always)]
    pub(super) fn seed_of_child(&self, site: Site) -> Seed {
        Seed::inheriting(site, self.passed_on())
    }

    /// Makes a child with a body that has not started.
    #[inline(always)]
    pub(super) fn unstarted_child(&self, mut seed: Seed) -> Result<Unstarted, LinkError> {
        seed.body = true;
        let (child, added) = self.fresh_child(seed);
        let child = Unstarted::new(child);
        match added {
            Added::Open | Added::Late => Ok(child),
            Added::Refused => {
                child.cancel();
                Err(LinkError::Closed(self.label()))
            }
        }
    }

    /// Makes a child with a body.
    pub(crate) fn child_with_body(&self, site: Site) -> Result<(Self, BodyEnd), Error> {
        self.child_with_body_for(self.seed_of_child(site))
    }

    /// Makes a child with a body from the seed.
    pub(crate) fn child_with_body_for(&self, seed: Seed) -> Result<(Self, BodyEnd), Error> {
        match self.unstarted_child(seed) {
            Ok(child) => Ok(child.into_parts()),
            Err(_closed) => Err(Error::Closed(self.label())),
        }
    }

    /// Makes `child` a child of this process, which closes it and waits for it.
    ///
    /// A child may have several parents; the first one to close closes it. If this process is Closing, the child is
    /// closed at once. If the child is already Closed, nothing happens.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if both are the same process, or if the edge would complete a cycle that could never close,
    /// for example because the child waits for this process; [`LinkError::Closed`] if the teardown of this process has
    /// started; [`LinkError::Background`] if the child is the background process. Then nothing has changed.
    ///
    /// ```
    /// use procession::{LinkError, Process};
    ///
    /// let (tcp, tls, socket) = (Process::new(), Process::new(), Process::new());
    /// tcp.add_child(&socket)?;
    /// tls.add_child(&socket)?;
    /// assert!(matches!(socket.add_child(&tls), Err(LinkError::Cycle(_))));
    /// # Ok::<(), LinkError>(())
    /// ```
    pub fn add_child(&self, child: &Self) -> Result<(), LinkError> {
        link(&self.node, &child.node, EdgeKind::CHILD).map(perform)
    }

    /// Makes `child` a no-wait child of this process, which closes it but does not wait for it.
    ///
    /// If this process is Closing, the child is closed at once.
    ///
    /// Two processes may each be the other's no-wait child: the one that closes first closes the other. Such a ring
    /// does not keep itself open.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if both are the same process, or if this process closes only after the child;
    /// [`LinkError::Closed`] if the teardown of this process has started; [`LinkError::Background`] if the child is the
    /// background process. Then nothing has changed.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let (request, cache_refresh) = (Process::new(), Process::new());
    /// request.add_child_no_wait(&cache_refresh)?;
    /// request.close_blocking()?;
    /// assert!(cache_refresh.is_closing());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_child_no_wait(&self, child: &Self) -> Result<(), LinkError> {
        link(&self.node, &child.node, EdgeKind::NO_WAIT_CHILD).map(perform)
    }

    /// Makes the teardown of this process start only after `other` is Closed. This does not close `other`.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if both are the same process, or if the edge would complete a cycle that could never close,
    /// for example because `other` waits for this process; [`LinkError::Closed`] if the teardown of this process has
    /// started; [`LinkError::Background`] if one of them is the background process. Then nothing has changed.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let (server, log) = (Process::new(), Process::with_teardown(|| println!("flushed")));
    /// log.wait_for(&server)?;
    /// log.close();
    /// assert!(!log.is_closed());
    /// server.close();
    /// log.closed().wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_for(&self, other: &Self) -> Result<(), LinkError> {
        link(&self.node, &other.node, EdgeKind::WAIT_FOR).map(perform)
    }

    /// Makes the parents of this process close it only after `other` is Closed. Until then, it stays Running, even if a
    /// parent is Closing. So if `other` uses this process, `other` has stopped before this process begins to stop. The
    /// edge is also a [wait-for edge](Self::wait_for).
    ///
    /// The order binds only parents: a direct call that closes or aborts this process takes effect at once. An abort of
    /// a parent does not override the order: this process is aborted when its turn comes.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for); also [`LinkError::Cycle`] if `other` closes only after this process, or
    /// only because of it, as a child of it does.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let (database, server) = (app.child(), app.child());
    /// database.close_after(&server)?;
    /// let used = database.clone();
    /// let request = server.spawn_thread(move |p| {
    ///     p.closing().wait();
    ///     assert!(!used.is_closing()); // this request may still use the database
    /// })?;
    /// app.close_blocking()?;
    /// assert!(database.is_closed() && request.outcome().unwrap().is_ok());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_after(&self, other: &Self) -> Result<(), LinkError> {
        link(&self.node, &other.node, EdgeKind::CLOSE_AFTER).map(perform)
    }

    /// Sets the function that runs once between Closing and Closed, after everything the process waits for is
    /// Closed.
    ///
    /// It runs on a thread that it may block. Its error or panic becomes part of the outcome. If the process is already
    /// Closed and had no teardown, this teardown runs at once, so that the resource is released, and its result is
    /// returned. The outcome stays as it was.
    ///
    /// # Errors
    ///
    /// [`Error::TeardownSet`] if the process already has a teardown, which stays; [`Error::Background`] on the
    /// background process. On a Closed process, also the error of the teardown.
    ///
    /// # Blocking
    ///
    /// Blocks the thread only on a Closed process, until the teardown has run.
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let process = Process::new();
    /// process.set_teardown(|| println!("released"))?;
    /// assert!(matches!(process.set_teardown(|| ()), Err(Error::TeardownSet(_))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn set_teardown<F, R>(&self, teardown: F) -> Result<(), Error>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.set(Teardown::blocking(teardown))
    }

    /// Sets an async teardown, as [`set_teardown`](Self::set_teardown) does a blocking one: the function returns a
    /// future, which the spawner polls.
    ///
    /// # Errors
    ///
    /// Those of [`set_teardown`](Self::set_teardown). On a Closed process, also [`Error::Deadlock`] if only this thread
    /// could poll the teardown, because it drives a current-thread tokio runtime. The teardown then runs later.
    ///
    /// # Blocking
    ///
    /// Blocks the thread only on a Closed process, until the teardown has run. So do not call it on a Closed
    /// process on a thread that the spawner needs to poll the teardown.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// process.set_teardown_async(|| async { println!("released") })?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn set_teardown_async<F, Fut>(&self, teardown: F) -> Result<(), Error>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.set(Teardown::future(teardown))
    }

    fn set(&self, teardown: Teardown) -> Result<(), Error> {
        if self.node.is_background() {
            return Err(Error::Background);
        }
        match self.node.set_teardown(teardown) {
            SetTeardown::Set => Ok(()),
            SetTeardown::AlreadySet(_refused) => Err(Error::TeardownSet(self.label())),
            SetTeardown::TooLate(teardown) => {
                // It runs as the teardown of another process, so that there is only one way to run teardowns.
                let inherited = self.node.inherited().cloned();
                let teardown = Some(teardown);
                let release = Seed { inherited, teardown, ..Seed::at(self.node.site) };
                Self::from_seed(release).close_blocking()
            }
        }
    }
}
