//! The calls of operators, and reading the table. Each is one statement.

use std::collections::BTreeSet;
use std::time::Duration;

use postgres::Row;
use postgres::types::Type;
use procession_supervisor::shared::{Desired, ManagerId, ManagerRow, TableError, Token, UnitRow};

use super::{PostgresSession, unsigned};

/// The length of the longest key and kind that fit in an index, in bytes.
const LONGEST: usize = 2600;
/// The length of the longest spec: a quarter of what PostgreSQL can keep in a row.
const LONGEST_SPEC: usize = 256 << 20;

const UNIT: &str = "key, kind, spec, generation, desired, is_done, is_quarantined, owner, token, \
                    is_ready, is_steady, starts, failures, crashes, last_error";

/// Returns an error if the table cannot keep this text.
pub(super) fn check(what: &str, text: &str, longest: usize) -> Result<(), TableError> {
    let reason = if text.contains('\0') {
        format!("the {what} contains a NUL character, which PostgreSQL cannot keep")
    } else if text.len() > longest {
        format!("the {what} is longer than {longest} bytes")
    } else {
        return Ok(());
    };
    Err(TableError::Invalid { reason })
}

/// The kinds of a manager, sorted.
pub(super) fn check_kinds(kinds: &[String]) -> Result<Vec<&str>, TableError> {
    for kind in kinds {
        check("kind", kind, LONGEST)?;
    }
    let sorted: BTreeSet<&str> = kinds.iter().map(String::as_str).collect();
    Ok(sorted.into_iter().collect())
}

impl PostgresSession {
    pub(super) fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError> {
        check("key", key, LONGEST)?;
        check("kind", kind, LONGEST)?;
        check("spec", spec, LONGEST_SPEC)?;
        // Programs put the same units each time they start: that writes nothing, and waits for nobody.
        let rows = self.connection.query(
            "with same as materialized ( \
               select generation from {s}.units \
               where key = $1 and kind = $2 and spec = $3 and desired <> 'remove'), \
             put as ( \
               insert into {s}.units as u (key, kind, spec) \
               select $1, $2, $3 where not exists(select from same) \
               on conflict (key) do update set \
                 desired = case u.desired when 'remove' then 'run' else u.desired end, \
                 kind = excluded.kind, \
                 spec = excluded.spec, \
                 generation = u.generation \
                   + ((u.kind, u.spec) is distinct from (excluded.kind, excluded.spec))::int, \
                 is_quarantined = u.is_quarantined \
                   and (u.kind, u.spec) is not distinct from (excluded.kind, excluded.spec), \
                 is_done = u.is_done \
                   and (u.kind, u.spec) is not distinct from (excluded.kind, excluded.spec), \
                 failures = case when (u.kind, u.spec) \
                   is distinct from (excluded.kind, excluded.spec) then 0 else u.failures end, \
                 crashes = case when (u.kind, u.spec) \
                   is distinct from (excluded.kind, excluded.spec) then 0 else u.crashes end, \
                 crashed_with = case when (u.kind, u.spec) \
                   is distinct from (excluded.kind, excluded.spec) then null else u.crashed_with end \
               returning generation) \
             select generation, null from same \
             union all select generation, {s}.changed()::text from put",
            &[(&key, Type::TEXT), (&kind, Type::TEXT), (&spec, Type::TEXT)],
        )?;
        Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
    }

    pub(super) fn want_run(&mut self, key: &str) -> Result<(), TableError> {
        self.change(
            key,
            "desired = 'run', is_done = false, failures = 0, crashes = 0, crashed_with = null",
        )
    }

    pub(super) fn want_stop(&mut self, key: &str) -> Result<(), TableError> {
        self.change(key, "desired = 'stop'")
    }

    pub(super) fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError> {
        self.change(key, "is_quarantined = false, failures = 0, crashes = 0, crashed_with = null")
    }

    /// Changes the row of a unit.
    fn change(&mut self, key: &str, set: &str) -> Result<(), TableError> {
        self.change_by(
            key,
            &format!(
                "with hit as (update {{s}}.units set {set} where key = $1 returning 1) \
                 select {{s}}.changed() from hit"
            ),
        )
    }

    pub(super) fn remove(&mut self, key: &str) -> Result<(), TableError> {
        // The two writes never meet the same row, because the lock keeps its owner as it is.
        self.change_by(
            key,
            "with hit as materialized ( \
               select key, owner is null as is_free from {s}.units where key = $1 for update), \
             gone as ( \
               delete from {s}.units u using hit where u.key = hit.key and hit.is_free), \
             marked as ( \
               update {s}.units u set desired = 'remove' from hit \
               where u.key = hit.key and not hit.is_free) \
             select {s}.changed() from hit",
        )
    }

    /// Performs a statement that returns no row if there is no such unit.
    fn change_by(&mut self, key: &str, statement: &str) -> Result<(), TableError> {
        let not_found = || TableError::NotFound { key: key.to_owned() };
        if key.contains('\0') {
            return Err(not_found());
        }
        let rows = self.connection.query(statement, &[(&key, Type::TEXT)])?;
        if rows.is_empty() { Err(not_found()) } else { Ok(()) }
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError> {
        if key.contains('\0') {
            return Ok(None);
        }
        let statement = format!("select {UNIT} from {{s}}.units where key = $1");
        let rows = self.connection.query(&statement, &[(&key, Type::TEXT)])?;
        Ok(rows.first().map(unit))
    }

    pub(super) fn scan(
        &mut self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<UnitRow>, TableError> {
        // No key contains a NUL character. So those after this one are those after its part before the first NUL.
        let after = after.and_then(|after| after.split('\0').next());
        let condition = if after.is_some() { "key > $1" } else { "$1 is null" };
        let statement =
            format!("select {UNIT} from {{s}}.units where {condition} order by key limit $2");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows =
            self.connection.query(&statement, &[(&after, Type::TEXT), (&limit, Type::INT8)])?;
        Ok(rows.iter().map(unit).collect())
    }

    pub(super) fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError> {
        let rows = self.connection.query(
            "select id, name, kinds, is_draining, \
               (select count(*) from {s}.units u where u.owner = m.id), \
               (extract(epoch from expires_at - pg_catalog.clock_timestamp()) * 1000)::bigint \
             from {s}.managers m where expires_at > pg_catalog.clock_timestamp() order by id",
            &[],
        )?;
        let manager = |row: &Row| {
            let id = ManagerId::new(unsigned(row.get(0)));
            let mut manager = ManagerRow::new(id, row.get::<_, &str>(1), row.get(2));
            manager.is_draining = row.get(3);
            manager.units = usize::try_from(row.get::<_, i64>(4)).unwrap_or(0);
            manager.remaining = Some(Duration::from_millis(unsigned(row.get(5))));
            manager
        };
        Ok(rows.iter().map(manager).collect())
    }
}

fn unit(row: &Row) -> UnitRow {
    let small = |column: usize| u32::try_from(row.get::<_, i64>(column)).unwrap_or(u32::MAX);
    let [key, kind, spec, desired] = [0, 1, 2, 4].map(|column| row.get::<_, &str>(column));
    let mut unit = UnitRow::new(key, kind, spec);
    unit.generation = unsigned(row.get(3));
    unit.desired = match desired {
        "stop" => Desired::Stop,
        "remove" => Desired::Remove,
        _ => Desired::Run,
    };
    unit.is_done = row.get(5);
    unit.is_quarantined = row.get(6);
    unit.owner = row.get::<_, Option<i64>>(7).map(|owner| ManagerId::new(unsigned(owner)));
    unit.token = Token::new(unsigned(row.get(8)));
    unit.is_ready = row.get(9);
    unit.is_steady = row.get(10);
    unit.starts = unsigned(row.get(11));
    unit.failures = small(12);
    unit.crashes = small(13);
    unit.last_error = row.get(14);
    unit
}
