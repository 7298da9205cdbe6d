//! The transition table: the effect of each input in each state.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::{Actions, Input, Lifecycle, Then};
use super::{Fault, label, not_loaded, policy, step, unhandled, words};
use crate::backoff::Rate;
use crate::policy::Policy;
use crate::restarts::Recent;

/// One line for each transition: the state, the input, the next state with the time until it is due, and the actions.
/// An input without a line changes nothing and causes no action.
const TABLE: &str = include_str!("table.txt");

/// The states, subdivided where other facts decide the transition.
/// In those that end with `-full`, the restarts of other units have used up the total intensity.
/// In those that end with `-kept`, a failure must be handled by the restart.
const STATES: [&str; 26] = [
    "initial",
    "loading",
    "loading-full",
    "starting",
    "running",
    "running-full",
    "closing",
    "unready",
    "asked-stay",
    "asked-again",
    "asked-hold",
    "asked-forget",
    "aborted",
    "stuck",
    "stuck-asked",
    "stuck-again",
    "outlived",
    "outlived-asked",
    "outlived-stopped",
    "outlived-again",
    "waiting",
    "waiting-kept",
    "held",
    "ended",
    "given-up",
    "stopped",
];

const INPUTS: [&str; 23] = [
    "load",
    "begin",
    "not-loaded",
    "not-loaded-forget",
    "started",
    "not-started",
    "ready",
    "ended-unready",
    "began-to-close",
    "closed",
    "closed-error",
    "closed-abort",
    "closed-abort-error",
    "outlived-error",
    "outlived-end-all",
    "freed",
    "changed",
    "stop-stay",
    "stop-again",
    "stop-hold",
    "stop-forget",
    "abort-forget",
    "due",
];

fn input(name: &str) -> Input {
    match name {
        "load" => Input::Load,
        "begin" => Input::Begin,
        "not-loaded" => not_loaded(false),
        "not-loaded-forget" => not_loaded(true),
        "started" => Input::Started,
        "not-started" => Fault::Error.not_started(),
        "ready" => Input::Ready,
        "ended-unready" => Input::EndedUnready(label()),
        "began-to-close" => Input::BeganToClose,
        "closed" => Input::Closed(Fault::None.end()),
        "closed-error" => Input::Closed(Fault::Error.end()),
        "closed-abort" => Input::Closed(Fault::Aborted.end()),
        "closed-abort-error" => Input::Closed(Fault::AbortedAndError.end()),
        "outlived-error" => Input::Outlived(Fault::Error.end(), Vec::new()),
        "outlived-end-all" => Input::Outlived(Fault::EndAll.end(), Vec::new()),
        "freed" => Input::Freed,
        "changed" => Input::Changed,
        "stop-stay" => Input::Stop(Then::Stay),
        "stop-again" => Input::Stop(Then::Again),
        "stop-hold" => Input::Stop(Then::Hold),
        "stop-forget" => Input::Stop(Then::Forget),
        "abort-forget" => Input::Abort(Then::Forget),
        "due" => Input::Due,
        other => panic!("there is no input `{other}`"),
    }
}

/// The inputs that lead from the initial state to this one.
fn way(state: &str) -> Vec<&'static str> {
    let (before, last) = match state {
        "initial" => return Vec::new(),
        "loading-full" => return way("loading"),
        "running-full" => return way("running"),
        "waiting-kept" => return way("waiting"),
        "loading" => ("initial", "load"),
        "starting" => ("loading", "started"),
        "running" => ("starting", "ready"),
        "closing" => ("running", "began-to-close"),
        "unready" => ("starting", "ended-unready"),
        "asked-stay" => ("running", "stop-stay"),
        "asked-again" => ("running", "stop-again"),
        "asked-hold" => ("running", "stop-hold"),
        "asked-forget" => ("running", "stop-forget"),
        "aborted" => ("closing", "due"),
        "stuck" => ("aborted", "due"),
        "stuck-asked" => ("stuck", "stop-stay"),
        "stuck-again" => ("stuck", "changed"),
        "outlived" => ("running", "outlived-error"),
        "outlived-asked" => ("asked-stay", "outlived-error"),
        "outlived-again" => ("outlived", "changed"),
        "outlived-stopped" => ("outlived", "stop-stay"),
        "waiting" => ("running", "closed-error"),
        "held" => ("running", "stop-hold"),
        "ended" => ("running", "closed"),
        // The policy allows one restart.
        "given-up" => ("running-again", "closed-error"),
        "running-again" => {
            let mut way = way("waiting");
            way.extend(["due", "started", "ready"]);
            return way;
        }
        "stopped" => ("asked-stay", "closed"),
        other => panic!("there is no state `{other}`"),
    };
    let mut way = way(before);
    way.push(last);
    if state == "held" {
        way.push("closed");
    }
    way
}

fn one_restart() -> Policy {
    let rate = |count| Rate::new(count, Duration::from_secs(3600));
    policy().intensity(rate(1)).total_intensity(rate(9))
}

/// A unit in a state, the time, and the restarts of all units together.
fn unit_in(state: &str, policy: &Policy) -> (Lifecycle, Instant, Recent) {
    let mut now = Instant::now();
    let (mut lifecycle, mut total) = (Lifecycle::new(now), Recent::default());
    for name in way(state) {
        now = lifecycle.due().filter(|_| name == "due").unwrap_or(now);
        step(&mut lifecycle, input(name), policy, now, &mut total);
    }
    if state.ends_with("-kept") {
        assert!(!lifecycle.keep(&unhandled()));
    }
    if state.ends_with("-full") {
        while total.add(policy.total_intensity, now) {}
    }
    (lifecycle, now, total)
}

fn text_of(lifecycle: &Lifecycle, now: Instant, actions: &Actions) -> String {
    let due = lifecycle.due().map(|due| format!("@{:?}", due.saturating_duration_since(now)));
    let state = format!("{:?}{}", lifecycle.state(), due.unwrap_or_default());
    [state].into_iter().chain(words(actions)).collect::<Vec<_>>().join(" ")
}

#[test]
fn transitions_match_the_table() {
    let policy = one_restart();
    let mut written = String::new();
    for state in STATES {
        for name in INPUTS {
            let (mut lifecycle, now, mut total) = unit_in(state, &policy);
            let (since, nothing) =
                (lifecycle.since(), text_of(&lifecycle, now, &Actions::default()));
            let later = now + Duration::from_millis(1);
            let actions = step(&mut lifecycle, input(name), &policy, later, &mut total);
            if name.starts_with("not-loaded") && !state.starts_with("loading") {
                continue;
            }
            if lifecycle.since() == since && text_of(&lifecycle, now, &actions) == nothing {
                continue;
            }
            written +=
                &format!("{state:<12} {name:<18} {}\n", text_of(&lifecycle, later, &actions));
        }
    }
    let (expected, written) = (lines(TABLE), lines(&written));
    let missing = expected.difference(&written).map(|line| format!("- {line}\n"));
    let wrong = written.difference(&expected).map(|line| format!("+ {line}\n"));
    let differences: String = missing.chain(wrong).collect();
    assert!(differences.is_empty(), "the table differs:\n{differences}");
}

/// A row may also be loaded for reasons other than a start.
#[test]
fn a_failed_load_affects_only_a_loading_unit() {
    let policy = one_restart();
    for state in STATES.into_iter().filter(|state| !state.starts_with("loading")) {
        for name in ["not-loaded", "not-loaded-forget"] {
            let (mut lifecycle, now, mut total) = unit_in(state, &policy);
            let (since, before) =
                (lifecycle.since(), text_of(&lifecycle, now, &Actions::default()));
            let actions = step(&mut lifecycle, input(name), &policy, now, &mut total);
            assert_eq!(lifecycle.since(), since, "{state}");
            assert_eq!(
                text_of(&lifecycle, now, &actions),
                format!("{before} load-failed"),
                "{state}"
            );
        }
    }
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}
