//! Model checks of procession: loom runs each model in every interleaving of its threads, up to a bound on preemptions.
//!
//! The models are in `tests/`, and `cargo loom` runs them. Without `--cfg loom`, this crate is empty.
//!
//! Rules that were broken on purpose, and the models that failed:
//!
//! | broken | failed |
//! |---|---|
//! | the phase is stored with `Relaxed` (I1, I4) | `an_abort_publishes_what_was_done_before_it`, `a_childs_handle_is_dropped_while_the_parent_closes`, `the_end_of_a_body_against_a_waiter` |
//! | a handle is dropped with `Relaxed` (I4) | `a_dropped_handle_happens_before_the_teardown` |
//! | the graph lock is released between the search for a cycle and the new edge (I5, I13) | `the_two_halves_of_a_cycle`, `the_three_edges_of_a_cycle`, `the_two_halves_of_an_impossible_order`, `two_bodies_that_wait_for_each_other` |
//! | a waiter registers without looking at the phase under the lock (I9) | models of `waiting.rs` |
//! | a waiter that leaves the queue keeps the slot that it was given (I9) | `a_waiter_that_goes_away_against_the_hand_over` |
//! | a child of a Closing process counts itself off with `Relaxed` (I4) | `the_last_two_children_close_at_once`, `siblings_are_reported_together`, `close_after_against_the_end_of_the_sibling` |
//! | a child of a Closing process counts itself off without checking for waiters (I9) | `children_of_a_closing_process_against_a_waiter`, `the_last_child_against_the_last_other_wait`, `a_late_child_against_the_last_one` |

#![forbid(unsafe_code)]
#![cfg(loom)]

use std::process::Command;
use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};

/// Runs the model in all interleavings with at most this many preemptions. Two find nearly all bugs; three are
/// affordable for two threads.
pub fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let executions = std::sync::atomic::AtomicUsize::new(0);
    let executions = Arc::new(executions);
    let counter = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    // A manager takes more steps than loom's limit of 1,000.
    builder.max_branches = 4_000;
    builder.check(move || {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        run();
    });
    let executions = executions.load(std::sync::atomic::Ordering::Relaxed);
    println!("{executions} executions");
    assert!(executions > 1, "a model with one interleaving checks nothing");
}

/// Checks that a model fails as a test fails, and prints each of the `expected` texts. `test` is the name of the
/// calling test: the model runs in a child process, because a failed model leaves the stacks of its threads behind.
pub fn assert_fails(test: &str, expected: &[&str], run: impl FnOnce()) {
    const CHILD: &str = "PROCESSION_FAILING_MODEL";
    if std::env::var_os(CHILD).is_some() {
        return run();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, test);
    let output = child.output().unwrap();
    let printed =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    let printed = printed.concat();
    // A test program that fails exits with 101. Another status would mean that it was aborted.
    assert_eq!(output.status.code(), Some(101), "{printed}");
    assert!(printed.contains("1 failed"), "{printed}");
    for expected in expected {
        assert!(printed.contains(expected), "`{expected}` is not in:\n{printed}");
    }
}

/// Counts calls. Its accesses are relaxed, so a thread sees a call only if it is ordered after it (I4).
#[derive(Clone)]
pub struct Count(Arc<AtomicUsize>);

impl Default for Count {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }
}

impl Count {
    /// Counts a call.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count, as this thread can see it.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A function that counts a call.
    pub fn adder(&self) -> impl FnOnce() + Send + use<> {
        let count = self.clone();
        move || count.add()
    }
}
