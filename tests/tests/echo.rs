//! The echo example as a real program, with real sockets and signals.

#![cfg(unix)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use procession_tests::LIMIT;
use procession_tests::program::{Program, example};
use rustix::process::Signal;

struct Echo {
    program: Program,
    address: SocketAddr,
    log: String,
}

impl Echo {
    fn start(arguments: &[&str]) -> Self {
        let program =
            Program::start(Command::new(example("procession-examples", "echo")).args(arguments));
        let lines = program.read_to("listening on ");
        let value = |prefix: &str| {
            lines.iter().find_map(|line| line.strip_prefix(prefix)).unwrap().to_owned()
        };
        Self { address: value("listening on ").parse().unwrap(), log: value("log file: "), program }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// Checks that the program ends with status 0 and prints these lines in this order. Returns all remaining lines.
    #[track_caller]
    fn ends_in_order(self, expected: &[&str]) -> Vec<String> {
        self.ends_with_status(0, expected)
    }

    /// Checks that the program ends with this status and prints these lines in this order. Returns all remaining lines.
    #[track_caller]
    fn ends_with_status(mut self, status: i32, expected: &[&str]) -> Vec<String> {
        let lines = self.program.rest();
        assert_eq!(self.program.status().code(), Some(status));
        let mut rest = lines.iter();
        for text in expected {
            assert!(
                rest.any(|line| line.starts_with(text)),
                "no `{text}` in its place: {lines:#?}"
            );
        }
        let log = std::fs::read_to_string(&self.log).unwrap();
        std::fs::remove_file(&self.log).unwrap();
        assert!(log.ends_with("end of log\n"), "{log}");
        lines
    }
}

const IN_ORDER: [&str; 4] =
    ["listener: no new connections", "server: closed", "log: flushed and synced", "closed"];

/// Sends `text`, and checks that it comes back.
fn assert_echoed(stream: &mut TcpStream, text: &[u8]) {
    stream.write_all(text).unwrap();
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, text);
}

/// After the first signal, the program echoes what it has received, accepts no new connection, and flushes the log
/// last.
#[test]
fn the_first_signal_closes_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let echo = Echo::start(&[]);
        let mut streams: Vec<TcpStream> = (0..5).map(|_| echo.connect()).collect();
        for stream in &mut streams {
            assert_echoed(stream, b"hello");
        }
        for stream in &mut streams {
            stream.write_all(b"pending").unwrap();
        }
        echo.program.signal(signal);
        for stream in &mut streams {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer, b"pending");
        }
        let mut lines = echo.program.read_to("server: closed");
        assert!(TcpStream::connect(echo.address).is_err());
        lines.extend(echo.ends_in_order(&IN_ORDER[2..]));
        // The example's main thread prints it, at any time after the signal.
        assert!(lines.iter().any(|line| line.starts_with("closing: SIG")), "{lines:#?}");
    }
}

/// A connection whose peer reads nothing delays the end until the second signal, after which the program still ends in
/// order.
#[test]
fn the_second_signal_ends_a_stuck_connection() {
    let mut echo = Echo::start(&[]);
    let mut stream = echo.connect();
    stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
    // Writes until all buffers on the way are full.
    while stream.write(&[0; 64 * 1024]).is_ok() {}
    echo.program.signal(Signal::INT);
    echo.program.read_to("listener: no new connections");
    assert!(!echo.program.has_ended());
    echo.program.signal(Signal::INT);
    let lines = echo.program.read_to("connection 1: closed");
    assert!(lines.last().unwrap().contains("aborted"), "{lines:#?}");
    // SIGINT has aborted it.
    echo.ends_with_status(128 + 2, &IN_ORDER[1..]);
}

/// Without a signal, the program ends after the time that it was given.
#[test]
fn it_ends_after_the_given_time() {
    let echo = Echo::start(&["--for", "300ms"]);
    let mut stream = echo.connect();
    assert_echoed(&mut stream, b"hello");
    echo.ends_in_order(&IN_ORDER);
    let unknown =
        Command::new(example("procession-examples", "echo")).arg("--fro").output().unwrap();
    assert!(!unknown.status.success());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("--fro"));
}

/// The program serves 500 open connections, and closes all of them.
#[test]
fn it_serves_and_closes_500_connections() {
    let echo = Echo::start(&[]);
    let mut streams: Vec<TcpStream> = (0..500).map(|_| echo.connect()).collect();
    for stream in &mut streams {
        assert_echoed(stream, b"one of many");
    }
    echo.program.signal(Signal::TERM);
    for stream in &mut streams {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    }
    echo.ends_in_order(&IN_ORDER);
}
