//! Calls after an interval, and at a fixed rate.

use std::sync::mpsc;
use std::time::Duration;

use procession::{BoxError, Periodic, Process};

fn main() -> Result<(), BoxError> {
    let app = Process::builder().name("app").build()?;
    let (swept, sweeps) = mpsc::channel();
    let (ticked, ticks) = mpsc::channel();

    // A pause of 2 ms between the end of a call and the next one. The first failure ends it.
    Periodic::every(Duration::from_millis(2)).spawn_thread(&app, move |_| swept.send(()))?;

    // Every 2 ms, however long a call takes; as a future.
    Periodic::tick(Duration::from_millis(2)).spawn(&app, move |_| {
        let ticked = ticked.clone();
        async move { ticked.send(()) }
    })?;

    for number in 1..=3 {
        sweeps.recv()?;
        ticks.recv()?;
        println!("{number} sweeps, {number} ticks");
    }
    // Calls under way finish; no more begin.
    app.close_blocking()?;
    println!("closed");
    Ok(())
}
