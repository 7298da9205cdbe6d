//! `CancellationToken`s in both directions, for libraries that know nothing about processes.

use procession::{BoxError, Process};
use tokio_util::sync::CancellationToken;

/// A library's task that ends when its token is cancelled.
async fn library_task(token: CancellationToken) {
    token.cancelled().await;
    println!("1. the task of the library has ended");
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let outside = CancellationToken::new();
    let app = Process::builder().name("app").build()?;

    // The process closes when the token is cancelled.
    app.close_when_cancelled(&outside)?;

    // The token is cancelled when the process begins to close. The body is a child, so the process waits for it.
    let token = app.closing_token();
    app.spawn(|_| library_task(token))?;

    // This token is cancelled when the process is Closed.
    let closed = app.closed_token();

    outside.cancel();
    closed.cancelled().await;
    println!("2. closed: {:?}", app.outcome());
    Ok(())
}
