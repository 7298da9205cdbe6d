//! The processes that a handler can reach: that of its connection and that of its request.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use procession::Process;

/// The process of the connection on which a request arrived, in the request's extensions. It is named `connection`,
/// begins to close when the server does, and is Closed once the connection and all its requests have ended.
///
/// With axum, a handler takes it as `Extension<ConnectionProcess>`.
#[derive(Clone, Debug)]
pub struct ConnectionProcess {
    process: Process,
    peer_address: SocketAddr,
}

/// The process of a request, below that of its connection, in the request's extensions.
///
/// It is named `request`. It is open until the response has been sent, or dropped because the client has gone, and
/// everything that was started below it is Closed. It begins to close when the server does. A handler that serves a
/// stream of events, for example, should end the stream then: see [`closing`](Process::closing).
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use procession_runnable::server::{self, RequestProcess};
///
/// async fn wait(Extension(request): Extension<RequestProcess>) -> &'static str {
///     request.closing().await;
///     "the server is closing"
/// }
///
/// let http = server::axum("127.0.0.1:8080", Router::new().route("/wait", get(wait)));
/// # let _ = http;
/// ```
#[derive(Clone, Debug)]
pub struct RequestProcess(Process);

impl ConnectionProcess {
    pub(super) fn new(process: Process, peer_address: SocketAddr) -> Self {
        Self { process, peer_address }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The address of the client, or of the proxy that it uses.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }
}

impl RequestProcess {
    pub(super) fn new(process: Process) -> Self {
        Self(process)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.0
    }
}

impl Deref for ConnectionProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl Deref for RequestProcess {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.0
    }
}

/// The name of each request's process. All of them share one allocation.
pub(super) fn request_name() -> Arc<str> {
    static NAME: OnceLock<Arc<str>> = OnceLock::new();
    NAME.get_or_init(|| "request".into()).clone()
}
