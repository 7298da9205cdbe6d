//! The state machine by itself, with plain values in its nodes.

use super::node::{self, Contents};

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
