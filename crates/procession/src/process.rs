//! [`Process`]: the handle, its place in the graph, and how it is closed and observed.

use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::builder::Builder;
use crate::dispatch::dispatch;
use crate::error::{Error, LinkError};
use crate::name::{Label, ProcessId};
use crate::outcome::IntoOutcome;
use crate::phase::Phase;
use crate::reason::Reason;
use crate::spawn::of_context;
use crate::state::{EdgeKind, Inherited, Node, Refused, Seed, SetTeardown, fresh_child, link};
use crate::sync::fence;
use crate::teardown::Teardown;
use crate::timer;
use crate::wait::{Aborting, Closed, Closing};

/// A handle of a process: a unit of work that can be closed.
///
/// A process is [Running](Phase::Running), then [Closing](Phase::Closing), then [Closed](Phase::Closed).
/// Closing one closes its children, waits for all that it waits for, and runs its teardown, once.
///
/// Handles are cheap to clone, and are equal if they are of the same process. They own it: when the
/// last handle is dropped of a process that no open parent holds, it closes. A waiter is not a handle.
/// What should outlive its handles is a child of [`background`](Self::background).
///
/// A teardown or a body that holds a handle of its own root keeps that open; let it hold a waiter.
///
/// # Examples
///
/// ```
/// use procession::Process;
///
/// let server = Process::with_teardown(|| println!("2. the listener is gone"));
/// let connection = server.child();
/// connection.set_teardown(|| println!("1. the last bytes are sent"))?;
///
/// server.close_blocking()?;
/// assert!(connection.is_closed());
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Process {
    pub(crate) node: Arc<Node>,
}

/// More handles than this are a leak; the same bound, and the same answer to it, as for `Arc`.
const MAX_HANDLES: u32 = i32::MAX as u32;

impl Process {
    /// A root: a process without a parent.
    ///
    /// ```
    /// use procession::{Phase, Process};
    ///
    /// let process = Process::new();
    /// assert_eq!(process.phase(), Phase::Running);
    /// ```
    pub fn new() -> Self {
        Self::from_seed(Seed { inherited: of_context(), ..Seed::default() })
    }

    pub(crate) fn from_seed(seed: Seed) -> Self {
        Self { node: Node::new(seed) }
    }

    /// A root with a blocking teardown. See [`set_teardown`](Self::set_teardown).
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let file = Process::with_teardown(|| println!("synced"));
    /// file.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn with_teardown<F, R>(teardown: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        let teardown = Some(Teardown::blocking(teardown));
        Self::from_seed(Seed { inherited: of_context(), teardown, ..Seed::default() })
    }

    /// Makes a process with a name, edges, a teardown or a spawner.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let server = Process::builder().name("server").build()?;
    /// let log = Process::builder()
    ///     .name("log")
    ///     .wait_for(&server)
    ///     .teardown(|| println!("flushed after the server"))
    ///     .build()?;
    /// # Ok::<(), procession::LinkError>(())
    /// ```
    pub fn builder<'a>() -> Builder<'a> {
        Builder::new()
    }

    /// The root that never closes: a parent for what should outlive its handles. It holds its children until they close.
    ///
    /// It cannot be closed, aborted, waited for, added or torn down: that is [`Error::Background`] or
    /// [`LinkError::Background`] at once, not a hang.
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let housekeeping = Process::background().child();
    /// let closed = housekeeping.closed();
    /// drop(housekeeping); // it stays open
    /// assert!(matches!(Process::background().close_blocking(), Err(Error::Background)));
    /// ```
    pub fn background() -> &'static Self {
        background()
    }

    // The graph.

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
        let named = self.node.is_named() && !self.node.is_background();
        let mut inherited = self.heritage();
        let own = self.node.inherited();
        if named && inherited.as_ref().map(Arc::as_ptr) != own.map(Arc::as_ptr) {
            let spawner = inherited.and_then(|heritage| heritage.spawner.clone());
            inherited = Some(Arc::new(Inherited { name: self.name(), spawner }));
        }
        let (child, taken_in) =
            self.fresh_child(Seed { inherited, named, body: true, ..Seed::default() });
        match taken_in {
            Ok(()) => Ok(child),
            Err(Refused) => {
                dispatch(child.node.body_ended(Ok(()), None));
                Err(Error::Closed(self.label()))
            }
        }
    }

    /// Makes `child` a child of this process: it is closed when this one closes, and this one waits for it.
    ///
    /// A child may have several parents; the first that closes closes it. If this process is
    /// Closing, the child is closed at once. A child that is Closed already is no error and no edge.
    ///
    /// # Errors
    ///
    /// [`LinkError::Cycle`] if the child waits for this process, [`LinkError::Closed`] if the
    /// teardown of this process has started, [`LinkError::Background`] if the child is the background. Then nothing has changed.
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
    /// [`LinkError::Cycle`] if both are the same process, [`LinkError::Background`] if the child is the background.
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
    /// [`LinkError::Cycle`] if `other` waits for this process, [`LinkError::Closed`] if the
    /// teardown of this process has started, [`LinkError::Background`] if one of them is the background. Then nothing has changed.
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

    /// Sets the function that runs once between Closing and Closed, after all that the process waits for is Closed.
    ///
    /// It runs on a thread that may be blocked; its error or panic goes to the outcome. On a process
    /// that is Closed already, it runs now, and what it returns is returned: the resource is released, the
    /// outcome stays as it was.
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

    /// Sets an async teardown: [`set_teardown`](Self::set_teardown), but the function makes a future, which the spawner polls.
    ///
    /// # Errors
    ///
    /// Those of [`set_teardown`](Self::set_teardown).
    ///
    /// # Blocking
    ///
    /// Only on a Closed process: until the teardown has run on the spawner. So do not call it on a thread that the spawner needs for that.
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

    // Closing.

    /// Begins to close the process and all that hangs under it, and returns at once.
    ///
    /// It begins even if the returned waiter is dropped. Closing again changes nothing. Safe
    /// inside `Drop`, in an executor's poll, and with locks held: teardowns run elsewhere.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// process.close();
    /// assert!(process.is_closing());
    /// # futures_lite::future::block_on(async {
    /// process.close().await
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close(&self) -> Closed {
        self.begin(Reason::Asked, false);
        self.closed()
    }

    /// Begins to close the process as soon as it waits for nothing: its children and bodies end by
    /// themselves. Until then it is Running, and more can be added.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let batch = Process::new();
    /// let job = batch.spawn_thread(|_| println!("to the end"))?;
    /// batch.close_after_children().wait()?;
    /// assert!(job.is_closed());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn close_after_children(&self) -> Closed {
        if !self.node.is_background() {
            dispatch(self.node.close_after_children());
        }
        self.closed()
    }

    /// Closes the process, and aborts it when `limit` is over and it is not Closed.
    ///
    /// The limit holds even if the returned waiter is dropped.
    ///
    /// ```
    /// use procession::{Error, Process};
    /// use std::time::Duration;
    ///
    /// let process = Process::new();
    /// let stubborn = process.spawn(|_| std::future::pending::<()>())?;
    /// process.close_within(Duration::from_millis(10)).wait()?;
    /// assert!(matches!(stubborn.outcome(), Some(Err(Error::Aborted(_)))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn close_within(&self, limit: Duration) -> Closed {
        let closed = self.close();
        if !self.is_closed() && !self.node.is_background() {
            timer::abort_after(&self.node, limit);
        }
        closed
    }

    /// Closes the process by force, with all that hangs under it: async bodies are dropped, with the outcome
    /// [`Error::Aborted`]; thread bodies see [`aborting`](Self::aborting). Teardowns run as ever, and it returns at once.
    ///
    /// On a Closing process, it adds the force.
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let process = Process::new();
    /// let stubborn = process.spawn(|_| std::future::pending::<()>())?;
    /// process.abort().wait()?;
    /// assert!(matches!(stubborn.outcome(), Some(Err(Error::Aborted(_)))));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn abort(&self) -> Closed {
        self.begin(Reason::Asked, true);
        self.closed()
    }

    pub(crate) fn begin(&self, reason: Reason, abort: bool) {
        if !self.node.is_background() && (abort || !self.is_closing()) {
            dispatch(self.node.close(reason, abort));
        }
    }

    /// A guard that closes the process when it is dropped.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// {
    ///     let _guard = process.clone().close_on_drop();
    /// }
    /// assert!(process.is_closing());
    /// ```
    pub fn close_on_drop(self) -> CloseOnDrop {
        CloseOnDrop { process: self }
    }

    // Observing.

    /// The phase. One atomic load.
    pub fn phase(&self) -> Phase {
        self.node.phase()
    }

    /// Is the process Closing or Closed? One atomic load, for the inside of loops.
    #[inline]
    pub fn is_closing(&self) -> bool {
        self.node.phase() != Phase::Running
    }

    /// Is the process Closed? One atomic load.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.node.phase() == Phase::Closed
    }

    /// Is or was the process closed by force? One atomic load.
    #[inline]
    pub fn is_aborting(&self) -> bool {
        self.node.is_aborting()
    }

    /// A waiter for Closing.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let worker = process.spawn_thread(|p| p.closing().wait())?;
    /// process.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn closing(&self) -> Closing {
        Closing::new(&self.node)
    }

    /// A waiter for Closed; it does not close the process.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let job = process.spawn(|_| async { println!("done") })?;
    /// job.closed().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn closed(&self) -> Closed {
        Closed::new(&self.node)
    }

    /// A waiter for an [`abort`](Self::abort).
    pub fn aborting(&self) -> Aborting {
        Aborting::new(&self.node)
    }

    /// The outcome once the process is Closed: `Ok`, or the error of its body, its teardown, or both. It never changes.
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
        self.node.outcome()
    }

    /// Why the process began to close; `None` while it is Running.
    pub fn reason(&self) -> Option<Reason> {
        self.node.reason()
    }

    /// The name given with [`Builder::name`](crate::Builder::name). The process of a spawned body goes by the name of its parent.
    pub fn name(&self) -> Option<Arc<str>> {
        self.node.name()
    }

    /// The id: equal for handles of one process.
    pub fn id(&self) -> ProcessId {
        self.node.id()
    }

    /// What errors call the process: its name, or else its id.
    pub fn label(&self) -> Label {
        self.node.label()
    }
}

#[cfg(not(all(loom, feature = "loom")))]
fn background() -> &'static Process {
    static BACKGROUND: once_cell::sync::Lazy<Process> =
        once_cell::sync::Lazy::new(background_process);
    &BACKGROUND
}

#[cfg(all(loom, feature = "loom"))]
fn background() -> &'static Process {
    loom::lazy_static! {
        static ref BACKGROUND: Process = background_process();
    }
    &BACKGROUND
}

fn background_process() -> Process {
    let inherited = Arc::new(Inherited { name: Some("background".into()), spawner: None });
    let inherited = Some(inherited);
    Process::from_seed(Seed { inherited, named: true, background: true, ..Seed::default() })
}

/// Handles are counted only while the process is Running: after that their number means nothing (I8).
impl Clone for Process {
    fn clone(&self) -> Self {
        if !self.is_closing() {
            let before = self.node.handles.fetch_add(1, Ordering::Relaxed);
            if before > MAX_HANDLES {
                std::process::abort();
            }
        }
        Self { node: self.node.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_closing() && self.node.handles.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            dispatch(self.node.last_handle_dropped());
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Process {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.node, &other.node)
    }
}

impl Eq for Process {}

impl Hash for Process {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

/// Says also what a process that is not Closed waits for: the first thing to print when a shutdown hangs.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let (shown, waiting) = self.node.waiting_for(SHOWN);
        let mut debug = f.debug_struct("Process");
        if let Some(name) = self.name() {
            debug.field("name", &name);
        }
        debug.field("id", &self.id()).field("phase", &self.phase());
        if let Some(reason) = self.reason() {
            debug.field("reason", &reason);
        }
        if waiting > 0 {
            debug.field("waits_for", &waiting).field("of_these", &shown);
        }
        debug.finish()
    }
}

/// Closes its process when it is dropped. Made by [`Process::close_on_drop`].
#[derive(Debug)]
#[must_use = "the process closes when the guard is dropped"]
pub struct CloseOnDrop {
    process: Process,
}

impl CloseOnDrop {
    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.process.begin(Reason::Asked, false);
    }
}
