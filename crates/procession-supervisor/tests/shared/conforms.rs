//! The table in memory passes the conformance suite, and stores that break a rule do not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use procession_supervisor::shared::{MemorySharedTable, conformance};

use crate::broken::{Broken, Fault};

#[test]
fn a_table_in_memory_conforms() {
    conformance::run(MemorySharedTable::new);
}

/// A suite that a broken store passes proves nothing.
#[test]
fn a_store_with_any_fault_does_not_conform() {
    assert!(!is_found(Fault::Nothing));
    let passed: Vec<Fault> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            Fault::ALL.iter().map(|fault| scope.spawn(|| (*fault, is_found(*fault)))).collect();
        let found = threads.into_iter().map(|thread| thread.join().unwrap());
        found.filter(|(_, is_found)| !is_found).map(|(fault, _)| fault).collect()
    });
    assert_eq!(passed, [], "the suite does not find these faults");
}

fn is_found(fault: Fault) -> bool {
    let run = || conformance::run(|| Broken::new(fault));
    catch_unwind(AssertUnwindSafe(run)).is_err()
}
