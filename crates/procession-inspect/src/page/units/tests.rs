//! The units of real managers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{Start, body};
use procession_supervisor::{HasUnits, Manager, MemoryTable, Overview, Restart, Unit};

use super::{UNITS, page, source};
use crate::page::frame::{frame, next};
use crate::page::html::Tabs;
use crate::page::model::Frame;
use crate::page::query::Query;
use crate::page::sample::Sample;
use crate::page::tests::{HOSTILE, Scene, check, replay, validate};
use crate::page::texts::Texts;

fn query() -> Query {
    Query::parse("tab=units")
}

fn show(sample: &Sample) -> Frame {
    let shown = frame(sample, &query());
    check(&shown);
    assert!(shown.units.len() <= UNITS);
    shown
}

fn html(frame: &Frame) -> String {
    let query = query();
    page(frame, &Tabs { mount: "", query: &query, has_timeline: true, has_units: true })
}

fn serving() -> Unit {
    Unit::new(body(|run| async move {
        run.ready();
        run.closing().await;
    }))
}

/// A unit that fails with this text, and is not restarted.
fn failing(text: &str) -> Unit {
    let text = text.to_owned();
    let unit = Unit::new(body(move |run| {
        let text = text.clone();
        async move {
            run.ready();
            Err::<(), _>(text)
        }
    }));
    unit.restart(Restart::Temporary)
}

/// A manager of these units that runs until the returned process is closed.
fn managed(table: MemoryTable<String>) -> (Manager<String>, Process) {
    let manager = Manager::builder(table).name("workers").build();
    let root = Process::builder().on_child_failure(procession::ChildFailure::Ignore);
    let root = root.build().unwrap();
    let (start, readiness) = Start::under(&root);
    drop(manager.runnable().start(start).unwrap());
    block_on(readiness).unwrap();
    (manager, root)
}

/// The frame, once the units are as the test expects.
fn settled(scene: &mut Scene, is_so: impl Fn(&Frame) -> bool) -> Frame {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let shown = show(&scene.sample(10));
        if is_so(&shown) {
            return shown;
        }
        assert!(std::time::Instant::now() < end, "{:?}", shown.units);
        std::thread::yield_now();
    }
}

#[test]
fn units_and_their_errors_are_shown() {
    let table = MemoryTable::new();
    table.insert("orders".to_owned(), serving());
    table.insert("importer".to_owned(), failing("disk full"));
    let (manager, root) = managed(table);
    let mut scene = Scene::new();
    scene.sources = [source(manager.clone())].into();
    let shown = settled(&mut scene, |shown| shown.managers[0].ended == 1);
    let states: Vec<(&str, &str)> =
        shown.units.iter().map(|unit| (&*unit.key, unit.state)).collect();
    assert_eq!(states, [("orders", "running"), ("importer", "ended")]);
    let error = shown.units[1].error.as_deref().unwrap();
    assert!(error.ends_with("failed: disk full"), "{error}");
    assert_eq!((shown.managers[0].units, shown.managers[0].running), (2, 1));
    assert_eq!((shown.rows.len(), shown.view.managers), (0, 1));
    let page = html(&shown);
    for text in ["● Running", "○ Ended", "disk full", "workers", "2 units, 1 running, 1 ended"]
    {
        assert!(page.contains(text), "{text}");
    }
    // Other pages do not ask for them.
    let tree = frame(&scene.sample(10), &Query::default());
    assert!(tree.units.is_empty() && tree.managers.is_empty() && tree.view.managers == 1);
    root.close_blocking().ok();
}

/// Only what has changed is sent, and leads to the next frame.
#[test]
fn patches_lead_to_the_next_units() {
    let table = MemoryTable::new();
    table.insert("orders".to_owned(), serving());
    let (manager, root) = managed(table.clone());
    let mut scene = Scene::new();
    scene.sources = [source(manager)].into();
    let mut last = Frame { seq: Some(1), ..show(&scene.sample(1)) };
    let mut read = serde_json::to_value(&last).unwrap();
    let mut sent = Vec::new();
    for step in 0..3 {
        if step == 1 {
            table.insert("importer".to_owned(), serving());
            settled(&mut scene, |shown| shown.managers[0].running == 2);
        }
        let (after, patch) = next(&last, show(&scene.sample(10)));
        sent.push(patch.units.is_some());
        let patch = serde_json::to_value(&patch).unwrap();
        validate(&patch);
        read = replay(&read, &patch);
        assert_eq!(read, serde_json::to_value(&after).unwrap());
        last = after;
    }
    assert_eq!(sent, [false, true, false]);
    root.close_blocking().unwrap();
}

#[test]
fn hostile_keys_and_errors_are_only_texts() {
    let table = MemoryTable::new();
    let long = "A".repeat(1 << 20);
    for text in HOSTILE.into_iter().chain([&*long]) {
        table.insert(text.to_owned(), failing(text));
    }
    let (manager, root) = managed(table);
    let mut scene = Scene::new();
    scene.sources = [source(manager)].into();
    let shown = settled(&mut scene, |shown| shown.managers[0].ended == 7);
    let page = html(&shown);
    assert!(!page.contains("<img") && !page.contains("<script>window"));
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
    assert!(!page.contains(['\u{1b}', '\u{202e}']) && !page.contains(" style="));
    assert!(page.len() < 64 << 10, "{}", page.len());
    root.close_blocking().ok();
}

#[test]
fn texts_are_redacted_and_a_source_that_panics_is_left_out() {
    struct Broken;
    impl HasUnits for Broken {
        fn overview(&self, _: usize) -> Overview {
            panic!("no")
        }
    }
    let table = MemoryTable::new();
    table.insert("secret-1".to_owned(), failing("secret-2"));
    let (manager, root) = managed(table);
    let mut scene = Scene::new();
    scene.sources = [source(Broken), source(manager)].into();
    scene.texts = Texts::new(Some(Arc::new(|text| text.replace("secret", "x"))));
    let shown = settled(&mut scene, |shown| shown.managers[0].ended == 1);
    let json = serde_json::to_string(&shown).unwrap();
    assert!(json.contains("x-1") && json.contains("x-2") && !json.contains("secret"), "{json}");
    root.close_blocking().ok();
}

/// A frame formats only the part of an error that it shows.
#[test]
fn a_long_error_is_not_formatted_to_its_end() {
    #[derive(Debug)]
    struct Long;
    static PIECES: AtomicUsize = AtomicUsize::new(0);
    impl std::fmt::Display for Long {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            (0..1_000).try_for_each(|_| {
                PIECES.fetch_add(1, Ordering::Relaxed);
                f.write_str(&"x".repeat(1_000))
            })
        }
    }
    impl std::error::Error for Long {}
    let failing = Unit::new(body(|run| async move {
        run.ready();
        Err::<(), _>(Long)
    }));
    let table = MemoryTable::new();
    table.insert("importer".to_owned(), failing.restart(Restart::Temporary));
    let (manager, root) = managed(table);
    let mut scene = Scene::new();
    scene.sources = [source(manager)].into();
    settled(&mut scene, |shown| shown.managers[0].ended == 1);
    let before = PIECES.load(Ordering::Relaxed);
    let shown = frame(&scene.sample(10), &query());
    assert!(shown.units[0].error.as_ref().unwrap().ends_with("xxx…"), "{:?}", shown.units);
    assert_eq!(PIECES.load(Ordering::Relaxed) - before, 1);
    root.close_blocking().ok();
}

/// The ones that have failed are first, however many there are.
#[test]
fn at_most_500_units_are_listed() {
    let table = MemoryTable::new();
    for number in 0..2_000 {
        table.insert(format!("{number}-{}", "x".repeat(200)), serving());
    }
    let (manager, root) = managed(table);
    // The unit of the second manager has failed.
    let others = MemoryTable::new();
    others.insert("z".to_owned(), failing("disk full").restart(Restart::Permanent));
    let (other, other_root) = managed(others);
    let mut scene = Scene::new();
    scene.sources = [source(manager), source(other)].into();
    let shown = settled(&mut scene, |shown| {
        shown.managers[0].running == 2_000 && shown.units[0].key == "z"
    });
    assert_eq!(shown.managers[0].units + shown.managers[1].units, 2_001);
    assert_eq!(shown.units.len(), UNITS);
    assert!(html(&shown).contains("500 of 2,001 units; those that need attention come first"));
    root.close_blocking().ok();
    other_root.close_blocking().ok();
}
