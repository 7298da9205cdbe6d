//! Tests of the recorder. A test hands it real events, in an order that the test chooses.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use parking_lot::Mutex;
use procession::{Event, EventKind, Process, ProcessId, support};

use super::super::recording::{Edge, EdgeKind, MarkKind, Recording};
use super::super::segments::Bounds;
use super::{CAPACITY, Recorder};

/// The events of a tree.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<Event>>>);

impl Events {
    fn of(root: &Process) -> Self {
        let events = Self::default();
        let list = events.0.clone();
        root.on_event(move |event| list.lock().push(event.clone()));
        events
    }

    fn take(&self) -> Vec<Event> {
        assert!(support::flush_events(Duration::from_secs(60)));
        let events = std::mem::take(&mut *self.0.lock());
        assert!(!events.iter().any(|event| matches!(event.kind(), EventKind::Missed { .. })));
        events
    }
}

fn app() -> Process {
    Process::builder().name("app").build().unwrap()
}

/// `count` processes below `app` that close after it has begun to. Their handles keep their ids from being used again.
fn shutdown(count: usize) -> (Process, Vec<Process>, Vec<Event>) {
    let app = app();
    let events = Events::of(&app);
    let (mut processes, mut made, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for first in (0..count).step_by(10_000) {
        let numbers = first..(first + 10_000).min(count);
        let child = |number| Process::builder().name(format!("connection {number}")).parent(&app);
        processes.extend(numbers.map(|number| child(number).build().unwrap()));
        made.extend(events.take());
    }
    for part in processes.chunks(10_000) {
        part.iter().for_each(|process| drop(process.close()));
        closed.extend(events.take());
    }
    app.close_blocking().unwrap();
    let mut end = events.take();
    made.push(end.remove(0)); // the root is closing
    (app, processes, made.into_iter().chain(closed).chain(end).collect())
}

fn recording(recorder: &Recorder) -> Recording {
    recorder.recording()
}

#[test]
fn a_process_takes_at_most_160_bytes() {
    let (app, _processes, events) = shutdown(CAPACITY - 1);
    let mut recorder = None;
    let heap = measure(|| {
        let own = recorder.insert(Recorder::new(&app));
        events.iter().for_each(|event| own.observe(event));
    });
    let each = heap.bytes_current as f64 / CAPACITY as f64;
    println!("{each:.1} bytes for each of {CAPACITY} processes");
    assert!(each <= 160.0, "{each}");
    let recording = recording(&recorder.unwrap());
    assert_eq!((recording.lives.len(), recording.not_recorded), (CAPACITY, 0));
    assert!(recording.lives.iter().all(super::Life::is_closed));
}

#[test]
fn processes_beyond_the_limit_are_counted() {
    let (app, _processes, events) = shutdown(CAPACITY + 1_203);
    let recorder = Recorder::new(&app);
    events.iter().for_each(|event| recorder.observe(event));
    let recording = recording(&recorder);
    assert_eq!((recording.lives.len(), recording.not_recorded), (CAPACITY, 1_204));
    assert!(recording.lives[0].is_closed());
}

/// In a program that runs for a long time, processes that have come and gone leave nothing behind.
#[test]
fn what_is_closed_before_leaves_nothing() {
    let app = app();
    let (events, recorder) = (Events::of(&app), Recorder::new(&app));
    let mut before = None;
    for _ in 0..20 {
        for number in 0..1_000 {
            let parent = Process::builder().name(format!("request {number}")).parent(&app);
            let parent = parent.build().unwrap();
            let _child = Process::builder().name("query").parent(&parent).build().unwrap();
            parent.close_blocking().unwrap();
        }
        events.take().iter().for_each(|event| recorder.observe(event));
        let state = recorder.state.lock();
        let size = (state.slots.len(), state.slots.capacity(), state.edges.len());
        assert_eq!(*before.get_or_insert(size), size);
        assert_eq!((size.0, state.store.kept().lives.len()), (1, 1));
    }
}

/// An id is used again while the root is Closing: a new process has a life of its own (T2).
#[test]
fn a_used_id_begins_a_new_life() {
    let app = app();
    let (events, recorder) = (Events::of(&app), Recorder::new(&app));
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let holder = app.spawn_thread(move |_| assert!(held.recv().is_err())).unwrap();
    app.close();
    let mut ids: Vec<ProcessId> = Vec::new();
    let mut made = 0;
    while made < 10_000 && (made < 10 || ids[..made - 1].iter().all(|id| *id != ids[made - 1])) {
        let late = Process::builder().name(format!("late {made}")).parent(&app).build().unwrap();
        ids.push(late.id());
        made += 1;
    }
    drop(hold);
    drop(holder);
    app.closed().wait().unwrap();
    events.take().iter().for_each(|event| recorder.observe(event));
    let recording = recording(&recorder);
    assert_eq!(recording.lives.len(), 2 + made);
    let names: std::collections::HashSet<_> =
        recording.lives.iter().filter_map(|life| life.name.as_deref()).collect();
    assert_eq!(names.len(), 1 + made, "app and those that were late");
}

/// What only a snapshot shows: edges, also to and from processes about which there was no event yet (T3).
#[test]
fn a_snapshot_adds_edges() {
    let app = app();
    let db = Process::builder().name("db").parent(&app).build().unwrap();
    let cache = Process::builder().name("cache").parent(&db).build().unwrap();
    let log = Process::builder().name("log").parent(&app).wait_for(&db).build().unwrap();
    let tail = Process::builder().name("tail").parent(&app).close_after(&log).build().unwrap();
    app.add_child(&cache).unwrap();
    let outside = Process::builder().name("outside").build().unwrap();
    tail.wait_for(&outside).unwrap();
    let side = Process::builder().name("side").no_wait_parent(&app).build().unwrap();
    let recorder = Recorder::new(&app);
    recorder.add(&app.snapshot());
    recorder.add(&app.snapshot());
    let recording = recording(&recorder);
    let index = |name: &str| {
        let is_it = |life: &super::Life| life.name.as_deref() == Some(name);
        recording.lives.iter().position(is_it).map(|index| index as u32)
    };
    let find = |name: &str| index(name).unwrap_or_else(|| panic!("{name} is recorded"));
    assert_eq!(index("outside"), None, "it is not below the root, so no event will end it");
    let parent = |name| recording.life(find(name)).parent();
    assert_eq!((parent("db"), parent("log")), (Some(0), Some(0)));
    let mut expected = vec![
        Edge { from: find("log"), to: find("db"), kind: EdgeKind::WaitFor },
        Edge { from: find("tail"), to: find("log"), kind: EdgeKind::CloseAfter },
        Edge { from: 0, to: find("side"), kind: EdgeKind::NoWaitChild },
    ];
    // The one that found it first is the first parent; the other edge is explicit.
    expected.push(match parent("cache") {
        Some(0) => Edge { from: find("db"), to: find("cache"), kind: EdgeKind::Child },
        _ => Edge { from: 0, to: find("cache"), kind: EdgeKind::Child },
    });
    expected.sort_unstable();
    assert_eq!(recording.edges, expected);
    drop((db, log, side));
}

#[test]
fn a_stall_is_a_mark_with_its_blockers() {
    let app = app();
    let recorder = Recorder::new(&app);
    let observer = recorder.clone();
    let (sender, told) = std::sync::mpsc::channel();
    support::on_stall_unrecorded(&app, Duration::from_millis(1), move |stall| {
        observer.stall(stall);
        let _has_receiver = sender.send(());
    });
    let body = |p: Process| assert!(p.aborting().wait());
    let _stuck = Process::builder().name("stuck").parent(&app).spawn_thread(body).unwrap();
    app.close();
    // The first report may come before the thread has begun.
    let is_it = |line: &String| line.starts_with("app › stuck: thread body `stuck`");
    loop {
        told.recv_timeout(Duration::from_secs(30)).unwrap();
        let recording = recording(&recorder);
        assert!(recording.marks.iter().all(|mark| mark.kind == MarkKind::Stall));
        if recording.marks.iter().any(|mark| mark.lines.iter().any(is_it)) {
            break;
        }
    }
    drop(app.abort().wait());
}

/// The first parent of each process is that of its events, though names are not unique.
#[test]
fn parents_are_found_by_their_ids() {
    let app = app();
    let (events, recorder) = (Events::of(&app), Recorder::new(&app));
    let twins: Vec<Process> =
        (0..2).map(|_| Process::builder().name("twin").parent(&app).build().unwrap()).collect();
    let children: Vec<Process> = (0..10)
        .map(|number| Process::builder().name(format!("{number}")).parent(&twins[number % 2]))
        .map(|builder| builder.build().unwrap())
        .collect();
    app.close_blocking().unwrap();
    events.take().iter().for_each(|event| recorder.observe(event));
    let recording = recording(&recorder);
    for (number, life) in recording.lives[3..].iter().enumerate() {
        assert_eq!(life.name.as_deref(), Some(&*number.to_string()));
        assert_eq!(life.parent(), Some(1 + number as u32 % 2));
        let own = Bounds::of(life, recording.until).unwrap();
        assert!(own.closed <= recording.until);
    }
    drop(children);
}

/// Of the events of a burst, some may be lost. Those that are left are shown as they are, and nothing is shown as open.
#[test]
fn lost_events_do_not_keep_processes_open() {
    let (app, _processes, events) = shutdown(1_000);
    let recorder = Recorder::new(&app);
    let is_kept = |number: &usize| number % 3 > 0;
    // The event that the root is closing is lost too, and that it is Closed.
    for (_, event) in
        (0..).zip(&events).filter(|(number, event)| is_kept(number) && event.id() != app.id())
    {
        recorder.observe(event);
    }
    recorder.state.lock().missed = 1_000;
    let recording = recording(&recorder);
    let closing = recording.lives.iter().filter(|life| Bounds::of(life, u64::MAX).is_some());
    assert!(closing.clone().count() > 300);
    assert!(closing.into_iter().all(super::Life::is_closed));
    assert!(recording.lives[0].is_closed());
    assert_eq!(recording.missed, 1_000);
}
