//! A blocking wait without a timeout is an edge while it lasts, so a wait that cannot end is refused (I13).

use std::future::Future;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use procession::{Error, LinkError, Phase, Process};
use procession_tests::{LIMIT, ends_well, outcome};
use tokio::runtime::{Builder, Runtime};

type Wait = fn(&Process) -> Result<(), Error>;

/// Both ways to wait for a process; the second begins to close it.
const WAITS: [Wait; 2] = [|process| process.closed().wait(), Process::close_blocking];

type Answer = (usize, Result<(), Error>);

/// Named processes that wait for each other, the results of their waits, and a barrier that lets the waits begin
/// together.
struct Ring {
    processes: Vec<Process>,
    report: Sender<Answer>,
    reports: Receiver<Answer>,
    start: Arc<Barrier>,
}

impl Ring {
    fn new(names: &[&str]) -> Self {
        let named = |&name: &&str| Process::builder().name(name).build().unwrap();
        let (report, reports) = mpsc::channel();
        let start = Arc::new(Barrier::new(names.len()));
        Self { processes: names.iter().map(named).collect(), report, reports, start }
    }

    /// The code of the process with this index: it waits for the next process, and reports how the wait ended.
    fn waiting(&self, index: usize, wait: Wait) -> impl FnOnce() + Send + 'static {
        let next = self.processes[(index + 1) % self.processes.len()].clone();
        let (report, start) = (self.report.clone(), self.start.clone());
        move || {
            start.wait();
            report.send((index, wait(&next))).unwrap();
        }
    }

    /// Checks that exactly one wait was refused, naming both sides, and that the others ended.
    fn assert_one_is_refused(self) {
        let count = self.processes.len();
        let mut refused = Vec::new();
        for _ in 0..count {
            let (index, answer) = self.reports.recv_timeout(LIMIT).unwrap();
            match answer {
                Ok(()) => {}
                Err(Error::Deadlock(deadlock)) => refused.push((index, deadlock)),
                Err(other) => panic!("{other:?}"),
            }
        }
        let [(index, deadlock)] = &refused[..] else { panic!("{refused:?}") };
        let next = &self.processes[(index + 1) % count];
        assert_eq!(deadlock.waiting().name(), self.processes[*index].name().as_deref());
        assert_eq!(deadlock.target().name(), next.name().as_deref());
        self.processes.iter().for_each(|process| drop(process.close()));
        self.processes.iter().for_each(ends_well);
    }
}

/// I13: bodies of children wait for each other's parents. The wait that would complete the ring is refused.
#[test]
fn one_of_the_bodies_that_wait_for_each_other_is_refused() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        for wait in WAITS {
            let ring = Ring::new(names);
            for (index, process) in ring.processes.iter().enumerate() {
                let body = ring.waiting(index, wait);
                let child = Process::builder().name(names[index]).parent(process);
                child.spawn_thread(move |_| body()).unwrap();
            }
            ring.processes.iter().for_each(|process| drop(process.close()));
            ring.assert_one_is_refused();
        }
    }
}

/// I13: the same for bodies that wait for each other's processes.
#[test]
fn one_of_the_processes_that_wait_for_each_other_is_refused() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        for wait in WAITS {
            let mut ring = Ring::new(names);
            let mut tell = Vec::new();
            for (index, &name) in names.iter().enumerate() {
                let (give, take) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
                tell.push(give);
                let process = Process::builder().name(name);
                let process = process.spawn_thread(move |_| take.recv_timeout(LIMIT).unwrap()());
                ring.processes[index] = process.unwrap();
            }
            for (index, tell) in tell.iter().enumerate() {
                tell.send(Box::new(ring.waiting(index, wait))).unwrap();
            }
            ring.assert_one_is_refused();
        }
    }
}

/// I13: the same for teardowns.
#[test]
fn one_of_the_teardowns_that_wait_for_each_other_is_refused() {
    for names in [&["a", "b"][..], &["a", "b", "c"]] {
        for wait in WAITS {
            let ring = Ring::new(names);
            for (index, process) in ring.processes.iter().enumerate() {
                process.set_teardown(ring.waiting(index, wait)).unwrap();
            }
            ring.processes.iter().for_each(|process| drop(process.close()));
            ring.assert_one_is_refused();
        }
    }
}

/// I13: a wait-for edge that is added while a body waits is checked against that wait.
#[test]
fn a_wait_or_an_edge_that_completes_a_ring_is_refused() {
    for _ in 0..50 {
        let (a, b) = (Process::new(), Process::new());
        let (target, start) = (b.clone(), Arc::new(Barrier::new(2)));
        let begin = start.clone();
        let (report, reports) = mpsc::channel();
        a.spawn_thread(move |_| {
            begin.wait();
            report.send(target.closed().wait()).unwrap();
        })
        .unwrap();
        start.wait();
        let linked = b.wait_for(&a);
        assert!(matches!(linked, Ok(()) | Err(LinkError::Cycle(_))), "{linked:?}");
        b.close();
        if linked.is_ok() {
            a.close();
        }
        let waited = reports.recv_timeout(LIMIT).unwrap();
        assert_eq!(waited.is_err(), linked.is_ok(), "{waited:?}, {linked:?}");
        assert!(matches!(waited, Ok(()) | Err(Error::Deadlock(_))), "{waited:?}");
        a.close();
        ends_well(&a);
        ends_well(&b);
    }
}

/// I13: a wait with a timeout is no edge and is never refused. It ends with its timeout, after which the other wait can
/// end.
#[test]
fn a_wait_with_a_timeout_is_never_refused() {
    for first_is_timed in [true, false] {
        let (a, b) = (Process::new(), Process::new());
        let start = Arc::new(Barrier::new(2));
        let (report, reports) = mpsc::channel();
        let (target, begin, answer) = (b.clone(), start.clone(), report.clone());
        a.spawn_thread(move |_| {
            begin.wait();
            let timed = target.closed().wait_timeout(Duration::from_millis(20));
            answer.send(timed.is_none()).unwrap();
        })
        .unwrap();
        let target = a.clone();
        b.spawn_thread(move |_| {
            start.wait();
            let ended = match first_is_timed {
                true => target.closed().wait(),
                false => target.closed().wait_timeout(LIMIT).expect("it ends in time"),
            };
            report.send(ended.is_ok()).unwrap();
        })
        .unwrap();
        a.close();
        b.close();
        assert_eq!(reports.recv_timeout(LIMIT), Ok(true));
        assert_eq!(reports.recv_timeout(LIMIT), Ok(true));
        ends_well(&a);
        ends_well(&b);
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Runs the test on a thread of its own: a wait that is wrongly not refused would block it for ever.
#[track_caller]
fn on_a_thread<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let (give, take) = mpsc::channel();
    thread::spawn(move || drop(give.send(test())));
    take.recv_timeout(LIMIT).expect("the test neither ended nor was refused")
}

/// Checks that on a current-thread runtime the wait is refused at once, and that the process ends when the runtime goes
/// on.
#[track_caller]
fn assert_refused_on_runtime<F>(make: impl FnOnce() -> F + Send + 'static, wait: Wait)
where
    F: Future<Output = Process>,
{
    let (refused, phase, ended) = on_a_thread(move || {
        current_thread().block_on(async {
            let process = make().await;
            let (refused, phase) = (wait(&process), process.phase());
            (refused, phase, process.close().await)
        })
    });
    assert!(matches!(refused, Err(Error::Deadlock(_))), "{refused:?}");
    assert_ne!(phase, Phase::Closed);
    assert!(ended.is_ok(), "{ended:?}");
}

/// I13: on a current-thread tokio runtime, a wait for an async body of that runtime is refused.
#[test]
fn a_wait_for_an_async_body_of_this_runtime_is_refused() {
    for wait in WAITS {
        assert_refused_on_runtime(|| async { with_async_body() }, wait);
        // The body has begun.
        assert_refused_on_runtime(
            || async {
                let process = with_async_body();
                tokio::task::yield_now().await;
                process
            },
            wait,
        );
    }
}

/// An open process with an async body that ends when the process closes.
fn with_async_body() -> Process {
    let process = Process::new();
    process.spawn(|p| async move { p.closing().await }).unwrap();
    process
}

/// I13: so is a wait for an async teardown that was spawned on the runtime.
#[test]
fn a_wait_for_an_async_teardown_of_this_runtime_is_refused() {
    for wait in WAITS {
        assert_refused_on_runtime(
            || async {
                let process = with_async_teardown();
                process.close();
                process
            },
            wait,
        );
    }
    // Here, `close_blocking` spawns the teardown.
    assert_refused_on_runtime(|| async { with_async_teardown() }, Process::close_blocking);
}

/// I13: so is a wait for a process that waits for a future that the runtime polls.
#[test]
fn a_wait_for_a_future_of_this_runtime_is_refused() {
    for wait in WAITS {
        assert_refused_on_runtime(
            || async {
                let process = Process::new();
                process.wait_for_future(tokio::task::yield_now()).unwrap();
                process
            },
            wait,
        );
    }
}

/// An open process whose child has an async teardown.
fn with_async_teardown() -> Process {
    let process = Process::new();
    process.child().set_teardown_async(tokio::task::yield_now).unwrap();
    process
}

/// I13: so is a wait of one async body of the runtime for another. The error names both.
#[test]
fn a_wait_of_a_body_for_a_body_of_the_same_runtime_is_refused() {
    for wait in WAITS {
        let refused = on_a_thread(move || {
            current_thread().block_on(async {
                let (release, released) = tokio::sync::oneshot::channel::<()>();
                let b = Process::builder().name("b");
                let b = b.spawn(|_| async move { drop(released.await) }).unwrap();
                let (report, reports) = mpsc::channel();
                let target = b.clone();
                let a = Process::builder().name("a");
                let a = a.spawn(move |_| async move { report.send(wait(&target)).unwrap() });
                a.unwrap().closed().await.unwrap();
                drop(release);
                b.closed().await.unwrap();
                reports.try_recv().unwrap()
            })
        });
        let Err(Error::Deadlock(deadlock)) = refused else { panic!("{refused:?}") };
        assert_eq!(deadlock.waiting().name(), Some("a"));
        assert_eq!(deadlock.target().name(), Some("b"));
    }
}

/// I13: a thread of the runtime's blocking pool may wait, because it does not drive the runtime.
#[test]
fn a_wait_on_a_blocking_thread_of_the_runtime_is_not_refused() {
    for wait in WAITS {
        let ended = on_a_thread(move || {
            current_thread().block_on(async {
                let process = with_async_body();
                process.set_teardown_async(tokio::task::yield_now).unwrap();
                let target = process.clone();
                let waiting = tokio::task::spawn_blocking(move || wait(&target));
                tokio::task::yield_now().await;
                process.close();
                waiting.await.unwrap()
            })
        });
        assert!(ended.is_ok(), "{ended:?}");
    }
}

/// I13: another thread that has only entered the runtime's context may wait.
#[test]
fn a_wait_on_another_thread_is_not_refused() {
    for wait in WAITS {
        let ended = on_a_thread(move || {
            let runtime = current_thread();
            let (give, take) = tokio::sync::oneshot::channel();
            let process = runtime.block_on(async { with_async_body() });
            process.close();
            let handle = runtime.handle().clone();
            thread::spawn(move || {
                let _context = handle.enter();
                give.send(wait(&process)).unwrap();
            });
            runtime.block_on(take).unwrap()
        });
        assert!(ended.is_ok(), "{ended:?}");
    }
}

/// I13: a wait for a process with only thread bodies and blocking teardowns is not refused, because it ends without the
/// runtime's thread.
#[test]
fn a_wait_for_threads_is_not_refused() {
    let ended = on_a_thread(|| {
        current_thread().block_on(async {
            let process = Process::new();
            process.spawn_thread(|p| p.closing().wait()).unwrap();
            process.set_teardown(|| ()).unwrap();
            process.child().set_teardown(|| ()).unwrap();
            process.close_blocking()
        })
    });
    assert!(ended.is_ok(), "{ended:?}");
}

/// I13: a wait for bodies on another runtime, or on the shared executor, is not refused.
#[test]
fn a_wait_for_bodies_elsewhere_is_not_refused() {
    let ended = on_a_thread(|| {
        let other = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let elsewhere = other.block_on(async { with_async_body() });
        let shared = with_async_body();
        current_thread().block_on(async {
            (elsewhere.close_blocking().is_ok(), shared.close_blocking().is_ok())
        })
    });
    assert_eq!(ended, (true, true));
}

/// I13: a wait on a multi-thread runtime is not refused, because another worker runs the bodies.
#[test]
fn a_wait_in_a_runtime_with_several_threads_is_not_refused() {
    for wait in WAITS {
        let ended = on_a_thread(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(async {
                let process = with_async_body();
                process.set_teardown_async(tokio::task::yield_now).unwrap();
                process.close();
                wait(&process)
            })
        });
        assert!(ended.is_ok(), "{ended:?}");
    }
}

/// I13: a thread body may wait for a process that does not wait for the body's process.
#[test]
fn waits_in_one_direction_are_not_refused() {
    let (a, b, c) = (Process::new(), Process::new(), Process::new());
    let (next, last) = (b.clone(), c.clone());
    let inner = b.spawn_thread(move |_| last.close_blocking()).unwrap();
    let body = a.spawn_thread(move |_| next.close_blocking()).unwrap();
    outcome(&body.closed()).unwrap();
    outcome(&inner.closed()).unwrap();
    a.close();
    [&a, &b, &c].into_iter().for_each(ends_well);
}
