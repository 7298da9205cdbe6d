//! axum routers (feature `axum`).

use ::axum::Router;

use super::bind::Bind;
use super::settings::Server;
use crate::runnable::Runnable;

/// Serves a router, with the default settings. Everything said about [`hyper()`](super::hyper()) also holds here.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use procession::Process;
/// use procession_runnable::{run_in, server};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let router = Router::new().route("/", get(|| async { "hello" }));
/// let http = server::axum("127.0.0.1:0", router);
/// run_in(&Process::new(), &http, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn axum(bind: impl Bind, router: Router) -> Runnable {
    Server::new(bind).axum(router)
}

impl Server {
    /// Serves a router: see [`axum()`].
    #[track_caller]
    pub fn axum(self, router: Router) -> Runnable {
        self.tower(router)
    }
}
