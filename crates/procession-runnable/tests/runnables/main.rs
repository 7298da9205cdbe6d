//! What the runnables promise, with both faces, under tokio, smol and no executor.

mod common;
mod failures;
mod groups;
mod leaves;
mod nesting;
mod servers;
mod service;
mod starting;
mod to_the_end;
