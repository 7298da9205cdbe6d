//! Bodies and teardowns on a thread pool of your own: any closure that takes a `Job` is a spawner.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use procession::{BoxError, Job, Process};

/// Two threads that run jobs. They end when the last spawner is dropped.
fn pool() -> impl Fn(Job) + Send + Sync + 'static {
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for number in 1..=2 {
        let queue = queue.clone();
        let worker = move || {
            loop {
                let next = queue.lock().expect("no job runs under the lock").recv();
                match next {
                    Ok(job) => job.run(), // it catches panics
                    Err(_) => return,
                }
            }
        };
        thread::Builder::new().name(format!("pool-{number}")).spawn(worker).expect("a thread");
    }
    // A job that the pool does not take is dropped, and is not lost: see `Job`.
    move |job| drop(jobs.send(job))
}

fn main() -> Result<(), BoxError> {
    let app = Process::builder()
        .name("app")
        .spawner(pool())
        .teardown(|| println!("2. torn down on {}", place()))
        .build()?;
    app.spawn(|p| async move {
        p.closing().await;
        println!("1. the body has ended on {}", place());
    })?;
    app.close_blocking()?;
    Ok(())
}

fn place() -> String {
    let name = thread::current().name().unwrap_or("?").to_owned();
    if name.starts_with("pool-") { "the pool".to_owned() } else { name }
}
