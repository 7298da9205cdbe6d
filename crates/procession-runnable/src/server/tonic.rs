//! gRPC servers of tonic (feature `tonic`).

use ::tonic::service::Routes;

use super::bind::Bind;
use super::settings::Server;
use crate::runnable::Runnable;

/// Serves gRPC services, with the default settings. Everything said about [`hyper()`](super::hyper()) also holds here.
///
/// Unlike tonic's own transport, the server does not end a call when its `grpc-timeout` is over. To add layers around
/// the routes, use [`tower`](super::tower); for TLS, use [`Server`] with the feature `tls`.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{run_in, server};
/// use tonic::service::Routes;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let (_reporter, health) = tonic_health::server::health_reporter();
/// let grpc = server::tonic("127.0.0.1:0", Routes::new(health));
/// run_in(&Process::new(), &grpc, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn tonic(bind: impl Bind, routes: Routes) -> Runnable {
    Server::new(bind).tonic(routes)
}

impl Server {
    /// Serves gRPC services: see [`tonic()`].
    #[track_caller]
    pub fn tonic(self, routes: Routes) -> Runnable {
        self.tower(routes.prepare())
    }
}
