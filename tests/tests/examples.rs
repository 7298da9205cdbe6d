//! Each short example runs to its end and prints what its documentation promises.

#![cfg(target_os = "linux")]

use std::process::Command;

use procession_tests::program::{Program, example};

/// Runs an example, and checks that it prints these lines in this order.
#[track_caller]
fn assert_prints(name: &str, expected: &[&str]) {
    let mut program = Program::start(&mut Command::new(example("procession-examples", name)));
    let printed = program.rest();
    let status = program.status();
    let mut lines = printed.iter();
    for text in expected {
        assert!(lines.any(|line| line.contains(text)), "no `{text}` in {printed:#?}");
    }
    assert!(status.success(), "{status}: {printed:#?}");
}

#[test]
fn threads() {
    assert_prints(
        "threads",
        &["1. writing 3", "2. all rows", "3. the file is synced", "4. closed, because asked"],
    );
}

#[test]
fn with_tokio() {
    assert_prints(
        "with_tokio",
        &["1. the sum is 3", "2. the session has ended", "3. torn down", "(app › stuck)"],
    );
}

#[test]
fn with_smol() {
    assert_prints(
        "with_smol",
        &["1. the producer has ended", "2. the consumer has every number", "3. torn down"],
    );
}

#[test]
fn tokens() {
    assert_prints("tokens", &["1. the task of the library has ended", "2. closed: Some(Ok(()))"]);
}

#[test]
fn periodic() {
    assert_prints("periodic", &["3 sweeps, 3 ticks", "closed"]);
}

#[test]
fn limits() {
    assert_prints("limits", &["never more than two at a time: true"]);
}

#[test]
fn spawner() {
    assert_prints("spawner", &["1. the body has ended on the pool", "2. torn down on the pool"]);
}

#[test]
fn systemd() {
    assert_prints("systemd", &["ready", "closed in order"]);
}

#[test]
fn axum_server() {
    assert_prints(
        "axum_server",
        &[
            "1. the database is open",
            "2. a request",
            "3. the database is closed",
            "4. the answer was: the server is closing",
        ],
    );
}

#[test]
fn tonic_server() {
    assert_prints(
        "tonic_server",
        &["1. the database is open", "2. serving", "3. the database is closed"],
    );
}

#[test]
fn supervision() {
    assert_prints(
        "supervision",
        &[
            "`session` is ready",
            "`connection` failed",
            "`session` has stopped",
            "`connection` is ready",
            "`session` is ready",
            "closed",
        ],
    );
}

#[test]
fn shared_table() {
    assert_prints(
        "shared_table",
        &["with token 1", "each runs two", "with token", "two runs all four"],
    );
}

/// The README shows all that `stuck` prints for some ways to hang. Only the measured times may differ.
#[test]
fn the_readme_shows_the_output_of_stuck() {
    let readme = include_str!("../../README.md");
    let stuck = example("procession-examples", "stuck");
    let mut shown = 0;
    for block in readme.split("$ cargo run --example stuck -- ").skip(1) {
        let (way, printed) = block.split_once('\n').unwrap();
        let ends = |line: &&str| !line.is_empty() && !line.starts_with("```");
        let expected: Vec<_> = printed.lines().take_while(ends).map(without_times).collect();
        let output = Command::new(&stuck).arg(way).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<_> = errors.lines().map(without_times).collect();
        assert_eq!(errors, expected, "{way}");
        shown += 1;
    }
    assert!(shown >= 2);
}

/// A line without the times in it, if it is about an item that the program waits for.
fn without_times(line: &str) -> String {
    let is_measured = line.starts_with("app:   ");
    let mut words: Vec<&str> = line.split(' ').collect();
    for position in 1..words.len() {
        let is_unit = ["µs", "ms", "s"].contains(&words[position].trim_end_matches(','));
        if is_measured && is_unit && words[position - 1].parse::<f64>().is_ok() {
            (words[position - 1], words[position]) = ("", "");
        }
    }
    words.join(" ")
}

/// The index lists every example, and every example is short.
#[test]
fn the_index_is_complete() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let index = std::fs::read_to_string(format!("{directory}/README.md")).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // The index has the longer programs in a list of their own.
        if ["lib.rs", "echo.rs", "stuck.rs", "web.rs"].contains(&&*name)
            || path.extension().is_none_or(|extension| extension != "rs")
        {
            continue;
        }
        assert!(index.contains(&format!("({name})")), "{name} is not in the index");
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 80, "{name} has {lines} lines");
        count += 1;
    }
    assert_eq!(count, 12);
}
