//! [`search`]: looks at an error and its causes. [`without`]: leaves out some errors of a list.

use std::error::Error as StdError;

use procession::Error;

pub(crate) type Cause<'a> = &'a (dyn StdError + 'static);

/// How far the causes of an error are followed, in case they have no end.
const DEPTH: usize = 64;

/// Passes the error and its causes to `look`, which returns whether the causes of what it was given are searched, too.
///
/// The causes of an error are foreign code: call it in a catch and with no lock held.
pub(crate) fn search<'a>(error: &'a Error, mut look: impl FnMut(Cause<'a>) -> bool) {
    let mut open: Vec<(Cause<'a>, usize)> = vec![(error, 0)];
    while let Some((error, depth)) = open.pop() {
        if !look(error) {
            continue;
        }
        match error.downcast_ref() {
            Some(Error::Many(errors)) => {
                open.extend(errors.iter().map(|error| (error as Cause<'_>, depth)));
            }
            Some(Error::Failed(failed)) => open.push((failed.get(), depth)),
            Some(_) => {}
            None if depth < DEPTH => open.extend(error.source().map(|cause| (cause, depth + 1))),
            None => {}
        }
    }
}

/// The rest of an error.
pub(crate) fn without(error: Error, mut leaves_out: impl FnMut(&Error) -> bool) -> Option<Error> {
    match error {
        Error::Many(errors) => {
            Error::all(errors.iter().filter(|error| !leaves_out(error)).cloned()).err()
        }
        error => Some(error).filter(|error| !leaves_out(error)),
    }
}
