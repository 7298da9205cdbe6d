//! Shared tables and their managers.
#![cfg(not(loom))]

mod broken;
mod clock;
mod conforms;
mod delegate;
mod exit;
mod failing;
mod hand_over;
mod manager;
mod operators;
mod overview;
mod runs;
mod shares;
mod support;
