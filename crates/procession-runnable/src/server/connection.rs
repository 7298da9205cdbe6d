//! The body of a connection's process: TLS, HTTP, and the end.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use procession::{BoxError, Process};
use tokio::net::TcpStream;

use super::activity::Activity;
use super::answer::Answer;
use super::answers::Answers;
use super::faults::{failure_of, log_peer_fault};
use super::processes::ConnectionProcess;
use super::settings::Server;
use super::socket::{Socket, Stream};
use super::stream::Streams;
use super::unanswered::LostRequests;
use super::watch::{Action, Watch};

/// Serves one connection with a clone of the service. The clone is made here, in the body of the connection's process,
/// so that a `Clone` that panics ends only this connection.
pub(super) async fn serve<S: Answer + Clone>(
    process: Process,
    (stream, peer_address): (TcpStream, SocketAddr),
    server: Arc<(Server, S)>,
    lost: LostRequests,
) -> Result<(), BoxError> {
    let (settings, service) = &*server;
    let (timeouts, now) = (settings.timeouts, Instant::now());
    let activity = Activity::new(now);
    let mut watch = Watch::new(&process, activity.clone(), timeouts, now);
    // A response must be sent at once: the kernel must not wait for more bytes. An error means that the peer has gone.
    let _set = stream.set_nodelay(true);
    let stream = match accept(stream, settings, &mut watch).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => {
            log_peer_fault(&process, &error);
            return Ok(());
        }
        None => return Ok(()),
    };
    let answers = Answers {
        service: Arc::new(service.clone()),
        connection: ConnectionProcess::new(process.clone(), peer_address),
        activity: activity.clone(),
        body_timeout: timeouts.body,
    };
    let socket = TokioIo::new(Socket::new(stream, activity.clone()));
    let builder = Builder::new(Streams::of(&process, activity.clone(), timeouts.body));
    let mut http = pin!(builder.serve_connection_with_upgrades(socket, answers));
    let ended = poll_fn(|context| {
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(context) {
                return Poll::Ready(Some(ended));
            }
            match watch.poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Action::Stop) => http.as_mut().graceful_shutdown(),
                Poll::Ready(Action::Cut) => return Poll::Ready(None),
            }
        }
    })
    .await;
    match ended {
        Some(Ok(())) => Ok(()),
        Some(Err(error)) => failure_of(&process, error),
        None => {
            if watch.is_grace_over() {
                lost.add(activity.working_handlers());
            }
            Ok(())
        }
    }
}

/// Makes the stream of a connection; `None` if the TLS handshake takes too long.
#[cfg_attr(not(feature = "tls"), expect(unused_variables, clippy::unused_async))]
async fn accept(
    stream: TcpStream,
    settings: &Server,
    watch: &mut Watch,
) -> Option<io::Result<Stream>> {
    #[cfg(feature = "tls")]
    if let Some(tls) = &settings.tls {
        let mut handshake = pin!(tls.accept(stream));
        return poll_fn(|context| {
            if let Poll::Ready(accepted) = handshake.as_mut().poll(context) {
                return Poll::Ready(Some(accepted.map(|stream| Stream::Tls(Box::new(stream)))));
            }
            watch.poll(context).map(|_act| None)
        })
        .await;
    }
    Some(Ok(Stream::Plain(stream)))
}
