//! [`Builder`]: makes a process with everything that it starts with.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Process, Supervised, Unstarted};
#[cfg(not(loom))]
use crate::run::Scope;
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::run::hooks::hook;
use crate::run::{
    Extras, Inherited, Seed, Spawn, Spawner, Teardown, deadlines, inherited_from_context, perform,
};
use crate::state::{Added, EdgeKind, invalidate_hook_caches, link, unlink_all};
use crate::value::{ChildFailure, Error, IntoOutcome, LinkError, Site};

/// Makes a process with a name, edges, a teardown, hooks, a time limit or a spawner. Made by [`Process::builder`].
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
    /// All edges except the one to the first parent. Few processes have any.
    edges: Option<Box<Edges<'a>>>,
    teardown: Option<Teardown>,
    spawner: Option<Spawner>,
    site: Option<Site>,
    extras: Option<Box<Extras>>,
    time_limit: Option<Duration>,
    pub(super) supervised: Option<Supervised>,
    #[cfg(not(loom))]
    pub(super) scope: Option<Arc<Scope>>,
}

/// The edges that few processes are made with.
#[derive(Debug, Default)]
struct Edges<'a> {
    further_parents: Vec<&'a Process>,
    no_wait_parents: Vec<&'a Process>,
    close_before: Vec<(&'a Process, EdgeKind)>,
    wait_for: Vec<(&'a Process, EdgeKind)>,
}

impl<'a> Builder<'a> {
    #[inline]
    pub(crate) fn new() -> Self {
        Self {
            name: None,
            parent: None,
            edges: None,
            teardown: None,
            spawner: None,
            site: None,
            extras: None,
            time_limit: None,
            supervised: None,
            #[cfg(not(loom))]
            scope: None,
        }
    }

    /// The name, which appears in errors and as the name of threads. Instead of an empty name, the place where the
    /// process was made appears.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A parent, as with [`Process::add_child`]. There may be several.
    #[inline]
    pub fn parent(mut self, parent: &'a Process) -> Self {
        match self.parent {
            None => self.parent = Some(parent),
            Some(_) => self.edges().further_parents.push(parent),
        }
        self
    }

    /// A parent that closes the process and does not wait for it, as with [`Process::add_child_no_wait`]. There may be
    /// several. If there is no [`parent`](Self::parent), the spawner is inherited from the first of them.
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
        self.edges().no_wait_parents.push(parent);
        self
    }

    /// A process to wait for, as with [`Process::wait_for`]. There may be several.
    pub fn wait_for(mut self, other: &'a Process) -> Self {
        self.edges().wait_for.push((other, EdgeKind::WAIT_FOR));
        self
    }

    /// A process that must be Closed before a parent closes this one, as with [`Process::close_after`]. There may be
    /// several.
    pub fn close_after(mut self, other: &'a Process) -> Self {
        self.edges().wait_for.push((other, EdgeKind::CLOSE_AFTER));
        self
    }

    /// A process whose parents close it only after this one is Closed, as with [`Process::close_after`]. The order is
    /// in place before `build` returns. It has no effect if the teardown of `other` has started. There may be several.
    pub fn close_before(mut self, other: &'a Process) -> Self {
        self.edges().close_before.push((other, EdgeKind::CLOSE_AFTER));
        self
    }

    /// Puts the process into the order in which its parents close their children: they close `before` only after this
    /// process is Closed, and this process only after `after` is Closed. None of the three waits for another.
    #[inline]
    pub(crate) fn in_order(
        mut self,
        before: Option<&'a Process>,
        after: Option<&'a Process>,
    ) -> Self {
        if before.is_some() || after.is_some() {
            let edges = self.edges();
            edges.close_before.extend(before.map(|before| (before, EdgeKind::ORDER)));
            edges.wait_for.extend(after.map(|after| (after, EdgeKind::ORDER)));
        }
        self
    }

    /// The teardown, as with [`Process::set_teardown`]. It replaces a teardown that was set before.
    #[inline]
    pub fn teardown<F, R>(mut self, teardown: F) -> Self
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.teardown = Some(Teardown::blocking(teardown));
        self
    }

    /// The teardown, as with [`Process::set_teardown_async`]. It replaces a teardown that was set before.
    pub fn teardown_async<F, Fut>(mut self, teardown: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.teardown = Some(Teardown::future(teardown));
        self
    }

    /// The spawner, which runs the bodies and teardowns of the process and its children; by default, that of the first
    /// parent.
    pub fn spawner(mut self, spawner: impl Spawn) -> Self {
        self.spawner = Some(Spawner::new(spawner));
        self
    }

    /// The [site](Process::site) of the process; by default, the place where it is built. This is for libraries that
    /// make a process later than their caller requests it: call [`Site::caller`] in a `#[track_caller]` function.
    ///
    /// ```
    /// use procession::{Process, Site};
    ///
    /// #[track_caller]
    /// fn open() -> Result<Process, procession::LinkError> {
    ///     let site = Site::caller();
    ///     // ... and later, perhaps in a closure:
    ///     Process::builder().site(site).build()
    /// }
    ///
    /// assert_eq!(open()?.site().line(), line!());
    /// # Ok::<(), procession::LinkError>(())
    /// ```
    #[inline]
    pub fn site(mut self, site: Site) -> Self {
        self.site = Some(site);
        self
    }

    /// The reaction of the process to the failure of a child; by default, [`ChildFailure::Report`].
    pub fn on_child_failure(mut self, on_child_failure: ChildFailure) -> Self {
        self.extras().on_child_failure = on_child_failure;
        self
    }

    /// A hook that is called for each failure in the tree of the process, as with [`Process::on_failure`]. There may be
    /// several.
    pub fn on_failure(
        mut self,
        on_failure: impl Fn(&Process, &Error) + Send + Sync + 'static,
    ) -> Self {
        let hook = hook(move |node, error| on_failure(&Process::of_node(node.clone()), error));
        self.extras().hooks.push(hook);
        invalidate_hook_caches();
        self
    }

    /// The time limit: the maximum time from making the process until it is Closed. A process that is not Closed by
    /// then is aborted, with the reason [`TimeLimit`](crate::Reason::TimeLimit) unless it was already Closing. Its
    /// outcome is then [`Error::TimeLimit`], whatever its body returns. That is a failure of the process: its
    /// [hooks](Process::on_failure) and those above it are called, on a thread of the library.
    ///
    /// A limit that is longer than a clock can measure counts as no limit. A blocking body is not interrupted: it sees
    /// [`aborting`](Process::aborting), and must return.
    ///
    /// ```
    /// use procession::{Error, Process, Reason};
    /// use std::time::Duration;
    ///
    /// let app = Process::new();
    /// let request = Process::builder().parent(&app).time_limit(Duration::from_millis(5));
    /// let request = request.spawn(|_| std::future::pending::<()>())?;
    /// assert!(matches!(request.closed().wait(), Err(Error::TimeLimit(_))));
    /// assert_eq!(request.reason(), Some(Reason::TimeLimit));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    fn edges(&mut self) -> &mut Edges<'a> {
        self.edges.get_or_insert_default()
    }

    fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// Makes the process. If a parent is Closing, the process is closed at once, unless it must
    /// [close after](Self::close_after) another process.
    ///
    /// # Errors
    ///
    /// The first error of adding its edges: see [`Process::add_child`], [`Process::add_child_no_wait`],
    /// [`Process::wait_for`] and [`Process::close_after`]. Then no process is made, and the teardown is dropped without
    /// being run.
    #[inline]
    #[track_caller]
    pub fn build(self) -> Result<Process, LinkError> {
        self.make(Site::caller(), false)
    }

    /// Makes the process with an async body, as [`Process::spawn`] does, and with everything that was set on this
    /// builder. The process waits for the body.
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
    #[track_caller]
    pub fn spawn<F, Fut>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> Fut + Send + 'static,
        Fut: Future<Output: IntoOutcome> + Send + 'static,
    {
        Ok(self.make_unstarted(Site::caller())?.spawn(body))
    }

    /// Makes the process with a blocking body on a thread, as [`Process::spawn_thread`] does, and with everything that
    /// was set on this builder. The process waits for the body.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build), as [`Error::Link`], and [`Error::NoThread`] if the OS cannot create a thread.
    /// Then the body is not run.
    #[track_caller]
    pub fn spawn_thread<F, R>(self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.spawn_thread_handed(ErrorRecipient::Caller, body)
    }

    /// [`spawn_thread`](Self::spawn_thread), with an explicit recipient of the error if the OS cannot create a thread.
    #[track_caller]
    pub(crate) fn spawn_thread_handed<F, R>(
        self,
        error_to: ErrorRecipient,
        body: F,
    ) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'static,
        R: IntoOutcome,
    {
        self.make_unstarted(Site::caller())?.spawn_thread_handed(error_to, body)
    }

    /// Makes the process, with a body that has not started.
    #[inline]
    pub(super) fn make_unstarted(self, caller: Site) -> Result<Unstarted, LinkError> {
        self.make(caller, true).map(Unstarted::new)
    }

    /// Makes the process. If it has a body, the caller must start that.
    #[inline]
    fn make(self, caller: Site, body: bool) -> Result<Process, LinkError> {
        let time_limit = self.time_limit;
        #[cfg(not(loom))]
        let own = self.scope.clone();
        let made = self.make_without_limit(caller, body)?;
        #[cfg(not(loom))]
        own.iter().flat_map(|own| own.observers()).for_each(|hook| hook.set_source(&made.node));
        if let Some(limit) = time_limit {
            deadlines::limit_time(&made.node, limit);
        }
        Ok(made)
    }

    #[inline]
    fn make_without_limit(mut self, caller: Site, body: bool) -> Result<Process, LinkError> {
        let inherited = self.inherited();
        let site = self.site.unwrap_or(caller);
        let Self { parent, edges, .. } = self;
        let mut seed = Seed {
            inherited,
            teardown: self.teardown,
            body,
            extras: self.extras,
            ..Seed::at(site)
        };
        #[cfg(not(loom))]
        let first_parent = parent.or_else(|| edges.as_ref()?.no_wait_parents.first().copied());
        #[cfg(not(loom))]
        let scope = self.scope.map(|own| {
            let observers = own.observers().to_vec();
            Scope::new(observers, first_parent.map(|parent| &parent.node))
        });
        #[cfg(loom)]
        let scope = None;
        // With a single parent and no other edge, no search for cycles is needed.
        if let (Some(parent), None) = (parent, &edges) {
            let (process, added) = parent.fresh_watched_child(seed, scope);
            return match added {
                Added::Open | Added::Late => Ok(process),
                Added::Refused => {
                    refuse(&process, body.then(|| BodyEnd::of(process.node.clone())));
                    Err(LinkError::Closed(parent.label()))
                }
            };
        }
        // Until it has all its edges, the process waits for this function as if for a body. So if a parent closes it in
        // the meantime, it runs nothing, and a later edge can still be refused.
        seed.body = true;
        #[cfg(not(loom))]
        let scope = Scope::both(first_parent.and_then(Process::passed_on_scope), scope);
        let process = Process::watched_from_seed(seed, scope);
        let making = BodyEnd::of(process.node.clone());
        let edges = edges.map_or_else(Edges::default, |edges| *edges);
        let Edges { further_parents, no_wait_parents, close_before, wait_for } = edges;
        let parents = parent.into_iter().chain(further_parents);
        let edges = wait_for
            .into_iter()
            .map(|(other, kind)| (&process, other, kind))
            .chain(parents.map(|parent| (parent, &process, EdgeKind::CHILD)))
            .chain(
                no_wait_parents
                    .into_iter()
                    .map(|parent| (parent, &process, EdgeKind::NO_WAIT_CHILD)),
            )
            // Last, because the search for a cycle has to see the parents.
            .chain(close_before.into_iter().map(|(other, kind)| (other, &process, kind)));
        for (upper, lower, kind) in edges {
            match link(&upper.node, &lower.node, kind) {
                Ok(effects) => perform(effects),
                // With `close_before`, the teardown of the other process may have started: then there is nothing to
                // order.
                Err(LinkError::Closed(_)) if !kind.closes() && lower == &process => {}
                Err(error) => {
                    refuse(&process, Some(making));
                    return Err(error);
                }
            }
        }
        if body {
            making.leave_to_body();
        } else {
            making.finish_making();
        }
        Ok(process)
    }

    fn inherited(&mut self) -> Option<Arc<Inherited>> {
        if let Some(supervised) = self.supervised.take() {
            return Some(supervised.into_inherited(self.spawner.clone()));
        }
        let parent = self.parent.or_else(|| self.edges.as_ref()?.no_wait_parents.first().copied());
        let passed_on = parent.map_or_else(inherited_from_context, Process::passed_on);
        let unnamed = self.spawner.clone().map(Inherited::unnamed).or(passed_on);
        match &self.name {
            Some(name) => Some(Inherited::named(name.clone(), unnamed)),
            None => unnamed,
        }
    }
}

/// Undoes the making of a process to which no caller has a handle.
fn refuse(process: &Process, end: Option<BodyEnd>) {
    drop(process.node.forget_teardown());
    perform(unlink_all(&process.node));
    end.into_iter().for_each(BodyEnd::cancel_body);
}

impl fmt::Debug for Builder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("parent", &self.parent)
            .field("edges", &self.edges)
            .finish_non_exhaustive()
    }
}
