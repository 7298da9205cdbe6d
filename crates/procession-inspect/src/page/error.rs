//! [`InspectError`].

use std::fmt;

/// The page cannot be served.
#[derive(Debug)]
#[non_exhaustive]
pub enum InspectError {
    /// The system has no random numbers for a token.
    Random(getrandom::Error),
    /// A token must have at least 16 characters: letters, digits, `-`, `.`, `_` and `~`.
    Token,
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Random(_) => "the system has no random numbers for a token; set one with `token`",
            Self::Token => {
                "a token needs at least 16 characters: letters, digits, `-`, `.`, `_` and `~`"
            }
        })
    }
}

impl std::error::Error for InspectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Random(error) => Some(error),
            Self::Token => None,
        }
    }
}
