//! The table passes the suite that every store must pass.

use procession_supervisor::shared::{Session, SharedTable, TableError, conformance};

use crate::world::World;

/// A table with the directory of its file.
struct Temporary {
    table: procession_sqlite::SqliteSharedTable,
    _world: World,
}

impl SharedTable for Temporary {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        self.table.open()
    }
}

#[test]
fn a_table_in_a_file_conforms() {
    conformance::run(|| {
        let world = World::new();
        Temporary { table: world.table(), _world: world }
    });
}
