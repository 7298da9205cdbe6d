//! Servers that cannot stop. Their programs still end, name the process in the way, and have the right exit status.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use procession_tests::program::Program;
use rustix::process::Signal;

/// Runs the program, sends it a request and a signal. Checks that it ends and that its last report contains `culprit`.
fn assert_ends_and_names(kind: &str, culprit: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_held-servers"));
    command.arg(kind).stderr(Stdio::piped());
    let (mut program, mut stderr) = Program::start_with_errors(&mut command);
    let lines = program.read_to("listening on ");
    let address = lines.last().unwrap().rsplit(' ').next().unwrap().to_owned();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    program.read_to("entered");
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(128 + 2));
    let mut report = String::new();
    stderr.read_to_string(&mut report).unwrap();
    assert!(report.lines().any(|line| line.contains(culprit)), "{report}");
}

/// A handler of an async server blocks its thread.
#[test]
fn a_handler_that_blocks_its_thread() {
    assert_ends_and_names("handler", "http › connection");
}

/// The teardown of a part below the server never ends.
#[test]
fn a_teardown_that_never_ends() {
    assert_ends_and_names("teardown", "database: teardown");
}

/// The thread of a connection ignores closing and aborting.
#[test]
fn a_thread_that_ignores_everything() {
    assert_ends_and_names("thread", "echo › connection: thread body");
}
