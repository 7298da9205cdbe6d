//! `procession::main` and `main_async`: real programs, their exit codes and their output.

#![cfg(target_os = "linux")]

use std::process::{Command, Output};

use procession_tests::program::Program;
use rustix::process::Signal;

/// The executors that drive `main_async`; `thread` stands for `main`.
const EXECUTORS: [&str; 4] = ["thread", "tokio", "smol", "none"];

fn command(face: &str, what: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daemon"));
    command.args([face, what]);
    command
}

fn start(face: &str, what: &str) -> Program {
    let program = Program::start(&mut command(face, what));
    program.read_to("ready");
    program
}

/// Without a signal, the exit code is 0 after `Ok`, 1 after an error or a panic, which is printed, and 70 if the grace
/// had to abort. The tree is closed in each case. The root is named after the program.
#[test]
fn a_body_that_ends_decides_the_exit_code() {
    for face in EXECUTORS {
        for (what, code, error) in [
            ("ok", 0, ""),
            ("children", 0, ""),
            ("error", 1, "process `daemon` › tests/src/bin/daemon.rs:49 failed: disk full\n"),
            ("panic", 1, "process `daemon` panicked: out of paper\n"),
            ("own-grace", 70, "exit code 70\n"),
        ] {
            let Output { status, stdout, stderr } = command(face, what).output().unwrap();
            let (stdout, stderr) = (String::from_utf8(stdout), String::from_utf8(stderr));
            let (stdout, stderr) = (stdout.unwrap(), stderr.unwrap());
            assert_eq!(status.code(), Some(code), "{face} {what}: {stderr}");
            assert!(stderr.ends_with(error), "{face} {what}: {stderr}");
            assert!(stdout.starts_with("name: daemon\n"), "{face} {what}: {stdout}");
            assert!(stdout.ends_with("torn down\n"), "{face} {what}: {stdout}");
            let child = stdout.contains("child is closing: false\n");
            assert_eq!(child, what == "children", "{face} {what}: {stdout}");
        }
    }
}

/// The first signal closes the program, which ends with code 0.
#[test]
fn one_signal_closes_with_code_0() {
    for (face, signal) in EXECUTORS.into_iter().zip([Signal::INT, Signal::TERM].into_iter().cycle())
    {
        let mut program = start(face, "serve");
        assert!(!program.has_ended());
        program.signal(signal);
        program.read_to("torn down");
        assert_eq!(program.status().code(), Some(0), "{face}");
    }
}

/// The second signal aborts. The exit code is 128 plus its number, even if the outcome is `Ok`.
#[test]
fn two_signals_abort_with_code_128_plus_n() {
    for face in EXECUTORS {
        let mut program = start(face, "stubborn");
        program.signal(Signal::INT);
        // Signals that are pending at the same time may be delivered in either order.
        program.read_to("closing");
        assert!(!program.has_ended());
        program.signal(Signal::TERM);
        program.read_to("torn down");
        assert_eq!(program.status().code(), Some(128 + 15), "{face}");
    }
}

/// The third signal ends the program, whatever hangs.
#[test]
fn the_third_signal_ends_the_program() {
    for face in EXECUTORS {
        let mut program = start(face, "hang");
        program.signal(Signal::TERM);
        program.signal(Signal::INT);
        program.read_to("hanging");
        program.signal(Signal::INT);
        assert_eq!(program.status().code(), Some(128 + 2), "{face}");
    }
}

/// At the end of the grace, the program is aborted.
#[test]
fn the_end_of_the_grace_aborts() {
    for face in EXECUTORS {
        let mut program = start(face, "grace");
        program.signal(Signal::TERM);
        program.read_to("torn down");
        assert_eq!(program.status().code(), Some(128 + 15), "{face}");
    }
}
