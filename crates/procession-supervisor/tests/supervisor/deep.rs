//! I11: nothing recurses over nested sets, nor over the errors inside each other that they fail with.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::thread;

use futures_lite::future::block_on;
use procession::{BoxError, Error, Process};
use procession_runnable::{body, run_to_end};
use procession_supervisor::{EndAll, ManagerError, Policy, Rate, Supervisor, Unit};

use crate::world::SECOND;

/// The depth of the errors that a test makes itself.
const DEPTH: usize = 100_000;
/// The depth of nested sets.
const SETS: usize = 5_000;

/// Calls `run` on a thread with 128 KiB of stack.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(128 << 10).spawn(run).unwrap().join().unwrap();
}

/// An error of a user that wraps one of the library's.
#[derive(Debug, thiserror::Error)]
#[error("the job failed")]
struct Job(#[source] Error);

/// Makes an error that contains an error of the library.
type Wrap = fn(Error) -> BoxError;

const WRAPS: [(&str, Wrap); 9] = [
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

fn chain(wrap: Wrap, depth: usize) -> Error {
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

/// I16: the length of each text is linear in the depth.
#[test]
fn errors_inside_each_other_are_formatted() {
    for (name, wrap) in WRAPS {
        on_a_small_stack(move || {
            let depth = DEPTH / 5;
            let error = chain(wrap, depth);
            let limit = 200 * depth;
            let texts = [
                ("Display", length(format_args!("{error}"))),
                ("with causes", length(format_args!("{}", error.with_causes()))),
                ("Debug", length(format_args!("{error:?}"))),
                ("pretty Debug", length(format_args!("{error:#?}"))),
            ];
            for (format, length) in texts {
                assert!(length < limit, "{name}: {format} has {length} bytes");
            }
            let error = anyhow::Error::from(error);
            let length = length(format_args!("{error:#} {error:?}"));
            assert!(length < 2 * limit, "{name}: anyhow writes {length} bytes");
        });
    }
}

/// The fields of an error that is not deep inside others are shown as they are.
#[test]
fn debug_shows_the_fields() {
    let text = format!("{:?}", chain(|source| Box::new(Job(source)), 3));
    assert_eq!(text.matches("Job(").count(), 3, "{text}");
    assert!(text.contains("source: \"broken\""), "{text}");
}

/// The unit of the innermost of these sets fails with this error, which ends them all.
fn outcome_of_nested_sets(sets: usize, error: fn() -> BoxError) -> Error {
    let strict = Policy::new().intensity(Rate::new(0, SECOND));
    let fails = Unit::new(body(move |run| async move {
        run.ready();
        Err(error())
    }));
    let set = |unit| Supervisor::one_for_one([("set", unit)]).policy(strict.clone()).runnable();
    let outermost = (1..sets).fold(set(fails), |inner, _| set(Unit::new(inner)));
    let app = Process::new();
    let error = block_on(run_to_end(&app, &outermost)).unwrap_err();
    app.close_blocking().unwrap();
    error
}

/// Each set ends, the outcome has the errors of all of them, and they are dropped.
#[test]
fn nested_sets_fail() {
    let errors: [fn() -> BoxError; 2] = [|| EndAll::new("broken").into(), || "broken".into()];
    for error in errors {
        on_a_small_stack(move || {
            let error = outcome_of_nested_sets(SETS, error);
            let text = error.with_causes().to_string();
            assert_eq!(text.matches("unit `set`").count(), SETS);
            assert!(text.ends_with("broken"));
            drop(error);
        });
    }
}
