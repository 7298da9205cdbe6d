//! Shared tables and their managers.
#![cfg(not(loom))]

mod broken;
mod conforms;
mod delegate;
mod manager;
