//! Failures are seen: [`ChildFailure`], what a process does when a child fails, and the hooks of
//! [`Process::on_failure`].

use std::sync::Arc;

use crate::deadlock;
use crate::error::Error;
use crate::outcome::catch;
use crate::process::Process;
use crate::state::{Effects, Node};

/// What a process does when a child fails: its body or its teardown returns an error, panics, or is dropped
/// before its end. Set with [`Builder::on_child_failure`](crate::Builder::on_child_failure).
///
/// ```
/// use procession::{ChildFailure, Process, Reason};
///
/// let app = Process::builder().name("app").on_child_failure(ChildFailure::Close).build()?;
/// let worker = Process::builder().name("worker").parent(&app).build()?;
/// worker.set_teardown(|| Err("disk full"))?;
/// worker.close();
///
/// let error = app.closed().wait().unwrap_err();
/// assert_eq!(error.to_string(), "process `worker` failed: disk full");
/// assert_eq!(app.reason(), Some(Reason::ChildFailed(worker.label())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ChildFailure {
    /// It goes on. The error is the child's outcome, and hooks are told.
    #[default]
    Ignore,
    /// It closes at once, with reason [`Reason::ChildFailed`](crate::Reason::ChildFailed); the child's error
    /// is part of its outcome. So are the errors of children that fail while it closes; what is
    /// [dropped](Error::Aborted) by an abort of the process itself is no failure of the child.
    Close,
}

/// Who is told of failures.
pub(crate) type Hook = Arc<dyn Fn(&Process, &Error) + Send + Sync>;

impl Process {
    /// Calls `hook` for each failure in the tree of this process, its own included, when it happens: with the
    /// process whose body or teardown it was, and its error.
    ///
    /// It sees what nobody holds a handle of, panics and [aborted](Error::Aborted) bodies too. The hook runs
    /// on the thread where the failure came up, with no lock held, before the failed process is Closed; so
    /// all that failed under this process has been told before this process is Closed. An error that a parent
    /// takes into its own outcome, with [`ChildFailure::Close`], is told once, for the child.
    ///
    /// A process may have several hooks, and those of its parents are called too, the nearest first. A panic
    /// of a hook is caught, and the other hooks are called. Let a hook hold no handle of the process that it
    /// is set on: that would keep it open.
    ///
    /// # Blocking
    ///
    /// What the hook waits for, the closing of the failed process waits for. It counts as code of that
    /// process: to wait for a process that waits for it is an [`Error::Deadlock`].
    ///
    /// ```
    /// use procession::Process;
    /// use std::sync::mpsc;
    ///
    /// let app = Process::new();
    /// let (tell, told) = mpsc::channel();
    /// app.on_failure(move |process, error| drop(tell.send((process.label(), error.to_string()))));
    ///
    /// let worker = Process::builder().name("worker").parent(&app).build()?;
    /// worker.spawn_thread(|_| panic!("out of paper"))?; // nobody keeps its handle
    /// let (label, error) = told.recv()?;
    /// assert_eq!(label.name(), Some("worker"));
    /// assert_eq!(error, "process `worker` panicked: out of paper");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_failure(&self, hook: impl Fn(&Self, &Error) + Send + Sync + 'static) {
        self.node.add_hook(Arc::new(hook));
    }
}

/// The body has ended: tells of a failure, then reports the end.
pub(crate) fn body_ended(
    node: &Arc<Node>,
    result: Result<(), Error>,
    place: Option<u32>,
) -> Effects {
    tell(node, &result);
    node.body_ended(result, place)
}

/// The teardown has ended: tells of a failure, then reports the end.
pub(crate) fn torn_down(node: &Arc<Node>, result: Result<(), Error>) -> Effects {
    tell(node, &result);
    node.torn_down(result)
}

fn tell(node: &Arc<Node>, result: &Result<(), Error>) {
    let Err(error) = result else { return };
    let hooks = node.hooks();
    if hooks.is_empty() {
        return;
    }
    let process = Process::of_node(node.clone());
    for hook in hooks {
        // A panic has been printed, and there is nobody else to tell.
        let (_, _panicked) = deadlock::run_as(node.clone(), || catch(|| hook(&process, error)));
    }
}
