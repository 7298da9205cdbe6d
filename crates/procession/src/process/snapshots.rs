//! Descriptions of a process and of everything that it waits for: snapshots, blockers, and `Debug`.

use std::fmt;
use std::time::Duration;

use super::Process;
use crate::run::{ThreadsAtWork, look_at};
use crate::state::glance;
use crate::value::{Blockers, Link, Phase, ProcessInfo, Snapshot};

impl Process {
    /// This process with everything that it closes or waits for, as plain values to print, draw or search.
    ///
    /// The fields of each process are consistent with each other, except for its work, which is read without a lock.
    /// Different processes are read one after the other. It locks one process at a time, and reads a limited number of
    /// edges in one locked section, so it does not hold up a closing.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let db = Process::builder().name("db").parent(&app).build()?;
    /// let _connections: Vec<_> =
    ///     (0..1000).map(|_| Process::builder().name("connection").parent(&db).build()).collect();
    /// let snapshot = app.snapshot();
    /// assert_eq!(snapshot.processes().len(), 1002);
    /// assert_eq!(snapshot.path(db.id()).as_deref(), Some("app/db"));
    /// println!("{snapshot}"); // a tree, in which the connections are one line
    /// # Ok::<(), procession::LinkError>(())
    /// ```
    pub fn snapshot(&self) -> Snapshot {
        look_at(&self.node)
    }

    /// The items that prevent this process from closing, such as bodies and teardowns: the `limit` oldest ones, the
    /// oldest first, each with the chain of processes down to it, and the total number.
    ///
    /// A process that waits for another one is not such an item: the chain continues to the process that it waits for.
    /// Each item is displayed as one line.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let cache = Process::builder().name("cache").parent(&app);
    /// let cache = cache.spawn_thread(|p| drop(p.aborting().wait()))?;
    /// app.close();
    /// let blockers = app.blockers(16);
    /// assert_eq!(blockers.total, 1);
    /// // app › cache: thread body `cache` (src/main.rs:5), asked to close 0 ms ago
    /// assert!(blockers.first[0].to_string().starts_with("app › cache: thread body"));
    /// # app.abort().wait()?;
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn blockers(&self, limit: usize) -> Blockers {
        self.snapshot().blockers(limit)
    }
}

/// One line: the process, its phase and work, and the number of processes of each kind that it waits for.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (facts, counts) = glance(&self.node, &ThreadsAtWork::look());
        let info = ProcessInfo::alone(self.id(), &facts);
        let mut debug = f.debug_struct("Process");
        debug.field("path", &self.path()).field("phase", &info.phase());
        if let Some(closing_for) = info.closing_for().filter(|_| info.phase() == Phase::Closing) {
            debug.field("for", &Duration::from_millis(closing_for.as_millis() as u64));
        }
        debug.field("aborting", &info.is_aborting());
        if let Some(reason) = facts.reason.filter(|_| info.phase() != Phase::Running) {
            debug.field("reason", &reason);
        }
        debug.field("work", &info.work());
        let waits = counts.into_iter().map(|(kind, count)| Counted { kind, count });
        debug.field("waits_for", &waits.collect::<Vec<_>>()).finish()
    }
}

/// The number of processes that it waits for in this way.
struct Counted {
    kind: Link,
    count: usize,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, count } = self;
        let (one, many) = match kind {
            Link::Child => ("child", "children"),
            Link::NoWaitChild => ("no-wait child", "no-wait children"),
            Link::WaitFor => ("process", "processes"),
            Link::CloseAfter => ("process to close first", "processes to close first"),
            Link::Blocked => ("blocked wait", "blocked waits"),
            Link::SlotWait => ("wait for a slot", "waits for a slot"),
            Link::ChildrenWait => ("wait for children", "waits for children"),
            Link::BodyWait => ("wait for a body", "waits for bodies"),
        };
        write!(f, "{count} {}", if *count == 1 { one } else { many })
    }
}
