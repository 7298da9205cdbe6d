//! [`SharedManager`]s over the table.

use std::sync::mpsc;
use std::thread;

use procession_postgres::PostgresSharedTable;
use procession_runnable::body;
use procession_supervisor::Unit;
use procession_supervisor::shared::{Lease, SharedManager};
use procession_test_postgres::server;

use crate::support::{LIMIT, builder, client, name, open};

fn manager(table: &PostgresSharedTable, leases: &mpsc::Sender<Lease>) -> SharedManager {
    let leases = leases.clone();
    // They look at the table only when they are woken.
    SharedManager::builder(table.clone()).poll_every(LIMIT * 2).build(move |claim| {
        leases.send(claim.lease().clone()).unwrap();
        Ok(Unit::new(body(|run| async move {
            run.ready();
            run.closing().await;
        })))
    })
}

/// A unit is claimed, guarded, and moves to another manager when the first one stops.
#[test]
fn units_move_between_managers() {
    let Some(url) = server() else { return };
    for is_poll_only in [false, true] {
        units_move(url, is_poll_only);
    }
}

pub(crate) fn units_move(url: &str, is_poll_only: bool) {
    let builder = builder(url);
    let builder = if is_poll_only { builder.poll_only() } else { builder };
    let table = builder.build().unwrap();
    let (sender, leases) = mpsc::channel();
    let guard = |lease: &Lease| {
        let mut client = client(url);
        table.guard(lease, &mut client.transaction().unwrap())
    };
    let (one, other) = (manager(&table, &sender), manager(&table, &sender));
    let first = thread::scope(|scope| {
        let (begun, stop) = (mpsc::channel(), mpsc::channel::<()>());
        let runs = scope.spawn(move || {
            one.run_blocking(|_| {
                begun.0.send(()).unwrap();
                let _stopped = stop.1.recv();
            })
        });
        begun.1.recv().unwrap();
        open(&table).put("k", "unit", "1").unwrap();
        let first = leases.recv_timeout(LIMIT).unwrap();
        assert_eq!(name(&guard(&first)), "ok");
        drop(stop.0);
        runs.join().unwrap().unwrap();
        first
    });
    assert_eq!(name(&guard(&first)), "refused");
    other
        .run_blocking(|_| {
            let second = leases.recv_timeout(LIMIT).unwrap();
            assert!(second.token() > first.token());
            assert_eq!(name(&guard(&second)), "ok");
        })
        .unwrap();
}
