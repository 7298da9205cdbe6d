//! The demonstration of the example, its commands, and its live view.

use std::process::Command;

use procession_tests::program::example;
use procession_tests::screen::Terminal;

fn fleet(arguments: &[&str]) -> (Option<i32>, String) {
    let output =
        Command::new(example("procession-examples", "fleet")).args(arguments).output().unwrap();
    let texts = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), texts.concat())
}

#[test]
fn the_demonstration_shows_that_no_counter_goes_back() {
    let (status, text) = fleet(&["demo", "--for", "1s"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("No counter has gone back, and none has counted a number twice."),
        "{text}"
    );
    for act in ["`one` is killed", "`two` is paused", "all have ended"] {
        assert!(text.contains(act), "{text}");
    }
}

#[test]
fn operators_have_commands() {
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("fleet.db");
    let run = |command: &str, words: &[&str]| {
        let table = table.to_str().unwrap();
        fleet(&[&[command, "--table", table], words].concat())
    };
    assert_eq!(run("put", &["a"]), (Some(0), "generation 1\n".to_owned()));
    assert_eq!(run("put", &["a", "idle"]), (Some(0), "generation 2\n".to_owned()));
    assert_eq!(run("stop", &["a"]).0, Some(0));
    assert!(run("list", &[]).1.contains("stopped"));
    assert_eq!(run("start", &["a"]).0, Some(0));
    assert!(run("list", &[]).1.contains("free"));
    assert_eq!(run("remove", &["a"]).0, Some(0));
    let (status, text) = run("clear", &["a"]);
    assert_eq!(status, Some(1));
    assert!(text.contains("there is no unit `a`"), "{text}");
    assert_eq!(run("hand-over", &["1"]).0, Some(1));
    assert_eq!(run("frobnicate", &[]).0, Some(1));
    assert_eq!(fleet(&[]).0, Some(1));
}

#[test]
fn a_terminal_shows_which_program_runs_what_with_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let table = directory.path().join("fleet.db").display().to_string();
    assert_eq!(fleet(&["put", "--table", &table, "clock"]).0, Some(0));
    let program = example("procession-examples", "fleet");
    let arguments = ["run", "--name", "the first", "--table", &table];
    let mut terminal = Terminal::start(&program, &arguments, &[], (24, 100));
    terminal.wait_for(|screen| shows(&screen.lines, ["running", "the first", " 1 "]));
    assert_eq!(fleet(&["stop", "--table", &table, "clock"]).0, Some(0));
    terminal.wait_for(|screen| shows(&screen.lines, ["stopped", " - ", " 1 "]));
    terminal.type_in("\u{3}");
    assert_eq!(terminal.status(), 0);
}

/// Is there a line for the unit `clock` with these words?
fn shows(lines: &[String], words: [&str; 3]) -> Result<(), String> {
    let line = lines.iter().find(|line| line.starts_with("clock "));
    let is_so = line.is_some_and(|line| words.iter().all(|word| line.contains(word)));
    if is_so { Ok(()) } else { Err(format!("{words:?} in {lines:#?}")) }
}
