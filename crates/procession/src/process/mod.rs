//! Layer 3: the handle, [`Process`]. Every `impl Process` is here, in one file per topic.
//!
//! | file | subject |
//! |---|---|
//! | [`graph`] | children, edges, the teardown |
//! | [`builder`] | making a process with everything that it starts with |
//! | [`closing`], [`guards`] | closing and aborting, at once or when a guard is dropped |
//! | [`on_closing`] | functions that run when a process begins to close |
//! | [`thread_bodies`], [`async_bodies`] | bodies; closing on the caller's own thread; bodies in the caller's own task |
//! | [`unstarted`] | processes whose bodies have not started |
//! | [`lazy_body`] | the future of an async body |
//! | [`task`], [`outcome_reader`] | bodies with a value; callers that read an outcome |
//! | [`waiters`], [`waiter`], [`timeout`] | waiters for Closing, Aborting and Closed; their common parts |
//! | [`milestones`] | waiters for the end of the body and of the children |
//! | [`conditions`] | closing when a future is ready; waiting for a future |
//! | [`observing`] | reading the state of a process; hooks |
//! | `events` | hooks for events |
//! | `stalls` | hooks for a slow closing |
//! | [`supervised`] | the values that a supervisor gives to the process of a run |
//! | [`snapshots`] | snapshots, blockers, and `Debug` |
//! | [`weak`] | referring to a process without keeping it open |

mod async_bodies;
mod builder;
mod closing;
mod conditions;
#[cfg(not(loom))]
mod events;
mod graph;
mod guards;
mod lazy_body;
mod milestones;
mod observing;
mod on_closing;
mod outcome_reader;
mod snapshots;
#[cfg(not(loom))]
mod stalls;
mod supervised;
mod task;
mod thread_bodies;
mod timeout;
mod unstarted;
mod waiter;
mod waiters;
mod weak;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub use builder::Builder;
pub use guards::{AbortOnDrop, CloseOnDrop};
pub use milestones::{BodyEnded, ChildrenClosed};
pub use on_closing::OnClosing;
pub use supervised::Supervised;
pub use task::Task;
pub use timeout::Timeout;
pub use unstarted::Unstarted;
pub use waiters::{Aborting, Closed, Closing};
pub use weak::WeakProcess;

#[cfg(not(loom))]
use crate::run::observers::of_program;
#[cfg(not(loom))]
use crate::run::reports::report_unread;
use crate::run::{
    Inherited, Node, Scope, Seed, Teardown, inherited_from_context, perform, prepare,
};
use crate::value::model::{keep_while_panicking, model_has_failed};
use crate::value::sync::{Ordering, fence};
use crate::value::{IntoOutcome, Site};

/// A handle to a process: a unit of work that can be closed.
///
/// Conceptually, a process is a node in a graph of lifetimes. It holds a phase, edges to other processes, one teardown
/// and an outcome; the code that it runs, its body, is optional. Everything else is built from that: a task is a
/// process with an async body, a connection is a process with a teardown, a program is a process with children.
///
/// A process is [Running](crate::Phase::Running), then [Closing](crate::Phase::Closing), then
/// [Closed](crate::Phase::Closed). Closing a process closes its children, waits for them, for its body and along its
/// wait-for edges, and then runs its teardown, once.
///
/// Handles are cheap to clone, and are equal if they refer to the same process. They own it: when the last handle to a
/// process that no open parent holds is dropped, the process closes. A waiter is not a handle. A process that should
/// outlive its handles can be a child of [`background`](Self::background).
///
/// A teardown or a body that holds a handle to its own root keeps the root open. Let it hold a [`WeakProcess`] or a
/// waiter instead.
///
/// # When not to use it
///
/// To tell a few tasks to stop, a `CancellationToken` is enough; for threads that end before a function returns,
/// `std::thread::scope` is. A process is for work whose end must follow an order, may fail, may hang, or must be waited
/// for by both threads and tasks. A process does not restart its body; `procession-supervisor` does.
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

impl Process {
    /// Makes a root: a process without a parent.
    ///
    /// ```
    /// use procession::{Phase, Process};
    ///
    /// let process = Process::new();
    /// assert_eq!(process.phase(), Phase::Running);
    /// ```
    #[track_caller]
    pub fn new() -> Self {
        let inherited = inherited_from_context();
        Self::from_seed(Seed { inherited, ..Seed::at(Site::caller()) })
    }

    pub(crate) fn from_seed(seed: Seed) -> Self {
        Self::watched_from_seed(seed, None)
    }

    /// Makes a process without edges. `scope` has the observers that its maker gives it.
    pub(crate) fn watched_from_seed(seed: Seed, scope: Option<Arc<Scope>>) -> Self {
        prepare();
        #[cfg(not(loom))]
        let scope = Scope::both(scope, of_program());
        Self { node: Node::new(seed, scope) }
    }

    /// Makes another handle to the process. As with `Arc`, the program is aborted if there are too many: they must be a
    /// leak.
    #[inline]
    pub(crate) fn of_node(node: Arc<Node>) -> Self {
        if node.counts_handles() && !node.add_handle() {
            std::process::abort();
        }
        Self { node }
    }

    /// Removes a handle to a process whose handles are counted. Dropping the last one may close the process (I8).
    fn remove_handle(&self) {
        // The Release in `remove_handle` pairs with this Acquire in the drop of the last handle: everything that a
        // thread did before it dropped its handle happens-before the teardown (I4).
        if self.node.remove_handle() {
            fence(Ordering::Acquire);
            perform(self.node.last_handle_dropped());
            #[cfg(not(loom))]
            report_unread(&self.node);
        }
    }

    /// Makes a root with a blocking teardown. See [`set_teardown`](Self::set_teardown).
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let file = Process::with_teardown(|| println!("synced"));
    /// file.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn with_teardown<F, R>(teardown: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        let (inherited, teardown) = (inherited_from_context(), Some(Teardown::blocking(teardown)));
        Self::from_seed(Seed { inherited, teardown, ..Seed::at(Site::caller()) })
    }

    /// A builder, which makes a process with a name, edges, a teardown, hooks, a time limit or a spawner.
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
    #[inline]
    pub fn builder<'a>() -> Builder<'a> {
        Builder::new()
    }

    /// The background process: a root that never closes. It is a parent for processes that should outlive their
    /// handles, and holds its children open until they are closed.
    ///
    /// It cannot be closed or aborted, given a teardown, added as a child, or waited for until it is Closed. Such a
    /// call fails at once, instead of hanging, with [`Error::Background`](crate::Error::Background) or
    /// [`LinkError::Background`](crate::LinkError::Background); after [`close`](Self::close) and
    /// [`abort`](Self::abort), which then do nothing, that is what the returned waiter yields.
    ///
    /// It is made by the first call, whose place is its [site](Self::site).
    ///
    /// ```
    /// use procession::{Error, Process};
    ///
    /// let housekeeping = Process::background().child();
    /// let closed = housekeeping.closed();
    /// drop(housekeeping); // it stays open
    /// assert!(matches!(Process::background().close_blocking(), Err(Error::Background)));
    /// ```
    #[track_caller]
    pub fn background() -> &'static Self {
        background(Site::caller())
    }
}

#[cfg(not(loom))]
fn background(site: Site) -> &'static Process {
    static BACKGROUND: once_cell::sync::OnceCell<Process> = once_cell::sync::OnceCell::new();
    BACKGROUND.get_or_init(|| background_process(site))
}

#[cfg(loom)]
fn background(_site: Site) -> &'static Process {
    loom::lazy_static! {
        static ref BACKGROUND: Process = background_process(Site::caller());
    }
    &BACKGROUND
}

fn background_process(site: Site) -> Process {
    let inherited = Some(Inherited::named("background", None));
    Process::from_seed(Seed { inherited, background: true, ..Seed::at(site) })
}

impl Clone for Process {
    #[inline]
    fn clone(&self) -> Self {
        Self::of_node(self.node.clone())
    }
}

impl Drop for Process {
    #[inline]
    fn drop(&mut self) {
        if model_has_failed() || keep_while_panicking(|| Self { node: self.node.clone() }) {
            return;
        }
        if self.node.counts_handles() {
            self.remove_handle();
        }
    }
}

impl Default for Process {
    #[track_caller]
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
