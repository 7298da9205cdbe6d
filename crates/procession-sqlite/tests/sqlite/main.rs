//! A shared table in a SQLite file.
#![cfg(all(unix, not(loom)))]

mod child;
mod conforms;
mod damage;
mod guarded;
mod lives;
mod managers;
mod resources;
mod schemas;
mod text;
mod world;
