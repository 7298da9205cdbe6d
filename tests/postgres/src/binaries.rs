//! [`Binaries`]: the programs of PostgreSQL, and the user that runs them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The directory with `initdb` and `postgres`.
#[derive(Debug)]
pub struct Binaries {
    directory: PathBuf,
    /// The user and the group of the server if this program runs as root, because the server refuses to.
    pub(crate) user: Option<(u32, u32)>,
}

impl Binaries {
    /// Finds the programs in `PATH`, or where Debian installs them, the newest version first.
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path()).collect();
        versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
        directories.extend(versions.into_iter().map(|path| path.join("bin")));
        let has_all = |path: &Path| {
            ["initdb", "postgres", "pg_basebackup"].iter().all(|name| path.join(name).is_file())
        };
        let directory = directories.into_iter().find(|path| has_all(path))?;
        let is_root = fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0);
        let user = if is_root { Some(user("postgres").or_else(|| user("nobody"))?) } else { None };
        Some(Self { directory, user })
    }

    /// Makes a command that runs one of them.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.directory.join(name));
        self.as_user(&mut command);
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn as_user(&self, command: &mut Command) {
        command.current_dir("/");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
    }
}

/// The ids of a user and of its group.
fn user(name: &str) -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
