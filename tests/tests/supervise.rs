//! The supervise example as a real program: Ctrl-C stops all workers in time, and it prints a summary.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, Instant};

use procession_tests::program::{Program, example};
use rustix::process::Signal;

const WORKERS: usize = 20;

/// Checks that the summary says how each worker ended.
fn assert_summary(summary: &[String]) {
    assert_eq!(summary.len(), 1 + WORKERS, "{summary:#?}");
    for line in &summary[1..] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let starts: u32 = words[2].parse().unwrap();
        assert!(starts >= 1, "{line}");
        let ends = ["stopped", "aborted", "given up"];
        assert!(ends.iter().any(|end| line.ends_with(end)), "{line}");
    }
}

/// A signal stops all workers within their grace.
#[test]
fn a_signal_stops_all_workers_in_time() {
    let mut program =
        Program::start(&mut Command::new(example("procession-examples", "supervise")));
    program.read_to("workers are running");
    program.signal(Signal::INT);
    let signalled = Instant::now();
    assert_eq!(program.status().code(), Some(0));
    // Workers that hang have a grace of one second; the rest is room for a busy machine.
    assert!(signalled.elapsed() < Duration::from_secs(10));
    assert_summary(&program.rest());
}

/// Without a signal, the program ends after the time that it was given. An unknown option is an error.
#[test]
fn it_ends_after_the_given_time() {
    let mut command = Command::new(example("procession-examples", "supervise"));
    let output = command.args(["--for", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = summary.lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "20 workers are running");
    assert_summary(&lines[1..]);
    let mut unknown = Command::new(example("procession-examples", "supervise"));
    assert_eq!(unknown.arg("--fro").output().unwrap().status.code(), Some(1));
}
