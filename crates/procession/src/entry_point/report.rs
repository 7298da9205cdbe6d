//! [`Report`]: the reports of `Main`, and their texts.

use std::fmt::Display;
use std::time::Duration;

use crate::run::reports::SingleFailure;
use crate::value::text::{Count, Elapsed, Processes, Signal, Span};
use crate::value::{Blockers, Snapshot};

/// The number of blockers that are listed.
const LISTED: usize = 16;

/// A report of `Main`. The numbers are those of the specification.
pub(super) enum Report {
    /// (1) The first signal has begun to close the program.
    Closing { signal: i32, grace: Option<Duration>, may_exit: bool },
    /// (1) The first signal has come while the program was closing, so its grace has begun before.
    AlreadyClosing { signal: i32, closing: Duration, next: Next, may_exit: bool },
    /// (2) The second signal has aborted it.
    Aborting { signal: i32, is_same: bool, aborted: usize, may_exit: bool },
    /// (3) The third signal ends it.
    Exiting { signal: i32, open: usize },
    /// (4) The program is still closing.
    Stalled {
        closing: Duration,
        #[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "for events"))]
        next_report: Duration,
        next: Next,
        waiting: Waiting,
    },
    /// (5) The grace has ended.
    GraceOver { grace: Duration, exit_in: Option<Duration>, waiting: Waiting },
    /// (6) The abort grace has ended, and the root is not Closed. If the program ends, the teardowns that have not begun
    /// will not run.
    GaveUp { abort_grace: Duration, code: u8, may_exit: bool, waiting: Waiting, teardowns: Listed },
    /// (7) A failure that nothing has handled, with its message.
    Failed { failure: SingleFailure, message: String, more: usize },
    /// The number of failures that came faster than they could be written.
    Lost { failures: usize },
    /// (8) The root is Closed.
    Closed(Summary),
    /// A function given to `at_end` has failed.
    EndFailed { message: String },
    /// The tree, which a signal has requested.
    Dump { tree: String },
}

/// What happens next if the program does not finish closing.
pub(super) enum Next {
    /// The grace ends after this time.
    Abort(Duration),
    /// The abort grace ends after this time.
    Exit(Duration),
    /// The program was aborted, and has no further deadline.
    Aborted,
    /// There is no deadline. If a signal began the closing, another one would abort it.
    Nothing { by_signal: bool },
}

impl Next {
    fn text(&self) -> String {
        match self {
            Self::Abort(left) => format!("grace ends in {}", Span(*left)),
            Self::Exit(left) => format!("exit in {} at the latest", Elapsed(*left)),
            Self::Aborted => "aborted".to_owned(),
            Self::Nothing { by_signal: true } => {
                "no deadline: send the signal again to abort".to_owned()
            }
            Self::Nothing { by_signal: false } => "no deadline".to_owned(),
        }
    }

    fn is_aborted(&self) -> bool {
        matches!(self, Self::Exit(_) | Self::Aborted)
    }
}

/// The number of open processes, and the items that the root waits for.
pub(super) struct Waiting {
    pub(super) open: usize,
    pub(super) listed: Listed,
}

/// Items of a snapshot, of which each is a line of a report, or an event.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) items: Blockers,
    /// The path of the process of each item.
    #[cfg(feature = "tracing")]
    pub(super) paths: Vec<String>,
}

/// How the program was closed.
pub(super) struct Summary {
    pub(super) closing: Duration,
    pub(super) failures: usize,
    /// If it was closed by force: the number of aborted items, and their names.
    pub(super) forced: Option<(usize, Vec<String>)>,
    pub(super) code: u8,
}

/// Says whether texts are coloured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Waiting {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        Self { open: snapshot.open(), listed: Listed::of(snapshot, snapshot.blockers(LISTED)) }
    }
}

impl Listed {
    /// The teardowns that have not begun.
    pub(super) fn teardowns(snapshot: &Snapshot) -> Self {
        Self::of(snapshot, snapshot.teardowns_left(LISTED))
    }

    #[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "for events"))]
    fn of(snapshot: &Snapshot, items: Blockers) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            paths: snapshot.paths(&items),
            items,
        }
    }
}

impl Report {
    /// The text of the first line, without the name of the program.
    pub(super) fn message(&self, paint: Paint) -> String {
        match self {
            Self::Closing { signal, grace, may_exit } => {
                let signal = Signal(*signal);
                let grace = match grace {
                    Some(grace) => format!("with a grace of {}", Span(*grace)),
                    None => "without a grace".to_owned(),
                };
                let exits = if *may_exit { ", a third exits at once" } else { "" };
                format!("{signal}: closing, {grace}. A second {signal} aborts{exits}.")
            }
            Self::AlreadyClosing { signal, closing, next, may_exit } => {
                let (signal, closing) = (Signal(*signal), Elapsed(*closing));
                let further = match (next.is_aborted(), may_exit) {
                    (false, true) => format!(" A second {signal} aborts, a third exits at once."),
                    (false, false) => format!(" A second {signal} aborts."),
                    (true, true) => format!(" A third {signal} exits at once."),
                    (true, false) => String::new(),
                };
                format!("{signal}: already closing for {closing}; {}.{further}", next.text())
            }
            Self::Aborting { signal, is_same, aborted, may_exit } => {
                let signal = Signal(*signal);
                let again = if *is_same { " again" } else { "" };
                let (aborting, aborted) = (paint.yellow("aborting"), Processes(*aborted));
                let exits = match may_exit {
                    true => format!(" A third {signal} exits at once."),
                    false => String::new(),
                };
                format!("{signal}{again}: {aborting} {aborted}.{exits}")
            }
            Self::Exiting { signal, open } => {
                let (name, code) = (Signal(*signal), 128 + signal);
                let (exiting, verb) = (paint.red("exiting"), if *open == 1 { "is" } else { "are" });
                let open = Processes(*open);
                format!(
                    "{name} a third time: {exiting} with code {code}; {open} {verb} still open."
                )
            }
            Self::Stalled { closing, next, waiting, .. } => {
                let (still, open) = (paint.yellow("still closing"), Processes(waiting.open));
                let closing = Elapsed(*closing);
                let next = next.text();
                format!("{still} after {closing}, {open} open; {next}. Waiting for:")
            }
            Self::GraceOver { grace, exit_in, waiting } => {
                let (grace, aborting) = (Span(*grace), paint.yellow("aborting"));
                let aborted = Processes(waiting.open);
                let exit = match exit_in {
                    Some(left) => format!("; exit in {} at the latest", Elapsed(*left)),
                    None => String::new(),
                };
                format!(
                    "the grace of {grace} is over: {aborting} {aborted}{exit}. Still waiting for:"
                )
            }
            Self::GaveUp { abort_grace, code, may_exit, .. } => {
                let late = format!("not closed {} after the abort", Elapsed(*abort_grace));
                match may_exit {
                    true => {
                        format!("{late}: {} with code {code}. Still open:", paint.red("exiting"))
                    }
                    false => format!("{late}. Still open:"),
                }
            }
            Self::Failed { failure, message, more } => {
                let line = failure.line(message, |verb| paint.red(verb), |site| paint.dim(site));
                match more {
                    0 => line,
                    more => format!("{line} … and {} more like it", Count(*more)),
                }
            }
            Self::Lost { failures } => format!("… and {} more", plural(*failures, "failure")),
            Self::Closed(summary) => summary.message(),
            Self::EndFailed { message } => message.clone(),
            Self::Dump { .. } => "the processes:".to_owned(),
        }
    }

    /// The whole text: lines that begin with the name of the program.
    pub(super) fn text(&self, name: &str, paint: Paint) -> String {
        let prefix = format!("{} ", paint.bold(format_args!("{name}:")));
        if let Self::Dump { tree } = self {
            return tree.lines().fold(String::new(), |all, line| all + &prefix + line + "\n");
        }
        let mut text = format!("{prefix}{}\n", self.message(paint));
        let list = |listed: &Listed| {
            let lines = listed.lines(paint).into_iter();
            lines.map(|line| format!("{prefix}  {line}\n")).collect::<String>()
        };
        if let Some(waiting) = self.waiting() {
            text += &list(&waiting.listed);
        }
        if let Some(teardowns) = self.teardowns() {
            text +=
                &format!("{prefix}{} will not run:\n", plural(teardowns.items.total, "teardown"));
            text += &list(teardowns);
        }
        text
    }

    pub(super) fn waiting(&self) -> Option<&Waiting> {
        match self {
            Self::Stalled { waiting, .. }
            | Self::GraceOver { waiting, .. }
            | Self::GaveUp { waiting, .. } => Some(waiting),
            _ => None,
        }
    }

    /// The teardowns that will not run, if there are any.
    pub(super) fn teardowns(&self) -> Option<&Listed> {
        match self {
            Self::GaveUp { teardowns, .. } if teardowns.items.total > 0 => Some(teardowns),
            _ => None,
        }
    }

    /// Must the end of the program be reported after this?
    pub(super) fn is_followed_up(&self) -> bool {
        !matches!(self, Self::Dump { .. })
    }
}

impl Listed {
    fn lines(&self, paint: Paint) -> Vec<String> {
        let dim_site = |item: &crate::value::Blocker| {
            let (line, site) = (item.to_string(), format!("({})", item.site));
            match line.rsplit_once(&site) {
                Some((before, after)) => format!("{before}{}{after}", paint.dim(&site)),
                None => line,
            }
        };
        let mut lines: Vec<_> = self.items.first.iter().map(dim_site).collect();
        if self.items.more() > 0 {
            lines.push(format!("… and {} more", Count(self.items.more())));
        }
        lines
    }
}

impl Summary {
    fn message(&self) -> String {
        let Self { closing, failures, forced, code } = self;
        let closed = format!("closed in {}", Elapsed(*closing));
        match (forced, failures) {
            (Some((total, names)), _) => {
                let verb = if *total == 1 { "was" } else { "were" };
                let (aborted, names) = (Processes(*total), names.join(", "));
                let names = if names.is_empty() { names } else { format!(" ({names})") };
                format!("{closed} by force: {aborted} {verb} aborted{names}; exit code {code}")
            }
            (None, 0) if *code == 0 => closed,
            (None, 0) => format!("{closed}; exit code {code}"),
            (None, failures) => {
                format!("{closed} with {}; exit code {code}", plural(*failures, "failure"))
            }
        }
    }

    /// The outcome in one word.
    #[cfg(feature = "tracing")]
    pub(super) fn outcome(&self) -> &'static str {
        match (&self.forced, self.code) {
            (Some(_), _) => "forced",
            (None, 0) => "ok",
            (None, _) => "failed",
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{} {noun}{}", Count(count), if count == 1 { "" } else { "s" })
}

impl Paint {
    fn with(self, code: u8, text: impl Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    fn bold(self, text: impl Display) -> String {
        self.with(1, text)
    }

    fn dim(self, text: impl Display) -> String {
        self.with(2, text)
    }

    fn yellow(self, text: impl Display) -> String {
        self.with(33, text)
    }

    fn red(self, text: impl Display) -> String {
        self.with(31, text)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Listed, Next, Paint, Report, Summary, Waiting};

    const SECOND: Duration = Duration::from_secs(1);

    fn waiting(open: usize) -> Waiting {
        Waiting { open, listed: Listed::default() }
    }

    fn plain(report: &Report) -> String {
        report.text("app", Paint(false))
    }

    /// The texts of the specification, byte by byte.
    #[test]
    fn the_texts_are_those_of_the_specification() {
        let closing = |signal, grace| Report::Closing { signal, grace, may_exit: true };
        assert_eq!(
            plain(&closing(2, Some(30 * SECOND))),
            "app: SIGINT: closing, with a grace of 30 s. A second SIGINT aborts, a third exits at once.\n"
        );
        assert_eq!(
            plain(&closing(15, None)),
            "app: SIGTERM: closing, without a grace. A second SIGTERM aborts, a third exits at once.\n"
        );
        let report = Report::Aborting { signal: 2, is_same: true, aborted: 44, may_exit: true };
        assert_eq!(
            plain(&report),
            "app: SIGINT again: aborting 44 processes. A third SIGINT exits at once.\n"
        );
        let report = Report::Exiting { signal: 2, open: 2 };
        assert_eq!(
            plain(&report),
            "app: SIGINT a third time: exiting with code 130; 2 processes are still open.\n"
        );
        let stalled = |next| Report::Stalled {
            closing: 5 * SECOND,
            next_report: 5 * SECOND,
            next,
            waiting: waiting(44),
        };
        assert_eq!(
            plain(&stalled(Next::Abort(25 * SECOND))),
            "app: still closing after 5.0 s, 44 processes open; grace ends in 25 s. Waiting for:\n"
        );
        assert_eq!(
            stalled(Next::Abort(25 * SECOND)).text("app", Paint(true)),
            "\x1b[1mapp:\x1b[0m \x1b[33mstill closing\x1b[0m after 5.0 s, 44 processes open; \
             grace ends in 25 s. Waiting for:\n"
        );
        let report = Report::GraceOver {
            grace: 30 * SECOND,
            exit_in: Some(5 * SECOND),
            waiting: waiting(44),
        };
        assert_eq!(
            plain(&report),
            "app: the grace of 30 s is over: aborting 44 processes; exit in 5.0 s at the latest. \
             Still waiting for:\n"
        );
        let (abort_grace, waiting) = (5 * SECOND, waiting(2));
        let teardowns = Listed::default();
        let report = Report::GaveUp { abort_grace, code: 130, may_exit: true, waiting, teardowns };
        assert_eq!(
            plain(&report),
            "app: not closed 5.0 s after the abort: exiting with code 130. Still open:\n"
        );
    }

    #[test]
    fn the_last_report_says_how_the_program_closed() {
        let closed = |millis, failures, forced, code| {
            let closing = Duration::from_millis(millis);
            plain(&Report::Closed(Summary { closing, failures, forced, code }))
        };
        assert_eq!(closed(41, 0, None, 0), "app: closed in 41 ms\n");
        assert_eq!(
            closed(6_300, 2, None, 1),
            "app: closed in 6.3 s with 2 failures; exit code 1\n"
        );
        let names = vec!["app › db › cache".into(), "app › http › session-42 and 37 more".into()];
        assert_eq!(
            closed(31_200, 0, Some((39, names)), 130),
            "app: closed in 31.2 s by force: 39 processes were aborted (app › db › cache, \
             app › http › session-42 and 37 more); exit code 130\n"
        );
    }
}
