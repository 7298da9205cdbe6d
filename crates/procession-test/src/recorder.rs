//! [`Recorder`]: the events of a tree, and the order in which its processes became Closed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use procession::{Event, EventKind, Process, support};

use crate::executor::LIMIT;
use crate::history::{self, History, Step};
use crate::timeline;

/// Records the events of a process and of everything below it: see [`assert_closed_in_order!`].
///
/// ```
/// use procession::Process;
/// use procession_test::{Recorder, assert_closed_in_order};
///
/// let app = Process::builder().name("app").build()?;
/// let recorder = Recorder::of(&app);
/// let server = Process::builder().name("server").parent(&app).build()?;
/// let log = Process::builder().name("log").parent(&app).wait_for(&server);
/// let log = log.teardown(|| println!("flush")).build()?;
///
/// app.close_blocking()?;
/// assert_closed_in_order!(recorder, [server, log, "app"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`assert_closed_in_order!`]: crate::assert_closed_in_order
#[derive(Clone)]
pub struct Recorder {
    events: Arc<Mutex<Vec<Event>>>,
}

/// One process, or several with the same name: an item of [`assert_closed_in_order!`](crate::assert_closed_in_order).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Which {
    /// The process of this handle.
    Handle(Process),
    /// All processes with this name or path, such as `cache` or `app/db/cache`.
    Name(String),
}

/// The processes of an item.
struct Found {
    shown: String,
    /// When the last of them became Closed.
    closed: Instant,
    /// When the first of them began its teardown or, without a teardown, became Closed.
    began: Instant,
}

impl Recorder {
    /// Records everything that happens in the tree of this process from now on.
    #[must_use]
    pub fn of(root: &Process) -> Self {
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let recorder = Self { events: events.clone() };
        root.on_event(move |event| events.lock().push(event.clone()));
        recorder
    }

    /// The events until now, in the order in which they happened.
    ///
    /// # Panics
    ///
    /// If the events are not delivered within 30 s, for example because another hook of the program blocks, or if some
    /// were dropped because too many happened at once.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until a thread of the library has delivered the events so far.
    #[must_use]
    #[track_caller]
    pub fn events(&self) -> Vec<Event> {
        assert!(support::flush_events(LIMIT), "the events were not delivered within {LIMIT:?}");
        let mut events = self.events.lock().clone();
        let missed = events.iter().find(|event| matches!(event.kind(), EventKind::Missed { .. }));
        assert!(missed.is_none(), "too many events at once: {}", missed.expect("there is one"));
        // The events of one process are in order already. The sort is stable, so it keeps them in order.
        events.sort_by_key(Event::at);
        events
    }

    /// Checks that the processes of each item became Closed before those of the next one began their teardowns (or
    /// became Closed, if they have none): see [`assert_closed_in_order!`](crate::assert_closed_in_order).
    ///
    /// # Panics
    ///
    /// If they did not, if there is no such process, and in the cases of [`events`](Self::events).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until a thread of the library has delivered the events so far.
    #[track_caller]
    pub fn assert_closed_in_order(&self, order: &[Which]) {
        let events = self.events();
        if let Err(message) = check(&events, order) {
            panic!("{message}\n\nWhat happened:\n{}", timeline::Lines(&events));
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("events", &self.events.lock().len()).finish()
    }
}

fn check(events: &[Event], order: &[Which]) -> Result<(), String> {
    let histories = history::of(events);
    let found = order.iter().map(|which| find(&histories, which)).collect::<Result<Vec<_>, _>>()?;
    for pair in found.windows(2) {
        let (first, then) = (&pair[0], &pair[1]);
        if first.closed > then.began {
            let late = first.closed - then.began;
            let (first, then) = (&first.shown, &then.shown);
            return Err(format!(
                "{first} should be Closed before {then} begins its teardown, but it was Closed {late:?} later"
            ));
        }
    }
    Ok(())
}

fn find(histories: &[History], which: &Which) -> Result<Found, String> {
    let found: Vec<_> = match which {
        // If several processes have had the id, the handle keeps the last one.
        Which::Handle(process) => {
            histories.iter().rfind(|history| history.id == process.id()).into_iter().collect()
        }
        Which::Name(name) => histories.iter().filter(|history| history.has_name(name)).collect(),
    };
    let Some(first) = found.first() else {
        return Err(format!("{which} is not among the processes: {}", names(histories)));
    };
    let shown = match which {
        Which::Handle(_) => first.label.to_string(),
        Which::Name(_) => which.to_string(),
    };
    let closed: Option<Vec<_>> = found.iter().map(|history| history.at(Step::Closed)).collect();
    let closed = closed.and_then(|closed| closed.into_iter().max());
    let began = found.iter().filter_map(|history| history.began_to_end()).min();
    match (closed, began) {
        (Some(closed), Some(began)) => Ok(Found { shown, closed, began }),
        _ => Err(format!("{shown} is not Closed")),
    }
}

fn names(histories: &[History]) -> String {
    let paths: BTreeSet<_> = histories.iter().map(|history| &*history.path).collect();
    if paths.is_empty() {
        return "no event was recorded".to_owned();
    }
    paths.into_iter().collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handle(process) => process.label().fmt(f),
            Self::Name(name) => write!(f, "process `{name}`"),
        }
    }
}

impl From<&Process> for Which {
    fn from(process: &Process) -> Self {
        Self::Handle(process.clone())
    }
}

impl From<&&Process> for Which {
    fn from(process: &&Process) -> Self {
        Self::Handle(Process::clone(process))
    }
}

impl From<&&str> for Which {
    fn from(name: &&str) -> Self {
        Self::Name((*name).to_owned())
    }
}

impl From<&String> for Which {
    fn from(name: &String) -> Self {
        Self::Name(name.clone())
    }
}

/// Checks that processes became Closed in this order: each one before the next one began its teardown.
///
/// `assert_closed_in_order!(recorder, [a, b, c])` takes handles, names (`"cache"`) and paths (`"app/db/cache"`) in any
/// mixture. A name that several processes have stands for all of them. It waits until the [`Recorder`] has all events.
///
/// Processes that the graph does not order may happen to close in this order. So the check finds a wrong order, but
/// does not prove that the right one is guaranteed. To find out more, run the test with several seeds of a
/// [`TestExecutor`](crate::TestExecutor).
///
/// # Panics
///
/// If the order was different. The message lists the events with their times. It also panics in the other cases of
/// [`Recorder::assert_closed_in_order`](crate::Recorder::assert_closed_in_order).
///
/// # Blocking
///
/// Blocks the thread until a thread of the library has delivered the events so far.
///
/// ```should_panic
/// use procession::Process;
/// use procession_test::{Recorder, assert_closed_in_order};
///
/// let app = Process::builder().name("app").build()?;
/// let recorder = Recorder::of(&app);
/// let _server = Process::builder().name("server").parent(&app).build()?;
/// app.close_blocking()?;
/// assert_closed_in_order!(recorder, [&app, "server"]); // no: `app` waits for `server`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! assert_closed_in_order {
    ($recorder:expr, [$($which:expr),* $(,)?] $(,)?) => {
        $recorder.assert_closed_in_order(&[$($crate::Which::from(&$which)),*])
    };
}
