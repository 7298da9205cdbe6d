//! Samples that requests share, and viewers that miss frames. The sampler is the test.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use serde_json::Value;

use super::{Hub, Viewer};
use crate::page::query::Query;
use crate::page::tests::{replay, validate};
use crate::page::texts::Texts;
use crate::page::units::Sources;

/// Long, because machines are slow.
const LIMIT: Duration = Duration::from_secs(60);

fn hub() -> (Process, Arc<Hub>) {
    let app = Process::builder().name("app").build().unwrap();
    let hub = Hub::new(&app, Texts::default(), Sources::default());
    (app, hub)
}

fn until(is_so: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !is_so() {
        assert!(Instant::now() < end, "it takes too long");
        thread::yield_now();
    }
}

#[test]
fn requests_at_the_same_moment_share_a_sample() {
    const REQUESTS: usize = 8;
    let (app, hub) = hub();
    let history = hub.history.lock();
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| {
            let hub = hub.clone();
            thread::spawn(move || hub.sample().unwrap())
        })
        .collect();
    // One of them needs the history, and the others wait for it.
    until(|| hub.taken.total_listeners() == REQUESTS - 1 && hub.state.lock().taking == 1);
    drop(history);
    let samples: Vec<_> = requests.into_iter().map(|request| request.join().unwrap()).collect();
    assert_eq!(hub.state.lock().samples, 1);
    assert!(samples.iter().all(|sample| Arc::ptr_eq(sample, &samples[0])));
    drop(app);
}

/// Another sample that could not be used any more would only take memory.
#[test]
fn an_old_sample_is_dropped_before_the_next_one_is_taken() {
    let (app, hub) = hub();
    let old = Arc::downgrade(&hub.new_sample().unwrap());
    assert!(old.upgrade().is_some());
    let history = hub.history.lock();
    let next = {
        let hub = hub.clone();
        thread::spawn(move || hub.new_sample().unwrap())
    };
    until(|| old.upgrade().is_none());
    drop(history);
    drop(next.join().unwrap());
    assert_eq!(hub.state.lock().samples, 2);
    drop(app);
}

/// The event as its name and its data.
fn read(viewer: &mut Viewer) -> Option<(String, Value)> {
    let event = viewer.take()?.expect("the stream goes on");
    let event = std::str::from_utf8(&event).unwrap();
    let (head, data) = event.split_once("\ndata: ").unwrap();
    let name = head.lines().next().unwrap().strip_prefix("event: ").unwrap();
    let data = serde_json::from_str(data).unwrap();
    validate(&data);
    Some((name.to_owned(), data))
}

/// A slow viewer gets only the newest frame, and patches again after that.
#[test]
fn a_frame_that_is_replaced_before_it_is_read() {
    let (app, hub) = hub();
    let mut kept = Vec::new();
    let query = Query::parse("scope=all");
    let (mut fast, mut slow) = (hub.viewer(query.clone()).unwrap(), hub.viewer(query).unwrap());
    let (name, mut shown) = read(&mut fast).unwrap();
    assert_eq!((&*name, read(&mut slow)), ("frame", Some((name.clone(), shown.clone()))));
    for round in 0..4 {
        let child = Process::builder().name(format!("child {round}")).parent(&app);
        kept.push(child.build().unwrap());
        hub.tick(Hub::new_sample);
        let (name, patch) = read(&mut fast).unwrap();
        assert_eq!((&*name, &patch["base"]), ("patch", &shown["seq"]));
        shown = replay(&shown, &patch);
        assert_eq!(read(&mut fast), None);
    }
    let (name, newest) = read(&mut slow).unwrap();
    assert_eq!((&*name, &newest), ("frame", &shown));
    assert_eq!(newest["rows"].as_array().unwrap().len(), 1 + kept.len());
    assert_eq!(read(&mut slow), None);
    drop(kept.pop());
    hub.tick(Hub::new_sample);
    let next = read(&mut slow).unwrap();
    assert_eq!((&*next.0, &next.1["base"]), ("patch", &newest["seq"]));
    assert_eq!(Some(next), read(&mut fast));
    drop((fast, slow));
    assert_eq!(hub.seats.load(Ordering::Relaxed), 0);
}
