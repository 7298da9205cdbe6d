//! Foreign code is contained (I9, I10, I14): wakers, the code that is polled when they are woken, and the clock and the
//! body of a periodic process.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use procession::{Clock, Closing, Inline, ManualClock, Periodic, Process, Sleep, SystemClock};
use procession_tests::foreign::{call_everything, panic_quietly, waker};
use procession_tests::{LIMIT, ends_well, in_time};

fn inline() -> Process {
    Process::builder().spawner(Inline).build().unwrap()
}

/// I10: a channel wakes its receiver while it holds the lock of its list. An async body of `Inline` that receives again
/// is not polled inside that call.
#[test]
fn an_async_body_of_inline_may_receive_from_an_async_channel() {
    let (sender, receiver) = smol::channel::unbounded();
    let (tell, told) = mpsc::channel();
    let app = inline();
    let body = move |_| async move {
        while let Ok(item) = receiver.recv().await {
            tell.send(item).unwrap();
        }
    };
    app.spawn(body).unwrap();
    in_time(move || {
        for item in 0..100 {
            sender.send_blocking(item).unwrap();
            // The receiver waits again before the next message is sent.
            assert_eq!(told.recv_timeout(LIMIT), Ok(item));
        }
    });
    app.close();
    ends_well(&app);
}

/// I10: a mutex wakes the next task while it holds the lock of its list. An async teardown of `Inline` that locks it
/// again is not polled inside that call.
#[test]
fn an_async_teardown_of_inline_may_lock_an_async_mutex() {
    let lock = Arc::new(smol::lock::Mutex::new(0));
    let taken = lock.clone();
    let app = inline();
    let teardown = move || async move {
        for _ in 0..100 {
            *taken.lock().await += 1;
        }
    };
    app.set_teardown_async(teardown).unwrap();
    in_time(move || {
        let held = lock.lock_blocking();
        let closed = app.close();
        drop(held);
        closed.wait_timeout(LIMIT).unwrap().unwrap();
        assert_eq!(*lock.lock_blocking(), 100);
    });
}

/// I10: an async job of `Inline` is polled on the shared executor: neither on the thread that spawns it nor inside
/// `wake`, whose caller may hold a lock.
#[test]
fn an_async_job_of_inline_is_not_polled_by_the_thread_that_wakes_it() {
    type Polled = (ThreadId, Waker);
    fn job(tell: mpsc::Sender<Polled>) -> impl Future<Output = ()> + Send {
        let mut polls = 0;
        poll_fn(move |context| {
            polls += 1;
            tell.send((thread::current().id(), context.waker().clone())).unwrap();
            if polls < 3 { Poll::Pending } else { Poll::Ready(()) }
        })
    }
    let own = thread::current().id();
    for teardown in [false, true] {
        let (tell, told) = mpsc::channel();
        let app = inline();
        if teardown {
            app.set_teardown_async(move || job(tell)).unwrap();
            app.close();
        } else {
            app.spawn(move |_| job(tell)).unwrap();
        }
        for poll in 0..3 {
            let (polled_by, waker) = told.recv_timeout(LIMIT).unwrap();
            assert_ne!(polled_by, own, "poll {poll}");
            waker.wake();
        }
        app.close();
        ends_well(&app);
    }
}

/// I9: the library's sleeping threads are woken before any waker is called, so a waker may block, with another
/// crate's `block_on`, until such a thread is awake.
#[cfg(target_os = "linux")]
mod asleep {
    use std::pin::Pin;

    use procession::Limited;
    use procession_runnable::{Service, body};
    use procession_tests::foreign::until_asleep;

    use super::*;

    /// A waiter of any kind.
    type Waiter = Pin<Box<dyn Future<Output = ()>>>;

    /// Polls the waiter with a waker that blocks until it receives a message on the first channel, and then reports on
    /// the second one whether a message came.
    fn blocking_waker(waiter: &mut Waiter) -> (smol::channel::Sender<()>, mpsc::Receiver<bool>) {
        let (awake, awoken) = smol::channel::bounded(1);
        let (tell, told) = mpsc::channel();
        let waker = waker(move || {
            let limit = async {
                smol::Timer::after(LIMIT / 3).await;
                Err(smol::channel::RecvError)
            };
            let awoken = pollster::block_on(futures_lite::future::or(awoken.recv(), limit));
            let _ = tell.send(awoken.is_ok());
        });
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        (awake, told)
    }

    /// Registers, for `event`, a waker that blocks until the thread that runs `sleep` is awake. Then `end` brings the
    /// event about.
    #[track_caller]
    fn assert_woken_before_wakers(
        name: &str,
        process: &Process,
        mut event: Waiter,
        sleep: impl FnOnce() + Send + 'static,
        end: impl FnOnce(),
    ) {
        let (awake, told) = blocking_waker(&mut event);
        let sleeper = thread::Builder::new().name(name.to_owned()).spawn(move || {
            sleep();
            let _ = awake.send_blocking(());
        });
        until_asleep(name);
        end();
        sleeper.unwrap().join().unwrap();
        assert_eq!(told.recv_timeout(LIMIT), Ok(true), "{name}");
        process.close();
        ends_well(process);
    }

    fn closed(process: &Process) -> Waiter {
        let closed = process.closed();
        Box::pin(async move { drop(closed.await) })
    }

    #[test]
    fn threads_in_a_waiter_are_woken_before_wakers() {
        let process = Process::new();
        let waiter = process.closing();
        let event = Box::pin(process.closing());
        let end = || drop(process.close());
        assert_woken_before_wakers("in closing", &process, event, move || waiter.wait(), end);

        let process = Process::new();
        let waiter = process.closed();
        let end = || drop(process.close());
        assert_woken_before_wakers(
            "in closed",
            &process,
            closed(&process),
            move || waiter.wait().unwrap(),
            end,
        );

        let process = Process::new();
        let waiter = process.aborting();
        let aborting = process.aborting();
        let event = Box::pin(async move { assert!(aborting.await) });
        let end = || drop(process.abort());
        assert_woken_before_wakers(
            "in aborting",
            &process,
            event,
            move || assert!(waiter.wait()),
            end,
        );
    }

    #[test]
    fn a_thread_in_close_blocking_is_woken_before_wakers() {
        let process = Process::new();
        let (give, take) = mpsc::channel::<()>();
        process.spawn_thread(move |_| take.recv().unwrap()).unwrap();
        let closer = process.clone();
        let sleep = move || closer.close_blocking().unwrap();
        let end = || give.send(()).unwrap();
        assert_woken_before_wakers("close_blocking", &process, closed(&process), sleep, end);
    }

    #[test]
    fn a_thread_that_waits_for_a_slot_is_woken_before_wakers() {
        let process = Process::new();
        let limited = Limited::new(&process, 1).unwrap();
        let _slot = limited.try_acquire().unwrap();
        let (first, second) = (limited.acquire(), limited.acquire());
        let event = Box::pin(async move { drop(first.await) });
        let sleep = move || assert!(second.wait().is_err());
        let end = || drop(process.close());
        assert_woken_before_wakers("acquire", &process, event, sleep, end);
    }

    /// The same for a caller that stops a service (`procession-runnable`).
    #[test]
    fn a_thread_that_stops_a_service_is_woken_before_wakers() {
        let (give, take) = smol::channel::bounded::<()>(1);
        let runnable = body(move |unit| {
            let take = take.clone();
            async move {
                unit.ready();
                take.recv().await
            }
        });
        let service = Arc::new(Service::new(runnable));
        service.start_blocking().unwrap();
        let done = service.done();
        let event = Box::pin(async move { drop(done.await) });
        let sleep = move || service.stop_blocking_within(LIMIT).unwrap();
        let end = || give.send_blocking(()).unwrap();
        assert_woken_before_wakers("stop_service", &Process::new(), event, sleep, end);
    }

    /// The same for a caller that stops a unit (`procession-supervisor`).
    #[test]
    fn a_thread_that_stops_a_unit_is_woken_before_wakers() {
        use procession_supervisor::{Manager, MemoryTable, Unit};

        let (give, take) = smol::channel::bounded::<()>(1);
        let runnable = body(move |unit| {
            let take = take.clone();
            async move {
                unit.ready();
                take.recv().await
            }
        });
        let table = MemoryTable::new();
        table.insert("unit", Unit::new(runnable));
        let manager = Arc::new(Manager::new(table));
        let running = manager.clone();
        let (tell, ready) = mpsc::channel();
        let runs = thread::spawn(move || {
            running.run_blocking(|process| {
                tell.send(()).unwrap();
                process.closing().wait_timeout(LIMIT);
            })
        });
        drop(runs);
        ready.recv_timeout(LIMIT).unwrap();
        let unit = manager.get(&"unit").unwrap();
        let event = closed(&unit);
        let sleep = move || manager.stop_blocking(&"unit").unwrap();
        let end = || give.send_blocking(()).unwrap();
        assert_woken_before_wakers("stop_unit", &Process::new(), event, sleep, end);
    }

    /// The same if units of several managers begin to close in one walk.
    #[test]
    fn threads_that_stop_units_of_several_managers_are_woken_before_wakers() {
        use procession_runnable::{Start, body_thread};
        use procession_supervisor::{Manager, MemoryTable};

        let (app, common) = (Process::new(), Process::new());
        let (begin, begun) = mpsc::channel::<()>();
        let (awake, awoken) = mpsc::channel();
        let managers: Vec<Manager<&str>> = (0..3)
            .map(|_| {
                let (table, parent) = (MemoryTable::new(), common.clone());
                table.insert(
                    "unit",
                    // The threads of bodies are woken before wakers; futures of bodies are not.
                    body_thread(move |run| {
                        parent.add_child(&run).unwrap();
                        run.ready();
                        run.closing().wait();
                    }),
                );
                let manager = Manager::new(table);
                let (start, readiness) = Start::under(&app);
                drop(manager.runnable().start(start).unwrap());
                pollster::block_on(readiness).unwrap();
                manager
            })
            .collect();
        let count = managers.len();
        let stopping = thread::spawn(move || {
            begun.recv_timeout(LIMIT).unwrap();
            for manager in managers {
                let awake = awake.clone();
                thread::spawn(move || {
                    let _stopped = manager.stop_blocking(&"unit");
                    awake.send(()).unwrap();
                });
            }
        });
        let (tell, told) = mpsc::channel();
        let awoken = std::sync::Mutex::new(awoken);
        let waker = waker(move || {
            begin.send(()).unwrap();
            let awoken = awoken.lock().unwrap();
            let all = (0..count).all(|_| awoken.recv_timeout(LIMIT / 3).is_ok());
            tell.send(all).unwrap();
        });
        let mut event = std::pin::pin!(common.closing());
        assert!(event.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        common.close();
        assert_eq!(told.recv_timeout(LIMIT), Ok(true));
        stopping.join().unwrap();
        app.close();
        ends_well(&app);
    }
}

/// I9: if the waker of one sleeper of a manual clock panics, the other sleepers are still woken, and the panic does not
/// reach the caller.
#[test]
fn a_waker_that_panics_keeps_no_sleeper_of_a_manual_clock_asleep() {
    let clock = ManualClock::new();
    let second = Duration::from_secs(1);
    let woken = Arc::new(AtomicUsize::new(0));
    let mut sleepers: Vec<Sleep> =
        (0..3).map(|_| clock.sleep_until(clock.now() + second)).collect();
    for sleeper in &mut sleepers {
        let counter = woken.clone();
        let waker = waker(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            panic_quietly();
        });
        assert!(sleeper.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let advanced = catch_unwind(AssertUnwindSafe(|| clock.advance(second)));
    assert!(advanced.is_ok());
    assert_eq!(woken.load(Ordering::SeqCst), 3);
}

/// A clock of which one call panics.
struct FaultyClock {
    /// The number of calls of `now` before the one that panics.
    now: usize,
    /// The number of calls of `sleep_until` before the one that panics.
    sleep: usize,
    called: [AtomicUsize; 2],
    tell: mpsc::Sender<()>,
}

impl FaultyClock {
    fn call(&self, which: usize, bad: usize) {
        if self.called[which].fetch_add(1, Ordering::SeqCst) == bad {
            let _ = self.tell.send(());
            panic_quietly();
        }
    }
}

impl Clock for FaultyClock {
    fn now(&self) -> Instant {
        self.call(0, self.now);
        SystemClock.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        self.call(1, self.sleep);
        SystemClock.sleep_until(deadline)
    }
}

/// I14: whichever call of a clock panics, the periodic process ends, and its parent can be closed.
#[test]
fn a_clock_that_panics_leaves_no_body_behind() {
    const NEVER: usize = usize::MAX;
    for (now, sleep) in [(0, NEVER), (1, NEVER), (2, NEVER), (NEVER, 0), (NEVER, 1)] {
        for rate in [false, true] {
            let (tell, told) = mpsc::channel();
            let app = Process::with_teardown(|| ());
            let clock = FaultyClock { now, sleep, called: Default::default(), tell };
            let often = Duration::from_millis(1);
            let periodic = if rate { Periodic::tick(often) } else { Periodic::every(often) };
            // `spawn` may fail or panic; this test accepts both.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                periodic.clock(clock).spawn(&app, |_| async {}).map(drop)
            }));
            told.recv_timeout(LIMIT).unwrap();
            app.close();
            assert!(app.closed().wait_timeout(LIMIT).is_some(), "{now} {sleep}: {app:?}");
        }
    }
}

/// I10: the body of a periodic process may make any call on the process of its call, on the periodic process, and on
/// the parent.
#[test]
fn a_periodic_body_may_call_everything() {
    for level in 0..3 {
        let (tell, told) = mpsc::channel();
        let app = Process::new();
        let above: Arc<Mutex<Option<Process>>> = Arc::default();
        let (given, parent) = (above.clone(), app.clone());
        let (signal, ticks) = smol::channel::bounded::<()>(1);
        let body = move |call: Process| {
            let target = match level {
                0 => call,
                1 => given.lock().unwrap().clone().unwrap(),
                _ => parent.clone(),
            };
            call_everything(&target);
            tell.send(()).unwrap();
        };
        let periodic = Periodic::on(ticks).spawn_thread(&app, body).unwrap();
        *above.lock().unwrap() = Some(periodic);
        signal.send_blocking(()).unwrap();
        told.recv_timeout(LIMIT).unwrap();
        app.close();
        assert!(app.closed().wait_timeout(LIMIT).is_some(), "{app:?}");
    }
}

/// I14: a periodic body that panics is called again at the next tick, whether it blocks or is async.
#[test]
fn a_periodic_body_that_panics_is_called_again() {
    for blocking in [false, true] {
        let (tell, told) = mpsc::channel();
        let app = Process::new();
        let (signal, ticks) = smol::channel::unbounded::<()>();
        let periodic = Periodic::on(ticks);
        if blocking {
            let body = move |_: Process| {
                tell.send(()).unwrap();
                panic_quietly();
            };
            periodic.spawn_thread(&app, body).unwrap();
        } else {
            let body = move |_: Process| {
                tell.send(()).unwrap();
                panic_quietly();
                async {}
            };
            periodic.spawn(&app, body).unwrap();
        }
        for _ in 0..3 {
            signal.send_blocking(()).unwrap();
            told.recv_timeout(LIMIT).unwrap();
        }
        app.close();
        assert!(app.closed().wait_timeout(LIMIT).is_some(), "{app:?}");
    }
}

/// I9: a task waits for several moments with one waker. If one of its waiters moves to another task, even while that
/// waker is being called, the task is still woken for the others.
#[test]
fn a_waiter_that_moves_during_a_wake_up_takes_no_other_along() {
    let (parent, (first, other)) = (Process::new(), (Counter::new(), Counter::new()));
    let child = parent.child();
    let stubborn = child.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    let (mut closing, mut aborting) = (child.closing(), child.aborting());
    let mut closed = Box::pin(child.closed());
    let poll = |waiter: &mut (dyn Future<Output = ()> + Unpin), waker: &Waker| {
        assert!(Pin::new(waiter).poll(&mut Context::from_waker(waker)).is_pending());
    };
    poll(&mut closing, &first.waker);
    let aborted = Pin::new(&mut aborting).poll(&mut Context::from_waker(&first.waker));
    assert!(aborted.is_pending());
    assert!(closed.as_mut().poll(&mut Context::from_waker(&first.waker)).is_pending());
    // A waker that is called in the same walk, for the parent, moves the waiter `aborting`.
    let moved = Mutex::new(Some((aborting, other.waker.clone())));
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let moves = waker(move || {
        if let Some((mut aborting, other)) = moved.lock().unwrap().take() {
            let pending =
                Pin::new(&mut aborting).poll(&mut Context::from_waker(&other)).is_pending();
            *keep.lock().unwrap() = Some((aborting, pending));
        }
    });
    let mut of_parent = parent.closing();
    poll(&mut of_parent, &moves);
    parent.close();
    assert!(kept.lock().unwrap().as_ref().is_some_and(|(_, pending)| *pending));
    let before = first.count();
    assert!(before >= 1);
    parent.abort();
    ends_well(&stubborn);
    ends_well(&parent);
    first.comes_to(before + 1);
    other.comes_to(1);
}

/// Counts the wake-ups of a task.
struct Counter {
    count: Arc<AtomicUsize>,
    waker: Waker,
}

impl Counter {
    fn new() -> Self {
        let count = Arc::<AtomicUsize>::default();
        let counted = count.clone();
        let wake = move || {
            counted.fetch_add(1, Ordering::SeqCst);
        };
        Self { count, waker: waker(wake) }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until the count has this value: the walk that wakes the task may still run on another thread.
    #[track_caller]
    fn comes_to(&self, count: usize) {
        let end = Instant::now() + LIMIT;
        while self.count() < count {
            assert!(Instant::now() < end, "woken {} times, not {count}", self.count());
            thread::yield_now();
        }
    }
}

/// I11: each waker of a chain drops the last handle to the next process, and the first handle is dropped while the
/// thread-locals of its thread are destroyed. Nothing recurses there either.
#[test]
fn wakers_that_are_called_at_the_end_of_a_thread_do_not_recurse() {
    struct DropAtEnd(RefCell<Option<Process>>);
    impl Drop for DropAtEnd {
        fn drop(&mut self) {
            drop(self.0.take());
        }
    }
    thread_local! {
        static FIRST: DropAtEnd = const { DropAtEnd(RefCell::new(None)) };
    }
    const LENGTH: usize = 10_000;

    /// Returns the first process of a chain.
    fn chain(length: usize, called: &Arc<AtomicUsize>, waiters: &mut Vec<Closing>) -> Process {
        let mut last = Process::new();
        for _ in 0..length {
            let (process, called) = (Process::new(), called.clone());
            let owned = Mutex::new(Some(std::mem::replace(&mut last, process.clone())));
            let waker = waker(move || {
                called.fetch_add(1, Ordering::SeqCst);
                drop(owned.lock().unwrap().take());
            });
            let mut closing = process.closing();
            assert!(Pin::new(&mut closing).poll(&mut Context::from_waker(&waker)).is_pending());
            waiters.push(closing);
        }
        last
    }

    let (called, mut waiters) = (Arc::new(AtomicUsize::new(0)), Vec::new());
    let first = chain(LENGTH, &called, &mut waiters);
    let at_end = move || {
        FIRST.with(|_| ());
        // The queue of the thread is made after that, and so it would be destroyed before.
        drop(chain(40, &Arc::default(), &mut Vec::new()));
        FIRST.with(|place| *place.0.borrow_mut() = Some(first));
    };
    thread::Builder::new().stack_size(256 << 10).spawn(at_end).unwrap().join().unwrap();
    assert_eq!(called.load(Ordering::SeqCst), LENGTH);
}
