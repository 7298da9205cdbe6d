//! What the tests share: a log of all runs, units that write it, and a store that can be cut off.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use procession::Process;
use procession_runnable::{Start, body};
use procession_supervisor::Unit;
use procession_supervisor::shared::{
    Claim, MemorySharedTable, Session, SharedManager, SharedTable, TableError, Token, UnitRow,
};

use crate::delegate::delegate;

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Who runs each unit: an append-only log, independent of the table.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<Entry>>, Condvar)>);

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) token: Token,
    pub(crate) spec: String,
    pub(crate) starts: bool,
}

impl Log {
    pub(crate) fn add(&self, claim: &Claim, starts: bool) {
        let (key, spec) = (claim.key().to_owned(), claim.spec().to_owned());
        let entry = Entry { key, spec, token: claim.lease().token(), starts };
        self.0.0.lock().unwrap().push(entry);
        self.0.1.notify_all();
    }

    /// Waits until `is_so` of the log.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn(&[Entry]) -> bool) {
        let entries = self.0.0.lock().unwrap();
        let (entries, timeout) =
            self.0.1.wait_timeout_while(entries, LIMIT, |entries| !is_so(entries)).unwrap();
        assert!(!timeout.timed_out(), "waited for {what}: {entries:?}");
    }

    pub(crate) fn starts(&self, key: &str) -> usize {
        let entries = self.0.0.lock().unwrap();
        entries.iter().filter(|entry| entry.key == key && entry.starts).count()
    }

    /// Never two runs of a unit at once, and tokens never go back.
    pub(crate) fn check(&self) {
        let entries = self.0.0.lock().unwrap();
        let mut running = HashMap::new();
        let mut last = HashMap::new();
        for entry in entries.iter() {
            if entry.starts {
                assert_eq!(running.insert(&entry.key, entry.token), None, "{entries:?}");
                let before = last.insert(&entry.key, entry.token);
                assert!(before.is_none_or(|before| before <= entry.token), "{entries:?}");
            } else {
                assert_eq!(running.remove(&entry.key), Some(entry.token), "{entries:?}");
            }
        }
    }
}

/// A unit that logs its starts and its ends, also if it is aborted.
pub(crate) fn logged(log: &Log, claim: &Claim) -> Unit {
    struct End(Log, Claim);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.add(&self.1, false);
        }
    }
    let (log, claim) = (log.clone(), claim.clone());
    Unit::new(body(move |run| {
        let (log, claim) = (log.clone(), claim.clone());
        async move {
            log.add(&claim, true);
            let _end = End(log, claim);
            run.ready();
            run.closing().await;
        }
    }))
}

/// A manager whose lease ends soon if nobody renews it, which may happen on a machine that is busy.
pub(crate) fn manager(table: impl SharedTable, log: &Log) -> SharedManager {
    manager_for(table, log, Duration::from_secs(2))
}

/// A manager whose lease does not end during a test.
pub(crate) fn lasting_manager(table: impl SharedTable, log: &Log) -> SharedManager {
    manager_for(table, log, LIMIT * 10)
}

fn manager_for(table: impl SharedTable, log: &Log, ttl: Duration) -> SharedManager {
    let log = log.clone();
    let builder = SharedManager::builder(table).ttl(ttl);
    builder.poll_every(Duration::from_millis(50)).build(move |claim| Ok(logged(&log, claim)))
}

pub(crate) fn started(manager: &SharedManager) -> Process {
    let root = Process::new();
    let (start, readiness) = Start::under(&root);
    let process = manager.runnable().start(start).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    drop(process);
    root
}

pub(crate) fn row(table: &impl SharedTable, key: &str) -> UnitRow {
    table.open().unwrap().get(key).unwrap().unwrap()
}

/// Waits until the row is so.
pub(crate) fn wait_for_row(table: &impl SharedTable, key: &str, is_so: impl Fn(&UnitRow) -> bool) {
    let end = Instant::now() + LIMIT;
    let mut session = table.open().unwrap();
    loop {
        let row = session.get(key).unwrap();
        if row.as_ref().is_some_and(&is_so) {
            return;
        }
        assert!(Instant::now() < end, "{row:?}");
        session.wait_for_change(Duration::from_millis(10)).unwrap();
    }
}

pub(crate) fn table_of(keys: &[&str]) -> MemorySharedTable {
    let table = MemorySharedTable::new();
    let mut session = table.open().unwrap();
    for key in keys {
        session.put(key, "unit", "one").unwrap();
    }
    table
}

/// A store that can be cut off: then its calls fail, and so do all later calls of the same sessions.
#[derive(Clone)]
pub(crate) struct Cut {
    pub(crate) table: MemorySharedTable,
    pub(crate) is_cut: Arc<AtomicBool>,
}

pub(crate) struct CutSession {
    session: Box<dyn Session>,
    is_cut: Arc<AtomicBool>,
    is_dead: bool,
}

impl SharedTable for Cut {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        if self.is_cut.load(Ordering::SeqCst) {
            return Err(TableError::Unavailable("the network is cut".into()));
        }
        let session = self.table.open()?;
        Ok(Box::new(CutSession { session, is_cut: self.is_cut.clone(), is_dead: false }))
    }
}

impl CutSession {
    fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
        self.is_dead |= self.is_cut.load(Ordering::SeqCst);
        if self.is_dead {
            return Err(TableError::Unavailable("the network is cut".into()));
        }
        Ok(&mut *self.session)
    }
}
delegate!(CutSession);
