//! Shared tables in memory pass the conformance suite.

#![cfg(not(loom))]

use procession_supervisor::shared::{MemorySharedTable, conformance};

#[test]
fn a_table_in_memory_conforms() {
    conformance::run(MemorySharedTable::new);
}
