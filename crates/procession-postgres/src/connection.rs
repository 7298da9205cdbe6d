//! [`Connection`]: a connection to the table, its statements and its transactions.

use std::sync::Arc;

use postgres::types::{ToSql, Type};
use postgres::{Client, IsolationLevel, Row};
use procession_supervisor::shared::TableError;

use crate::about::About;
use crate::error::{failed, is_conflict};
use crate::names::Names;

/// How often a transaction is repeated after a conflict.
const ATTEMPTS: usize = 4;

/// A crash of the server must lose no claim, or its token would be given again, and no release. So commits wait for the
/// disk, even if the administrator does not want them to.
const DURABLE: &str = "select pg_catalog.set_config('synchronous_commit', 'local', true) \
                       where pg_catalog.current_setting('synchronous_commit') = 'off'";

/// A connection to the table.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) about: Arc<About>,
    /// The server tells its timeline.
    pub(crate) sees_timeline: bool,
}

/// A transaction, at the isolation level read committed.
pub(crate) struct Transaction<'a> {
    inner: postgres::Transaction<'a>,
    about: &'a About,
    sees_timeline: bool,
}

/// A parameter of a statement. With its type, a statement takes one round trip and leaves nothing prepared, so that
/// transaction poolers work.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Connection {
    pub(crate) fn new(client: Client, about: Arc<About>) -> Self {
        Self { client, about, sees_timeline: false }
    }

    /// Lets all later commits wait for the disk. Behind a pooler, each transaction does that itself.
    pub(crate) fn make_durable(&mut self) -> Result<(), TableError> {
        if self.about.is_poll_only {
            return Ok(());
        }
        self.client.batch_execute(&DURABLE.replace(", true)", ", false)")).map_err(failed)
    }

    /// Performs a statement. After a conflict with another transaction, repeats it.
    pub(crate) fn query(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, TableError> {
        let statement = self.about.names.sql(statement, self.sees_timeline);
        repeat(|| self.client.query_typed(&statement, parameters).map_err(failed))
    }

    /// Performs a transaction. After a conflict with another one, repeats it.
    pub(crate) fn transact<R>(
        &mut self,
        mut perform: impl FnMut(&mut Transaction<'_>) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        repeat(|| self.attempt(&mut perform))
    }

    fn attempt<R>(
        &mut self,
        perform: impl FnOnce(&mut Transaction<'_>) -> Result<R, TableError>,
    ) -> Result<R, TableError> {
        let level = IsolationLevel::ReadCommitted;
        let inner = self.client.build_transaction().isolation_level(level).start();
        let inner = inner.map_err(failed)?;
        let (about, sees_timeline) = (&*self.about, self.sees_timeline);
        let mut tx = Transaction { inner, about, sees_timeline };
        if about.is_poll_only {
            let timeout = about.statement_timeout;
            let lock = timeout * 4 / 5;
            tx.batch(&format!(
                "set local statement_timeout = {0}; set local lock_timeout = {1}; \
                 set local idle_in_transaction_session_timeout = {0}; {DURABLE}",
                timeout.as_millis(),
                lock.as_millis().max(1),
            ))?;
        }
        // If it fails, dropping the transaction rolls it back.
        let result = perform(&mut tx)?;
        tx.inner.commit().map_err(failed)?;
        Ok(result)
    }
}

/// Performs a transaction that has changed nothing if it fails because of a conflict.
fn repeat<R>(mut perform: impl FnMut() -> Result<R, TableError>) -> Result<R, TableError> {
    let mut attempts = 1..ATTEMPTS;
    loop {
        match perform() {
            Err(error) if is_conflict(&error) && attempts.next().is_some() => {}
            result => return result,
        }
    }
}

impl Transaction<'_> {
    pub(crate) fn names(&self) -> &Names {
        &self.about.names
    }

    pub(crate) fn query(
        &mut self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, TableError> {
        let statement = self.about.names.sql(statement, self.sees_timeline);
        self.inner.query_typed(&statement, parameters).map_err(failed)
    }

    /// Performs several statements without parameters.
    pub(crate) fn batch(&mut self, statements: &str) -> Result<(), TableError> {
        let statements = self.about.names.sql(statements, self.sees_timeline);
        self.inner.batch_execute(&statements).map_err(failed)
    }
}
