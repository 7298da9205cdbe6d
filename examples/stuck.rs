//! Eight ways to hang a shutdown, and the report that the program prints for each.
//!
//! ```sh
//! cargo run --example stuck -- thread
//! ```
//!
//! The argument is one of `thread`, `async`, `teardown`, `queued`, `nobody`, `slot`, `future` and `wait`. The program
//! closes itself, with a grace of half a second. When the grace ends, the program prints the items that it still
//! waits for, and aborts. If an item survives the abort, the program prints it again 0.2 s later, and ends.
//!
//! With `--inspect 127.0.0.1:7777`, the same is on a page, and the grace is a minute.

#![forbid(unsafe_code)]

use std::future::pending;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use lexopt::prelude::{Long, Value, ValueExt};
use procession::{BoxError, Error, Exit, Limited, Main, Process};
use procession_inspect::MainExt;

fn main() -> Result<Exit, BoxError> {
    let (mut way, mut inspect) = (String::new(), None::<SocketAddr>);
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(value) => way = value.string()?,
            Long("inspect") => inspect = Some(arguments.value()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let main = Main::new().name("app").abort_grace(Duration::from_millis(200));
    let main = match inspect {
        Some(address) => {
            main.grace(Duration::from_secs(60)).inspect(move |page| page.address(address))
        }
        None => main.grace(Duration::from_millis(500)),
    };
    Ok(main.run(|app| hang(&app, &way)))
}

fn hang(app: &Process, way: &str) -> Result<(), Error> {
    let named = |name: &str| Process::builder().name(name).parent(app);
    match way {
        // A body on a thread that does not look at `closing`, so the teardown of its process never runs.
        "thread" => {
            named("cache").teardown(|| println!("saved")).spawn_thread(|_| sleep())?;
        }
        // The same as a future. An abort drops it.
        "async" => {
            named("poller").spawn(|_| pending::<()>())?;
        }
        // A teardown that never ends.
        "teardown" => {
            named("log").teardown(sleep).build()?;
        }
        // Teardowns that wait for their turn behind 512 others, because no more run at once.
        "queued" => {
            for number in 0..600 {
                named(&format!("file-{number}")).teardown(sleep).build()?;
            }
        }
        // A process that another one waits for, and that nobody closes.
        "nobody" => {
            let server = Process::builder().name("server").build()?;
            named("log").wait_for(&server).build()?;
            // As if another part of the program held it.
            std::mem::forget(server);
        }
        // A body that waits for a slot, which a guard holds.
        "slot" => {
            let pool = Process::builder().name("pool").build()?;
            let limited = Limited::new(&pool, 1)?;
            let slot = limited.acquire().wait()?;
            named("importer").spawn_thread(move |_| limited.spawn_thread(|_| ()).map(drop))?;
            std::mem::forget((pool, slot));
        }
        // A future that a process waits for.
        "future" => {
            named("db").build()?.wait_for_future(pending::<()>())?;
        }
        // A body that is blocked in a wait for another process.
        "wait" => {
            let exporter = Process::builder().name("exporter");
            let exporter = exporter.spawn_thread(|_| sleep())?;
            named("importer").spawn_thread(move |_| exporter.closed().wait())?;
        }
        other => return Err(Error::failed(app.label(), format!("`{other}` is no way").into())),
    }
    app.close();
    Ok(())
}

fn sleep() {
    loop {
        thread::park();
    }
}
