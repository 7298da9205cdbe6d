//! Bodies and teardowns on tokio, and a shutdown with a bound.

use std::time::Duration;

use procession::{BoxError, Error, Process};
use tokio::time::{sleep, timeout};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A process that is made inside the runtime uses it, and so do its children.
    let app = Process::builder()
        .name("app")
        .teardown_async(|| async {
            sleep(Duration::from_millis(1)).await;
            println!("3. torn down");
        })
        .build()?;

    let session = Process::builder().name("session").parent(&app).spawn(|p| async move {
        let mut requests = 0;
        // `None` means that closing has begun; the future is dropped then.
        while p.run_until_closing(sleep(Duration::from_millis(1))).await.is_some() {
            requests += 1;
        }
        println!("2. the session has ended after some requests: {}", requests > 0);
    })?;

    // A task with a result.
    let sum = app.spawn_task(|_| async { procession::ok_with(1 + 2) })?;
    println!("1. the sum is {}", sum.await?);

    // Waiters are futures: they work with every combinator.
    let is_open = timeout(Duration::from_millis(20), session.closed()).await.is_err();
    assert!(is_open);

    // This body never ends. After the grace, it is aborted, and the error names it.
    Process::builder().name("stuck").parent(&app).spawn(|_| std::future::pending::<()>())?;
    match app.close_within(Duration::from_millis(100)).await {
        Err(Error::Forced(forced)) => println!("4. {forced}"),
        other => println!("4. {other:?}"),
    }
    Ok(())
}
