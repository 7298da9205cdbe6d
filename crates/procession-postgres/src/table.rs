//! [`PostgresSharedTable`]: where the table is, and how sessions connect to it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::{Client, Config, NoTls, Socket, Transaction};
use procession_supervisor::shared::{Lease, Session, SharedTable, TableError, Token};

use crate::about::About;
use crate::error::failed;
use crate::guard;
use crate::names::Names;
use crate::session::PostgresSession;

/// A third of the default time to live of a lease.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

type Connect = dyn Fn(&Config) -> Result<Client, postgres::Error> + Send + Sync;

/// A shared table in a PostgreSQL database. Clones are the same table.
///
/// All its tables are in one schema, which the first session creates. Nothing connects before a session is opened.
///
/// # Blocking
///
/// A session owns an executor, so it cannot be opened or used in async code: use a thread or `spawn_blocking`. A
/// [`SharedManager`](procession_supervisor::shared::SharedManager) opens its sessions on threads of its own.
#[derive(Clone)]
pub struct PostgresSharedTable {
    about: Arc<About>,
    connect: Arc<Connect>,
}

/// Configures a [`PostgresSharedTable`]: see [`PostgresSharedTable::builder`].
///
/// | setting | default | |
/// |---|---|---|
/// | [`schema`](Self::schema) | `procession` | the schema of the tables |
/// | [`tls`](Self::tls) | none | how connections are encrypted |
/// | [`poll_only`](Self::poll_only) | off | for transaction poolers |
/// | [`statement_timeout`](Self::statement_timeout) | 5 s | how long the server works on one statement |
/// | `connect_timeout` of the server | the statement timeout | |
/// | `tcp_user_timeout` of the server | the statement timeout | how long sent data may remain unacknowledged |
/// | `keepalives_idle`, `_interval`, `_retries` of the server | 5 s, 2 s, 2 | |
/// | `application_name` of the server | `procession` | |
///
/// The settings of the server are those of its URL or its [`Config`]. All timeouts should be at most a third of the
/// time to live of the managers' leases, so a renewal that fails can be repeated before the lease ends.
#[must_use = "a builder does nothing unless `build` is called"]
pub struct Builder {
    server: Result<Config, postgres::Error>,
    schema: String,
    connect: Option<Arc<Connect>>,
    is_poll_only: bool,
    statement_timeout: Duration,
}

/// Where the database is: made from a URL, a connection string or a [`Config`].
pub struct Server(Result<Config, postgres::Error>);

/// Why a [`PostgresSharedTable`] could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL cannot be parsed.
    #[error("invalid PostgreSQL URL")]
    Url(#[source] postgres::Error),
    /// The URL names no host.
    #[error("the PostgreSQL URL names no host: add one, such as postgres://host/database")]
    NoHost,
    /// The URL has `sslmode=require`, but there is no connector.
    #[error("the PostgreSQL URL requires TLS: set a connector with `tls`")]
    NoTls,
    /// The name of the schema is invalid.
    #[error("invalid schema name: it {reason}")]
    Schema {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The statement timeout is zero, or longer than 24 days.
    #[error("the statement timeout must be between 1 ms and 24 days")]
    StatementTimeout,
}

impl PostgresSharedTable {
    /// Configures a table in the database at `server`: a URL such as `postgres://user:password@host/database`, a
    /// connection string, or a [`Config`].
    pub fn builder(server: impl Into<Server>) -> Builder {
        Builder {
            server: server.into().0,
            schema: "procession".to_owned(),
            connect: None,
            is_poll_only: false,
            statement_timeout: STATEMENT_TIMEOUT,
        }
    }

    /// Makes a transaction of the same database conditional on a lease: after this, it can be committed only before
    /// another manager claims the unit. Call it first in the transaction.
    ///
    /// **Keep the transaction short.** Until it ends, nobody can take the unit over, the manager cannot record what
    /// happens to the unit or give it back, and an operator's change of the unit waits. Other units are not delayed. A
    /// client that forgets to end a transaction would hold the unit for ever, so set
    /// `idle_in_transaction_session_timeout` for your own connections, for example to 10 s.
    ///
    /// # Errors
    ///
    /// [`TableError::Refused`] if the lease has ended: roll the transaction back at once, because it may still hold up
    /// the next claim. Otherwise, an error of the database.
    pub fn guard(
        &self,
        lease: &Lease,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), TableError> {
        self.guard_claim(lease.key(), lease.token(), transaction)
    }

    /// [`guard`](Self::guard) for the claim of a unit, if there is no [`Lease`] at hand.
    ///
    /// # Errors
    ///
    /// Those of [`guard`](Self::guard).
    pub fn guard_claim(
        &self,
        key: &str,
        token: Token,
        transaction: &mut Transaction<'_>,
    ) -> Result<(), TableError> {
        guard::guard(&self.about.names, key, token, transaction)
    }
}

impl SharedTable for PostgresSharedTable {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        let client = (self.connect)(&self.about.config).map_err(failed)?;
        Ok(Box::new(PostgresSession::open(client, self.about.clone())?))
    }

    fn guard_sql(&self) -> Option<String> {
        Some(guard::sql(&self.about.names))
    }
}

impl fmt::Debug for PostgresSharedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the whole configuration: it may contain a password.
        f.debug_struct("PostgresSharedTable")
            .field("hosts", &self.about.config.get_hosts())
            .field("database", &self.about.config.get_dbname())
            .field("schema", &self.about.names.schema())
            .field("is_poll_only", &self.about.is_poll_only)
            .finish()
    }
}

impl Builder {
    /// Sets the schema. Tables with different schemas share nothing.
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.schema = name.into();
        self
    }

    /// Encrypts connections with this connector, such as that of the crate postgres-native-tls or postgres-openssl.
    pub fn tls<T>(mut self, connector: T) -> Self
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::TlsConnect: Send,
        T::Stream: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        self.connect = Some(Arc::new(move |config: &Config| config.connect(connector.clone())));
        self
    }

    /// Works behind a pooler that gives each transaction another connection, such as PgBouncer in transaction mode.
    ///
    /// Sessions then use neither `LISTEN` nor settings that outlast a transaction: such a pooler refuses them
    /// ("unsupported startup parameter") or applies them to other clients. Instead of being notified, a session looks
    /// for changes every 2 s. The statement timeout applies only to transactions of several statements; to set one for
    /// all, use `alter role .. set statement_timeout`.
    ///
    /// Sessions never use prepared statements, in either mode.
    pub fn poll_only(mut self) -> Self {
        self.is_poll_only = true;
        self
    }

    /// Sets how long the server works on one statement. A statement waits for a lock for at most four fifths of this
    /// time, and a transaction that is idle for this time is rolled back.
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// Makes the table.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if a setting is invalid. Nothing connects to the server yet.
    pub fn build(self) -> Result<PostgresSharedTable, BuildError> {
        let timeout = self.statement_timeout;
        let longest = Duration::from_millis(i32::MAX.unsigned_abs().into());
        if timeout < Duration::from_millis(1) || timeout > longest {
            return Err(BuildError::StatementTimeout);
        }
        let mut config = self.server.map_err(BuildError::Url)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BuildError::NoHost);
        }
        if self.connect.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(BuildError::NoTls);
        }
        let names = Names::new(self.schema).map_err(|reason| BuildError::Schema { reason })?;
        set_defaults(&mut config, timeout);
        if !self.is_poll_only {
            set_options(&mut config, timeout);
        }
        let about =
            About { config, names, is_poll_only: self.is_poll_only, statement_timeout: timeout };
        let plain: Arc<Connect> = Arc::new(|config| config.connect(NoTls));
        Ok(PostgresSharedTable { about: Arc::new(about), connect: self.connect.unwrap_or(plain) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl From<&str> for Server {
    fn from(url: &str) -> Self {
        Self(url.parse())
    }
}

impl From<String> for Server {
    fn from(url: String) -> Self {
        url.as_str().into()
    }
}

impl From<&String> for Server {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<Config> for Server {
    fn from(config: Config) -> Self {
        Self(Ok(config))
    }
}

/// Sets what the user did not set.
fn set_defaults(config: &mut Config, timeout: Duration) {
    if config.get_application_name().is_none() {
        config.application_name("procession");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(timeout);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(timeout);
    }
    // 2 h is the default of the client library, so the user has most likely not chosen it.
    if config.get_keepalives_idle() == Duration::from_secs(2 * 60 * 60) {
        config.keepalives_idle(Duration::from_secs(5));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(2));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(2);
    }
}

/// Sets the settings of sessions. They come after those of the user, and so take precedence.
fn set_options(config: &mut Config, timeout: Duration) {
    let own = format!(
        "-c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout={} \
         -c default_transaction_isolation=read\\ committed",
        timeout.as_millis(),
        (timeout * 4 / 5).as_millis().max(1),
        timeout.as_millis(),
    );
    let options = match config.get_options() {
        Some(options) => format!("{options} {own}"),
        None => own,
    };
    config.options(&options);
}

#[cfg(test)]
mod tests {
    use super::PostgresSharedTable;

    #[test]
    fn only_sessions_of_their_own_connection_have_settings() {
        let builder = || PostgresSharedTable::builder("postgres://h/d?options=-c%20jit=off");
        let options = |table: PostgresSharedTable| {
            table.about.config.get_options().map(ToOwned::to_owned).unwrap_or_default()
        };
        let own = options(builder().build().unwrap());
        assert!(own.starts_with("-c jit=off -c statement_timeout=5000 -c lock_timeout=4000 "));
        // A transaction pooler refuses settings, so only the user's are sent.
        assert_eq!(options(builder().poll_only().build().unwrap()), "-c jit=off");
    }
}
