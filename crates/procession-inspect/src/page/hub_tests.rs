//! Samples that requests share, and viewers that miss frames. The sampler is the test.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use procession::support::flush_events;
use serde_json::Value;

use super::{Hub, PAUSE, SHORT_PAUSE, Shows, Viewer};
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
    // One of them needs the history, and does not listen any more. The others wait for it.
    until(|| hub.state.lock().taking == 1);
    until(|| hub.taken.total_listeners() == REQUESTS - 1);
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

/// The last sample is fresh for longer than the test takes.
fn keep_fresh(hub: &Hub) {
    if let Some((until, _)) = &mut hub.state.lock().sample {
        *until += 60 * LIMIT;
    }
}

#[test]
fn a_fresh_sample_is_not_used_once_the_root_closes() {
    let (app, hub) = hub();
    let child = Process::builder().name("child").parent(&app);
    let child = child.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    let running = hub.sample().unwrap();
    keep_fresh(&hub);
    assert_eq!(hub.pause(&running, Duration::ZERO), PAUSE);
    app.close();
    hub.state.lock().closing_since = Some(Instant::now());
    assert_eq!(hub.pause(&running, Duration::ZERO), SHORT_PAUSE);
    // One that waits for a sample of the time before does not use it either.
    hub.state.lock().taking = 1;
    let waits = {
        let hub = hub.clone();
        thread::spawn(move || hub.sample().unwrap())
    };
    until(|| hub.taken.total_listeners() == 1);
    drop(super::Turn(&hub));
    let closing = waits.join().unwrap();
    assert_eq!((running.summary.state, closing.summary.state), (Shows::Running, Shows::Closing));
    keep_fresh(&hub);
    assert!(Arc::ptr_eq(&hub.sample().unwrap(), &closing));
    drop(child);
    app.abort().wait().ok();
}

/// Even if closing takes less time than a sample of the running program is fresh.
#[test]
fn a_viewer_sees_that_the_root_closes() {
    let app = Process::builder().name("app").build().unwrap();
    let child = Process::builder().name("child").parent(&app);
    let child = child.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    let hub = Hub::start(&app, Texts::default(), Sources::default());
    let mut viewer = hub.viewer(Query::default()).unwrap();
    let (name, frame) = read(&mut viewer).unwrap();
    assert_eq!((&*name, &frame["summary"]["state"]), ("frame", &"running".into()));
    keep_fresh(&hub);
    app.close();
    let end = Instant::now() + LIMIT;
    loop {
        assert!(Instant::now() < end, "no frame shows that it closes");
        match read(&mut viewer) {
            Some((_, event)) if event["summary"]["state"] == "closing" => break,
            _ => thread::yield_now(),
        }
    }
    drop(child);
    app.abort().wait().ok();
}

/// An error that asks for the page when it is displayed, once there is one, and waits for the answer.
struct Asks {
    hub: Arc<Mutex<Option<Arc<Hub>>>>,
    has_asked: Arc<AtomicBool>,
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hub = self.hub.lock().unwrap().take();
        if let Some(hub) = hub {
            let (answer, answered) = mpsc::channel();
            thread::spawn(move || answer.send(hub.sample().is_some()));
            assert_eq!(answered.recv_timeout(LIMIT), Ok(true));
            self.has_asked.store(true, Ordering::Relaxed);
        }
        f.write_str("disk full")
    }
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Asks")
    }
}

impl std::error::Error for Asks {}

/// It is Closed after the outcome was read, and before the snapshot.
#[test]
fn a_root_that_is_closed_has_an_outcome() {
    for take in [Hub::sample, Hub::new_sample] {
        let (asked, has_asked) = (Arc::<Mutex<_>>::default(), Arc::<AtomicBool>::default());
        let error = Asks { hub: asked.clone(), has_asked: has_asked.clone() };
        let app = Process::builder().name("app").teardown(move || Err(error)).build().unwrap();
        let hub = Hub::new(&app, Texts::default(), Sources::default());
        let history = hub.history.lock();
        let request = {
            let hub = hub.clone();
            thread::spawn(move || take(&hub).unwrap())
        };
        until(|| hub.state.lock().taking == 1);
        assert!(app.close_blocking().is_err());
        flush_events(LIMIT);
        *asked.lock().unwrap() = Some(hub.clone());
        drop(history);
        let sample = request.join().unwrap();
        assert!(has_asked.load(Ordering::Relaxed));
        // No later sample replaces this one.
        drop(app);
        for sample in [sample, hub.sample().unwrap(), hub.new_sample().unwrap()] {
            assert_eq!(sample.summary.state, Shows::Closed);
            let outcome = sample.summary.outcome.as_deref();
            assert!(outcome.is_some_and(|outcome| outcome.contains("disk full")), "{outcome:?}");
        }
    }
}
