//! Each rule finds the runs that break it, and no others.

use std::time::{Duration, Instant};

use procession::{Error, Process};

use super::fault::Fault;
use super::rules::{self, Rule, Waits};
use crate::history::{History, Step};

use Step::{Closed, Closing, Made, TeardownEnded, TeardownQueued, TeardownStarted};

const ALL: [Step; 6] = [Made, Closing, TeardownQueued, TeardownStarted, TeardownEnded, Closed];

struct World {
    start: Instant,
    /// Processes whose ids the histories use.
    processes: Vec<Process>,
}

impl World {
    fn new() -> Self {
        Self { start: Instant::now(), processes: (0..2).map(|_| Process::new()).collect() }
    }

    /// A history with these steps: the first one at `first` milliseconds, each further one 1 ms later.
    fn history(&self, index: usize, first: u64, steps: &[Step]) -> History {
        let at = |step: usize| self.start + Duration::from_millis(first + step as u64);
        let path = ["app", "app/db"][index].to_owned();
        let steps = steps.iter().enumerate().map(|(number, step)| (at(number), *step));
        History {
            id: self.processes[index].id(),
            name: None,
            label: self.processes[index].label(),
            path,
            site: "src/main.rs:1".into(),
            steps: steps.collect(),
            error: None,
        }
    }
}

/// Checks that the run breaks this rule, with this finding.
#[track_caller]
fn assert_breaks(result: Result<(), rules::Broken>, rule: Rule, found: &str) {
    let broken = result.expect_err("the rule should find it");
    assert_eq!((broken.rule, broken.found.as_str()), (rule, found));
}

#[test]
fn a_run_in_order_breaks_nothing() {
    let world = World::new();
    let histories = [world.history(0, 0, &ALL), world.history(1, 0, &[Made, Closing, Closed])];
    rules::all_closed(&histories).unwrap();
    rules::phases_in_order(&histories).unwrap();
    rules::teardowns_once(&histories).unwrap();
    rules::no_teardown_lost(&histories, &histories).unwrap();
    rules::one_outcome(&[Ok(()), Ok(())]).unwrap();
}

#[test]
fn an_open_process_is_found() {
    let histories = [World::new().history(0, 0, &ALL[..5])];
    assert_breaks(
        rules::all_closed(&histories),
        Rule::AllClosed,
        "`app` (src/main.rs:1) is not Closed",
    );
}

#[test]
fn phases_that_go_back_are_found() {
    let world = World::new();
    let histories = [world.history(0, 0, &[Made, Closed, Closing])];
    let found = "of `app` (src/main.rs:1), Closing came after Closed";
    assert_breaks(rules::phases_in_order(&histories), Rule::PhasesInOrder, found);
    let histories = [world.history(0, 0, &[Made, Closing, Closing, Closed])];
    let found = "`app` (src/main.rs:1) was Closing twice";
    assert_breaks(rules::phases_in_order(&histories), Rule::PhasesInOrder, found);
}

#[test]
fn a_teardown_that_runs_twice_or_never_is_found() {
    let world = World::new();
    let twice = [
        Made,
        Closing,
        TeardownQueued,
        TeardownStarted,
        TeardownStarted,
        TeardownEnded,
        TeardownEnded,
        Closed,
    ];
    let found =
        "the teardown of `app` (src/main.rs:1) was due 1 times, started 2 times and ended 2 times";
    assert_breaks(rules::teardowns_once(&[world.history(0, 0, &twice)]), Rule::TeardownOnce, found);
    let never = [Made, Closing, TeardownQueued, Closed];
    let found =
        "the teardown of `app` (src/main.rs:1) was due 1 times, started 0 times and ended 0 times";
    assert_breaks(rules::teardowns_once(&[world.history(0, 0, &never)]), Rule::TeardownOnce, found);
}

#[test]
fn a_teardown_that_another_run_had_is_missed() {
    let world = World::new();
    let (first, now) =
        ([world.history(0, 0, &ALL)], [world.history(0, 0, &[Made, Closing, Closed])]);
    let found = "of `app` (src/main.rs:1), 0 teardowns ran, but without a fault, 1 did";
    assert_breaks(rules::no_teardown_lost(&first, &now), Rule::TeardownOnce, found);
    // Another number of processes is another graph.
    rules::no_teardown_lost(&first, &[now[0].clone(), now[0].clone()]).unwrap();
}

#[test]
fn a_teardown_that_starts_too_early_is_found() {
    let world = World::new();
    let (app, db) = (&world.processes[0], &world.processes[1]);
    app.wait_for(db).unwrap();
    let waits = Waits::of(&app.snapshot());
    assert!(waits.reach(app.id(), db.id()) && !waits.reach(db.id(), app.id()));
    let later = 60_000; // after the snapshot
    let app = world.history(0, later, &ALL[1..]);
    let db =
        |at| History { steps: vec![(app.steps[0].0 + at, Closed)], ..world.history(1, 0, &[]) };
    let in_time = Duration::from_millis(2);
    rules::waits_first(&[app.clone(), db(in_time)], &waits).unwrap();
    let found =
        "`app` (src/main.rs:1) waits for `app/db` (src/main.rs:1), which was Closed 1ms too late";
    let late = Duration::from_millis(3);
    assert_breaks(rules::waits_first(&[app.clone(), db(late)], &waits), Rule::WaitsFirst, found);
}

#[test]
fn an_outcome_without_the_fault_is_found() {
    let world = World::new();
    let history = world.history(0, 0, &ALL);
    let struck = (history.id, world.start);
    let check = |history: History, fault| rules::outcome_has_fault(&[history], struck, fault);
    let found = "the outcome of `app` (src/main.rs:1) is: Ok";
    assert_breaks(check(history.clone(), Fault::BodyPanics), Rule::OutcomeHasFault, found);
    check(history.clone(), Fault::BodyEndsEarly).unwrap();
    let error = Some(Error::Aborted(world.processes[0].label()));
    let aborted = check(History { error, ..history }, Fault::TeardownFails).unwrap_err();
    assert!(aborted.found.contains("was aborted"), "{aborted:?}");
}

#[test]
fn two_outcomes_are_found() {
    let error = Error::Aborted(Process::new().label());
    let broken = rules::one_outcome(&[Ok(()), Err(error)]).unwrap_err();
    assert_eq!(broken.rule, Rule::OneOutcome);
    assert!(broken.found.starts_with("of the root, one caller got Ok, another one got process "));
}
