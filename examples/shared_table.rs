//! Two managers that share units, as two programs would. When one leaves, the other one takes its units over.
//!
//! `MemorySharedTable` is for tests; programs use the crates `procession-sqlite` or `procession-postgres`.

use std::time::Duration;

use procession::{BoxError, Process};
use procession_runnable::body;
use procession_supervisor::Unit;
use procession_supervisor::shared::{MemorySharedTable, SharedManager, Units};

fn manager(table: &MemorySharedTable, name: &str) -> SharedManager {
    let builder = SharedManager::builder(table.clone()).name(name).program(name);
    builder.build(|claim| {
        let (key, lease) = (claim.key().to_owned(), claim.lease().clone());
        Ok(Unit::new(body(move |run| {
            println!("{key} runs with token {}", lease.token());
            async move {
                run.ready();
                run.closing().await;
            }
        })))
    })
}

fn main() -> Result<(), BoxError> {
    let table = MemorySharedTable::new();
    let units = Units::new(table.clone());
    for key in ["mailbox-1", "mailbox-2", "mailbox-3", "mailbox-4"] {
        units.put(key, "unit", "").wait()?;
    }

    let (one, two) = (manager(&table, "one"), manager(&table, "two"));
    let app = Process::new();
    let run = |manager: &SharedManager| {
        let manager = manager.clone();
        app.spawn_thread(move |p| manager.run_blocking(|_| p.closing().wait()))
    };
    let (first, second) = (run(&one)?, run(&two)?);
    wait(|| one.counts().running == 2 && two.counts().running == 2);
    println!("each runs two");

    first.close_blocking()?;
    wait(|| two.counts().running == 4);
    println!("one has left: two runs all four");
    second.close_blocking()?;
    Ok(())
}

/// A program would read `events()`.
fn wait(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
