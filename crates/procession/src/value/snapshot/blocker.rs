//! [`Blockers`]: the items that prevent a process from closing, one line each.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use super::Link;
use super::fold::write_quoted;
use super::info::{Printed, nonempty};
use crate::value::text::{Count, Elapsed};
use crate::value::{Site, Work};

/// The items that prevent a process from closing.
///
/// Its `Display` is one line for each item, without a line break at the end.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Blockers {
    /// The items that have lasted longest, the oldest first. An item without an age of its own is sorted by the age of
    /// the nearest Closing process above it.
    pub first: Vec<Blocker>,
    /// The total number of items, including those that are folded into others.
    pub total: usize,
}

impl Blockers {
    /// The number of items that are neither in [`first`](Self::first) nor folded into one of those.
    #[must_use]
    pub fn more(&self) -> usize {
        self.total - self.first.iter().map(|blocker| 1 + blocker.more).sum::<usize>()
    }
}

impl Display for Blockers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, blocker) in self.first.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            blocker.fmt(f)?;
        }
        match self.more() {
            0 => Ok(()),
            more => {
                let line_break = if self.first.is_empty() { "" } else { "\n" };
                let ellipsis = if f.sign_minus() { "..." } else { "…" };
                write!(f, "{line_break}{ellipsis} and {} more", Count(more))
            }
        }
    }
}

/// One item that prevents a process from closing, and is not itself waiting for another process.
///
/// Its `Display` is one line, in ASCII with `{:-}`:
/// ``app › db › cache: thread body `cache-refresh` (src/cache.rs:41), asked to close 6.1 s ago``.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Blocker {
    /// The chain from the process whose blockers these are down to the process that the item belongs to. At most 17
    /// steps are kept: the first, and the 16 nearest to the item.
    pub chain: Vec<ChainLink>,
    /// The number of steps that were left out after the first.
    pub skipped: usize,
    /// The kind of item.
    pub kind: BlockerKind,
    /// The name of the thread that runs it.
    pub thread: Option<Arc<str>>,
    /// The place where the process of the item was made; for a slot, the place where the slot was requested.
    pub site: Site,
    /// For a body or [`ClosingChildren`](BlockerKind::ClosingChildren), how long ago the process began to close; for a
    /// process that nobody has asked to close, how long ago the nearest Closing process above it began to close;
    /// otherwise how long the item has lasted.
    pub age: Option<Duration>,
    /// How long ago its process was aborted.
    pub aborting_for: Option<Duration>,
    /// The number of running tasks that a queued teardown waited for, if the library's threads had reached their limit;
    /// otherwise 0.
    pub behind: usize,
    /// The number of other members of its family that are folded into it.
    pub more: usize,
    /// The number of bytes at the beginning of the last name that the whole family shares.
    pub(super) stem: usize,
}

impl Blocker {
    /// The part of the name that its family shares, if it has a name: `session` for `session-42`.
    #[must_use]
    pub fn stem(&self) -> Option<&str> {
        self.chain.last().and_then(|last| last.nonempty_name()).map(|name| &name[..self.stem])
    }

    /// The same item with renamed processes and threads, for a picture that must not show the real names.
    #[must_use]
    pub(crate) fn renamed(mut self, rename: &dyn Fn(&str) -> String) -> Self {
        let stem = self.stem().map(rename).unwrap_or_default();
        for step in &mut self.chain {
            step.name = step.name.take().map(|name| rename(&name).into());
        }
        self.thread = self.thread.take().map(|thread| rename(&thread).into());
        let begins_with_stem = self
            .chain
            .last()
            .and_then(ChainLink::nonempty_name)
            .is_some_and(|name| name.starts_with(&stem));
        self.stem = if begins_with_stem { stem.len() } else { 0 };
        self
    }

    /// The beginning of the line: the chain, without the quoted name of the family.
    pub(crate) fn name(&self) -> impl Display + '_ {
        Name { blocker: self, with_stem: false }
    }

    /// The line in three parts, for a table: the chain, what it is, and how long it has lasted. The site is not among them.
    pub(crate) fn columns(&self) -> [String; 3] {
        let name = Name { blocker: self, with_stem: true };
        let what = Part { blocker: self, write: Self::write_what };
        let since = Part { blocker: self, write: Self::write_since }.to_string();
        [name.to_string(), what.to_string(), since.trim_start_matches([',', ' ']).to_owned()]
    }

    /// What it is, and on which thread.
    fn write_what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.words())?;
        match (self.kind, self.thread.as_deref()) {
            (BlockerKind::ThreadBody, Some(thread)) => write_quoted(thread, f),
            (BlockerKind::Teardown | BlockerKind::AsyncTeardown, Some(thread)) => {
                f.write_str(" on thread")?;
                write_quoted(thread, f)
            }
            _ => Ok(()),
        }
    }

    /// Writes the end of the line: the age, and how long ago it was aborted.
    fn write_since(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_age(f)?;
        match self.aborting_for {
            Some(aborting_for) if self.kind != BlockerKind::NotAsked => {
                f.write_str(", aborted ")?;
                Elapsed(aborting_for).fmt(f)?;
                f.write_str(" ago")
            }
            _ => Ok(()),
        }
    }

    fn write_age(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(age) = self.age.map(Elapsed) else { return Ok(()) };
        let (before, after) = match self.kind {
            BlockerKind::NotAsked => return Ok(()),
            BlockerKind::ThreadBody | BlockerKind::AsyncBody | BlockerKind::ClosingChildren => {
                (", asked to close ", " ago")
            }
            BlockerKind::Teardown
            | BlockerKind::AsyncTeardown
            | BlockerKind::Hook
            | BlockerKind::FailureHook => (", running for ", ""),
            BlockerKind::TeardownQueued => (", queued for ", ""),
            BlockerKind::Slot => (" for ", ""),
            BlockerKind::Future => (", pending for ", ""),
        };
        f.write_str(before)?;
        age.fmt(f)?;
        f.write_str(after)?;
        match (self.kind, self.behind) {
            (BlockerKind::TeardownQueued, 1) => f.write_str(" behind another"),
            (BlockerKind::TeardownQueued, behind @ 2..) => {
                write!(f, " behind {} others", Count(behind))
            }
            _ => Ok(()),
        }
    }
}

/// Displays the chain down to a blocker, and the number of others in its family.
struct Name<'a> {
    blocker: &'a Blocker,
    /// Is the name that the family shares written too?
    with_stem: bool,
}

impl Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { blocker, with_stem } = self;
        let ascii = f.sign_minus();
        for (position, step) in blocker.chain.iter().enumerate() {
            if position > 0 {
                let waits = step.link.is_some_and(|link| !link.closes());
                let joint = match (waits, ascii) {
                    (false, false) => " › ",
                    (false, true) => " > ",
                    (true, false) => " ⇢ ",
                    (true, true) => " ~> ",
                };
                if position == 1 && blocker.skipped > 0 {
                    f.write_str(if ascii { " > ..." } else { " › …" })?;
                }
                f.write_str(joint)?;
            }
            step.printed().fmt(f)?;
        }
        if blocker.more > 0 {
            write!(f, " and {} more", Count(blocker.more))?;
            if let Some(stem) = blocker.stem().filter(|stem| *with_stem && !stem.is_empty()) {
                write_quoted(stem, f)?;
            }
        }
        Ok(())
    }
}

/// A part of the line.
struct Part<'a> {
    blocker: &'a Blocker,
    write: fn(&Blocker, &mut fmt::Formatter<'_>) -> fmt::Result,
}

impl Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (self.write)(self.blocker, f)
    }
}

impl Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Name { blocker: self, with_stem: true }.fmt(f)?;
        f.write_str(": ")?;
        self.write_what(f)?;
        let is_label = |last: &ChainLink| last.nonempty_name().is_none() && last.site == self.site;
        if !self.chain.last().is_some_and(is_label) {
            write!(f, " ({})", self.site)?;
        }
        self.write_since(f)
    }
}

/// One process on the chain down to a [`Blocker`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ChainLink {
    /// Its index in the snapshot.
    pub process: usize,
    /// Its name, if it has one of its own.
    pub name: Option<Arc<str>>,
    /// The place where it was made.
    pub site: Site,
    /// The edge from the previous process on the chain; `None` for the first.
    pub link: Option<Link>,
}

impl ChainLink {
    /// The name, or the site if the name is missing or empty.
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match self.nonempty_name() {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.site.to_string()),
        }
    }

    fn nonempty_name(&self) -> Option<&str> {
        nonempty(self.name.as_deref())
    }

    fn printed(&self) -> Printed<'_> {
        Printed { name: self.nonempty_name(), site: self.site }
    }
}

/// The kind of a [`Blocker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BlockerKind {
    /// A body on a thread.
    ThreadBody,
    /// A body that is a future.
    AsyncBody,
    /// A blocking teardown.
    Teardown,
    /// An async teardown.
    AsyncTeardown,
    /// A teardown that is due, and has not begun.
    TeardownQueued,
    /// A Running process that nobody has asked to close.
    NotAsked,
    /// A slot of a limiter, held by a guard.
    Slot,
    /// A function that was given to [`on_closing`](crate::Process::on_closing).
    Hook,
    /// A future that was given to [`wait_for_future`](crate::Process::wait_for_future).
    Future,
    /// A function that was given to [`on_failure`](crate::Process::on_failure), or the `tracing` subscriber, which was
    /// called for a failure of the process.
    FailureHook,
    /// The process is closing its children at this moment, so they are missing from the snapshot.
    ClosingChildren,
}

impl BlockerKind {
    pub(super) fn of(work: Work) -> Option<Self> {
        Some(match work {
            Work::None => return None,
            Work::ThreadBody => Self::ThreadBody,
            Work::AsyncBody | Work::CallerBody => Self::AsyncBody,
            Work::TeardownQueued => Self::TeardownQueued,
            Work::Teardown => Self::Teardown,
            Work::AsyncTeardown => Self::AsyncTeardown,
            Work::Hook => Self::Hook,
            Work::Future => Self::Future,
            Work::FailureHook => Self::FailureHook,
        })
    }

    /// The text for it in the line of a blocker.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ThreadBody => "thread body",
            Self::AsyncBody => "async body",
            Self::Teardown | Self::TeardownQueued => "teardown",
            Self::AsyncTeardown => "async teardown",
            Self::NotAsked => "nobody has asked it to close",
            Self::Slot => "slot held by a guard",
            Self::Hook => "closing hook",
            Self::Future => "future given to wait_for_future",
            Self::FailureHook => "failure hook or subscriber",
            Self::ClosingChildren => "its children are being closed",
        }
    }

    /// A stable name for programs to match on, such as `thread_body`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ThreadBody => "thread_body",
            Self::AsyncBody => "async_body",
            Self::Teardown => "teardown",
            Self::AsyncTeardown => "async_teardown",
            Self::TeardownQueued => "teardown_queued",
            Self::NotAsked => "not_asked",
            Self::Slot => "slot",
            Self::Hook => "hook",
            Self::Future => "future",
            Self::FailureHook => "failure_hook",
            Self::ClosingChildren => "closing_children",
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::super::testing::{AGE, Scene, app, as_specified, deep, held, hostile, stuck, wide};
    use crate::value::work::StoredWork;
    use crate::value::{Link, Work};

    /// The lines of all blockers.
    fn lines(scene: Scene) -> Vec<String> {
        let blockers = scene.snapshot().blockers(100);
        assert_eq!(blockers.more(), 0);
        as_specified(blockers).lines().map(String::from).collect()
    }

    #[test]
    fn the_stuck_tree_has_three_lines() {
        let expected = [
            "app › db › cache: thread body `cache-refresh` (src/cache.rs:41), asked to close 6.1 s ago",
            "app › http › session-42 and 37 more `session`: async body (src/http.rs:88), asked to close 6.1 s ago",
            "app › log ⇢ server: nobody has asked it to close (src/main.rs:33)",
        ];
        assert_eq!(lines(stuck()), expected);
        let blockers = stuck().snapshot().blockers(1);
        assert_eq!((blockers.total, blockers.more()), (40, 39));
        assert_eq!(as_specified(&blockers), format!("{}\n… and 39 more", expected[0]));
        assert_eq!(stuck().snapshot().blockers(0).to_string(), "… and 40 more");
        let ascii = format!("{:-}", stuck().snapshot().blockers(16));
        assert!(ascii.is_ascii() && ascii.contains("app > log ~> server: nobody"), "{ascii}");
    }

    #[test]
    fn the_lines_of_bodies_say_when_they_were_asked() {
        let (mut scene, app) = app();
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        let session = scene.closing_below(http, "session-42", "src/http.rs:88");
        let process = scene.work(session, Work::AsyncBody, AGE);
        process.aborting_for = Some(Duration::from_millis(1_200)).into();
        let unnamed = scene.closing_below(app, "", "src/main.rs:41");
        scene.work(unnamed, Work::CallerBody, AGE);
        let thread = scene.closing_below(app, "cache", "src/cache.rs:41");
        scene.work(thread, Work::ThreadBody, AGE);
        let expected = [
            "app › src/main.rs:41: async body, asked to close 6.1 s ago",
            "app › cache: thread body (src/cache.rs:41), asked to close 6.1 s ago",
            "app › http › session-42: async body (src/http.rs:88), asked to close 6.1 s ago, aborted 1.2 s ago",
        ];
        assert_eq!(lines(scene), expected);
    }

    #[test]
    fn teardowns_run_or_are_queued() {
        let (mut scene, app) = app();
        let log = scene.closing_below(app, "log", "src/log.rs:17");
        scene.work(log, Work::Teardown, Duration::from_secs(6)).rare_mut().thread =
            Some("procession-7".into());
        let files = scene.closing_below(app, "files", "src/files.rs:52");
        let file = scene.closing_below(files, "f-812", "src/files.rs:52");
        scene.work(file, Work::TeardownQueued, Duration::from_millis(5_900));
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        scene.work(db, Work::AsyncTeardown, Duration::from_millis(410));
        scene.tasks_ahead = 512;
        let spawned = scene.closing_below(files, "spawned", "src/files.rs:52");
        scene.work(spawned, Work::TeardownQueued, Duration::from_millis(5_800)).work =
            StoredWork::SPAWNED;
        let expected = [
            "app › log: teardown on thread `procession-7` (src/log.rs:17), running for 6.0 s",
            "app › files › f-812: teardown (src/files.rs:52), queued for 5.9 s behind 512 others",
            "app › files › spawned: teardown (src/files.rs:52), queued for 5.8 s",
            "app › db: async teardown (src/db.rs:12), running for 410 ms",
        ];
        assert_eq!(lines(scene), expected);
    }

    #[test]
    fn a_body_that_waits_continues_the_chain() {
        let (mut scene, app) = app();
        let importer = scene.closing_below(app, "importer", "src/db.rs:12");
        scene.work(importer, Work::ThreadBody, AGE);
        let exporter = scene.closing("exporter", "src/export.rs:12");
        scene.work(exporter, Work::AsyncBody, AGE);
        scene.edge(importer, Link::Blocked, exporter);
        let expected =
            ["app › importer ⇢ exporter: async body (src/export.rs:12), asked to close 6.1 s ago"];
        assert_eq!(lines(scene), expected);
    }

    #[test]
    fn the_lines_of_helpers_and_slots() {
        let (mut scene, app) = app();
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        let hook = scene.closing_below(http, "", "src/http.rs:51");
        scene.work(hook, Work::Hook, AGE);
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let future = scene.closing_below(db, "", "src/db.rs:61");
        scene.work(future, Work::Future, AGE);
        let importer = scene.closing_below(app, "importer", "src/export.rs:12");
        scene.work(importer, Work::ThreadBody, AGE);
        let pool = scene.running("pool", "src/main.rs:33");
        scene.at(pool).rare_mut().held_slots = vec![held("src/pool.rs:20", 8_200)];
        scene.edge(importer, Link::SlotWait, pool);
        let expected = [
            "app › importer ⇢ pool: slot held by a guard (src/pool.rs:20) for 8.2 s",
            "app › http: closing hook (src/http.rs:51), running for 6.1 s",
            "app › db: future given to wait_for_future (src/db.rs:61), pending for 6.1 s",
        ];
        assert_eq!(lines(scene), expected);
    }

    /// After a time limit, the hook runs while the body still does, and both are items.
    #[test]
    fn a_failure_hook_is_an_item_next_to_a_body() {
        let (mut scene, app) = app();
        let log = scene.closing_below(app, "log", "src/log.rs:17");
        scene.at(log).rare_mut().failure_hook_for = Some(Duration::from_millis(1_200));
        let cache = scene.closing_below(app, "cache", "src/cache.rs:41");
        let process = scene.work(cache, Work::ThreadBody, AGE);
        process.rare_mut().failure_hook_for = Some(Duration::from_millis(410));
        process.rare_mut().thread = Some("cache".into());
        let snapshot = scene.snapshot();
        let tree = snapshot.to_string();
        assert!(
            tree.contains("log: Closing for 6.1 s, failure hook or subscriber ← blocks"),
            "{tree}"
        );
        let both =
            "cache: Closing for 6.1 s, thread body `cache`, failure hook or subscriber ← blocks";
        assert!(tree.contains(both), "{tree}");
        let blockers = as_specified(snapshot.blockers(9));
        let expected = "\
app › cache: thread body `cache` (src/cache.rs:41), asked to close 6.1 s ago
app › log: failure hook or subscriber (src/log.rs:17), running for 1.2 s
app › cache: failure hook or subscriber (src/cache.rs:41), running for 410 ms";
        assert_eq!(blockers, expected);
    }

    /// The label of an unnamed process is its own site, not that of its hook.
    #[test]
    fn the_site_of_a_hook_is_not_left_out() {
        let (mut scene, app) = app();
        let unnamed = scene.closing_below(app, "", "src/main.rs:41");
        let hook = scene.closing_below(unnamed, "", "src/http.rs:51");
        scene.work(hook, Work::Hook, AGE);
        let expected = ["app › src/main.rs:41: closing hook (src/http.rs:51), running for 6.1 s"];
        assert_eq!(lines(scene), expected);
    }

    #[test]
    fn long_chains_keep_the_first_and_the_nearest_steps() {
        let line = |levels| deep(levels).blockers(1).first[0].to_string();
        let nearest = " › level".repeat(16);
        assert!(line(17).starts_with(&format!("app{nearest}: thread body (")), "{}", line(17));
        assert!(line(18).starts_with(&format!("app › …{nearest}: thread body (")), "{}", line(18));
        assert_eq!(deep(1_000).blockers(1).first[0].skipped, 983);
    }

    #[test]
    fn families_are_one_line() {
        let blockers = wide(1_000).blockers(16);
        assert_eq!((blockers.total, blockers.first.len(), blockers.more()), (1_000, 1, 0));
        assert_eq!((blockers.first[0].more, blockers.first[0].stem()), (999, Some("connection")));
        let text = blockers.to_string();
        assert!(text.starts_with("app › connection 0 and 999 more `connection`: async"), "{text}");
        assert_eq!(wide(8).blockers(16).first.len(), 8);
        assert_eq!(wide(9).blockers(16).first.len(), 1);
    }

    /// The helpers and slots in a family have no names of their own, so the line has no name for the family.
    #[test]
    fn families_of_helpers_and_slots_have_no_name() {
        let (mut scene, app) = app();
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        for _ in 0..9 {
            let hook = scene.closing_below(http, "", "src/http.rs:51");
            scene.work(hook, Work::Hook, AGE);
            let unnamed = scene.closing_below(app, "", "src/main.rs:41");
            scene.work(unnamed, Work::AsyncBody, AGE);
        }
        let pool = scene.running("pool", "src/main.rs:33");
        scene.at(pool).rare_mut().held_slots = vec![held("src/pool.rs:20", 8_200); 9];
        scene.edge(http, Link::SlotWait, pool);
        let expected = [
            "app › http ⇢ pool and 8 more: slot held by a guard (src/pool.rs:20) for 8.2 s",
            "app › src/main.rs:41 and 8 more: async body, asked to close 6.1 s ago",
            "app › http and 8 more: closing hook (src/http.rs:51), running for 6.1 s",
        ];
        assert_eq!(lines(scene), expected);
    }

    #[test]
    fn hostile_names_are_escaped() {
        let text = hostile().blockers(16).to_string();
        let is_unsafe = |character: char| character.is_control() || character == '\u{202e}';
        assert!(text.lines().all(|line| !line.contains(is_unsafe) && line.len() <= 1024), "{text}");
        assert_eq!(text.lines().count(), 9);
    }
}
