//! [`LockDirectory`]: one lock file for each manager, which shows whether its program is alive.
//!
//! 1. **A registered manager is dead exactly if its file can be locked, or does not exist.** Argument: `register` locks
//!    the file exclusively before it inserts the row, in the same write transaction. The table that registered the
//!    manager keeps the [`LockFile`] until it has seen that the row is gone, and until then only the end of the program
//!    or of the table closes the descriptor: it is never duplicated, and close-on-exec keeps it from other programs.
//!    The kernel releases a lock of `flock` when its last descriptor is closed, whatever ends the program, but not
//!    while the program is paused.
//! 2. **The dead stay dead.** Argument: a file is locked exclusively only in [`LockDirectory::hold`], for an id that no
//!    manager has had before. All other locks are shared, so those who look do not take each other for a living
//!    manager.
//! 3. **A file is unlinked only by someone who has locked it.** Argument: [`unlink`] is called only with a descriptor
//!    that is locked, by [`LockFile`] and by [`DeadFile`], and does nothing if the path has another file by now.
//! 4. **A file that is held has its name.** Argument: [`LockDirectory::hold`] compares the file with the one at the
//!    path after it has locked it, and tries again if an unlink came in between. By 3, nobody else unlinks it
//!    afterwards.
//! 5. **No file is left behind for ever.** Argument: a program that ends between the end of a lease and the unlink
//!    leaves a file without a row. Each registration removes those in [`LockDirectory::sweep`]. It runs in a write
//!    transaction, so no other registration has a locked file without a row yet.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procession_supervisor::shared::TableError;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::Fault;
use crate::network;

/// The directory of the lock files of a database.
#[derive(Debug)]
pub(crate) struct LockDirectory {
    path: PathBuf,
}

/// The locked file of a living manager. It is unlocked and unlinked when this value is dropped.
#[derive(Debug)]
pub(crate) struct LockFile(Locked);

/// Shows that a manager is dead.
pub(crate) struct DeadFile(Option<Locked>);

#[derive(Debug)]
struct Locked {
    file: File,
    path: PathBuf,
}

impl LockDirectory {
    /// The directory next to a database, which it makes if it does not exist.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or if locks are not reliable there.
    pub(crate) fn next_to(database: &Path) -> Result<Self, TableError> {
        let mut name = database.as_os_str().to_owned();
        name.push("-managers");
        let directory = Self { path: name.into() };
        let opened = directory.make()?;
        refuse_network(&opened, &directory.path)?;
        // If another program has locked it at the same time, locks work.
        lock(&opened, FlockOperation::NonBlockingLockShared, &directory.path)?;
        Ok(directory)
    }

    fn make(&self) -> Result<File, TableError> {
        match DirBuilder::new().create(&self.path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Fault::file("make the directory", &self.path, error));
            }
            _ => {}
        }
        let opened = File::open(&self.path);
        opened.map_err(|error| Fault::file("open the directory", &self.path, error))
    }

    /// Locks the file of a new manager. `None` if another program has locked a file of that name.
    pub(crate) fn hold(&self, manager: i64) -> Result<Option<LockFile>, TableError> {
        let path = self.file(manager);
        loop {
            let mut options = OpenOptions::new();
            let file = match options.write(true).create(true).truncate(false).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.make()?;
                    continue;
                }
                Err(error) => return Err(Fault::file("open the lock file", &path, error)),
            };
            if !lock(&file, FlockOperation::NonBlockingLockExclusive, &path)? {
                return Ok(None);
            }
            if is_at(&file, &path) {
                return Ok(Some(LockFile(Locked { file, path })));
            }
        }
    }

    /// Finds out whether a registered manager is dead.
    pub(crate) fn find_dead(&self, manager: i64) -> Result<Option<DeadFile>, TableError> {
        let path = self.file(manager);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(DeadFile(None))),
            Err(error) => return Err(Fault::file("open the lock file", &path, error)),
        };
        let is_dead = lock(&file, FlockOperation::NonBlockingLockShared, &path)?;
        Ok(is_dead.then(|| DeadFile(Some(Locked { file, path }))))
    }

    /// Removes the files of dead managers that are no longer registered. A file that cannot be removed is left to the
    /// next registration.
    pub(crate) fn sweep(&self, is_registered: impl Fn(i64) -> bool) {
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let manager = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let Some(manager) = manager.filter(|manager| !is_registered(*manager)) else {
                continue;
            };
            if let Ok(Some(dead)) = self.find_dead(manager) {
                dead.unlink();
            }
        }
    }

    fn file(&self, manager: i64) -> PathBuf {
        self.path.join(manager.to_string())
    }
}

impl DeadFile {
    /// Removes the file, if there is one. The manager must have no row any more.
    pub(crate) fn unlink(self) {
        if let Some(locked) = self.0 {
            unlink(&locked);
        }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        unlink(&self.0);
    }
}

/// Unlinks a file that this program has locked. A file that cannot be unlinked is swept later.
fn unlink(locked: &Locked) {
    if is_at(&locked.file, &locked.path) {
        let _swept_later = fs::remove_file(&locked.path);
    }
}

/// Whether the path has this file.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => id(file) == id(there),
        _ => false,
    }
}

/// Locks a file without waiting. Returns whether it could be locked.
fn lock(file: &File, how: FlockOperation, path: &Path) -> Result<bool, TableError> {
    loop {
        match flock(file, how) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(error @ (Errno::OPNOTSUPP | Errno::NOSYS | Errno::NOLCK | Errno::INVAL)) => {
                let source = io::Error::from(error);
                return Err(Fault::NoLocks { path: path.to_owned(), source }.unusable());
            }
            Err(error) => return Err(Fault::file("lock", path, error.into())),
        }
    }
}

fn refuse_network(directory: &File, path: &Path) -> Result<(), TableError> {
    match network::refused(directory) {
        Ok(None) => Ok(()),
        Ok(Some(kind)) => Err(Fault::Network { path: path.to_owned(), kind }.unusable()),
        Err(error) => Err(Fault::file("find the file system of", path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::LockDirectory;
    use std::thread;

    /// An unlink of the last holder can come between the opening and the locking of a file.
    #[test]
    fn a_held_file_has_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let directory = LockDirectory::next_to(&directory.path().join("units.db")).unwrap();
        let take = || {
            let mut taken = 0;
            while taken < 2000 {
                if let Some(held) = directory.hold(1).unwrap() {
                    assert!(directory.find_dead(1).unwrap().is_none(), "others see its lock");
                    drop(held);
                    taken += 1;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(take);
            }
        });
    }
}
