//! [`Log`]: the latest lines, which the view shows. Without a view, they go to standard error.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use procession::BoxError;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::terminal;

/// The maximum number of lines that are kept.
const KEPT: usize = 200;

/// The lines. Clones refer to the same log.
#[derive(Clone)]
pub(crate) struct Log {
    began: Instant,
    lines: Arc<Mutex<VecDeque<Line>>>,
}

#[derive(Clone)]
pub(crate) struct Line {
    /// The time since the program began.
    pub(crate) at: f32,
    pub(crate) text: String,
    /// Is it a warning from the library? Warnings are repeated at the end.
    pub(crate) is_warning: bool,
}

impl Log {
    /// Makes an empty log, which receives the reports of `Main`. Otherwise, these would be written over the view.
    pub(crate) fn install() -> Result<Self, BoxError> {
        let log = Self { began: Instant::now(), lines: Arc::default() };
        tracing_subscriber::registry().with(Reports(log.clone())).try_init()?;
        Ok(log)
    }

    /// Adds a line.
    pub(crate) fn add(&self, text: String) {
        self.add_line(text, false);
    }

    /// Adds a line; without a view, prints it to standard output.
    pub(crate) fn announce(&self, text: &str) {
        if terminal::is_taken() {
            self.add(text.to_owned());
        } else {
            // Standard output may be closed, which is no reason to panic.
            let _ = writeln!(io::stdout(), "{text}");
        }
    }

    /// The latest lines, the oldest first.
    pub(crate) fn latest(&self, count: usize) -> Vec<Line> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().skip(lines.len().saturating_sub(count)).cloned().collect()
    }

    /// The warnings among the lines, the oldest first.
    pub(crate) fn warnings(&self) -> Vec<Line> {
        let mut lines = self.latest(KEPT);
        lines.retain(|line| line.is_warning);
        lines
    }

    fn add_line(&self, text: String, is_warning: bool) {
        if !terminal::is_taken() {
            return say(&text);
        }
        let at = self.began.elapsed().as_secs_f32();
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(Line { at, text, is_warning });
    }
}

/// Writes a line to standard error. If that is closed, nobody reads the line.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "supervise: {text}");
}

/// Adds the reports of `Main` to the log. They are `tracing` events of the core, as are the failures and aborts of
/// single units, which the view reads from [`Manager::events`](procession_supervisor::Manager::events) instead.
struct Reports(Log);

impl<S: Subscriber> Layer<S> for Reports {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "procession" && *metadata.level() <= Level::INFO
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut report = Report::default();
        event.record(&mut report);
        let level = *event.metadata().level();
        match report.event.as_str() {
            "aborting" => return,
            // A failure that was handled. Failures that were not are events of the level ERROR.
            "failed" if level > Level::ERROR => return,
            // The program prints its own line about this, even if no signal closed it.
            "closed" => return,
            // `Main` is about to end the program, so nothing else will restore the terminal.
            "gave_up" => terminal::restore(),
            "signal" if report.stage == 3 => terminal::restore(),
            _ => {}
        }
        self.0.add_line(report.message, level <= Level::WARN);
    }
}

#[derive(Default)]
struct Report {
    event: String,
    stage: u64,
    message: String,
}

impl Visit for Report {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            value.clone_into(&mut self.event);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "stage" {
            self.stage = value;
        }
    }
}
