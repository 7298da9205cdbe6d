//! Hooks for events.

use std::sync::Arc;

use super::Process;
use super::builder::Builder;
use crate::run::Scope;
use crate::run::observers::{Observer, look_for_tracing};
use crate::value::Event;

impl Process {
    /// Calls `on_event` for each [`Event`] in the tree of this process, its own included: made, closing (with the
    /// reason), aborting, body ended, teardown due, started and ended, failed, Closed (with the outcome).
    ///
    /// One thread of the library calls all hooks. The events of one process arrive in the order in which they happened;
    /// events of different processes may be reordered. A hook may block, panic, close processes and set hooks. While it
    /// blocks, only hooks are delayed. Up to 65,536 events wait for a hook. Any more are only counted, and reported to
    /// the hook as [`Missed`](crate::EventKind::Missed).
    ///
    /// A process inherits hooks from its first parent, when it is made or when it is added to the process that becomes
    /// its first parent. This call also gives the hook to the processes that are already below this one, locking one of
    /// them at a time. If this process closes at the same time, the hook may miss that some of them begin to close.
    ///
    /// A hook that holds a handle to the process that it is set on keeps that process open until it is closed. A thread
    /// of the library drops the hook when all processes that have it are Closed; if this process is already Closed, at
    /// once.
    ///
    /// ```
    /// use procession::{EventKind, Process};
    /// use std::sync::mpsc;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// app.on_event(move |event| drop(sender.send(event.to_string())));
    ///
    /// let worker = Process::builder().name("worker").parent(&app).build()?;
    /// app.close_blocking()?;
    /// let events: Vec<_> = receiver.iter().collect(); // the hook is dropped after the last event
    /// assert_eq!(events[0], "app › worker: made");
    /// assert!(events.contains(&"app › worker: closing (its parent closed)".to_owned()));
    /// assert!(events.last().unwrap().starts_with("app: closed"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(&self, on_event: impl Fn(&Event) + Send + Sync + 'static) {
        let observer = Observer::hook(on_event);
        observer.set_source(&self.node);
        self.node.add_observer(observer);
    }
}

impl Process {
    /// The observers for a process that is made first and linked below this one afterwards.
    pub(super) fn passed_on_scope(&self) -> Option<Arc<Scope>> {
        look_for_tracing(&self.node);
        self.node.passed_on_scope()
    }
}

impl Builder<'_> {
    /// A hook that is called for each event in the tree of the process, as with [`Process::on_event`], from
    /// [`Made`](crate::EventKind::Made) on. There may be several.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::builder().name("app").on_event(|event| println!("{event}")).build()?;
    /// app.close_blocking()?; // app: made, app: closing (asked to close), app: closed
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_event(mut self, on_event: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        let own = Scope::new(vec![Observer::hook(on_event)], None);
        self.scope = Scope::both(self.scope, Some(own));
        self
    }
}
