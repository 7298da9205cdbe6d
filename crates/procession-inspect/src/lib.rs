//! Pictures of the processes of a program that uses [`procession`].
//!
//! A [`Timeline`] records how a process closes: which processes closed when, which ones they waited for, and which
//! chain of them determined the total time. It is drawn as an SVG picture, or written as a trace that
//! [Perfetto](https://ui.perfetto.dev) and `chrome://tracing` open. [`Inspect`] serves a live page of the processes.
//!
//! ```
//! use procession::Process;
//! use procession_inspect::Timeline;
//!
//! let app = Process::builder().name("app").build()?;
//! let timeline = Timeline::of(&app);
//!
//! let db = Process::builder().name("db").parent(&app).teardown(|| println!("flush")).build()?;
//! let _cache = Process::builder().name("cache").parent(&db).build()?;
//! app.close_blocking()?;
//!
//! let svg = timeline.to_svg();
//! assert!(svg.starts_with("<svg") && svg.contains("data-path=\"app/db/cache\""));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A program that runs [`procession::Main`] needs one more line, with [`MainExt`]:
//!
//! ```no_run
//! use procession::Main;
//! use procession_inspect::MainExt;
//!
//! fn main() -> procession::Exit {
//!     Main::new().timeline("shutdown.svg").run(|p| p.closing().wait())
//! }
//! ```
//!
//! | module | subject |
//! |---|---|
//! | `timeline` | [`Timeline`], [`MainExt`] |
//! | `page` | [`Inspect`], the live page |
//! | `markup` | the escaper for XML |
//! | `texts` | how texts are shortened |

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(loom))]
mod markup;
#[cfg(not(loom))]
mod page;
#[cfg(not(loom))]
mod texts;
#[cfg(not(loom))]
mod timeline;

#[cfg(not(loom))]
pub use page::{Inspect, InspectError};
#[cfg(all(any(unix, windows), not(loom)))]
pub use timeline::MainExt;
#[cfg(not(loom))]
pub use timeline::Timeline;

#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
mod readme {}
