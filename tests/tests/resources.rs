//! Resources that run out (I15): each program under test lacks one of them, and must still end.

#![cfg(target_os = "linux")]

use std::io::Read;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use procession::Process;
use procession_tests::program::Program;
use procession_tests::{LIMIT, ends_well};
use rustix::process::Signal;

fn start(what: &str) -> Program {
    Program::start(Command::new(env!("CARGO_BIN_EXE_exhausted")).arg(what))
}

/// The CPU time in milliseconds that the program used in a second without work, as it reports.
fn idle_time(lines: &[String]) -> u64 {
    let line = lines.iter().find_map(|line| line.strip_prefix("idle: ")).unwrap();
    line.trim_end_matches(" ms").parse().unwrap()
}

/// The beginning of what the program writes to standard error, without waiting for the rest.
fn beginning(mut stderr: ChildStderr) -> String {
    const MOST: usize = 64 * 1024;
    let mut text = vec![0; MOST];
    let mut read = 0;
    while read < MOST {
        match stderr.read(&mut text[read..]) {
            Ok(more) if more > 0 => read += more,
            _ => break,
        }
    }
    String::from_utf8_lossy(&text[..read]).into_owned()
}

/// I15: without a free file descriptor, the shared executor starts, its threads do not panic, and none spins.
#[test]
fn the_executor_starts_without_descriptors() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exhausted"));
    command.arg("executor-without-descriptors").stderr(Stdio::piped());
    let (mut program, stderr) = Program::start_with_errors(&mut command);
    let (give, take) = mpsc::channel();
    thread::spawn(move || give.send(beginning(stderr)));
    let lines = program.read_to("done");
    assert!(program.status().success());
    let errors = take.recv_timeout(LIMIT).unwrap();
    assert_eq!(errors, "", "printed while descriptors ran out");
    assert!(idle_time(&lines) < 100, "{lines:?}");
}

/// I15: without a free file descriptor, the deadline of `close_within` fires.
#[test]
fn deadlines_fire_without_descriptors() {
    let mut program = start("deadline-without-descriptors");
    program.read_to("done");
    assert!(program.status().success());
}

/// I15: without a free file descriptor, the grace of `Main` ends.
#[test]
fn the_grace_ends_without_descriptors() {
    let mut program = start("grace-without-descriptors");
    let lines = program.read_to("done");
    assert_eq!(lines, ["aborted", "torn down", "done"]);
    assert!(program.status().success());
}

/// I15: while async bodies block the shared executor, deadlines fire and teardowns run.
#[test]
fn deadlines_fire_while_the_executor_is_blocked() {
    let mut program = start("blocked-executor");
    let lines = program.read_to("done");
    assert_eq!(lines, ["aborted", "torn down", "torn down by a future", "done"]);
    assert!(program.status().success());
}

/// I15, U2: while async bodies block the shared executor, and with it the tasks of a manager and of a set, their units
/// are aborted at the end of their grace.
#[test]
fn units_keep_their_grace_while_the_executor_is_blocked() {
    let mut program = start("blocked-executor-units");
    let lines = program.read_to("done");
    assert_eq!(lines, ["aborted", "told by the manager", "told by the set", "done"]);
    assert!(program.status().success());
}

const TEARDOWNS: usize = 600;

/// I15: each of 600 teardowns waits for that of the next sibling. A teardown that waits does not count towards the
/// limit.
#[test]
fn teardowns_that_wait_for_the_next_all_end() {
    let app = Process::new();
    let children: Vec<Process> = (0..TEARDOWNS).map(|_| app.child()).collect();
    for pair in children.windows(2) {
        let next = pair[1].clone();
        pair[0].set_teardown(move || next.closed().wait()).unwrap();
    }
    children[TEARDOWNS - 1].set_teardown(|| ()).unwrap();
    app.close();
    ends_well(&app);
}

/// I15: the same for teardowns that wait for processes outside, whose own teardowns become due only when all of them
/// wait.
#[test]
fn teardowns_that_wait_for_other_teardowns_all_end() {
    const AT_ONCE: usize = 512;
    let (app, others) = (Process::new(), Process::new());
    let (tell, told) = mpsc::channel();
    for _ in 0..TEARDOWNS {
        let other = others.child();
        other.set_teardown(|| ()).unwrap();
        let tell = tell.clone();
        let teardown = move || {
            tell.send(()).unwrap();
            other.closed().wait()
        };
        app.child().set_teardown(teardown).unwrap();
    }
    app.close();
    // As many as the pool may run at once.
    for _ in 0..AT_ONCE {
        told.recv_timeout(LIMIT).unwrap();
    }
    others.close();
    ends_well(&app);
    ends_well(&others);
}

/// A process that is bound twice has one count of signals: the signals of both bindings advance it through the stages
/// together.
#[test]
fn signals_of_two_bindings_count_together() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signals"));
    let mut program = Program::start(command.arg("two-bindings"));
    program.read_to("bound");
    program.signal(Signal::INT);
    program.read_to("closing");
    program.signal(Signal::TERM);
    program.read_to("aborting");
    assert!(!program.has_ended());
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(128 + 2));
}

/// I15: while more teardowns block than may run at once, the library uses no CPU time.
#[test]
fn waiting_for_blocked_teardowns_is_idle() {
    let mut program = start("blocked-teardowns");
    let lines = program.read_to("done");
    assert!(program.status().success());
    assert!(idle_time(&lines) < 15, "{lines:?}");
}
