//! `Limited`: at most `limit` children at a time.

use std::future::{Future, pending};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use procession::{Acquire, ChildFailure, Error, Inline, Job, Limited, Process, Reason, Smol};
use procession_tests::{LIMIT, ends_well, outcome};

/// A process and a limiter below it.
fn app_with_limit(limit: usize) -> (Process, Limited) {
    let app = Process::builder().name("app").build().unwrap();
    let limited = Limited::new(&app, limit).unwrap();
    (app, limited)
}

/// The number of free slots.
fn free_slots(limited: &Limited) -> usize {
    let slots: Vec<_> = std::iter::from_fn(|| limited.try_acquire().ok()).collect();
    slots.len()
}

/// Polls once, with a waker that does nothing.
fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::Pin::new(future).poll(&mut context) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

/// Counts the bodies that run now, and the most that ever ran at the same time.
#[derive(Clone, Default)]
struct UnderWay(Arc<(AtomicUsize, AtomicUsize)>);

impl UnderWay {
    fn begin(&self) {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
    }

    fn end(&self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// Many threads spawn blocking bodies: at most `limit` of them run at a time, and `limit` of them do.
#[test]
fn at_most_limit_threads_at_a_time() {
    let (app, limited) = app_with_limit(3);
    let under_way = UnderWay::default();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let under_way = under_way.clone();
                    let body = move |_| {
                        under_way.begin();
                        thread::yield_now();
                        under_way.end();
                    };
                    limited.spawn_thread(body).unwrap();
                }
            });
        }
    });
    limited.process().close_after_children().wait().unwrap();
    assert!((1..=3).contains(&under_way.most()), "{}", under_way.most());

    // Three bodies wait for each other, so three run at once.
    let limited = Limited::new(&app, 3).unwrap();
    let barrier = Arc::new(std::sync::Barrier::new(3));
    for _ in 0..3 {
        let barrier = barrier.clone();
        let wait = move |_| {
            barrier.wait();
        };
        limited.spawn_thread(wait).unwrap();
    }
    drop(limited);
    ends_well(&{
        app.close_after_children();
        app
    });
}

/// Checks the async functions of a limiter on the executor that polls this.
async fn assert_works(app: Process) {
    let under_way = UnderWay::default();
    let limited = Limited::new(&app, 5).unwrap();
    for number in 0..200 {
        let under_way = under_way.clone();
        let spawned = limited.spawn(move |p| async move {
            under_way.begin();
            futures_lite::future::yield_now().await;
            let ended = under_way.clone();
            p.set_teardown(move || ended.end()).unwrap();
            if number % 3 == 0 { Err("failed") } else { Ok(()) }
        });
        spawned.await.unwrap();
    }
    let slots = [limited.acquire().await.unwrap(), limited.acquire().await.unwrap()];
    drop(slots);
    let process = limited.process().clone();
    drop(limited);
    process.closed().await.unwrap();
    assert!((1..=5).contains(&under_way.most()), "{}", under_way.most());
    app.close().await.unwrap();
}

#[test]
fn under_every_executor() {
    for threads in [1, 4] {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).build().unwrap();
        runtime.block_on(async { assert_works(Process::new()).await });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async { assert_works(Process::new()).await });
    smol::block_on(assert_works(Process::builder().spawner(Smol).build().unwrap()));
    futures_lite::future::block_on(assert_works(Process::new()));
    pollster::block_on(assert_works(Process::builder().spawner(Inline).build().unwrap()));
    futures::executor::LocalPool::new().run_until(assert_works(Process::new()));
}

/// A slot is free again only when the child's own children and its teardown have ended too.
#[test]
fn a_slot_is_free_when_all_of_the_child_is_closed() {
    let (app, limited) = app_with_limit(1);
    let gate = Process::new();
    let (inner_gate, (torn, teardown_gate)) = (gate.closed(), mpsc::channel::<()>());
    let ((begin, begun), (tear_down, tearing_down)) = (mpsc::channel(), mpsc::channel());
    let child = limited
        .spawn(|p| async move {
            p.set_teardown(move || {
                tear_down.send(()).unwrap();
                teardown_gate.recv().unwrap_or(());
            })
            .unwrap();
            p.spawn(move |_| async move {
                begin.send(()).unwrap();
                inner_gate.await
            })
            .unwrap();
        })
        .unwrap_now();
    begun.recv_timeout(LIMIT).unwrap();
    assert!(matches!(limited.try_acquire(), Err(Error::Full(_))));
    assert!(tearing_down.try_recv().is_err());
    gate.close();
    tearing_down.recv_timeout(LIMIT).unwrap();
    assert!(!child.is_closed());
    assert!(matches!(limited.try_acquire(), Err(Error::Full(_))));
    torn.send(()).unwrap();
    let slot = limited.acquire().wait().unwrap();
    assert!(child.is_closed());
    drop(slot);
    app.close_blocking().unwrap();
}

trait UnwrapNow {
    fn unwrap_now(self) -> Process;
}

impl<F: Future<Output = Result<Process, Error>>> UnwrapNow for F {
    fn unwrap_now(self) -> Process {
        futures_lite::future::block_on(self).unwrap()
    }
}

/// Slots are given out in the order of the requests. Threads and tasks share one queue, and a waiter that leaves it
/// delays no other.
#[test]
fn first_come_first_served() {
    let (app, limited) = app_with_limit(1);
    let first = limited.acquire().wait().unwrap();
    let mut waiting: Vec<Acquire> = (0..6).map(|_| limited.acquire()).collect();
    waiting.iter_mut().for_each(|acquire| assert!(poll(acquire).is_none()));
    // The second waiter leaves the queue.
    drop(waiting.remove(1));
    assert!(matches!(limited.try_acquire(), Err(Error::Full(_))));
    let mut held = first;
    while !waiting.is_empty() {
        drop(held);
        waiting[1..].iter_mut().for_each(|later| assert!(poll(later).is_none()));
        held = poll(&mut waiting[0]).unwrap().unwrap();
        drop(waiting.remove(0));
    }
    drop(held);

    // The requests come one after another; one is a thread's, the others are tasks'.
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = limited.acquire().wait().unwrap();
    let (queued, is_queued) = mpsc::channel();
    let (one, own) = (order.clone(), limited.clone());
    let mut before = limited.acquire();
    assert!(poll(&mut before).is_none());
    let thread = thread::spawn(move || {
        let mut acquire = own.acquire();
        assert!(acquire.wait_timeout(Duration::ZERO).is_none());
        queued.send(()).unwrap();
        let slot = acquire.wait().unwrap();
        one.lock().unwrap().push("thread");
        drop(slot);
    });
    is_queued.recv_timeout(LIMIT).unwrap();
    let mut after = limited.acquire();
    assert!(poll(&mut after).is_none());
    drop(first);
    let slot = poll(&mut before).unwrap().unwrap();
    assert!(poll(&mut after).is_none());
    order.lock().unwrap().push("before");
    drop(slot);
    let slot = after.wait().unwrap();
    order.lock().unwrap().push("after");
    drop(slot);
    thread.join().unwrap();
    assert_eq!(*order.lock().unwrap(), ["before", "thread", "after"]);
    app.close_blocking().unwrap();
}

/// Closing the parent ends each wait for a slot with `Error::Closed`, and runs no body.
#[test]
fn closing_releases_the_waiters() {
    let (app, limited) = app_with_limit(1);
    let stuck = limited.spawn_thread(|p| p.closing().wait()).unwrap();
    let (waits, waiting) = mpsc::channel();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (limited, waits) = (limited.clone(), waits.clone());
            thread::spawn(move || {
                waits.send(()).unwrap();
                limited.spawn_thread(|_| panic!("run"))
            })
        })
        .collect();
    let task = app.spawn({
        let spawn = limited.spawn(|_| async { panic!("run") });
        move |_| async move {
            waits.send(()).unwrap();
            assert!(matches!(spawn.await, Err(Error::Closed(_))));
        }
    });
    (0..5).for_each(|_| waiting.recv_timeout(LIMIT).unwrap());
    app.close_blocking().unwrap();
    for thread in threads {
        assert!(matches!(thread.join().unwrap(), Err(Error::Closed(_))));
    }
    outcome(&task.unwrap().closed()).unwrap();
    assert!(stuck.is_closed());
    let (late, tried) = (limited.spawn_thread(|_| panic!("run")), limited.try_acquire());
    assert!(matches!(late, Err(Error::Closed(_))));
    let Err(Error::Closed(label)) = tried else { panic!("{tried:?}") };
    assert_eq!(label, limited.process().label());
    assert!(matches!(Limited::new(&app, 1), Err(Error::Closed(_))));
}

/// I6: a slot that was taken before closing began still runs its body, with a child that is Closing. Once the teardown
/// has started, it runs nothing.
#[test]
fn a_slot_outlives_the_beginning_of_closing() {
    let (app, limited) = app_with_limit(2);
    let holder = limited.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    let slot = limited.acquire().wait().unwrap();
    app.close();
    let body = slot.spawn_thread(|p| assert!(p.is_closing())).unwrap();
    outcome(&body.closed()).unwrap();
    app.abort();
    ends_well(&app);
    assert!(holder.is_closed());

    let (app, limited) = app_with_limit(1);
    let slot = limited.acquire().wait().unwrap();
    app.close_blocking().unwrap();
    assert!(matches!(slot.spawn(|_| async { panic!("run") }), Err(Error::Closed(_))));
}

/// A limited child that fails counts as a failed child of the process for which the limiter was made.
#[test]
fn a_limited_child_is_a_child_of_the_parent_when_it_fails() {
    let builder = Process::builder().on_child_failure(ChildFailure::Close);
    let app = builder.build().unwrap();
    let limited = Limited::new(&app, 2).unwrap();
    let other = limited.spawn_thread(|p| p.closing().wait()).unwrap();
    let failed = limited.spawn_thread(|_| Err("disk")).unwrap();
    let error = outcome(&app.closed()).unwrap_err();
    assert_eq!(error.process(), Some(&failed.label()));
    assert_eq!(app.reason(), Some(Reason::ChildFailed(failed.label())));
    assert!(other.is_closed());

    // A child that ends because the limiter is aborted has not failed.
    let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
    let limited = Limited::new(&app, 1).unwrap();
    let stuck = limited.spawn(|_| pending::<()>()).unwrap_now();
    outcome(&limited.process().abort()).unwrap();
    assert!(matches!(stuck.outcome(), Some(Err(Error::Aborted(_)))));
    assert!(!app.is_closing());
    app.close_blocking().unwrap();

    let (app, limited) = app_with_limit(1);
    assert!(outcome(&limited.spawn_thread(|_| Err("disk")).unwrap().closed()).is_err());
    assert!(!app.is_closing() && !limited.process().is_closing());
    app.close_blocking().unwrap();
}

/// A limit of 0 is refused with an error that names the parent.
#[test]
fn a_limit_of_zero_is_refused() {
    let app = Process::builder().name("app").build().unwrap();
    let error = Limited::new(&app, 0).unwrap_err();
    assert_eq!(error.to_string(), "the limit for the children of process `app` must be at least 1");
    app.close_blocking().unwrap();
}

/// No slot is lost, whether bodies fail, panic or are aborted, waiters and slots are dropped at any point, or a spawner
/// fails.
#[test]
fn no_slot_is_lost() {
    let (app, limited) = app_with_limit(3);
    let bodies = [
        limited.spawn_thread(|_| Err("failed")).unwrap(),
        limited.spawn(|_| async { panic!("panicked") }).unwrap_now(),
        limited.spawn(|_| pending::<()>()).unwrap_now(),
    ];
    bodies[2].abort();
    bodies.iter().for_each(|body| assert!(outcome(&body.closed()).is_err()));
    // A slot becomes free some time after Closed is visible.
    drop([(); 3].map(|()| limited.acquire().wait().unwrap()));
    assert_eq!(free_slots(&limited), 3);

    // Waiters that are dropped: before a poll, while waiting, after receiving a slot, after a timeout.
    let slots = [(); 3].map(|()| limited.acquire().wait().unwrap());
    drop(limited.acquire());
    let (mut waiting, mut given, mut timed) =
        (limited.acquire(), limited.acquire(), limited.acquire());
    assert!(poll(&mut given).is_none());
    assert!(poll(&mut waiting).is_none());
    assert!(timed.wait_timeout(Duration::from_millis(1)).is_none());
    drop(waiting);
    drop(slots);
    drop((given, timed));
    assert_eq!(free_slots(&limited), 3);

    // A future of `spawn` that is dropped after it has received a slot does not run its body.
    let slots = [(); 3].map(|()| limited.acquire().wait().unwrap());
    let mut spawning = Box::pin(limited.spawn(|_| async { panic!("run") }));
    assert!(poll(&mut spawning).is_none());
    drop(slots);
    drop(spawning);
    assert_eq!(free_slots(&limited), 3);
    app.close_blocking().unwrap();

    // A spawner that drops the job.
    let app = Process::builder().spawner(drop::<Job>).build().unwrap();
    let limited = Limited::new(&app, 1).unwrap();
    for _ in 0..3 {
        let body = limited.spawn(|_| async { panic!("run") }).unwrap_now();
        assert!(matches!(outcome(&body.closed()), Err(Error::Aborted(_))));
    }
    assert_eq!(free_slots(&limited), 1);
}

/// I9: if a waiter is given a slot and is dropped before it takes it, the next waiter in the queue is woken.
#[test]
fn a_slot_that_a_waiter_leaves_goes_to_the_next() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (app, limited) = app_with_limit(1);
    let slot = limited.try_acquire().unwrap();
    let woken = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
    let mut queue = woken.clone().map(|count| {
        let mut acquire = limited.acquire();
        let waker = Waker::from(count);
        let polled = std::pin::Pin::new(&mut acquire).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        Some(acquire)
    });
    let counts = || woken.each_ref().map(|count| count.0.load(Ordering::SeqCst));
    drop(slot);
    assert_eq!(counts(), [1, 0]);
    queue[0] = None;
    assert_eq!(counts(), [1, 1]);
    assert!(poll(queue[1].as_mut().unwrap()).is_some());
    app.close_blocking().unwrap();
}

/// I13: a wait for a slot is refused if every slot is held by a process that waits for the caller, and only then.
#[test]
fn a_wait_that_cannot_end_is_refused() {
    let (app, limited) = app_with_limit(2);
    let (hold, held) = mpsc::channel::<()>();
    let (one, other) = (
        limited.spawn_thread(|p| p.closing().wait()).unwrap(),
        limited.spawn_thread(move |_| held.recv().unwrap_or(())).unwrap(),
    );
    // `one` waits for the body and `other` does not, so the end of `other` frees a slot.
    let own = limited.clone();
    let (tell, told) = mpsc::channel();
    let body = one.spawn_thread(move |_| {
        tell.send(()).unwrap();
        own.spawn_thread(|p| p.closing().wait()).map(drop)
    });
    told.recv_timeout(LIMIT).unwrap();
    drop(hold);
    outcome(&body.unwrap().closed()).unwrap();
    ends_well(&other);
    app.close_blocking().unwrap();

    // Both holders wait for the caller.
    let (app, limited) = app_with_limit(2);
    let holders = [(); 2].map(|()| limited.spawn_thread(|p| p.closing().wait()).unwrap());
    let own = limited.clone();
    let (go, gone) = mpsc::channel::<()>();
    let caller = holders[0].spawn_thread(move |_| {
        let _ = gone.recv();
        own.spawn_thread(|_| panic!("run")).map(drop)
    });
    let caller = caller.unwrap();
    holders[1].add_child(&caller).unwrap();
    drop(go);
    assert!(matches!(outcome(&caller.closed()), Err(Error::Deadlock(_))));
    app.close_blocking().unwrap();

    let (app, limited) = app_with_limit(1);
    let (own, limiter) = (limited.clone(), limited.process().label());
    let outer = limited.spawn_thread(move |_| own.spawn_thread(|_| panic!("run")).map(drop));
    let error = outcome(&outer.unwrap().closed()).unwrap_err();
    let Error::Deadlock(deadlock) = &error else { panic!("{error}") };
    assert_eq!(*deadlock.target(), limiter);
    app.close_blocking().unwrap();
}

/// When its last clone is dropped, a limiter lets its children finish, closes, and leaves nothing in its parent.
#[test]
fn dropping_the_last_clone_closes_the_limiter() {
    let (app, limited) = app_with_limit(1);
    let process = limited.process().clone();
    let other = limited.clone();
    let (release, released) = mpsc::channel::<()>();
    limited.spawn_thread(move |_| released.recv().unwrap_or(())).unwrap();
    let mut waiter = limited.acquire();
    assert!(poll(&mut waiter).is_none());
    drop((limited, other));
    // A child without a slot frees none.
    process.child().close();
    assert!(poll(&mut waiter).is_none());
    drop(release);
    // The waiter is still served.
    let last = waiter.wait().unwrap().spawn(|_| async {}).unwrap();
    outcome(&last.closed()).unwrap();
    ends_well(&process);
    assert!(!app.is_closing());
    // Without a waiter, the child just finishes.
    let limited = Limited::new(&app, 1).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let child = limited.spawn_thread(move |_| released.recv().unwrap_or(())).unwrap();
    drop(limited);
    assert!(!child.is_closing());
    drop(release);
    ends_well(&child);
    app.close_blocking().unwrap();
}

/// Many threads take slots, some give up, and children end in every way. In the end, all slots are free.
#[test]
fn many_threads_lose_no_slot() {
    let (app, limited) = app_with_limit(4);
    thread::scope(|scope| {
        for seed in 0..4_u32 {
            let limited = &limited;
            scope.spawn(move || {
                for round in 0..400 {
                    let kind = (round * 7 + seed * 3) % 9;
                    let mut acquire = limited.acquire();
                    let wait = if kind % 2 == 0 { LIMIT } else { Duration::from_micros(50) };
                    let Some(slot) = acquire.wait_timeout(wait) else { continue };
                    let slot = slot.unwrap();
                    match kind {
                        0 => drop(slot),
                        1 | 2 => drop(slot.spawn(|_| async {}).unwrap()),
                        3 | 4 => drop(slot.spawn(|_| async { panic!("stress") }).unwrap()),
                        5 => drop(slot.spawn(|_| pending::<()>()).unwrap().abort()),
                        6 => {
                            drop(slot.spawn(|p| async move { p.closing().await }).unwrap().close())
                        }
                        _ => drop(slot.spawn_thread(|p| drop(p.close())).unwrap()),
                    }
                }
            });
        }
    });
    let all = [(); 4].map(|()| limited.acquire().wait_or_panic());
    assert!(matches!(limited.try_acquire(), Err(Error::Full(_))));
    drop(all);
    assert_eq!(free_slots(&limited), 4);
    app.close_blocking().unwrap();
}

trait WaitOrPanic {
    fn wait_or_panic(self) -> procession::Slot;
}

impl WaitOrPanic for Acquire {
    fn wait_or_panic(mut self) -> procession::Slot {
        self.wait_timeout(LIMIT).expect("a slot in time").unwrap()
    }
}
