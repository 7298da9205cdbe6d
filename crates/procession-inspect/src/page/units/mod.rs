//! The units of managers and sets.
//!
//! | file | subject |
//! |---|---|
//! | `listed` | what the sources say, as it is shown |
//! | `supervised` | the sources: managers and sets of procession-supervisor |
//! | `view` | the page; `units.js` keeps it up to date |

mod listed;
#[cfg(feature = "supervisor")]
mod supervised;
#[cfg(all(test, feature = "supervisor"))]
mod tests;
mod view;

#[cfg(feature = "supervisor")]
use self::listed::UNITS;
pub(crate) use self::listed::{Listed, Source, Sources, settle};
#[cfg(feature = "supervisor")]
pub(crate) use self::supervised::source;
pub(crate) use self::view::page;
