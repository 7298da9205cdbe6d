//! [`Streams`]: the tasks of HTTP/2 requests, as processes below that of their connection.
//!
//! hyper answers each HTTP/2 request in a task of its own, and does not wait for it. Here, that task is the body of a
//! child of the connection's process. So the connection is not Closed while a handler runs, even if its client has
//! gone; an abort of the connection drops the handlers; and if a handler fails or panics, its own process fails.
//!
//! If the peer takes nothing of a response for too long, its task is dropped, which resets the stream.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ::hyper::rt::Executor;
use procession::{BoxError, Process};

use super::activity::Activity;
use super::faults::{Ended, is_client_fault};
use super::processes::request_name;
use super::timer::Timer;
use super::untaken::Untaken;
use crate::start::below;
use crate::sync::Mutex;

tokio::task_local! {
    /// The request that this task answers.
    static STREAM: Stream;
}

/// An HTTP/2 request that is being answered.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) process: Process,
    failure: Arc<Mutex<Option<BoxError>>>,
    pub(super) untaken: Untaken,
}

impl Stream {
    /// The request that the current task answers. `None` in the task of an HTTP/1 connection.
    pub(super) fn current() -> Option<Self> {
        STREAM.try_with(Self::clone).ok()
    }

    /// The request has failed. Its process reports that once its task ends. Give the returned error to hyper, which
    /// ends the task.
    pub(super) fn fail(&self, error: BoxError) -> Ended {
        if !is_client_fault(&error) {
            // Dropping an error is foreign code, which must not run while the lock is held.
            let _earlier = self.failure.lock().replace(error);
        }
        Ended
    }
}

/// Runs the tasks of a connection's requests.
#[derive(Clone)]
pub(super) struct Streams {
    connection: Process,
    activity: Arc<Activity>,
    body_timeout: Duration,
}

impl Streams {
    /// For the process of this connection.
    pub(super) fn of(
        connection: &Process,
        activity: Arc<Activity>,
        body_timeout: Duration,
    ) -> Self {
        Self { connection: connection.clone(), activity, body_timeout }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, task: F) {
        let (untaken, timeout) = (Untaken::new(self.activity.clone()), self.body_timeout);
        let spawned = below(&self.connection).name(request_name()).spawn(move |process| {
            let failure = Arc::new(Mutex::new(None));
            let stream = Stream { process, failure: failure.clone(), untaken: untaken.clone() };
            async move {
                run_until_stalled(STREAM.scope(stream, task), &untaken, timeout).await;
                let failure = failure.lock().take();
                failure.map_or(Ok(()), Err)
            }
        });
        // The body of the connection calls this or, for an upgrade, the body of a request. So a body below the
        // connection's process still runs, and that process accepts children.
        debug_assert!(spawned.is_ok());
    }
}

/// Runs the task, and drops it if the peer takes nothing of its response for as long as `timeout`.
async fn run_until_stalled(task: impl Future<Output = ()>, untaken: &Untaken, timeout: Duration) {
    let (mut task, mut timer) = (pin!(task), Timer::default());
    poll_fn(|context| {
        if task.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let deadline = untaken.since().and_then(|since| since.checked_add(timeout));
        timer.poll(deadline, context)
    })
    .await;
}
