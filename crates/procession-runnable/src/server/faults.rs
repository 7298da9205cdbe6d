//! Decides whose fault it is when a connection or a request ends with an error.
//!
//! A server cannot prevent its peers from disconnecting, from breaking the protocol or from being slow. None of that is
//! a failure of its processes (I17 is about failures of the program), and it is only logged as a `tracing` event at
//! DEBUG. These are failures: a handler that panics, a service that returns an error, and a response body that fails.
//! Each is the failure of the request's process, which reports it once. hyper is given [`Ended`] instead of the error.
//! On HTTP/1, where hyper cannot continue, it returns `Ended` as the error of the connection, which has not failed.

use std::error::Error as StdError;

use procession::{BoxError, Process};

use super::request_body::BodyError;

/// The error that hyper is given when a request has ended and its failure, if any, is already reported.
#[derive(Debug, thiserror::Error)]
#[error("the request has ended without a response")]
pub(super) struct Ended;

/// Is the client at fault for this error, which the service returned?
pub(super) fn is_client_fault(error: &BoxError) -> bool {
    causes(&**error).any(|cause| cause.is::<BodyError>())
}

/// The outcome of a connection that ended with this error of hyper.
pub(super) fn failure_of(connection: &Process, error: BoxError) -> Result<(), BoxError> {
    if causes(&*error).any(|cause| cause.is::<Ended>()) {
        return Ok(());
    }
    // The service has broken the rules of hyper, for example with a body that is shorter than its `Content-Length`.
    if error.downcast_ref::<::hyper::Error>().is_some_and(::hyper::Error::is_user) {
        return Err(error);
    }
    log_peer_fault(connection, &*error);
    Ok(())
}

/// Logs, at DEBUG, that the peer has disconnected or broken the protocol.
#[cfg(feature = "tracing")]
pub(super) fn log_peer_fault(connection: &Process, error: &(dyn StdError + 'static)) {
    // The subscriber is foreign code.
    let _recorded = procession::support::catch(|| {
        tracing::debug!(
            target: "procession", event = "connection_broken", process = connection.path(),
            error, "the connection was broken by the peer"
        );
    });
}

#[cfg(not(feature = "tracing"))]
pub(super) fn log_peer_fault(_connection: &Process, _error: &(dyn StdError + 'static)) {}

fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}
