//! [`command()`]: a program of the operating system as a runnable (feature `command`, Unix).
//!
//! | file | subject |
//! |---|---|
//! | this one | the settings |
//! | [`running`] | one run, from its start to its end |
//! | [`output`] | the output of the program |
//! | [`group`] | signals to the program and everything that it has started |

mod group;
mod output;
mod running;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use procession::Site;
use procession::signal::SIGTERM;

use crate::runnable::Runnable;
use crate::start::Start;
pub use running::CommandError;

/// The environment variables of systemd that are meant for this program only, and that a command does not inherit.
const SYSTEMD_VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// A program of the operating system, as a runnable.
///
/// Each run starts the program anew, in a process group of its own, so that a Ctrl-C in the terminal reaches only this
/// program, which then stops the command in order.
///
/// - The run is ready once the program has started, or when it prints a line for which
///   [`ready_when`](Command::ready_when) returns `true`.
/// - On closing, the group is sent SIGTERM, or the signal set with [`stop_signal`](Command::stop_signal).
/// - On an abort, the group is sent SIGKILL. The process of the run is Closed only once the program has ended, so a
///   restart never overlaps it.
/// - When the program has ended, the rest of its group is sent SIGKILL.
/// - The outcome is an error if the exit status is not 0. If the program was asked to stop, it has also succeeded if
///   the stop signal (number n) killed it, or if it exited with status 128 + n. The same holds if it ends in this way
///   shortly before closing begins, because service managers may signal both programs at the same time.
/// - Each line that the program prints is a `tracing` event of level INFO with the target `procession::command` and the
///   fields `process`, `stream` and `message`; a line of more than 8 KiB is split. If no subscriber is enabled for
///   them, the command inherits this program's standard output and standard error; with `ready_when`, its lines are
///   copied there instead. Its standard input is empty.
///
/// The run does not depend on its parent's executor: its code runs on the library's own executor.
///
/// The command outlives this program if this program ends without closing, for example because of SIGKILL or the third
/// Ctrl-C. A service manager ends both. Programs that the command starts and that leave its process group are out of
/// reach.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{command, run_in};
///
/// let sleeper = command("sleep").arg("1000").runnable();
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &sleeper, |_| async { println!("it runs") }))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command {
        program: program.as_ref().to_owned(),
        arguments: Vec::new(),
        environment: SYSTEMD_VARIABLES.map(|name| (name.into(), None)).to_vec(),
        folder: None,
        stop_signal: SIGTERM,
        is_ready: None,
        configure: None,
        site: Site::caller(),
    }
}

/// A program of the operating system and its settings. Made by [`command()`]; [`runnable`](Self::runnable) turns it
/// into a runnable.
#[derive(Clone)]
#[must_use = "a command does nothing until it is turned into a runnable and started"]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    /// Variables to set or to remove, in this order.
    environment: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
    stop_signal: i32,
    is_ready: Option<Arc<IsReady>>,
    configure: Option<Arc<Configure>>,
    site: Site,
}

type IsReady = dyn Fn(&str) -> bool + Send + Sync;
type Configure = dyn Fn(&mut std::process::Command) + Send + Sync;

impl Command {
    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Removes an environment variable. systemd's variables are always removed, unless they are set with
    /// [`env`](Self::env).
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), None));
        self
    }

    /// Sets the folder in which the program starts.
    pub fn current_dir(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// The signal that asks the program to stop; by default, SIGTERM. If it is not the number of a signal, each run
    /// fails before it starts the program.
    pub fn stop_signal(mut self, signal: i32) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Makes the run ready when the program prints a line for which `is_ready` returns `true`, on its standard output
    /// or its standard error. If the program ends before that, the start has failed.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_runnable::{command, run_in};
    ///
    /// let server = command("sh").args(["-c", "echo listening; sleep 1000"]);
    /// let server = server.ready_when(|line| line.contains("listening")).runnable();
    /// let app = Process::new();
    /// futures_lite::future::block_on(run_in(&app, &server, |_| async {}))?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn ready_when(mut self, is_ready: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.is_ready = Some(Arc::new(is_ready));
        self
    }

    /// Changes settings that have no method of their own, such as the user id. `configure` is called for each run,
    /// after the other settings. The standard streams and the process group are set afterwards.
    ///
    /// ```
    /// use procession_runnable::command;
    ///
    /// let bare = command("env").configure(|command| {
    ///     command.env_clear();
    /// });
    /// # let _ = bare.runnable();
    /// ```
    pub fn configure(
        mut self,
        configure: impl Fn(&mut std::process::Command) + Send + Sync + 'static,
    ) -> Self {
        self.configure = Some(Arc::new(configure));
        self
    }

    /// Turns the command into a runnable.
    pub fn runnable(self) -> Runnable {
        let site = self.site;
        let command = Arc::new(self);
        // It runs on the library's executor, so that the program can be stopped even while the user's executor is
        // blocked.
        let start = move |start: Start<'_>| {
            let command = command.clone();
            start.on_library().spawn(move |run| running::run(run, command))
        };
        Runnable::new(start).at(site)
    }

    /// Builds the standard library's command for one run.
    fn build(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        if let Some(configure) = &self.configure {
            configure(&mut command);
        }
        command
    }
}

impl From<Command> for Runnable {
    fn from(command: Command) -> Self {
        command.runnable()
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("arguments", &self.arguments)
            .field("folder", &self.folder)
            .field("stop_signal", &self.stop_signal)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The command does not inherit the variables that systemd sets for this program, but they can be set.
    #[test]
    fn systemd_variables_are_not_inherited() {
        let built = command("true").env("NOTIFY_SOCKET", "/a/socket").build();
        let variables: Vec<_> = built.get_envs().collect();
        assert_eq!(variables.len(), SYSTEMD_VARIABLES.len());
        for (name, value) in variables {
            let kept = (name == "NOTIFY_SOCKET").then(|| OsStr::new("/a/socket"));
            assert_eq!(value, kept, "{name:?}");
        }
    }
}
