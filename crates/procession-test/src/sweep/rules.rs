//! The guarantees that must hold whatever fails, as checks of the events of a run.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Instant;

use procession::{Error, Link, ProcessId, Snapshot};

use super::fault::Fault;
use crate::history::{History, Step};

/// A guarantee that a sweep checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    AllClosed,
    PhasesInOrder,
    TeardownOnce,
    WaitsFirst,
    OutcomeHasFault,
    OneOutcome,
    HangIsNamed,
    NoPanic,
    Returns,
    Check,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AllClosed => "every process becomes Closed after the root is closed",
            Self::PhasesInOrder => "phases only advance",
            Self::TeardownOnce => "each teardown runs exactly once",
            Self::WaitsFirst => {
                "a teardown starts only after everything that its process waits for is Closed"
            }
            Self::OutcomeHasFault => "the outcome of a process contains its failure",
            Self::OneOutcome => "every caller gets the same outcome",
            Self::HangIsNamed => "a teardown that hangs is among the blockers",
            Self::NoPanic => "a panic becomes an error in the outcome, and does not escape",
            Self::Returns => "the function that builds the graph returns",
            Self::Check => "the check of this test passes",
        })
    }
}

/// A rule that a run has broken.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) found: String,
}

pub(super) fn broken<T>(rule: Rule, found: impl Into<String>) -> Result<T, Broken> {
    Err(Broken { rule, found: found.into() })
}

/// The waits between processes at one moment.
pub(super) struct Waits {
    at: Instant,
    /// The process that waits, and the one that it waits for.
    pairs: Vec<(ProcessId, ProcessId)>,
}

impl Waits {
    /// The waits in a snapshot that was just taken.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let lasting = |kind| matches!(kind, Link::Child | Link::WaitFor | Link::CloseAfter);
        let edges = snapshot.edges().filter(|edge| lasting(edge.kind()));
        let id = |index: usize| snapshot.process(index).id();
        let pairs = edges.map(|edge| (id(edge.from()), id(edge.to())));
        Self { at: Instant::now(), pairs: pairs.collect() }
    }

    /// Does `upper` wait for `lower`, directly or through other processes?
    pub(super) fn reach(&self, upper: ProcessId, lower: ProcessId) -> bool {
        let mut below = HashMap::<_, Vec<_>>::new();
        for (from, to) in &self.pairs {
            below.entry(from).or_default().push(to);
        }
        let mut next = vec![&upper];
        while let Some(id) = next.pop() {
            if *id == lower {
                return true;
            }
            // Removed, so that each process is visited once.
            next.extend(below.remove(id).unwrap_or_default());
        }
        false
    }
}

/// Every process is Closed.
pub(super) fn all_closed(histories: &[History]) -> Result<(), Broken> {
    match histories.iter().find(|history| history.at(Step::Closed).is_none()) {
        Some(open) => broken(Rule::AllClosed, format!("{} is not Closed", open.shown())),
        None => Ok(()),
    }
}

/// The phases of each process came in order, and its teardown came between Closing and Closed.
pub(super) fn phases_in_order(histories: &[History]) -> Result<(), Broken> {
    for history in histories {
        let out_of_order = history.steps.windows(2).find(|pair| pair[0].1 > pair[1].1);
        if let Some(pair) = out_of_order {
            let ((_, first), (_, then)) = (pair[0], pair[1]);
            let found = format!("of {}, {then:?} came after {first:?}", history.shown());
            return broken(Rule::PhasesInOrder, found);
        }
        for step in [Step::Closing, Step::Closed] {
            if history.count(step) > 1 {
                let found = format!("{} was {step:?} twice", history.shown());
                return broken(Rule::PhasesInOrder, found);
            }
        }
    }
    Ok(())
}

/// Each teardown that was due ran once.
pub(super) fn teardowns_once(histories: &[History]) -> Result<(), Broken> {
    for history in histories {
        let due = usize::from(history.has_teardown());
        let (started, ended) =
            (history.count(Step::TeardownStarted), history.count(Step::TeardownEnded));
        if (started, ended) != (due, due) {
            let found = format!(
                "the teardown of {} was due {due} times, started {started} times and ended {ended} times",
                history.shown()
            );
            return broken(Rule::TeardownOnce, found);
        }
    }
    Ok(())
}

/// Each process that had a teardown in the run without a fault has one in this run, too.
pub(super) fn no_teardown_lost(first: &[History], histories: &[History]) -> Result<(), Broken> {
    let (before, now) = (tally(first), tally(histories));
    for (key, (processes, teardowns)) in now {
        let was = before.get(&key).copied().unwrap_or_default();
        if was.0 == processes && teardowns < was.1 {
            let (path, site) = key;
            let found = format!(
                "of `{path}` ({site}), {teardowns} teardowns ran, but without a fault, {} did",
                was.1
            );
            return broken(Rule::TeardownOnce, found);
        }
    }
    Ok(())
}

/// The number of processes with each path and site, and how many of them have a teardown.
fn tally(histories: &[History]) -> BTreeMap<(&str, &str), (usize, usize)> {
    let mut tally = BTreeMap::<_, (usize, usize)>::new();
    for history in histories {
        let (processes, teardowns) = tally.entry((&*history.path, &*history.site)).or_default();
        *processes += 1;
        *teardowns += usize::from(history.has_teardown());
    }
    tally
}

/// Everything that a process waits for was Closed before its teardown started or, without one, before it was Closed.
pub(super) fn waits_first(histories: &[History], waits: &Waits) -> Result<(), Broken> {
    let open = histories.iter().filter(|history| history.is_open_at(waits.at));
    let open: HashMap<_, _> = open.map(|history| (history.id, history)).collect();
    for (upper, lower) in &waits.pairs {
        let (Some(upper), Some(lower)) = (open.get(upper), open.get(lower)) else { continue };
        let closed = lower.at(Step::Closed);
        let (Some(begins), Some(closed)) = (upper.began_to_end(), closed) else { continue };
        if closed > begins {
            let found = format!(
                "{} waits for {}, which was Closed {:?} too late",
                upper.shown(),
                lower.shown(),
                closed - begins
            );
            return broken(Rule::WaitsFirst, found);
        }
    }
    Ok(())
}

/// The outcome of the process that was struck contains the fault.
pub(super) fn outcome_has_fault(
    histories: &[History],
    struck: (ProcessId, Instant),
    fault: Fault,
) -> Result<(), Broken> {
    let (id, at) = struck;
    let Some(expected) = fault.in_outcome() else { return Ok(()) };
    let Some(history) = histories.iter().find(|history| history.id == id && history.is_open_at(at))
    else {
        return broken(Rule::OutcomeHasFault, "there is no event of the process that was struck");
    };
    let outcome = match &history.error {
        // A time limit replaces the outcome of the body.
        Some(Error::TimeLimit(_)) => return Ok(()),
        Some(error) => error.with_causes().to_string(),
        None => "Ok".to_owned(),
    };
    match outcome.contains(&expected) {
        true => Ok(()),
        false => broken(
            Rule::OutcomeHasFault,
            format!("the outcome of {} is: {outcome}", history.shown()),
        ),
    }
}

/// All callers got the same outcome.
pub(super) fn one_outcome(outcomes: &[Result<(), Error>]) -> Result<(), Broken> {
    let text = |outcome: &Result<(), Error>| match outcome {
        Ok(()) => "Ok".to_owned(),
        Err(error) => error.with_causes().to_string(),
    };
    let texts: Vec<_> = outcomes.iter().map(text).collect();
    match texts.windows(2).find(|pair| pair[0] != pair[1]) {
        Some(pair) => {
            let found =
                format!("of the root, one caller got {}, another one got {}", pair[0], pair[1]);
            broken(Rule::OneOutcome, found)
        }
        None => Ok(()),
    }
}
