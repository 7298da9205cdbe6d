//! At most two children at a time; the others wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use procession::{BoxError, Error, Limited, Process};

fn main() -> Result<(), BoxError> {
    let app = Process::builder().name("app").build()?;
    let downloads = Limited::new(&app, 2)?;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));

    for _file in 0..10 {
        let (running, most) = (running.clone(), most.clone());
        // Waits until one of the two slots is free; `spawn` is the async form.
        downloads.spawn_thread(move |_| {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            std::thread::yield_now(); // download
            running.fetch_sub(1, Ordering::Relaxed);
        })?;
    }

    // A slot for work that is not a child: a connection of a pool, for example.
    let slot = downloads.acquire().wait()?;
    drop(slot);

    // When the parent closes, callers that wait get an error instead of a slot.
    app.close_blocking()?;
    assert!(matches!(downloads.spawn_thread(|_| ()), Err(Error::Closed(_))));
    println!("never more than two at a time: {}", most.load(Ordering::Relaxed) <= 2);
    Ok(())
}
