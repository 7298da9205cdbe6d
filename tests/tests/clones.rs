//! A waker's `clone` is foreign code: it runs with no lock held (I10), and a panic in it loses nothing (I14).
//!
//! Cloning a waker made from an `Arc` runs no foreign code. So these tests use cooked-waker, which makes a waker from a
//! value of any type that is `Clone`.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use cooked_waker::{IntoWaker, Wake, WakeRef};
use procession::{Clock, Limited, ManualClock, Process};
use procession_tests::LIMIT;
use procession_tests::foreign::{call_everything, panic_quietly};

/// Foreign code, and wakers whose `clone` runs it while this is armed.
#[derive(Clone)]
struct ArmedClone {
    armed: Arc<AtomicBool>,
    /// It stays armed after the code has run.
    again: bool,
    act: Arc<dyn Fn() + Send + Sync>,
}

impl ArmedClone {
    /// The code calls `further` and then everything on the process; or it panics.
    fn new(process: &Process, panics: bool, further: impl Fn() + Send + Sync + 'static) -> Self {
        let process = process.clone();
        let act = move || {
            if panics {
                panic_quietly();
            }
            further();
            call_everything(&process);
        };
        Self { armed: Arc::default(), again: false, act: Arc::new(act) }
    }

    fn waker(&self) -> Waker {
        Box::new(OnClone(self.clone())).into_waker()
    }

    /// Arms it and calls `run`, which clones a waker.
    fn during(&self, run: impl FnOnce()) {
        self.armed.store(true, Ordering::SeqCst);
        // A panic reaches this caller if the waker is cloned on its stack.
        let _ = catch_unwind(AssertUnwindSafe(run));
    }

    /// Has the code run?
    fn has_run(&self) -> bool {
        !self.armed.load(Ordering::SeqCst)
    }
}

struct OnClone(ArmedClone);

impl Clone for OnClone {
    fn clone(&self) -> Self {
        if self.0.armed.swap(false, Ordering::SeqCst) {
            (self.0.act)();
            self.0.armed.store(self.0.again, Ordering::SeqCst);
        }
        Self(self.0.clone())
    }
}

impl WakeRef for OnClone {
    fn wake_by_ref(&self) {}
}

impl Wake for OnClone {}

type Waiter = Pin<Box<dyn Future<Output = ()>>>;

fn poll(waiter: &mut Waiter, waker: &Waker) {
    let _ = waiter.as_mut().poll(&mut Context::from_waker(waker));
}

/// A waiter for a moment of the process, or, as the last kind, for a slot of a limiter below it.
fn waiter(process: &Process, kind: usize) -> Waiter {
    match kind {
        0 => Box::pin(process.closing()),
        1 => {
            let aborting = process.aborting();
            Box::pin(async move {
                aborting.await;
            })
        }
        2 => {
            let closed = process.closed();
            Box::pin(async move { drop(closed.await) })
        }
        _ => {
            let limited = Limited::new(process, 1).unwrap();
            let slot = limited.try_acquire().unwrap();
            Box::pin(async move {
                drop(limited.acquire().await);
                drop(slot);
            })
        }
    }
}

/// Runs code that may hang on a thread of its own, and fails if it hangs or panics.
#[track_caller]
fn in_time(what: String, run: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        run();
        tell.send(()).unwrap();
    });
    assert!(told.recv_timeout(LIMIT).is_ok(), "{what} hangs or has panicked");
}

/// Closes the process, and checks that it becomes Closed and that a thread that waits for it is woken.
fn assert_it_closes(process: &Process) {
    let waiting = process.closed();
    let waiting = thread::spawn(move || waiting.wait_timeout(LIMIT).is_some());
    process.close();
    assert!(waiting.join().unwrap());
}

/// I10, I14: the first poll of a waiter clones the waker, whether it is the first waiter of its process or a further
/// one.
#[test]
fn a_clone_may_do_anything_when_a_waiter_is_polled() {
    for kind in 0..4 {
        for further in [false, true] {
            for panics in [false, true] {
                in_time(format!("{kind} {further} {panics}"), move || {
                    let process = Process::with_teardown(|| ());
                    let mut others: Vec<_> = (0..3).map(|kind| waiter(&process, kind)).collect();
                    if further {
                        others.iter_mut().for_each(|other| poll(other, Waker::noop()));
                    }
                    let act = ArmedClone::new(&process, panics, || ());
                    let mut waiter = waiter(&process, kind);
                    act.during(|| poll(&mut waiter, &act.waker()));
                    assert!(act.has_run());
                    assert_it_closes(&process);
                });
            }
        }
    }
}

/// I10, I14: polling a waiter with another waker clones that one.
#[test]
fn a_clone_may_do_anything_when_a_waker_is_replaced() {
    for kind in 0..4 {
        for panics in [false, true] {
            in_time(format!("{kind} {panics}"), move || {
                let process = Process::with_teardown(|| ());
                let act = ArmedClone::new(&process, panics, || ());
                let mut waiter = waiter(&process, kind);
                poll(&mut waiter, Waker::noop());
                act.during(|| poll(&mut waiter, &act.waker()));
                assert!(act.has_run());
                assert_it_closes(&process);
            });
        }
    }
}

/// I10, I14: the same for a sleeper of a manual clock, polled for the first time and with another waker.
#[test]
fn a_clone_may_do_anything_when_a_sleeper_is_polled() {
    for again in [false, true] {
        for panics in [false, true] {
            in_time(format!("{again} {panics}"), move || {
                let (process, clock) = (Process::new(), ManualClock::new());
                let second = Duration::from_secs(1);
                let own = clock.clone();
                let act = ArmedClone::new(&process, panics, move || {
                    let _ = (own.now(), own.sleepers(), format!("{own:?}"));
                    own.advance(second / 10);
                });
                let mut sleeper: Waiter = clock.sleep_until(clock.now() + second);
                if again {
                    poll(&mut sleeper, Waker::noop());
                }
                act.during(|| poll(&mut sleeper, &act.waker()));
                assert!(act.has_run());
                clock.advance(second);
                assert_it_closes(&process);
            });
        }
    }
}

/// I10, I14: the same for the readiness of a run (`procession-runnable`).
#[test]
fn a_clone_may_do_anything_when_a_readiness_is_polled() {
    use procession_runnable::{Start, body};

    for again in [false, true] {
        for panics in [false, true] {
            in_time(format!("{again} {panics}"), move || {
                let app = Process::new();
                let (give, take) = mpsc::channel();
                let runnable = body(move |unit| {
                    let _ = give.send(unit.clone());
                    async move { unit.closing().await }
                });
                let (start, mut readiness) = Start::under(&app);
                let run = runnable.start(start).unwrap();
                let unit = take.recv_timeout(LIMIT).unwrap();
                let act = ArmedClone::new(&run, panics, move || {
                    unit.ready();
                });
                let mut poll = |waker: &Waker| {
                    let _ = Pin::new(&mut readiness).poll(&mut Context::from_waker(waker));
                };
                if again {
                    poll(Waker::noop());
                }
                act.during(|| poll(&act.waker()));
                assert!(act.has_run());
                assert_it_closes(&app);
            });
        }
    }
}

/// I10, I14: the same for the changes of a table in memory (`procession-supervisor`).
#[test]
fn a_clone_may_do_anything_when_the_changes_of_a_table_are_polled() {
    use procession_runnable::nop;
    use procession_supervisor::{MemoryTable, Table};

    for again in [false, true] {
        for panics in [false, true] {
            in_time(format!("{again} {panics}"), move || {
                let (process, table) = (Process::new(), Arc::new(MemoryTable::new()));
                let mut changes = table.changes().unwrap();
                let own = table.clone();
                let act = ArmedClone::new(&process, panics, move || drop(own.insert("new", nop())));
                let mut poll = |waker: &Waker| {
                    changes.as_mut().poll_next(&mut Context::from_waker(waker)).is_ready()
                };
                if again {
                    poll(Waker::noop());
                }
                act.during(|| assert!(!poll(&act.waker())));
                assert!(act.has_run());
                table.insert("newer", nop());
                assert!(poll(Waker::noop()));
            });
        }
    }
}

/// I10, I14: the same for the task of a manager, which its spawner polls (`procession-supervisor`).
#[test]
fn a_clone_may_do_anything_when_a_manager_is_polled() {
    use std::pin::pin;

    use procession::Job;
    use procession_runnable::{Start, nop};
    use procession_supervisor::{Manager, MemoryTable};

    in_time("the manager".to_owned(), || {
        let table = MemoryTable::new();
        table.insert("unit", nop());
        let manager = Arc::new(Manager::new(table));
        let (give, jobs) = mpsc::channel::<Job>();
        let spawner = move |job: Job| give.send(job).unwrap();
        let app = Process::builder().spawner(spawner).build().unwrap();
        let (start, _readiness) = Start::under(&app);
        let run = manager.runnable().start(start).unwrap();
        let own = manager.clone();
        let mut act = ArmedClone::new(&Process::new(), false, move || {
            let stop = pin!(own.stop(&"unit"));
            let _ = stop.poll(&mut Context::from_waker(Waker::noop()));
            let _ = (own.list(), own.get(&"unit"));
        });
        act.again = true;
        act.armed.store(true, Ordering::SeqCst);
        let waker = act.waker();
        let mut running = Vec::new();
        for round in 0.. {
            if run.is_closed() {
                return;
            }
            // By then its tasks have been polled.
            if round == 10 {
                run.close();
            }
            running.extend(jobs.try_iter().map(Box::pin));
            running
                .retain_mut(|job| job.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            thread::yield_now();
        }
    });
}

/// I14: the poll of an async body clones the waker of its task. If that panics, the body has panicked, and its process
/// closes.
#[test]
fn a_clone_that_panics_in_the_poll_of_a_body_ends_the_body() {
    use procession::Error;
    use procession_tests::outcome;

    let app = Process::new();
    let act = ArmedClone::new(&Process::new(), true, || ());
    let waker = act.waker();
    act.armed.store(true, Ordering::SeqCst);
    let mut run = Box::pin(app.run(|_| std::future::pending::<()>()));
    let _ = run.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(act.has_run());
    drop(run);
    app.close();
    outcome(&app.closed()).unwrap();

    let again = act.clone();
    let polls_once = move |job: procession::Job| {
        again.armed.store(true, Ordering::SeqCst);
        let mut job = Box::pin(job);
        let _ = job.as_mut().poll(&mut Context::from_waker(&again.waker()));
    };
    let app = Process::builder().spawner(polls_once).build().unwrap();
    let body = app.spawn(|_| std::future::pending::<()>()).unwrap();
    assert!(matches!(outcome(&body.closed()), Err(Error::Panicked(_))));
}
