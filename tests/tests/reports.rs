//! What `Main` reports, its exit statuses, and the rule that nothing fails silently (I17).

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use procession_tests::LIMIT;
use procession_tests::program::{Program, example};
use rustix::process::Signal;

const FILE: &str = "tests/src/bin/reports.rs";

/// A backtrace is written in many pieces, between which reports of other threads may come.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reports"));
    command.args(arguments).env_remove("NO_COLOR").env("TERM", "xterm").env("RUST_BACKTRACE", "0");
    command
}

/// Runs a program that ends without a signal. Returns its exit status, its standard output and its standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The lines of standard error while the program runs.
struct Errors(Receiver<String>);

impl Errors {
    fn of(errors: impl Read + Send + 'static) -> Self {
        let (give, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let _ = give.send(line);
            }
        });
        Self(lines)
    }

    #[track_caller]
    fn next(&self) -> String {
        self.0.recv_timeout(LIMIT).unwrap()
    }

    fn rest(self) -> Vec<String> {
        self.0.iter().collect()
    }
}

fn start(arguments: &[&str]) -> (Program, Errors) {
    let mut command = command(arguments);
    let (program, errors) = Program::start_with_errors(command.stderr(Stdio::piped()));
    program.read_to("ready");
    (program, Errors::of(errors))
}

/// The lines that `Main` wrote, without the panic messages of bodies, which the panic hook writes.
fn reports(errors: &str) -> Vec<&str> {
    errors.lines().filter(|line| line.starts_with("app: ")).collect()
}

/// Checks the last line: how long closing took, and how it ended.
#[track_caller]
fn assert_closed(line: &str, end: &str) {
    let rest = line.strip_prefix("app: closed in ").unwrap_or_else(|| panic!("{line}"));
    let (number, rest) = rest.split_once(' ').unwrap();
    assert!(number.parse::<f64>().is_ok(), "{line}");
    let unit = ["µs", "ms", "s"].into_iter().find_map(|unit| rest.strip_prefix(unit));
    assert_eq!(unit, Some(end), "{line}");
}

/// A program that ends without a signal or a failure reports nothing.
#[test]
fn a_program_that_closes_well_reports_nothing() {
    assert_eq!(run(&["ends"]), (Some(0), "ready\n".into(), String::new()));
    assert_eq!(run(&["ends", "soon"]), (Some(0), "ready\n".into(), String::new()));
}

/// The report of the first signal has its name, the grace and what the next signal does. The last line says how long
/// closing took.
#[test]
fn the_first_signal_is_reported() {
    for (options, grace, signal, name) in [
        (&["serve"][..], "without a grace", Signal::INT, "SIGINT"),
        (&["serve", "grace"], "with a grace of 30 s", Signal::TERM, "SIGTERM"),
    ] {
        let (mut program, errors) = start(options);
        program.signal(signal);
        let closing = format!(
            "app: {name}: closing, {grace}. A second {name} aborts, a third exits at once."
        );
        assert_eq!(errors.next(), closing);
        assert_closed(&errors.next(), "");
        assert_eq!(program.status().code(), Some(0));
        assert!(errors.rest().is_empty());
    }
}

/// A signal to a program that is closing begins nothing: the report says how long the closing has lasted, and when the
/// grace that has begun before will end.
#[test]
fn a_signal_to_a_closing_program_does_not_begin_a_grace() {
    for (options, next) in [
        (&["close-itself", "grace"][..], "; grace ends in 2"),
        (&["close-itself"], "; no deadline. A second"),
    ] {
        let (mut program, errors) = start(options);
        program.signal(Signal::INT);
        let line = errors.next();
        assert!(line.starts_with("app: SIGINT: already closing for "), "{line}");
        assert!(line.contains(next), "{line}");
        assert!(line.ends_with(". A second SIGINT aborts, a third exits at once."), "{line}");
        program.signal(Signal::INT);
        assert!(errors.next().starts_with("app: SIGINT again: aborting 2 processes."));
        assert_eq!(program.status().code(), Some(130));
    }
}

/// The report of the second signal has the number of processes that it aborts. The last line names them, and has the
/// exit code.
#[test]
fn the_second_signal_is_reported() {
    let (mut program, errors) = start(&["stubborn"]);
    program.signal(Signal::INT);
    assert!(errors.next().starts_with("app: SIGINT: closing"));
    program.signal(Signal::INT);
    let aborting = "app: SIGINT again: aborting 2 processes. A third SIGINT exits at once.";
    assert_eq!(errors.next(), aborting);
    let end = " by force: 1 process was aborted (app › stubborn); exit code 130";
    assert_closed(&errors.next(), end);
    assert_eq!(program.status().code(), Some(130));
}

/// The third signal ends the program, whatever hangs. With `no_exit`, it does nothing.
#[test]
fn the_third_signal_is_reported_and_ends_the_program() {
    let (mut program, errors) = start(&["hang", "for-ever"]);
    program.signal(Signal::TERM);
    assert!(errors.next().starts_with("app: SIGTERM: closing"));
    program.signal(Signal::INT);
    assert!(errors.next().starts_with("app: SIGINT: aborting 2 processes."));
    program.read_to("hanging");
    program.signal(Signal::INT);
    let exiting = "app: SIGINT a third time: exiting with code 130; 2 processes are still open.";
    assert_eq!(errors.next(), exiting);
    assert_eq!(program.status().code(), Some(130));

    let (mut program, errors) = start(&["hang", "for-ever", "no-exit"]);
    program.signal(Signal::TERM);
    let closing = "app: SIGTERM: closing, without a grace. A second SIGTERM aborts.";
    assert_eq!(errors.next(), closing);
    program.signal(Signal::TERM);
    assert_eq!(errors.next(), "app: SIGTERM again: aborting 2 processes.");
    program.signal(Signal::TERM);
    program.signal(Signal::USR1);
    assert!(errors.next().starts_with("app: app: Aborting for "));
    assert!(!program.has_ended());
}

/// I10, I15: while standard error is a full pipe, the third signal still ends the program.
#[test]
fn a_full_pipe_does_not_delay_the_third_signal() {
    let mut command = command(&["flood", "for-ever", "grace"]);
    let (mut program, _errors) = Program::start_with_errors(command.stderr(Stdio::piped()));
    program.read_to("ready");
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    program.read_to("hanging");
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(130));
}

/// At the end of the grace, the report has what is aborted and what it waits for. The last line has the exit code.
#[test]
fn the_end_of_the_grace_is_reported() {
    let over = "app: the grace of 100 ms is over: aborting 2 processes; exit in 5.0 s at the latest. \
                Still waiting for:";
    let blocker = |line: &str| {
        let start = format!("app:   app › stubborn: thread body `stubborn` ({FILE}:");
        assert!(line.starts_with(&start), "{line}");
        assert!(line.contains("), asked to close ") && line.ends_with(" ms ago"), "{line}");
    };
    let end = |code| format!(" by force: 1 process was aborted (app › stubborn); exit code {code}");

    let (status, _, errors) = run(&["close-itself", "soon"]);
    assert_eq!(status, Some(70), "{errors}");
    let lines: Vec<_> = errors.lines().collect();
    assert_eq!(lines[0], over);
    blocker(lines[1]);
    assert_closed(lines[2], &end(70));
    assert_eq!(lines.len(), 3, "{errors}");

    let (mut program, errors) = start(&["stubborn", "soon"]);
    program.signal(Signal::TERM);
    let closing = "app: SIGTERM: closing, with a grace of 100 ms. A second SIGTERM aborts, \
                   a third exits at once.";
    assert_eq!(errors.next(), closing);
    assert_eq!(errors.next(), over);
    blocker(&errors.next());
    assert_closed(&errors.next(), &end(143));
    assert_eq!(program.status().code(), Some(143));
}

/// I17: an abort that the program itself asked for adds nothing to the reports or to the exit status.
#[test]
fn an_explicit_abort_is_not_reported() {
    assert_eq!(run(&["aborts-itself", "soon"]), (Some(0), "ready\n".into(), String::new()));
}

/// If a teardown never ends, or a body ignores everything, `Main` reports at the end of the abort grace what is still
/// open, and ends the program. With a signal and without.
#[test]
fn the_end_of_the_abort_grace_is_reported() {
    let (status, _, errors) = run(&["teardown", "soon", "give-up"]);
    assert_eq!(status, Some(70), "{errors}");
    let lines: Vec<_> = errors.lines().collect();
    assert!(lines[0].ends_with("exit in 200 ms at the latest. Still waiting for:"), "{errors}");
    let teardown = "app:   app › store: teardown on thread `procession-";
    assert!(lines[1].starts_with(teardown), "{errors}");
    let gave_up = "app: not closed 200 ms after the abort: exiting with code 70. Still open:";
    assert_eq!(lines[2], gave_up);
    assert!(lines[3].starts_with(teardown) && lines[3].contains(", aborted "), "{errors}");
    assert_eq!(lines.len(), 4, "{errors}");

    let (mut program, errors) = start(&["hang", "soon", "give-up"]);
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(130));
    let rest = errors.rest();
    let gave_up = "app: not closed 200 ms after the abort: exiting with code 130. Still open:";
    assert!(rest.iter().any(|line| line == gave_up), "{rest:#?}");
}

/// I2: when `Main` ends the program, it names each teardown that has not run, including those that only wait for others.
#[test]
fn teardowns_that_will_not_run_are_named() {
    let (status, printed, errors) = run(&["order", "soon", "give-up"]);
    assert_eq!((status, &*printed), (Some(70), "torn\nready\n"), "{errors}");
    let lines: Vec<_> = errors.lines().collect();
    let gave_up = "app: not closed 200 ms after the abort: exiting with code 70. Still open:";
    let position = lines.iter().position(|line| *line == gave_up).unwrap();
    let [cache, server, header, teardowns @ .., more] = &lines[position + 1..] else {
        panic!("{errors}")
    };
    assert!(cache.starts_with("app:   app › cache: thread body `cache` ("), "{errors}");
    assert!(server.starts_with("app:   app › hung ⇢ server: nobody has asked it to close ("));
    assert_eq!(*header, "app: 32 teardowns will not run:");
    let expected =
        ["app", "app › cache", "app › log", "app › db", "app › file-0 and 11 more `file`"];
    let letters = ('a'..='k').map(|letter| format!("app › {letter}"));
    let expected: Vec<_> = expected.into_iter().map(String::from).chain(letters).collect();
    assert_eq!(teardowns.len(), expected.len(), "{errors}");
    for (line, expected) in teardowns.iter().zip(&expected) {
        assert!(line.starts_with(&format!("app:   {expected}: teardown ({FILE}:")), "{line}");
    }
    assert_eq!(*more, "app:   … and 5 more");

    // With `no_exit`, the program goes on, so the teardowns may still run.
    let (mut program, errors) = start(&["order", "soon", "give-up", "no-exit"]);
    let gave_up = "app: not closed 200 ms after the abort. Still open:";
    while errors.next() != gave_up {}
    let blockers = [errors.next(), errors.next()];
    assert!(blockers.iter().all(|line| line.starts_with("app:   app › ")), "{blockers:?}");
    assert!(!program.has_ended());
    program.signal(Signal::KILL);
    assert!(errors.rest().iter().all(|line| !line.contains("will not run")));

    let (_, printed, errors) = run(&["order", "soon", "give-up", "traced"]);
    assert_eq!(errors, "");
    let events: Vec<_> = printed.lines().filter(|line| line.contains(" will_not_run ")).collect();
    assert_eq!(events.len(), 16, "{printed}");
    let file = "ERROR will_not_run message=app › file-0 and 11 more `file`: teardown (";
    let file = events.iter().find(|line| line.starts_with(file)).expect("the family is named");
    assert!(file.contains(" process=\"app/file-0\" chain=\"app › file-0 and 11 more\""), "{file}");
    assert!(file.ends_with(" more=11"), "{file}");
    assert!(printed.contains(" teardowns=32 exit_code=70"), "{printed}");
}

/// The number of seconds in a line after `before`.
#[track_caller]
fn seconds(line: &str, before: &str) -> f64 {
    let number = line.split_once(before).and_then(|(_, rest)| rest.split_once(" s"));
    number.and_then(|(number, _)| number.parse().ok()).unwrap_or_else(|| panic!("{line}"))
}

/// Checks a time in the first report, which comes after 5 s, and before the grace is over.
#[track_caller]
fn assert_first_stall(seconds: f64, line: &str) {
    assert!((5.0..30.0).contains(&seconds), "{line}");
}

/// I18: 5 s after the signal, the first report of a program with 110 processes names the three that do not end, and no
/// other.
#[test]
fn the_first_stall_report_names_three_of_110_processes() {
    let (mut program, errors) = start(&["culprits", "grace"]);
    let start = Instant::now();
    program.signal(Signal::INT);
    assert!(errors.next().starts_with("app: SIGINT: closing, with a grace of 30 s."));
    // On a busy machine, it may come a little later.
    let stalled = errors.next();
    assert_first_stall(seconds(&stalled, "app: still closing after "), &stalled);
    assert!(stalled.contains(" s, 6 processes open; grace ends in "), "{stalled}");
    assert!(start.elapsed() >= Duration::from_secs(5));
    let mut lines = [(); 3].map(|()| errors.next());
    lines.sort();
    for (line, expected) in lines.iter().zip([
        "app › db › cache: thread body `cache`",
        "app › db › index: async body",
        "app › http › session-42: async body",
    ]) {
        assert!(line.starts_with(&format!("app:   {expected} ({FILE}:")), "{line}");
        assert!(line.ends_with(" s ago"), "{line}");
        assert_first_stall(seconds(line, "), asked to close "), line);
    }
    program.signal(Signal::INT);
    let aborting = "app: SIGINT again: aborting 6 processes. A third SIGINT exits at once.";
    assert_eq!(errors.next(), aborting);
    let closed = errors.next();
    assert!(closed.contains(" by force: 3 processes were aborted (app › "), "{closed}");
    assert!(closed.ends_with("; exit code 130"), "{closed}");
    assert_eq!(program.status().code(), Some(130));
}

/// I17: failures that nothing handles are reported, and make the exit status 1.
#[test]
fn unhandled_failures_are_reported() {
    let (status, _, errors) = run(&["fails"]);
    assert_eq!(status, Some(1), "{errors}");
    let mut lines = reports(&errors);
    assert_closed(lines.pop().unwrap(), " with 2 failures; exit code 1");
    lines.sort();
    assert!(lines[0].starts_with(&format!("app: app › reader panicked: out of paper ({FILE}:")));
    assert!(lines[1].starts_with(&format!("app: app › writer failed: disk full ({FILE}:")));
    assert_eq!(lines.len(), 2, "{errors}");
    let (status, _, errors) = run(&["background"]);
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.starts_with("app: background › job failed: disk full ("), "{errors}");
    let roots = [
        ("unread-roots", ["closed", "limited", "task", "teardown", "thread"]),
        ("dropped-roots", ["closes for › child", "handle", "waiter", "waiter first", "with child"]),
    ];
    for (how, names) in roots {
        let (status, _, errors) = run(&[how]);
        let mut failed = reports(&errors);
        assert_closed(failed.pop().unwrap(), " with 5 failures; exit code 1");
        failed.sort_unstable();
        let expected = names.map(|name| format!("app: {name} failed: disk full ({FILE}:"));
        assert_eq!((status, failed.len()), (Some(1), names.len()), "{errors}");
        for (line, expected) in failed.iter().zip(expected) {
            assert!(line.starts_with(&expected), "{errors}");
        }
    }
    assert_eq!(run(&["read-roots"]), (Some(0), "ready\n".into(), String::new()));
    let (status, _, errors) = run(&["detached"]);
    assert_eq!(status, Some(1), "{errors}");
    assert_eq!(reports(&errors).len(), 3, "{errors}");
    assert!(errors.contains("detached") && errors.contains("read too late"), "{errors}");
    let (status, _, errors) = run(&["periodic"]);
    assert_eq!(status, Some(1), "{errors}");
    assert_eq!(errors.matches("failed: disk full").count(), 3, "{errors}");
}

/// I17: a body that returns the error of another process does not report it again. With `?`, the error of a task is
/// reported as the failure of the body that read it.
#[test]
fn a_failure_that_is_handed_on_is_reported_once() {
    for what in ["handed-on", "question-mark"] {
        let (status, _, errors) = run(&[what]);
        assert_eq!(status, Some(1), "{what}: {errors}");
        let lines = reports(&errors);
        let [failure, closed] = lines[..] else { panic!("{what}: {errors}") };
        assert!(failure.ends_with(" failed: disk full"), "{what}: {failure}");
        assert_closed(closed, " with 1 failure; exit code 1");
    }
}

/// I17: of two `Main`s in one program, each reports only the failures below it.
#[test]
fn each_main_reports_its_own_failures() {
    let (status, printed, errors) = run(&["two-mains"]);
    assert_eq!(status, Some(0), "{errors}");
    let lines: Vec<_> = errors.lines().collect();
    let [failure, closed] = lines[..] else { panic!("{errors}") };
    assert!(failure.starts_with("other: other › tests/src/bin/reports.rs:"), "{errors}");
    assert!(
        closed.starts_with("other: closed in ") && closed.ends_with(" exit code 1"),
        "{errors}"
    );
    assert!(printed.contains("other: Exit"), "{printed}");
}

/// I17: each way to handle a failure keeps it out of the reports.
#[test]
fn handled_failures_are_not_reported() {
    let (status, _, errors) = run(&["handled"]);
    assert_eq!((status, reports(&errors).len()), (Some(0), 0), "{errors}");
    let (status, printed, errors) = run(&["fails", "hooked"]);
    assert_eq!((status, reports(&errors).len()), (Some(0), 0), "{errors}");
    assert_eq!(printed.matches("hook: ").count(), 2, "{printed}");
    let (status, _, errors) = run(&["fails", "ignore"]);
    assert_eq!((status, reports(&errors).len()), (Some(0), 0), "{errors}");
    // The failure is part of the outcome, which decides the exit status.
    let (status, _, errors) = run(&["fails", "close"]);
    assert_eq!((status, reports(&errors).len()), (Some(1), 0), "{errors}");
}

/// Names and errors are escaped, so they cannot control a terminal. A `Display` that panics does no harm.
#[test]
fn hostile_names_and_errors_are_escaped() {
    let (status, _, errors) = run(&["nasty"]);
    assert_eq!(status, Some(1), "{errors}");
    let nasty = "app: app › a\\u{1b}[2J failed: two\\u{a}lines\\u{202e} (";
    assert!(errors.contains(nasty), "{errors}");
    assert!(errors.contains(" failed: its error panicked when it was printed"), "{errors}");
    assert!(!errors.contains('\u{1b}'), "{errors}");
}

/// Identical failures are reported three times, and then counted.
#[test]
fn identical_failures_are_counted() {
    let (status, _, errors) = run(&["alike"]);
    assert_eq!(status, Some(1), "{errors}");
    let lines: Vec<_> = errors.lines().collect();
    for (number, line) in lines[..3].iter().enumerate() {
        assert!(line.starts_with(&format!("app: app › writer-{number} failed: disk full (")));
    }
    assert!(lines[3].ends_with(" … and 7 more like it"), "{errors}");
    assert_closed(lines[4], " with 10 failures; exit code 1");
}

/// `quiet` silences the reports, but keeps the exit statuses.
#[test]
fn quiet_reports_nothing() {
    for (arguments, code) in [
        (&["fails", "ignore", "quiet"][..], 0),
        (&["alike", "quiet"], 1),
        (&["close-itself", "soon", "quiet"], 70),
        (&["teardown", "soon", "give-up", "quiet"], 70),
        (&["alike", "quiet", "traced"], 1),
    ] {
        let (status, printed, errors) = run(arguments);
        assert_eq!((status, reports(&errors).len()), (Some(code), 0), "{arguments:?}: {errors}");
        assert_eq!(printed, "ready\n");
    }
}

/// A program whose standard error is closed still ends with the right status.
#[test]
fn a_closed_standard_error_does_no_harm() {
    let mut command = command(&["alike", "grace"]);
    let (mut program, errors) = Program::start_with_errors(command.stderr(Stdio::piped()));
    drop(errors);
    assert_eq!(program.status().code(), Some(1));
}

/// `dump_on`: the signal prints the tree.
#[test]
fn dump_on_prints_the_tree() {
    let (mut program, errors) = start(&["stubborn"]);
    program.signal(Signal::USR1);
    assert!(errors.next().starts_with("app: app: Running"));
    let child = errors.next();
    assert!(child.starts_with("app: └─ stubborn: Running, thread body"), "{child}");
    program.signal(Signal::INT);
    assert!(errors.next().starts_with("app: SIGINT: closing"));
    program.signal(Signal::TERM);
    assert_eq!(program.status().code(), Some(143));
}

/// On a terminal, reports have colour, unless the environment forbids it.
#[test]
fn reports_on_a_terminal_have_colour() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let colours = |variable: Option<(&str, &str)>| {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
        let end = File::options().read(true).write(true).open(name).unwrap();
        let mut command = command(&["stubborn"]);
        command.stderr(end);
        command.envs(variable);
        let mut program = Program::start(&mut command);
        drop(command);
        program.read_to("ready");
        let errors = Errors::of(File::from(terminal));
        program.signal(Signal::INT);
        let first = errors.next();
        program.signal(Signal::INT);
        let second = errors.next();
        assert_eq!(program.status().code(), Some(130));
        (first, second)
    };
    let (first, second) = colours(None);
    assert!(first.starts_with("\u{1b}[1mapp:\u{1b}[0m SIGINT: closing"), "{first}");
    let aborting = "\u{1b}[1mapp:\u{1b}[0m SIGINT again: \u{1b}[33maborting\u{1b}[0m 2 processes.";
    assert!(second.starts_with(aborting), "{second}");
    for variable in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        assert!(colours(Some(variable)).1.starts_with("app: SIGINT again: aborting"));
    }
}

/// With a `tracing` subscriber, reports are events, and standard error stays empty.
#[test]
fn a_subscriber_gets_events_instead_of_reports() {
    let (status, printed, errors) = run(&["alike", "traced"]);
    assert_eq!((status, errors.as_str()), (Some(1), ""));
    let failed: Vec<_> = printed.lines().filter(|line| line.starts_with("ERROR failed")).collect();
    assert_eq!(failed.len(), 10, "{printed}");
    for field in [
        " process=\"app/writer-0\"",
        " kind=\"error\"",
        " error=\"disk full\"",
        &format!(" site={FILE}:"),
        "message=app › writer-0 failed: disk full (",
    ] {
        assert!(failed[0].contains(field), "{}", failed[0]);
    }
    let closed = printed.lines().last().unwrap();
    assert!(closed.starts_with("WARN closed message=closed in "), "{closed}");
    assert!(closed.contains(" outcome=\"failed\" failures=10 aborted=0 exit_code=1"), "{closed}");

    let mut command = command(&["stubborn", "soon", "traced"]);
    let (mut program, errors) = Program::start_with_errors(command.stderr(Stdio::piped()));
    program.read_to("ready");
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(130));
    let lines = program.rest();
    for (line, expected) in lines.iter().zip([
        "INFO signal message=SIGINT: closing, with a grace of 100 ms.",
        "WARN grace_over message=the grace of 100 ms is over: aborting 2 processes;",
        "WARN blocked_by message=app › stubborn: thread body `stubborn` (",
        "WARN closed message=closed in ",
    ]) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert!(lines[0].ends_with(" process=\"app\" signal=\"SIGINT\" stage=1 grace_ms=100"));
    assert!(lines[1].ends_with(" process=\"app\" grace_ms=100 aborted=2"), "{}", lines[1]);
    for field in [
        " process=\"app/stubborn\"",
        " chain=\"app › stubborn\"",
        " kind=\"thread_body\"",
        " thread=\"stubborn\"",
        &format!(" site=\"{FILE}:"),
        " for_ms=",
        " more=0",
    ] {
        assert!(lines[2].contains(field), "{}", lines[2]);
    }
    assert!(lines[3].contains(" outcome=\"forced\" failures=0 aborted=1 exit_code=130"));
    assert!(Errors::of(errors).rest().is_empty());
}

/// I18: the example `stuck` hangs in eight ways. Each report names the item in the way.
#[test]
fn eight_ways_to_hang() {
    let stuck = example("procession-examples", "stuck");
    // The way to hang, the report of the item in the way, and whether an abort ends it.
    for (way, expected, is_helped) in [
        ("thread", "app › cache: thread body `cache` (", false),
        ("async", "app › poller: async body (", true),
        ("teardown", "app › log: teardown on thread `procession-", false),
        ("queued", "app › file-0 and 51", false),
        ("nobody", "app › log ⇢ server: nobody has asked it to close (", false),
        ("slot", "app › importer ⇢ examples/stuck.rs:", false),
        ("future", "app › db: future given to wait_for_future (", true),
        ("wait", "app › importer ⇢ exporter: nobody has asked it to close (", false),
    ] {
        let output = Command::new(&stuck).arg(way).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(70), "{way}: {errors}");
        let lines: Vec<_> = errors.lines().collect();
        assert!(lines[0].starts_with("app: the grace of 500 ms is over: aborting "), "{errors}");
        let expected = format!("app:   {expected}");
        assert!(lines.iter().any(|line| line.starts_with(&expected)), "{way}: {errors}");
        let is_queued =
            |line: &&str| line.contains("queued for ") && line.ends_with(" behind 512 others");
        assert_eq!(lines.iter().any(is_queued), way == "queued", "{way}: {errors}");
        let gave_up = "app: not closed 200 ms after the abort: exiting with code 70. Still open:";
        assert_eq!(lines.contains(&gave_up), !is_helped, "{way}: {errors}");
        if is_helped {
            assert_closed_by_force(lines[2]);
        }
    }
    let output = Command::new(&stuck).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// Checks that the last line says that closing was forced.
#[track_caller]
fn assert_closed_by_force(line: &str) {
    assert!(line.starts_with("app: closed in ") && line.contains(" by force: 1 process"), "{line}");
    assert!(line.ends_with("; exit code 70"), "{line}");
}
