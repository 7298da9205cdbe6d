//! The state machine without the layers above it, for tests: its nodes hold plain values.

use super::contents::Contents;
use super::node;

/// Teardowns, errors and hooks that are only names.
pub(super) enum Plain {}

impl Contents for Plain {
    type Spawner = ();
    type Teardown = &'static str;
    type Failure = String;
    type Hook = &'static str;
    #[cfg(all(feature = "tokio-util", not(loom)))]
    type Token = ();

    fn merge(failures: Vec<String>) -> String {
        failures.join(", ")
    }
}

pub(super) type Node = node::Node<Plain>;
