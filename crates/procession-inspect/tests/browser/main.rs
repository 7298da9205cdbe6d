//! The page in a real browser. The tests are skipped without one: see `procession_test_browser`.
//!
//! | file | subject |
//! |---|---|
//! | `scene` | programs that hang, and a proxy that can be cut off |
//! | `looks` | sizes, contrast, what is there without a script |
//! | `keyboard` | keys, the held order, what is spoken |
//! | `connection` | a connection that is lost, a program that starts again or ends |
//! | `safety` | hostile names |
//! | `units` | the page of units |

#![cfg(all(unix, not(loom)))]

mod connection;
mod keyboard;
mod looks;
mod safety;
mod scene;
#[cfg(feature = "supervisor")]
mod units;
