//! A process's place in the graph: children, edges, and its teardown.

use std::future::Future;
use std::sync::Arc;

use super::Process;
use crate::dispatch::dispatch;
use crate::error::{Error, LinkError};
use crate::outcome::IntoOutcome;
use crate::reason::Reason;
use crate::spawn::of_context;
use crate::state::{EdgeKind, Inherited, Refused, Seed, SetTeardown, fresh_child, link};
use crate::teardown::Teardown;

impl Process {
    /// A new child. Of a Closing or Closed parent, it closes at once.
    ///
    /// No search, and no lock but the parent's. The child inherits the parent's spawner.
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
    pub fn child(&self) -> Self {
        let inherited = self.heritage();
        let (child, taken_in) = self.fresh_child(Seed { inherited, ..Seed::default() });
        if let Err(Refused) = taken_in {
            dispatch(child.node.close(Reason::ParentClosed, self.is_aborting()));
        }
        child
    }

    /// A child that nobody knows yet, linked to this process.
    pub(crate) fn fresh_child(&self, seed: Seed) -> (Self, Result<(), Refused>) {
        let (node, taken_in) = fresh_child(&self.node, seed);
        (Self { node }, taken_in.map(dispatch))
    }

    /// What a child without a name or a spawner of its own has from this process.
    pub(crate) fn heritage(&self) -> Option<Arc<Inherited>> {
        match self.node.inherited() {
            Some(inherited) if inherited.spawner.is_some() => Some(inherited.clone()),
            inherited => of_context().or_else(|| inherited.cloned()),
        }
    }

    /// A new child with a body. It goes by this process's name, since errors should say more than an id.
    pub(crate) fn child_with_body(&self) -> Result<Self, Error> {
        self.child_for(Seed { body: true, ..Seed::default() })
    }

    /// A new child that does a part of this process's work, and goes by its name.
    pub(crate) fn child_for(&self, seed: Seed) -> Result<Self, Error> {
        let body = seed.body;
        let (child, taken_in) = self.fresh_child(self.lend_name(seed));
        match taken_in {
            Ok(()) => Ok(child),
            Err(Refused) => {
                if body {
                    dispatch(child.node.body_ended(Ok(()), None));
                }
                Err(Error::Closed(self.label()))
            }
        }
    }

    /// Lets what is made of `seed` go by this process's name.
    pub(crate) fn lend_name(&self, mut seed: Seed) -> Seed {
        seed.named = self.node.is_named() && !self.node.is_background();
        seed.inherited = seed.inherited.or_else(|| self.heritage());
        let own = self.node.inherited();
        if seed.named && seed.inherited.as_ref().map(Arc::as_ptr) != own.map(Arc::as_ptr) {
            let spawner = seed.inherited.and_then(|heritage| heritage.spawner.clone());
            seed.inherited = Some(Arc::new(Inherited { name: self.name(), spawner }));
        }
        seed
    }

    /// Makes `child` a child of this process: it is closed when this one closes, and this one waits for it.
    ///
    /// A child may have several parents; the first that closes closes it. If this process is Closing, the
    /// child is closed at once. A child that is Closed already is no error and no edge.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if the child waits for this process, [`LinkError::Closed`] if the teardown of
    /// this process has started, [`LinkError::Background`] if the child is the background. Then nothing has
    /// changed.
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
        link(&self.node, &child.node, EdgeKind::Child).map(dispatch)
    }

    /// Makes `child` close when this process closes, which does not wait for it.
    ///
    /// If this process is Closing or Closed, the child is closed at once.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if both are the same process, [`LinkError::Background`] if the child is the
    /// background.
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
        link(&self.node, &child.node, EdgeKind::NoWaitChild).map(dispatch)
    }

    /// Makes the teardown of this process start only after `other` is Closed. That does not close `other`.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if `other` waits for this process, [`LinkError::Closed`] if the teardown of this
    /// process has started, [`LinkError::Background`] if one of them is the background. Then nothing has
    /// changed.
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
        link(&self.node, &other.node, EdgeKind::WaitFor).map(dispatch)
    }

    /// Makes a parent close this process only after `other` is Closed: until then, it stays Running, though
    /// its parent closes. So what uses another thing stops before that begins to stop. It is a wait-for edge
    /// too.
    ///
    /// Who closes this process directly does so at once, and an abort comes at once too.
    ///
    /// # Errors
    ///
    /// Those of [`wait_for`](Self::wait_for).
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
    ///     assert!(!used.is_closing()); // as long as this one needs it
    /// })?;
    /// app.close_blocking()?;
    /// assert!(database.is_closed() && request.outcome().unwrap().is_ok());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_after(&self, other: &Self) -> Result<(), LinkError> {
        link(&self.node, &other.node, EdgeKind::CloseAfter).map(dispatch)
    }

    /// Sets the function that runs once between Closing and Closed, after all that the process waits for is
    /// Closed.
    ///
    /// It runs on a thread that may be blocked; its error or panic goes to the outcome. On a process that is
    /// Closed already, it runs now, and what it returns is returned: the resource is released, the outcome
    /// stays as it was.
    ///
    /// # Errors
    ///
    /// [`Error::TeardownSet`] if one was set before; that one stays. [`Error::Background`] on the background.
    /// On a Closed process, the teardown's own.
    ///
    /// # Blocking
    ///
    /// Only on a Closed process: until the teardown has run.
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

    /// Sets an async teardown: [`set_teardown`](Self::set_teardown), but the function makes a future, which
    /// the spawner polls.
    ///
    /// # Errors
    ///
    /// Those of [`set_teardown`](Self::set_teardown).
    ///
    /// # Blocking
    ///
    /// Only on a Closed process: until the teardown has run on the spawner. So do not call it on a thread
    /// that the spawner needs for that.
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
            SetTeardown::AlreadySet => Err(Error::TeardownSet(self.label())),
            SetTeardown::Closed(teardown) => {
                // It runs as the teardown of a process of its own, so that there is one way to run teardowns.
                let release = Seed {
                    inherited: self.node.inherited().cloned(),
                    named: self.node.is_named(),
                    teardown: Some(teardown),
                    ..Seed::default()
                };
                Self::from_seed(release).close_blocking()
            }
        }
    }
}
