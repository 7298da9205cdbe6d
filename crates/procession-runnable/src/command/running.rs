//! One run of a program, from its start to its end.
//!
//! 1. *The process is Closed only once the program has ended, because* its teardown waits for that. The teardown is set
//!    in the same poll that starts the program, so no abort can come in between; and a run that is aborted before its
//!    first poll has not started a program.
//! 2. *The program ends, because* the teardown runs however the body ends, and begins by sending SIGKILL.
//! 3. *No zombie is left, because* waiting for the program reaps it.

use std::fmt;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_process::{Child, Command as AsyncCommand};
use futures_lite::future::or;
use procession::BoxError;
use procession::support::{catch, text};
use rustix::process::Signal;

use super::Command;
use super::group::Group;
use super::output::{Output, Sink};
use crate::start::Run;

/// If the stop signal ended a program that was not asked to stop, closing must begin within this time; otherwise, the
/// run has failed.
const SAME_SIGNAL_WINDOW: Duration = Duration::from_millis(500);

/// Why a command failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The program could not be started.
    #[error("cannot start `{program}`{}", InFolder(folder))]
    Start {
        /// The program.
        program: String,
        /// The folder, if one was set.
        folder: Option<PathBuf>,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// The program has failed.
    #[error("`{program}` {}", ExitText(*status))]
    Ended {
        /// The program.
        program: String,
        /// Its exit status.
        status: ExitStatus,
    },
}

pub(super) async fn run(run: Run, command: Arc<Command>) -> Result<(), BoxError> {
    if run.is_closing() {
        return Ok(());
    }
    let stop_signal = Signal::from_named_raw(command.stop_signal).ok_or_else(|| {
        format!(
            "cannot stop a program with signal {}: there is no such signal",
            command.stop_signal
        )
    })?;
    let program = text::Escaped::name(&command.program.to_string_lossy()).to_string();
    let sink = Sink::new(&run, command.is_ready.clone());
    let started = start(&command, &sink);
    let start_failed = |source: io::Error| CommandError::Start {
        program: program.clone(),
        folder: command.folder.clone(),
        source: Arc::new(source),
    };
    let (mut child, group) = started.map_err(start_failed)?;
    let mut output = Output::of(&mut child, sink);
    let (end, end_for_teardown) = (child.status(), child.status());
    run.set_teardown_async(move || async move {
        group.kill();
        let ended = end_for_teardown.await;
        drop(child);
        ended.map(drop)
    })?;
    if command.is_ready.is_none() {
        run.ready();
    }
    let mut was_asked = false;
    let ending = async {
        let mut end = pin!(end);
        if let Some(ended) = run.run_until_closing(end.as_mut()).await {
            return Ok(ended?);
        }
        was_asked = true;
        group.signal(stop_signal)?;
        Ok::<_, BoxError>(end.await?)
    };
    let status = or(ending, output.copy()).await?;
    output.copy_rest().await;
    let is_good = status.success()
        || is_stopped(status, command.stop_signal)
            // A service manager may signal both programs at the same time.
            && (was_asked || run.closing().timeout(SAME_SIGNAL_WINDOW).await.is_some());
    if is_good { Ok(()) } else { Err(CommandError::Ended { program, status }.into()) }
}

fn start(command: &Command, sink: &Sink) -> io::Result<(Child, Group)> {
    let mut builder = command.build();
    builder.process_group(0);
    let mut builder = AsyncCommand::from(builder);
    let stdio = || if sink.is_needed() { Stdio::piped() } else { Stdio::inherit() };
    builder.stdin(Stdio::null()).stdout(stdio()).stderr(stdio());
    // In case an error occurs before the teardown is set.
    builder.kill_on_drop(true);
    // The reaper of async-process panics if no file descriptor is free.
    let child =
        catch(|| builder.spawn()).unwrap_or_else(|message| Err(io::Error::other(&*message)))?;
    let group =
        Group::of(child.id()).ok_or_else(|| io::Error::other("its process id is not valid"))?;
    Ok((child, group))
}

/// Did the signal end the program, or does the exit status say so, as that of a shell does?
fn is_stopped(status: ExitStatus, signal: i32) -> bool {
    status.signal() == Some(signal) || status.code() == Some(128 + signal)
}

/// The folder in which a program should have been started.
struct InFolder<'a>(&'a Option<PathBuf>);

impl fmt::Display for InFolder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(folder) = self.0 else { return Ok(()) };
        write!(f, " in `{}`", text::Escaped::name(&folder.to_string_lossy()))
    }
}

/// How a program has ended.
struct ExitText(ExitStatus);

impl fmt::Display for ExitText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "exited with status {code}"),
            (None, Some(signal)) => write!(f, "was ended by {}", text::Signal(signal)),
            (None, None) => write!(f, "ended: {}", self.0),
        }
    }
}
