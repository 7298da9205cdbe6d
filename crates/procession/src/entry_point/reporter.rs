//! The reporter thread: formats the reports of `Main`, and writes them.
//!
//! Errors are formatted here and in a catch, because their `Display` is foreign code.

use std::collections::HashMap;
use std::env;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking::Parker;

#[cfg(feature = "tracing")]
use super::events;
use super::os::exit;
use super::report::{Listed, Next, Paint, Report, Summary, Waiting};
use super::shared::{Post, Shared};
use crate::run::catch::{catch, contain};
use crate::run::reports::SingleFailure;
use crate::value::sync::spawn_thread;
use crate::value::text::Escaped;
use crate::value::{Forced, Reason, Site, with_causes};

/// The time from the beginning of closing to the first report of a slow closing. More follow at doubling intervals.
const FIRST_REPORT: Duration = Duration::from_secs(5);

/// The delay of each such report, because the coarse clock may lag behind by this much.
const LATE: Duration = Duration::from_millis(15);

/// The number of identical failures that are written, and the interval at which the number of any more is written.
const ALIKE: usize = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// The maximum number of different failures that are remembered.
const KINDS: usize = 256;

/// Starts the thread. If the OS cannot create it, nothing is reported.
pub(super) fn start(shared: &Arc<Shared>, name: &str, process: String) {
    let parker = Parker::new();
    let unparker = parker.unparker();
    let reporter = Reporter {
        shared: shared.clone(),
        name: Escaped::name(name).to_string(),
        process,
        has_reported: false,
        reports: 0,
        alike: HashMap::new(),
        flush_at: None,
    };
    if spawn_thread(Some("procession-reports"), move || reporter.run(&parker)).is_ok() {
        shared.set_reporter(unparker);
    }
}

struct Reporter {
    shared: Arc<Shared>,
    /// The name of the program, escaped.
    name: String,
    /// The path of the root.
    #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "for events"))]
    process: String,
    /// Was there a report after which the end of the program must be reported too?
    has_reported: bool,
    /// The number of reports of a slow closing so far.
    reports: u32,
    /// The failures that were written, by their sites and messages.
    alike: HashMap<(Site, String), Alike>,
    flush_at: Option<Instant>,
}

/// Failures with the same site and message.
struct Alike {
    written: usize,
    /// The number of failures that were not written.
    more: usize,
    last: SingleFailure,
}

impl Reporter {
    fn run(mut self, parker: &Parker) {
        loop {
            match self.shared.next() {
                Some(Post::Quit) => return,
                Some(Post::Closed(code, forced, failures, written)) => {
                    if let Some(failures) = self.shared.take_lost() {
                        self.report(&Report::Lost { failures });
                    }
                    self.flush();
                    self.end(code, forced, failures);
                    self.call_at_end();
                    written.unpark();
                    return;
                }
                Some(post) => self.handle(post),
                None => match self.do_what_is_due() {
                    Some(next) => drop(parker.park_deadline(next)),
                    None => parker.park(),
                },
            }
        }
    }

    fn handle(&mut self, post: Post) {
        let (grace, may_exit) = (self.shared.rules.grace, self.shared.rules.may_exit);
        match post {
            // Nothing is written at once, but the time of the next report has changed.
            Post::Closing | Post::Closed(..) | Post::Quit => {}
            Post::FirstSignal(signal, was_closing) => {
                let since = self.shared.facts().closing_since.filter(|_| was_closing);
                self.report(&match since.map(|since| since.elapsed()) {
                    None => Report::Closing { signal, grace, may_exit },
                    Some(closing) => {
                        let next = self.next_step(closing);
                        Report::AlreadyClosing { signal, closing, next, may_exit }
                    }
                });
            }
            Post::SecondSignal(signal, aborted) => {
                let facts = self.shared.facts();
                let is_same = facts.closed_by == Some(signal);
                self.report(&Report::Aborting { signal, is_same, aborted, may_exit });
            }
            Post::ThirdSignal(signal, written) => {
                let open = self.shared.snapshot().map_or(0, |snapshot| snapshot.open());
                self.report(&Report::Exiting { signal, open });
                self.call_at_end();
                written.unpark();
            }
            Post::GraceOver(snapshot) => {
                let abort_grace = self.shared.rules.abort_grace;
                let exit_in = Some(abort_grace).filter(|limit| may_exit && *limit < Duration::MAX);
                let (grace, waiting) = (grace.unwrap_or_default(), Waiting::of(&snapshot));
                self.report(&Report::GraceOver { grace, exit_in, waiting });
            }
            Post::GaveUp => self.give_up(),
            Post::Failed(failure) => self.failed(failure),
            Post::Dump => {
                if let Some(snapshot) = self.shared.snapshot() {
                    self.report(&Report::Dump { tree: snapshot.to_string() });
                }
            }
        }
    }

    fn give_up(&mut self) {
        if self.shared.is_closed() {
            return;
        }
        let (code, may_exit) = (self.shared.code_by_force(), self.shared.rules.may_exit);
        if let Some(snapshot) = self.shared.snapshot() {
            let (abort_grace, waiting) = (self.shared.rules.abort_grace, Waiting::of(&snapshot));
            let teardowns = if may_exit { Listed::teardowns(&snapshot) } else { Listed::default() };
            self.report(&Report::GaveUp { abort_grace, code, may_exit, waiting, teardowns });
        }
        if may_exit && !self.shared.is_closed() {
            self.call_at_end();
            exit(i32::from(code));
        }
    }

    /// Calls the functions for the end of the program.
    fn call_at_end(&mut self) {
        for error in self.shared.call_at_end() {
            let message = catch(|| with_causes(&*error).to_string());
            let message =
                message.unwrap_or_else(|_| "its error panicked when it was printed".into());
            // A user's error is dropped in a catch too.
            contain(|| drop(error));
            self.report(&Report::EndFailed { message: Escaped::error(&message).to_string() });
        }
    }

    fn failed(&mut self, failure: SingleFailure) {
        if failure.is_recorded {
            self.has_reported = true;
            return;
        }
        let message = catch(|| failure.message());
        let message = message.unwrap_or_else(|_| "its error panicked when it was printed".into());
        let message = Escaped::error(&message).to_string();
        if self.alike.len() >= KINDS {
            self.flush();
            self.alike.clear();
        }
        let now = Instant::now();
        let alike = self.alike.entry((failure.label.site(), message.clone()));
        let alike = alike.or_insert_with(|| Alike { written: 0, more: 0, last: failure.clone() });
        if alike.written < ALIKE {
            alike.written += 1;
            self.report(&Report::Failed { failure, message, more: 0 });
        } else {
            alike.more += 1;
            self.flush_at.get_or_insert(now + MINUTE);
        }
    }

    /// Reports the number of failures that were not written.
    fn flush(&mut self) {
        self.flush_at = None;
        let more: Vec<_> = self
            .alike
            .iter_mut()
            .filter(|(_, alike)| alike.more > 0)
            .map(|((_, message), alike)| Report::Failed {
                failure: alike.last.clone(),
                message: message.clone(),
                more: std::mem::take(&mut alike.more),
            })
            .collect();
        for report in &more {
            self.report(report);
        }
    }

    /// Does everything that is due, and returns the time at which something is due again.
    fn do_what_is_due(&mut self) -> Option<Instant> {
        if let Some(failures) = self.shared.take_lost() {
            self.report(&Report::Lost { failures });
        }
        let now = Instant::now();
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        let since = self.shared.facts().closing_since;
        let since = since.filter(|_| !self.shared.rules.is_quiet && !self.shared.is_closed());
        let mut next_report = None;
        if let Some(since) = since {
            let after = |reports: u32| FIRST_REPORT.checked_mul(1_u32.checked_shl(reports)?);
            let due = |reports| since.checked_add(after(reports)? + LATE);
            if due(self.reports).is_some_and(|due| due <= now) {
                // If this thread was held up, all overdue reports are combined into one.
                while due(self.reports + 1).is_some_and(|due| due <= now) {
                    self.reports += 1;
                }
                let nominal = after(self.reports).unwrap_or_default();
                let elapsed = now.saturating_duration_since(since);
                let is_late = elapsed > nominal + Duration::from_millis(500);
                self.report_stall(if is_late { elapsed } else { nominal }, nominal);
                self.reports += 1;
            }
            next_report = due(self.reports);
        }
        [self.flush_at, next_report].into_iter().flatten().min()
    }

    /// What happens next, if the root has been Closing for `closing` and does not finish.
    fn next_step(&self, closing: Duration) -> Next {
        let (facts, rules) = (self.shared.facts(), &self.shared.rules);
        let left = |limit: Duration, since: Option<Instant>| {
            limit.saturating_sub(since.map_or(Duration::ZERO, |since| since.elapsed()))
        };
        let exits = rules.may_exit && rules.abort_grace < Duration::MAX;
        match (facts.aborting_since, rules.grace) {
            (Some(since), _) if exits => Next::Exit(left(rules.abort_grace, Some(since))),
            (Some(_), _) => Next::Aborted,
            (None, Some(grace)) => Next::Abort(grace.saturating_sub(closing)),
            (None, None) => {
                let reason = self.shared.root.upgrade().and_then(|root| root.reason());
                Next::Nothing { by_signal: matches!(reason, Some(Reason::Signal(_))) }
            }
        }
    }

    fn report_stall(&mut self, closing: Duration, next_report: Duration) {
        let Some(snapshot) = self.shared.snapshot() else { return };
        let next = self.next_step(closing);
        let waiting = Waiting::of(&snapshot);
        self.report(&Report::Stalled { closing, next_report, next, waiting });
    }

    /// Writes the last report, if there was another one before.
    fn end(&mut self, code: u8, forced: Option<Forced>, failures: usize) {
        let Some(since) = self.shared.facts().closing_since.filter(|_| self.has_reported) else {
            return;
        };
        let names = |forced: Forced| (forced.total(), forced.names().map(str::to_owned).collect());
        let (closing, forced) = (since.elapsed(), forced.map(names));
        self.report(&Report::Closed(Summary { closing, failures, forced, code }));
    }

    /// Are reports recorded as `tracing` events instead of written as texts?
    fn is_recorded(&self) -> bool {
        #[cfg(feature = "tracing")]
        return catch(events::are_wanted).unwrap_or(false);
        #[cfg(not(feature = "tracing"))]
        return false;
    }

    fn report(&mut self, report: &Report) {
        if self.shared.rules.is_quiet {
            return;
        }
        self.has_reported |= report.is_followed_up();
        // Whether a failure is recorded as an event was decided when it happened.
        if !matches!(report, Report::Failed { .. }) && self.is_recorded() {
            #[cfg(feature = "tracing")]
            contain(|| events::record(report, &self.process, self.shared.rules.grace));
            return;
        }
        if let Ok(text) = catch(|| report.text(&self.name, paint())) {
            write(&text);
        }
    }
}

/// Writes a text with one call. An error is ignored, because standard error may be closed.
pub(super) fn write(text: &str) {
    contain(|| drop(io::stderr().write_all(text.as_bytes())));
}

fn paint() -> Paint {
    let wants_none = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb");
    Paint(!wants_none && io::stderr().is_terminal())
}
