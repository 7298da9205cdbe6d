//! [`Pooler`]: PgBouncer, which gives each transaction another connection.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Child;

use crate::binaries::Binaries;
use crate::cluster::{new_directory, url_of, wait_until_connected, watchdog};

/// A transaction pooler in front of a server. It is stopped when it is dropped or the program ends.
#[derive(Debug)]
pub struct Pooler {
    url: String,
    watchdog: Child,
}

impl Pooler {
    /// Starts one with at most this number of connections to the server whose socket is in `server`. `None`, and a line
    /// on standard error, if PgBouncer is not installed.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub(crate) fn start(binaries: &Binaries, server: &Path, connections: u32) -> Option<Self> {
        let Some(program) = find() else {
            // Written directly, because a passed test hides what `eprintln!` writes.
            let _written = writeln!(
                std::io::stderr(),
                "skipped a test that needs a transaction pooler: install PgBouncer"
            );
            return None;
        };
        let directory = new_directory(binaries, "pgbouncer");
        let (users, settings) = (directory.join("users"), directory.join("pgbouncer.ini"));
        fs::write(&users, "\"postgres\" \"\"\n").expect("a file of users");
        let text = format!(
            "[databases]\n* = host={} user=postgres\n[pgbouncer]\nlisten_addr =\nlisten_port = 5432\n\
             unix_socket_dir = {}\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = {connections}\nmax_client_conn = 100\n",
            server.display(),
            directory.display(),
            users.display(),
        );
        fs::write(&settings, text).expect("a file of settings");
        let mut command = watchdog(binaries, &directory);
        let watchdog = command.arg(program).arg(settings).spawn().expect("a shell");
        let pooler = Self { url: url_of(&directory), watchdog };
        wait_until_connected(&pooler.url, &directory.join("log"));
        Some(pooler)
    }

    /// The URL of the pooler.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Finds it in `PATH`, or where Debian has it.
fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    directories.map(|directory| directory.join("pgbouncer")).find(|path| path.is_file())
}

impl Drop for Pooler {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        let _ended = self.watchdog.wait();
    }
}
