//! The supervise example as a real program: Ctrl-C stops all workers in time, and a summary is printed.

#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::{Duration, Instant};

use procession_tests::program::{Program, example};
use rustix::process::Signal;

const WORKERS: usize = 20;

/// Checks that the summary says how each worker ended.
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
        Program::start(&mut Command::new(example("procession-examples", "supervise")));
    program.read_to("workers are running");
    program.signal(Signal::INT);
    let signalled = Instant::now();
    assert_eq!(program.status().code(), Some(0));
    // A grace of one second for workers that hang, and room for a busy machine.
    assert!(signalled.elapsed() < Duration::from_secs(10));
    check(&program.rest());
}

/// Without a signal, it ends when its time is over. An unknown option is an error.
#[test]
fn it_ends_when_its_time_is_over() {
    let mut command = Command::new(example("procession-examples", "supervise"));
    let output = command.args(["--for", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let summary = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<String> = summary.lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "20 workers are running");
    check(&lines[1..]);
    let mut unknown = Command::new(example("procession-examples", "supervise"));
    assert_eq!(unknown.arg("--fro").output().unwrap().status.code(), Some(1));
}
