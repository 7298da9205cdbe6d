//! Snapshots that are made by hand.

use std::time::Duration;

use super::{Edge, EdgeList, Facts, HeldSlot, Index, Link, ProcessList, Rare, Snapshot};
use crate::value::{BriefReason, Phase, ProcessId, Reason, Site, Work};

/// Stand-ins for the sites in the specification, because a site can only be made for a place in this source.
fn sites() -> [(&'static str, Site); 13] {
    [
        ("src/main.rs:9", Site::caller()),
        ("src/db.rs:12", Site::caller()),
        ("src/cache.rs:41", Site::caller()),
        ("src/http.rs:9", Site::caller()),
        ("src/http.rs:88", Site::caller()),
        ("src/log.rs:17", Site::caller()),
        ("src/main.rs:33", Site::caller()),
        ("src/files.rs:52", Site::caller()),
        ("src/export.rs:12", Site::caller()),
        ("src/pool.rs:20", Site::caller()),
        ("src/http.rs:51", Site::caller()),
        ("src/db.rs:61", Site::caller()),
        ("src/main.rs:41", Site::caller()),
    ]
}

pub(super) fn at(name: &str) -> Site {
    sites().into_iter().find(|(known, _)| *known == name).expect("the site is listed").1
}

/// The text, with the stand-ins replaced by the sites in the specification.
pub(super) fn as_specified(text: impl ToString) -> String {
    let replace = |text: String, (name, site): (&str, Site)| text.replace(&site.to_string(), name);
    sites().into_iter().fold(text.to_string(), replace)
}

pub(super) const AGE: Duration = Duration::from_millis(6_100);
pub(super) const HOURS: Duration = Duration::from_secs(3 * 3600 + 5 * 60);

/// All kinds of edges.
pub(super) const LINKS: [Link; 8] = [
    Link::Child,
    Link::NoWaitChild,
    Link::WaitFor,
    Link::CloseAfter,
    Link::Blocked,
    Link::SlotWait,
    Link::ChildrenWait,
    Link::BodyWait,
];

impl Facts {
    /// The facts about a Running process about which nothing else is known yet.
    pub(super) fn new(site: Site) -> Self {
        Self {
            site,
            name: None,
            rare: None,
            closing_for: None.into(),
            aborting_for: None.into(),
            work_for: None.into(),
            first_parent: Index::NONE,
            phase: Phase::Running,
            aborting: false,
            work: Work::None.into(),
            reason: None,
        }
    }

    pub(super) fn set_reason(&mut self, reason: Reason) {
        self.reason = Some(BriefReason::from(&reason));
        self.rare_mut().reason = Some(reason);
    }

    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
}

#[derive(Default)]
pub(super) struct Scene {
    pub(super) above: Vec<std::sync::Arc<str>>,
    pub(super) processes: Vec<(ProcessId, Facts)>,
    pub(super) edges: Vec<Edge>,
    pub(super) tasks_ahead: usize,
}

impl Scene {
    /// A process that closes because its parent did.
    pub(super) fn closing(&mut self, name: &str, site: &str) -> usize {
        let index = self.running(name, site);
        let process = self.at(index);
        process.phase = Phase::Closing;
        process.closing_for = Some(AGE).into();
        process.set_reason(Reason::ParentClosed);
        index
    }

    /// A Running process that has not been asked to close. It has no name if `name` is empty.
    pub(super) fn running(&mut self, name: &str, site: &str) -> usize {
        self.running_at(name, at(site))
    }

    pub(super) fn running_at(&mut self, name: &str, site: Site) -> usize {
        let index = self.processes.len();
        let id = ProcessId::of(std::ptr::without_provenance::<u8>(4096 + 64 * index));
        let name = (!name.is_empty()).then(|| name.into());
        self.processes.push((id, Facts { name, ..Facts::new(site) }));
        index
    }

    pub(super) fn closing_below(&mut self, parent: usize, name: &str, site: &str) -> usize {
        let index = self.closing(name, site);
        self.edge(parent, Link::Child, index);
        index
    }

    pub(super) fn at(&mut self, index: usize) -> &mut Facts {
        &mut self.processes[index].1
    }

    pub(super) fn work(&mut self, index: usize, work: Work, work_for: Duration) -> &mut Facts {
        let process = self.at(index);
        (process.work, process.work_for) = (work.into(), Some(work_for).into());
        process
    }

    pub(super) fn edge(&mut self, from: usize, kind: Link, to: usize) {
        self.edges.push(Edge { from: from as u32, to: to as u32, kind });
    }

    pub(super) fn snapshot(mut self) -> Snapshot {
        self.edges.sort_by_key(|edge| edge.from());
        let (mut processes, mut edges) = (ProcessList::default(), EdgeList::default());
        self.processes.into_iter().for_each(|(id, facts)| processes.push(id, facts));
        self.edges.into_iter().for_each(|Edge { from, to, kind }| edges.push(from, kind, to));
        processes.find_first_parents(&edges);
        Snapshot::new(self.above, processes, edges, self.tasks_ahead)
    }
}

pub(super) fn held(site: &str, millis: u64) -> HeldSlot {
    HeldSlot { site: at(site), held_for: Duration::from_millis(millis) }
}

/// A root that was asked to close by a signal.
pub(super) fn app() -> (Scene, usize) {
    let mut scene = Scene::default();
    let app = scene.closing("app", "src/main.rs:9");
    scene.at(app).set_reason(Reason::Signal(2));
    (scene, app)
}

/// A program that hangs for three reasons.
pub(super) fn stuck() -> Scene {
    let (mut scene, app) = app();
    let db = scene.closing_below(app, "db", "src/db.rs:12");
    let http = scene.closing_below(app, "http", "src/http.rs:9");
    let log = scene.closing_below(app, "log", "src/log.rs:17");
    let cache = scene.closing_below(db, "cache", "src/cache.rs:41");
    scene.work(cache, Work::ThreadBody, HOURS).rare_mut().thread = Some("cache-refresh".into());
    for number in std::iter::once(42).chain(1..38) {
        let session = scene.closing_below(http, &format!("session-{number}"), "src/http.rs:88");
        scene.work(session, Work::AsyncBody, Duration::from_secs(252));
    }
    let server = scene.running("server", "src/main.rs:33");
    scene.work(server, Work::AsyncBody, HOURS);
    scene.edge(log, Link::WaitFor, server);
    scene
}

/// A root with this number of children, all of which have a body.
pub(super) fn wide(children: usize) -> Snapshot {
    let (mut scene, app) = app();
    let site = at("src/http.rs:88");
    for number in 0..children {
        let child = scene.running_at(&format!("connection {number}"), site);
        scene.work(child, Work::AsyncBody, HOURS);
        let process = scene.at(child);
        (process.phase, process.closing_for) = (Phase::Closing, Some(AGE).into());
        scene.edge(app, Link::Child, child);
    }
    scene.snapshot()
}

/// A chain of this number of processes, with a body at its end.
pub(super) fn deep(levels: usize) -> Snapshot {
    let (mut scene, mut parent) = app();
    let site = at("src/db.rs:12");
    for _ in 1..levels {
        let child = scene.running_at("level", site);
        let process = scene.at(child);
        (process.phase, process.closing_for) = (Phase::Closing, Some(AGE).into());
        scene.edge(parent, Link::Child, child);
        parent = child;
    }
    scene.work(parent, Work::ThreadBody, AGE);
    scene.snapshot()
}

/// Runs a test on a thread with a stack of 64 KiB.
pub(super) fn on_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(test);
    thread.expect("a thread can be created").join().expect("the test passes");
}

pub(super) const HOSTILE: [&str; 7] = [
    "<script>window.pwned=1</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u{1b}[2J",
    "\u{202e}",
    "]]>",
    "a\\\"]\n  n0 --> n1 %% `x`",
    "&lt;#35;\u{7}",
];

/// A root whose children have hostile names, one of them 1 MB long and one empty.
pub(super) fn hostile() -> Snapshot {
    let (mut scene, app) = app();
    let long = "A".repeat(1 << 20);
    for name in HOSTILE.into_iter().chain([&*long, ""]) {
        let child = scene.closing_below(app, name, "src/http.rs:88");
        scene.at(child).name = Some(name.into());
        scene.work(child, Work::ThreadBody, AGE).rare_mut().thread = Some(name.into());
    }
    scene.snapshot()
}
