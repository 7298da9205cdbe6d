//! The promises of the runnables, with async and blocking bodies, under tokio, smol and the shared executor.

mod common;
mod failures;
mod groups;
mod leaves;
mod nesting;
mod servers;
mod service;
mod starting;
mod to_the_end;
