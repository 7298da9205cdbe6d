//! The last event of a stream, and the outcome of the root in words.

use std::time::Duration;

use procession::{Error, support};

use super::model::{Bye, VERSION};
use super::summary::millis;
use super::texts::Texts;

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
    let errors = errors.map(|error| {
        let text = support::catch(|| error.with_causes().to_string()).unwrap_or_default();
        texts.error(&text)
    });
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
                let text = support::catch(|| first.with_causes().to_string());
                text.unwrap_or_else(|_| "an error that cannot be printed".to_owned())
            })
        }
    }
}
