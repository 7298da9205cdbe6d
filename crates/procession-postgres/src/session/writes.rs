//! What managers write about their units: records and releases.
//!
//! One transaction performs any number of writes: it locks their rows, works out here what they become, and writes
//! them back.
//!
//! 1. Writes are fenced. Argument: the lock returns the newest version of each row, and nobody changes it until the
//!    transaction ends. A write is performed only if that version has its token and an owner whose lease has not ended.
//!    If that lease is ended at the same time, the units that are locked here become free later, so this comes first.
//! 2. Writes to one unit are performed in their order, because all of them change the same [`State`].
//! 3. No write waits for a unit that somebody holds, with one exception: if its row changes after the statement began
//!    and before the statement locks it, the write waits until the lock timeout of the session (see `session`).
//!    Argument: the lock skips such rows. A row that was skipped is read without a lock: if its claim is the current
//!    one, the write is not possible now. Otherwise, it is refused for good, because tokens only grow and a claim that
//!    is over does not come back.
//! 4. A write of an old claim locks nothing. Argument: only rows with the token of the write are locked.

use std::collections::{BTreeMap, HashMap};

use postgres::Row;
use postgres::types::Type;
use procession_supervisor::shared::{Record, TableError, Write, WriteResult, Written};

use super::{PostgresSession, signed};
use crate::connection::{Parameter, Transaction};

/// Locks the rows whose keys are in $1 and whose tokens are in $2, in the order of their keys. It skips rows that
/// another transaction has locked.
const LOCK: &str = "\
    select key, token, \
      owner is not null and exists(select from {s}.managers m \
        where m.id = u.owner and m.expires_at > pg_catalog.clock_timestamp()), \
      generation, running, desired = 'remove', is_done, is_quarantined, is_ready, is_steady, \
      failures, crashes, crashed_with, recorded \
    from {s}.units u \
    where key = any(array(select unnest($1::text[]))) \
      and (key, token) in (select * from unnest($1::text[], $2::bigint[])) \
    order by key for no key update of u skip locked";

/// The current claims of the units $1.
const CURRENT: &str = "\
    select u.key, u.token from {s}.units u join {s}.managers m on m.id = u.owner \
    where u.key = any(array(select unnest($1::text[]))) \
      and m.expires_at > pg_catalog.clock_timestamp()";

const WRITE_BACK: &str = "\
    with changed as ( \
      update {s}.units u set \
        owner = case when n.is_owned then u.owner end, \
        running = n.running, is_done = n.is_done, is_quarantined = n.is_quarantined, \
        is_ready = n.is_ready, is_steady = n.is_steady, \
        failures = n.failures, crashes = n.crashes, crashed_with = n.crashed_with, \
        last_error = coalesce(n.last_error, u.last_error), recorded = n.recorded \
      from unnest($1::text[], $2::bool[], $3::bigint[], $4::bool[], $5::bool[], $6::bool[], \
        $7::bool[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $13::bigint[]) \
        as n(key, is_owned, running, is_done, is_quarantined, is_ready, is_steady, \
          failures, crashes, crashed_with, last_error, recorded) \
      where u.key = n.key) \
    select {s}.changed() where $12";

/// What writes can change of a row.
struct State {
    token: i64,
    /// It has an owner whose lease has not ended.
    is_owned: bool,
    is_removed: bool,
    generation: i64,
    running: i64,
    is_done: bool,
    is_quarantined: bool,
    is_ready: bool,
    is_steady: bool,
    failures: i64,
    crashes: i64,
    crashed_with: Option<i64>,
    /// The greatest number of a record of this claim.
    recorded: i64,
    /// The error of the last record that had one.
    error: Option<String>,
    is_changed: bool,
}

impl PostgresSession {
    pub(super) fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
        // A key with a NUL character is that of no unit, and a token that does not fit is that of no claim.
        let token = |write: &Write| i64::try_from(write.token.get()).ok();
        let claims = writes.iter().filter(|write| !write.key.contains('\0'));
        let claims = claims.filter_map(|write| Some((write.key.as_str(), token(write)?)));
        let (keys, tokens): (Vec<&str>, Vec<i64>) = claims.unzip();
        if keys.is_empty() {
            return Ok(vec![WriteResult::Refused; writes.len()]);
        }
        let locked: [Parameter<'_>; 2] = [(&keys, Type::TEXT_ARRAY), (&tokens, Type::INT8_ARRAY)];
        self.connection.transact(|tx| {
            let rows = tx.query(LOCK, &locked)?;
            let mut states: BTreeMap<&str, State> =
                rows.iter().map(|row| (row.get(0), State::read(row))).collect();
            let current = current(tx, keys.iter().filter(|key| !states.contains_key(**key)))?;
            let perform = |write: &Write| match states.get_mut(write.key.as_str()) {
                Some(state) => state.perform(write),
                None if token(write)
                    .is_some_and(|token| current.get(&write.key) == Some(&token)) =>
                {
                    WriteResult::NotNow
                }
                None => WriteResult::Refused,
            };
            let results = writes.iter().map(perform).collect();
            states.retain(|_, state| state.is_changed);
            write_back(tx, &states)?;
            Ok(results)
        })
    }
}

/// The tokens of the current claims of these units.
fn current<'a>(
    tx: &mut Transaction<'_>,
    keys: impl Iterator<Item = &'a &'a str>,
) -> Result<HashMap<String, i64>, TableError> {
    let keys: Vec<&str> = keys.copied().collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = tx.query(CURRENT, &[(&keys, Type::TEXT_ARRAY)])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn write_back(tx: &mut Transaction<'_>, states: &BTreeMap<&str, State>) -> Result<(), TableError> {
    let is_gone = |state: &State| !state.is_owned && state.is_removed;
    let kept = || states.iter().filter(|(_, state)| !is_gone(state));
    let all = || kept().map(|(_, state)| state);
    let is_free = states.values().any(|state| !state.is_owned);
    let flags = |flag: fn(&State) -> bool| all().map(flag).collect::<Vec<bool>>();
    let numbers = |number: fn(&State) -> i64| all().map(number).collect::<Vec<i64>>();
    if !states.is_empty() {
        tx.query(
            WRITE_BACK,
            &[
                (&kept().map(|(key, _)| *key).collect::<Vec<_>>(), Type::TEXT_ARRAY),
                (&flags(|state| state.is_owned), Type::BOOL_ARRAY),
                (&numbers(|state| state.running), Type::INT8_ARRAY),
                (&flags(|state| state.is_done), Type::BOOL_ARRAY),
                (&flags(|state| state.is_quarantined), Type::BOOL_ARRAY),
                (&flags(|state| state.is_ready), Type::BOOL_ARRAY),
                (&flags(|state| state.is_steady), Type::BOOL_ARRAY),
                (&numbers(|state| state.failures), Type::INT8_ARRAY),
                (&numbers(|state| state.crashes), Type::INT8_ARRAY),
                (&all().map(|state| state.crashed_with).collect::<Vec<_>>(), Type::INT8_ARRAY),
                (&all().map(|state| state.error.as_deref()).collect::<Vec<_>>(), Type::TEXT_ARRAY),
                (&is_free, Type::BOOL),
                (&numbers(|state| state.recorded), Type::INT8_ARRAY),
            ],
        )?;
    }
    let gone = states.iter().filter(|(_, state)| is_gone(state));
    let gone: Vec<&str> = gone.map(|(key, _)| *key).collect();
    if !gone.is_empty() {
        tx.query("delete from {s}.units where key = any($1)", &[(&gone, Type::TEXT_ARRAY)])?;
    }
    Ok(())
}

impl State {
    fn read(row: &Row) -> Self {
        Self {
            token: row.get(1),
            is_owned: row.get(2),
            generation: row.get(3),
            running: row.get(4),
            is_removed: row.get(5),
            is_done: row.get(6),
            is_quarantined: row.get(7),
            is_ready: row.get(8),
            is_steady: row.get(9),
            failures: row.get(10),
            crashes: row.get(11),
            crashed_with: row.get(12),
            recorded: row.get(13),
            error: None,
            is_changed: false,
        }
    }

    fn perform(&mut self, write: &Write) -> WriteResult {
        if i64::try_from(write.token.get()) != Ok(self.token) || !self.is_owned {
            return WriteResult::Refused;
        }
        match &write.what {
            Written::Record(record) => {
                let number = write.number.map(signed);
                if number.is_none_or(|number| number > self.recorded) {
                    self.recorded = number.unwrap_or(self.recorded);
                    self.record(record);
                    self.is_changed = true;
                }
            }
            Written::Release => {
                self.is_owned = false;
                self.begin();
                self.is_changed = true;
            }
            // A write of a later version of the contract says nothing that this version can do.
            _ => {}
        }
        WriteResult::Done
    }

    fn record(&mut self, record: &Record) {
        match record {
            Record::Ready => self.is_ready = true,
            Record::Steady => {
                self.is_ready = true;
                self.is_steady = true;
                self.failures = 0;
                self.crashes = 0;
                self.crashed_with = None;
            }
            Record::Failed { error, limit } => {
                self.begin();
                self.failures = self.failures.saturating_add(1);
                self.is_quarantined |= self.failures >= i64::from(*limit);
                self.error = Some(error.replace('\0', "\u{fffd}"));
            }
            Record::Restarted { generation } => {
                self.begin();
                self.running = signed(*generation);
            }
            Record::Done => {
                self.is_ready = false;
                self.is_done = self.generation == self.running;
            }
            // A record of a later version of the contract says nothing that this version can keep.
            _ => {}
        }
    }

    /// No run of the unit is ready.
    fn begin(&mut self) {
        self.is_ready = false;
        self.is_steady = false;
    }
}
