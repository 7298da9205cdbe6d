//! A process's place in the graph: children, edges, and its teardown.

use std::future::Future;
use std::sync::Arc;
use std::task::Waker;

use super::Process;
use crate::run::body::BodyEnd;
#[cfg(not(loom))]
use crate::run::observers;
use crate::run::{
    Inherited, Scope, Seed, Teardown, Unlinked, drop_sleeper, inherited_from_context, perform,
};
use crate::state::{Added, EdgeKind, Look, SetTeardown, Ticket, fresh_child, link};
use crate::value::{Error, IntoOutcome, LinkError, Reason, Site};

impl Process {
    /// A new child. If the parent is Closing or Closed, the child closes at once.
    ///
    /// The child inherits the parent's spawner. A child of a Running process is made without a search for cycles, and
    /// with no lock but the parent's.
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
        let (child, added) = self.fresh_child(Seed::inheriting(Site::caller(), self.heritage()));
        if let Added::Refused = added {
            child.close_with(self);
        }
        child
    }

    /// A new child that has no other edges, linked to this process unless that is refused.
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

    /// A child with a body that will hold a slot of this process, to be [added](Self::take_slot_for) when there is one.
    pub(crate) fn unlinked_child(&self, site: Site) -> Unlinked {
        let seed = Seed::inheriting(site, self.heritage());
        Unlinked::new(&self.node, Seed { body: true, limited: true, ..seed })
    }

    /// Takes a slot for the child, which is then added, or queues for one.
    pub(crate) fn take_slot_for(
        &self,
        child: &Unlinked,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Look {
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
    pub(crate) fn heritage(&self) -> Option<Arc<Inherited>> {
        match self.node.inherited() {
            Some(own) if own.spawner().is_some() => own.passed_on(),
            _ => inherited_from_context(),
        }
    }

    /// A new child with a body.
    pub(crate) fn child_with_body(&self, site: Site) -> Result<(Self, BodyEnd), Error> {
        self.child_with_body_for(Seed { inherited: self.heritage(), ..Seed::at(site) })
    }

    /// A new child with a body, made from the seed.
    pub(crate) fn child_with_body_for(&self, mut seed: Seed) -> Result<(Self, BodyEnd), Error> {
        seed.body = true;
        let (child, added) = self.fresh_child(seed);
        let end = BodyEnd::of(child.node.clone());
        match added {
            Added::Open | Added::Late => Ok((child, end)),
            Added::Refused => {
                end.without_body();
                Err(Error::Closed(self.label()))
            }
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
    /// as when the child waits for this process; [`LinkError::Closed`] if the teardown of this process has started;
    /// [`LinkError::Background`] if the child is the background process. Then nothing has changed.
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
    /// Two processes may each be the other's no-wait child: whichever closes first closes the other. Such a ring does
    /// not keep itself open.
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
    /// as when `other` waits for this process; [`LinkError::Closed`] if the teardown of this process has started;
    /// [`LinkError::Background`] if one of them is the background process. Then nothing has changed.
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
    /// parent is Closing. So if `other` uses this process, `other` has stopped before this process begins to stop. This
    /// is also a wait-for edge.
    ///
    /// The order binds only parents: a direct call that closes or aborts this process takes effect at once. An abort of
    /// a parent does not override the order: this process is aborted when its turn comes.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for); also [`LinkError::Cycle`] if `other` closes only after this process, or
    /// because of it, as its child does.
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
    /// It runs on a thread that it may block; its error or panic becomes part of the outcome. If the process is already
    /// Closed and had no teardown, this one runs now, and its result is returned: the resource is released, and the
    /// outcome stays as it was.
    ///
    /// # Errors
    ///
    /// [`Error::TeardownSet`] if the process already has a teardown, which stays. [`Error::Background`] on the
    /// background process. On a Closed process, also the error of the teardown.
    ///
    /// # Blocking
    ///
    /// Blocks only on a Closed process, until the teardown has run.
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

    /// Sets an async teardown, as [`set_teardown`](Self::set_teardown) does, except that the function makes a future,
    /// which the spawner polls.
    ///
    /// # Errors
    ///
    /// Those of [`set_teardown`](Self::set_teardown). On a Closed process, also [`Error::Deadlock`] if only this thread
    /// could poll the teardown, because it drives a current-thread tokio runtime. The teardown then runs later.
    ///
    /// # Blocking
    ///
    /// Blocks only on a Closed process, until the teardown has run. So do not call it there on a thread that the
    /// spawner needs to poll the teardown.
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
                // It runs as the teardown of a process of its own, so that there is only one way to run teardowns.
                let inherited = self.node.inherited().cloned();
                let teardown = Some(teardown);
                let release = Seed { inherited, teardown, ..Seed::at(self.node.site) };
                Self::from_seed(release).close_blocking()
            }
        }
    }
}
