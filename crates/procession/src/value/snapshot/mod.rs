//! [`Snapshot`]: everything that a process closes or waits for, as plain values.
//!
//! | file | subject |
//! |---|---|
//! | this one | the snapshot |
//! | [`processes`], [`edges`] | its processes and edges, stored compactly |
//! | [`info`], [`facts`] | one process as readers see it, and as it is stored |
//! | [`age`], [`index`](mod@index) | an optional duration, and an optional index, in four bytes each |
//! | [`blocker`] | the items that prevent a process from closing, and their lines |
//! | [`search`] | the search for blockers |
//! | [`lines`] | the lines of the blockers, with large families folded |
//! | `teardowns` | the teardowns that have not begun, for a program that ends without them |
//! | [`fold`] | families of siblings, for which a few members stand |
//! | [`outline`] | which processes a picture shows, within a budget |
//! | [`tree`] | `Display` |
//! | [`drawing`] | the lines and symbols of the tree |
//! | [`graph`] | the graph for Mermaid and Graphviz |
//! | `json` | `Serialize` |
//!
//! Nothing here recurses over the graph, and all of it is linear in the processes and edges.

mod age;
mod blocker;
mod drawing;
mod edges;
mod facts;
pub mod fold;
mod graph;
mod index;
mod info;
#[cfg(feature = "serde")]
mod json;
mod lines;
mod outline;
mod processes;
mod search;
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
mod teardowns;
#[cfg(all(test, not(loom)))]
mod testing;
mod tree;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::value::{Phase, ProcessId};

pub(crate) use age::Age;
pub use blocker::{Blocker, BlockerKind, Blockers, ChainLink};
pub(crate) use edges::EdgeList;
pub use edges::{Edge, Link};
pub use facts::HeldSlot;
pub(crate) use facts::{Facts, Rare};
pub(crate) use index::Index;
use index::index;
pub use info::ProcessInfo;
pub use outline::Marks;
pub(crate) use processes::ProcessList;

/// A process with everything that it closes or waits for, at the time of the call of
/// [`Process::snapshot`](crate::Process::snapshot).
///
/// It is flat: a list of processes, the first of which is the root, on which `snapshot` was called, and a list of the
/// edges between them. A process that differs from the one before it in nothing but its id takes 12 bytes, so a
/// snapshot of a large program is much smaller than the program.
///
/// Its `Display` is a tree of at most 200 lines, in which large families of children are folded. `{:#}` adds sites and
/// times, and `{:-}` writes it in ASCII.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The labels of the first parents above the root, the topmost first.
    above: Vec<Arc<str>>,
    /// Never empty.
    processes: ProcessList,
    edges: EdgeList,
    /// The number of tasks that each teardown in the queue of the library's threads waited for.
    tasks_ahead: usize,
    /// The processes whose teardowns are not even due, in ascending order.
    #[cfg_attr(
        not(all(feature = "signal", any(unix, windows), not(loom))),
        expect(dead_code, reason = "without signals, there is no `Main`, which reports them")
    )]
    teardowns_left: Vec<u32>,
    /// The indices of the processes, sorted by id when an id is looked up for the first time.
    by_id: OnceLock<Box<[u32]>>,
}

impl Snapshot {
    /// The process on which [`snapshot`](crate::Process::snapshot) was called.
    #[must_use]
    pub fn root(&self) -> ProcessInfo<'_> {
        self.process(0)
    }

    /// All processes, in the order of their indices. The first is the root.
    pub fn processes(
        &self,
    ) -> impl ExactSizeIterator<Item = ProcessInfo<'_>> + DoubleEndedIterator + Clone {
        self.processes.iter()
    }

    /// The process with this index, which is its position in [`processes`](Self::processes) and is mentioned in
    /// [`edges`](Self::edges).
    ///
    /// # Panics
    ///
    /// If there are not as many processes.
    #[must_use]
    pub fn process(&self, index: usize) -> ProcessInfo<'_> {
        self.processes.get(index)
    }

    /// The edges between them. Those from one process are next to each other, and the processes that they come from
    /// are in the order of their indices.
    pub fn edges(&self) -> impl ExactSizeIterator<Item = Edge> + Clone {
        self.edges.iter()
    }

    /// The edges from the process with this index.
    pub fn edges_of(&self, index: usize) -> impl ExactSizeIterator<Item = Edge> + Clone {
        self.edges.of(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The number of processes that are not Closed.
    #[must_use]
    pub fn open(&self) -> usize {
        self.processes.iter().filter(|process| process.phase() != Phase::Closed).count()
    }

    /// The process with this id.
    #[must_use]
    pub fn get(&self, id: ProcessId) -> Option<ProcessInfo<'_>> {
        self.index_of(id).map(|index| self.process(index))
    }

    /// The labels from the topmost process down to this one, following first parents and joined by `/`:
    /// `app/server/connection 7`.
    #[must_use]
    pub fn path(&self, id: ProcessId) -> Option<String> {
        Some(self.nearest_labels(id, usize::MAX)?.join("/"))
    }

    /// The path of each item's process, in the order of `first`.
    #[cfg(all(feature = "tracing", not(loom)))]
    pub(crate) fn paths(&self, blockers: &Blockers) -> Vec<String> {
        let path = |last: &ChainLink| self.labels_of(last.process, usize::MAX).join("/");
        let last = blockers.first.iter().map(|blocker| blocker.chain.last());
        last.map(|last| last.map(path).unwrap_or_default()).collect()
    }

    /// The labels of the path, the topmost first: at most `limit` processes, the nearest ones. If others are left out,
    /// the first label is `…`.
    pub(crate) fn nearest_labels(&self, id: ProcessId, limit: usize) -> Option<Vec<Cow<'_, str>>> {
        Some(self.labels_of(self.index_of(id)?, limit))
    }

    /// [`nearest_labels`](Self::nearest_labels), given the index of the process.
    fn labels_of(&self, process: usize, limit: usize) -> Vec<Cow<'_, str>> {
        let mut ways = vec![self.process(process)];
        let mut above: &[Arc<str>] = &[];
        let mut is_cut = false;
        while let Some(parent) = ways.last().and_then(|process| process.first_parent.get()) {
            is_cut = ways.len() == limit;
            if is_cut {
                break;
            }
            ways.push(self.process(parent as usize));
        }
        if !is_cut && ways.last().is_some_and(|top| top.id == self.root().id) {
            above = &self.above;
        }
        let cut = is_cut.then_some(Cow::Borrowed("…"));
        let above = above.iter().map(|label| Cow::Borrowed(&**label));
        let own = ways.iter().rev().map(|process| process.label());
        cut.into_iter().chain(above).chain(own).collect()
    }

    /// The `limit` oldest items that prevent the root from closing, and the total number of such items.
    ///
    /// An item is a body, a teardown, a hook, a future or a held slot that is not itself waiting for another process,
    /// or a process that nobody has asked to close. More than eight similar items below the same parent are folded into
    /// one.
    #[must_use]
    pub fn blockers(&self, limit: usize) -> Blockers {
        search::Search::new(self).blockers(limit)
    }

    /// A snapshot of these processes, the first of which is the root. First parents must form no ring.
    pub(crate) fn new(
        above: Vec<Arc<str>>,
        processes: ProcessList,
        edges: EdgeList,
        tasks_ahead: usize,
    ) -> Self {
        assert!(processes.len() > 0, "a snapshot has a root");
        let (teardowns_left, by_id) = (Vec::new(), OnceLock::new());
        Self { above, processes, edges, tasks_ahead, teardowns_left, by_id }
    }

    /// The same snapshot, in which the teardowns of these processes are not even due.
    pub(crate) fn with_teardowns_left(self, teardowns_left: Vec<u32>) -> Self {
        Self { teardowns_left, ..self }
    }

    fn info(&self, index: u32) -> ProcessInfo<'_> {
        self.process(index as usize)
    }

    fn index_of(&self, id: ProcessId) -> Option<usize> {
        let ids = self.processes.ids();
        let by_id = self.by_id.get_or_init(|| {
            let mut by_id: Box<[u32]> = (0..index(ids.len())).collect();
            by_id.sort_unstable_by_key(|&index| ids[index as usize]);
            by_id
        });
        let found = by_id.binary_search_by_key(&id, |&index| ids[index as usize]);
        found.ok().map(|position| by_id[position] as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::testing::{app, as_specified, stuck};
    use super::{EdgeList, Link, ProcessList, Snapshot};
    use crate::value::ProcessId;

    #[test]
    fn processes_are_found_by_their_ids() {
        let snapshot: Snapshot = stuck().snapshot();
        for process in snapshot.processes() {
            assert_eq!(snapshot.get(process.id).map(|found| found.id), Some(process.id));
        }
        assert!(snapshot.get(ProcessId::of(&0_u8)).is_none());
        assert!(snapshot.path(ProcessId::of(&0_u8)).is_none());
        assert_eq!(snapshot.root().id, snapshot.process(0).id);
    }

    #[test]
    fn a_path_follows_first_parents() {
        let (mut scene, app) = app();
        scene.above = vec!["main".into(), "outer".into()];
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        let unnamed = scene.closing_below(http, "", "src/main.rs:41");
        let cache = scene.closing_below(unnamed, "cache\n", "src/cache.rs:41");
        scene.edge(cache, Link::Child, db);
        let server = scene.closing("server", "src/main.rs:33");
        scene.edge(http, Link::WaitFor, server);
        let worker = scene.closing_below(server, "worker", "src/main.rs:33");
        let (early, owner) =
            (scene.closing("early", "src/main.rs:33"), scene.closing("owner", "src/main.rs:33"));
        scene.edge(http, Link::WaitFor, early);
        scene.edge(cache, Link::WaitFor, owner);
        scene.edge(owner, Link::Child, early);
        let snapshot = scene.snapshot();
        let path = |process: usize| {
            let path = snapshot.path(snapshot.process(process).id);
            path.map(as_specified).expect("it is in the snapshot")
        };
        assert_eq!(path(app), "main/outer/app");
        assert_eq!(path(db), "main/outer/app/db");
        assert_eq!(path(cache), "main/outer/app/http/src/main.rs:41/cache\n");
        assert_eq!(path(worker), "server/worker");
        assert_eq!(path(early), "owner/early");
        let nearest = |limit| {
            let labels = snapshot.nearest_labels(snapshot.process(cache).id, limit);
            as_specified(labels.expect("it is in the snapshot").join("/"))
        };
        assert_eq!(nearest(1), "…/cache\n");
        assert_eq!(nearest(3), "…/http/src/main.rs:41/cache\n");
        assert_eq!(nearest(4), path(cache));
    }

    /// Edges that close may form rings, with or without a way from the root; first parents do not.
    #[test]
    fn first_parents_form_no_ring() {
        let (mut scene, app) = app();
        let (one, other) =
            (scene.closing("one", "src/db.rs:12"), scene.closing("two", "src/db.rs:12"));
        scene.edge(app, Link::WaitFor, other);
        scene.edge(one, Link::Child, other);
        scene.edge(other, Link::NoWaitChild, one);
        let inner = scene.closing_below(app, "inner", "src/db.rs:12");
        scene.edge(inner, Link::Child, app);
        scene.edge(inner, Link::Child, inner);
        let snapshot = scene.snapshot();
        let first_parents = snapshot.processes().map(|process| process.first_parent.get());
        assert_eq!(first_parents.collect::<Vec<_>>(), [None, None, Some(1), Some(0)]);
        let expected = "\
app: Closing for 6.1 s (SIGINT)
└─ inner: Closing for 6.1 s
   ├─ ↗ app (above)
   └─ ↗ inner (above)
⇢ two: Closing for 6.1 s
  └─ one: Closing for 6.1 s, not waited for
     └─ ↗ two (above)
";
        assert_eq!(snapshot.to_string(), expected);
    }

    #[test]
    fn the_edges_of_a_process_are_found() {
        let snapshot = stuck().snapshot();
        let number = |process: usize| snapshot.edges_of(process).len();
        assert_eq!([0, 1, 2, 3, 4, 1000, usize::MAX].map(number), [3, 1, 38, 1, 0, 0, 0]);
        assert_eq!(snapshot.edges().len(), 43);
    }

    #[test]
    #[should_panic(expected = "a snapshot has a root")]
    fn a_snapshot_is_not_empty() {
        let _ = Snapshot::new(Vec::new(), ProcessList::default(), EdgeList::default(), 0);
    }
}
