//! PostgreSQL servers for tests.
//!
//! [`server`] is one that all tests of a program share: that of the environment variable `PROCESSION_POSTGRES_URL`, or
//! a [`Cluster`] of the program's own, made with the binaries that are installed. [`Cluster::start`] is for tests that
//! stop or fill the server.
//!
//! A cluster ends with the program, even if the program is killed: the server's parent is a shell that waits until the
//! pipe from the program is closed, then stops the server and removes its files.
#![cfg(unix)]

mod binaries;
mod cluster;
mod pooler;

use std::env;
use std::io::Write;
use std::sync::OnceLock;

pub use self::binaries::Binaries;
pub use self::cluster::Cluster;
pub use self::pooler::Pooler;

/// Fails instead of skipping tests if it is set.
const REQUIRE: &str = "PROCESSION_REQUIRE_POSTGRES";
/// The URL of a server to use.
const URL: &str = "PROCESSION_POSTGRES_URL";

/// The installed binaries of a server. `None`, and a line on standard error, if there are none; tests that need them
/// should pass then.
///
/// # Panics
///
/// If there are none, and `PROCESSION_REQUIRE_POSTGRES` is set.
pub fn binaries() -> Option<&'static Binaries> {
    static FOUND: OnceLock<Option<Binaries>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let found = Binaries::find();
        if found.is_none() && env::var_os(REQUIRE).is_none() {
            // Written directly, because a passed test hides what `eprintln!` writes.
            let _written = writeln!(
                std::io::stderr(),
                "skipped the tests that need PostgreSQL: install its server, or set {URL} to the URL of one",
            );
        }
        found
    });
    assert!(
        found.is_some() || env::var_os(REQUIRE).is_none(),
        "{REQUIRE} is set, but no PostgreSQL server is installed"
    );
    found.as_ref()
}

/// The URL of the server that all tests of this program share. `None` as for `binaries`.
///
/// # Panics
///
/// As `binaries`, and if the server does not start.
pub fn server() -> Option<&'static str> {
    static SERVER: OnceLock<Option<(String, Option<Cluster>)>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        if let Ok(url) = env::var(URL) {
            return Some((url, None));
        }
        let cluster = Cluster::start(binaries()?, &["fsync=off"]);
        Some((cluster.url().to_owned(), Some(cluster)))
    });
    server.as_ref().map(|(url, _)| url.as_str())
}
