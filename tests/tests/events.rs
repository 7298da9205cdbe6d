//! Hooks for events (`on_event`) and for stalls (`on_stall`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procession::support::flush_events;
use procession::{Event, EventKind, Process, ProcessId, Reason};
use procession_tests::{LIMIT, ends_well, in_time};

/// The events that a hook has received.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    fn hook(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let seen = self.0.clone();
        move |event| seen.lock().unwrap().push(event.clone())
    }

    fn all(&self) -> Vec<Event> {
        assert!(flush_events(LIMIT));
        self.0.lock().unwrap().clone()
    }

    /// The kinds of the events of this process, in order.
    fn of(&self, process: &Process) -> Vec<&'static str> {
        let all = self.all();
        let own = all.iter().filter(|event| event.id() == process.id());
        own.map(|event| event.kind().name()).collect()
    }

    fn texts(&self) -> Vec<String> {
        self.all().iter().map(Event::to_string).collect()
    }
}

fn named(name: &str) -> Process {
    Process::builder().name(name).build().unwrap()
}

fn child(name: &str, parent: &Process) -> Process {
    Process::builder().name(name).parent(parent).build().unwrap()
}

/// The first event of each process is `Made`. Ids are reused, so without it a reader would take the new process for an
/// earlier one.
#[test]
fn the_first_event_of_each_process_says_that_it_was_made() {
    let seen = Seen::default();
    let app = Process::builder().name("app").on_event(seen.hook()).build().unwrap();
    app.close_when(std::future::pending::<()>()).unwrap();
    app.wait_for_future(async {}).unwrap();
    let _on_closing = app.on_closing(|| ()).unwrap();
    app.spawn(|p| async move { p.closing().await }).unwrap();
    app.close_blocking().unwrap();
    // Some of its children may be Closed a little later than the process, which does not wait for them.
    let end = Instant::now() + LIMIT;
    while !are_closed(&seen.all()) {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
}

/// Are all processes closed that these events are about? Checks that nothing happens to a process before it is made, or
/// after it is Closed.
fn are_closed(events: &[Event]) -> bool {
    let mut open = std::collections::HashSet::new();
    for event in events {
        match event.kind() {
            EventKind::Made => assert!(open.insert(event.id()), "{event}"),
            EventKind::Closed { .. } => assert!(open.remove(&event.id()), "{event}"),
            _ => assert!(open.contains(&event.id()), "{event}"),
        }
    }
    open.is_empty()
}

/// Each step in the life of a process is an event: made, closing, aborting, failed, body ended, the steps of its
/// teardown, Closed.
#[test]
fn each_step_of_a_life_is_an_event() {
    let seen = Seen::default();
    let app = Process::builder().name("app").on_event(seen.hook()).build().unwrap();
    let db = child("db", &app);
    db.set_teardown(|| Err("disk full")).unwrap();
    let body = Process::builder().name("body").parent(&app);
    let body = body.spawn(|p| async move { p.closing().await }).unwrap();
    let failing = Process::builder().name("failing").parent(&app);
    let failing = failing.spawn_thread(|_| Err("broken")).unwrap();
    assert!(failing.closed().wait().is_err());
    let stubborn = Process::builder().name("stubborn").parent(&app);
    let stubborn = stubborn.spawn(|_| std::future::pending::<()>()).unwrap();
    app.close();
    ends_well(&body);
    app.abort();
    ends_well(&app);

    assert_eq!(seen.of(&body), ["made", "closing", "body_ended", "closed"]);
    assert_eq!(seen.of(&failing), ["made", "failed", "body_ended", "closing", "closed"]);
    assert_eq!(
        seen.of(&stubborn),
        ["made", "closing", "aborting", "failed", "body_ended", "closed"]
    );
    let teardown = ["teardown_queued", "teardown_started", "failed", "teardown_ended", "closed"];
    let db_events = seen.of(&db);
    assert_eq!(db_events[..2], ["made", "closing"]);
    assert_eq!(db_events.iter().filter(|name| teardown.contains(name)).count(), 5);
    let app_events = seen.of(&app);
    assert_eq!(app_events, ["made", "closing", "aborting", "closed"]);
    let lines = seen.texts();
    assert!(lines.contains(&"app › db: closing (its parent closed)".into()), "{lines:#?}");
    assert!(lines.last().unwrap().starts_with("app: closed"), "{lines:#?}");
    let all = seen.all();
    assert!(
        all.windows(2).all(|pair| pair[0].id() != pair[1].id() || pair[0].at() <= pair[1].at())
    );
    let outcome = all.iter().find_map(|event| match event.kind() {
        EventKind::Closed { outcome, .. } if event.id() == db.id() => Some(outcome.clone()),
        _ => None,
    });
    assert_eq!(outcome.unwrap().unwrap_err().to_string(), "process `db` failed");
}

/// Many threads make and close processes. The events of each process arrive in order.
#[test]
fn the_events_of_a_process_come_in_order() {
    let seen = Seen::default();
    let app = Process::builder().on_event(seen.hook()).build().unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let app = app.clone();
            thread::spawn(move || {
                let kept: Vec<_> = (0..500).map(|_| app.child()).collect();
                thread::scope(|scope| {
                    scope.spawn(|| kept.iter().for_each(|child| drop(child.abort())));
                    kept.iter().for_each(|child| drop(child.close()));
                });
                kept
            })
        })
        .collect();
    let kept: Vec<_> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    let mut events: HashMap<ProcessId, Vec<&str>> = HashMap::new();
    for event in seen.all() {
        events.entry(event.id()).or_default().push(event.kind().name());
    }
    assert_eq!(events.len(), kept.len() + 1);
    for child in &kept {
        let events = &events[&child.id()];
        let is_aborted = ["made", "closing", "aborting", "closed"];
        assert!(*events == is_aborted || *events == ["made", "closing", "closed"], "{events:?}");
    }
    app.close_blocking().unwrap();
}

/// A hook that is set late receives the events of the processes that already exist below, and of those made later; and
/// of no others.
#[test]
fn a_late_hook_covers_existing_processes() {
    let app = named("app");
    let mid = child("mid", &app);
    let leaves: Vec<_> = (0..200).map(|_| mid.child()).collect();
    let no_wait = Process::builder().no_wait_parent(&mid).build().unwrap();
    let (outer, inner) = (Seen::default(), Seen::default());
    app.on_event(outer.hook());
    mid.on_event(inner.hook());
    let late = child("late", &mid);
    let beside = app.child();
    app.close_blocking().unwrap();
    ends_well(&no_wait);
    for seen in [&outer, &inner] {
        for leaf in &leaves {
            assert_eq!(seen.of(leaf), ["closing", "closed"]);
        }
        assert_eq!(seen.of(&no_wait), ["closing", "closed"]);
        assert_eq!(seen.of(&late), ["made", "closing", "closed"]);
        assert_eq!(seen.of(&mid), ["closing", "closed"]);
    }
    assert_eq!(outer.of(&beside), ["made", "closing", "closed"]);
    assert!(inner.of(&beside).is_empty() && inner.of(&app).is_empty());
    assert!(inner.texts().contains(&"app › mid › late: made".into()));
}

/// A process that is linked below another one inherits its hooks, as does everything below it. A further parent adds no
/// hooks.
#[test]
fn a_linked_process_inherits_from_its_first_parent() {
    let (seen, other) = (Seen::default(), Seen::default());
    let app = Process::builder().name("app").on_event(seen.hook()).build().unwrap();
    let second = Process::builder().name("second").on_event(other.hook()).build().unwrap();
    let (tree, gate) = (named("tree"), named("gate"));
    let below = child("below", &tree);
    app.add_child(&tree).unwrap();
    second.add_child(&tree).unwrap();
    let built = Process::builder().name("built").parent(&app).parent(&second).wait_for(&gate);
    let built = built.build().unwrap();
    app.close();
    gate.close();
    ends_well(&app);
    assert_eq!(seen.of(&below), ["closing", "closed"]);
    assert_eq!(seen.of(&tree), ["closing", "closed"]);
    assert_eq!(seen.of(&built)[..2], ["made", "closing"]);
    assert!(seen.texts().contains(&"app › tree › below: closing (its parent closed)".into()));
    assert!(other.all().iter().all(|event| event.id() == second.id()));
    let refused = Process::builder().name("refused").parent(&app).build();
    assert!(refused.is_err());
    assert!(!seen.texts().iter().any(|line| line.contains("refused")));
}

/// Hooks are set, and children are made, while threads close processes. Each hook receives the end of every process
/// that was still open, exactly once.
#[test]
fn a_hook_set_while_processes_close_sees_each_end_once() {
    for round in 0..50 {
        let app = Process::new();
        let mids: Vec<_> = (0..20).map(|_| app.child()).collect();
        let gate = Process::new();
        let leaves: Vec<_> = mids.iter().flat_map(|mid| (0..100).map(|_| mid.child())).collect();
        for leaf in leaves.iter().step_by(7) {
            leaf.wait_for(&gate).unwrap();
        }
        let seen = Seen::default();
        thread::scope(|scope| {
            scope.spawn(|| app.close());
            scope.spawn(|| {
                (0..round * 10).for_each(|_| std::hint::spin_loop());
                app.on_event(seen.hook());
                // The hook receives every event of a process made from here on.
                let child = mids[round % mids.len()].child();
                drop(child);
            });
        });
        gate.close();
        ends_well(&app);
        let all = seen.all();
        let mut ends: HashMap<ProcessId, usize> = HashMap::new();
        for event in all.iter().filter(|event| event.kind().name() == "closed") {
            *ends.entry(event.id()).or_default() += 1;
        }
        // The processes that waited for the gate were open when the hook was set.
        for leaf in leaves.iter().step_by(7) {
            assert_eq!(ends.get(&leaf.id()), Some(&1), "round {round}");
        }
        assert_eq!(ends.get(&app.id()), Some(&1));
    }
}

/// While a hook blocks, its queue fills up. The events that find no room are counted, and `Missed` delivers the count
/// before any later event.
#[test]
fn a_full_queue_counts_what_it_misses() {
    // An event of a child that closes at once stands for two, so whether it finds room depends on the number before it.
    for open in 0..3 {
        miss_events(open);
    }
}

/// Fills the queue after events of children that remain open.
fn miss_events(open: i64) {
    let (app, enter) = (named("app"), Arc::new(Mutex::new(())));
    let counts = Arc::new(Mutex::new((0_u64, 0_u64)));
    let blocked = enter.lock().unwrap();
    let (gate, counted) = (enter.clone(), counts.clone());
    let has_overtaken = Arc::new(AtomicBool::new(false));
    let (overtaken, made) = (has_overtaken.clone(), AtomicI64::new(0));
    app.on_event(move |event| {
        drop(gate.lock());
        let mut counts = counted.lock().unwrap();
        match event.kind() {
            EventKind::Missed { count, .. } => {
                assert_eq!(event.path(), "app");
                counts.1 += count;
                made.store(open, Ordering::Relaxed);
                return;
            }
            // Each child is closed before the next one is made.
            EventKind::Made => {
                let is_late = made.fetch_add(1, Ordering::Relaxed) > open;
                overtaken.fetch_or(is_late, Ordering::Relaxed);
            }
            EventKind::Closed { .. } => {
                made.fetch_sub(1, Ordering::Relaxed);
            }
            _ => {}
        }
        counts.0 += 1;
    });
    let _open: Vec<Process> = (0..open).map(|_| app.child()).collect();
    for _ in 0..50_000 {
        app.child().close();
    }
    drop(blocked);
    assert!(flush_events(LIMIT));
    let (told, missed) = *counts.lock().unwrap();
    assert_eq!(told + missed, 150_000 + open.unsigned_abs());
    // The library's thread had already taken one event, or a first batch, out of the queue.
    assert!((65_536..=2 * 65_536).contains(&told), "{told}");
    assert!(
        !has_overtaken.load(Ordering::Relaxed),
        "an event came before the number of missing ones"
    );
    app.close_blocking().unwrap();
}

/// A hook may panic, set another hook, close a process and wait for it. Only a wait for the hooks themselves is
/// refused.
#[test]
fn a_hook_may_do_anything() {
    let (app, other) = (named("app"), named("other"));
    let (told, panics) = (Seen::default(), Arc::new(AtomicUsize::new(0)));
    let counter = panics.clone();
    app.on_event(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        panic!("by a hook");
    });
    let (closes, seen) = (other.downgrade(), told.hook());
    let seen = Arc::new(seen);
    app.on_event(move |event| {
        assert!(!flush_events(LIMIT)); // it would wait for itself
        if let (EventKind::Made, Some(other)) = (event.kind(), closes.upgrade()) {
            let seen = seen.clone();
            other.on_event(move |event| seen(event));
            other.close_blocking().unwrap();
        }
    });
    let made = app.child();
    assert!(flush_events(LIMIT) && flush_events(LIMIT));
    assert!(other.is_closed());
    assert_eq!(told.of(&other), ["closing", "closed"]);
    assert_eq!(panics.load(Ordering::Relaxed), 1);
    drop(made);
    in_time(move || app.close_blocking()).unwrap();
}

/// Processes become Closed while a hook blocks.
#[test]
fn a_hook_that_blocks_delays_no_closing() {
    let (let_go, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let app = named("app");
    app.on_event(move |_| {
        let _ = held.lock().unwrap().recv();
    });
    let body = app.spawn_thread(|p| p.closing().wait()).unwrap();
    body.set_teardown(|| ()).unwrap();
    app.close();
    ends_well(&app);
    assert!(!flush_events(Duration::from_millis(1)));
    drop(let_go);
    assert!(flush_events(LIMIT));
}

/// Sends a message when it is dropped.
struct SendsOnDrop(mpsc::Sender<()>);

impl Drop for SendsOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A hook and its captures are dropped with the last process that has the hook.
#[test]
fn a_hook_is_dropped_with_the_last_process_that_has_it() {
    let (tell, told) = mpsc::channel();
    let app = named("app");
    let (tells, itself) = (SendsOnDrop(tell.clone()), app.clone());
    app.on_event(move |_| {
        let _captured = (&tells, &itself);
    });
    let child = app.child();
    let weak = app.downgrade();
    drop(app);
    let app = weak.upgrade().unwrap();
    assert!(!app.is_closing(), "the hook holds a handle");
    assert!(told.try_recv().is_err());
    app.close_blocking().unwrap();
    drop((app, child));
    told.recv_timeout(LIMIT).unwrap();
    let start = Instant::now();
    while weak.upgrade().is_some() {
        assert!(start.elapsed() < LIMIT);
        thread::yield_now();
    }
    // A hook that is set on a Closed process is dropped at once.
    let closed = Process::new();
    closed.close();
    let tells = SendsOnDrop(tell);
    closed.on_event(move |_| {
        let _captured = &tells;
    });
    told.recv_timeout(LIMIT).unwrap();
}

/// I11: neither setting a hook on a long chain, nor extending and closing that chain, recurses.
#[test]
fn hooks_reach_a_deep_chain_without_recursion() {
    let run = || {
        let app = Process::new();
        let mut last = app.clone();
        for _ in 0..100_000 {
            last = last.child();
        }
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        app.on_event(move |event| {
            counter.fetch_add(usize::from(event.kind().name() == "made"), Ordering::Relaxed);
        });
        for _ in 0..100_000 {
            last = last.child();
        }
        drop(app.close());
        assert!(last.is_closed());
        assert!(flush_events(LIMIT));
        count.load(Ordering::Relaxed)
    };
    let small = thread::Builder::new().stack_size(256 * 1024).spawn(run).unwrap();
    assert!(small.join().unwrap() > 0);
}

/// I18: a stall hook is called with the blockers, at doubling intervals, and is dropped with its process.
#[test]
fn a_stall_hook_is_called_with_the_blockers() {
    let app = named("app");
    let cache = Process::builder().name("cache").parent(&app);
    let (begin, begun) = mpsc::channel();
    let cache = cache.spawn_thread(move |p| {
        begin.send(()).unwrap();
        assert!(p.aborting().wait());
    });
    let cache = cache.unwrap();
    begun.recv_timeout(LIMIT).unwrap();
    let (tell, told) = mpsc::channel();
    let (dropped, is_dropped) = mpsc::channel();
    let (tells, itself) = (SendsOnDrop(dropped), app.clone());
    app.on_stall(Duration::from_millis(20), move |stall| {
        let _captured = (&tells, &itself);
        let _ = tell.send(stall.clone());
    });
    assert!(told.try_recv().is_err());
    app.close();
    let mut least = Duration::from_millis(20);
    for _ in 0..3 {
        let stall = told.recv_timeout(LIMIT).unwrap();
        assert!(stall.closing_for >= least, "{stall}");
        assert_eq!((stall.process.name(), stall.open, stall.blockers.total), (Some("app"), 2, 1));
        assert!(stall.to_string().contains("\n  app › cache: thread body `cache`"), "{stall}");
        least *= 2;
    }
    cache.abort();
    ends_well(&app);
    drop(app);
    is_dropped.recv_timeout(LIMIT).unwrap();
}

/// A process that is Closed in time does not call its stall hook, and drops it at once.
#[test]
fn a_process_that_closes_in_time_calls_no_stall_hook() {
    let calls = Arc::new(AtomicUsize::new(0));
    let (dropped, is_dropped) = mpsc::channel();
    for closes_first in [false, true] {
        let (app, gate) = procession_tests::closing();
        let app = if closes_first { app } else { named("app") };
        let (calls, tells) = (calls.clone(), SendsOnDrop(dropped.clone()));
        app.on_stall(Duration::from_secs(3600), move |_| {
            let _captured = &tells;
            calls.fetch_add(1, Ordering::Relaxed);
        });
        app.close();
        gate.close();
        ends_well(&app);
        // The hook is gone although the process still exists.
        is_dropped.recv_timeout(LIMIT).unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

/// A stall hook that panics is called again. One that blocks is not called a second time meanwhile. Neither delays
/// closing.
#[test]
fn stall_hooks_delay_no_closing() {
    let (app, gate) = (named("app"), named("gate"));
    app.wait_for(&gate).unwrap();
    let (tell, told) = mpsc::channel();
    let (let_go, held) = mpsc::channel::<()>();
    let (held, blocks) = (Mutex::new(held), Arc::new(AtomicUsize::new(0)));
    let blocked = blocks.clone();
    app.on_stall(Duration::from_millis(1), move |_| {
        let _ = tell.send(());
        panic!("by a hook");
    });
    app.on_stall(Duration::from_millis(1), move |_| {
        blocked.fetch_add(1, Ordering::Relaxed);
        let _ = held.lock().unwrap().recv();
    });
    app.close();
    (0..5).for_each(|_| told.recv_timeout(LIMIT).unwrap());
    gate.close();
    ends_well(&app);
    assert_eq!(blocks.load(Ordering::Relaxed), 1);
    assert_eq!(app.reason(), Some(Reason::Asked));
    drop(let_go);
}
