//! The examples with `--inspect`, as real programs: each page is available while its program runs, and closes with it.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use procession_tests::LIMIT;
use procession_tests::program::{Program, example};
use rustix::process::Signal;

struct Inspected {
    program: Program,
    address: String,
    errors: Receiver<String>,
}

impl Inspected {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(example("procession-examples", name));
        command.args(arguments).args(["--inspect", "127.0.0.1:0"]).stderr(Stdio::piped());
        let (program, errors) = Program::start_with_errors(&mut command);
        let errors = lines(errors);
        let address = match name {
            // Its standard error has the events of the units, so its address is on standard output.
            "supervise" => address_in(program.read_to("http://").last().unwrap()).unwrap(),
            _ => loop {
                let line = errors.recv_timeout(LIMIT).expect("the address of the page");
                if let Some(address) = address_in(&line) {
                    break address;
                }
            },
        };
        Self { program, address, errors }
    }

    /// The body of an answer.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let head = "host: localhost\r\nconnection: close\r\n";
        write!(stream, "GET {path} HTTP/1.1\r\n{head}\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        body.to_owned()
    }

    /// Repeats the request until the answer contains the text.
    fn wait_for(&self, path: &str, text: &str) -> String {
        let end = std::time::Instant::now() + LIMIT;
        loop {
            let body = self.get(path);
            if body.contains(text) {
                return body;
            }
            assert!(std::time::Instant::now() < end, "no {text} in {body}");
            thread::park_timeout(std::time::Duration::from_millis(20));
        }
    }

    /// Ends the program by a signal. Checks its status, and that its page ends with it.
    fn assert_ends(mut self, status: i32) {
        self.program.signal(Signal::INT);
        assert_eq!(self.program.status().code(), Some(status));
        assert!(TcpStream::connect(&self.address).is_err());
        // The pipe is read to its end, so that the program cannot block on it.
        self.errors.iter().for_each(drop);
    }
}

fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://")?;
    Some(rest.trim_end_matches('/').to_owned())
}

fn lines(errors: ChildStderr) -> Receiver<String> {
    let (give, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            // The receiver is gone once the test has the line that it needs.
            let _sent = give.send(line);
        }
    });
    lines
}

#[test]
fn echo() {
    let echo = Inspected::start("echo", &[]);
    echo.wait_for("/snapshot.json", "\"label\":\"log\"");
    let graph = echo.get("/graph.svg");
    assert!(graph.contains(">waits for</text>") && graph.contains(">server</text>"), "{graph}");
    echo.assert_ends(0);
}

#[test]
fn stuck() {
    let stuck = Inspected::start("stuck", &["thread"]);
    let blockers = stuck.wait_for("/blockers.json", "app › cache: thread body `cache`");
    assert!(blockers.contains("\"state\":\"closing\""), "{blockers}");
    assert!(stuck.get("/graph").contains("■ BLOCKS"));
    // The program is already closing, so this signal changes nothing.
    stuck.program.signal(Signal::INT);
    stuck.wait_for("/snapshot.json", "\"state\":\"closing\"");
    drop(stuck);
}

#[test]
fn web() {
    let database = tempfile::tempdir().unwrap();
    let file = database.path().join("notes.db");
    let web = Inspected::start("web", &["--database", file.to_str().unwrap()]);
    web.wait_for("/snapshot.json", "\"label\":\"http\"");
    assert!(!web.get("/").contains(">Units<"));
    web.assert_ends(0);
}

#[test]
fn supervise() {
    let supervise = Inspected::start("supervise", &["--workers", "12"]);
    supervise.wait_for("/snapshot.json?tab=units", "\"restarts\":1");
    let page = supervise.get("/units");
    assert!(page.contains("12 units") && page.contains("aria-current=\"page\">Units<"), "{page}");
    supervise.assert_ends(0);
}

#[test]
fn fleet() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("fleet.db");
    let table = table.to_str().unwrap();
    let put = ["put", "--table", table, "clock"];
    let put = Command::new(example("procession-examples", "fleet")).args(put).output().unwrap();
    assert!(put.status.success(), "{put:?}");
    let run = ["run", "--table", table, "--name", "web-3"];
    let fleet = Inspected::start("fleet", &run);
    let units = fleet.wait_for("/snapshot.json?tab=units", "\"state\":\"running\",\"since\"");
    assert!(units.contains("\"token\":1") && units.contains("\"program\":\"web-3\""), "{units}");
    assert!(fleet.get("/units").contains("owner web-3, manager 1"));
    fleet.assert_ends(0);
}
