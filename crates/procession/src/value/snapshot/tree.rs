//! The `Display` of a [`Snapshot`]: a tree of at most 200 lines.

use std::fmt::{self, Display, Write};
use std::time::Duration;

use super::drawing::Drawing;
use super::fold::write_quoted;
use super::info::State;
use super::outline::{Bounds, Content, Outline, Row};
use super::{BlockerKind, Link, ProcessInfo, Snapshot};
use crate::value::text::{Count, Elapsed, Signal};
use crate::value::{Phase, Reason, Work};

/// The maximum number of lines that are written.
const LINES: usize = 200;

/// The maximum number of levels that are drawn.
const LEVELS: usize = 32;

impl Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line is reserved: the last may say how many processes are missing.
        let bounds = Bounds { rows: LINES - 1, levels: LEVELS, references: true };
        let outline = Outline::new(self, bounds);
        let drawing = Drawing::for_form(f);
        let mut is_written = vec![false; self.processes.len()];
        let mut has_line = vec![false; self.processes.len()];
        for row in &outline.rows {
            if let Content::Process(process, _) = row.content {
                has_line[process as usize] = true;
            }
        }
        let mut open_rows = vec![0];
        while let Some(position) = open_rows.pop() {
            let row = &outline.rows[position];
            open_rows.extend(row.below.clone().rev());
            drawing.write_indent(&outline, position, f)?;
            match &row.content {
                Content::Process(process, blocks) => {
                    is_written[*process as usize] = true;
                    let process = self.info(*process);
                    write_process(process, row, *blocks, drawing, f)?;
                }
                Content::Reference(process) => {
                    let position = *process as usize;
                    let place = match (is_written[position], has_line[position]) {
                        (true, _) => "above",
                        (false, true) => "below",
                        (false, false) => "not shown",
                    };
                    drawing.write_reference(row, f)?;
                    self.info(*process).printed().fmt(f)?;
                    write!(f, " ({place})")?;
                }
                Content::Fold(fold, is_reference) => {
                    if *is_reference {
                        drawing.write_reference(row, f)?;
                    }
                    fold.fmt(f)?;
                }
                Content::Deeper { levels, processes } => {
                    let plural = if *levels == 1 { "" } else { "s" };
                    write!(f, "{} {} level{plural} deeper", drawing.ellipsis, Count(*levels))?;
                    if processes != levels {
                        write!(f, " ({} processes)", Count(*processes))?;
                    }
                }
            }
            f.write_char('\n')?;
        }
        match outline.hidden {
            0 => Ok(()),
            hidden => writeln!(f, "{} and {} more", drawing.ellipsis, Count(hidden)),
        }
    }
}

/// Writes a process, and with `{:#}` its site and how long its work has lasted.
fn write_process(
    process: ProcessInfo<'_>,
    row: &Row<'_>,
    blocks: Option<BlockerKind>,
    drawing: &Drawing,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    process.printed().fmt(f)?;
    f.write_str(": ")?;
    write_state(process, f)?;
    if row.link == Some(Link::NoWaitChild) {
        f.write_str(", not waited for")?;
    }
    if process.is_closing_children() {
        f.write_str(", its children are being closed")?;
    }
    for (work, work_for) in process.works() {
        write_work(process, work, work_for, f)?;
    }
    if let Some(oldest) = process.held_slots().iter().max_by_key(|slot| slot.held_for) {
        match process.held_slots().len() {
            1 => f.write_str(", a slot held by a guard")?,
            number => write!(f, ", {} slots held by guards", Count(number))?,
        }
        if f.alternate() {
            let which = if process.held_slots().len() > 1 { ", the oldest" } else { "" };
            write!(f, "{which} ({}) for ", oldest.site)?;
            Elapsed(oldest.held_for).fmt(f)?;
        }
    }
    if f.alternate() {
        write!(f, " {} {}", drawing.dot, process.site())?;
    }
    if let Some(kind) = blocks {
        write!(f, " {} blocks", drawing.left)?;
        if kind == BlockerKind::NotAsked {
            write!(f, ": {}", kind.words())?;
        }
    }
    Ok(())
}

/// Writes the phase, how long it has lasted, and the reason. [`Reason::ParentClosed`] is written only with `{:#}`, and
/// only if the process runs nothing.
fn write_state(process: ProcessInfo<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let state = process.state();
    match process.phase() {
        Phase::Closed => f.write_str("Closed")?,
        _ => f.write_str(state.word())?,
    }
    let (since, earlier) = match state {
        State::Closing => (process.closing_for(), None),
        State::Aborting => (process.aborting_for(), process.closing_for()),
        _ => (None, None),
    };
    if let Some(since) = since {
        f.write_str(" for ")?;
        Elapsed(since).fmt(f)?;
    }
    let mut separator = " (";
    if let Some(earlier) = earlier {
        f.write_str(" (Closing for ")?;
        Elapsed(earlier).fmt(f)?;
        separator = ", ";
    }
    let is_shown = |reason: &&Reason| match reason {
        Reason::ParentClosed => f.alternate() && process.work() == Work::None,
        _ => true,
    };
    if let Some(reason) = process.reason().filter(is_shown) {
        f.write_str(separator)?;
        separator = ", ";
        match reason {
            Reason::Signal(number) => Signal(*number).fmt(f)?,
            // Only its name: the site of an unnamed child would make the line too long.
            Reason::ChildFailed(child) => {
                f.write_str("its child failed")?;
                if let Some(name) = child.name() {
                    f.write_str(": process")?;
                    write_quoted(name, f)?;
                }
            }
            reason => write!(f, "{reason}")?,
        }
        if process.phase() == Phase::Running {
            f.write_str("; closes when it waits for nothing")?;
        }
    }
    if separator == ", " {
        f.write_char(')')?;
    }
    if process.is_aborting() && process.phase() == Phase::Closed {
        f.write_str(", aborted")?;
    }
    if process.has_failed() { f.write_str(", failed") } else { Ok(()) }
}

fn write_work(
    process: ProcessInfo<'_>,
    work: Work,
    work_for: Option<Duration>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, ", {}", words(work))?;
    match (work, process.thread()) {
        (Work::ThreadBody, Some(thread)) => write_quoted(thread, f)?,
        (Work::Teardown | Work::AsyncTeardown, Some(thread)) => {
            f.write_str(" on thread")?;
            write_quoted(thread, f)?;
        }
        _ => {}
    }
    match work_for {
        Some(work_for) if f.alternate() => {
            f.write_str(" for ")?;
            Elapsed(work_for).fmt(f)
        }
        _ => Ok(()),
    }
}

fn words(work: Work) -> &'static str {
    match work {
        Work::TeardownQueued => "teardown queued",
        work => BlockerKind::of(work).map_or("", BlockerKind::words),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::super::testing::{
        AGE, LINKS, Scene, app, as_specified, deep, held, hostile, on_small_stack, stuck, wide,
    };
    use super::{LEVELS, LINES};
    use crate::value::{Label, Link, Phase, ProcessId, Reason, Snapshot, Work};

    #[test]
    fn the_tree_shows_blockers() {
        let expected = "\
app: Closing for 6.1 s (SIGINT)
├─ db: Closing for 6.1 s
│  └─ cache: Closing for 6.1 s, thread body `cache-refresh` ← blocks
├─ http: Closing for 6.1 s
│  ├─ session-42: Closing for 6.1 s, async body ← blocks
│  └─ … and 37 more `session`: 37 Closing
└─ log: Closing for 6.1 s
   ⇢ server: Running, async body ← blocks: nobody has asked it to close
";
        assert_eq!(as_specified(stuck().snapshot()), expected);
    }

    #[test]
    fn the_alternate_form_has_sites_and_times() {
        let expected = "\
app: Closing for 6.1 s (SIGINT) · src/main.rs:9
├─ db: Closing for 6.1 s (its parent closed) · src/db.rs:12
│  └─ cache: Closing for 6.1 s, thread body `cache-refresh` for 3 h 05 min · src/cache.rs:41 ← blocks
├─ http: Closing for 6.1 s (its parent closed) · src/http.rs:9
│  ├─ session-42: Closing for 6.1 s, async body for 4 min 12 s · src/http.rs:88 ← blocks
│  └─ … and 37 more `session`: 37 Closing
└─ log: Closing for 6.1 s (its parent closed) · src/log.rs:17
   ⇢ server: Running, async body for 3 h 05 min · src/main.rs:33 ← blocks: nobody has asked it to close
";
        assert_eq!(as_specified(format!("{:#}", stuck().snapshot())), expected);
    }

    #[test]
    fn the_tree_can_be_written_in_ascii() {
        let expected = "\
app: Closing for 6.1 s (SIGINT)
|- db: Closing for 6.1 s
|  `- cache: Closing for 6.1 s, thread body `cache-refresh` <- blocks
|- http: Closing for 6.1 s
|  |- session-42: Closing for 6.1 s, async body <- blocks
|  `- ... and 37 more `session`: 37 Closing
`- log: Closing for 6.1 s
   ~> server: Running, async body <- blocks: nobody has asked it to close
";
        assert_eq!(as_specified(format!("{:-}", stuck().snapshot())), expected);
        let both = format!("{:-#}", stuck().snapshot());
        let root = "app: Closing for 6.1 s (SIGINT) - src/main.rs:9\n";
        assert!(as_specified(&both).starts_with(root) && both.is_ascii());
    }

    #[test]
    fn edges_that_do_not_own_are_references() {
        let (mut scene, app) = app();
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        let cache = scene.closing_below(db, "cache", "src/cache.rs:41");
        scene.edge(http, Link::Child, cache);
        scene.edge(http, Link::WaitFor, db);
        scene.edge(db, Link::WaitFor, cache); // says nothing new
        let log = scene.closing("log", "src/log.rs:17");
        scene.edge(app, Link::NoWaitChild, log);
        scene.edge(cache, Link::CloseAfter, http);
        let (server, file) =
            (scene.closing("server", "src/main.rs:33"), scene.closing("file", "src/main.rs:41"));
        scene.edge(log, Link::WaitFor, server);
        scene.edge(http, Link::Blocked, server);
        scene.edge(server, Link::Child, file);
        scene.edge(file, Link::Child, server); // a ring
        let expected = "\
app: Closing for 6.1 s (SIGINT)
├─ db: Closing for 6.1 s
│  └─ cache: Closing for 6.1 s
│     ⇢ http (below)
├─ http: Closing for 6.1 s
│  └─ ↗ cache (above)
│  ⇢ server: Closing for 6.1 s
│    └─ file: Closing for 6.1 s
│       └─ ↗ server (above)
│  ⇢ db (above)
└─ log: Closing for 6.1 s, not waited for
   ⇢ server (above)
";
        let snapshot = scene.snapshot();
        assert_eq!(as_specified(&snapshot), expected);
        let ascii = format!("{snapshot:-}");
        assert!(ascii.contains("|  `- ^ cache (above)\n|  ~> server: Closing") && ascii.is_ascii());
    }

    #[test]
    fn a_row_is_below_the_process_that_closes_it() {
        let (mut scene, app) = app();
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let http = scene.closing_below(app, "http", "src/http.rs:9");
        let group = scene.closing_below(http, "group", "src/http.rs:9");
        let session = scene.closing_below(group, "session", "src/http.rs:88");
        scene.edge(db, Link::WaitFor, session);
        let expected = "\
app: Closing for 6.1 s (SIGINT)
├─ db: Closing for 6.1 s
│  ⇢ session (below)
└─ http: Closing for 6.1 s
   └─ group: Closing for 6.1 s
      └─ session: Closing for 6.1 s
";
        assert_eq!(scene.snapshot().to_string(), expected);
    }

    #[test]
    fn a_row_says_all_that_is_known() {
        let (mut scene, app) = app();
        let pool = scene.closing_below(app, "pool", "src/pool.rs:20");
        scene.at(pool).rare_mut().held_slots =
            vec![held("src/pool.rs:20", 900), held("src/http.rs:51", 8_200)];
        let one = scene.closing_below(app, "one", "src/pool.rs:20");
        scene.at(one).rare_mut().held_slots = vec![held("src/pool.rs:20", 900)];
        let log = scene.closing_below(app, "log", "src/log.rs:17");
        scene.work(log, Work::Teardown, AGE).rare_mut().thread = Some("procession-7".into());
        let files = scene.closing_below(app, "files", "src/files.rs:52");
        scene.work(files, Work::TeardownQueued, AGE);
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let process = scene.at(db);
        process.aborting = true;
        (process.rare_mut().failed, process.rare_mut().closing_children) = (true, true);
        process.aborting_for = Some(Duration::from_millis(1_200)).into();
        let id = ProcessId::of(&0_u8);
        process.set_reason(Reason::ChildFailed(Label::of_test(Some("é\n"), id)));
        for (aborting, failed) in [(true, false), (false, true)] {
            let done = scene.closing_below(app, "", "src/main.rs:41");
            let process = scene.at(done);
            (process.phase, process.aborting) = (Phase::Closed, aborting);
            process.rare_mut().failed = failed;
        }
        let idle = scene.running("idle", "src/main.rs:33");
        scene.at(idle).set_reason(Reason::BodyFinished);
        scene.edge(app, Link::Child, idle);
        let expected = "\
app: Closing for 6.1 s (SIGINT)
├─ pool: Closing for 6.1 s, 2 slots held by guards
├─ one: Closing for 6.1 s, a slot held by a guard
├─ log: Closing for 6.1 s, teardown on thread `procession-7` ← blocks
├─ files: Closing for 6.1 s, teardown queued ← blocks
├─ db: Aborting for 1.2 s (Closing for 6.1 s, its child failed: process `é\\u{a}`), failed, its children are being closed ← blocks
├─ src/main.rs:41: Closed, aborted
├─ src/main.rs:41: Closed, failed
└─ idle: Running (its body finished; closes when it waits for nothing)
";
        let snapshot = scene.snapshot();
        assert_eq!(as_specified(&snapshot), expected);
        let alternate = as_specified(format!("{snapshot:#}"));
        for line in [
            "2 slots held by guards, the oldest (src/http.rs:51) for 8.2 s · src/pool.rs:20\n",
            "a slot held by a guard (src/pool.rs:20) for 900 ms · src/pool.rs:20\n",
            "teardown queued for 6.1 s · src/files.rs:52 ← blocks\n",
        ] {
            assert!(alternate.contains(line), "{line} in {alternate}");
        }
        assert!(format!("{snapshot:-}").is_ascii());
    }

    #[test]
    fn nothing_blocks_while_nothing_closes() {
        let mut scene = Scene::default();
        scene.running("app", "src/main.rs:9");
        assert_eq!(scene.snapshot().to_string(), "app: Running\n");
    }

    #[test]
    fn a_wide_tree_is_folded() {
        let snapshot = wide(100_000);
        let expected = "\
app: Closing for 6.1 s (SIGINT)
├─ connection 0: Closing for 6.1 s, async body ← blocks
└─ … and 99,999 more `connection`: 99,999 Closing
";
        assert_eq!(snapshot.to_string(), expected);
        assert!(format!("{snapshot:#}").len() <= 16 << 10);
    }

    #[test]
    fn a_deep_tree_is_cut() {
        on_small_stack(|| {
            let text = deep(1_000).to_string();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), LEVELS + 1);
            assert_eq!(lines[31], format!("{}└─ level: Closing for 6.1 s", "   ".repeat(30)));
            assert_eq!(lines[32], format!("{}└─ … 968 levels deeper", "   ".repeat(31)));
            assert_eq!(deep(32).to_string().lines().count(), LEVELS);
            assert!(deep(33).to_string().ends_with("└─ … 1 level deeper\n"));
        });
    }

    /// Different names cannot be folded. The processes on the chains of the first blockers come before all others.
    #[test]
    fn the_budget_is_kept() {
        let (mut scene, app) = app();
        for number in 0..300 {
            let name = format!("{number}x");
            let child = scene.closing_below(app, &name, "src/http.rs:9");
            scene.closing_below(child, "inner", "src/http.rs:88");
        }
        let last = scene.closing_below(app, "last", "src/db.rs:12");
        let cache = scene.closing_below(last, "cache", "src/cache.rs:41");
        scene.work(cache, Work::ThreadBody, AGE);
        let text = scene.snapshot().to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), LINES);
        assert!(lines[197].starts_with("└─ last: ") && lines[198].ends_with("← blocks"), "{text}");
        let shown = 1 + 196 + 2;
        assert_eq!(lines[199], format!("… and {} more", 1 + 600 + 2 - shown));
    }

    /// The members of the family look alike, but four of them lead to blockers.
    #[test]
    fn chains_of_blockers_are_not_folded() {
        let (mut scene, app) = app();
        for number in 0..12 {
            let worker = scene.closing_below(app, &format!("worker-{number}"), "src/http.rs:9");
            if [3, 5, 7, 9].contains(&number) {
                let job =
                    scene.closing_below(worker, &format!("job of {number}x"), "src/http.rs:88");
                scene.work(job, Work::AsyncBody, AGE);
            }
        }
        let text = scene.snapshot().to_string();
        assert!(text.ends_with("└─ … and 8 more `worker`: 8 Closing\n"), "{text}");
        assert_eq!(text.matches("← blocks").count(), 4);
    }

    /// Six chains of 35 and ten leaves leave two lines for the processes below the last level.
    #[test]
    fn levels_below_the_last_are_counted() {
        let (mut scene, app) = app();
        for number in 0..10 {
            scene.closing_below(app, &format!("{number}x"), "src/http.rs:9");
        }
        for number in 0..6 {
            let mut parent = app;
            for _ in 0..35 {
                parent = scene.closing_below(parent, &format!("level {number}"), "src/http.rs:9");
            }
        }
        let text = scene.snapshot().to_string();
        assert_eq!((text.lines().count(), text.matches("… 4 levels deeper").count()), (LINES, 2));
        assert!(text.ends_with("\n… and 16 more\n"), "{text}");
    }

    #[test]
    fn families_of_references_are_folded() {
        let (mut scene, app) = app();
        let (one, other) = (
            scene.closing_below(app, "one", "src/db.rs:12"),
            scene.closing_below(app, "other", "src/db.rs:12"),
        );
        for number in 0..20 {
            let child = scene.closing_below(one, &format!("child {number}"), "src/http.rs:9");
            scene.edge(other, Link::WaitFor, child);
        }
        let text = scene.snapshot().to_string();
        let end = "\
└─ other: Closing for 6.1 s
   ⇢ child 0 (above)
   ⇢ … and 19 more `child`: 19 Closing
";
        assert!(text.ends_with(end), "{text}");
    }

    fn is_printable(text: &str) -> bool {
        let unsafe_for_a_terminal = |character: char| {
            (character.is_control() && character != '\n') || character == '\u{202e}'
        };
        !text.contains(unsafe_for_a_terminal)
    }

    #[test]
    fn hostile_names_are_escaped() {
        let snapshot = hostile();
        let forms: [String; 4] = [
            snapshot.to_string(),
            format!("{snapshot:#}"),
            format!("{snapshot:-}"),
            format!("{snapshot:-#}"),
        ];
        for text in forms {
            assert!(is_printable(&text), "{text}");
            assert_eq!(text.lines().count(), snapshot.processes().len());
            assert!(text.lines().all(|line| line.len() <= 1024 && line.trim_end() == line));
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"));
        }
        assert!(as_specified(snapshot).contains("\n└─ src/http.rs:88: Closing for 6.1 s"));
    }

    #[test]
    fn unnamed_processes_are_families_by_site() {
        let (mut scene, app) = app();
        for _ in 0..12 {
            scene.closing_below(app, "", "src/main.rs:41");
        }
        let text = as_specified(scene.snapshot());
        assert!(text.contains("└─ … and 11 more from src/main.rs:41: 11 Closing\n"), "{text}");
    }

    /// Whatever the edges, each process has one line of its own, and first parents form no ring.
    #[test]
    fn each_process_has_one_line() {
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        // Children are more frequent than the other kinds.
        let kinds = [&LINKS[..], &[Link::Child; 3]].concat();
        for _ in 0..2_000 {
            let (mut scene, _) = app();
            let number = 2 + random(14);
            for process in 1..number {
                let name = format!("{process}x");
                match random(3) {
                    0 => scene.running(&name, "src/db.rs:12"),
                    _ => scene.closing(&name, "src/db.rs:12"),
                };
                if random(2) == 0 {
                    scene.work(process, Work::AsyncBody, AGE);
                }
                scene.edge(random(process), kinds[random(kinds.len())], process);
            }
            for _ in 0..random(number) {
                scene.edge(random(number), kinds[random(kinds.len())], random(number));
            }
            let snapshot = scene.snapshot();
            let text = snapshot.to_string();
            for process in snapshot.processes() {
                let label = format!(" {}: ", process.label());
                let lines = text.lines().filter(|line| format!(" {line}").contains(&label));
                assert_eq!(lines.count(), 1, "{label} in\n{text}");
                assert!(snapshot.path(process.id).is_some_and(|path| path.len() < 100));
            }
            assert!(!text.contains("not shown"), "{text}");
            let blockers = snapshot.blockers(usize::MAX);
            assert_eq!((blockers.more(), text.matches("← blocks").count()), (0, blockers.total));
        }
    }

    /// The tree, the search, the paths and the drop do not recurse.
    #[test]
    fn a_chain_of_a_million_needs_no_stack() {
        on_small_stack(|| {
            let snapshot: Snapshot = deep(1_000_000);
            assert!(snapshot.to_string().ends_with("└─ … 999,968 levels deeper\n"));
            let last = snapshot.processes().next_back().expect("there is a root").id;
            let path = snapshot.path(last).expect("it is in the snapshot");
            assert_eq!(path.len(), "app".len() + 999_999 * "/level".len());
            let blockers = snapshot.blockers(16);
            assert_eq!((blockers.total, blockers.first[0].skipped), (1, 999_983));
            let nodes = snapshot.to_dot().lines().filter(|line| line.contains("Closing")).count();
            assert_eq!((nodes, snapshot.to_mermaid().contains("n199 --> n200")), (200, false));
        });
    }
}
