//! What is shown of processes that have failed.

use std::collections::HashSet;
use std::sync::Arc;

use procession::Process;

use super::detail::detail;
use super::frame::frame;
use super::html;
use super::query::Query;
use super::tests::{Scene, validate};
use super::texts::Texts;

/// Even those of processes that are Closed. The errors of one process share a limit.
#[test]
fn details_have_long_errors() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let texts = ["\u{e9}".repeat(1 << 20), "\u{1b}\"".repeat(1 << 19), "x".repeat(40_000)];
    let fail = |text: String| {
        let failing = Process::builder().name("failing").parent(&app);
        let other = text.clone();
        let body = move |p: Process| {
            p.closing().wait();
            Err(text)
        };
        failing.teardown(move || Err(other)).spawn_thread(body).unwrap()
    };
    let failing = texts.map(fail);
    // A process that was seen keeps its key.
    drop(scene.sample(1));
    for failing in &failing {
        failing.close_blocking().unwrap_err();
    }
    let sample = scene.sample(1_000);
    assert_eq!(sample.failures.len(), 6);
    let keys: HashSet<u64> = sample.failures.iter().map(|failure| failure.key).collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let detail = detail(&sample, key).expect("it has failed");
        let length: usize = detail.errors.iter().map(String::len).sum();
        assert!((60_000..=64 << 10).contains(&length), "{length}");
        let json = serde_json::to_value(&detail).unwrap();
        assert!(json.to_string().len() < 128 << 10);
        validate(&json);
        let page =
            html::detail_page(&frame(&sample, &Query::default()), &detail, &Query::default(), "");
        assert!(page.contains("✕ Failed") && page.contains("<pre>"));
    }
    assert!(detail(&sample, 999).is_none());
    app.close_blocking().ok();
}

/// A name is not divided where it contains a `/`.
#[test]
fn names_may_contain_slashes() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let files = scene.child(&app, "files/tmp");
    let failing =
        Process::builder().name("a/b").parent(&files).spawn_thread(|_| Err("no")).unwrap();
    failing.closed().wait().unwrap_err();
    let open = scene.child(&files, "c/d");
    let sample = scene.sample(1);
    let failure = &sample.failures[0];
    assert_eq!((&*failure.path, &*failure.label), ("app/files/tmp/a/b", "a/b"));
    assert_eq!(failure.who, "app › files/tmp › a/b");
    assert_eq!(detail(&sample, failure.key).unwrap().who, failure.who);
    let query = Query::parse("sort=name");
    let shown = frame(&sample, &query);
    let page = html::page(&shown, &query, "", true);
    for who in [">app › files/tmp › a/b<", "app › files/tmp › c/d"] {
        assert!(page.contains(who) && !page.contains("files › tmp"), "{who}: {page}");
    }
    drop(open);
    app.close_blocking().ok();
}

/// A site is redacted only in a path.
#[test]
fn a_process_without_a_name_is_shown_as_its_site() {
    let mut scene = Scene::new();
    scene.texts = Texts::new(Some(Arc::new(|_| "x".to_owned())));
    let app = scene.app.clone();
    for name in [None, Some(""), Some("writer")] {
        let failing = Process::builder().parent(&app);
        let failing = match name {
            Some(name) => failing.name(name),
            None => failing,
        };
        let failing = failing.spawn_thread(|p| {
            p.closing().wait();
            Err("no")
        });
        let failing = failing.unwrap();
        let site = failing.site().to_string();
        let expected = if name == Some("writer") { "x" } else { &*site };
        let sample = scene.sample(1);
        let index = (0..).find(|&index| sample.process(index).id() == failing.id()).unwrap();
        assert_eq!(scene.texts.label(sample.process(index)), expected);
        failing.close_blocking().unwrap_err();
        let failure = &scene.sample(1).failures[0];
        assert_eq!((&*failure.label, &*failure.path), (expected, "x/x"));
        assert_eq!((&*failure.who, &failure.site), ("x › x", &site));
    }
    app.close_blocking().ok();
}

/// Even if no sample has shown the process. A process that takes its place later has another key.
#[test]
fn the_failures_of_a_process_have_one_key() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let mut keys = HashSet::new();
    for round in 0..20 {
        let failing = Process::builder().name("failing").parent(&app).teardown(|| Err("teardown"));
        let failing = failing.spawn_thread(|_| Err("body")).unwrap();
        failing.closed().wait().unwrap_err();
        drop(failing);
        if round % 2 == 0 {
            continue;
        }
        let failures = scene.sample(1).failures;
        assert_eq!(failures.len(), 2 * (round + 1));
        for both in failures[..4].chunks(2) {
            assert_eq!(both[0].key, both[1].key, "{failures:?}");
            assert!(keys.insert(both[0].key), "{failures:?}");
        }
    }
    app.close_blocking().ok();
}
