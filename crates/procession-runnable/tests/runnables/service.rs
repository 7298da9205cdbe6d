//! Services: their states, their calls, blocking and async, and their timeouts.

use std::future::pending;
use std::time::{Duration, Instant};

use futures_lite::future::{block_on, poll_once};
use procession::Process;
use procession_runnable::{
    Runnable, Service, ServiceError, State, body, body_thread, leaf_without_stop, named, nop,
    start_stop,
};

use crate::common::{BODY_KINDS, Behaviour, BodyKind, Events, LIMIT, errors, part};

const SHORT: Duration = Duration::from_millis(20);

fn serving(kind: BodyKind) -> Service {
    Service::new(part("a", Behaviour::Serve, &Events::default(), kind))
}

/// Initial, Starting, Running, Stopping, Stopped; blocking and async.
#[test]
fn the_states() {
    for kind in BODY_KINDS {
        let service = serving(kind);
        assert_eq!(service.state(), State::Initial);
        assert!(service.outcome().is_none());
        service.start_blocking().unwrap();
        assert_eq!(service.state(), State::Running);
        let again = service.start_blocking().unwrap_err();
        assert_eq!(again.to_string(), "cannot start while the service is running");
        service.stop_blocking().unwrap();
        assert_eq!(service.state(), State::Stopped);
        let again = service.stop_blocking().unwrap_err();
        assert_eq!(again.to_string(), "cannot stop while the service is stopped");
        assert!(service.outcome().unwrap().is_ok());
        let late = service.start_blocking();
        assert!(matches!(
            late,
            Err(ServiceError::InvalidState { state: State::Stopped, call: "start" })
        ));

        block_on(async {
            let service = serving(kind);
            service.start_within(LIMIT).await.unwrap();
            let done = service.done();
            service.stop_within(LIMIT).await.unwrap();
            done.await.unwrap();
        });
    }
    let (tell, told) = smol::channel::unbounded();
    let starting = Service::new(body(move |_| {
        tell.try_send(()).unwrap();
        pending::<()>()
    }));
    let other = starting.clone();
    let starter = std::thread::spawn(move || other.start_blocking());
    told.recv_blocking().unwrap();
    assert_eq!(starting.state(), State::Starting);
    assert!(starting.start_blocking().is_err());
    // A service can be stopped while it starts. One that ignores that is aborted.
    let stopped = starting.stop_blocking_within(SHORT);
    assert!(matches!(stopped, Err(ServiceError::TimedOut { call: "stop", .. })));
    assert!(starter.join().unwrap().is_err());
}

/// If a caller stops waiting for the start, the service continues to start, and its state shows when it is ready.
#[test]
fn a_start_without_a_waiter() {
    let (tell, told) = smol::channel::bounded::<()>(1);
    let service = Service::new(body(move |run| {
        let told = told.clone();
        async move {
            told.recv().await.unwrap();
            run.ready();
            run.closing().await;
        }
    }));
    assert!(block_on(poll_once(service.start())).is_none());
    assert_eq!(service.state(), State::Starting);
    tell.send_blocking(()).unwrap();
    let end = Instant::now() + LIMIT;
    while service.state() == State::Starting {
        assert!(Instant::now() < end, "it was not seen to be ready");
        std::thread::yield_now();
    }
    assert_eq!(service.state(), State::Running);
    service.stop_blocking().unwrap();
}

/// A service that was stopped before it was started cannot be started.
#[test]
fn stopped_before_it_was_started() {
    let service = serving(BodyKind::Task);
    service.stop_blocking().unwrap();
    assert_eq!(service.state(), State::Stopped);
    assert!(matches!(service.start_blocking(), Err(ServiceError::InvalidState { .. })));
}

/// A run that fails, panics, or ends before it is ready.
#[test]
fn starts_that_fail() {
    for kind in BODY_KINDS {
        for (behaviour, error) in [
            (Behaviour::FailToStart, "failed: cannot start"),
            (Behaviour::PanicAtStart, "panicked: at start"),
            (Behaviour::EndUnready, "ended before it was ready"),
        ] {
            let service = Service::new(part("a", behaviour, &Events::default(), kind));
            let failed = service.start_blocking().unwrap_err();
            assert!(failed.with_causes().to_string().ends_with(error), "{failed}");
            assert!(service.done().wait_timeout(LIMIT).is_some());
            assert_eq!(service.state(), State::Stopped);
        }
    }
}

/// If a run ends before it is ready, the service stops everything that the run has started.
#[test]
fn an_end_before_readiness_closes_the_children() {
    let service = Service::new(body(|run| async move {
        run.spawn(|child| async move { child.closing().await }).map(drop)
    }));
    let error = service.start_blocking_within(LIMIT).unwrap_err();
    assert!(error.with_causes().to_string().ends_with("ended before it was ready"), "{error}");
    assert!(service.done().wait_timeout(LIMIT).is_some());
}

/// A run ends before it is ready, and then fails to stop: the start returns once the service has stopped, with both
/// errors.
#[test]
fn an_early_end_has_all_errors() {
    let early = body(|run| async move { run.set_teardown(|| Err("cannot stop")) });
    let service = Service::new(named("early", early));
    let Err(ServiceError::Failed(error)) = service.start_blocking_within(LIMIT) else { panic!() };
    assert_eq!(service.state(), State::Stopped);
    let errors = errors(Err(error));
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors[0].ends_with("ended before it was ready"), "{errors:?}");
    assert_eq!(errors[1], "process `early` failed: cannot stop");
}

/// If the function that starts the run panics, the service fails with the panic's message.
#[test]
fn a_start_that_panics() {
    let service = Service::new(Runnable::new(|_| panic!("no more runs")));
    let Err(ServiceError::Failed(error)) = service.start_blocking() else { panic!() };
    assert!(error.to_string().ends_with("panicked: no more runs"), "{error}");
    assert_eq!(service.state(), State::Stopped);
}

/// A service is stopping while its run ends, whether it was asked to stop or not.
#[test]
fn a_service_that_stops_slowly() {
    for ends_alone in [true, false] {
        let (release, released) = smol::channel::bounded::<()>(1);
        let (tell, told) = smol::channel::bounded(1);
        let service = Service::new(body_thread(move |run| {
            let released = released.clone();
            run.set_teardown(move || {
                let _released = released.recv_blocking();
            })?;
            run.ready();
            tell.send_blocking(run.process().closing())?;
            if !ends_alone {
                run.closing().wait();
            }
            procession::ok()
        }));
        service.start_blocking().unwrap();
        let closing = told.recv_blocking().unwrap();
        let stopped = (!ends_alone).then(|| service.stop_blocking_within(SHORT));
        closing.wait();
        assert_eq!(service.state(), State::Stopping);
        assert!(stopped.is_none_or(|stopped| stopped.is_err()));
        drop(release);
        service.done().wait().unwrap();
        assert_eq!(service.state(), State::Stopped);
    }
}

/// A start or a stop that takes longer than its timeout is aborted, with an error. The call does not wait for code that
/// ignores the abort.
#[test]
fn deadlines() {
    let service = Service::new(body(|_| pending::<()>()));
    let late = service.start_blocking_within(SHORT).unwrap_err();
    assert!(matches!(late, ServiceError::TimedOut { call: "start", limit: SHORT }));
    assert_eq!(late.to_string(), "start took longer than 20 ms, so the service was aborted");
    // A body that an abort drops has not failed.
    assert!(service.done().wait_timeout(LIMIT).unwrap().is_ok());

    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let stubborn = Service::new(body_thread(move |run| {
        run.ready();
        released.lock().unwrap().recv().unwrap_or(());
    }));
    stubborn.start_blocking().unwrap();
    let late = stubborn.stop_blocking_within(SHORT);
    assert!(matches!(late, Err(ServiceError::TimedOut { call: "stop", .. })));
    assert_eq!(stubborn.state(), State::Stopping);
    drop(release);
    assert!(stubborn.done().wait_timeout(LIMIT).is_some());
}

/// A service whose run ends on its own is `Stopped`, with the error of the run if there is one.
#[test]
fn a_service_that_ends_on_its_own() {
    let service = Service::new(part("a", Behaviour::FailLater, &Events::default(), BodyKind::Task));
    let _started_or_failed = service.start_blocking();
    let error = service.done().wait_timeout(LIMIT).unwrap().unwrap_err();
    assert_eq!(error.with_causes().to_string(), "process `a` failed: broken");
    assert_eq!(service.state(), State::Stopped);
    assert!(matches!(
        service.stop_blocking(),
        Err(ServiceError::InvalidState { state: State::Stopped, call: "stop" })
    ));
    assert!(matches!(
        block_on(service.stop()),
        Err(ServiceError::InvalidState { state: State::Stopped, call: "stop" })
    ));
    assert!(service.outcome().unwrap().is_err());
    let service = Service::new(nop());
    service.start_blocking().unwrap();
    assert!(service.done().wait_timeout(LIMIT).unwrap().is_ok());
}

/// A service under a parent closes with the parent; any other service closes when its last clone is dropped.
#[test]
fn parents_and_the_last_clone_stop_a_service() {
    let app = Process::new();
    let service =
        Service::under(&app, part("a", Behaviour::Serve, &Events::default(), BodyKind::Task));
    let service = service.unwrap();
    service.start_blocking().unwrap();
    app.close_blocking().unwrap();
    assert_eq!(service.state(), State::Stopped);
    assert!(Service::under(&app, nop()).is_err());

    let events = Events::default();
    let down = events.clone();
    let service = Service::new(start_stop(
        |_| async {},
        move || {
            down.add("down");
            async {}
        },
    ));
    service.start_blocking().unwrap();
    let done = service.done();
    drop(service);
    done.wait_timeout(LIMIT).unwrap().unwrap();
    assert_eq!(events.all(), ["down"]);
}

/// Under tokio, with its timers.
#[tokio::test(flavor = "multi_thread")]
async fn under_tokio() {
    let service = Service::new(leaf_without_stop(|run| async move {
        tokio::time::sleep(Duration::from_millis(1)).await;
        run.ready();
        pending::<()>().await
    }));
    service.start_within(LIMIT).await.unwrap();
    service.stop_within(LIMIT).await.unwrap();
}

/// Under smol, and one thread.
#[test]
fn under_smol() {
    smol::block_on(async {
        let service = serving(BodyKind::Task);
        service.start().await.unwrap();
        service.stop().await.unwrap();
    });
}
