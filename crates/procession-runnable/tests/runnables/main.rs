//! What the runnables promise, with both faces, under tokio, smol and no executor.

mod common;
mod groups;
mod leaves;
mod servers;
mod service;
mod to_the_end;
