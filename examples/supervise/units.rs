//! [`Units`]: the statuses and events of the units of a manager, as text.
//!
//! Only [`Row::of`] reads a [`Status`]; only [`line`] and [`Units::record`] read an [`Event`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use procession::{Clock, Error, SystemClock};
use procession_supervisor::{Event, Events, Happening, Manager, State, Status};

use crate::log::Log;

/// The units of a manager, by key.
pub(crate) struct Units {
    manager: Manager<String>,
    events: Events<String>,
    log: Log,
    units: BTreeMap<String, Unit>,
}

#[derive(Default)]
struct Unit {
    row: Row,
    tally: Tally,
}

/// A unit as it is now.
#[derive(Clone, Default)]
pub(crate) struct Row {
    pub(crate) key: String,
    pub(crate) state: Shown,
    /// The state with its time: how long it has lasted, or how long until it ends.
    pub(crate) text: String,
    pub(crate) restarts: u64,
    pub(crate) error: String,
}

/// The states that the view distinguishes, beginning with those that need attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shown {
    Stuck,
    GivenUp,
    Stopping,
    Waiting,
    #[default]
    Starting,
    Stopped,
    Running,
}

/// The counts of the events of a unit.
struct Tally {
    starts: u32,
    failures: u32,
    panics: u32,
    aborts: u32,
    end: &'static str,
}

impl Default for Tally {
    fn default() -> Self {
        Self { starts: 0, failures: 0, panics: 0, aborts: 0, end: "not stopped" }
    }
}

impl Units {
    pub(crate) fn new(manager: &Manager<String>, log: &Log) -> Self {
        let (manager, events) = (manager.clone(), manager.events());
        Self { manager, events, log: log.clone(), units: BTreeMap::new() }
    }

    /// Reads everything that has happened since the last call.
    pub(crate) fn update(&mut self) {
        while let Some(event) = self.events.try_recv() {
            self.record(&event);
        }
        let now = SystemClock.now();
        let listed = self.manager.list().into_iter();
        let listed: BTreeMap<_, _> = listed.map(|status| (status.key.clone(), status)).collect();
        for key in listed.keys() {
            self.units.entry(key.clone()).or_default();
        }
        for (key, unit) in &mut self.units {
            match listed.get(key) {
                Some(status) => unit.row = Row::of(status, now),
                // A manager that is not running lists only the stuck units.
                None => unit.row.end(key, unit.tally.end),
            }
        }
    }

    /// The rows, sorted by key.
    pub(crate) fn rows(&self) -> Vec<&Row> {
        self.units.values().map(|unit| &unit.row).collect()
    }

    /// Adds a line about the event to the log, and counts the event.
    fn record(&mut self, event: &Event<String>) {
        self.log.add(line(event));
        let Some(key) = event.key() else { return };
        let tally = &mut self.units.entry(key.clone()).or_default().tally;
        match &event.what {
            Happening::Started => tally.starts += 1,
            Happening::Failed { error: Error::Panicked(_), .. } => tally.panics += 1,
            Happening::Failed { .. } => tally.failures += 1,
            Happening::Aborted { .. } => tally.aborts += 1,
            Happening::Stopped { error: None, forced: false } => tally.end = "stopped",
            Happening::Stopped { error: None, forced: true } => tally.end = "aborted",
            Happening::Stopped { .. } => tally.end = "failed",
            Happening::GaveUp { .. } => tally.end = "given up",
            Happening::Stuck => tally.end = "stuck",
            _ => {}
        }
    }

    /// The totals: the number of units in each state, and all restarts.
    pub(crate) fn totals(&self) -> String {
        let restarts: u64 = self.units.values().map(|unit| unit.row.restarts).sum();
        let plural = if restarts == 1 { "" } else { "s" };
        format!("{}; {restarts} restart{plural}", count(self.rows()))
    }

    /// A table of the counts of each unit.
    pub(crate) fn table(&self) -> String {
        let width = self.units.keys().map(String::len).max().unwrap_or(0);
        let mut table = format!("{:width$}  starts failures panics aborts  end\n", "unit");
        for (key, Unit { tally, .. }) in &self.units {
            let Tally { starts, failures, panics, aborts, end } = tally;
            table +=
                &format!("{key:width$}  {starts:6} {failures:8} {panics:6} {aborts:6}  {end}\n");
        }
        table
    }

    /// How the units ended: "17 stopped, 2 aborted, 1 given up".
    pub(crate) fn ends(&self) -> String {
        let mut ends = BTreeMap::<_, usize>::new();
        for unit in self.units.values() {
            *ends.entry(unit.tally.end).or_default() += 1;
        }
        let mut ends: Vec<_> = ends.into_iter().collect();
        ends.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        list(ends)
    }
}

fn line(event: &Event<String>) -> String {
    let Some(key) = event.key() else { return event.what.to_string() };
    let text = match &event.what {
        Happening::Failed { error, .. } => without_name(key, error.with_causes().to_string()),
        Happening::Stopped { error: Some(error), .. } => {
            format!("has stopped: it {}", without_name(key, error.with_causes().to_string()))
        }
        what => what.to_string(),
    };
    format!("{key} {text}")
}

/// The message of an error, without the name of the unit: "failed: no route to host".
fn without_name(key: &str, message: String) -> String {
    let name = format!("process `{key}` ");
    message.strip_prefix(&name).map(str::to_owned).unwrap_or(message)
}

impl Row {
    fn of(status: &Status<String>, now: Instant) -> Self {
        let since = now.saturating_duration_since(status.since);
        let (state, text) = match (status.state, status.next_restart) {
            (State::Running, _) => (Shown::Running, format!("running for {}", Seconds(since))),
            (State::Waiting, Some(due)) => {
                let left = due.saturating_duration_since(now);
                (Shown::Waiting, format!("waiting, starts in {}", Seconds(left)))
            }
            (State::Waiting, None) => (Shown::Waiting, "waiting".to_owned()),
            (State::Stopping, _) => {
                let text = match status.deadline_in().map(Seconds) {
                    Some(left) if status.aborted => format!("stopping, aborted ({left} left)"),
                    Some(left) => format!("stopping, abort in {left}"),
                    None => "stopping".to_owned(),
                };
                (Shown::Stopping, text)
            }
            (State::Stuck, _) => (Shown::Stuck, format!("stuck for {}", Seconds(since))),
            (State::GivenUp, _) => (Shown::GivenUp, "given up".to_owned()),
            (State::Ended | State::Stopped, _) => (Shown::Stopped, status.state.to_string()),
            (State::Initial | State::Loading | State::Starting, _) => {
                (Shown::Starting, status.state.to_string())
            }
            (other, _) => (Shown::Stopping, other.to_string()),
        };
        let error = status.last_error.as_ref();
        let error = error.map(|error| without_name(&status.key, error.with_causes().to_string()));
        let error = error.unwrap_or_default();
        Self { key: status.key.clone(), state, text, restarts: status.restarts, error }
    }

    /// The row of a unit that is not listed any more.
    fn end(&mut self, key: &str, end: &str) {
        key.clone_into(&mut self.key);
        end.clone_into(&mut self.text);
        self.state = if end == "given up" { Shown::GivenUp } else { Shown::Stopped };
    }
}

impl Shown {
    fn word(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::GivenUp => "given up",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Running => "running",
        }
    }
}

/// The number of rows in each state: "14 running, 2 waiting".
pub(crate) fn count<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    for row in rows {
        *counts.entry(row.state).or_default() += 1;
    }
    list(counts.into_iter().rev().map(|(state, count)| (state.word(), count)))
}

fn list(counts: impl IntoIterator<Item = (&'static str, usize)>) -> String {
    let parts = counts.into_iter().map(|(word, count)| format!("{count} {word}"));
    let parts: Vec<_> = parts.collect();
    if parts.is_empty() { "no units".to_owned() } else { parts.join(", ") }
}

/// A duration: `4.2 s`, `4 min 12 s`, `3 h 05 min`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0..60 => write!(f, "{:.1} s", self.0.as_secs_f32()),
            seconds @ 60..3600 => write!(f, "{} min {:02} s", seconds / 60, seconds % 60),
            seconds => write!(f, "{} h {:02} min", seconds / 3600, seconds / 60 % 60),
        }
    }
}
