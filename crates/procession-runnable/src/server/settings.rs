//! [`Server`]: an address with settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::bind::Bind;

/// The timeouts of a server.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    #[cfg(feature = "hyper")]
    pub(super) header: Duration,
    #[cfg(feature = "hyper")]
    pub(super) body: Duration,
    #[cfg(feature = "hyper")]
    pub(super) idle: Duration,
    pub(super) grace: Duration,
}

/// A server with its settings, which is not a [`Runnable`](crate::Runnable) yet. The methods
#[cfg_attr(feature = "tcp", doc = "[`tcp`](Self::tcp),")]
#[cfg_attr(feature = "hyper", doc = "[`hyper`](Self::hyper), [`tower`](Self::tower),")]
#[cfg_attr(feature = "axum", doc = "[`axum`](Self::axum),")]
#[cfg_attr(feature = "tonic", doc = "[`tonic`](Self::tonic)")]
/// turn it into one.
///
/// These are all settings, and how they interact:
///
/// | setting | default | limits | on expiry |
/// |---|---|---|---|
/// | [`grace`](Self::grace) | 20 s | the time from the beginning of closing to the end of the last connection | the connections that are still open are aborted |
#[cfg_attr(
    feature = "hyper",
    doc = "| [`header_timeout`](Self::header_timeout) | 30 s | the header of a request: from its first byte; for the first request, from when the connection was accepted (including the TLS handshake) | the connection ends |"
)]
#[cfg_attr(
    feature = "hyper",
    doc = "| [`body_timeout`](Self::body_timeout) | 30 s | the time without progress: while a handler waits for a request body, the time until its next byte; while a response is sent, the time in which the peer takes no byte of it | the handler is given [`BodyError::TimedOut`](super::BodyError::TimedOut); a connection that takes nothing ends; on HTTP/2, the stream of a response that is not taken is reset |"
)]
#[cfg_attr(
    feature = "hyper",
    doc = "| [`idle_timeout`](Self::idle_timeout) | 2 min | the time between two requests on one connection | the connection ends; on HTTP/2 with GOAWAY |"
)]
#[cfg_attr(feature = "tls", doc = "| [`tls`](Self::tls) | none | – | – |")]
///
/// `Duration::MAX` means no limit.
#[cfg_attr(
    feature = "hyper",
    doc = r#"
On closing, connections without a request do not wait for these timeouts: an idle connection ends at once, and one that
is silent, or has sent only a part of a header or of a TLS handshake, ends after one second. The server waits only for
requests in progress: for a handler until it returns, for a request body while bytes arrive at intervals shorter than
`body_timeout`, and for a response while the peer takes bytes at such intervals. In total, it waits no longer than
`grace`.
"#
)]
#[cfg_attr(
    feature = "axum",
    doc = r#"
```
use axum::Router;
use axum::routing::get;
use procession_runnable::server::Server;
use std::time::Duration;

let router = Router::new().route("/", get(|| async { "hello" }));
let http = Server::new("127.0.0.1:8080")
    .header_timeout(Duration::from_secs(5))
    .grace(Duration::from_secs(10))
    .axum(router);
# let _ = http;
```
"#
)]
#[must_use = "a server does nothing until it is turned into a runnable and started"]
#[derive(Clone)]
pub struct Server {
    pub(super) bind: Arc<dyn Bind>,
    pub(super) timeouts: Timeouts,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<tokio_rustls::TlsAcceptor>,
}

impl Server {
    /// A server that listens on `bind`, with the default settings.
    pub fn new(bind: impl Bind) -> Self {
        let timeouts = Timeouts {
            #[cfg(feature = "hyper")]
            header: Duration::from_secs(30),
            #[cfg(feature = "hyper")]
            body: Duration::from_secs(30),
            #[cfg(feature = "hyper")]
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(20),
        };
        Self {
            bind: Arc::new(bind),
            timeouts,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The grace of a stop: connections that are still open this long after closing began are aborted.
    ///
    /// It should be shorter than the grace of the program. If handlers of an HTTP server are still working when it
    /// ends, their requests are dropped, and the server fails with [`Unanswered`](super::Unanswered). The server also
    /// fails if processes that handlers have started are still open one second later, so that it has to be aborted. A
    /// connection that only waits for its peer does not count as a failure.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.timeouts.grace = grace;
        self
    }

    /// The time that a client may take for the header of a request. For the first header, it begins when the connection
    /// is accepted; for a later one, with its first byte. When it is over, the connection ends.
    #[cfg(feature = "hyper")]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.header = timeout;
        self
    }

    /// The time that a client may take to send the next bytes of a request body for which a handler waits, and to
    /// receive the next bytes of a response. On HTTP/2, where a client can hold back a single response, the time begins
    /// anew whenever the client takes bytes of any response on the connection.
    #[cfg(feature = "hyper")]
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.body = timeout;
        self
    }

    /// The time that a connection may stay idle after its first request.
    ///
    /// It should be longer than the idle timeout of a load balancer in front of the server. Otherwise, the balancer may
    /// send a request just when the server ends the connection.
    #[cfg(feature = "hyper")]
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.idle = timeout;
        self
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}
