//! The accept loop, which all servers share.
//!
//! 1. *No problem of a single connection ends it*, because only the errors of the listener itself are returned. A
//!    connection for which there is no file descriptor or no thread is dropped and [reported](Dropped).
//! 2. *It does not spin*: without a free descriptor, each call of `accept` fails at once, so the loop pauses after each
//!    error that is not a peer's. The pause itself needs no descriptor, because the deadline thread ends it.
//! 3. *It resumes without help*, because the connection is still in the queue of the OS, and the loop tries again after
//!    each pause.

use std::future::Future;
use std::io::{self, Write};
use std::time::Duration;

use procession::support::{catch, is_quiet};
use procession::{BoxError, Clock, Error, Process, SystemClock};

use crate::start::{Run, below};

/// The pause of a server that has no descriptor, no memory or no thread for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The name of the process of each connection.
pub(super) const CONNECTION: &str = "connection";

/// Serves the connections that `next` accepts, until the server begins to close.
///
/// # Errors
///
/// The errors of the listener that are permanent.
pub(super) async fn accept<C, Next>(
    run: &Run,
    mut next: impl FnMut() -> Next,
    mut serve: impl FnMut(C) -> Result<(), Dropped>,
) -> Result<(), BoxError>
where
    Next: Future<Output = io::Result<C>>,
{
    run.ready();
    let mut is_refused = false;
    while let Some(accepted) = run.run_until_closing(next()).await {
        match accepted {
            Ok(connection) => {
                is_refused = false;
                if let Err(dropped) = serve(connection) {
                    dropped.report(run);
                    pause(run).await;
                }
            }
            Err(error) => match kind_of(&error) {
                Kind::Peer => {}
                Kind::Shortage => {
                    if !std::mem::replace(&mut is_refused, true) {
                        warn(run, &error);
                    }
                    pause(run).await;
                }
                Kind::Listener => return Err(error.into()),
            },
        }
    }
    Ok(())
}

/// A connection was dropped, because the OS lacks a resource for it.
pub(super) enum Dropped {
    /// Its process has failed, which is the report.
    Reported,
    /// It has no process.
    Unreported(BoxError),
}

impl Dropped {
    /// Reports it as the failure of a process that takes the place of the connection's process.
    fn report(self, server: &Process) {
        if let Self::Unreported(error) = self {
            let failed = below(server).name(CONNECTION).spawn(|_| async { Err::<(), _>(error) });
            // A process cannot refuse children while its body runs.
            debug_assert!(failed.is_ok());
        }
    }
}

impl From<io::Error> for Dropped {
    fn from(error: io::Error) -> Self {
        Self::Unreported(error.into())
    }
}

impl From<Error> for Dropped {
    /// The error of starting the connection's process, which the process reports as its failure.
    fn from(_: Error) -> Self {
        Self::Reported
    }
}

/// Warns that connections have to wait: as a `tracing` event or, if no subscriber is enabled for it, on standard error.
/// A program whose `Main` is quiet prints nothing. The connections are not lost, so this is not a failure.
fn warn(server: &Process, error: &io::Error) {
    // The subscriber is foreign code.
    let is_recorded = || catch(|| is_recorded(server, error)).unwrap_or(true);
    if is_quiet(server) || is_recorded() {
        return;
    }
    let label = server.label();
    let text =
        format!("{label} cannot accept connections: {error}; trying again until it succeeds\n");
    // Nothing can be done about an error: standard error may be closed.
    let _written = io::stderr().write_all(text.as_bytes());
}

/// Records the event, if a subscriber is enabled for it.
#[cfg(feature = "tracing")]
fn is_recorded(server: &Process, error: &io::Error) -> bool {
    let is_wanted = tracing::enabled!(target: "procession", tracing::Level::WARN);
    if is_wanted {
        tracing::warn!(
            target: "procession", event = "accept_failed", process = server.path(), error = %error,
            "cannot accept connections: {error}; trying again until it succeeds"
        );
    }
    is_wanted
}

#[cfg(not(feature = "tracing"))]
fn is_recorded(_server: &Process, _error: &io::Error) -> bool {
    false
}

/// Waits before the next attempt. Closing ends the pause.
async fn pause(server: &Process) {
    server.run_until_closing(SystemClock.sleep(PAUSE)).await;
}

/// The cause of an error of `accept`.
enum Kind {
    /// The peer has gone.
    Peer,
    /// There is no descriptor or no memory for the connection, or the network is down.
    Shortage,
    /// The listener is broken, and remains so.
    Listener,
}

fn kind_of(error: &io::Error) -> Kind {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
    };
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => Kind::Peer,
        InvalidInput => Kind::Listener,
        _ => Kind::Shortage,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;
    use crate::leaf::body;
    use crate::start::Start;

    /// Runs the loop on these results of `accept`, and closes the server after the last one; returns its outcome, and
    /// the numbers of the connections that were served and of those that were refused.
    fn accepted(results: Vec<io::Result<bool>>) -> (Result<(), Error>, usize, usize) {
        let (served, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (served.clone(), refused.clone());
        let app = Process::builder().on_failure(move |process, _| {
            if process.name().as_deref() == Some(CONNECTION) {
                refused.fetch_add(1, Ordering::SeqCst);
            }
        });
        let app = app.build().unwrap();
        let results = std::sync::Mutex::new(Some(results));
        let server = body(move |run| {
            let (served, mut results) =
                (served.clone(), results.lock().unwrap().take().into_iter().flatten());
            async move {
                let process = run.process().clone();
                let next = || {
                    let result = results.next();
                    let process = process.clone();
                    async move {
                        match result {
                            Some(result) => result,
                            None => {
                                process.close();
                                std::future::pending().await
                            }
                        }
                    }
                };
                let serve = |can_be_served: bool| {
                    if !can_be_served {
                        return Err(Dropped::Unreported("no thread".into()));
                    }
                    served.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                };
                accept(&run, next, serve).await
            }
        });
        let server = server.start(Start::under(&app).0).unwrap();
        let outcome = server.closed().wait();
        let count = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (outcome, count(&counts.0), count(&counts.1))
    }

    /// Errors of peers are skipped at once; a lack of resources makes the loop pause and try again; a connection that
    /// cannot be served is dropped and reported; an error of the listener ends the loop.
    #[test]
    fn errors_of_accept() {
        let error = |kind: io::ErrorKind| Err(kind.into());
        let start = Instant::now();
        let gone = error(io::ErrorKind::ConnectionReset);
        let (outcome, served, refused) = accepted(vec![gone, Ok(true)]);
        assert!(outcome.is_ok() && (served, refused) == (1, 0));
        let too_many = || Err(io::Error::from_raw_os_error(24));
        let (outcome, served, refused) =
            accepted(vec![too_many(), too_many(), Ok(false), Ok(true)]);
        assert!(outcome.is_ok() && (served, refused) == (1, 1));
        assert!(start.elapsed() >= 3 * PAUSE);
        let broken = error(io::ErrorKind::InvalidInput);
        let (outcome, served, _) = accepted(vec![Ok(true), broken, Ok(true)]);
        assert!(outcome.is_err() && served == 1);
    }
}
