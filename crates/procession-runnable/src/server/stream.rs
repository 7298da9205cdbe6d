//! [`Streams`]: the tasks of HTTP/2 requests, as processes below that of their connection.
//!
//! hyper answers each HTTP/2 request in a task of its own, and forgets it. Here, that task is the body of a child of the
//! connection's process. So the connection is not Closed while a handler runs, even if its client has gone; an abort of
//! the connection drops the handlers; and the panic or error of a handler is the failure of its own process.

use std::future::Future;
use std::sync::Arc;

use ::hyper::rt::Executor;
use procession::{BoxError, Process};

use super::faults::{Ended, is_clients};
use super::processes::request_name;
use crate::start::below;
use crate::sync::Mutex;

tokio::task_local! {
    /// The request whose task this is.
    static STREAM: Stream;
}

/// An HTTP/2 request that is being answered.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) process: Process,
    failure: Arc<Mutex<Option<BoxError>>>,
}

impl Stream {
    /// The one whose task this is. A task of an HTTP/1 connection has none.
    pub(super) fn current() -> Option<Self> {
        STREAM.try_with(Self::clone).ok()
    }

    /// The request has failed. Its process reports that once its task ends, which hyper sees to when it is given the
    /// error that this returns.
    pub(super) fn fail(&self, error: BoxError) -> Ended {
        if !is_clients(&error) {
            *self.failure.lock() = Some(error);
        }
        Ended
    }
}

/// Runs the tasks of a connection's requests.
#[derive(Clone)]
pub(super) struct Streams {
    connection: Process,
}

impl Streams {
    /// For the process of this connection.
    pub(super) fn of(connection: &Process) -> Self {
        Self { connection: connection.clone() }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, task: F) {
        let spawned = below(&self.connection).name(request_name()).spawn(|process| {
            let failure = Arc::new(Mutex::new(None));
            let stream = Stream { process, failure: failure.clone() };
            async move {
                STREAM.scope(stream, task).await;
                let failure = failure.lock().take();
                failure.map_or(Ok(()), Err)
            }
        });
        // The connection's body runs while this is called, so its process accepts children.
        debug_assert!(spawned.is_ok());
    }
}
