//! Notifications for systemd, through a datagram socket in its place.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use procession_tests::LIMIT;
use procession_tests::program::{Program, example};
use rustix::process::Signal;

/// A socket in a folder of its own, which is removed at the end.
struct Systemd {
    folder: PathBuf,
    socket: UnixDatagram,
}

impl Systemd {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("procession-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = UnixDatagram::bind(folder.join("notify")).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { folder, socket }
    }

    fn start(&self, command: &mut Command) -> (Program, ChildStdin) {
        let command = command.env("NOTIFY_SOCKET", self.folder.join("notify"));
        Program::start_with_input(command)
    }

    /// The lines of the next message.
    #[track_caller]
    fn message(&self) -> Vec<String> {
        let mut buffer = [0; 65536];
        let length = self.socket.recv(&mut buffer).expect("a message");
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next message with a line that begins like this.
    #[track_caller]
    fn next(&self, line: &str) -> Vec<String> {
        loop {
            let message = self.message();
            if message.iter().any(|found| found.starts_with(line)) {
                return message;
            }
        }
    }

    /// The number of messages with this line that arrive within this time.
    fn count(&self, line: &str, time: Duration) -> usize {
        let end = std::time::Instant::now() + time;
        let mut count = 0;
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()) {
            self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).unwrap();
            let mut buffer = [0; 65536];
            match self.socket.recv(&mut buffer) {
                Ok(length) => count += usize::from(buffer[..length].starts_with(line.as_bytes())),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        self.socket.set_read_timeout(Some(LIMIT)).unwrap();
        count
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.folder);
    }
}

fn notifies() -> Command {
    Command::new(env!("CARGO_BIN_EXE_notifies"))
}

/// Does the message extend the timeout?
fn extends(message: &[String]) -> bool {
    message.iter().any(|line| line == "EXTEND_TIMEOUT_USEC=10000000")
}

/// The program is ready when it says so, and stopping when it begins to close. While it closes, each step of progress
/// extends the timeout. A close without progress does not, but says what it waits for.
#[test]
fn progress_extends_the_timeout() {
    let systemd = Systemd::new("progress");
    let (mut program, mut input) = systemd.start(&mut notifies());
    assert_eq!(systemd.message(), ["READY=1"]);
    writeln!(input, "go on").unwrap();
    program.signal(Signal::TERM);
    assert_eq!(systemd.message(), ["STOPPING=1", "STATUS=closing"]);
    for step in (0..3).rev() {
        // The steps close from the last to the first.
        let waiting = format!("app › step-{step}: teardown");
        let (mut extensions, mut stalled) = (0, 0);
        while stalled < 2 {
            let message = systemd.message();
            let is_known = message[0].starts_with("STATUS=closing for");
            assert!(is_known && message.len() <= 2, "{message:?}");
            if extends(&message) {
                extensions += 1;
                stalled = 0;
            } else {
                stalled += 1;
                assert!(message[0].contains(&waiting), "{message:?}");
            }
        }
        // Two messages: the last step has ended, and this one has begun.
        assert!((1..=2).contains(&extensions), "{extensions}");
        writeln!(input, "step").unwrap();
    }
    assert_eq!(program.status().code(), Some(0));
}

/// The watchdog is fed as long as the root's executor runs jobs, even while the program closes, but not while a task
/// blocks the executor.
#[test]
fn the_watchdog_notices_a_blocked_executor() {
    const TIMEOUT: Duration = Duration::from_millis(200);
    let systemd = Systemd::new("watchdog");
    let mut command = notifies();
    let command = command.env("WATCHDOG_USEC", TIMEOUT.as_micros().to_string());
    let (mut program, mut input) = systemd.start(command);
    for _ in 0..3 {
        systemd.next("WATCHDOG=1");
    }
    writeln!(input, "block").unwrap();
    // One message may already be on its way. A watchdog that is fed gets ten.
    while systemd.count("WATCHDOG=1", 2 * TIMEOUT) > 1 {}
    assert_eq!(systemd.count("WATCHDOG=1", 5 * TIMEOUT), 0);
    writeln!(input, "unblock").unwrap();
    systemd.next("WATCHDOG=1");
    program.signal(Signal::TERM);
    systemd.next("STOPPING=1");
    for _ in 0..3 {
        systemd.next("WATCHDOG=1");
    }
    drop(input);
    assert_eq!(program.status().code(), Some(0));
}

/// The jobs of the watchdog have the line that runs the program, and not one of the library.
#[test]
fn no_label_of_the_watchdog_names_the_library() {
    let systemd = Systemd::new("labels");
    let mut command = notifies();
    let (mut program, mut input) =
        systemd.start(command.arg("labels").env("WATCHDOG_USEC", "200000"));
    writeln!(input, "go on").unwrap();
    systemd.next("WATCHDOG=1");
    program.signal(Signal::TERM);
    drop(input);
    assert_eq!(program.status().code(), Some(0));
}

/// A runnable that runs as a program reports that it is ready.
#[test]
fn a_stack_of_runnables_reports_that_it_is_ready() {
    let systemd = Systemd::new("stack");
    let database = systemd.folder.join("web.db");
    let mut command = Command::new(example("procession-examples", "web"));
    let (mut program, _input) = systemd.start(command.arg("--database").arg(&database));
    assert_eq!(systemd.message(), ["READY=1"]);
    program.read_to("listening on");
    program.signal(Signal::TERM);
    assert_eq!(systemd.message()[0], "STOPPING=1");
    assert_eq!(program.status().code(), Some(0));
}

/// A program that cannot reach systemd says so, and works as usual.
#[test]
fn a_dead_socket_does_no_harm() {
    let mut command = notifies();
    command.env("NOTIFY_SOCKET", "/nonexistent/notify").stderr(Stdio::piped());
    let (mut program, errors) = Program::start_with_errors(&mut command);
    program.read_to("has started");
    program.signal(Signal::TERM);
    assert_eq!(program.status().code(), Some(0));
    let errors = std::io::read_to_string(errors).unwrap();
    assert_eq!(errors.matches("cannot notify systemd").count(), 1, "{errors}");
}

/// If systemd reads nothing, neither the program nor its end is delayed. systemd receives `READY=1` as soon as its
/// queue has room.
#[test]
fn a_full_queue_delays_nothing() {
    let systemd = Systemd::new("full");
    let path = systemd.folder.join("notify");
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let mut filled = 0;
    while filler.send_to(b"FILLER=1", &path).is_ok() {
        filled += 1;
    }
    let (mut program, mut input) = systemd.start(&mut notifies());
    writeln!(input, "go on").unwrap();
    program.read_to("has started");
    for _ in 0..filled {
        assert_eq!(systemd.message(), ["FILLER=1"]);
    }
    assert_eq!(systemd.message(), ["READY=1"]);
    while filler.send_to(b"FILLER=1", &path).is_ok() {}
    program.signal(Signal::TERM);
    drop(input);
    assert_eq!(program.status().code(), Some(0));
}
