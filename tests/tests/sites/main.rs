//! Each process records the line of user code that made or described it, never a line of the library.
//!
//! | file | subject |
//! |---|---|
//! | `graph` | processes, bodies, conditions, hooks, limiters, periodic processes, scopes |
//! | `programs` | `Main`, programs of runnables, and the helpers for tests |
//! | `runnables` | each kind of runnable, runs and services |
//! | `servers` | servers, their connections and requests; commands |
//! | `supervision` | managers, sets and shared managers, with their leases |
//!
//! Each test looks at snapshots while the processes are open. [`Labels`] looks at the label of every process, including
//! those that are open only for a moment.

#![cfg(not(loom))]

mod graph;
mod programs;
mod runnables;
#[cfg(unix)]
mod servers;
mod supervision;

use std::fmt::Display;
use std::panic::Location;
use std::thread;
use std::time::Instant;

use procession::{Process, Site};
use procession_tests::LIMIT;
use procession_tests::labels::{LIBRARY, Labels};

/// Checks that every process below this one, itself included, was made in the file of the caller, and that none of its
/// labels names the library. There must be at least `count` of them.
#[track_caller]
fn assert_made_here(process: &Process, count: usize) {
    let here = Location::caller().file();
    let snapshot = process.snapshot();
    let processes = snapshot.processes();
    assert!(processes.len() >= count, "{} of {count}:\n{snapshot:#}", processes.len());
    let held = processes.clone().flat_map(|process| process.held_slots()).map(|slot| slot.site);
    let blockers = snapshot.blockers(usize::MAX).first.into_iter();
    let sites = processes.map(|process| process.site()).chain(held);
    let sites = sites.chain(blockers.map(|blocker| blocker.site));
    let foreign: Vec<Site> = sites.filter(|site| site.file() != here).collect();
    assert!(foreign.is_empty(), "{foreign:?} in\n{snapshot:#}");
    let texts: [&dyn Display; 3] = [&snapshot, &snapshot.blockers(usize::MAX), &process.path()];
    for text in texts.map(ToString::to_string).into_iter().chain([format!("{snapshot:#}")]) {
        assert!(!text.contains(LIBRARY), "{text}");
    }
}

/// Waits until at least `count` processes are below this one, itself included.
#[track_caller]
fn wait_for(process: &Process, count: usize) {
    wait_until(process, || process.snapshot().processes().len() >= count);
}

#[track_caller]
fn wait_until(process: &Process, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LIMIT, "{:#}", process.snapshot());
        thread::yield_now();
    }
}

async fn stay(process: Process) {
    process.closing().await;
}

fn stay_blocked(process: Process) {
    process.closing().wait();
}
