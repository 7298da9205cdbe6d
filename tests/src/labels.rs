//! [`Labels`]: a look at the label of every process of the program.

use std::fmt::Debug;
use std::sync::{Mutex, Once};
use std::thread;

use procession::support::flush_events;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::LIMIT;

/// The sources of the library.
pub const LIBRARY: &str = "crates/procession";

/// Looks at the `tracing` events of all processes, from the first call of [`watch`](Self::watch) on. The label of a
/// process without a name is its site. When it is dropped, it checks that no event contains the path of a file of the
/// library.
pub struct Labels(());

/// The texts that contain such a path. All tests of a program share them.
static FOUND: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Labels {
    /// Begins to look at them.
    pub fn watch() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| tracing::subscriber::set_global_default(Watcher).unwrap());
        Self(())
    }
}

impl Drop for Labels {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert!(flush_events(LIMIT));
            let found = FOUND.lock().unwrap().clone();
            assert!(found.is_empty(), "{found:#?}");
        }
    }
}

struct Watcher;

impl Subscriber for Watcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "procession"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Texts);
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Texts);
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Texts;

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if text.contains(LIBRARY) {
            FOUND.lock().unwrap().push(format!("{field}: {text}"));
        }
    }
}
