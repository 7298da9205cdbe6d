//! Other people's tools read what the timeline writes. Each test is skipped if its tool is not installed.

#![cfg(not(loom))]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use procession::{Builder, Process};
use procession_inspect::Timeline;

/// The path of an installed program. `None`, and a line on standard error, if there is none.
fn tool(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path)
        .flat_map(|place| names.iter().map(move |name| place.join(name)));
    let found = places.into_iter().find(|path| path.is_file());
    if found.is_none() {
        // A test that passes does not show what it prints with a macro.
        let _written = writeln!(std::io::stderr(), "skipped a test that needs {}", names[0]);
    }
    found
}

fn named<'a>(name: &str, parent: &'a Process) -> Builder<'a> {
    Process::builder().name(name.to_owned()).parent(parent)
}

/// A shutdown with explicit edges, a family, hostile names, a failure and an abort.
fn shutdown() -> Timeline {
    let app = Process::builder().name("app").build().unwrap();
    app.on_failure(|_, _| ());
    let timeline = Timeline::of(&app);
    let db = named("db <&>\"' ]]> \u{1b}", &app).teardown(|| ()).build().unwrap();
    let log = named("log", &app).wait_for(&db).build().unwrap();
    let failing = named("failing", &app).spawn_thread(|_| Err("disk <full> & \u{0}")).unwrap();
    failing.closed().wait().unwrap_err();
    let family: Vec<Process> =
        (0..300).map(|number| named(&format!("session-{number}"), &db).build().unwrap()).collect();
    let stubborn = named("stubborn", &db).spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    app.close();
    stubborn.closing().wait();
    app.abort();
    drop(app.closed().wait());
    drop((log, family));
    timeline
}

fn saved(name: &str) -> (Timeline, PathBuf) {
    let (timeline, path) = (shutdown(), Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    timeline.save(&path).unwrap();
    (timeline, path)
}

#[test]
fn the_picture_is_well_formed() {
    let Some(xmllint) = tool(&["xmllint"]) else { return };
    let (_timeline, path) = saved("tools.svg");
    let output = Command::new(xmllint).args(["--noout", "--nonet"]).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Perfetto counts the slices and the flows that were written, and nothing is wrong with them.
const QUERY: &str = "select 'slices', count(*) from slice \
    union all select 'flows', count(*) from flow \
    union all select 'errors', coalesce(sum(value), 0) from stats \
        where name = 'json_parser_failure' or name glob 'flow_*' or name glob 'slice_*';\n";

#[test]
fn the_trace_is_understood() {
    let Some(processor) = tool(&["trace_processor_shell", "trace_processor"]) else { return };
    let (timeline, path) = saved("tools.json");
    let query = path.with_extension("sql");
    std::fs::write(&query, QUERY).unwrap();
    let output = Command::new(processor).arg("-q").arg(&query).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let found = |name: &str| -> usize {
        let line =
            said.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\","))).expect(&said);
        line.trim().parse().expect(&said)
    };
    let trace: serde_json::Value = serde_json::from_str(&timeline.to_chrome_trace()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let written = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    // Instants are slices, too.
    assert!((written("X")..=written("X") + written("i")).contains(&found("slices")), "{said}");
    assert_eq!((found("flows"), found("errors")), (written("s"), 0));
}
