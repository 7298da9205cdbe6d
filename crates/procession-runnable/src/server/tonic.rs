//! gRPC servers of tonic (feature `tonic`).

use std::io;
use std::net::TcpListener;

use ::tonic::service::Routes;

use super::http::tower;
use crate::runnable::Runnable;

/// Serves gRPC services on the listener that `bind` makes: all that holds for [`hyper()`](super::hyper())
/// holds here.
///
/// What tonic's own transport adds is not in it: TLS, and the end of a call whose `grpc-timeout` is over.
/// Layers stand around the routes, with [`tower`].
///
/// ```
/// use procession::Process;
/// use procession_runnable::{run_in, server};
/// use std::net::TcpListener;
/// use tonic::service::Routes;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let (_reporter, health) = tonic_health::server::health_reporter();
/// let grpc = server::tonic(|| TcpListener::bind("127.0.0.1:0"), Routes::new(health));
/// run_in(&Process::new(), &grpc, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn tonic<B>(bind: B, routes: Routes) -> Runnable
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
{
    tower(bind, routes.prepare())
}
