//! The threads that run blocking code of processes, so that a report can name the thread.
//!
//! Each such thread has an entry in a list, and writes there the process whose code it runs. Only the thread itself
//! writes its entry. The accesses are relaxed, because they only describe a process to a reader. In a model, there is
//! no such list.

use std::collections::HashMap;
use std::sync::Arc;

use super::call_stack::run_as;
use super::{Node, NodeContents, pool};
use crate::state::{Workplaces, survey};
use crate::value::{Snapshot, Work};

/// Runs blocking code of the process, with the process on this thread's stack and in its entry. `run` must not panic.
/// Returns the process with the result.
#[inline(always)]
pub(super) fn run_on_this_thread<R>(node: Arc<Node>, run: impl FnOnce() -> R) -> (Arc<Node>, R) {
    let outer = entries::replace(Arc::as_ptr(&node).addr());
    let (node, result) = run_as(node, run);
    entries::replace(outer);
    (node, result)
}

/// Takes a snapshot of the process and of everything below it.
pub(crate) fn look_at(node: &Arc<Node>) -> Snapshot {
    survey(node, &ThreadsAtWork::look())
}

/// The threads that were running code of processes when this was made.
pub(crate) struct ThreadsAtWork {
    by_process: HashMap<usize, Arc<str>>,
    tasks_ahead: usize,
}

impl ThreadsAtWork {
    pub(crate) fn look() -> Self {
        Self { by_process: entries::all(), tasks_ahead: pool::tasks_ahead() }
    }
}

impl Workplaces<NodeContents> for ThreadsAtWork {
    fn thread_of(&self, node: &Arc<Node>, work: Work) -> Option<Arc<str>> {
        let is_blocking = matches!(work, Work::ThreadBody | Work::Teardown | Work::Hook);
        is_blocking.then(|| self.by_process.get(&Arc::as_ptr(node).addr()).cloned()).flatten()
    }

    fn tasks_ahead(&self) -> usize {
        self.tasks_ahead
    }
}

#[cfg(not(loom))]
mod entries {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Weak};

    use crate::value::sync::Mutex;

    struct Entry {
        name: Arc<str>,
        /// The address of the node of the innermost process, or 0.
        process: AtomicUsize,
    }

    /// The entries. When their number reaches `sweep_at`, those of ended threads are removed.
    struct Entries {
        all: Vec<Weak<Entry>>,
        sweep_at: usize,
    }

    static ENTRIES: Mutex<Entries> = Mutex::new(Entries { all: Vec::new(), sweep_at: 64 });

    thread_local! {
        static OWN: Arc<Entry> = register();
    }

    fn register() -> Arc<Entry> {
        let name = std::thread::current().name().unwrap_or_default().into();
        let entry = Arc::new(Entry { name, process: AtomicUsize::new(0) });
        let mut entries = ENTRIES.lock();
        if entries.all.len() >= entries.sweep_at {
            entries.all.retain(|entry| entry.strong_count() > 0);
            entries.sweep_at = 64.max(entries.all.len() * 2);
        }
        entries.all.push(Arc::downgrade(&entry));
        entry
    }

    /// Sets the process whose code this thread runs. Returns the previous one.
    #[inline]
    pub(super) fn replace(process: usize) -> usize {
        let replace = |entry: &Arc<Entry>| {
            let before = entry.process.load(Ordering::Relaxed);
            entry.process.store(process, Ordering::Relaxed);
            before
        };
        // At the end of a thread, its entry no longer exists.
        OWN.try_with(replace).unwrap_or(0)
    }

    /// The names of the threads, by the process whose code they run.
    pub(super) fn all() -> HashMap<usize, Arc<str>> {
        let entries: Vec<_> = ENTRIES.lock().all.iter().filter_map(Weak::upgrade).collect();
        let at_work = entries.iter().map(|entry| (entry.process.load(Ordering::Relaxed), entry));
        at_work
            .filter(|(process, entry)| *process != 0 && !entry.name.is_empty())
            .map(|(process, entry)| (process, entry.name.clone()))
            .collect()
    }
}

#[cfg(loom)]
mod entries {
    use std::collections::HashMap;
    use std::sync::Arc;

    pub(super) fn replace(_process: usize) -> usize {
        0
    }

    pub(super) fn all() -> HashMap<usize, Arc<str>> {
        HashMap::new()
    }
}
