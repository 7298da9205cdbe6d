//! HTTP servers on hyper (feature `hyper`).

use std::error::Error as StdError;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::sync::Arc;

use ::hyper::body::{Body, Incoming};
use ::hyper::service::Service;
use ::hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use procession::{BoxError, Process};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::after_refusal;
use crate::leaf::body;
use crate::runnable::Runnable;
use crate::start::{Run, below};

/// Serves a hyper service on the listener that `bind` makes: HTTP/1 and HTTP/2. Each connection has a clone
/// of the service, and is a child of the server's process.
///
/// It needs a tokio runtime with I/O, on which the process must run its bodies.
///
/// On closing, the server accepts no more connections, and running requests finish; an abort drops them. Hooks are told of
/// a connection that fails, and the server continues.
///
/// ```
/// use http_body_util::Full;
/// use hyper::body::Bytes;
/// use hyper::service::service_fn;
/// use hyper::{Request, Response};
/// use procession::Process;
/// use procession_runnable::{run_in, server};
/// use std::convert::Infallible;
/// use std::net::TcpListener;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let hello = service_fn(|_: Request<hyper::body::Incoming>| async {
///     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello"))))
/// });
/// let http = server::hyper(|| TcpListener::bind("127.0.0.1:0"), hello);
/// run_in(&Process::new(), &http, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn hyper<B, S, Reply>(bind: B, service: S) -> Runnable
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<Reply>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let shared = Arc::new((bind, service));
    body(move |run| {
        let shared = shared.clone();
        async move {
            if Handle::try_current().is_err() {
                return Err("an HTTP server needs a tokio runtime".into());
            }
            let listener = (shared.0)()?;
            listener.set_nonblocking(true)?;
            accept(run, tokio::net::TcpListener::from_std(listener)?, &shared.1).await
        }
    })
}

/// [`hyper()`] with a tower service.
#[track_caller]
pub fn tower<B, S, Reply>(bind: B, service: S) -> Runnable
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
    S: tower_service::Service<Request<Incoming>, Response = Response<Reply>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + 'static,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    hyper(bind, TowerToHyperService::new(service))
}

async fn accept<S, Reply>(
    run: Run,
    listener: tokio::net::TcpListener,
    service: &S,
) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<Reply>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    run.ready();
    while let Some(accepted) = run.run_until_closing(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let service = service.clone();
                below(&run).spawn(move |connection| serve(connection, stream, service))?;
            }
            Err(error) => after_refusal(&run, error).await?,
        }
    }
    Ok(())
}

/// Serves one connection. On closing, it finishes the requests that it has.
async fn serve<S, Reply>(process: Process, stream: TcpStream, service: S) -> Result<(), BoxError>
where
    S: Service<Request<Incoming>, Response = Response<Reply>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Reply: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
{
    let builder = Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut closing = Some(process.closing());
    poll_fn(|context| {
        if closing.as_mut().is_some_and(|closing| Pin::new(closing).poll(context).is_ready()) {
            closing = None;
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(context)
    })
    .await
}
