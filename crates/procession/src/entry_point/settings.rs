//! The settings of [`Main`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Main, os};
use crate::process::Process;
use crate::run::hooks::hook;
use crate::value::{ChildFailure, Error};

/// The default abort grace.
const ABORT_GRACE: Duration = Duration::from_secs(5);

impl Main {
    /// The default settings: see [`Main`].
    pub fn new() -> Self {
        Self {
            name: None,
            grace: None,
            abort_grace: ABORT_GRACE,
            on_child_failure: ChildFailure::default(),
            hooks: Vec::new(),
            on_start: Vec::new(),
            at_end: Vec::new(),
            signals: os::SIGNALS.to_vec(),
            dump_on: Vec::new(),
            is_quiet: false,
            may_exit: true,
        }
    }

    /// The name of the root, which begins each line of a report; by default, the file name of the program.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Aborts the root if it is still Closing `grace` after it began to close. Its outcome then contains
    /// [`Error::Forced`]. By default, there is no grace.
    ///
    /// This grace bounds the closing of the whole program, so it must be longer than the graces within it together:
    /// [`Process::close_within`] bounds the closing of one process, and `Policy::grace` of `procession-supervisor` the
    /// stop of each unit.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Ends the program if the root is not Closed `abort_grace` after it was aborted; by default, 5 s. Teardowns that
    /// have not begun by then never run. The report names them, in at most 16 lines, in which large families are folded,
    /// and counts the rest. With [`Duration::MAX`], the program waits for ever.
    pub fn abort_grace(mut self, abort_grace: Duration) -> Self {
        self.abort_grace = abort_grace;
        self
    }

    /// The reaction of the root to the failure of a child; by default, [`ChildFailure::Report`].
    pub fn on_child_failure(mut self, on_child_failure: ChildFailure) -> Self {
        self.on_child_failure = on_child_failure;
        self
    }

    /// A hook that is called for each failure in the program, as with [`Process::on_failure`]. The failures then count
    /// as handled. There may be several hooks.
    pub fn on_failure(
        mut self,
        on_failure: impl Fn(&Process, &Error) + Send + Sync + 'static,
    ) -> Self {
        let call =
            move |node: &_, error: &_| on_failure(&Process::of_node(Arc::clone(node)), error);
        self.hooks.push(hook(call));
        self
    }

    /// Prints the tree of all processes whenever this signal is delivered, for example
    /// [`SIGUSR1`](crate::signal::SIGUSR1). There may be several such signals.
    #[cfg(unix)]
    pub fn dump_on(mut self, signal: i32) -> Self {
        self.dump_on.push(signal);
        self
    }

    /// Reports nothing, neither on standard error nor as `tracing` events. The exit status stays the same.
    pub fn quiet(mut self) -> Self {
        self.is_quiet = true;
        self
    }

    /// The signals that close, then abort, then end the program; by default, SIGINT and SIGTERM. An empty list is for
    /// tests, because a signal affects the whole test program. On Windows, SIGINT stands for Ctrl-C and Ctrl-Break, and
    /// there are no other signals.
    pub fn signals(mut self, signals: impl IntoIterator<Item = i32>) -> Self {
        self.signals = signals.into_iter().collect();
        self
    }

    /// Never ends the program: a third signal does nothing, and after the abort grace, [`run`](Self::run) goes on
    /// waiting. This is for tests.
    pub fn no_exit(mut self) -> Self {
        self.may_exit = false;
        self
    }
}

impl Default for Main {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Main {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Main")
            .field("name", &self.name)
            .field("grace", &self.grace)
            .field("abort_grace", &self.abort_grace)
            .field("on_child_failure", &self.on_child_failure)
            .field("signals", &self.signals)
            .field("dump_on", &self.dump_on)
            .field("quiet", &self.is_quiet)
            .field("no_exit", &!self.may_exit)
            .finish_non_exhaustive()
    }
}
