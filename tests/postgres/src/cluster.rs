//! [`Cluster`]: a PostgreSQL server in a temporary directory.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

use crate::binaries::Binaries;
use crate::pooler::Pooler;

const LIMIT: Duration = Duration::from_secs(60);

/// The parent of the server. $1 is the directory; the command of the server follows. It ends with the line `keep`,
/// which keeps the directory, or with the end of its standard input.
const WATCHDOG: &str = r#"
directory=$1; shift
"$@" >> "$directory/log" 2>&1 < /dev/null &
server=$!
read -r word
kill -INT "$server"
wait "$server"
[ "$word" = keep ] || rm -rf "$directory"
"#;

/// A server of one test. It is stopped, and its files are removed, when it is dropped or the program ends.
#[derive(Debug)]
pub struct Cluster {
    binaries: &'static Binaries,
    directory: PathBuf,
    url: String,
    settings: Vec<String>,
    watchdog: Option<Child>,
}

impl Cluster {
    /// Makes a server with these settings (`name=value`), and waits until it accepts connections. Anybody on this
    /// machine may connect as `postgres`.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(binaries: &'static Binaries, settings: &[&str]) -> Self {
        let mut cluster = Self::new(binaries, settings);
        let mut initdb = binaries.command("initdb");
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        run(initdb.arg("-D").arg(cluster.data()));
        cluster.resume();
        cluster
    }

    /// Makes a standby of this server, which follows it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn standby(&self) -> Self {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let mut standby = Self::new(self.binaries, &settings);
        let mut backup = self.binaries.command("pg_basebackup");
        backup.args(["-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        run(backup.arg("-h").arg(&self.directory).arg("-D").arg(standby.data()));
        standby.resume();
        standby
    }

    fn new(binaries: &'static Binaries, settings: &[&str]) -> Self {
        let directory = new_directory(binaries, "postgres");
        let url = url_of(&directory);
        let settings = settings.iter().map(ToString::to_string).collect();
        Self { binaries, directory, url, settings, watchdog: None }
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the file that the server logs to.
    pub fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Stops the server, and keeps its files.
    ///
    /// # Panics
    ///
    /// If it does not stop.
    pub fn stop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            let mut input = watchdog.stdin.take().expect("the watchdog has an input");
            input.write_all(b"keep\n").expect("the watchdog runs");
            watchdog.wait().expect("the watchdog ends");
        }
    }

    /// Starts a server that was stopped, and waits until it accepts connections.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn resume(&mut self) {
        let mut command = watchdog(self.binaries, &self.directory);
        command.arg(self.binaries.path("postgres")).arg("-D").arg(self.data());
        command.args(["-c", "listen_addresses=", "-c", "max_connections=300"]);
        command.arg("-k").arg(&self.directory);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.watchdog = Some(command.spawn().expect("a shell"));
        wait_until_connected(&self.url, &self.log());
    }

    /// Starts a transaction pooler with at most this number of connections to the server. `None`, and a line on
    /// standard error, if PgBouncer is not installed.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn pooler(&self, connections: u32) -> Option<Pooler> {
        Pooler::start(self.binaries, &self.directory, connections)
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match self.watchdog.take() {
            Some(mut watchdog) => {
                drop(watchdog.stdin.take());
                let _ended = watchdog.wait();
            }
            None => remove(&self.directory),
        }
    }
}

/// A directory that belongs to the user of the server.
pub(crate) fn new_directory(binaries: &Binaries, what: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("procession-{what}-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    // Removes the directory of an earlier program with the same id.
    remove(&directory);
    fs::create_dir_all(&directory).expect("a directory for the server");
    if let Some((user, group)) = binaries.user {
        chown(&directory, Some(user), Some(group)).expect("a directory of the server's user");
    }
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&directory, mode).expect("a directory for the socket");
    directory
}

/// The URL of a server whose socket is in this directory.
pub(crate) fn url_of(directory: &Path) -> String {
    let host = directory.to_str().expect("a temporary directory in UTF-8").replace('/', "%2F");
    format!("postgres://postgres@{host}/postgres")
}

/// A command that runs the program whose path and arguments follow, until its standard input is closed. Then it stops
/// the program and removes the directory.
pub(crate) fn watchdog(binaries: &Binaries, directory: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    binaries.as_user(&mut command);
    command.args(["-c", WATCHDOG, "watchdog"]).arg(directory);
    // A signal of the terminal must not end it before it has removed the files.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn wait_until_connected(url: &str, log: &Path) {
    let begun = Instant::now();
    while let Err(error) = Client::connect(url, NoTls) {
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(begun.elapsed() < LIMIT, "the server does not start: {error:?}: {}", log());
        thread::sleep(Duration::from_millis(20));
    }
}

fn remove(directory: &Path) {
    let _removed = fs::remove_dir_all(directory);
}

fn run(command: &mut Command) {
    let output = command.output().expect("a program of PostgreSQL starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {text}");
}
