//! Groups whose parts run together: how they start, fail and stop.

use std::sync::{Mutex, mpsc};

use futures_lite::future::block_on;
use procession::{Error, Process};
use procession_runnable::{NotReady, Runnable, chain, named, nop, parallel, run_in, sequential};

use crate::common::{Behaviour, BodyKind, Events, Executor, errors, everywhere, part};

/// Runs the group around a body that only records that it ran, and returns the errors.
fn run(executor: Executor, group: &Runnable, events: &Events) -> Vec<String> {
    let app = executor.app();
    let inside = events.clone();
    let ended = run_in(&app, group, |_| async move { inside.add("body") });
    let errors = errors(block_on(ended));
    app.close_blocking().unwrap();
    errors
}

type Combine = fn(Vec<Runnable>) -> Runnable;

const GROUPS: [(&str, Combine); 3] = [
    ("parallel", |parts| parallel(parts)),
    ("sequential", |parts| sequential(parts)),
    ("chain", |parts| chain(parts)),
];

fn combined(
    combine: Combine,
    behaviour: [Behaviour; 3],
    events: &Events,
    kind: BodyKind,
) -> Runnable {
    let names = ["a", "b", "c"];
    let parts = names
        .into_iter()
        .zip(behaviour)
        .map(|(name, behaviour)| part(name, behaviour, events, kind));
    combine(parts.collect())
}

/// All parts serve: all are up before the body, and down after it; one after the other, except in `parallel`.
#[test]
fn all_serve() {
    for (executor, kind) in everywhere() {
        for (name, combine) in GROUPS {
            let events = Events::default();
            let group = combined(combine, [Behaviour::Serve; 3], &events, kind);
            // A runnable can be run any number of times.
            for round in 1..=2 {
                assert_eq!(run(executor, &group, &events), [""; 0]);
                let all = events.all();
                let (up, down) = all[7 * (round - 1)..].split_at(3);
                let (mut up, mut down) = (up.to_vec(), down.to_vec());
                assert_eq!(down.remove(0), "body");
                if name == "parallel" {
                    up.sort();
                    down.sort_by(|one, other| other.cmp(one));
                }
                assert_eq!(up, ["a up", "b up", "c up"], "{name}");
                assert_eq!(down, ["c down", "b down", "a down"], "{name}");
            }
        }
    }
}

/// One part fails to start, at any place and in any way: the parts that have started are stopped, the body does not
/// run, and the parts after it in a sequential group are not started.
#[test]
fn one_fails_to_start() {
    for (executor, kind) in everywhere() {
        for (name, combine) in GROUPS {
            for place in 0..3 {
                for (way, error) in [
                    (Behaviour::FailToStart, "failed: cannot start"),
                    (Behaviour::PanicAtStart, "panicked: at start"),
                    (Behaviour::EndUnready, "ended before it was ready"),
                ] {
                    let events = Events::default();
                    let mut behaviour = [Behaviour::Serve; 3];
                    behaviour[place] = way;
                    let errors =
                        run(executor, &combined(combine, behaviour, &events, kind), &events);
                    let part = ["a", "b", "c"][place];
                    let context = format!("{name} {kind:?} {place} {way:?}: {errors:?}");
                    assert_eq!(errors.len(), 1, "{context}");
                    assert!(errors[0].contains(&format!("process `{part}`")), "{context}");
                    assert!(errors[0].ends_with(error), "{context}");
                    let all = events.all();
                    assert!(!all.contains(&"body".to_owned()), "{context}");
                    for (other, letter) in ["a", "b", "c"].into_iter().enumerate() {
                        let up = all.contains(&format!("{letter} up"));
                        let down = all.contains(&format!("{letter} down"));
                        assert_eq!(down, up && other != place, "{context} {all:?}");
                        if name != "parallel" {
                            assert_eq!(up, other <= place, "{context} {all:?}");
                        }
                    }
                }
            }
        }
    }
}

/// One part fails while all run: the others and the body are closed, and the only error is that of the part.
#[test]
fn one_fails_later() {
    for (executor, kind) in everywhere() {
        for (name, combine) in GROUPS {
            for place in 0..3 {
                for (way, error) in [
                    (Behaviour::FailLater, "failed: broken"),
                    (Behaviour::PanicLater, "panicked: later"),
                ] {
                    let events = Events::default();
                    let mut behaviour = [Behaviour::Serve; 3];
                    behaviour[place] = way;
                    let group = combined(combine, behaviour, &events, kind);
                    let app = executor.app();
                    // It may fail before the others are ready. Then the body does not run.
                    let ended = run_in(&app, &group, |p| async move { p.closing().await });
                    let errors = errors(block_on(ended));
                    assert_eq!(errors.len(), 1, "{name} {kind:?} {place}: {errors:?}");
                    let part = ["a", "b", "c"][place];
                    assert_eq!(errors[0], format!("process `{part}` {error}"));
                    let all = events.all();
                    for letter in ["a", "b", "c"].into_iter().filter(|letter| *letter != part) {
                        let up = all.contains(&format!("{letter} up"));
                        assert_eq!(all.contains(&format!("{letter} down")), up, "{all:?}");
                    }
                    app.close_blocking().unwrap();
                }
            }
        }
    }
}

/// All errors of stopping are in the outcome, after that of the body.
#[test]
fn no_error_is_lost() {
    for (executor, kind) in everywhere() {
        for (name, combine) in GROUPS {
            let events = Events::default();
            let group = combined(combine, [Behaviour::FailToStop; 3], &events, kind);
            let app = executor.app();
            let mut errors = errors(block_on(run_in(&app, &group, |_| async { Err("the body") })));
            assert_eq!(errors.len(), 4, "{name}: {errors:?}");
            assert!(errors.remove(0).ends_with("failed: the body"));
            if name == "parallel" {
                errors.sort_by(|one, other| other.cmp(one));
            }
            let expected =
                ["c", "b", "a"].map(|part| format!("process `{part}` failed: cannot stop"));
            assert_eq!(errors, expected, "{name}");
            app.close_blocking().unwrap();
        }
    }
}

/// A part ends without an error: the group continues with the others, and ends with the last one.
#[test]
fn a_part_that_ends_without_an_error() {
    for (executor, kind) in everywhere() {
        for (name, combine) in &GROUPS[..2] {
            let events = Events::default();
            let behaviour = [Behaviour::Serve, Behaviour::EndLater, Behaviour::Serve];
            assert_eq!(
                run(executor, &combined(*combine, behaviour, &events, kind), &events),
                [""; 0],
                "{name}"
            );
            assert!(events.all().contains(&"body".to_owned()));
            assert!(events.all().contains(&"a down".to_owned()));
        }
    }
}

/// Closing during the start, at any place: the parts that have started are stopped, the others are not started, the
/// group does not wait until the hanging part is ready, and the body does not run.
#[test]
fn closing_during_the_start() {
    for (executor, kind) in everywhere() {
        for (name, combine) in GROUPS {
            for place in 0..3 {
                let letters = ["a", "b", "c"];
                let events = Events::default();
                let mut behaviour = [Behaviour::Serve; 3];
                behaviour[place] = Behaviour::Hang;
                let group = combined(combine, behaviour, &events, kind);
                let app = executor.app();
                let inside = events.clone();
                let ended = run_in(&app, &group, |_| async move { inside.add("body") });
                let hangs = format!("{} up", letters[place]);
                let closer = std::thread::spawn({
                    let (app, events) = (app.clone(), events.clone());
                    move || {
                        while !events.all().contains(&hangs) {
                            std::thread::yield_now();
                        }
                        app.close().wait()
                    }
                });
                assert_eq!(errors(block_on(ended)), [""; 0], "{name}");
                closer.join().unwrap().unwrap();
                let all = events.all();
                assert!(!all.contains(&"body".to_owned()), "{all:?}");
                for (other, letter) in letters.into_iter().enumerate() {
                    let up = all.contains(&format!("{letter} up"));
                    assert_eq!(all.contains(&format!("{letter} down")), up, "{name} {all:?}");
                    assert!(name == "parallel" || up == (other <= place), "{name} {all:?}");
                }
            }
        }
    }
}

/// Closing while the parts of a group are being started: the remaining parts are not started.
#[test]
fn closing_between_two_starts() {
    for (name, combine) in GROUPS {
        let events = Events::default();
        let app = Process::new();
        let closes = app.clone();
        let first = Runnable::new(move |start| {
            closes.close();
            nop().start(start)
        });
        let group = combine(vec![first, part("b", Behaviour::Serve, &events, BodyKind::Task)]);
        assert_eq!(errors(block_on(run_in(&app, &group, |_| async {}))), [""; 0], "{name}");
        assert_eq!(events.all(), [""; 0], "{name}");
        app.closed().wait().unwrap();
    }
}

/// In a chain, each part runs inside the previous one, and is closed with it. In `parallel`, it is not.
#[test]
fn a_chain_nests() {
    for (name, combine) in [GROUPS[0], GROUPS[2]] {
        let events = Events::default();
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let outer = part("a", Behaviour::Serve, &events, BodyKind::Task);
        let outer = Runnable::new(move |start| {
            let process = outer.start(start)?;
            tell.lock().unwrap().send(process.clone()).unwrap();
            Ok(process)
        });
        let group = combine(vec![outer, part("b", Behaviour::Serve, &events, BodyKind::Task)]);
        let inside = events.clone();
        let app = Process::new();
        let ended = run_in(&app, &group, |_| async move {
            let outer = told.recv().unwrap();
            outer.close().await.unwrap();
            assert_eq!(inside.all().contains(&"b down".to_owned()), name == "chain", "{name}");
        });
        assert_eq!(errors(block_on(ended)), [""; 0], "{name}");
    }
}

/// Closing before the start: neither a part of a group nor a single part is started.
#[test]
fn closing_before_the_start() {
    let one: Combine = |mut parts| parts.remove(0);
    for combine in GROUPS.map(|(_, combine)| combine).into_iter().chain([one]) {
        let events = Events::default();
        let group = combined(combine, [Behaviour::Serve; 3], &events, BodyKind::Task);
        let (app, gate) = (Process::new(), Process::new());
        app.wait_for(&gate).unwrap();
        app.close();
        let inside = events.clone();
        let ended = run_in(&app, &group, |_| async move { inside.add("body") });
        assert_eq!(errors(block_on(ended)), [""; 0]);
        assert_eq!(events.all(), [""; 0]);
        gate.close();
        app.closed().wait().unwrap();
    }
}

/// A group of no parts is `nop`, and a group of one part is that part.
#[test]
fn none_and_one() {
    for (_, combine) in GROUPS {
        let events = Events::default();
        assert_eq!(run(Executor::Shared, &combine(Vec::new()), &events), [""; 0]);
        assert_eq!(run(Executor::Shared, &combine(vec![nop()]), &events), [""; 0]);
        assert_eq!(events.all(), ["body", "body"]);
        let one = combine(vec![part("a", Behaviour::FailLater, &events, BodyKind::Task)]);
        assert_eq!(run(Executor::Shared, &one, &events), ["process `a` failed: broken"]);
        let one = combine(vec![part("a", Behaviour::EndUnready, &events, BodyKind::Task)]);
        let app = Process::new();
        let Err(Error::Failed(failed)) = block_on(run_in(&app, &one, |_| async {})) else {
            panic!()
        };
        assert!(failed.get().is::<NotReady>());
    }
}

/// The graph shows the structure: a named process with named children.
#[test]
fn the_graph_shows_the_structure() {
    let events = Events::default();
    let stack = combined(sequential, [Behaviour::Serve; 3], &events, BodyKind::Task);
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let watched = Runnable::new(move |start| {
        let process = named("stack", stack.clone()).start(start)?;
        tell.lock().unwrap().send(process.clone()).unwrap();
        Ok(process)
    });
    let app = Process::new();
    let ended = run_in(&app, &watched, |_| async move {
        let stack = told.recv().unwrap();
        assert_eq!(stack.name().as_deref(), Some("stack"));
        let shown = stack.snapshot().to_string();
        assert!(["a", "b", "c"].iter().all(|part| shown.contains(part)), "{shown}");
    });
    assert_eq!(errors(block_on(ended)), [""; 0]);
    app.close_blocking().unwrap();
}

/// Groups that are nested 1,000 deep, and groups of 10,000 parts.
#[test]
fn many_parts_and_deep_nesting() {
    let events = Events::default();
    let mut nested = part("core", Behaviour::Serve, &events, BodyKind::Task);
    for depth in 0..1_000 {
        let (_, combine) = GROUPS[depth % 3];
        nested = combine(vec![nop(), nested]);
    }
    assert_eq!(run(Executor::Shared, &nested, &events), [""; 0]);
    assert_eq!(events.all(), ["core up", "body", "core down"]);

    // Deeper than any stack, dropped without having been run.
    let mut nested = nop();
    for depth in 0..100_000 {
        let (_, combine) = GROUPS[depth % 3];
        nested = combine(vec![nop(), nested]);
    }
    drop(nested);

    for (name, combine) in GROUPS {
        let events = Events::default();
        let parts = (0..10_000).map(|_| part("part", Behaviour::Serve, &events, BodyKind::Task));
        assert_eq!(run(Executor::Shared, &combine(parts.collect()), &events), [""; 0], "{name}");
        assert_eq!(events.all().len(), 20_001, "{name}");
    }
}
