//! Nothing recurses over nested sets, nor over the errors inside each other that they fail with.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::thread;

use futures_lite::future::block_on;
use procession::{Error, Process};
use procession_runnable::{body, run_to_end};
use procession_supervisor::{EndAll, ManagerError, Policy, Rate, Supervisor, Unit};

use crate::world::SECOND;

/// The depth of the errors that a test makes itself.
const DEPTH: usize = 100_000;
/// The depth of nested sets.
const SETS: usize = 10_000;

/// Calls `run` on a thread with 64 KiB of stack or, in a build without optimisations, 256 KiB.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    let kib = if cfg!(debug_assertions) { 256 } else { 64 };
    thread::Builder::new().stack_size(kib << 10).spawn(run).unwrap().join().unwrap();
}

/// An error of a user that wraps one of the library's.
#[derive(Debug, thiserror::Error)]
#[error("the job failed")]
struct Job(#[source] Error);

/// Errors that contain an error of the library.
const WRAPS: [(&str, fn(Error) -> procession::BoxError); 9] = [
    ("closed for", |source| {
        Box::new(ManagerError::ClosedFor { key: "a".into(), source, ends_all: false })
    }),
    ("gave up", |source| Box::new(ManagerError::GaveUp { key: "a".into(), source: Some(source) })),
    ("not restarted", |source| Box::new(ManagerError::NotRestarted { key: "a".into(), source })),
    ("failed", |source| Box::new(ManagerError::Failed(source))),
    ("load", |source| Box::new(ManagerError::Load { key: "a".into(), source: Arc::new(source) })),
    ("end all", |source| Box::new(EndAll::new(source))),
    ("job", |source| Box::new(Job(source))),
    ("anyhow", |source| anyhow::Error::from(source).context("context").into()),
    ("several", |source| {
        let other = Error::failed(Process::background().label(), "other".into());
        let source = Error::all([other.clone(), source, other]).unwrap_err();
        Box::new(ManagerError::ClosedFor { key: "a".into(), source, ends_all: false })
    }),
];

fn chain(wrap: fn(Error) -> procession::BoxError, depth: usize) -> Error {
    let label = Process::background().label();
    let first = Error::failed(label.clone(), "broken".into());
    (0..depth).fold(first, |error, _| Error::failed(label.clone(), wrap(error)))
}

/// Counts what is written.
#[derive(Default)]
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

fn length(text: fmt::Arguments<'_>) -> usize {
    let mut length = Length::default();
    length.write_fmt(text).unwrap();
    length.0
}

#[test]
fn errors_inside_each_other_are_dropped() {
    for (_, wrap) in WRAPS {
        on_a_small_stack(move || drop(chain(wrap, DEPTH)));
    }
}

fn nested_sets(policy: &Policy, depth: usize, error: fn() -> procession::BoxError) -> Unit {
    let fails = Unit::new(body(move |run| async move {
        run.ready();
        Err(error())
    }));
    (0..depth).fold(fails, |unit, _| {
        let set = Supervisor::one_for_one([("set", unit)]).policy(policy.clone());
        Unit::new(set.runnable())
    })
}

fn outcome_of_nested_sets(
    depth: usize,
    policy: &Policy,
    error: fn() -> procession::BoxError,
) -> Error {
    let unit = nested_sets(policy, depth, error);
    let set = Supervisor::one_for_one([("set", unit)]).policy(policy.clone());
    let app = Process::new();
    let error = block_on(run_to_end(&app, &set.runnable())).unwrap_err();
    app.close_blocking().unwrap();
    error
}

#[test]
fn nested_sets_fail() {
    for error in [|| EndAll::new("broken").into(), || "broken".into()] {
        on_a_small_stack(move || {
            let strict = Policy::new().intensity(Rate::new(0, SECOND));
            let error = outcome_of_nested_sets(2_000, &strict, error);
            println!("{}", length(format_args!("{}", error.with_causes())));
            let t = std::time::Instant::now();
            drop(error);
            println!("{:?}", t.elapsed());
        });
    }
}
