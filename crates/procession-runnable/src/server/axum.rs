//! axum routers (feature `axum`).

use std::io;
use std::net::TcpListener;

use ::axum::Router;

use super::http::tower;
use crate::runnable::Runnable;

/// Serves a router on the listener that `bind` makes: all that holds for [`hyper()`](super::hyper()) holds here.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use procession::Process;
/// use procession_runnable::{run_in, server};
/// use std::net::TcpListener;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), procession::Error> {
/// let router = Router::new().route("/", get(|| async { "hello" }));
/// let http = server::axum(|| TcpListener::bind("127.0.0.1:0"), router);
/// run_in(&Process::new(), &http, |_| async { println!("listening") }).await
/// # }
/// ```
#[track_caller]
pub fn axum<B>(bind: B, router: Router) -> Runnable
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
{
    tower(bind, router)
}
