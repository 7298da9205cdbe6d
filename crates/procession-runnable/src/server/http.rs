//! HTTP servers on hyper (feature `hyper`).

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use ::hyper::body::Body;
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use procession::BoxError;
use procession::support::abort_past_grace;
use tokio::runtime::Handle;

use super::accept::{CONNECTION, accept};
use super::bind::Bind;
use super::connection::serve;
use super::request_body::RequestBody;
use super::settings::Server;
use super::unanswered::LostRequests;
use crate::leaf::body;
use crate::runnable::Runnable;
use crate::start::below;

/// The time between the end of the grace and the abort of the server. At the end of the grace, each connection drops
/// its requests and counts them. The abort ends everything else, such as processes that handlers have started.
const ABORT_MARGIN: Duration = Duration::from_secs(1);

/// Serves a hyper service on HTTP/1 and HTTP/2, with the default settings of [`Server`]. Each connection has a
/// clone of the service.
///
/// The server's process must run its bodies on a tokio runtime with I/O enabled. A time driver is not necessary.
///
/// Each connection is a child of the server's process, and each request is a child of its connection: see
/// [`ConnectionProcess`](super::ConnectionProcess) and [`RequestProcess`](super::RequestProcess).
///
/// On closing, the server accepts no more connections. It answers the requests in progress and ends the connections
/// without a request, as described at [`Server`]. An abort drops the requests.
///
/// # Failures
///
/// A handler that panics, a service that returns an error, and a response body that fails are failures of the request
/// or its connection; the server continues. Mistakes, delays and disconnections of clients are not failures, but
/// `tracing` events at DEBUG. If a service returns an error that has a [`BodyError`](super::BodyError) among its
/// sources, the client is at fault.
///
/// # Upgrades
///
/// An upgraded connection, such as a WebSocket, belongs to the code that takes it over. The server no longer waits for
/// it, so serve it in a process of your own.
///
/// ```
/// use http_body_util::Full;
/// use hyper::body::Bytes;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use procession::Process;
/// use procession_runnable::run_in;
/// use procession_runnable::server::{self, RequestBody};
/// use std::convert::Infallible;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let hello = service_fn(|_: Request<RequestBody>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
/// });
/// let http = server::hyper("127.0.0.1:0", hello);
/// run_in(&Process::new(), &http, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn hyper<S, Reply>(bind: impl Bind, service: S) -> Runnable
where
    S: Service<Request<RequestBody>, Response = Response<Reply>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    Server::new(bind).hyper(service)
}

/// [`hyper()`] with a tower service.
#[track_caller]
pub fn tower<S, Reply>(bind: impl Bind, service: S) -> Runnable
where
    S: tower_service::Service<Request<RequestBody>, Response = Response<Reply>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    Server::new(bind).tower(service)
}

impl Server {
    /// Serves a hyper service: see [`hyper()`].
    #[track_caller]
    pub fn hyper<S, Reply>(self, service: S) -> Runnable
    where
        S: Service<Request<RequestBody>, Response = Response<Reply>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        let server = Arc::new((self, service));
        body(move |run| {
            let server = server.clone();
            async move {
                let settings = &server.0;
                if Handle::try_current().is_err() {
                    return Err("an HTTP server needs a tokio runtime: use `run_with_async` inside `#[tokio::main]`, for example".into());
                }
                let listener = settings.bind.listen()?;
                listener.set_nonblocking(true)?;
                let listener = tokio::net::TcpListener::from_std(listener)?;
                let grace = settings.timeouts.grace;
                abort_past_grace(&run, grace.saturating_add(ABORT_MARGIN));
                let lost = LostRequests::of(run.process(), grace, ABORT_MARGIN);
                let serve = |accepted| {
                    let (server, lost) = (server.clone(), lost.clone());
                    let serve = |process| serve(process, accepted, server, lost);
                    below(&run).name(CONNECTION).spawn(serve)?;
                    Ok(())
                };
                accept(&run, || listener.accept(), serve).await
            }
        })
    }

    /// Serves a tower service: see [`hyper()`].
    #[track_caller]
    pub fn tower<S, Reply>(self, service: S) -> Runnable
    where
        S: tower_service::Service<Request<RequestBody>, Response = Response<Reply>>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError> + 'static,
        Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.hyper(TowerToHyperService::new(service))
    }
}
