//! [`Recorder`]: the events of a tree, and the order in which its processes became Closed.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use procession::{Event, EventKind, Process, ProcessId, support};

use crate::executor::LIMIT;
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
pub enum Which {
    /// The process of this handle.
    Handle(Process),
    /// All processes with this name or path, such as `cache` or `app/db/cache`.
    Name(String),
}

/// The processes of an item.
struct Found {
    shown: String,
    is_closed: bool,
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
    /// If they are not delivered within 30 s, because another hook of the program blocks, for example; or if so many
    /// happened at once that some were dropped.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the events so far were delivered, which a thread of the library does.
    #[must_use]
    #[track_caller]
    pub fn events(&self) -> Vec<Event> {
        assert!(support::flush_events(LIMIT), "the events were not delivered within {LIMIT:?}");
        let mut events = self.events.lock().clone();
        let missed = events.iter().find(|event| matches!(event.kind(), EventKind::Missed { .. }));
        assert!(missed.is_none(), "too many events at once: {}", missed.expect("there is one"));
        // Of one process, they are in order already; this sort keeps the order of events of the same time.
        events.sort_by_key(Event::at);
        events
    }

    /// Checks that the processes of each item became Closed before those of the next one began their teardowns (or
    /// became Closed, if they have none): see [`assert_closed_in_order!`](crate::assert_closed_in_order).
    ///
    /// # Panics
    ///
    /// If they did not, or if there is no such process.
    ///
    /// # Blocking
    ///
    /// As [`events`](Self::events).
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
    let found = order.iter().map(|which| find(events, which)).collect::<Result<Vec<_>, _>>()?;
    if let Some(open) = found.iter().find(|item| !item.is_closed) {
        return Err(format!("{} is not Closed", open.shown));
    }
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

fn find(events: &[Event], which: &Which) -> Result<Found, String> {
    let mut shown = which.to_string();
    let mut ids: Vec<ProcessId> = Vec::new();
    let mut closed: Vec<Instant> = Vec::new();
    let mut began: Vec<(ProcessId, Instant)> = Vec::new();
    for event in events.iter().filter(|event| which.is(event)) {
        if let Which::Handle(_) = which {
            // A process that is Closed has no parents any more.
            shown = event.label().to_string();
        }
        // An id may be used again by a later process, which is then made.
        if matches!(event.kind(), EventKind::Made) || !ids.contains(&event.id()) {
            ids.push(event.id());
        }
        match event.kind() {
            EventKind::TeardownStarted => began.push((event.id(), event.at())),
            EventKind::Closed { .. } => {
                closed.push(event.at());
                if !began.iter().any(|(id, _)| *id == event.id()) {
                    began.push((event.id(), event.at()));
                }
            }
            _ => {}
        }
    }
    if ids.is_empty() {
        return Err(format!("{which} is not among the processes: {}", names(events)));
    }
    let now = Instant::now();
    let last = closed.iter().max().copied().unwrap_or(now);
    let first = began.iter().map(|(_, at)| *at).min().unwrap_or(now);
    Ok(Found { shown, is_closed: closed.len() >= ids.len(), closed: last, began: first })
}

fn names(events: &[Event]) -> String {
    let mut names: Vec<String> = Vec::new();
    for event in events {
        let path = event.path();
        if !names.contains(&path) {
            names.push(path);
        }
    }
    if names.is_empty() { "no event was recorded".to_owned() } else { names.join(", ") }
}

impl Which {
    fn is(&self, event: &Event) -> bool {
        match self {
            Self::Handle(process) => process.id() == event.id(),
            Self::Name(name) => event.name() == Some(name) || event.path() == *name,
        }
    }
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

/// Checks that processes became Closed in this order: each one, before the next one began its teardown.
///
/// `assert_closed_in_order!(recorder, [a, b, c])` takes handles, names (`"cache"`) and paths (`"app/db/cache"`) in any
/// mixture. A name that several processes have stands for all of them. It waits until the [`Recorder`] has all events.
///
/// Processes that the graph does not order may happen to close in this order. So the check shows an order that is
/// wrong, but does not prove that it is guaranteed: for that, run the test with several seeds of a
/// [`TestExecutor`](crate::TestExecutor).
///
/// # Panics
///
/// If the order was another one. The message lists the events with their times.
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
