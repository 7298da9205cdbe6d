//! Run by the tests in `units.rs`: programs with one supervised unit that fails. The arguments say who supervises it,
//! how it ends, and who takes its failure.

#![forbid(unsafe_code)]

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::park;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use procession::{BoxError, Error, Exit, IntoOutcome, Main, Process};
use procession_runnable::{Run, Runnable, body, body_thread, parallel, run_in};
use procession_supervisor::{
    Backoff, DoNotRestart, GiveUp, Manager, ManagerError, MemoryTable, OnFailure, Policy, Rate,
    Restart, State, Supervisor, Unit,
};
use procession_tests::LIMIT;

/// Closes when the caller of a start is ready for the answer, or everything is ready for a failure.
static CALLED: LazyLock<Process> = LazyLock::new(Process::new);

fn main() -> Exit {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [supervisor, how, taker] = &arguments[..] else { panic!("{arguments:?}") };
    let mut main = Main::new().name("app");
    if taker == "hook" {
        main = main.on_failure(|_, _| println!("the hook was called"));
    }
    main.run(|p| match &**supervisor {
        "manager" | "strict-manager" => manager(&p, supervisor == "strict-manager", how, taker),
        "set" => set(&p, how, taker),
        other => panic!("{other}"),
    })
}

/// A unit that ends in this way, if there is only one restart in a minute.
fn unit(how: &str) -> Unit {
    let unit = |restart, runs| Unit::new(runnable(runs)).restart(restart);
    match how {
        "temporary" => unit(Restart::Temporary, || Err("disk full".into())),
        "panics" => unit(Restart::Temporary, || panic!("out of paper")),
        "not-restarted" => {
            unit(Restart::Permanent, || Err("disk full".into())).on_failure(OnFailure::End)
        }
        "final" => unit(Restart::Permanent, || Err(DoNotRestart::new("disk full").into())),
        "too-often" => unit(Restart::Transient, || Err("disk full".into())),
        "ends-too-often" => unit(Restart::Permanent, || Ok(())),
        "closes-all" => {
            unit(Restart::Permanent, || Err("disk full".into())).on_failure(OnFailure::CloseAll)
        }
        "refused" => unit(Restart::Temporary, || {
            let other = Process::builder().name("other").build()?;
            other.close_blocking()?;
            // The error is about the other process.
            other.spawn_thread(|_| {})?;
            Ok(())
        }),
        "aborts-itself" => Unit::new(numbered(|run, _| async move {
            run.ready();
            run.process().abort();
            pending::<()>().await;
        }))
        .restart(Restart::Temporary),
        "ends" => unit(Restart::Temporary, || Ok(())),
        "unready" => Unit::new(body(|_| async {})).restart(Restart::Temporary),
        "fails-and-waits" => Unit::new(numbered(|run, number| async move {
            run.ready();
            if number == 0 {
                CALLED.closing().await;
                return Err("disk full");
            }
            run.closing().await;
            Ok(())
        })),
        "called-and-waits" => Unit::new(numbered(|run, number| async move {
            if number == 1 {
                CALLED.closing().await;
                return Err("disk full");
            }
            run.ready();
            if number > 1 {
                run.closing().await;
            }
            Ok(())
        })),
        "fails-once" => Unit::new(numbered(|run, number| async move {
            run.ready();
            if number == 0 {
                return Err("disk full");
            }
            run.closing().await;
            Ok(())
        })),
        "fails-in-stop" => Unit::new(numbered(|run, _| async move {
            run.ready();
            run.closing().await;
            Err("disk full")
        })),
        "panics-in-stop" => Unit::new(numbered(|run, _| async move {
            run.ready();
            run.closing().await;
            if run.is_closing() {
                panic!("out of paper");
            }
        })),
        "aborted-in-stop" => {
            let ignores = || numbered(|run, _| async move { ready_for_ever(&run).await });
            Unit::new(parallel([ignores(), ignores()])).grace(Duration::ZERO)
        }
        "stuck-below" => {
            let stubborn = body_thread(|run| {
                run.ready();
                loop {
                    park();
                }
            });
            let short = Policy::new().grace(Duration::ZERO).abort_grace(Duration::ZERO);
            let set = Supervisor::one_for_one([("thread", stubborn)]).policy(short);
            Unit::new(set.runnable())
        }
        "fails-when-called" => Unit::new(numbered(|run, number| async move {
            if number > 0 {
                CALLED.closing().await;
                return Err("disk full");
            }
            run.ready();
            Ok(())
        }))
        .restart(Restart::Temporary),
        other => panic!("{other}"),
    }
}

async fn ready_for_ever(run: &Run) {
    run.ready();
    pending().await
}

/// A runnable that is ready, and then ends.
fn runnable(end: fn() -> Result<(), BoxError>) -> Runnable {
    numbered(move |run, _| async move {
        run.ready();
        end()
    })
}

/// An async body that is given the number of runs before.
fn numbered<F, Fut>(run_as: F) -> Runnable
where
    F: Fn(Run, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoOutcome> + Send + 'static,
{
    let runs = AtomicUsize::new(0);
    body(move |run| run_as(run, runs.fetch_add(1, Ordering::Relaxed)))
}

fn policy(how: &str) -> Policy {
    let pause = if how.ends_with("and-waits") { LIMIT * 100 } else { Duration::ZERO };
    Policy::new()
        .backoff(Backoff::new(pause, pause))
        .intensity(Rate::new(1, Duration::from_secs(60)))
}

fn manager(p: &Process, is_strict: bool, how: &str, taker: &str) -> Result<(), Error> {
    let table = MemoryTable::new();
    table.insert("job", unit(how));
    let give_up = if is_strict { GiveUp::Manager } else { GiveUp::Unit };
    let builder = Manager::builder(table.clone()).name("jobs").policy(policy(how));
    let manager = builder.give_up(give_up).build();
    let mut reader = (taker == "reader").then(|| manager.events());
    let state = || manager.list().first().map(|unit| (unit.state, unit.restarts));
    block_on(run_in(p, &manager.runnable(), async |p: Process| {
        until_over(&p, how, state).await;
        if taker == "caller" {
            CALLED.close();
            let started = manager.start("job").await;
            assert!(matches!(started, Err(ManagerError::Failed(_))));
        }
        if taker.starts_with("forgetful-caller") && !taker.ends_with("of-stop") {
            ask_and_forget(pin!(manager.start("job")));
        }
        if taker.ends_with("and-restarter") {
            manager.restart("job").await.unwrap();
        }
        if taker == "caller-of-stop" {
            let stopped = manager.stop(&"job").await;
            assert!(matches!(stopped, Err(ManagerError::Failed(_))));
        }
        if taker == "forgetful-caller-of-stop" {
            ask_and_forget(pin!(manager.stop(&"job")));
        }
        if taker == "restarter" {
            manager.restart("job").await.unwrap();
            let stopped = manager.stop(&"job").await;
            assert_eq!(stopped.is_err(), how == "fails-in-stop");
        }
        if taker == "stopper" {
            manager.stop(&"job").await.unwrap();
        }
        if taker == "remover" {
            table.remove(&"job");
            until(&p, || manager.list().is_empty()).await;
        }
        if !how.ends_with("in-stop") {
            reader = None;
        }
    }))
}

/// Waits until the call has its answer, which is dropped unread.
fn ask_and_forget(call: Pin<&mut impl Future>) {
    struct Told(mpsc::Sender<()>);
    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            let _told = self.0.send(());
        }
    }
    let (tell, told) = mpsc::channel();
    let waker = Waker::from(Arc::new(Told(tell)));
    assert!(call.poll(&mut Context::from_waker(&waker)).is_pending());
    CALLED.close();
    told.recv_timeout(LIMIT).unwrap();
}

fn set(p: &Process, how: &str, taker: &str) -> Result<(), Error> {
    let set = Supervisor::one_for_one([("job", unit(how))]).name("jobs").policy(policy(how));
    let set = set.keep_open(true);
    let mut reader = (taker == "reader").then(|| set.events());
    let state = || set.list().first().map(|unit| (unit.state, unit.restarts));
    block_on(run_in(p, &set.runnable(), async |p: Process| {
        until_over(&p, how, state).await;
        if !how.ends_with("in-stop") {
            reader = None;
        }
    }))
}

/// Waits until the unit has ended for good, waits for a restart that is far away, runs and will fail in its stop or get
/// stuck, or runs again after its only failure.
async fn until_over(p: &Process, how: &str, state: impl Fn() -> Option<(State, u64)>) {
    if how == "fails-and-waits" {
        CALLED.close();
    }
    let is_over = || match state() {
        Some((State::Waiting, _)) => how == "fails-and-waits",
        Some((State::Ended | State::GivenUp, _)) => true,
        Some((State::Running, restarts)) => {
            how.ends_with("in-stop") || how == "stuck-below" || how == "fails-once" && restarts == 1
        }
        _ => false,
    };
    until(p, is_over).await;
}

/// Waits until the condition holds, or `p` closes.
async fn until(p: &Process, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() && p.closing().timeout(Duration::from_millis(1)).await.is_none() {
        assert!(Instant::now() < end);
    }
}
