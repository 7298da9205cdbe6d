//! Foreign code is contained wherever it runs (I9, I10, I11, I14). `wakers.rs` and `clones.rs` have the tests for
//! wakers.

use std::fmt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use procession::{Inline, Job, Process, Spawn};
use procession_tests::foreign::{OnDrop, keep, panics_on_drop};
use procession_tests::{LIMIT, ends_well, outcome};

/// Runs foreign code in one place, in a program of its own. An error says what went wrong.
fn run_in_place(place: &str, does: &str) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foreign"));
    let output = command.args([place, does]).env("RUST_BACKTRACE", "0").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // Intended panics print nothing. A panic that escapes prints a message, but the program may still end with
    // success, before the abort.
    if output.status.success() && !errors.contains("panicked at") {
        return Ok(());
    }
    Err(format!("{place} ({does}): {}, {errors}", output.status))
}

/// Runs foreign code in each place, several programs at a time.
#[track_caller]
fn run_in_each_place(does: &'static str) {
    let output = Command::new(env!("CARGO_BIN_EXE_foreign")).output().unwrap();
    let places = String::from_utf8(output.stdout).unwrap();
    assert!(places.lines().count() > 50);
    let places: Vec<_> = places.lines().map(str::to_owned).collect();
    let run = |place: String| thread::spawn(move || run_in_place(&place, does));
    let mut failed = Vec::new();
    for places in places.chunks(16) {
        let running: Vec<_> = places.iter().cloned().map(run).collect();
        failed.extend(running.into_iter().filter_map(|running| running.join().unwrap().err()));
    }
    assert!(failed.is_empty(), "{} places:\n{}", failed.len(), failed.join("\n"));
}

/// I10: no lock is held where foreign code runs, so it may make any call.
#[test]
fn foreign_code_may_call_everything_in_every_place() {
    run_in_each_place("calls");
}

/// I14: wherever foreign code panics, the tree becomes Closed, and each teardown runs once.
#[test]
fn foreign_code_may_panic_in_every_place() {
    run_in_each_place("panics");
}

/// Makes healthy children, and returns the number of their teardowns that have run.
fn healthy_children(app: &Process, count: usize) -> Arc<AtomicUsize> {
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let ran = ran.clone();
        let teardown = move || {
            ran.fetch_add(1, Ordering::SeqCst);
        };
        app.child().set_teardown(teardown).unwrap();
    }
    ran
}

/// `put` makes a child that owns a value whose drop panics. Checks that the tree becomes Closed, with every teardown.
fn assert_closes_around(put: impl FnOnce(&Process, Box<dyn Send + Sync>)) {
    let (tell, dropped) = mpsc::channel();
    let app = Process::new();
    let before = healthy_children(&app, 3);
    put(&app, Box::new(panics_on_drop(&tell)));
    let after = healthy_children(&app, 3);
    // The panic does not reach the caller of `close` either.
    outcome(&app.close()).unwrap();
    dropped.recv_timeout(LIMIT).unwrap();
    assert_eq!((before.load(Ordering::SeqCst), after.load(Ordering::SeqCst)), (3, 3));
}

/// I14: the value is captured by a hook.
#[test]
fn a_panicking_drop_of_a_captured_value_loses_no_teardown() {
    assert_closes_around(|app, held| app.child().on_failure(move |_, _| keep(&held)));
}

/// I14: the value is owned by a spawner, which is dropped with the last process that has it.
#[test]
fn a_panicking_drop_of_a_spawner_loses_no_teardown() {
    assert_closes_around(|app, held| {
        let spawner = move |job: Job| {
            keep(&held);
            job.run();
        };
        Process::builder().parent(app).spawner(spawner).build().unwrap();
    });
}

/// I14: the value is owned by an error, which is dropped with the outcome that contains it.
#[test]
fn a_panicking_drop_of_an_error_loses_no_teardown() {
    assert_closes_around(|app, held| {
        let error = Failed(held);
        let faulty = Process::builder().parent(app).spawner(Inline);
        faulty.teardown(move || Err(error)).build().unwrap();
    });
}

/// I14: the drop runs on an executor, and its panic does not abort the program.
#[test]
fn a_panicking_drop_after_an_async_teardown_does_not_abort_the_program() {
    run_in_place("drop: captured by a hook, after an async teardown", "panics").unwrap();
    run_in_place("drop: the error of an async teardown", "panics").unwrap();
}

/// An error that owns a value.
struct Failed(Box<dyn Send + Sync>);

impl std::error::Error for Failed {}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        keep(&self.0);
        f.write_str("Failed")
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("on purpose")
    }
}

/// Checks that signals still close, abort and end the program after a drop has panicked in this place.
#[cfg(target_os = "linux")]
fn signals_go_on(place: &str) {
    use procession_tests::program::Program;
    use rustix::process::Signal;

    let path = env!("CARGO_BIN_EXE_foreign-signals");
    let mut program = Program::start(Command::new(path).arg(place));
    for line in ["bound", "closing", "aborting"] {
        program.read_to(line);
        program.signal(Signal::INT);
    }
    assert_eq!(program.status().code(), Some(128 + 2));
}

/// I14: the value belongs to a child of the process that the signal closes.
#[cfg(target_os = "linux")]
#[test]
fn a_panicking_drop_in_a_child_does_not_end_the_signal_thread() {
    signals_go_on("child");
}

/// I14: the value belongs to a process that was bound to the signal and is Closed.
#[cfg(target_os = "linux")]
#[test]
fn a_panicking_drop_in_a_bound_process_does_not_end_the_signal_thread() {
    signals_go_on("bound");
}

/// I10: a search for cycles may hold the last reference to a process whose drop links processes. That drop does not run
/// under the lock that orders all linking.
#[test]
fn a_drop_may_link_processes_while_another_thread_searches_for_cycles() {
    const ROUNDS: usize = 50;
    const DEPTH: usize = 5_000;
    let (tell, done) = mpsc::channel();
    let link = move || {
        for round in 0..ROUNDS {
            let (upper, lower) = (Process::new(), Process::new());
            // The search goes up from `upper` and down from `lower`. It first meets the processes that are dropped
            // during the search, then a chain that keeps it busy.
            let (mut top, mut bottom) = (Process::new(), lower.child());
            let root = top.clone();
            for _ in 0..DEPTH {
                (top, bottom) = (top.child(), bottom.child());
            }
            top.wait_for(&upper).unwrap();
            for _ in 0..8 {
                let above = Process::new();
                let linking = OnDrop(|| {
                    let (one, other) = (Process::new(), Process::new());
                    let _child = other.child();
                    one.wait_for(&other).unwrap();
                });
                above.on_failure(move |_, _| keep(&linking));
                above.wait_for(&upper).unwrap();
            }
            let searching = Arc::new(AtomicBool::new(false));
            let (closer, begun) = (upper.clone(), searching.clone());
            let closer = thread::spawn(move || {
                while !begun.load(Ordering::SeqCst) {
                    thread::yield_now();
                }
                // Each round drops them at another moment of the search.
                for _ in 0..round {
                    thread::yield_now();
                }
                closer.close();
            });
            searching.store(true, Ordering::SeqCst);
            let _ = upper.wait_for(&lower);
            closer.join().unwrap();
            root.close();
        }
        tell.send(()).unwrap();
    };
    thread::spawn(link);
    done.recv_timeout(LIMIT).unwrap();
}

/// I11: nothing recurses over ownership, whichever value of a process owns the next process.
#[test]
fn a_chain_of_owned_processes_closes_on_a_small_stack() {
    let owners = [
        "hook",
        "teardown",
        "inline-teardown",
        "async-teardown",
        "error",
        "inline-error",
        "spawner",
        "body",
        "waker",
    ];
    let mut failed = Vec::new();
    for owner in owners {
        let output = Command::new(env!("CARGO_BIN_EXE_chains")).arg(owner).output().unwrap();
        if !output.status.success() {
            failed.push((owner, output.status));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// A spawner that owns a tokio runtime.
struct OwnRuntime {
    runtime: Option<tokio::runtime::Runtime>,
    dropped: Sender<()>,
}

impl Spawn for OwnRuntime {
    fn spawn(&self, job: Job) {
        self.runtime.as_ref().unwrap().spawn(job);
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        // tokio panics if this is one of the runtime's own threads.
        drop(self.runtime.take());
        let _ = self.dropped.send(());
    }
}

/// A spawner that joins its thread when it is dropped.
struct OwnThread {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    dropped: Sender<()>,
}

impl OwnThread {
    fn new(dropped: Sender<()>) -> Self {
        let (jobs, due) = mpsc::channel::<Job>();
        let thread = thread::spawn(move || due.into_iter().for_each(Job::run));
        Self { jobs: Some(jobs), thread: Some(thread), dropped }
    }
}

impl Spawn for OwnThread {
    fn spawn(&self, job: Job) {
        self.jobs.as_ref().unwrap().send(job).unwrap();
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // The standard library panics if a thread joins itself.
        self.thread.take().unwrap().join().unwrap();
        let _ = self.dropped.send(());
    }
}

/// `run` makes a child with this spawner, and nothing else has it. Checks that the tree becomes Closed.
fn assert_closes_with<S: Spawn>(spawner: S, run: fn(procession::Builder<'_>)) {
    let app = Process::new();
    let ran = healthy_children(&app, 3);
    run(Process::builder().parent(&app).spawner(spawner));
    outcome(&app.close()).unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 3);
}

/// The ways in which a child gives a job to its spawner.
const WAYS_TO_SPAWN: [fn(procession::Builder<'_>); 3] = [
    |faulty| drop(faulty.teardown(|| ()).build().unwrap()),
    |faulty| drop(faulty.teardown_async(|| async {}).build().unwrap()),
    |faulty| drop(faulty.spawn(|p| async move { p.closing().await }).unwrap()),
];

/// I14: a worker of a runtime does not drop that runtime.
#[test]
fn a_spawner_may_own_its_tokio_runtime() {
    for run in WAYS_TO_SPAWN {
        let (tell, dropped) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        assert_closes_with(OwnRuntime { runtime: runtime.ok(), dropped: tell }, run);
        dropped.recv_timeout(LIMIT).expect("a worker dropped its runtime");
    }
}

/// I14: the thread of a spawner does not join itself.
#[test]
fn a_spawner_may_join_its_thread() {
    for run in WAYS_TO_SPAWN {
        let (tell, dropped) = mpsc::channel();
        assert_closes_with(OwnThread::new(tell), run);
        dropped.recv_timeout(LIMIT).expect("the thread joined itself");
    }
}

/// I14: a panic ends no thread of the pool. After more panics than the pool has threads, teardowns still run, and run
/// side by side.
#[test]
fn panics_do_not_use_up_the_pool() {
    const PANICS: usize = 600;
    let (tell, dropped) = mpsc::channel();
    for _ in 0..PANICS {
        let held = panics_on_drop(&tell);
        let (give, take) = mpsc::channel::<()>();
        let process = Process::with_teardown(move || take.recv().unwrap());
        process.on_failure(move |_, _| keep(&held));
        // When the teardown ends, only the thread that runs it still refers to the process.
        drop(process);
        give.send(()).unwrap();
        dropped.recv_timeout(LIMIT).unwrap();
    }
    let app = Process::new();
    let barrier = Arc::new(Barrier::new(3));
    for _ in 0..3 {
        let barrier = barrier.clone();
        let teardown = move || {
            barrier.wait();
        };
        app.child().set_teardown(teardown).unwrap();
    }
    app.close();
    ends_well(&app);
}
