//! Tests of the Chrome trace. They read it with a parser.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use serde_json::Value;

use super::super::recording::{Detail, Recording};
use super::super::testing::{Scene, any_recording, any_shutdown, app};
use super::{BYTES, EVENTS, write};

fn trace(recording: &Recording) -> (Value, usize) {
    let mut trace = Vec::new();
    write(recording, &mut trace).expect("a vector takes everything");
    (serde_json::from_slice(&trace).expect("it is JSON"), trace.len())
}

fn events(trace: &Value) -> &[Value] {
    trace["traceEvents"].as_array().expect("they are an array")
}

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or_else(|| panic!("`{key}` of {event} is a whole number"))
}

fn of_phase<'a>(trace: &'a Value, phase: &'a str) -> impl Iterator<Item = &'a Value> {
    events(trace).iter().filter(move |event| event["ph"] == phase)
}

/// T3: whole numbers, slices of one `tid` that nest, flows with two ends inside slices.
fn check(trace: &Value) {
    let mut slices: BTreeMap<u64, Vec<(u64, u64, &str)>> = BTreeMap::new();
    for event in of_phase(trace, "X") {
        let (from, to) = (number(event, "ts"), number(event, "ts") + number(event, "dur"));
        assert!(from < to);
        slices.entry(number(event, "tid")).or_default().push((
            from,
            to,
            event["cat"].as_str().unwrap(),
        ));
    }
    for slices in slices.values_mut() {
        // Stable: slices that begin together nest in file order.
        slices.sort_by_key(|(from, ..)| *from);
        let mut open: Vec<(u64, u64, &str)> = Vec::new();
        for &slice in &*slices {
            while open.last().is_some_and(|outer| outer.1 <= slice.0) {
                open.pop();
            }
            if let Some(outer) = open.last() {
                assert!(slice.1 <= outer.1, "{slice:?} overlaps {outer:?}");
            }
            if !["run", "closing", "fold"].contains(&slice.2) {
                assert_eq!(open.last().map(|outer| outer.2), Some("closing"));
            }
            open.push(slice);
        }
    }
    let mut flows: HashMap<u64, Vec<&Value>> = HashMap::new();
    for event in of_phase(trace, "s").chain(of_phase(trace, "f")) {
        flows.entry(number(event, "id")).or_default().push(event);
        let (tid, at) = (number(event, "tid"), number(event, "ts"));
        let is_in = |&(from, to, cat): &(u64, u64, &str)| cat == "closing" && from <= at && at < to;
        assert!(slices[&tid].iter().any(is_in), "{event} is in no slice");
    }
    for ends in flows.values() {
        let [begin, end] = ends[..] else { panic!("a flow has two ends: {ends:?}") };
        assert_eq!((&begin["ph"], &end["ph"]), (&"s".into(), &"f".into()));
        assert_eq!(number(begin, "ts"), number(end, "ts"));
        assert_eq!(end["bp"], "e");
    }
    for event in of_phase(trace, "i").chain(of_phase(trace, "C")) {
        number(event, "ts");
    }
    assert!(events(trace).len() <= EVENTS);
}

#[test]
fn the_app_is_written_as_specified() {
    let recording = app().recording;
    let (trace, _) = trace(&recording);
    check(&trace);
    let names: HashMap<_, _> = of_phase(&trace, "M")
        .filter(|event| event["name"] == "thread_name")
        .map(|event| (event["args"]["name"].as_str().unwrap(), number(event, "tid")))
        .collect();
    assert_eq!(names.len(), 110);
    assert_eq!((names["app"], names["app/db"], names["app/db/cache"]), (1, 2, 3));
    let find = |tid: u64, cat: &str| {
        let is_it = |event: &&Value| number(event, "tid") == tid && event["cat"] == cat;
        of_phase(&trace, "X").find(is_it).unwrap_or_else(|| panic!("{cat} of {tid}"))
    };
    let closing = find(3, "closing");
    assert_eq!((number(closing, "ts"), number(closing, "dur")), (12_000_000, 5_020_000));
    assert_eq!(closing["args"]["thread"], "cache-refresh");
    assert_eq!(closing["args"]["critical_us"], 5_020_000);
    assert_eq!(find(2, "wait")["name"], "waits for app/db/cache");
    let body = find(3, "body");
    assert_eq!((&body["args"]["critical"], &body["cname"]), (&true.into(), &"terrible".into()));
    let run = find(1, "run");
    assert_eq!((number(run, "ts"), number(run, "dur")), (11_000_000, 1_000_000));
    assert_eq!(trace["otherData"]["total_us"], 6_310_000);
    assert_eq!(trace["otherData"]["folded"], 0);
    let flows: Vec<_> =
        of_phase(&trace, "s").map(|event| (number(event, "tid"), number(event, "ts"))).collect();
    assert_eq!(flows[..2], [(3, 17_019_999), (2, 18_229_999)]);
    let signal = of_phase(&trace, "i").find(|event| event["cat"] == "signal").unwrap();
    assert_eq!((&signal["s"], &signal["name"]), (&"g".into(), &"SIGINT".into()));
    let counter: Vec<u64> =
        of_phase(&trace, "C").map(|event| number(&event["args"], "open")).collect();
    assert_eq!((counter.first(), counter.last()), (Some(&110), Some(&0)));
}

#[test]
fn hostile_names_are_strings() {
    let mut scene = Scene::new("app");
    for name in ["\"}],\"x\":[{", "</script>", "\\", "\u{2028}", "\\u{1b}[2J", "é\u{10FFFF}"] {
        let child = scene.child(0, name);
        scene.closed(child, 0, 10);
        let text: Box<str> = name.into();
        let detail =
            Detail { error: Some(text.clone()), thread: Some(text.clone()), reason: Some(text) };
        scene.recording.details.insert(child, detail);
    }
    scene.closed(0, 0, 10);
    let (trace, _) = trace(&scene.recording);
    check(&trace);
    let names: Vec<_> = of_phase(&trace, "M")
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"app/\"}],\"x\":[{") && names.contains(&"app/\\"));
}

#[test]
fn a_large_trace_is_folded() {
    let mut scene = Scene::new("app");
    for number in 0..100_000_u64 {
        let child = scene.child(0, &format!("{}-{number}", "'\"".repeat(50)));
        scene.closed(child, 0, 10 + number);
    }
    scene.closed(0, 0, 200_000);
    let (trace, bytes) = trace(&scene.recording);
    check(&trace);
    assert!(bytes <= BYTES, "{bytes}");
    assert!(trace["otherData"]["folded"].as_u64().unwrap() > 90_000);
    let samples = of_phase(&trace, "C").count();
    assert!((900..=1_000).contains(&samples), "{samples}");
}

proptest! {
    #![proptest_config(super::super::testing::cases())]

    #[test]
    fn any_recording_is_written(recording in any_recording()) {
        check(&trace(&recording).0);
    }

    #[test]
    fn any_shutdown_is_written(recording in any_shutdown()) {
        let (trace, _) = trace(&recording);
        check(&trace);
        prop_assert_eq!(&trace["otherData"]["folded"], 0);
    }
}
