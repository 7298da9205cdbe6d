//! Shares, claims and orders.
//!
//! 1. A unit has one owner. Argument: a claim locks rows that have none, skips those that others have locked, and makes
//!    itself the owner in the same statement.
//! 2. Tokens grow. Argument: a claim takes a token above both that of the row and `meta.floor`. The trigger of
//!    deletions raises the floor to the token of each deleted row in the transaction that deletes it; a row with the
//!    same key can be inserted only after that, so a claim that sees the row sees the floor.
//! 3. A manager owns at most one unit on probation. Argument: the index `units_probation` is unique. If two claims of
//!    one manager race, the second one breaks it, and is repeated without such units.
//! 4. A claim waits for no unit for longer than [`PATIENCE`]. Argument: `skip locked` skips a row that is locked, but
//!    if the row has changed since the statement began, PostgreSQL follows it to its newest version, and waits for
//!    whoever has locked that. The lock timeout ends such a wait, and the claim is repeated. Its statement then begins
//!    later, so it sees the row as it is.

use postgres::Row;
use postgres::error::SqlState;
use postgres::types::Type;
use procession_supervisor::shared::{Claimed, ManagerId, Order, Ordered, Share, TableError, Token};

use super::{PostgresSession, number, unsigned};
use crate::connection::Transaction;
use crate::error::{has_code, is_duplicate};
use crate::schema;

/// How long a claim waits for a unit that has changed since its statement began, before it is repeated.
const PATIENCE: &str = "100ms";
/// How often a claim is repeated because of such units. After that, it claims nothing, and the manager looks again
/// later.
const ATTEMPTS: usize = 20;

/// Returns one row; none if the lease has ended. It counts the managers and the units of this manager. Triggers count
/// the units that should run.
pub(crate) const SHARE: &str = "\
    select \
      (select coalesce(sum( \
          case when m.is_draining then 0 else \
            k.wanted / same.count + (same.older < k.wanted % same.count)::int end), 0)::bigint \
        from {s}.kinds k, lateral (select count(*), count(*) filter (where o.id < m.id) as older \
          from {s}.managers o where o.expires_at > pg_catalog.clock_timestamp() \
            and not o.is_draining and k.kind = any(o.kinds)) same \
        where k.kind = any(m.kinds)), \
      peers.count, \
      (select count(*) from {s}.units u where u.owner = m.id), \
      m.is_draining, \
      not (m.is_draining and peers.count > 0) and ( \
        exists(select from {s}.units u \
          where {free} and crashes < 2 and u.kind = any(m.kinds)) \
        or exists(select from {s}.units u \
            where {free} and crashes >= 2 and u.kind = any(m.kinds)) \
          and not exists(select from {s}.units u \
            where u.owner = m.id and u.crashes >= 2 and not u.is_steady)), \
      (select count(*) from {s}.units u where u.owner = m.id and {ordered}), \
      exists(select from {s}.managers o where o.expires_at <= pg_catalog.clock_timestamp()), \
      {new_timeline}, \
      peers.last_request \
    from {s}.managers m, lateral (select count(*), coalesce(max(o.request) filter (where o.id <> m.id), 0) as last_request \
      from {s}.managers o \
      where o.expires_at > pg_catalog.clock_timestamp() and not o.is_draining \
        and (o.id = m.id or o.kinds && m.kinds)) peers \
    where m.id = $1 and m.expires_at > pg_catalog.clock_timestamp()";

/// Claims units: $1 is the manager, $2 its kinds, $3 the maximum, $4 whether it may take a unit on probation.
///
/// The update finds its rows by an array of keys, because for a join the planner prefers to read the whole table.
pub(crate) const CLAIM: &str = "\
    with fresh as materialized ( \
      select key from {s}.units where {free} and crashes < 2 and kind = any($2) \
      limit $3 for update skip locked), \
    suspect as materialized ( \
      select key from {s}.units where $4 and {free} and crashes >= 2 and kind = any($2) \
        and not exists(select from {s}.units own \
          where own.owner = $1 and own.crashes >= 2 and not own.is_steady) \
      limit 1 for update skip locked), \
    chosen as materialized ( \
      select key from fresh union all select key from suspect limit $3) \
    update {s}.units u set \
      owner = $1, token = greatest(u.token, meta.floor) + 1, starts = u.starts + 1, \
      running = u.generation, recorded = 0, is_ready = false, is_steady = false \
    from {s}.meta \
    where u.key = any(array(select key from chosen)) and u.owner is null \
      and exists(select from {s}.managers m \
        where m.id = $1 and m.expires_at > pg_catalog.clock_timestamp()) \
    returning u.key, u.kind, u.spec, u.generation, u.token, u.starts";

pub(crate) const OWNED: &str = "\
    select u.key, u.token from {s}.managers m left join {s}.units u on u.owner = m.id \
    where m.id = $1 and m.expires_at > pg_catalog.clock_timestamp()";

/// The spec, which may be long, is read only if the unit starts again.
pub(crate) const ORDERS: &str = "\
    select u.key, u.token, u.kind, case when not stop.is_meant then u.spec end, u.generation, \
      stop.is_meant \
    from {s}.managers m \
    left join {s}.units u on u.owner = m.id and {ordered}, \
    lateral (select u.desired <> 'run' or u.is_quarantined or not u.kind = any(m.kinds)) \
      as stop(is_meant) \
    where m.id = $1 and m.expires_at > pg_catalog.clock_timestamp() order by u.key";

/// What the lock of a manager shows before a claim.
enum Locked {
    Ended,
    /// The server is on another timeline.
    NewTimeline,
    Draining,
    Kinds(Vec<String>),
}

impl PostgresSession {
    pub(super) fn share(&mut self, manager: ManagerId) -> Result<Share, TableError> {
        loop {
            let rows = self.connection.query(SHARE, &[(&number(manager), Type::INT8)])?;
            let row = rows.first().ok_or(TableError::Refused)?;
            if row.get(7) {
                schema::follow_timeline(&mut self.connection)?;
                continue;
            }
            let count = |column| usize::try_from(row.get::<_, i64>(column)).unwrap_or(0);
            let mut share = Share::default();
            share.fair = count(0);
            share.managers = count(1);
            share.last_request = unsigned(row.get(8));
            share.owned = count(2);
            share.is_draining = row.get(3);
            share.has_free = row.get(4);
            share.orders = count(5);
            share.has_dead = row.get(6);
            return Ok(share);
        }
    }

    pub(super) fn claim(
        &mut self,
        manager: ManagerId,
        max: usize,
    ) -> Result<Vec<Claimed>, TableError> {
        let (manager, max) = (number(manager), i64::try_from(max).unwrap_or(i64::MAX));
        let mut with_suspect = true;
        let mut attempts = 1..ATTEMPTS;
        loop {
            let mut is_new_timeline = false;
            let claimed = self.connection.transact(|tx| match lock(tx, manager)? {
                Locked::Ended => Err(TableError::Refused),
                Locked::NewTimeline => {
                    is_new_timeline = true;
                    Ok(Vec::new())
                }
                Locked::Draining => Ok(Vec::new()),
                Locked::Kinds(kinds) => tx.query(
                    CLAIM,
                    &[
                        (&manager, Type::INT8),
                        (&kinds, Type::TEXT_ARRAY),
                        (&max, Type::INT8),
                        (&with_suspect, Type::BOOL),
                    ],
                ),
            });
            match claimed {
                Ok(_) if is_new_timeline => schema::follow_timeline(&mut self.connection)?,
                Err(error) if with_suspect && is_duplicate(&error) => with_suspect = false,
                Err(error) if has_code(&error, &SqlState::LOCK_NOT_AVAILABLE) => {
                    if attempts.next().is_none() {
                        return Ok(Vec::new());
                    }
                }
                claimed => return Ok(claimed?.iter().map(show).collect()),
            }
        }
    }

    pub(super) fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError> {
        let rows = self.connection.query(OWNED, &[(&number(manager), Type::INT8)])?;
        if rows.is_empty() {
            return Err(TableError::Refused);
        }
        // A manager without units has one row without a key.
        let unit =
            |row: &Row| Some((row.get::<_, Option<String>>(0)?, Token::new(unsigned(row.get(1)))));
        Ok(rows.iter().filter_map(unit).collect())
    }

    pub(super) fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError> {
        let rows = self.connection.query(ORDERS, &[(&number(manager), Type::INT8)])?;
        if rows.is_empty() {
            return Err(TableError::Refused);
        }
        Ok(rows.iter().filter_map(order).collect())
    }
}

/// Locks the row of a manager, so that its lease is not ended before the transaction. The statements after this one
/// wait for locks no longer than [`PATIENCE`].
fn lock(tx: &mut Transaction<'_>, manager: i64) -> Result<Locked, TableError> {
    let rows = tx.query(
        "select kinds, is_draining and exists(select from {s}.managers o \
           where o.expires_at > pg_catalog.clock_timestamp() and not o.is_draining \
             and o.kinds && m.kinds), {new_timeline}, \
           pg_catalog.set_config('lock_timeout', $2, true) \
         from {s}.managers m \
         where id = $1 and expires_at > pg_catalog.clock_timestamp() for key share of m",
        &[(&manager, Type::INT8), (&PATIENCE, Type::TEXT)],
    )?;
    Ok(match rows.first() {
        None => Locked::Ended,
        Some(row) if row.get(2) => Locked::NewTimeline,
        Some(row) if row.get(1) => Locked::Draining,
        Some(row) => Locked::Kinds(row.get(0)),
    })
}

fn show(row: &Row) -> Claimed {
    let [key, kind, spec] = [0, 1, 2].map(|column| row.get::<_, &str>(column));
    let mut claimed = Claimed::new(key, kind, spec, Token::new(unsigned(row.get(4))));
    claimed.generation = unsigned(row.get(3));
    claimed.starts = unsigned(row.get(5));
    claimed
}

/// The order of a row; none if the manager has no order.
fn order(row: &Row) -> Option<Order> {
    let key: Option<&str> = row.get(0);
    let what = if row.get::<_, Option<bool>>(5)? {
        Ordered::Stop
    } else {
        let (kind, spec, generation) = (row.get(2), row.get(3), unsigned(row.get(4)));
        Ordered::Restart { kind, spec, generation }
    };
    Some(Order::new(key?, Token::new(unsigned(row.get(1))), what))
}
