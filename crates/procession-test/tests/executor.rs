//! The executor runs only when the test calls it, and with the same seed always in the same order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use futures_lite::future::yield_now;
use procession::{Process, ok};
use procession_test::{TestApp, TestExecutor};

/// The order in which the executor runs the steps of 20 tasks, three each.
fn order_of_steps(executor: &TestExecutor) -> Vec<(u32, u32)> {
    let steps = Arc::new(Mutex::new(Vec::new()));
    for task in 0..20 {
        let steps = steps.clone();
        let run = async move {
            for step in 0..3 {
                steps.lock().unwrap().push((task, step));
                yield_now().await;
            }
        };
        executor.spawn(run).detach();
    }
    executor.run_until_idle();
    let steps = steps.lock().unwrap().clone();
    assert_eq!(steps.len(), 60);
    steps
}

#[test]
fn a_seed_repeats_its_order() {
    let first = order_of_steps(&TestExecutor::with_seed(42));
    for _ in 0..1_000 {
        assert_eq!(order_of_steps(&TestExecutor::with_seed(42)), first);
    }
    let others = (0..50).filter(|seed| order_of_steps(&TestExecutor::with_seed(*seed)) == first);
    assert_eq!(others.collect::<Vec<_>>(), [42]);
}

#[test]
fn without_a_seed_tasks_run_in_the_order_of_their_wake_ups() {
    let expected: Vec<_> = (0..3).flat_map(|step| (0..20).map(move |task| (task, step))).collect();
    assert_eq!(order_of_steps(&TestExecutor::new()), expected);
}

#[test]
fn a_graph_closes_in_the_same_order_in_each_of_1000_runs() {
    let run = |seed| {
        let executor = TestExecutor::with_seed(seed);
        let app = Process::builder().name("app").spawner(executor.clone()).build().unwrap();
        let ended = Arc::new(Mutex::new(Vec::new()));
        for number in 0..8 {
            let ended = ended.clone();
            app.spawn(move |p| async move {
                p.closing().await;
                yield_now().await;
                ended.lock().unwrap().push(number);
            })
            .unwrap();
        }
        executor.run_until_idle();
        app.close();
        executor.run_until_idle();
        assert!(app.is_closed());
        ended.lock().unwrap().clone()
    };
    let first = run(3);
    assert!((0..1_000).all(|_| run(3) == first));
    assert!((0..100).any(|seed| run(seed) != first));
}

#[test]
fn nothing_runs_before_a_tick() {
    let executor = TestExecutor::new();
    let has_run = Arc::new(AtomicBool::new(false));
    let task = executor.spawn({
        let has_run = has_run.clone();
        async move { has_run.store(true, Ordering::Relaxed) }
    });
    assert_eq!((executor.ready(), has_run.load(Ordering::Relaxed)), (1, false));
    assert!(executor.tick() && !executor.tick());
    assert!(has_run.load(Ordering::Relaxed) && task.is_finished());
}

#[test]
fn block_on_sleeps_until_another_thread_wakes_it() {
    let app = TestApp::new();
    let (go, gone) = mpsc::channel::<()>();
    // The body runs on a thread of its own, so the executor has nothing to do meanwhile.
    let body = app.spawn_thread(move |_| gone.recv()).unwrap();
    let waits = app.spawn({
        let closed = body.closed();
        |_| closed
    });
    let helper = thread::spawn(move || go.send(()));
    app.executor().block_on(waits.unwrap().closed()).unwrap();
    helper.join().unwrap().unwrap();
    app.close_and_run().unwrap();
}

#[test]
fn blocking_teardowns_run_on_the_spot_or_on_threads() {
    for on_threads in [false, true] {
        let executor = TestExecutor::new();
        let executor = if on_threads { executor.blocking_on_threads() } else { executor };
        let app = TestApp::on(executor);
        let (tell, told) = mpsc::channel();
        app.set_teardown(move || tell.send(thread::current().id())).unwrap();
        app.close_and_run().unwrap();
        assert_eq!(told.recv().unwrap() == thread::current().id(), !on_threads);
    }
}

#[test]
fn tasks_that_wake_themselves_for_ever_are_found() {
    let executor = TestExecutor::new();
    let task = executor.spawn(async {
        loop {
            yield_now().await;
        }
    });
    let panicked = catch_unwind(AssertUnwindSafe(|| executor.run_until_idle())).unwrap_err();
    let message = panicked.downcast_ref::<String>().unwrap();
    assert!(message.starts_with("the executor is not idle"), "{message}");
    drop::<procession_test::Task<()>>(task);
    executor.run_until_idle();
}

#[test]
fn until_waits_for_threads() {
    let app = TestApp::new();
    let is_set = Arc::new(AtomicBool::new(false));
    let body = app.spawn_thread({
        let is_set = is_set.clone();
        move |_| {
            is_set.store(true, Ordering::Release);
            ok()
        }
    });
    app.executor().until(|| is_set.load(Ordering::Acquire));
    app.executor().block_on(body.unwrap().closed()).unwrap();
    app.close_and_run().unwrap();
}
