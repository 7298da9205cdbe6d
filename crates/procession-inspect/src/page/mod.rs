//! The live page.
//!
//! | file | subject |
//! |---|---|
//! | `model` | the JSON; begin here |
//! | `query` | which rows a viewer wants |
//! | `tally`, `history`, `sample` | events, serial numbers, and snapshots with both; `facts`: what else a sample needs |
//! | `summary`, `rows`, `row`, `frame` | functions from a sample and a query to a frame |
//! | `hub`, `farewell` | the sampler, the viewers of its frames, and the last event |
//! | `guard`, `token`, `headers` | who may see the page |
//! | `answers`, `stream`, `detail` | requests and their answers |
//! | `html`, `panels`, `table`, `words` | the page without a script; `style.css` |
//! | `texts.js`, `script/`, `dialogs` | what a script adds |
//! | `graph` | a part of the tree as a picture, and the page around it |
//! | `units` | the units of managers |
//! | `inspect`, `error` | [`Inspect`], and why it may fail |
//! | `texts` | redacting and escaping |

mod answers;
mod detail;
mod dialogs;
mod error;
mod facts;
#[cfg(test)]
mod failure_tests;
mod farewell;
mod frame;
mod graph;
mod guard;
mod headers;
mod history;
mod html;
mod hub;
mod inspect;
mod model;
mod panels;
mod query;
mod row;
mod rows;
mod sample;
mod stream;
mod summary;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod texts;
mod token;
mod units;
#[cfg(all(test, unix))]
mod viewer_tests;
mod words;

pub use error::InspectError;
pub use inspect::Inspect;
pub(crate) use inspect::Service;
