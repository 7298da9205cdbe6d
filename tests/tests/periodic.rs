//! Periodic processes. Tests of intervals use a manual clock.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use procession::{
    ChildFailure, Error, Inline, ManualClock, Overlapping, Periodic, Phase, Process, Reason, Smol,
};
use procession_tests::{LIMIT, ends_well, outcome};

const SECOND: Duration = Duration::from_secs(1);

/// A call of the body. It ends when the test ends it.
struct Call {
    process: Process,
    end: Sender<Result<(), &'static str>>,
}

impl Call {
    fn end(self) {
        self.end.send(Ok(())).unwrap();
        assert!(self.process.closed().wait_timeout(LIMIT).is_some());
    }
}

/// A blocking body that reports each of its calls to the test.
fn body_with_reported_calls()
-> (impl Fn(Process) -> Result<(), &'static str> + Send + Sync, Receiver<Call>) {
    let (begin, begun) = mpsc::channel();
    let begin = Mutex::new(begin);
    let body = move |process: Process| {
        let (end, ended) = mpsc::channel();
        begin.lock().unwrap().send(Call { process, end }).unwrap();
        ended.recv().unwrap_or(Ok(()))
    };
    (body, begun)
}

fn next_call(begun: &Receiver<Call>) -> Call {
    begun.recv_timeout(LIMIT).unwrap()
}

/// Checks that the periodic process sleeps and begins no call.
fn assert_no_call(clock: &ManualClock, begun: &Receiver<Call>) {
    clock.wait_for_sleepers(1);
    assert!(begun.try_recv().is_err());
}

/// `Periodic::every`: the gap lies between the end of one call and the beginning of the next.
#[test]
fn a_gap_after_the_end_of_a_call() {
    let (app, clock) = (Process::new(), ManualClock::new());
    let (body, begun) = body_with_reported_calls();
    Periodic::every(3 * SECOND).clock(clock.clone()).spawn_thread(&app, body).unwrap();
    clock.wait_for_sleepers(1);
    clock.advance(2 * SECOND);
    assert_no_call(&clock, &begun);
    for _ in 0..3 {
        clock.advance(SECOND);
        let call = next_call(&begun);
        assert_eq!(clock.sleepers(), 0);
        // The next call does not begin before this one ends.
        clock.advance(100 * SECOND);
        call.end();
        assert_no_call(&clock, &begun);
        clock.advance(2 * SECOND);
        assert_no_call(&clock, &begun);
    }
    app.close_blocking().unwrap();
}

/// `Periodic::tick`: calls begin at multiples of the period. Ticks that pass during a call are skipped, and not made up
/// for.
#[test]
fn missed_ticks_are_skipped() {
    let (app, clock) = (Process::new(), ManualClock::new());
    let (body, begun) = body_with_reported_calls();
    Periodic::tick(10 * SECOND).clock(clock.clone()).spawn_thread(&app, body).unwrap();
    clock.wait_for_sleepers(1);
    clock.advance(10 * SECOND); // 10
    let call = next_call(&begun);
    clock.advance(4 * SECOND); // 14
    call.end();
    clock.wait_for_sleepers(1);
    clock.advance(6 * SECOND); // 20: on time, though the call took 4
    let call = next_call(&begun);
    clock.advance(35 * SECOND); // 55: 30, 40 and 50 are missed
    call.end();
    assert_no_call(&clock, &begun);
    clock.advance(4 * SECOND); // 59
    assert_no_call(&clock, &begun);
    clock.advance(SECOND); // 60
    let call = next_call(&begun);
    clock.advance(10 * SECOND); // 70, which is now
    call.end();
    next_call(&begun).end();
    assert_no_call(&clock, &begun);
    app.close_blocking().unwrap();
}

/// `Periodic::on`: one call for each item, one at a time. Items that come during a call wait.
#[test]
fn each_item_of_a_stream_starts_a_call() {
    let app = Process::new();
    let (body, begun) = body_with_reported_calls();
    let (signal, signals) = smol::channel::unbounded();
    let periodic = Periodic::on(signals).spawn_thread(&app, body).unwrap();
    for _ in 0..3 {
        signal.send_blocking("tick").unwrap();
    }
    for _ in 0..3 {
        let call = next_call(&begun);
        assert!(begun.try_recv().is_err());
        call.end();
    }
    // A channel that is closed ends the periodic process, not the parent.
    drop(signal);
    ends_well(&periodic);
    assert_eq!(periodic.reason(), Some(Reason::BodyFinished));
    assert!(!app.is_closing());
    app.close_blocking().unwrap();
}

/// `overlapping`: a tick starts a call even while others are running, for each form.
#[test]
fn overlapping_calls_run_at_the_same_time() {
    let (signal, signals) = smol::channel::unbounded();
    let clock = ManualClock::new();
    let every = Periodic::every(SECOND).clock(clock.clone()).overlapping();
    let tick = Periodic::tick(SECOND).clock(clock.clone()).overlapping();
    let on = Periodic::on(signals).overlapping();
    let check = |periodic: Overlapping, tick: &dyn Fn()| {
        let app = Process::new();
        let (body, begun) = body_with_reported_calls();
        let periodic = periodic.spawn_thread(&app, body).unwrap();
        let calls = [(); 3].map(|()| {
            tick();
            next_call(&begun)
        });
        app.close();
        calls.iter().for_each(|call| assert!(call.process.is_closing()));
        assert!(!periodic.is_closed());
        calls.into_iter().for_each(Call::end);
        ends_well(&app);
    };
    let advance = || {
        clock.wait_for_sleepers(1);
        clock.advance(SECOND);
    };
    check(every, &advance);
    check(tick, &advance);
    check(on, &|| signal.try_send(()).unwrap());
}

/// `overlapping`: ticks that pass while the clock jumps are skipped too.
#[test]
fn overlapping_ticks_are_not_bunched() {
    let (app, clock) = (Process::new(), ManualClock::new());
    let (body, begun) = body_with_reported_calls();
    let tick = Periodic::tick(SECOND).clock(clock.clone()).overlapping();
    tick.spawn_thread(&app, body).unwrap();
    clock.wait_for_sleepers(1);
    clock.advance(10 * SECOND);
    let first = next_call(&begun);
    // Only one further tick is due: the one at 10, which is now.
    let second = next_call(&begun);
    assert_no_call(&clock, &begun);
    first.end();
    second.end();
    app.close_blocking().unwrap();
}

/// Closing closes the current call, waits for it, and starts no other. It does not wait for the rest of a pause.
#[test]
fn closing_ends_the_call_and_the_pause() {
    let (app, clock) = (Process::new(), ManualClock::new());
    let (body, begun) = body_with_reported_calls();
    let periodic = Periodic::every(SECOND).clock(clock.clone()).spawn_thread(&app, body).unwrap();
    clock.wait_for_sleepers(1);
    clock.advance(SECOND);
    let call = next_call(&begun);
    // The teardown runs after the call.
    let in_flight = call.process.clone();
    periodic.set_teardown(move || assert!(in_flight.is_closed())).unwrap();
    periodic.close();
    assert_eq!(call.process.reason(), Some(Reason::ParentClosed));
    assert_eq!(periodic.phase(), Phase::Closing);
    clock.advance(SECOND);
    call.end();
    ends_well(&periodic);
    assert!(begun.try_recv().is_err());

    let (body, begun) = body_with_reported_calls();
    let hourly = Periodic::every(3600 * SECOND).spawn_thread(&app, body).unwrap();
    let never = Periodic::tick(Duration::MAX).spawn(&app, |_| async { panic!("called") }).unwrap();
    hourly.close();
    app.close();
    [&hourly, &never, &app].into_iter().for_each(ends_well);
    assert!(begun.try_recv().is_err());
}

/// A tick that comes at the moment of closing starts no call.
#[test]
fn a_tick_at_the_moment_of_closing_starts_no_call() {
    for on_threads in [true, false] {
        let app = Process::builder().on_child_failure(ChildFailure::Close).build().unwrap();
        let closing = app.clone();
        let ticks = futures_lite::stream::poll_fn(move |_| {
            closing.close();
            std::task::Poll::Ready(Some(()))
        });
        let on = Periodic::on(ticks).on_failure(ChildFailure::Close);
        let periodic = match on_threads {
            true => on.spawn_thread(&app, |_| panic!("called")),
            false => on.spawn(&app, |_| async { panic!("called") }),
        };
        ends_well(&app);
        ends_well(&periodic.unwrap());
    }
}

/// A periodic process under a Closing parent makes no call. Under a Closed parent, it is refused.
#[test]
fn a_closing_parent_starts_no_call() {
    let app = Process::new();
    let gate = Process::new();
    app.wait_for(&gate).unwrap();
    app.close();
    let stream = futures_lite::stream::iter([(), ()]);
    let late = Periodic::on(stream).spawn_thread(&app, |_| panic!("called")).unwrap();
    ends_well(&late);
    gate.close();
    ends_well(&app);
    let refused = Periodic::every(SECOND).spawn(&app, |_| async { panic!("called") });
    assert!(matches!(refused, Err(Error::Closed(_))));
}

/// An interval of zero is refused with an error that names the parent.
#[test]
fn an_interval_of_zero_is_refused() {
    let app = Process::builder().name("app").build().unwrap();
    for zero in [Periodic::every(Duration::ZERO), Periodic::tick(Duration::ZERO)] {
        let error = zero.spawn_thread(&app, |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the interval of a periodic process under process `app` must be longer than zero"
        );
    }
    let zero = Periodic::every(Duration::ZERO).overlapping().spawn(&app, |_| async {});
    assert!(matches!(zero, Err(Error::ZeroInterval(_))));
    app.close_blocking().unwrap();
}

/// Hooks receive each failed call, and the calls continue: for errors and panics, on threads and in tasks.
#[test]
fn a_failed_call_is_reported_and_others_follow() {
    let app = Process::builder().name("app").build().unwrap();
    let (tell, told) = mpsc::channel();
    app.on_failure(move |_, error| tell.send(error.with_causes().to_string()).unwrap());
    let stream = || futures_lite::stream::iter(0..4);
    let mut count = 0;
    let on_threads = Periodic::on(stream()).spawn_thread(&app, move |_| {
        count += 1;
        if count % 2 == 0 { panic!("{count}") } else { Err(count.to_string()) }
    });
    let failed = |periodic: &Process| match outcome(&periodic.closed()) {
        Err(Error::FailedCalls(failed)) => failed.to_string(),
        other => panic!("{other:?}"),
    };
    let text = failed(&on_threads.unwrap());
    assert!(text.starts_with("4 of 4 calls failed; first: process `app` › "), "{text}");
    assert!(text.ends_with(" panicked: 4"), "{text}");
    let mut count = 4;
    let in_tasks = Periodic::on(stream()).spawn(&app, move |_| {
        count += 1;
        async move { if count % 2 == 0 { panic!("{count}") } else { Err(count.to_string()) } }
    });
    let text = failed(&in_tasks.unwrap());
    assert!(text.contains(" failed: 5; last: process `app` › "), "{text}");
    assert!(!app.is_closing());
    let told: Vec<_> = told.try_iter().collect();
    for (number, error) in (1..=8).zip(&told) {
        let verb = if number % 2 == 0 { "panicked" } else { "failed" };
        assert!(error.ends_with(&format!(" {verb}: {number}")), "{told:#?}");
    }
    assert_eq!(told.len(), 8);
    app.close_blocking().unwrap();
}

/// A call whose body and teardown both fail counts as one failed call.
#[test]
fn a_call_whose_teardown_fails_too_is_one_failure() {
    let app = Process::new();
    let on = Periodic::on(futures_lite::stream::iter(0..3)).on_failure(ChildFailure::Ignore);
    let periodic = on.spawn_thread(&app, |call| {
        call.set_teardown(|| Err("in the teardown"))?;
        Err::<(), procession::BoxError>("in the body".into())
    });
    match outcome(&periodic.unwrap().closed()) {
        Err(Error::FailedCalls(failed)) => {
            assert_eq!((failed.failed(), failed.calls()), (3, 3));
        }
        other => panic!("{other:?}"),
    }
    app.close_blocking().unwrap();
}

/// With `ChildFailure::Close`, a failed call closes the parent, whose outcome has the error. How the parent treats
/// other children does not matter.
#[test]
fn a_call_that_fails_closes_the_parent() {
    let app = Process::builder().name("app").build().unwrap();
    let on = Periodic::on(futures_lite::stream::iter([()])).on_failure(ChildFailure::Close);
    let periodic = on.spawn(&app, |_| async { Err("disk") }).unwrap();
    let error = outcome(&app.closed()).unwrap_err();
    let text = error.with_causes().to_string();
    assert!(text.starts_with("process `app` › ") && text.ends_with(" failed: disk"), "{text}");
    assert_eq!(app.reason(), Some(Reason::ChildFailed(periodic.label())));
    assert!(outcome(&periodic.closed()).is_err());

    // It closes at once, while other calls are still running.
    let app = Process::new();
    let (signal, signals) = smol::channel::unbounded();
    let on = Periodic::on(signals).on_failure(ChildFailure::Close).overlapping();
    let (body, begun) = body_with_reported_calls();
    on.spawn_thread(&app, body).unwrap();
    signal.try_send(()).unwrap();
    signal.try_send(()).unwrap();
    let [one, other] = [(); 2].map(|()| next_call(&begun));
    one.end.send(Err("disk")).unwrap();
    app.closing().wait_timeout(LIMIT).unwrap();
    assert!(!app.is_closed());
    other.end();
    assert!(outcome(&app.closed()).is_err());

    let on = Periodic::every(SECOND).on_failure(ChildFailure::Close);
    let refused = on.spawn(Process::background(), |_| async {});
    assert!(matches!(refused, Err(Error::Background)));
}

/// I7: a panic of the stream becomes the outcome of the periodic process.
#[test]
fn a_panic_of_the_stream_is_the_outcome() {
    let app = Process::new();
    let stream = futures_lite::stream::poll_fn(|_| -> std::task::Poll<Option<()>> {
        panic!("in the stream")
    });
    let periodic = Periodic::on(stream).spawn(&app, |_| async {}).unwrap();
    assert!(matches!(outcome(&periodic.closed()), Err(Error::Panicked(_))));
    app.close_blocking().unwrap();
}

fn ready_after(run: &impl Fn()) -> Ready<()> {
    run();
    ready(())
}

/// Checks all forms, async and blocking, in real time, on the executor that polls this.
async fn assert_works(app: Process) {
    let millisecond = Duration::from_millis(1);
    let calls: [Arc<AtomicUsize>; 6] = Default::default();
    let count = |at: usize| {
        let calls = calls[at].clone();
        move || {
            calls.fetch_add(1, Ordering::SeqCst);
        }
    };
    let (a, b, c, d, e, f) = (count(0), count(1), count(2), count(3), count(4), count(5));
    Periodic::every(millisecond).spawn_thread(&app, move |_| a()).unwrap();
    Periodic::tick(millisecond).spawn_thread(&app, move |_| b()).unwrap();
    let stream = futures_lite::stream::repeat(());
    Periodic::on(stream).spawn_thread(&app, move |_| c()).unwrap();
    Periodic::every(millisecond).overlapping().spawn(&app, move |_| ready_after(&d)).unwrap();
    Periodic::tick(millisecond).overlapping().spawn(&app, move |_| ready_after(&e)).unwrap();
    Periodic::tick(millisecond).spawn(&app, move |_| ready_after(&f)).unwrap();
    let end = Instant::now() + LIMIT;
    while calls.iter().any(|calls| calls.load(Ordering::SeqCst) < 5) {
        assert!(Instant::now() < end, "{calls:?}");
        smol::Timer::after(millisecond).await;
    }
    app.close().await.unwrap();
    let after = calls.each_ref().map(|calls| calls.load(Ordering::SeqCst));
    smol::Timer::after(5 * millisecond).await;
    assert_eq!(after, calls.each_ref().map(|calls| calls.load(Ordering::SeqCst)));
}

#[test]
fn under_every_executor() {
    for threads in [1, 4] {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).build().unwrap();
        runtime.block_on(async { assert_works(Process::new()).await });
    }
    smol::block_on(assert_works(Process::builder().spawner(Smol).build().unwrap()));
    futures_lite::future::block_on(assert_works(Process::new()));
}

/// A periodic process works with the inline spawner.
#[test]
fn with_the_inline_spawner() {
    let app = Process::builder().spawner(Inline).build().unwrap();
    let (tell, told) = mpsc::channel();
    let every = Periodic::every(Duration::from_millis(1));
    every.spawn(&app, move |_| ready(tell.send(()))).unwrap();
    for _ in 0..3 {
        told.recv_timeout(LIMIT).unwrap();
    }
    app.close();
    ends_well(&app);
}

/// 10,000 periodic processes, async and blocking, do not need a thread each.
#[test]
#[cfg(target_os = "linux")]
fn many_periodic_processes_share_few_threads() {
    let app = Process::new();
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    for _ in 0..5_000 {
        let every = Periodic::every(3600 * SECOND).on_failure(ChildFailure::Close);
        every.spawn_thread(&app, |_| panic!("called")).unwrap();
        let tick = Periodic::tick(3600 * SECOND).on_failure(ChildFailure::Close);
        tick.spawn(&app, |_| async { panic!("called") }).unwrap();
    }
    let threads = threads();
    assert!(threads < 500, "{threads} threads");
    app.close();
    ends_well(&app);
}
