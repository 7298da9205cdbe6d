//! All names of this crate and of `procession-runnable` can be imported together.

#![cfg(not(loom))]

use procession_runnable::*;
use procession_supervisor::*;

#[test]
fn no_name_is_ambiguous() {
    let service = Service::new(nop());
    assert_eq!(service.state(), State::Initial);
    let unit = Unit::new(nop()).restart(Restart::Temporary);
    let table = MemoryTable::new();
    table.insert("unit", unit);
    let manager: Manager<&str> = Manager::builder(table).give_up(GiveUp::Unit).build();
    let both =
        parallel([manager.runnable(), Supervisor::one_for_one([("unit", nop())]).runnable()]);
    assert!(both.site().file().ends_with("globs.rs"));
}
