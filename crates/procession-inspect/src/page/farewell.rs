//! The last event of a stream, and the outcome of the root in words.

use std::time::Duration;

use procession::Error;

use super::model::{Bye, VERSION};
use super::summary::millis;
use super::tally;
use super::texts::Texts;
use crate::texts::{UNPRINTABLE, beginning};

/// The number of errors that are listed.
const ERRORS: usize = 16;

/// The root has this outcome; `None` if it was still open at the end.
pub(crate) fn bye(
    outcome: Option<&Result<(), Error>>,
    exit_code: Option<u8>,
    elapsed: Duration,
    texts: &Texts,
) -> Bye {
    let errors = outcome.and_then(|outcome| outcome.as_ref().err());
    let errors = errors.into_iter().flat_map(|error| each(error).into_iter().take(ERRORS));
    let errors = errors.map(|error| texts.error(&error.with_causes()));
    let outcome = match outcome {
        Some(Err(error)) if is_forced(error) => "forced",
        Some(Err(_)) => "failed",
        None if exit_code.is_some() => "forced",
        _ => "ok",
    };
    let elapsed_ms = millis(elapsed);
    Bye { v: VERSION, seq: 0, outcome, exit_code, elapsed_ms, errors: errors.collect() }
}

/// The errors that it consists of.
fn each(error: &Error) -> Vec<&Error> {
    match error {
        Error::Many(errors) => errors.iter().collect(),
        error => vec![error],
    }
}

fn is_forced(error: &Error) -> bool {
    each(error).into_iter().any(|error| matches!(error, Error::Forced(_) | Error::Aborted(_)))
}

pub(crate) fn outcome_text(outcome: &Result<(), Error>) -> String {
    match outcome {
        Ok(()) => "ok".to_owned(),
        Err(error) => {
            let errors = each(error);
            let first = errors.first().copied().unwrap_or(error);
            let forced = errors.iter().find_map(|error| match error {
                Error::Forced(forced) => Some(format!("forced: {} aborted", forced.total())),
                _ => None,
            });
            forced.unwrap_or_else(|| {
                let text = beginning(&first.with_causes(), tally::ERROR_LIMIT);
                text.unwrap_or_else(|| UNPRINTABLE.to_owned())
            })
        }
    }
}
