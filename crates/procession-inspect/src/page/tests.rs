//! The frames of the page, as functions of real processes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak, mpsc};
use std::time::{Duration, Instant};

use procession::{ChildFailure, Process, Reason};
use proptest::prelude::*;
use serde_json::Value;

use super::facts::Facts;
use super::frame::{FRAME_LIMIT, frame, keep_closed, next};
use super::history::History;
use super::html;
use super::hub::Hub;
use super::model::{At, Blocker, Content, Frame, Program, Row};
use super::query::Query;
use super::row::ROW_LIMIT;
use super::sample::{Numbered, Sample};
use super::tally::Tally;
use super::texts::Texts;
use super::units::Sources;
use super::words;

pub(super) struct Scene {
    pub(super) app: Process,
    history: History,
    tally: Arc<Tally>,
    program: Arc<Program>,
    pub(super) texts: Texts,
    pub(super) sources: super::units::Sources,
    at: u64,
}

impl Scene {
    pub(super) fn new() -> Self {
        let app = Process::builder().name("app").on_child_failure(procession::ChildFailure::Ignore);
        let app = app.build().unwrap();
        let tally = Arc::new(Tally::new(app.id()));
        let observer = tally.clone();
        app.on_event(move |event| observer.observe(event));
        let program = Program {
            name: "app".into(),
            pid: 4711,
            host: "web-3".into(),
            run: "9f3c61d2a07be544".into(),
        };
        let (history, texts) = (History::default(), Texts::default());
        Self {
            app,
            history,
            tally,
            program: Arc::new(program),
            texts,
            sources: [].into(),
            at: 1_000_000,
        }
    }

    pub(super) fn child(&self, parent: &Process, name: &str) -> Process {
        Process::builder().name(name).parent(parent).build().unwrap()
    }

    /// A sample, this many milliseconds after the one before.
    pub(super) fn sample(&mut self, passed: u64) -> Sample {
        procession::support::flush_events(Duration::from_secs(10));
        self.at += passed;
        let tally = self.tally.state();
        let numbered = Numbered::new(self.app.snapshot(), &mut self.history, &tally);
        let facts = Facts {
            at: At(self.at),
            now: Instant::now(),
            up: Duration::from_secs(1),
            program: &self.program,
            deadlines: None,
            tally,
            texts: &self.texts,
            sources: &self.sources,
            outcome: None,
        };
        Sample::new(numbered, facts)
    }
}

fn label(row: &Row) -> String {
    let text = match &row.content {
        Content::Process(process) => process.label.clone(),
        Content::Fold { fold } => fold.text.clone(),
        Content::Reference { reference } => format!("↗ {}", reference.label),
        Content::Next { next } => format!("next of {}", next.count),
    };
    " ".repeat(row.depth) + &text
}

fn labels(frame: &Frame) -> Vec<String> {
    frame.rows.iter().map(label).collect()
}

fn show(sample: &Sample, query: &str) -> Frame {
    let frame = frame(sample, &Query::parse(query));
    check(&frame);
    frame
}

/// The bounds, and the schema.
pub(super) fn check(frame: &Frame) {
    let json = serde_json::to_vec(frame).unwrap();
    assert!(json.len() <= FRAME_LIMIT, "{} bytes", json.len());
    assert!(frame.rows.len() <= 500 && frame.view.rows == frame.rows.len());
    for row in &frame.rows {
        assert!(serde_json::to_vec(row).unwrap().len() <= ROW_LIMIT, "{row:?}");
    }
    validate(&serde_json::to_value(frame).unwrap());
}

pub(super) fn validate(json: &Value) {
    static SCHEMA: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../schemas/inspect-1.json")).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    if let Err(error) = SCHEMA.validate(json) {
        let text = json.to_string();
        panic!("{error}: {}", &text[..text.len().min(2000)]);
    }
}

/// The program of the specification, which hangs for three reasons.
pub(super) fn stuck() -> (Scene, Vec<Process>) {
    let mut scene = Scene::new();
    let (app, mut kept) = (scene.app.clone(), Vec::new());
    let db = scene.child(&app, "db");
    let cache = Process::builder().name("cache").parent(&db);
    kept.push(cache.spawn_thread(|p| assert!(p.aborting().wait())).unwrap());
    let http = scene.child(&app, "http");
    for number in 0..38 {
        let session = Process::builder().name(format!("session-{number}")).parent(&http);
        kept.push(session.spawn(|p| async move { assert!(p.aborting().await) }).unwrap());
    }
    let server = Process::builder().name("server").build().unwrap();
    let log = Process::builder().name("log").parent(&app).wait_for(&server).build().unwrap();
    kept.extend([db, http, log, server]);
    drop(scene.sample(0));
    app.close();
    (scene, kept)
}

pub(super) fn end(scene: &Scene, kept: &[Process]) {
    kept.last().unwrap().close();
    scene.app.abort().wait().ok();
}

#[test]
fn a_program_that_hangs() {
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let shown = show(&sample, "");
    let expected = [
        "app",
        " db",
        "  cache",
        " http",
        "  session-0",
        "  … and 37 more `session`",
        " log",
        "  server",
    ];
    assert_eq!(labels(&shown), expected);
    let (summary, blockers) = (&shown.summary, &shown.blockers);
    assert_eq!((summary.running, summary.closing, summary.aborting), (1, 43, 0));
    assert_eq!(blockers.len(), 3);
    assert!(blockers[0].text.starts_with("app › db › cache: thread body"), "{}", blockers[0].text);
    assert_eq!((blockers[1].more, blockers[2].kind), (37, "not_asked"));
    assert_eq!(shown.view.scope, "open");
    // A filter keeps the path, and finds parts of it.
    assert_eq!(labels(&show(&sample, "q=CACHE")), ["app", " db", "  cache"]);
    assert_eq!(labels(&show(&sample, "q=db/ca")), ["app", " db", "  cache"]);
    let found = show(&sample, "q=nothing");
    assert_eq!((found.view.matches, found.view.total), (0, 44));
    // Opened, closed, and only a part.
    let opened = show(&sample, &format!("open={}", shown.rows[5].key));
    assert_eq!(opened.rows.len(), 8 + 37);
    let closed = show(&sample, &format!("open=-{}", shown.rows[3].key));
    assert_eq!(labels(&closed), ["app", " db", "  cache", " http", " log", "  server"]);
    let part = show(&sample, &format!("root={}", shown.rows[1].key));
    assert_eq!(labels(&part), ["db", " cache"]);
    assert_eq!(show(&sample, "scope=blocking").view.matches, 40);
    assert_eq!(labels(&show(&sample, "sort=name"))[..2], ["app", "cache"]);
    end(&scene, &kept);
}

/// The HTML without a script has the same rows and texts, folds are links, and the filter is a form.
#[test]
fn the_page_without_a_script() {
    use html5ever::tendril::TendrilSink;
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let shown = show(&sample, "");
    let page = html::page(&shown, &Query::default(), "/inspect", true);
    let dom = html5ever::parse_document(
        markup5ever_rcdom::RcDom::default(),
        html5ever::ParseOpts::default(),
    );
    let dom = dom.one(&*page);
    assert!(dom.errors.borrow().is_empty(), "{:?}", dom.errors.borrow());
    assert_eq!(
        page.matches("<tr role=\"row\"").count()
            + page.matches("<tr class=\"fold\" role=\"row\"").count(),
        page.matches("data-key=").count()
    );
    assert_eq!(page.matches("data-key=").count(), shown.rows.len());
    for blocker in &shown.blockers {
        let Blocker { who, what, since, .. } = blocker;
        for text in
            [format!("<b class=\"who\">{who}</b>"), format!(">{what}<"), format!(">{since}<")]
        {
            assert!(page.contains(&text), "{text}");
        }
        assert!(blocker.text.starts_with(&format!("{who}: {what}")), "{}", blocker.text);
        assert!(blocker.text.ends_with(since.as_str()), "{}", blocker.text);
    }
    assert!(
        page.contains("href=\"/inspect?open=f")
            && page.contains("<form id=\"filter\" method=\"get\"")
    );
    assert!(page.contains("http-equiv=\"refresh\" content=\"5\""));
    assert!(page.contains("44 open: 1 running, 43 closing"));
    assert!(!page.contains(" style=") && !page.contains(" onclick="));
    end(&scene, &kept);
}

pub(super) const HOSTILE: [&str; 6] = [
    "<script>window.pwned=1</script>",
    "\"'><img src=x onerror=alert(1)>",
    "\u{1b}[2J",
    "\u{202e}",
    "]]>",
    "</script><!--",
];

#[test]
fn hostile_names_are_only_texts() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let long = "A".repeat(1 << 20);
    let wide = "\u{1F480}".repeat(500);
    let names = HOSTILE.into_iter().chain([&*long, &*wide, ""]);
    let mut kept: Vec<Process> = names.clone().map(|name| scene.child(&app, name)).collect();
    for name in names {
        let text = name.to_owned();
        let failing = Process::builder().name(name).parent(&app);
        kept.push(failing.spawn_thread(move |_| Err(text)).unwrap());
        kept.last().unwrap().closed().wait().ok();
    }
    let sample = scene.sample(1_000);
    for query in ["", "sort=name", "q=%3Cscript", "scope=failed"] {
        let shown = show(&sample, query);
        let page = html::page(&shown, &Query::parse(query), "", true);
        assert!(!page.contains("<img") && !page.contains("<script>window"), "{query}");
        assert_eq!(page.matches("<script").count(), 2);
        assert_eq!(page.matches("</script").count(), 2);
        assert!(!page.contains(['\u{1b}', '\u{202e}']));
        let json = serde_json::to_string(&shown).unwrap();
        assert!(!json.contains('\u{202e}') && !json.contains("\\u001b"));
    }
    let folds = format!("open={}", "<>\"'&".repeat(30));
    html::page(&show(&sample, &folds), &Query::parse(&folds), "", true);
    app.close_blocking().ok();
}

/// Outside of `Main`, too, it is said what has aborted the root.
#[test]
fn an_abort_by_a_grace_is_known() {
    for has_grace in [true, false] {
        let mut scene = Scene::new();
        let app = scene.app.clone();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let deaf = Process::builder().name("deaf").parent(&app);
        let deaf = deaf.spawn_thread(move |_| assert!(ended.recv().is_err())).unwrap();
        if has_grace {
            drop(app.close_within(Duration::from_millis(1)));
        } else {
            app.abort();
        }
        assert!(app.aborting().wait());
        let deadline = words::deadline(&scene.sample(1).summary);
        assert_eq!(deadline, if has_grace { "aborted by grace" } else { "aborted" });
        drop(end);
        deaf.closed().wait().ok();
        app.closed().wait().ok();
    }
}

#[test]
fn names_are_redacted_everywhere() {
    let (mut scene, kept) = stuck();
    scene.texts =
        Texts::new(Some(Arc::new(|text| text.replace("cache", "x").replace("session", "y"))));
    let sample = scene.sample(1_000);
    let shown = show(&sample, "");
    let json = serde_json::to_string(&shown).unwrap();
    assert!(!json.contains("cache") && !json.contains("session"), "{json}");
    assert!(json.contains("and 37 more `y`"));
    assert_eq!(show(&sample, "q=cache").view.matches, 0);
    end(&scene, &kept);
}

/// A process keeps its key; one that looks the same later has another.
#[test]
fn keys_are_stable_and_never_used_again() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let key = |sample: &Sample, name: &str| {
        let shown = show(sample, "scope=all");
        let row = shown.rows.iter().find(|row| label(row).trim() == name);
        row.map(|row| row.key.clone()).unwrap()
    };
    let stays = scene.child(&app, "stays");
    let mut seen = std::collections::HashSet::new();
    let first = {
        let sample = scene.sample(1);
        key(&sample, "stays")
    };
    for round in 0..50 {
        let one = scene.child(&app, "one");
        let sample = scene.sample(1);
        assert_eq!(key(&sample, "stays"), first);
        assert!(seen.insert(key(&sample, "one")), "round {round}");
        one.close_blocking().unwrap();
        drop(one);
        drop(scene.sample(1));
    }
    // The memory of a process may be used by the next one, without a sample in between.
    for round in 0..50 {
        let name = format!("two{}", round % 2);
        let two = scene.child(&app, &name);
        let sample = scene.sample(1);
        assert!(seen.insert(key(&sample, &name)), "round {round}");
        two.close_blocking().unwrap();
        drop((two, sample));
    }
    drop(stays);
    app.close_blocking().unwrap();
}

#[test]
fn a_closed_row_stays_for_three_seconds() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let (one, _two) = (scene.child(&app, "one"), scene.child(&app, "two"));
    let query = Query::default();
    let mut last = Frame { seq: Some(1), ..show(&scene.sample(1), "") };
    one.close_blocking().unwrap();
    let mut counts = Vec::new();
    for _ in 0..5 {
        let sample = scene.sample(1_000);
        let mut now = frame(&sample, &query);
        keep_closed(&last, &mut now, &sample, &query);
        check(&now);
        counts.push(labels(&now));
        last = next(&last, now).0;
    }
    assert_eq!(counts[0], ["app", " one", " two"]);
    assert_eq!(counts[2], counts[0]);
    assert_eq!(counts[4], ["app", " two"]);
    app.close_blocking().unwrap();
}

#[test]
fn a_hundred_thousand_processes() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let name = |number: usize| format!("connection {number}");
    let _kept: Vec<Process> = (0..100_000).map(|number| scene.child(&app, &name(number))).collect();
    let sample = scene.sample(1_000);
    let shown = show(&sample, "");
    assert_eq!(labels(&shown), ["app", " connection 0", " … and 99,999 more `connection`"]);
    let fold = shown.rows[2].key.to_string();
    let opened = show(&sample, &format!("open={fold}~2"));
    assert_eq!(opened.rows.len(), 3 + 200 + 1);
    let flat = show(&sample, "sort=name");
    assert_eq!((flat.rows.len(), flat.view.hidden), (500, 100_001 - 500));
    let found = show(&sample, "q=connection%2012345");
    assert_eq!((found.view.matches, found.view.total), (1, 100_001));
    app.close_blocking().unwrap();
}

#[test]
fn a_deep_tree_is_cut() {
    let mut scene = Scene::new();
    let mut kept = vec![scene.app.clone()];
    for _ in 0..1_000 {
        let child = scene.child(kept.last().unwrap(), "level");
        kept.push(child);
    }
    let sample = scene.sample(1_000);
    let shown = show(&sample, "");
    assert_eq!(shown.rows.len() + shown.view.hidden, 1_001);
    let last = format!("open={}", sample.keys[sample.tree.order[1_000] as usize]);
    show(&sample, &last);
    kept[0].close_blocking().unwrap();
    assert_eq!(kept[0].reason(), Some(Reason::Asked));
}

#[test]
fn a_process_without_children() {
    let mut scene = Scene::new();
    let shown = show(&scene.sample(1), "");
    let page = html::page(&shown, &Query::default(), "", true);
    for text in
        ["app has no children yet.", "Nothing has failed.", "No blockers: nothing is closing."]
    {
        assert!(page.contains(text), "{text}");
    }
    let shown = show(&scene.sample(1), "q=foo");
    assert!(
        html::page(&shown, &Query::parse("q=foo"), "", true).contains("No process matches “foo”.")
    );
}

/// Then there are no rows, and the page does not say that no process matches.
#[test]
fn more_than_a_million_processes() {
    let mut scene = Scene::new();
    let mut shown = show(&scene.sample(1), "");
    shown.rows.clear();
    (shown.view.total, shown.view.matches) = (1_000_001, 0);
    let page = html::page(&shown, &Query::default(), "", true);
    assert!(page.contains("There are more than 1,000,000 processes"));
    assert!(!page.contains("No process is “all”"));
}

/// What a reader does with a patch.
pub(super) fn replay(before: &Value, patch: &Value) -> Value {
    let millis = |at: &Value| {
        humantime::parse_rfc3339(at.as_str().unwrap())
            .unwrap()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_millis() as u64
    };
    assert_eq!(patch["base"], before["seq"]);
    assert_eq!(patch["seq"].as_u64(), Some(before["seq"].as_u64().unwrap() + 1));
    let passed = millis(&patch["at"]) - millis(&before["at"]);
    let older = |age: &mut Value| {
        if let Some(millis) = age.as_u64() {
            *age = (millis + passed).into();
        }
    };
    let mut rows: Vec<Value> = before["rows"].as_array().unwrap().clone();
    rows.retain(|row| !patch["del"].as_array().unwrap().contains(&row["key"]));
    for row in &mut rows {
        for pointer in ["/for_ms", "/work/for_ms", "/fold/for_ms"] {
            row.pointer_mut(pointer).map(older);
        }
    }
    for set in patch["set"].as_array().unwrap() {
        match rows.iter_mut().find(|row| row["key"] == set["key"]) {
            Some(row) => *row = set.clone(),
            None => rows.push(set.clone()),
        }
    }
    if let Some(order) = patch["order"].as_array() {
        let of = |key: &Value| rows.iter().find(|row| row["key"] == *key).unwrap().clone();
        rows = order.iter().map(of).collect();
    }
    let mut after = before.clone();
    for name in ["seq", "at", "view", "summary", "blockers", "blockers_more", "failures_dropped"] {
        after[name] = patch[name].clone();
    }
    if !patch["failures"].is_null() {
        after["failures"] = patch["failures"].clone();
    }
    for name in ["managers", "units"] {
        if !patch[name].is_null() {
            after[name] = patch[name].clone();
        }
    }
    after["rows"] = rows.into();
    after
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = cases.unwrap_or(24);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// The frame and the patches make up the next frame (F2), in random trees that change.
    #[test]
    fn patches_lead_to_the_next_frame(
        steps in proptest::collection::vec((0..6_usize, any::<prop::sample::Index>(), 0..2_000_u64), 1..40),
        sort in prop::sample::select(vec!["", "sort=name", "sort=-for", "q=c", "scope=all"]),
    ) {
        let mut scene = Scene::new();
        let query = Query::parse(sort);
        let mut kept = vec![scene.app.clone()];
        let mut last = Frame { seq: Some(1), ..frame(&scene.sample(1), &query) };
        let mut read = serde_json::to_value(&last).unwrap();
        for (step, which, passed) in steps {
            let some = kept[which.index(kept.len())].clone();
            match step {
                0..=2 => {
                    for number in 0..=(step * 5) {
                        let child = Process::builder().name(format!("c-{number}")).parent(&some).build();
                        kept.extend(child);
                    }
                }
                3 => drop(some.close()),
                4 => {
                    let other = kept[kept.len() / 2].clone();
                    drop(some.add_child(&other));
                }
                _ => drop(Process::builder().name("f").parent(&some).spawn_thread(|_| Err("no")).map(|failing| failing.closed().wait())),
            }
            let sample = scene.sample(passed);
            let mut now = frame(&sample, &query);
            keep_closed(&last, &mut now, &sample, &query);
            let (after, patch) = next(&last, now);
            check(&after);
            let patch = serde_json::to_value(&patch).unwrap();
            validate(&patch);
            read = replay(&read, &patch);
            prop_assert_eq!(&read, &serde_json::to_value(&after).unwrap());
            last = after;
        }
        scene.app.close_blocking().ok();
    }
}

#[test]
fn a_function_that_redacts_may_ask_for_the_page_and_wait() {
    let app =
        Process::builder().name("app").on_child_failure(ChildFailure::Ignore).build().unwrap();
    let hub: Arc<OnceLock<Weak<Hub>>> = Arc::default();
    let asked = hub.clone();
    let is_first = AtomicBool::new(true);
    let redact = move |name: &str| {
        let hub = asked.get().and_then(Weak::upgrade);
        if let Some(hub) = hub.filter(|_| is_first.swap(false, Ordering::Relaxed)) {
            let (answer, answered) = mpsc::channel();
            std::thread::spawn(move || answer.send(hub.sample().is_some()));
            assert_eq!(answered.recv_timeout(Duration::from_secs(60)), Ok(true));
        }
        name.to_uppercase()
    };
    let failed = Process::builder().name("writer").parent(&app);
    let started = Hub::start(&app, Texts::new(Some(Arc::new(redact))), Sources::default());
    let failed = failed.spawn_thread(|_| Err::<(), _>("disk full")).unwrap();
    assert!(failed.closed().wait().is_err());
    procession::support::flush_events(Duration::from_secs(60));
    assert!(hub.set(Arc::downgrade(&started)).is_ok());
    let sample = started.sample().unwrap();
    assert_eq!(sample.failures[0].path, "APP/WRITER");
    started.stop();
}
