//! What managers write about their units: records and releases.
//!
//! One transaction performs any number of writes: it locks their rows, works out here what they become, and writes
//! them back.
//!
//! 1. Writes are fenced. Argument: the lock returns the newest version of each row, and nobody changes it until the
//!    transaction ends. A write is performed only if that version has its token and an owner whose lease has not ended.
//!    While a row names an owner, nobody has ended the owner's lease (see the parent module).
//! 2. Writes to one unit are performed in their order, because all of them change the same [`State`].

use std::collections::BTreeMap;

use postgres::Row;
use postgres::types::Type;
use procession_supervisor::shared::{Record, TableError, Token, Write, Written};

use super::{PostgresSession, Transaction, signed};

/// Locks the rows of $1, in the order of their keys.
pub(crate) const LOCK: &str = "\
    select key, token, \
      owner is not null and exists(select from {s}.managers m \
        where m.id = u.owner and m.expires_at > pg_catalog.clock_timestamp()), \
      generation, running, desired = 'remove', is_done, is_quarantined, is_ready, is_steady, \
      failures, crashes, crashed_with \
    from {s}.units u where key = any(array(select unnest($1::text[]))) \
    order by key for no key update of u";

const WRITE_BACK: &str = "\
    with changed as ( \
      update {s}.units u set \
        owner = case when n.is_owned then u.owner end, \
        running = n.running, is_done = n.is_done, is_quarantined = n.is_quarantined, \
        is_ready = n.is_ready, is_steady = n.is_steady, \
        failures = n.failures, crashes = n.crashes, crashed_with = n.crashed_with, \
        last_error = coalesce(n.last_error, u.last_error) \
      from unnest($1::text[], $2::bool[], $3::bigint[], $4::bool[], $5::bool[], $6::bool[], \
        $7::bool[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[]) \
        as n(key, is_owned, running, is_done, is_quarantined, is_ready, is_steady, \
          failures, crashes, crashed_with, last_error) \
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
    /// The error of the last record that had one.
    error: Option<String>,
    is_changed: bool,
}

impl PostgresSession {
    pub(super) fn write_one(
        &mut self,
        key: &str,
        token: Token,
        what: Written,
    ) -> Result<(), TableError> {
        let written = self.write(&[Write { key: key.to_owned(), token, what }])?;
        if written == [true] { Ok(()) } else { Err(TableError::Refused) }
    }

    pub(super) fn write(&mut self, writes: &[Write]) -> Result<Vec<bool>, TableError> {
        // A key with a NUL character is that of no unit.
        let keys = writes.iter().map(|write| write.key.as_str());
        let keys: Vec<&str> = keys.filter(|key| !key.contains('\0')).collect();
        if keys.is_empty() {
            return Ok(vec![false; writes.len()]);
        }
        self.transact(|tx| {
            let rows = tx.query(LOCK, &[(&keys, Type::TEXT_ARRAY)])?;
            let mut states: BTreeMap<&str, State> =
                rows.iter().map(|row| (row.get(0), State::read(row))).collect();
            let perform = |write: &Write| {
                states.get_mut(write.key.as_str()).is_some_and(|state| state.perform(write))
            };
            let performed = writes.iter().map(perform).collect();
            states.retain(|_, state| state.is_changed);
            write_back(tx, &states)?;
            Ok(performed)
        })
    }
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
            error: None,
            is_changed: false,
        }
    }

    /// Performs a write, and returns whether it was permitted.
    fn perform(&mut self, write: &Write) -> bool {
        let is_current = i64::try_from(write.token.get()) == Ok(self.token) && self.is_owned;
        if is_current {
            self.is_changed = true;
            match &write.what {
                Written::Record(record) => self.record(record),
                Written::Release => {
                    self.is_owned = false;
                    self.begin();
                }
            }
        }
        is_current
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
