//! Timelines of real processes, on real threads.

#![cfg(not(loom))]

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use procession_inspect::Timeline;
use roxmltree::{Document, Node};

fn named(name: &str, parent: &Process) -> Process {
    Process::builder().name(name).parent(parent).build().unwrap()
}

fn row<'a>(document: &'a Document<'_>, path: &str) -> Option<Node<'a, 'a>> {
    document.descendants().find(|node| node.attribute("data-path") == Some(path))
}

fn bars<'a>(row: Node<'a, 'a>) -> Vec<(&'a str, i64, i64)> {
    let number = |bar: Node<'_, '_>, name| bar.attribute(name).unwrap().parse::<i64>().unwrap();
    row.children()
        .filter(|node| node.has_tag_name("rect"))
        .map(|bar| {
            (bar.attribute("class").unwrap(), number(bar, "data-from"), number(bar, "data-to"))
        })
        .collect()
}

/// The body of `cache` ends late, then `db` is torn down, then `log`, which waits for `db`.
#[test]
fn the_slow_child_is_the_critical_path() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    // The work of teardowns takes a while.
    let pause = || thread::sleep(Duration::from_millis(60));
    let db = Process::builder().name("db").parent(&app).teardown(pause).build().unwrap();
    let (end, ended) = mpsc::channel::<()>();
    let body = move |_| {
        assert!(ended.recv().is_err());
        thread::sleep(Duration::from_millis(60));
    };
    let cache = Process::builder().name("cache").parent(&db).spawn_thread(body).unwrap();
    let http = named("http", &app);
    let sessions: Vec<_> =
        (0..98).map(|number| named(&format!("session-{number}"), &http)).collect();
    let log = Process::builder().name("log").parent(&app).wait_for(&db).teardown(pause);
    let log = log.build().unwrap();
    app.close();
    // Everything else is Closed before that.
    http.closed().wait().unwrap();
    drop(end);
    app.closed().wait().unwrap();

    let path = timeline.critical_path();
    let order: Vec<_> = ["cache: ", "db: teardown", "log: teardown"]
        .iter()
        .map(|step| path.find(step).unwrap_or_else(|| panic!("`{step}` is not in {path}")))
        .collect();
    assert!(order.is_sorted() && path[order[0]..order[1]].contains("body"), "{path}");

    let svg = timeline.to_svg();
    let document = Document::parse(&svg).unwrap();
    let cache_bars = bars(row(&document, "app/db/cache").unwrap());
    let body = cache_bars.iter().find(|bar| bar.0 == "seg body critical").expect("its body");
    assert_eq!(body.1, cache_bars[0].2, "the body goes on when closing begins");
    let http_end = bars(row(&document, "app/http").unwrap()).last().unwrap().2;
    assert!(body.2 >= http_end, "it ends after http: {body:?}, {http_end}");
    let log_bars = bars(row(&document, "app/log").unwrap());
    assert!(log_bars.iter().any(|bar| bar.0.starts_with("seg wait")), "{log_bars:?}");
    assert!(log_bars.iter().any(|bar| bar.0 == "seg teardown critical"), "{log_bars:?}");
    let tooltip = row(&document, "app/db/cache").unwrap().first_element_child().unwrap();
    assert!(tooltip.text().unwrap().contains("(thread cache)"), "{tooltip:?}");
    let folded: usize = document
        .descendants()
        .filter_map(|node| node.attribute("data-count")?.parse::<usize>().ok())
        .sum();
    let rows = document.descendants().filter(|node| node.attribute("class") == Some("row")).count();
    assert_eq!(folded + rows, 103);
    drop((cache, sessions, log));
}

#[test]
fn a_trace_has_a_thread_for_each_process() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    let _db = named("db", &app);
    app.close_blocking().unwrap();
    let trace: serde_json::Value = serde_json::from_str(&timeline.to_chrome_trace()).unwrap();
    let names: Vec<_> = trace["traceEvents"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["app", "app/db"]);
}

/// A hook is not called a teardown.
#[test]
fn a_closing_hook_is_shown_as_one() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    let (end, ended) = mpsc::channel::<()>();
    let _hook = app.on_closing(move || assert!(ended.recv().is_err())).unwrap();
    app.close();
    let deadline = Instant::now() + Duration::from_secs(60);
    // A snapshot tells that it is a hook.
    while !timeline.critical_path().contains("closing hook") {
        assert!(Instant::now() < deadline, "{}", timeline.critical_path());
    }
    drop(end);
    app.closed().wait().unwrap();
    let svg = timeline.to_svg();
    assert!(svg.contains("closing hook started at ") && !svg.contains("teardown started"), "{svg}");
    let trace: serde_json::Value = serde_json::from_str(&timeline.to_chrome_trace()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let hook = events.iter().find(|event| event["name"] == "closing hook").expect("its slice");
    assert_eq!((&hook["cat"], &hook["args"]["critical"]), (&"teardown".into(), &true.into()));
}

/// A picture while it hangs: what is open ends now.
#[test]
fn an_open_process_is_drawn_until_now() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    let (sender, receiver) = mpsc::channel::<()>();
    let stuck = Process::builder().name("stuck").parent(&app);
    let stuck = stuck.spawn_thread(move |_| assert!(receiver.recv().is_err())).unwrap();
    app.close();
    let deadline = Instant::now() + Duration::from_secs(60);
    // A snapshot tells that it has a body; drawing takes longer than looking for it.
    loop {
        let svg = timeline.to_svg();
        let document = Document::parse(&svg).unwrap();
        let bars = row(&document, "app/stuck").map(bars).unwrap_or_default();
        if bars.last().is_some_and(|bar| bar.0 == "seg body open critical") {
            assert!(svg.contains("app: closing for") && svg.contains('▶'));
            break;
        }
        assert!(Instant::now() < deadline, "{bars:?}");
    }
    drop(sender);
    stuck.closed().wait().unwrap();
    app.closed().wait().unwrap();
}

#[test]
fn processes_that_were_there_before_are_recorded() {
    let app = Process::builder().name("app").build().unwrap();
    let db = named("db", &app);
    let pause = || thread::sleep(Duration::from_millis(50));
    let _cache = Process::builder().name("cache").parent(&db).teardown(pause).build().unwrap();
    let timeline = Timeline::of(&app);
    app.close_blocking().unwrap();
    let svg = timeline.to_svg();
    let document = Document::parse(&svg).unwrap();
    for path in ["app", "app/db", "app/db/cache"] {
        assert!(row(&document, path).is_some(), "{path}");
    }
    assert!(timeline.critical_path().contains("cache: teardown"), "{}", timeline.critical_path());
}

#[test]
fn a_process_that_is_closed_before_is_forgotten_unless_it_failed() {
    let app = Process::builder().name("app").build().unwrap();
    app.on_failure(|_, _| ());
    let timeline = Timeline::of(&app);
    for _ in 0..100 {
        named("passing", &app).close_blocking().unwrap();
    }
    let failing = Process::builder().name("failing").parent(&app);
    let failing = failing.spawn_thread(|_| Err("disk <full>")).unwrap();
    failing.closed().wait().unwrap_err();
    app.close_blocking().unwrap();
    let svg = timeline.to_svg();
    let document = Document::parse(&svg).unwrap();
    let rows = document.descendants().filter(|node| node.attribute("class") == Some("row")).count();
    assert_eq!(rows, 2, "{svg}");
    let failing = row(&document, "app/failing").unwrap();
    assert!(failing.first_element_child().unwrap().text().unwrap().contains("disk <full>"));
}

#[test]
fn an_abort_is_marked() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    let body = |p: Process| assert!(p.aborting().wait());
    let worker = Process::builder().name("worker").parent(&app).spawn_thread(body).unwrap();
    app.close();
    // Something should be visible between the two.
    thread::sleep(Duration::from_millis(20));
    app.abort();
    drop(app.closed().wait());
    let svg = timeline.to_svg();
    let document = Document::parse(&svg).unwrap();
    assert!(document.descendants().any(|node| node.attribute("data-kind") == Some("abort")));
    assert!(
        svg.contains("seg body critical") && svg.contains("seg body aborted critical"),
        "{svg}"
    );
    drop(worker);
}

/// An error that misbehaves when it is formatted does no harm.
#[test]
fn an_error_that_panics_when_it_is_printed() {
    #[derive(Debug)]
    struct Bad;
    impl std::fmt::Display for Bad {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("no text")
        }
    }
    impl std::error::Error for Bad {}
    let app = Process::builder().name("app").build().unwrap();
    app.on_failure(|_, _| ());
    let timeline = Timeline::of(&app);
    let bad = Process::builder().name("bad").parent(&app).spawn_thread(|_| Err(Bad)).unwrap();
    bad.closed().wait().unwrap_err();
    drop(app.close_blocking());
    let svg = timeline.to_svg();
    let document = Document::parse(&svg).unwrap();
    let row = row(&document, "app/bad").expect("its end was recorded");
    assert!(
        row.first_element_child().unwrap().text().unwrap().contains("panicked when it was printed")
    );
}

#[test]
fn files_are_complete_or_as_they_were() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    app.close_blocking().unwrap();
    let directory = std::env::temp_dir().join(format!("procession-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    for name in ["a.svg", "a.json", "a.json.gz"] {
        timeline.save(directory.join(name)).unwrap();
    }
    let svg = std::fs::read_to_string(directory.join("a.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    let json = std::fs::read_to_string(directory.join("a.json")).unwrap();
    let compressed = std::fs::File::open(directory.join("a.json.gz")).unwrap();
    let unpacked = std::io::read_to_string(flate2::read::GzDecoder::new(compressed)).unwrap();
    assert_eq!(json, unpacked);
    let error = timeline.save(directory.join("a.png")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    let error = timeline.save(directory.join("missing/a.svg")).unwrap_err();
    assert!(error.to_string().starts_with("cannot write the timeline to `"), "{error}");
    std::fs::create_dir(directory.join("b.svg")).unwrap();
    timeline.save(directory.join("b.svg")).unwrap_err();
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 4, "nothing else is left");
    std::fs::remove_dir_all(&directory).unwrap();
}
