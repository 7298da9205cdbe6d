//! Servers as runnables, each behind a feature: ready when they listen; asked to stop, they take no new
//! connections and let the running requests finish; an abort drops those too.
//!
//! Since a runnable can be run any number of times, a server is given a function that makes its listener, not
//! the listener.
//!
//! | function | feature | what it serves |
//! |---|---|---|
//! | `tcp` | `tcp` | a blocking handler for each connection, on threads |
//! | `hyper` | `hyper` | any hyper service, HTTP/1 and HTTP/2, on tokio |
//! | `tower` | `hyper` | any tower service, HTTP/1 and HTTP/2, on tokio |
//! | `axum` | `axum` | a router, on tokio |
//! | `tonic` | `tonic` | gRPC services, on tokio |

use std::io;
use std::time::{Duration, Instant};

use procession::{Clock, Process, SystemClock};

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod http;
#[cfg(feature = "tcp")]
mod tcp;
#[cfg(feature = "tonic")]
mod tonic;

#[cfg(feature = "axum")]
pub use self::axum::axum;
#[cfg(feature = "tonic")]
pub use self::tonic::tonic;
#[cfg(feature = "hyper")]
pub use http::{hyper, tower};
#[cfg(feature = "tcp")]
pub use tcp::tcp;

/// How long a server waits when the system has no room for one more connection.
const NO_ROOM: Duration = Duration::from_millis(100);

/// After an error of `accept`: waits for as long as it takes until that may go better.
///
/// # Errors
///
/// The error, if it is the listener's: that does not pass.
async fn after_refusal(server: &Process, error: io::Error) -> io::Result<()> {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, InvalidInput,
    };
    match error.kind() {
        // The peer has gone again.
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => {}
        InvalidInput => return Err(error),
        // Too many open files, no memory: until others are closed.
        _ => {
            let pause = SystemClock.sleep_until(Instant::now() + NO_ROOM);
            server.run_until_closing(pause).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    /// The peer's errors pass at once, the listener's end the server, and for want of room it pauses, until
    /// it closes at the latest.
    #[test]
    fn errors_of_accept() {
        let server = Process::new();
        let refused = |kind: io::ErrorKind| after_refusal(&server, kind.into());
        for passes in [io::ErrorKind::ConnectionReset, io::ErrorKind::Interrupted] {
            assert!(block_on(refused(passes)).is_ok());
        }
        assert!(block_on(refused(io::ErrorKind::InvalidInput)).is_err());
        let mut no_room = Box::pin(refused(io::ErrorKind::OutOfMemory));
        assert!(block_on(poll_once(&mut no_room)).is_none());
        server.close();
        assert!(block_on(no_room).is_ok());
    }
}
