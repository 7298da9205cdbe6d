//! No lock is held while foreign code runs, and no closing runs a teardown on its caller's stack: I9, I10.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use procession::{Error, Inline, Job, Process};
use procession_tests::foreign::call_everything;
use procession_tests::{LIMIT, ends_well, outcome};

/// I10: a teardown may call anything on its own process: it gets an answer or an error.
#[test]
fn a_teardown_may_call_anything_on_its_own_process() {
    for spawner in [0, 1, 2] {
        let builder = Process::builder();
        let process = match spawner {
            0 => builder.build(),
            1 => builder.spawner(Inline).build(),
            _ => builder.spawner(|job: Job| job.run()).build(),
        }
        .unwrap();
        let (own, parent) = (process.clone(), Process::new());
        parent.add_child(&process).unwrap();
        let above = parent.clone();
        process
            .set_teardown(move || {
                call_everything(&own);
                call_everything(&above);
                assert!(matches!(own.close_blocking(), Err(Error::Deadlock(_))));
                assert!(matches!(own.closed().wait(), Err(Error::Deadlock(_))));
                assert!(matches!(above.close_blocking(), Err(Error::Deadlock(_))));
            })
            .unwrap();
        process.close();
        ends_well(&process);
        ends_well(&parent);
    }
}

/// I10: an async teardown too.
#[test]
fn an_async_teardown_may_call_anything_on_its_own_process() {
    let process = Process::new();
    let own = process.clone();
    process
        .set_teardown_async(move || async move {
            call_everything(&own);
            assert!(matches!(own.close_blocking(), Err(Error::Deadlock(_))));
        })
        .unwrap();
    process.close();
    ends_well(&process);
}

struct Calling<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for Calling<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// I10: a waker may call anything on the process that wakes it, including a wait until that process is Closed.
#[test]
fn a_waker_may_call_anything_on_its_own_process() {
    for teardown in [false, true] {
        let process = Process::new();
        let child = process.child();
        if teardown {
            process.set_teardown(|| ()).unwrap();
            child.set_teardown(|| ()).unwrap();
        }
        let (wake, woken) = mpsc::channel();
        let mut waiters = Vec::new();
        for target in [&process, &child] {
            for caller in [&process, &child] {
                let (wake, caller, number) = (wake.clone(), caller.clone(), waiters.len());
                let waker = Waker::from(Arc::new(Calling(move || {
                    call_everything(&caller);
                    caller.close_blocking().unwrap();
                    wake.send(number).unwrap();
                })));
                let mut closing = Box::pin(target.closing());
                let mut closed = Box::pin(target.closed());
                let mut context = Context::from_waker(&waker);
                assert!(closing.as_mut().poll(&mut context).is_pending());
                assert!(closed.as_mut().poll(&mut context).is_pending());
                waiters.push((closing, closed));
            }
        }
        let closer = process.clone();
        let (give, take) = mpsc::channel();
        std::thread::spawn(move || {
            let closed = closer.close_blocking();
            give.send(closed.is_ok()).unwrap();
        });
        assert_eq!(take.recv_timeout(LIMIT), Ok(true));
        ends_well(&process);
        // Each is woken for its two moments, or once for both.
        let mut asleep = vec![0, 1, 2, 3];
        while !asleep.is_empty() {
            let awake = woken.recv_timeout(LIMIT).unwrap();
            asleep.retain(|number| *number != awake);
        }
    }
}

/// I9, I10: a thread in `close_blocking` reports everything that it has yet to report before it calls a waker, which
/// may wait for it.
#[test]
fn a_waker_may_wait_for_the_parent_of_siblings() {
    let parent = Process::new();
    let children: Vec<Process> = (0..3).map(|_| parent.child()).collect();
    for child in &children {
        child.set_teardown(|| ()).unwrap();
    }
    let (give, take) = mpsc::channel();
    let above = parent.clone();
    let waker = Waker::from(Arc::new(Calling(move || {
        give.send(above.closed().wait_timeout(LIMIT).is_some()).unwrap();
    })));
    let mut last = Box::pin(children[2].closed());
    assert!(last.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    parent.close_blocking().unwrap();
    assert_eq!(take.recv_timeout(LIMIT), Ok(true));
}

/// I9, I10: a waker does not wait in vain for a teardown that the thread was about to run.
#[test]
fn a_waker_may_wait_for_the_next_teardown() {
    let app = Process::new();
    let (first, second) = (app.child(), app.child());
    let (before, after) = (first.child(), second.child());
    for child in [&before, &after] {
        child.set_teardown(|| ()).unwrap();
    }
    let (give, take) = mpsc::channel();
    // The first waker that is called waits for the child of the other process.
    let mut ended = [(&first, &after), (&second, &before)].map(|(ended, other)| {
        let (give, other) = (give.clone(), other.clone());
        let waker = Waker::from(Arc::new(Calling(move || {
            give.send(other.closed().wait_timeout(LIMIT).is_some()).unwrap();
        })));
        (Box::pin(ended.closed()), waker)
    });
    for (ended, waker) in &mut ended {
        assert!(ended.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    app.close_blocking().unwrap();
    assert_eq!([take.recv_timeout(LIMIT), take.recv_timeout(LIMIT)], [Ok(true), Ok(true)]);
}

/// I9: a waker that panics does not keep the others asleep.
#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let process = Process::new();
    let waker = Waker::from(Arc::new(Calling(|| panic!("woken"))));
    let mut waiters: Vec<_> = (0..3).map(|_| Box::pin(process.closing())).collect();
    for waiter in &mut waiters {
        assert!(waiter.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let closing = process.closing();
    let asleep = std::thread::spawn(move || closing.wait_timeout(LIMIT));
    process.close();
    assert_eq!(asleep.join().unwrap(), Some(()));
}

/// I10: `close` and `abort` are safe with a lock held that the teardown takes, and inside `Drop`.
#[test]
fn close_does_not_run_the_teardown_on_the_callers_stack() {
    struct Guarded {
        process: Process,
        state: Arc<Mutex<u32>>,
    }
    impl Drop for Guarded {
        fn drop(&mut self) {
            let _held = self.state.lock().unwrap();
            self.process.close();
        }
    }
    for abort in [false, true] {
        let state = Arc::new(Mutex::new(0));
        let taken = state.clone();
        let process = Process::with_teardown(move || *taken.lock().unwrap() += 1);
        let held = state.lock().unwrap();
        let closed = if abort { process.abort() } else { process.close() };
        assert_eq!(*held, 0);
        drop(held);
        outcome(&closed).unwrap();
        assert_eq!(*state.lock().unwrap(), 1);
    }
    let state = Arc::new(Mutex::new(0));
    let taken = state.clone();
    let process = Process::with_teardown(move || *taken.lock().unwrap() += 1);
    let closed = process.closed();
    drop(Guarded { process, state: state.clone() });
    outcome(&closed).unwrap();
    assert_eq!(*state.lock().unwrap(), 1);
}

/// I10: a teardown may close other processes and wait for them, even on the stack of the caller that closed its own.
#[test]
fn a_teardown_may_close_and_wait_for_others() {
    let (inner, innermost) = (Process::new(), Process::with_teardown(|| Err("innermost")));
    let below = inner.clone();
    inner.set_teardown(move || innermost.close_blocking()).unwrap();
    let outer = Process::with_teardown(move || below.close_blocking());
    let error = outer.close_blocking().unwrap_err();
    let text = error.with_causes().to_string();
    assert!(text.ends_with("failed: innermost"), "{text}");
    assert_eq!(inner.outcome().unwrap().unwrap_err().with_causes().to_string(), text);
}

/// I10, I15: a teardown may wait, by means other than the library's, for a process that it has closed or dropped.
#[test]
fn a_teardown_may_wait_for_a_process_that_it_has_closed() {
    let (tell, told) = mpsc::channel();
    let (closed, dropped) = (tell.clone(), tell);
    let inner = Process::with_teardown(move || closed.send("closed").unwrap());
    let hooked = Process::new();
    let captured = OnDrop(Some(dropped));
    hooked.on_failure(move |_, _| drop(captured.0.clone()));
    let outer = Process::with_teardown(move || {
        inner.close();
        assert_eq!(told.recv_timeout(LIMIT), Ok("closed"));
        drop(hooked);
        assert_eq!(told.recv_timeout(LIMIT), Ok("dropped"));
    });
    outer.close();
    ends_well(&outer);
}

struct OnDrop(Option<mpsc::Sender<&'static str>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.iter().for_each(|tell| tell.send("dropped").unwrap());
    }
}

/// Siblings' teardowns run side by side: each waits for all the others. With `close` and with
/// `close_blocking`.
#[test]
fn siblings_are_torn_down_side_by_side() {
    for siblings in [2, 3, 40, 512] {
        for blocking in [false, true] {
            let app = Process::new();
            let barrier = Arc::new(Barrier::new(siblings));
            for _ in 0..siblings {
                let barrier = barrier.clone();
                let meet = move || {
                    barrier.wait();
                };
                app.child().set_teardown(meet).unwrap();
            }
            if blocking {
                app.close_blocking().unwrap();
            } else {
                outcome(&app.close()).unwrap();
            }
        }
    }
}

/// As many as the limit run at once, and never more; beyond it they queue, and none is lost.
#[test]
fn more_than_the_limit_queue() {
    const AT_ONCE: usize = 512;
    let app = Process::new();
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let ran = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    for _ in 0..3_000 {
        let (running, most, ran) = (running.clone(), most.clone(), ran.clone());
        let barrier = barrier.clone();
        let teardown = move || {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            // Each of the first ones waits for all the others of them.
            if ran.fetch_add(1, Ordering::SeqCst) < AT_ONCE {
                barrier.wait();
            }
            running.fetch_sub(1, Ordering::SeqCst);
        };
        app.child().set_teardown(teardown).unwrap();
    }
    outcome(&app.close()).unwrap();
    assert_eq!(ran.load(Ordering::SeqCst), 3_000);
    assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
}

/// I9: waiters that are dropped leave nothing behind, and the others are woken.
#[test]
fn waiters_that_go_leave_nothing_behind() {
    let process = Process::new();
    let woken = Arc::new(AtomicUsize::new(0));
    let counter = woken.clone();
    let waker = Waker::from(Arc::new(Calling(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    })));
    let mut context = Context::from_waker(&waker);
    let mut kept: Vec<_> = (0..100).map(|_| Box::pin(process.closing())).collect();
    for waiter in &mut kept {
        assert!(waiter.as_mut().poll(&mut context).is_pending());
        let mut gone = Box::pin(process.closing());
        assert!(gone.as_mut().poll(&mut context).is_pending());
        let mut gone = Box::pin(process.closed());
        assert!(gone.as_mut().poll(&mut context).is_pending());
        assert_eq!(process.closing().wait_timeout(Duration::from_nanos(1)), None);
    }
    // Each waiter that stays holds the waker once, and nothing else does.
    process.close();
    assert_eq!(woken.load(Ordering::SeqCst), 100);
    for waiter in &mut kept {
        assert_eq!(waiter.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
