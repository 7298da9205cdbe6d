//! The tables in the database, and how they reach the current version.
//!
//! 1. **A schema that needs a newer program is never used.** Argument: each session checks the version when it opens
//!    ([`prepare`]), and every transaction that writes, and every renewal, checks it again ([`check`]), because a newer
//!    program may migrate the database meanwhile.
//! 2. **A migration is complete, or has not happened.** Argument: all its steps and the new version are one
//!    transaction. A program that waited for it reads the version again.
//! 3. **Tokens grow**, even if a unit was removed and put again. Argument: a claim takes a token above that of the row
//!    and above `floor`, and a trigger raises `floor` to the token of each row that is deleted, by whatever statement.
//! 4. **Ids of managers and numbers of requests never repeat.** Argument: `numbers` only grows, and each is stored in
//!    the transaction that raises it.
//! 5. **`procession_kinds` counts the units that should run.** Argument: triggers count with every statement that
//!    inserts or deletes a unit, or changes its kind or whether it should run.
//! 6. **Nothing goes back after a power failure.** Argument: with `synchronous = FULL`, a commit returns after the log
//!    is on the disk.

use std::path::Path;

use procession_supervisor::shared::TableError;
use rusqlite::{Connection, TransactionBehavior};

use crate::error::{Failure, Fault};

/// The version that this program is made for.
const SUPPORTED: u32 = MIGRATIONS.len() as u32;
/// The oldest version that may use a schema of version [`SUPPORTED`].
const OLDEST: u32 = 1;

/// `MIGRATIONS[n]` makes version `n + 1` from version `n`.
const MIGRATIONS: &[&str] = &[VERSION_1];

/// The columns `schema` and `oldest` of `procession_meta` must remain in all versions. `desired` is 0 for "run", 1 for
/// "stop", and 2 for "remove".
const VERSION_1: &str = "
CREATE TABLE procession_meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    -- The last number that was given to a manager or a request.
    numbers INTEGER NOT NULL DEFAULT 0,
    -- The greatest token of the units that were deleted.
    floor INTEGER NOT NULL DEFAULT 0,
    -- The number of changes that other managers should know of.
    changes INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO procession_meta (id, schema, oldest) VALUES (1, 0, 0);

CREATE TABLE procession_managers (
    id INTEGER PRIMARY KEY,
    -- The number of its last request, and what it asks for: how many units, and whether it has joined.
    request INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 0,
    is_joining INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL,
    is_draining INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE procession_manager_kinds (
    manager INTEGER NOT NULL,
    kind TEXT NOT NULL,
    PRIMARY KEY (manager, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX procession_manager_kinds_by_kind ON procession_manager_kinds (kind, manager);

CREATE TABLE procession_units (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    spec TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 1,
    -- The generation that the owner runs.
    running INTEGER NOT NULL DEFAULT 0,
    desired INTEGER NOT NULL DEFAULT 0,
    is_done INTEGER NOT NULL DEFAULT 0,
    is_quarantined INTEGER NOT NULL DEFAULT 0,
    owner INTEGER,
    token INTEGER NOT NULL DEFAULT 0,
    -- The greatest number of a record of the current claim.
    recorded INTEGER NOT NULL DEFAULT 0,
    is_ready INTEGER NOT NULL DEFAULT 0,
    is_steady INTEGER NOT NULL DEFAULT 0,
    starts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    -- The manager whose end was its last crash.
    crashed_with INTEGER,
    last_error TEXT,
    is_wanted INTEGER NOT NULL
        GENERATED ALWAYS AS (desired = 0 AND is_quarantined = 0 AND is_done = 0) STORED,
    has_order INTEGER NOT NULL
        GENERATED ALWAYS AS (desired <> 0 OR is_quarantined <> 0 OR generation <> running) STORED
) STRICT;
CREATE INDEX procession_units_free ON procession_units (kind, crashes)
    WHERE owner IS NULL AND is_wanted = 1;
CREATE INDEX procession_units_owned ON procession_units (owner, is_steady, crashes)
    WHERE owner IS NOT NULL;
CREATE INDEX procession_units_ordered ON procession_units (owner)
    WHERE owner IS NOT NULL AND has_order = 1;
CREATE INDEX procession_units_crashed ON procession_units (crashed_with)
    WHERE crashed_with IS NOT NULL;

-- The number of units of each kind that should run.
CREATE TABLE procession_kinds (
    kind TEXT PRIMARY KEY,
    wanted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER procession_units_insert AFTER INSERT ON procession_units WHEN new.is_wanted = 1
BEGIN
    INSERT INTO procession_kinds (kind, wanted) VALUES (new.kind, 1)
        ON CONFLICT (kind) DO UPDATE SET wanted = wanted + 1;
END;

CREATE TRIGGER procession_units_delete AFTER DELETE ON procession_units
BEGIN
    UPDATE procession_kinds SET wanted = wanted - 1 WHERE kind = old.kind AND old.is_wanted = 1;
    DELETE FROM procession_kinds WHERE kind = old.kind AND wanted = 0;
    UPDATE procession_meta SET floor = old.token WHERE floor < old.token;
END;

CREATE TRIGGER procession_units_update
AFTER UPDATE OF kind, desired, is_quarantined, is_done ON procession_units
WHEN new.kind <> old.kind OR new.is_wanted <> old.is_wanted
BEGIN
    UPDATE procession_kinds SET wanted = wanted - 1 WHERE kind = old.kind AND old.is_wanted = 1;
    INSERT INTO procession_kinds (kind, wanted) SELECT new.kind, 1 WHERE new.is_wanted = 1
        ON CONFLICT (kind) DO UPDATE SET wanted = wanted + 1;
    DELETE FROM procession_kinds WHERE kind = old.kind AND wanted = 0;
END;
";

/// Brings the database to the version of this program. Does nothing if it has that version, or a newer one that this
/// program may use.
pub(crate) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Failure> {
    if rusqlite::version_number() < 3_037_000 {
        let problem = format!("needs SQLite 3.37 or newer, not {}", rusqlite::version());
        return Err(Fault::database(path, problem).into());
    }
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        let problem = format!("has the encoding {encoding}; its keys need UTF-8 for their order");
        return Err(Fault::database(path, problem).into());
    }
    if version(connection)? >= SUPPORTED {
        return check(connection);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction)?;
    for (migration, to) in MIGRATIONS.iter().zip(1..).skip(found as usize) {
        transaction.execute_batch(migration)?;
        transaction.execute("UPDATE procession_meta SET schema = ?1, oldest = ?2", [to, OLDEST])?;
    }
    check(&transaction)?;
    Ok(transaction.commit()?)
}

/// The version of the schema; zero if the database has none.
fn version(connection: &Connection) -> Result<u32, Failure> {
    let tables =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'procession_meta'";
    if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(0);
    }
    Ok(connection.query_row("SELECT schema FROM procession_meta", [], |row| row.get(0))?)
}

/// Fails if the schema needs a newer version of this program.
pub(crate) fn check(connection: &Connection) -> Result<(), Failure> {
    let mut statement =
        connection.prepare_cached("SELECT schema, oldest FROM procession_meta WHERE id = 1")?;
    let (schema, oldest) = statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if oldest > SUPPORTED {
        return Err(TableError::Incompatible { schema, oldest, supported: SUPPORTED }.into());
    }
    Ok(())
}
