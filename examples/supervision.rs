//! A unit that fails and restarts. The set restarts the units after it, too, because they depend on it.

use std::sync::Arc;
use std::time::Duration;

use procession::{BoxError, Process};
use procession_runnable::{Runnable, body, run_in};
use procession_supervisor::{Policy, Rate, Restart, Supervisor, Unit};
use tokio::sync::Notify;

/// Its first run fails when `lost` is notified.
fn connection(lost: Arc<Notify>) -> Runnable {
    body(move |run| {
        let lost = lost.clone();
        async move {
            run.ready();
            match run.run_until_closing(lost.notified()).await {
                Some(()) => Err("the peer has closed the connection"),
                None => Ok(()), // asked to stop
            }
        }
    })
}

fn session() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let lost = Arc::new(Notify::new());
    let policy = Policy::new()
        .grace(Duration::from_secs(5))
        .intensity(Rate::new(5, Duration::from_secs(60))); // then the set gives up
    let link = Supervisor::rest_for_one([
        ("connection", Unit::new(connection(lost.clone())).restart(Restart::Permanent)),
        ("session", Unit::new(session())),
    ])
    .name("link")
    .policy(policy);

    let mut events = link.events();
    let app = Process::builder().name("app").build()?;
    let watch = async {
        let mut ready = 0;
        while let Some(event) = events.recv().await {
            println!("{event}");
            ready += usize::from(event.kind() == "ready");
            match ready {
                2 if event.kind() == "ready" => lost.notify_one(),
                4 => break, // both have started twice
                _ => {}
            }
        }
    };
    run_in(&app, &link.runnable(), |_| watch).await?;
    println!("closed");
    Ok(())
}
