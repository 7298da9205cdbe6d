//! Bodies on threads, a teardown, and the order of closing.

use std::sync::mpsc;
use std::time::Duration;

use procession::{BoxError, Process};

fn main() -> Result<(), BoxError> {
    let app = Process::builder().name("app").build()?;
    let store = Process::builder()
        .name("store")
        .parent(&app)
        .teardown(|| println!("3. the file is synced"))
        .build()?;

    let (rows, queue) = mpsc::channel();
    store.spawn_thread(move |p| {
        while !p.is_closing() {
            if let Ok(row) = queue.recv_timeout(Duration::from_millis(10)) {
                println!("1. writing {row}");
            }
        }
        // Closing has begun: write what is left.
        queue.try_iter().for_each(|row| println!("1. writing {row}"));
        println!("2. all rows are written");
    })?;

    // A thread without work of its own can sleep until closing begins.
    app.spawn_thread(|p| p.closing().wait())?;

    for row in 1..=3 {
        rows.send(row)?;
    }
    app.close_blocking()?;
    println!("4. closed, because {}", app.reason().ok_or("it is closed")?);
    Ok(())
}
