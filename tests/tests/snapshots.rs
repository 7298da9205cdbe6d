//! What a process says about itself and everything below it: snapshots, blockers, paths and labels (I18).

use std::future::pending;
use std::sync::mpsc;
use std::time::Instant;

use procession::{BlockerKind, Limited, Link, Phase, Process, Work};
use procession_tests::{LIMIT, ends_well, outcome};

fn named(name: &str) -> Process {
    Process::builder().name(name).build().unwrap()
}

fn child(name: &str, parent: &Process) -> Process {
    Process::builder().name(name).parent(parent).build().unwrap()
}

/// Waits until the lines of the blockers start with the expected texts.
fn blockers_become(process: &Process, expected: &[&str]) {
    let start = Instant::now();
    loop {
        let blockers = process.blockers(16);
        let mut lines: Vec<String> = blockers.first.iter().map(ToString::to_string).collect();
        lines.sort();
        let is_so = |(line, expected): (&String, &&str)| line.starts_with(expected);
        if lines.len() == expected.len() && lines.iter().zip(expected).all(is_so) {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{lines:#?}\ninstead of\n{expected:#?}");
        std::thread::yield_now();
    }
}

/// The edges between named processes, as `upper kind lower`, sorted.
fn edges(process: &Process) -> Vec<String> {
    let snapshot = process.snapshot();
    let name = |index: usize| snapshot.process(index).name().unwrap_or_default().to_owned();
    let edges = snapshot.edges();
    let mut edges: Vec<String> = edges
        .map(|edge| format!("{} {:?} {}", name(edge.from()), edge.kind(), name(edge.to())))
        .collect();
    edges.sort();
    edges
}

/// A snapshot has each kind of edge, and waits that are over leave none behind.
#[test]
fn a_snapshot_has_every_kind_of_edge() {
    let app = named("app");
    let (db, http) = (child("db", &app), child("http", &app));
    let shared = child("shared", &db);
    http.add_child(&shared).unwrap();
    http.add_child_no_wait(&named("refresh")).unwrap();
    let outside = named("outside");
    http.wait_for(&outside).unwrap();
    db.close_after(&http).unwrap();
    let limited = Limited::new(&app, 1).unwrap();
    let held = limited.acquire().wait().unwrap();
    let (blocked, queue) = (outside.clone(), limited.clone());
    let waits = Process::builder().name("waits").parent(&app);
    let waits = waits.spawn_thread(move |_| blocked.closed().wait()).unwrap();
    let queues = Process::builder().name("queues").parent(&app);
    let queues = queues.spawn_thread(move |_| queue.acquire().wait().map(drop)).unwrap();
    let start = Instant::now();
    while !(edges(&app).iter().any(|edge| edge.contains("Blocked"))
        && edges(&app).iter().any(|edge| edge.contains("SlotWait")))
    {
        assert!(start.elapsed() < LIMIT, "{:?}", edges(&app));
        std::thread::yield_now();
    }
    assert_eq!(
        edges(&app),
        [
            "app Child ",
            "app Child db",
            "app Child http",
            "app Child queues",
            "app Child waits",
            "db Child shared",
            "db CloseAfter http",
            "http Child shared",
            "http NoWaitChild refresh",
            "http WaitFor outside",
            "queues SlotWait ",
            "waits Blocked outside",
        ]
    );
    let snapshot = app.snapshot();
    assert_eq!(snapshot.root().id(), app.id());
    assert_eq!(snapshot.path(shared.id()).as_deref(), Some("app/db/shared"));
    assert_eq!(db.snapshot().path(shared.id()).as_deref(), Some("app/db/shared"));
    assert_eq!(snapshot.path(outside.id()).as_deref(), Some("outside"));
    assert!(snapshot.get(waits.id()).is_some_and(|info| info.work() == Work::ThreadBody));
    let limiter = snapshot.get(limited.process().id()).unwrap();
    assert_eq!(limiter.held_slots().len(), 1);
    assert!(limiter.held_slots()[0].site.file().ends_with("snapshots.rs"));

    // The waits are over, and their edges are gone.
    drop(held);
    ends_well(&queues);
    outside.close();
    ends_well(&waits);
    let limiter = limited.process().snapshot();
    assert!(limiter.root().held_slots().is_empty());
    assert!(!edges(&app).iter().any(|edge| edge.contains("queues") || edge.contains("outside")));
    app.close_blocking().unwrap();
}

/// Children are read in chunks: a snapshot has each of them once, whatever their number.
#[test]
fn each_of_many_children_is_seen_once() {
    for count in [0, 1, 63, 64, 65, 128, 1000] {
        let app = Process::new();
        let children: Vec<_> = (0..count).map(|_| app.child()).collect();
        // Children that are gone leave gaps in the list.
        children.iter().step_by(3).for_each(|child| drop(child.close()));
        let open = children.iter().filter(|child| !child.is_closed()).count();
        let snapshot = app.snapshot();
        assert_eq!(snapshot.processes().len(), open + 1);
        assert_eq!(snapshot.edges().len(), open);
        let mut ids: Vec<_> = snapshot.processes().map(|info| info.id()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), open + 1);
    }
}

/// A ring of processes that close each other ends, both in a snapshot and in a path.
#[test]
fn a_ring_is_seen_once() {
    let ring = ["one", "two", "three"].map(named);
    for (index, process) in ring.iter().enumerate() {
        process.add_child_no_wait(&ring[(index + 1) % 3]).unwrap();
    }
    let snapshot = ring[0].snapshot();
    assert_eq!((snapshot.processes().len(), snapshot.edges().len()), (3, 3));
    // Each process of the ring is also above the first one.
    let path = snapshot.path(ring[2].id()).unwrap();
    assert_eq!(path, "two/three/one/two/three");
    assert_eq!(ring[0].path(), "two/three/one");
    let outside = named("outside");
    outside.wait_for(&ring[1]).unwrap();
    let snapshot = outside.snapshot();
    assert_eq!(snapshot.processes().len(), 4);
    assert!(ring.iter().all(|process| snapshot.path(process.id()).is_some()));
}

/// The root has one parent, which is below it: it is listed once.
#[test]
fn a_root_on_a_ring_is_listed_once() {
    let upper = named("upper");
    let root = Process::builder().name("root").no_wait_parent(&upper).build().unwrap();
    root.add_child_no_wait(&upper).unwrap();
    let snapshot = root.snapshot();
    assert_eq!((snapshot.processes().len(), snapshot.edges().len()), (2, 2), "{snapshot}");
    assert_eq!(snapshot.edges_of(1).next().map(|edge| edge.to()), Some(0));
}

/// A snapshot has the phase, the reason, the work and the ages of each process.
#[test]
fn a_snapshot_has_phases_reasons_and_ages() {
    let app = named("app");
    let body = Process::builder().name("body").parent(&app).spawn(|_| pending::<()>()).unwrap();
    let snapshot = app.snapshot();
    let (running, root) = (snapshot.get(body.id()).unwrap(), snapshot.root());
    assert_eq!((running.phase(), running.closing_for()), (Phase::Running, None));
    assert_eq!((running.work(), root.work()), (Work::AsyncBody, Work::None));
    assert!(running.work_for().is_some_and(|age| age < LIMIT) && running.reason().is_none());
    app.close();
    let snapshot = app.snapshot();
    let (closing, root) = (snapshot.get(body.id()).unwrap(), snapshot.root());
    assert_eq!((closing.phase(), root.phase()), (Phase::Closing, Phase::Closing));
    assert_eq!(closing.reason(), Some(&procession::Reason::ParentClosed));
    assert!(closing.closing_for().is_some_and(|age| age < LIMIT));
    assert!(!closing.is_aborting() && closing.aborting_for().is_none());
    drop(outcome(&app.abort()));
    assert!(body.outcome().unwrap().is_err());
}

/// The age of an abort counts from the call, for everything below that it aborted.
#[test]
fn an_abort_has_the_age_of_its_beginning() {
    let app = named("app");
    let middle = child("middle", &app);
    let (release, released) = mpsc::channel::<()>();
    let stubborn = Process::builder().name("stubborn").parent(&middle);
    let stubborn = stubborn.spawn_thread(move |_| released.recv().unwrap_or(())).unwrap();
    app.close();
    blockers_become(&app, &["app › middle › stubborn: thread body `stubborn` ("]);
    middle.abort();
    let snapshot = app.snapshot();
    let aborted = |process: &Process| snapshot.get(process.id()).unwrap().aborting_for();
    assert!(aborted(&app).is_none());
    assert!(aborted(&middle).is_some() && aborted(&stubborn).is_some());
    // A snapshot of the lowest process alone has it too.
    assert!(stubborn.snapshot().root().aborting_for().is_some());
    let line = app.blockers(1).first[0].to_string();
    assert!(line.contains(", aborted ") && line.ends_with(" ago"), "{line}");
    drop(release);
    ends_well(&app);
}

/// Each kind of blocker has a line, with the chain down to it.
#[test]
fn each_kind_of_blocker() {
    let app = named("app");
    let db = child("db", &app);
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    let until_released = move || {
        let released = released.clone();
        move || released.lock().unwrap().recv().unwrap_or(())
    };
    let body = until_released();
    let cache = Process::builder().name("cache").parent(&db);
    let _cache = cache.spawn_thread(move |_| body()).unwrap();
    let session = Process::builder().name("session").parent(&app);
    let _session = session.spawn(|_| pending::<()>()).unwrap();
    let log = child("log", &app);
    let server = named("server");
    log.wait_for(&server).unwrap();
    let files = child("files", &app);
    files.set_teardown(until_released()).unwrap();
    let exporter = named("exporter");
    let target = exporter.clone();
    let importer = Process::builder().name("importer").parent(&app);
    let _importer = importer.spawn_thread(move |_| target.closed().wait()).unwrap();
    let _unnamed = app.spawn(|_| pending::<()>()).unwrap();
    app.close();
    blockers_become(
        &app,
        &[
            "app › db › cache: thread body `cache` (tests/tests/snapshots.rs:",
            "app › files: teardown on thread `procession-",
            "app › importer ⇢ exporter: nobody has asked it to close (tests/tests/snapshots.rs:",
            "app › log ⇢ server: nobody has asked it to close (tests/tests/snapshots.rs:",
            "app › session: async body (tests/tests/snapshots.rs:",
            "app › tests/tests/snapshots.rs:",
        ],
    );
    let kinds: Vec<_> = app.blockers(16).first.iter().map(|blocker| blocker.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == BlockerKind::AsyncBody).count(), 2);
    server.close();
    exporter.close();
    drop(release);
    blockers_become(&app, &["app › session: async body", "app › tests/tests/snapshots.rs:"]);
    assert!(outcome(&app.abort()).is_ok());
    assert_eq!(app.blockers(16).total, 0);
}

/// If a body waits for a slot, the chain leads to the callers that hold the slots.
#[test]
fn a_wait_for_a_slot_leads_to_its_holder() {
    let pool = named("pool");
    let limited = Limited::new(&pool, 1).unwrap();
    let slot = limited.acquire().wait().unwrap();
    let app = named("app");
    let queue = limited.clone();
    let importer = Process::builder().name("importer").parent(&app);
    let importer = importer.spawn_thread(move |_| queue.acquire().wait().map(drop)).unwrap();
    app.close();
    blockers_become(&app, &["app › importer ⇢ tests/tests/snapshots.rs:"]);
    let blockers = app.blockers(16);
    assert_eq!(blockers.first[0].kind, BlockerKind::Slot);
    assert!(blockers.first[0].to_string().contains("slot held by a guard"), "{blockers}");
    drop(slot);
    ends_well(&importer);
    ends_well(&app);
}

/// A body that waits for its children, or for another process's body, is not itself a blocker: the chain continues.
#[test]
fn a_wait_for_children_or_a_body_continues_the_chain() {
    let (app, server) = (named("app"), named("server"));
    let (end, ended) = mpsc::channel::<()>();
    let batch = Process::builder().name("batch").parent(&app);
    let batch = batch.spawn_thread(move |batch| {
        let part = Process::builder().name("part").parent(&batch);
        part.spawn_thread(move |_| assert!(ended.recv().is_err()))?;
        batch.children_closed().wait()
    });
    let body = Process::builder().name("body").parent(&server).spawn(|p| async move {
        p.closing().await;
    });
    let body = body.unwrap();
    let importer = Process::builder().name("importer").parent(&app);
    let importer = importer.spawn_thread(move |_| body.body_ended().wait()).unwrap();
    app.close();
    let expected = ["app › batch › part: thread body", "app › importer ⇢ body: nobody has asked"];
    blockers_become(&app, &expected);
    let edges = edges(&app);
    assert!(edges.contains(&"batch ChildrenWait batch".into()), "{edges:?}");
    assert!(edges.contains(&"importer BodyWait body".into()), "{edges:?}");
    assert!(format!("{importer:?}").contains("1 wait for a body"), "{importer:?}");
    server.close();
    ends_well(&importer);
    drop(end);
    ends_well(&batch.unwrap());
    ends_well(&app);
}

/// 110 processes, three of which hang. The blockers name these three, and no other.
#[test]
fn three_culprits_among_many() {
    let app = named("app");
    let mut keep = Vec::new();
    let mut services = Vec::new();
    for service in 0..6 {
        let service = child(&format!("service-{service}"), &app);
        for worker in 0..16 {
            let worker = Process::builder().name(format!("worker-{worker}")).parent(&service);
            keep.push(worker.spawn(|p| async move { p.closing().await }).unwrap());
        }
        services.push(service);
    }
    let (release, released) = mpsc::channel::<()>();
    let deep = child("cache", &services[1]);
    let thread = Process::builder().name("refresh").parent(&deep);
    keep.push(thread.spawn_thread(move |_| released.recv().unwrap_or(())).unwrap());
    let deep = child("index", &services[2]);
    let task = Process::builder().name("merge").parent(&deep);
    keep.push(task.spawn(|_| pending::<()>()).unwrap());
    let session = Process::builder().name("session-42").parent(&services[3]);
    keep.push(session.spawn(|_| pending::<()>()).unwrap());
    assert_eq!(app.snapshot().processes().len(), 1 + 6 + 6 * 16 + 5);
    app.close();
    blockers_become(
        &app,
        &[
            "app › service-1 › cache › refresh: thread body `refresh` (tests/tests/snapshots.rs:",
            "app › service-2 › index › merge: async body (tests/tests/snapshots.rs:",
            "app › service-3 › session-42: async body (tests/tests/snapshots.rs:",
        ],
    );
    let tree = app.snapshot().to_string();
    assert_eq!(tree.matches("← blocks").count(), 3, "{tree}");
    drop(release);
    assert!(outcome(&app.abort()).is_ok());
}

/// A snapshot that is taken while processes come and go is consistent, and ends.
#[test]
fn a_snapshot_while_processes_come_and_go() {
    let app = Process::new();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..200 {
                    let parent = app.child();
                    let _children: Vec<_> = (0..100).map(|_| parent.child()).collect();
                    parent.close_blocking().unwrap();
                }
                is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
        }
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            let snapshot = app.snapshot();
            for edge in snapshot.edges() {
                assert!(edge.from() < snapshot.processes().len());
                assert!(edge.to() < snapshot.processes().len());
                assert_eq!(edge.kind(), Link::Child);
            }
            drop(snapshot.to_string());
        }
    });
    app.close_blocking().unwrap();
}

/// A process with an empty name is shown by its site, in every text.
#[test]
fn an_empty_name_is_no_name() {
    let app = Process::builder().name("app").build().unwrap();
    let empty = Process::builder().name("").parent(&app);
    let empty = empty.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    let site = empty.site();
    assert_eq!(empty.path(), format!("app/{site}"));
    assert_eq!(app.snapshot().path(empty.id()), Some(empty.path()));
    assert_eq!(empty.label().to_string(), format!("process `app` › {site}"));
    assert!(format!("{empty:?}").starts_with(&format!("Process {{ path: \"app/{site}\"")));
    app.close();
    blockers_become(&app, &[&format!("app › {site}: thread body")]);
    app.abort();
    ends_well(&app);
}
