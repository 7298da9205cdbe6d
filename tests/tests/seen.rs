//! Failures go up: to parents, as `ChildFailure` says, and to hooks (I17).

use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use procession::{ChildFailure, Error, Process, Reason};
use procession_tests::{LIMIT, ends_well, outcome};

/// A process with `ChildFailure::Close`.
fn closing_for_children(name: &str) -> Process {
    Process::builder().name(name).on_child_failure(ChildFailure::Close).build().unwrap()
}

fn child(name: &str, parent: &Process) -> Process {
    Process::builder().name(name).parent(parent).build().unwrap()
}

/// The texts of the error, or of the errors in it.
fn errors(error: &Error) -> Vec<String> {
    match error {
        Error::Many(many) => many.iter().map(|error| error.with_causes().to_string()).collect(),
        one => vec![one.with_causes().to_string()],
    }
}

/// The failures that a hook has received.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn hook(&self) -> impl Fn(&Process, &Error) + Send + Sync + use<> {
        let seen = self.0.clone();
        move |process, error| {
            assert_eq!(error.process(), Some(&process.label()));
            assert!(!process.is_closed());
            seen.lock().unwrap().push(error.with_causes().to_string());
        }
    }

    fn sorted(&self) -> Vec<String> {
        let mut all = self.0.lock().unwrap().clone();
        all.sort();
        all
    }
}

/// With `ChildFailure::Close`, each way to fail closes the parent at once. The reason names the child, the outcome has
/// its error, and the siblings are closed.
#[test]
fn a_child_that_fails_closes_its_parent() {
    type Fail = fn(&Process);
    let ways: [(Fail, &str); 6] = [
        (|c| drop(c.spawn_thread(|_| Err("disk")).unwrap()), "failed: disk"),
        (|c| drop(c.spawn(|_| async { Err("disk") }).unwrap()), "failed: disk"),
        (|c| drop(c.spawn_thread(|_| panic!("disk")).unwrap()), "panicked: disk"),
        (|c| drop(c.spawn(|_| async { panic!("disk") }).unwrap()), "panicked: disk"),
        (|c| drop(c.spawn(|_| pending::<()>()).unwrap().abort()), "was aborted"),
        (
            |c| {
                c.set_teardown(|| Err("disk")).unwrap();
                c.close();
            },
            "failed: disk",
        ),
    ];
    for (fail, expected) in ways {
        let app = closing_for_children("app");
        let sibling = app.spawn(|p| async move { p.closing().await }).unwrap();
        let worker = Process::builder()
            .name("worker")
            .parent(&app)
            .on_child_failure(ChildFailure::Close)
            .build()
            .unwrap();
        fail(&worker);
        let error = outcome(&app.closed()).unwrap_err();
        let text = error.with_causes().to_string();
        assert!(text.starts_with("process `worker` ") && text.contains(expected), "{text}");
        assert_eq!(app.reason(), Some(Reason::ChildFailed(worker.label())));
        assert_eq!(sibling.reason(), Some(Reason::ParentClosed));
        assert!(sibling.outcome().unwrap().is_ok());
    }
}

/// By default, a failed child neither closes its parent nor changes the parent's outcome.
#[test]
fn by_default_a_parent_goes_on() {
    let app = Process::new();
    let failed = app.spawn_thread(|_| Err("disk")).unwrap();
    assert!(outcome(&failed.closed()).is_err());
    assert!(!app.is_closing());
    app.close();
    ends_well(&app);
}

/// A failure goes up as long as parents close for it. It reaches each parent once, however many paths lead there.
#[test]
fn a_failure_goes_up_once() {
    let app = closing_for_children("app");
    let left = Process::builder().parent(&app).on_child_failure(ChildFailure::Close).build();
    let right = Process::builder().parent(&app).on_child_failure(ChildFailure::Close).build();
    let (left, right) = (left.unwrap(), right.unwrap());
    let shared = Process::builder().name("shared").parent(&left).parent(&right).build().unwrap();
    shared.set_teardown(|| Err("disk")).unwrap();
    shared.close();
    for process in [&app, &left, &right] {
        let error = outcome(&process.closed()).unwrap_err();
        assert_eq!(errors(&error), ["process `shared` failed: disk"]);
    }
    assert_eq!(left.reason(), Some(Reason::ChildFailed(shared.label())));
    let reason = app.reason().unwrap();
    assert!([&left, &right].iter().any(|p| reason == Reason::ChildFailed(p.label())), "{reason}");

    // It does not go beyond a parent that ignores it.
    let top = closing_for_children("top");
    let middle = child("middle", &top);
    assert!(outcome(&middle.spawn_thread(|_| Err("disk")).unwrap().closed()).is_err());
    assert!(!top.is_closing());
}

/// No error is lost: the outcome has those of siblings that fail while the parent closes, and the parent's own.
#[test]
fn all_errors_are_in_the_outcome() {
    let app = closing_for_children("app");
    app.set_teardown(|| Err("last")).unwrap();
    let sibling = child("sibling", &app);
    sibling.set_teardown(|| Err("second")).unwrap();
    child("worker", &app).spawn_thread(|_| Err("first")).unwrap();
    // `worker` ignores the failure of its own child, so its teardown has to fail.
    let failing = child("failing", &app);
    failing.set_teardown(|| Err("first")).unwrap();
    failing.close();
    let error = outcome(&app.closed()).unwrap_err();
    assert_eq!(
        errors(&error),
        [
            "process `failing` failed: first",
            "process `sibling` failed: second",
            "process `app` failed: last"
        ]
    );
}

/// A child that an abort of its parent drops has not failed: the parent's outcome is `Ok`.
#[test]
fn an_abort_is_no_failure_of_the_children() {
    let app = closing_for_children("app");
    let stuck = app.spawn(|_| pending::<()>()).unwrap();
    outcome(&app.abort()).unwrap();
    assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
    assert_eq!(app.reason(), Some(Reason::Asked));
}

/// A failed no-wait child counts too, as long as its parent is open.
#[test]
fn a_no_wait_child_that_fails_closes_an_open_parent() {
    let app = closing_for_children("app");
    let cache = Process::with_teardown(|| Err("disk"));
    app.add_child_no_wait(&cache).unwrap();
    cache.close();
    assert!(outcome(&app.closed()).is_err());
    assert_eq!(app.reason(), Some(Reason::ChildFailed(cache.label())));
}

/// A hook receives every failure in its tree with the process, even one without handles: of bodies and teardowns,
/// blocking and async, and of processes that were linked later. It receives nothing else.
#[test]
fn a_hook_sees_every_failure() {
    let seen = Seen::default();
    let app = Process::builder().name("app").on_failure(seen.hook()).build().unwrap();
    let failing = |name: &'static str| child(name, &app);
    let body = |name: &'static str| Process::builder().name(name).parent(&app);
    body("a").spawn_thread(|_| Err("thread")).unwrap();
    body("b").spawn(|_| async { Err("task") }).unwrap();
    body("c").spawn_thread(|_| panic!("thread")).unwrap();
    body("d").spawn(|_| async { panic!("task") }).unwrap();
    body("e").spawn(|_| pending::<()>()).unwrap().abort();
    failing("f").set_teardown(|| Err("teardown")).unwrap();
    failing("g").set_teardown_async(|| async { panic!("teardown") }).unwrap();
    let (run, line) = (failing("h").run(|_| pending::<()>()), line!());
    drop(run);
    let linked = Process::builder().name("i").teardown(|| Err("linked")).build().unwrap();
    failing("under").add_child(&linked).unwrap();
    drop(linked);
    let no_wait = Process::builder().name("j").teardown(|| Err("no-wait")).build().unwrap();
    app.add_child_no_wait(&no_wait).unwrap();
    failing("fine").spawn_thread(|_| Ok::<(), Error>(())).unwrap();
    failing("fine").set_teardown(|| ()).unwrap();
    let outside = Process::with_teardown(|| Err("outside"));
    app.wait_for(&outside).unwrap();
    outside.close();
    app.set_teardown(|| Err("root")).unwrap();
    assert!(outcome(&app.close()).is_err());
    assert!(outcome(&no_wait.closed()).is_err());
    assert_eq!(
        seen.sorted(),
        [
            "process `a` failed: thread",
            "process `app` failed: root",
            "process `b` failed: task",
            "process `c` panicked: thread",
            "process `d` panicked: task",
            "process `e` was aborted: it was dropped before its end",
            "process `f` failed: teardown",
            "process `g` panicked: teardown",
            &*format!(
                "process `h` › tests/tests/seen.rs:{line} was aborted: it was dropped before its end"
            ),
            "process `i` failed: linked",
            "process `j` failed: no-wait",
        ]
    );
}

/// A hook receives a panic when it happens, here before the failed process is Closed, because a child is still open.
#[test]
fn a_panic_is_reported_when_it_happens() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    app.on_failure(move |process, error| {
        assert_eq!(process.outcome().map(|_| ()), None);
        tell.send(error.to_string()).unwrap();
    });
    let (release, released) = mpsc::channel::<()>();
    let body = app
        .spawn_thread(move |p| {
            p.spawn_thread(move |_| released.recv().unwrap_or(())).unwrap();
            panic!("early")
        })
        .unwrap();
    assert!(told.recv_timeout(LIMIT).unwrap().ends_with("panicked: early"));
    assert!(!body.is_closed() && !app.is_closing());
    drop(release);
    assert!(outcome(&body.closed()).is_err());
    app.close();
    ends_well(&app);
}

/// When the root is Closed, the hooks have received all failures.
#[test]
fn hooks_have_run_when_the_root_is_closed() {
    let (told, failed) = (Arc::new(AtomicUsize::new(0)), 200);
    let app = Process::new();
    let counter = told.clone();
    app.on_failure(move |_, _| {
        std::thread::yield_now();
        counter.fetch_add(1, Ordering::SeqCst);
    });
    for number in 0..failed / 2 {
        app.spawn(move |_| async move { Err(number.to_string()) }).unwrap();
        app.child().set_teardown(|| Err("teardown")).unwrap();
    }
    app.close_blocking().unwrap();
    assert_eq!(told.load(Ordering::SeqCst), failed);
}

/// A hook further down receives the failures of its own tree, and is called before those above it. A hook that panics
/// keeps nothing from the others.
#[test]
fn inner_hooks_are_called_before_outer_ones() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let hook = |name: &'static str| {
        let order = order.clone();
        move |_: &Process, error: &Error| {
            order.lock().unwrap().push(format!("{name}: {}", error.with_causes()));
        }
    };
    let app = Process::builder().name("app").on_failure(hook("app")).build().unwrap();
    let server = child("server", &app);
    server.on_failure(|_, _| panic!("a hook"));
    server.on_failure(hook("server"));
    child("session", &server).set_teardown(|| Err("reset")).unwrap();
    server.close_blocking().unwrap();
    child("log", &app).set_teardown(|| Err("full")).unwrap();
    app.close_blocking().unwrap();
    assert_eq!(
        *order.lock().unwrap(),
        [
            "server: process `session` failed: reset",
            "app: process `session` failed: reset",
            "app: process `log` failed: full"
        ]
    );
}

/// In a ring of processes that close each other, the search for hooks ends, and calls each hook once.
#[test]
fn hooks_in_a_ring_are_called_once() {
    for failing in 0..3 {
        let (tell, told) = mpsc::channel();
        let ring: Vec<Process> = (0..3).map(|_| Process::new()).collect();
        for (index, process) in ring.iter().enumerate() {
            process.add_child_no_wait(&ring[(index + 1) % 3]).unwrap();
            let tell = tell.clone();
            process.on_failure(move |_, _| tell.send(index).unwrap());
        }
        ring[failing].set_teardown(|| Err("broken")).unwrap();
        assert!(outcome(&ring[failing].close()).is_err());
        ring.iter().for_each(|process| drop(process.closed().wait_timeout(LIMIT).unwrap()));
        // A Closed process no longer knows the processes above it, so some hooks may not be called.
        let mut told: Vec<usize> = told.try_iter().collect();
        assert_eq!(told.first(), Some(&failing));
        told.sort_unstable();
        assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
    }
}

/// The same if several processes of a ring fail one after another.
#[test]
fn hooks_in_a_ring_with_a_parent_outside_are_called_once() {
    let (root, a, b) = (Process::new(), Process::new(), Process::new());
    root.add_child(&a).unwrap();
    a.add_child(&b).unwrap();
    b.add_child_no_wait(&a).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let counter = told.clone();
    b.on_failure(move |_, _| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let fails = |process: &Process, times: usize| {
        assert!(outcome(&process.spawn_thread(|_| Err("broken")).unwrap().closed()).is_err());
        assert_eq!(told.load(Ordering::SeqCst), times);
    };
    // Each of them searches for hooks when it fails for the first time.
    for (times, process) in [&a, &b, &b, &a, &b].into_iter().enumerate() {
        fails(process, times + 1);
    }
    root.close_blocking().unwrap();
}

/// I10, I13: a hook may close the tree, and a wait of it that cannot end is refused.
#[test]
fn a_hook_may_call_anything() {
    let app = Process::new();
    let (tell, told) = mpsc::channel();
    let root = app.closed();
    app.on_failure(move |process, _| {
        process.child().close();
        process.close();
        tell.send(root.wait()).unwrap();
    });
    app.spawn_thread(|_| Err("broken")).unwrap();
    assert!(matches!(told.recv_timeout(LIMIT), Ok(Err(Error::Deadlock(_)))));
    app.close_blocking().unwrap();
}

/// A hook on the background process receives the failures that no other hook receives.
#[test]
fn a_hook_of_the_background_sees_failures_without_another_hook() {
    let (tell, told) = mpsc::channel();
    Process::background().on_failure(move |process, _| drop(tell.send(process.label())));
    let task = child("housekeeping", Process::background());
    task.spawn_thread(|_| Err("broken")).unwrap();
    let seen = told.iter().find(|label| label.path().contains("/housekeeping/"));
    assert!(seen.is_some());
}

/// A hook receives the failure of a no-wait child that fails long after its parent is Closed.
#[test]
fn a_hook_sees_what_outlives_its_process() {
    let (tell, told) = mpsc::channel();
    let (app, gate) = (Process::new(), Process::new());
    app.on_failure(move |_, error| tell.send(error.with_causes().to_string()).unwrap());
    let late = Process::with_teardown(|| Err("late"));
    late.wait_for(&gate).unwrap();
    app.add_child_no_wait(&late).unwrap();
    app.close_blocking().unwrap();
    assert!(told.try_recv().is_err());
    gate.close();
    assert!(told.recv_timeout(LIMIT).unwrap().ends_with("failed: late"));
}

/// A hook can read the reason of a process that has no handles.
#[test]
fn a_hook_sees_that_the_last_handle_was_dropped() {
    let (tell, told) = mpsc::channel();
    let process = Process::with_teardown(|| Err("broken"));
    process.on_failure(move |process, _| tell.send(process.reason()).unwrap());
    drop(process);
    assert_eq!(told.recv_timeout(LIMIT), Ok(Some(Reason::Dropped)));
}
