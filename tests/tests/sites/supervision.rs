//! Managers, sets and shared managers.

use std::collections::HashSet;
use std::sync::mpsc;

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{Runnable, Start, body, body_thread, run_in};
use procession_supervisor::shared::{Claim, MemorySharedTable, SharedManager, Units};
use procession_supervisor::{Manager, MemoryTable, Supervisor, Unit};
use procession_tests::LIMIT;

use super::{Labels, assert_made_here, wait_for, wait_until};

fn stays() -> Runnable {
    body(|run| async move {
        run.ready();
        run.closing().await;
    })
}

#[test]
fn sites_of_managers_and_sets() {
    let _labels = Labels::watch();
    let table = MemoryTable::new();
    table.insert("unit", Unit::new(stays()));
    let manager = Manager::new(table);
    let app = Process::new();
    let run = manager.runnable().start(Start::under(&app).0).unwrap();
    wait_for(&app, 4);
    assert_made_here(&app, 4);
    run.close_blocking().unwrap();
    let of_body = |p: &Process| assert_made_here(p, 1);
    manager
        .run_blocking(|p| {
            of_body(&p);
            assert_made_here(&manager.get(&"unit").unwrap(), 1);
        })
        .unwrap();

    let units = || [("one", stays()), ("other", stays())];
    let sets = [
        Supervisor::one_for_one(units()),
        Supervisor::one_for_all(units()),
        Supervisor::rest_for_one(units()),
    ];
    for set in sets {
        let above = app.clone();
        block_on(run_in(&app, &set.runnable(), |_| async move {
            assert_made_here(&above, 9);
            procession::ok()
        }))
        .unwrap();
    }
    app.close_blocking().unwrap();
}

/// The helpers that start many units at once live only for a moment, so a hook sees them.
#[test]
fn sites_of_the_helpers_of_a_manager() {
    let _labels = Labels::watch();
    let table = MemoryTable::new();
    (0..1000).for_each(|key| drop(table.insert(key, Unit::new(stays()))));
    let manager = Manager::new(table);
    let app = Process::new();
    let (see, seen) = mpsc::channel();
    app.on_event(move |event| see.send((event.name().map(str::to_owned), event.site())).unwrap());
    block_on(run_in(&app, &manager.runnable(), |_| async { assert_made_here(&app, 1000) }))
        .unwrap();
    app.close_blocking().unwrap();
    let seen: HashSet<_> = seen.iter().collect();
    assert!(seen.iter().any(|(name, _)| name.as_deref() == Some("starter")), "{seen:?}");
    assert!(seen.iter().all(|(_, site)| site.file() == file!()), "{seen:?}");
}

/// The leases are processes too.
#[test]
fn sites_of_shared_managers_and_leases() {
    let _labels = Labels::watch();
    let table = MemorySharedTable::new();
    let units = Units::new(table.clone());
    units.put("one", "unit", "").wait().unwrap();
    let waits = |claim: &Claim| {
        let lease = claim.lease().clone();
        let unit = body_thread(move |run| {
            run.ready();
            lease.lost().wait();
        });
        Ok(Unit::new(unit))
    };
    let manager = SharedManager::new(table.clone(), waits);
    let app = Process::new();
    let run = manager.runnable().start(Start::under(&app).0).unwrap();
    wait_for(&app, 5);
    wait_until(&app, || units.get("one").wait().unwrap().unwrap().is_ready);
    assert_made_here(&app, 5);
    // Nobody else could run the unit.
    block_on(manager.hand_over()).unwrap_err();
    units.expire(units.managers().wait().unwrap()[0].manager).wait().unwrap();
    run.close();
    assert!(run.closed().wait_timeout(LIMIT).is_some());
    app.close_blocking().unwrap();

    let manager = SharedManager::new(table, |_| Ok(Unit::new(stays())));
    manager.run_blocking(|p| assert_made_here(&p, 1)).unwrap();
    block_on(manager.run(|p| async move { assert_made_here(&p, 1) })).unwrap();
}
