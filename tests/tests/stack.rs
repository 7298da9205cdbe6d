//! A stack of runnables as a real program: order, exit code and output.

#![cfg(target_os = "linux")]

use std::process::Command;

use procession_tests::program::Program;
use rustix::process::Signal;

/// A signal stops the parts in the reverse order of their start.
#[test]
fn a_signal_stops_the_stack_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut program = Program::start(&mut Command::new(env!("CARGO_BIN_EXE_stack")));
        assert_eq!(program.read_to("serving"), ["database up", "worker up", "http up", "serving"]);
        program.signal(signal);
        let lines = program.read_to("database down");
        assert_eq!(lines, ["http down", "worker down", "database down"]);
        assert_eq!(program.status().code(), Some(0));
    }
}

/// A part that fails stops the others in order, and the program prints its error.
#[test]
fn a_part_that_fails_ends_the_program() {
    for (what, error) in [("fail-to-start", "no such port"), ("fail-later", "the listener broke")] {
        let output = Command::new(env!("CARGO_BIN_EXE_stack")).arg(what).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(stderr, format!("process `http` failed: {error}\n"));
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(stdout.ends_with("worker down\ndatabase down\n"), "{stdout}");
    }
}
