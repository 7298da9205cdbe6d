//! The graph of a process: what it closes and waits for, drawn as an SVG picture.
//!
//! | file | subject |
//! |---|---|
//! | `picked` | which processes are drawn, and the edges between them |
//! | `layout` | where they are drawn |
//! | `draw` | the picture; its colours are those of the page, `graph.css` has the rest of its style |
//! | `view` | the page around it |

mod draw;
mod layout;
mod picked;
#[cfg(test)]
mod tests;
mod view;

use std::time::Duration;

use self::layout::places;
use self::picked::Picked;
use super::sample::Sample;

pub(crate) use self::view::{page, unknown};

/// The maximum time that a request waits for a layout.
const LIMIT: Duration = Duration::from_secs(2);

/// The graph below a process, as a file of its own or as a part of a page.
pub(crate) fn svg(sample: &Sample, top: u32, is_file: bool) -> String {
    let picked = Picked::new(sample, top);
    let places = places(&picked, LIMIT);
    draw::svg(sample, &picked, &places, is_file)
}
