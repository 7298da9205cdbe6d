//! [`Builder`]: makes a process with all it starts with.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::dispatch::dispatch;
use crate::error::{Error, LinkError};
use crate::failure::ChildFailure;
use crate::outcome::{IntoOutcome, discard};
use crate::process::Process;
use crate::spawn::{Spawn, Spawner, of_context};
use crate::state::{EdgeKind, Inherited, Rare, Refused, Seed, hooks_are_used, link, unlink_all};
use crate::teardown::Teardown;

/// Makes a process with a name, edges, a teardown or a spawner. Made by [`Process::builder`].
///
/// ```
/// use procession::{Inline, Process};
///
/// let app = Process::new();
/// let store = Process::builder()
///     .name("store")
///     .parent(&app)
///     .spawner(Inline)
///     .teardown(|| println!("synced"))
///     .build()?;
/// assert_eq!(store.name().as_deref(), Some("store"));
/// # Ok::<(), procession::LinkError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder<'a> {
    name: Option<Arc<str>>,
    parent: Option<&'a Process>,
    further_parents: Vec<&'a Process>,
    no_wait_parents: Vec<&'a Process>,
    close_before: Vec<&'a Process>,
    wait_for: Vec<(&'a Process, EdgeKind)>,
    teardown: Option<Teardown>,
    spawner: Option<Spawner>,
    rare: Option<Box<Rare>>,
}

impl<'a> Builder<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            parent: None,
            further_parents: Vec::new(),
            no_wait_parents: Vec::new(),
            close_before: Vec::new(),
            wait_for: Vec::new(),
            teardown: None,
            spawner: None,
            rare: None,
        }
    }

    /// The name, for errors, threads and people.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A parent, as with [`Process::add_child`]. There may be several.
    #[inline]
    pub fn parent(mut self, parent: &'a Process) -> Self {
        match self.parent {
            None => self.parent = Some(parent),
            Some(_) => self.further_parents.push(parent),
        }
        self
    }

    /// A process that it is closed with, and that does not wait for it. What is not given by
    /// [`parent`](Self::parent) is inherited from the first of these.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let upload = Process::builder().no_wait_parent(&app).spawn_thread(|p| p.closing().wait())?;
    /// app.close_blocking()?; // the upload may still be running
    /// assert!(upload.is_closing());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn no_wait_parent(mut self, parent: &'a Process) -> Self {
        self.no_wait_parents.push(parent);
        self
    }

    /// A process to wait for, as with [`Process::wait_for`]. There may be several.
    pub fn wait_for(mut self, other: &'a Process) -> Self {
        self.wait_for.push((other, EdgeKind::WaitFor));
        self
    }

    /// A process to be closed after, as with [`Process::close_after`]. There may be several.
    pub fn close_after(mut self, other: &'a Process) -> Self {
        self.wait_for.push((other, EdgeKind::CloseAfter));
        self
    }

    /// A process that is to be closed after this one, as with [`Process::close_after`], from before anybody
    /// can close this one. No effect if the teardown of that one has started. There may be several.
    pub fn close_before(mut self, other: &'a Process) -> Self {
        self.close_before.push(other);
        self
    }

    /// The teardown, as with [`Process::set_teardown`]. The last one set counts.
    #[inline]
    pub fn teardown<F, R>(mut self, teardown: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.teardown = Some(Teardown::blocking(teardown));
        self
    }

    /// The teardown, as with [`Process::set_teardown_async`]. The last one set counts.
    pub fn teardown_async<F, Fut>(mut self, teardown: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.teardown = Some(Teardown::future(teardown));
        self
    }

    /// Where its bodies and teardowns run, and those of its children; by default the first parent's.
    pub fn spawner(mut self, spawner: impl Spawn) -> Self {
        self.spawner = Some(Spawner::new(spawner));
        self
    }

    /// What it does when a child fails; by default, [nothing](ChildFailure::Ignore).
    pub fn on_child_failure(mut self, on_child_failure: ChildFailure) -> Self {
        self.rare().on_child_failure = on_child_failure;
        self
    }

    /// A hook that is told of each failure in its tree, as with [`Process::on_failure`]. There may be
    /// several.
    pub fn on_failure(mut self, hook: impl Fn(&Process, &Error) + Send + Sync + 'static) -> Self {
        self.rare().hooks.push(Arc::new(hook));
        hooks_are_used();
        self
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Makes the process. If a parent is Closing, it closes at once.
    ///
    /// # Errors
    ///
    /// Those of [`Process::add_child`] and [`Process::wait_for`], the first that comes. Then there is no
    /// process; its teardown is dropped and not run.
    #[inline]
    pub fn build(self) -> Result<Process, LinkError> {
        self.build_with(false)
    }

    /// Makes the process, with an async body, which the process waits for: as [`Process::spawn`] does, but
    /// the process has what this builder gives it.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), as [`Error::Link`]. Then the body is not run.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::new();
    /// let poller = Process::builder().name("poller").parent(&app);
    /// let poller = poller.spawn(|p| async move { p.closing().await })?;
    /// assert_eq!(poller.name().as_deref(), Some("poller"));
    /// app.close_blocking()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn spawn<F, Fut>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        let process = self.build_with(true)?;
        process.start(body);
        Ok(process)
    }

    /// Makes the process, with a blocking body on a thread, which the process waits for: as
    /// [`Process::spawn_thread`] does, but the process has what this builder gives it.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), as [`Error::Link`], and [`Error::NoThread`] if the system gives no
    /// thread. Then the body is not run.
    pub fn spawn_thread<F, R>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        let process = self.build_with(true)?;
        process.start_thread(body)?;
        Ok(process)
    }

    #[inline]
    fn build_with(self, body: bool) -> Result<Process, LinkError> {
        let inherited = self.inherited();
        let Self { name, parent, further_parents, close_before, wait_for, teardown, rare, .. } =
            self;
        let no_wait_parents = self.no_wait_parents;
        let no_edges = further_parents.is_empty()
            && no_wait_parents.is_empty()
            && wait_for.is_empty()
            && close_before.is_empty();
        let seed =
            Seed { inherited, named: name.is_some(), teardown, body, rare, ..Seed::default() };
        // One parent and nothing else needs no search.
        if let (Some(parent), true) = (parent, no_edges) {
            let (process, taken_in) = parent.fresh_child(seed);
            return match taken_in {
                Ok(()) => Ok(process),
                Err(Refused) => {
                    forget(&process, body);
                    Err(LinkError::Closed(parent.label()))
                }
            };
        }
        let process = Process::from_seed(seed);
        for other in close_before {
            // What is closing already needs no order, and nobody else has seen this process.
            let linked = link(&other.node, &process.node, EdgeKind::CloseAfter);
            linked.into_iter().for_each(dispatch);
        }
        let parents = parent.into_iter().chain(further_parents);
        let edges = wait_for
            .into_iter()
            .map(|(other, kind)| (&process, other, kind))
            .chain(parents.map(|parent| (parent, &process, EdgeKind::Child)))
            .chain(
                no_wait_parents.into_iter().map(|parent| (parent, &process, EdgeKind::NoWaitChild)),
            );
        for (upper, lower, kind) in edges {
            match link(&upper.node, &lower.node, kind) {
                Ok(effects) => dispatch(effects),
                Err(error) => {
                    forget(&process, body);
                    dispatch(unlink_all(&process.node));
                    return Err(error);
                }
            }
        }
        Ok(process)
    }

    fn inherited(&self) -> Option<Arc<Inherited>> {
        let parent = self.parent.or_else(|| self.no_wait_parents.first().copied());
        let heritage = parent.map_or_else(of_context, Process::heritage);
        if self.name.is_none() && self.spawner.is_none() {
            return heritage;
        }
        let spawner = self.spawner.clone().or_else(|| heritage?.spawner.clone());
        Some(Arc::new(Inherited { name: self.name.clone(), spawner }))
    }
}

/// Takes back what a process was to run that is not handed out.
fn forget(process: &Process, body: bool) {
    discard(process.node.forget_teardown());
    if body {
        dispatch(process.node.body_ended(Ok(()), None));
    }
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("parent", &self.parent)
            .field("further_parents", &self.further_parents)
            .field("no_wait_parents", &self.no_wait_parents)
            .field("edges", &self.wait_for)
            .finish_non_exhaustive()
    }
}
