//! Nested sets that leave a stuck unit behind, where user code stands between the set and the unit of the manager. The
//! key of that unit stays taken, whatever becomes of the error of the set (U1).

use std::error::Error as StdError;
use std::fmt;

use procession::{BoxError, Error, Process};
use procession_runnable::{Runnable, Service, body, run_in};
use procession_supervisor::{Manager, ManagerError, MemoryTable, State, Supervisor, Unit};

use crate::peers::{cause, policy};
use crate::world::{LIMIT, SECOND, World, stubborn, yielded};

/// An error that panics when it is asked for its cause.
#[derive(Debug)]
struct NoCause(Error);

impl fmt::Display for NoCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl StdError for NoCause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        std::panic::resume_unwind(Box::new("no cause"))
    }
}

/// An error with another one as its cause.
#[derive(Debug, thiserror::Error)]
#[error("deep")]
struct Deep(#[source] BoxError);

type Hide = fn(Error) -> Result<(), BoxError>;

/// A body that runs the set, and fails with what `hide` makes of its error.
fn around(set: Runnable, hide: Hide) -> Runnable {
    body(move |run| {
        let set = set.clone();
        async move {
            run.ready();
            let ended = run_in(&run, &set, |p| async move { p.closing().await }).await;
            ended.or_else(hide)
        }
    })
}

/// A body that runs the set as a service.
fn as_service(set: Runnable) -> Runnable {
    body(move |run| {
        let set = set.clone();
        async move {
            let service = Service::under(&run, set)?;
            service.start().await?;
            run.ready();
            run.closing().await;
            procession::ok()
        }
    })
}

/// A runnable whose process was not made for the run. It never reports that it is ready.
fn elsewhere(world: &World, set: Runnable) -> Runnable {
    let executor = world.executor.clone();
    Runnable::new(move |_| {
        let set = set.clone();
        Process::builder().spawner(executor.clone()).spawn(move |p| async move {
            run_in(&p, &set, |inside| async move { inside.closing().await }).await
        })
    })
}

/// Runs a set with a stubborn thread in a unit that makes the set anew for each run, and restarts this unit.
fn check(case: &str, wrap: impl Fn(&World, Runnable) -> Runnable) {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    // The set is made in the start function, which cannot refer to the world.
    let new_set = Runnable::new(move |start| {
        let set = Supervisor::one_for_one([("thread", Unit::new(thread.clone()))]);
        set.policy(short.clone()).runnable().start(start)
    });
    let unit = Unit::new(wrap(&world, new_set)).grace(SECOND * 10);
    world.table.insert("inner", unit);
    let managed = world.start();
    runs.recv_timeout(LIMIT).unwrap();
    let manager = world.manager.clone();
    let restart = world.spawn(async move { manager.restart("inner").await });
    (0..4).for_each(|_| world.advance(SECOND));
    world.until(|| restart.is_finished());
    let answer = yielded(restart);
    let Err(ManagerError::Stuck { keys, .. }) = &answer else { panic!("{case}: {answer:?}") };
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["inner/thread"], "{case}");
    (0..100).for_each(|_| world.advance(SECOND));
    assert_eq!(world.state("inner"), Some(State::Stuck), "{case}");
    assert!(runs.try_recv().is_err(), "{case}: two runs");
    release.send(()).unwrap();
    world.until(|| world.state("inner").is_some_and(|state| state != State::Stuck));
    world.advance(SECOND);
    runs.recv_timeout(LIMIT).unwrap();
    world.close_with_thread(managed, &release);
}

#[test]
fn an_error_that_is_hidden() {
    let hide: [(&str, Hide); 4] = [
        ("a text", |error| Err(error.to_string().into())),
        ("no cause", |error| Err(NoCause(error).into())),
        ("deep", |error| Err((0..100).fold(error.into(), |error, _| Box::new(Deep(error)) as _))),
        ("swallowed", |_| Ok(())),
    ];
    for (case, hide) in hide {
        check(case, |_, set| around(set, hide));
    }
}

#[test]
fn a_set_in_a_service() {
    check("service", |_, set| as_service(set));
}

#[test]
fn a_set_below_a_process_that_was_not_made_for_the_run() {
    check("elsewhere", elsewhere);
}

/// The error of another set, which has left a stuck unit behind, says nothing about the unit that passes it on.
#[test]
fn the_error_of_another_set() {
    let world = World::new();
    let (thread, release, runs) = stubborn();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    let other = Supervisor::one_for_one([("thread", thread)]).policy(short);
    let other = world.run(other.runnable());
    runs.recv_timeout(LIMIT).unwrap();
    other.app.close();
    (0..2).for_each(|_| world.advance(SECOND));
    world.until(|| other.has_ended());
    let error = other.outcome().unwrap_err();
    assert!(matches!(cause(&error), ManagerError::Stuck { .. }));

    let fails = body(move |run| {
        let error = error.clone();
        async move {
            run.ready();
            Err::<(), _>(error)
        }
    });
    world.table.insert("a", fails);
    let managed = world.start();
    world.advance(SECOND);
    assert!(world.manager.list()[0].restarts > 0);
    managed.close(&world).unwrap();
    drop(release);
}

/// Sets with a stuck thread, nested deeply: each level names the same number of units and keys.
#[test]
fn deeply_nested_units_are_named_briefly() {
    const DEPTH: usize = 40;
    let world = World::new();
    let (threads, releases): (Vec<_>, Vec<_>) = (0..20)
        .map(|number| {
            let (thread, release, runs) = stubborn();
            ((format!("thread {number}"), Unit::new(thread)), (release, runs))
        })
        .unzip();
    let short = policy(&world).grace(SECOND).abort_grace(SECOND);
    // The threads stop one after the other.
    let long = short.clone().grace(SECOND * 100);
    let innermost = Supervisor::one_for_one(threads).policy(short).runnable();
    let nested = (1..DEPTH).fold(innermost, |set, level| {
        let name = format!("level {level}");
        Supervisor::one_for_one([(name, set)]).policy(long.clone()).runnable()
    });
    let manager = Manager::builder({
        let table = MemoryTable::new();
        table.insert("set", nested);
        table
    });
    let manager = manager.policy(long.clone()).build();
    let managed = world.run(manager.runnable());
    world.until(|| managed.body_began());
    managed.app.close();
    (0..40).for_each(|_| world.advance(SECOND));
    world.until(|| managed.has_ended());
    let error = managed.outcome().unwrap_err();
    let ManagerError::Stuck { keys, count, report, .. } = cause(&error) else {
        panic!("{error:?}")
    };
    assert_eq!((keys.len(), *count), (16, 20));
    let first: Vec<&str> = keys[0].split('/').collect();
    assert_eq!((first.len(), first[0], first[1]), (17, "…", "level 15"), "{}", keys[0]);
    assert!(first[16].starts_with("thread "), "{}", keys[0]);
    assert_eq!(report.lines().count(), 16);
    assert!(error.with_causes().to_string().ends_with("`, and 4 more"), "{error}");
    drop(releases);
}
