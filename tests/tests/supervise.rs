//! The supervise example as a real program: Ctrl-C stops all in time, and there is a summary.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, Instant};

use procession_tests::program::{Program, example};
use rustix::process::Signal;

const WORKERS: usize = 20;

/// The summary has a line for each worker, which says how it ended.
fn check(summary: &[String]) {
    assert_eq!(summary.len(), 1 + WORKERS, "{summary:#?}");
    for line in &summary[1..] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let starts: u32 = words[2].parse().unwrap();
        assert!(starts >= 1, "{line}");
        let ends = ["stopped", "aborted", "given up"];
        assert!(ends.iter().any(|end| line.ends_with(end)), "{line}");
    }
}

#[test]
fn a_signal_stops_all_workers_in_time() {
    let mut program =
        Program::start(&mut Command::new(example("procession-supervisor", "supervise")));
    program.read_to("workers are running");
    program.signal(Signal::INT);
    let signalled = Instant::now();
    assert_eq!(program.status().code(), Some(0));
    // A second's grace for those that hang, and room for a busy machine.
    assert!(signalled.elapsed() < Duration::from_secs(10));
    check(&program.rest());
}

#[test]
fn it_ends_by_itself() {
    let mut command = Command::new(example("procession-supervisor", "supervise"));
    let output = command.args(["--for", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = summary.lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "20 workers are running");
    check(&lines[1..]);
    let mut unknown = Command::new(example("procession-supervisor", "supervise"));
    assert_eq!(unknown.arg("--fro").output().unwrap().status.code(), Some(1));
}
