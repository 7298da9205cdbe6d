//! Reading the state of a process, and hooks that are called for failures.

use std::sync::Arc;

use super::{Aborting, Closed, Closing, Process};
use crate::run::Failure;
use crate::run::hooks::hook;
use crate::value::{Error, Label, Name, Phase, ProcessId, Reason, Segment, Site};

impl Process {
    /// The phase. This costs one atomic load.
    ///
    /// ```
    /// use procession::{Phase, Process};
    ///
    /// let process = Process::new();
    /// assert_eq!(process.phase(), Phase::Running);
    /// process.close();
    /// assert_eq!(process.phase(), Phase::Closed); // it had nothing to wait for
    /// ```
    pub fn phase(&self) -> Phase {
        self.node.phase()
    }

    /// Is the process Closing or Closed? This costs one atomic load, so it can be called in every iteration of a loop.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let counter = process.spawn_thread(|p| {
    ///     let mut count = 0_u64;
    ///     while !p.is_closing() {
    ///         count += 1;
    ///     }
    /// })?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.node.phase() != Phase::Running
    }

    /// Is the process Closed? This costs one atomic load.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.node.phase() == Phase::Closed
    }

    /// Was the process aborted? This stays `true` when it is Closed. It costs one atomic load.
    #[inline]
    pub fn is_aborting(&self) -> bool {
        self.node.is_aborting()
    }

    /// A waiter that is ready when the process is Closing.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let worker = process.spawn_thread(|p| p.closing().wait())?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use = "this makes a waiter: `.await` it, or call `wait`; `is_closing` looks without waiting"]
    pub fn closing(&self) -> Closing {
        Closing::new(&self.node)
    }

    /// A waiter that is ready when the process is Closed, and yields the outcome. It does not close the process.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let job = process.spawn(|_| async { println!("done") })?;
    /// job.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use = "this makes a waiter: `.await` it, or call `wait`; `is_closed` looks without waiting"]
    pub fn closed(&self) -> Closed {
        Closed::new(&self.node)
    }

    /// A waiter that is ready when the process is aborted: from then on, a thread body should end as fast as it can.
    ///
    /// It is also ready when the process is Closed without having been aborted. It yields whether the process was
    /// aborted.
    ///
    /// ```
    /// use procession::Process;
    /// use std::time::Duration;
    ///
    /// let process = Process::new();
    /// let flusher = process.spawn_thread(|p| {
    ///     p.closing().wait();
    ///     while p.aborting().wait_timeout(Duration::from_millis(1)).is_none() {
    ///         // flush a little more
    ///     }
    /// })?;
    /// let _forced = process.close_within(Duration::from_millis(5)).wait();
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[must_use = "this makes a waiter: `.await` it, or call `wait`; `is_aborting` looks without waiting"]
    pub fn aborting(&self) -> Aborting {
        Aborting::new(&self.node)
    }

    /// The outcome, once the process is Closed: `Ok`, or the errors of its body, its teardown, and the children that it
    /// [closed for](crate::ChildFailure::Close). It never changes.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::with_teardown(|| Err("disk full"));
    /// assert!(process.outcome().is_none());
    /// let error = process.close_blocking().unwrap_err();
    /// assert_eq!(process.outcome().unwrap().unwrap_err().to_string(), error.to_string());
    /// ```
    pub fn outcome(&self) -> Option<Result<(), Error>> {
        let outcome = self.node.outcome()?;
        Some(outcome.map_err(Failure::into_error))
    }

    /// The reason why the process began to close; `None` while it is Running.
    ///
    /// ```
    /// use procession::{Process, Reason};
    ///
    /// let process = Process::new();
    /// let body = process.spawn_thread(|_| Err("broken"))?;
    /// assert!(body.closed().wait().is_err());
    /// assert_eq!(body.reason(), Some(Reason::BodyFailed));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn reason(&self) -> Option<Reason> {
        self.node.reason()
    }

    /// The name given with [`Builder::name`](crate::Builder::name). It is not inherited.
    pub fn name(&self) -> Option<Arc<str>> {
        self.node.name().map(Name::to_shared)
    }

    /// The id, which is the same for all handles to one process.
    pub fn id(&self) -> ProcessId {
        self.node.id()
    }

    /// The place where the process was made.
    #[inline]
    pub fn site(&self) -> Site {
        self.node.site
    }

    /// The names of the process and of everything above it, following first parents, joined by `/`. A process without a
    /// name is represented by its [site](Self::site). A process that is Closed has nothing above it any more.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let server = Process::builder().name("server").parent(&app).build()?;
    /// let connection = Process::builder().name("connection 7").parent(&server).build()?;
    /// assert_eq!(connection.path(), "app/server/connection 7");
    /// # Ok::<(), procession::LinkError>(())
    /// ```
    pub fn path(&self) -> String {
        let mut segments = self.node.path_above(usize::MAX);
        segments.reverse();
        segments.push(self.node.segment());
        segments.iter().map(Segment::to_string).collect::<Vec<_>>().join("/")
    }

    /// The number of children that are not Closed, including no-wait children.
    ///
    /// Children of children do not count, nor do processes that this one only [waits for](Self::wait_for). A child that
    /// was added twice counts twice. While another thread begins to close this process, the children that it is about
    /// to close may be missing. This takes one lock, and its cost is linear in the number of children.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let server = Process::new();
    /// let (one, _other) = (server.child(), server.child());
    /// assert_eq!(server.child_count(), 2);
    /// one.close_blocking()?;
    /// assert_eq!(server.child_count(), 1);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn child_count(&self) -> usize {
        self.node.open_children()
    }

    /// The label by which errors refer to the process: its name or, if it has none, the place where it was made and the
    /// nearest name above it.
    pub fn label(&self) -> Label {
        self.node.label()
    }

    /// Calls `on_failure` for each failure in the tree of this process, its own included, when it happens: with the
    /// process that failed, and with the error.
    ///
    /// The hook is also called for processes that have no handles left, for panics, and for bodies that were
    /// [aborted](Error::Aborted). It runs on the thread where the failure happened (for the end of a [time
    /// limit](crate::Builder::time_limit), on a thread of the library), with no lock held, before the failed process is
    /// Closed. So when this process is Closed, the hook has been called for every failure of a process that it waited
    /// for, directly or through others. An error that a parent takes into its own outcome, with
    /// [`ChildFailure::Close`](crate::ChildFailure::Close), leads to one call, for the child.
    ///
    /// A process may have several hooks; those of its parents are called too, the nearest first. If a hook panics, the
    /// panic is caught, and the other hooks are called. A hook that holds a handle to the process that it is set on
    /// keeps that process open until it is closed. When the process is Closed, a thread of the library drops its hooks.
    /// But if the process has had a no-wait child, they stay as long as anything refers to the process, because such a
    /// child may fail later. On a process that is already Closed, the hook is dropped without being called.
    ///
    /// # Blocking
    ///
    /// The failed process cannot finish closing until the hook returns. The hook counts as code of that process, so in
    /// a hook, waiting for a process that waits for the failed one is an [`Error::Deadlock`].
    ///
    /// ```
    /// use procession::Process;
    /// use std::sync::mpsc;
    ///
    /// let app = Process::new();
    /// let (sender, receiver) = mpsc::channel();
    /// app.on_failure(move |process, error| drop(sender.send((process.label(), error.to_string()))));
    ///
    /// let worker = Process::builder().name("worker").parent(&app);
    /// worker.spawn_thread(|_| panic!("out of paper"))?; // its handle is dropped
    /// let (label, error) = receiver.recv()?;
    /// assert_eq!(label.name(), Some("worker"));
    /// assert_eq!(error, "process `worker` panicked: out of paper");
    /// # app.close_blocking()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_failure(&self, on_failure: impl Fn(&Self, &Error) + Send + Sync + 'static) {
        self.node.add_hook(hook(move |node, error| {
            on_failure(&Self::of_node(node.clone()), error);
        }));
    }
}
