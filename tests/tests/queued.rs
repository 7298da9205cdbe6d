//! What reports say about a teardown that is queued (I18). The test occupies all threads of the library's pool, so no
//! other test is in this file.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use procession::{BlockerKind, Job, Process, Work};
use procession_tests::LIMIT;

/// The number of blocking teardowns that run at once.
const AT_ONCE: usize = 512;

/// The number of processes below this one whose work is of this kind.
fn count(app: &Process, work: Work) -> usize {
    app.snapshot().processes().filter(|process| process.work() == work).count()
}

/// Waits until this many processes below this one do such work.
#[track_caller]
fn wait_for(app: &Process, work: Work, number: usize) {
    let begin = Instant::now();
    while count(app, work) != number {
        assert!(begin.elapsed() < LIMIT, "{}", app.snapshot());
        thread::yield_now();
    }
}

/// The lines of the queued teardowns.
fn queued(app: &Process) -> Vec<String> {
    let blockers = app.blockers(usize::MAX).first.into_iter();
    let queued = blockers.filter(|blocker| blocker.kind == BlockerKind::TeardownQueued);
    queued.map(|blocker| blocker.to_string()).collect()
}

/// A queued teardown is behind others only if the threads that could run it are at their limit. Closing hooks
/// that exceed the limit are not counted, and a teardown that is left to a spawner of the user waits
/// for none of them.
#[test]
fn a_queued_teardown_says_how_many_others_it_is_behind() {
    let app = Process::builder().name("app").build().unwrap();
    let (open, shut) = mpsc::channel::<()>();
    let shut = Arc::new(Mutex::new(shut));
    let blocks = || {
        let shut = shut.clone();
        move || {
            let _ = shut.lock().unwrap().recv();
        }
    };

    let (give, jobs) = mpsc::channel();
    let elsewhere = Process::builder().name("elsewhere").spawner(move |job: Job| {
        give.send(job).unwrap();
    });
    let elsewhere = elsewhere.teardown(|| ()).build().unwrap();
    let first = Process::builder().name("first").parent(&app).teardown(blocks()).build().unwrap();
    elsewhere.close();
    first.close();
    wait_for(&app, Work::Teardown, 1);
    let lines = queued(&elsewhere);
    assert!(lines.len() == 1 && !lines[0].contains("behind"), "{lines:?}");

    let files: Vec<_> = (1..AT_ONCE + 8)
        .map(|number| {
            let name = format!("file-{number}");
            Process::builder().name(name).parent(&app).teardown(blocks()).build().unwrap()
        })
        .collect();
    app.close();
    wait_for(&app, Work::Teardown, AT_ONCE);
    let http = Process::new();
    for _ in 0..3 {
        http.on_closing(blocks()).unwrap().detach();
    }
    http.close();
    wait_for(&http, Work::Hook, 3);
    assert_eq!(count(&app, Work::TeardownQueued), 8);
    for line in queued(&app) {
        assert!(line.ends_with(" behind 512 others"), "{line}");
    }
    assert_eq!(queued(&app).len(), 8);
    let lines = queued(&elsewhere);
    assert!(lines.len() == 1 && !lines[0].contains("behind"), "{lines:?}");

    drop(open);
    for process in [&app, &http] {
        assert!(process.closed().wait_timeout(LIMIT).is_some());
    }
    drop(files);
    jobs.recv_timeout(LIMIT).unwrap().run();
    assert!(elsewhere.closed().wait_timeout(LIMIT).is_some());
}
