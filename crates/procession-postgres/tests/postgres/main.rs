//! The table in PostgreSQL. See `procession-test-postgres` for where the server comes from.
#![cfg(unix)]

mod claims;
mod conforms;
mod errors;
mod guard;
mod held;
mod idle;
mod manager;
mod opening;
mod plans;
mod pooler;
mod restarts;
mod support;
mod texts;
mod timeline;
