//! The web example as a real program: it answers every accepted request and stores it.

#![cfg(target_os = "linux")]

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession_tests::LIMIT;
use procession_tests::program::{Program, example};
use rusqlite::Connection;
use rustix::process::Signal;

const CLIENTS: usize = 50;
/// The number of answers before the signal is sent.
const ANSWERS_BEFORE_THE_SIGNAL: usize = 500;

/// A file that is removed when this value is dropped.
struct ScratchFile(PathBuf);

impl ScratchFile {
    fn new(name: &str) -> Self {
        let name = format!("procession-{name}-{}.db", std::process::id());
        let scratch = Self(std::env::temp_dir().join(name));
        scratch.remove();
        scratch
    }

    fn remove(&self) {
        for end in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            let _absent = std::fs::remove_file(path);
        }
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.remove();
    }
}

fn start(database: &Path) -> (Program, String) {
    start_with(database, &[])
}

fn start_with(database: &Path, arguments: &[&str]) -> (Program, String) {
    let mut command = Command::new(example("procession-examples", "web"));
    let program = Program::start(command.arg("--database").arg(database).args(arguments));
    let lines = program.read_to("listening on ");
    let address = lines.last().unwrap().rsplit(' ').next().unwrap().to_owned();
    (program, address)
}

/// Adds notes on one connection until the server stops answering. Counts the answers.
fn add_notes(address: &str, answered: &AtomicUsize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut answers = BufReader::new(stream.try_clone()?);
    loop {
        stream
            .write_all(b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nsome note")?;
        read_answer(&mut answers)?;
        answered.fetch_add(1, Ordering::SeqCst);
    }
}

fn read_answer(answers: &mut impl BufRead) -> io::Result<()> {
    let mut length = 0;
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if answers.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().map_err(Error::other)?;
        }
        head.push_str(&line);
    }
    answers.read_exact(&mut vec![0; length])?;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    Ok(())
}

/// A signal under load: the numbers of accepted requests, of answers and of rows are equal, and the database is closed
/// last.
#[test]
fn nothing_is_lost_under_load() {
    let database = ScratchFile::new("load");
    let (mut program, address) = start(&database.0);
    let answered = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, answered) = (address.clone(), answered.clone());
            thread::spawn(move || add_notes(&address, &answered).unwrap_err())
        })
        .collect();
    while answered.load(Ordering::SeqCst) < ANSWERS_BEFORE_THE_SIGNAL {
        assert!(!program.has_ended());
        thread::yield_now();
    }
    program.signal(Signal::INT);
    for client in clients {
        let ended = client.join().unwrap();
        assert!(!matches!(ended.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{ended}");
    }
    assert_eq!(program.status().code(), Some(0));
    let answered = answered.load(Ordering::SeqCst);
    let closed = format!("database: closed with {answered} notes and {answered} counts");
    assert_eq!(program.rest(), ["worker: the queue is written", &closed]);
    let rows = Connection::open(&database.0).unwrap();
    let count = "SELECT count(*) FROM notes JOIN counts ON note = id WHERE words = 2";
    assert_eq!(rows.query_row(count, [], |row| row.get(0)), Ok(answered));
}

/// Clients that have sent nothing, part of a header, or only the preface of HTTP/2 delay the stop of the program only
/// shortly, and are not a failure of it.
#[test]
fn slow_clients_do_not_delay_the_stop() {
    let database = ScratchFile::new("slow");
    let (mut program, address) = start(&database.0);
    let beginnings: [&[u8]; 4] =
        [b"", b"G", b"POST /notes HTTP/1.1\r\nHost", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"];
    let clients = beginnings.map(|bytes| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(bytes).unwrap();
        stream
    });
    // This connection is accepted after all of them.
    assert!(get(&address, "/healthz").ends_with("ok"));
    let start = Instant::now();
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(0));
    // The program has a grace of 30 s, which it does not need.
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    drop(clients);
}

/// If the port is in use, the error has the address and the name of the server.
#[test]
fn a_port_in_use_is_named() {
    let database = ScratchFile::new("port");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(example("procession-examples", "web"));
    command.arg("--database").arg(&database.0).args(["--listen", &address]);
    let failed = command.output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let stderr = String::from_utf8(failed.stderr).unwrap();
    let expected = format!("failed: cannot listen on {address}: Address already in use");
    assert!(stderr.contains("`http`") && stderr.contains(&expected), "{stderr}");
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    io::read_to_string(stream).unwrap()
}

/// `/readyz` fails as soon as the program is asked to stop, while requests are still answered. `/healthz` never fails.
#[test]
fn it_drains_before_it_stops() {
    let database = ScratchFile::new("drain");
    let (mut program, address) = start_with(&database.0, &["--drain", "29s"]);
    // The part that drains starts after the server.
    while !get(&address, "/readyz").starts_with("HTTP/1.1 200 OK") {
        assert!(!program.has_ended());
    }
    program.signal(Signal::TERM);
    while get(&address, "/readyz").starts_with("HTTP/1.1 200 OK") {
        assert!(!program.has_ended());
    }
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 503"));
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200 OK"));
    // A second signal skips the rest of the drain.
    program.signal(Signal::TERM);
    assert_eq!(program.status().code(), Some(128 + 15));
}

/// Notes are still there when the program runs again. If the database cannot be opened, the error names it.
#[test]
fn notes_survive_a_restart() {
    let database = ScratchFile::new("again");
    for notes in 1..=2 {
        let (mut program, address) = start(&database.0);
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.write_all(b"POST /notes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na").unwrap();
        read_answer(&mut BufReader::new(stream)).unwrap();
        program.signal(Signal::TERM);
        let lines = program.read_to("closed");
        assert!(lines.last().unwrap().ends_with(&format!("{notes} notes and {notes} counts")));
        assert_eq!(program.status().code(), Some(0));
    }
    let mut command = Command::new(example("procession-examples", "web"));
    let failed = command.args(["--database", "/no/such/place"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    let stderr = String::from_utf8(failed.stderr).unwrap();
    // The failure is the outcome of the program, so it is printed once.
    assert_eq!(stderr.matches("unable to open database file").count(), 1, "{stderr}");
    assert!(
        stderr.contains("process `database` › ") && stderr.contains(" failed: unable to open"),
        "{stderr}"
    );
}
