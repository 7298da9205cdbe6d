//! Servers without free file descriptors or threads resume when they can (I15). Each test runs in a program of its own,
//! because the limits apply to the whole program.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::ErrorKind::WouldBlock;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Mutex, mpsc};

use axum::Router;
use axum::routing::get;
use procession::{Error, Main, Process};
use procession_runnable::{Runnable, Service, server};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::LIMIT;
use crate::servers_running::{Client, get as ask, until};

/// Set in a program that runs the body of one test.
const ALONE: &str = "PROCESSION_TEST_ALONE";

/// Runs the body of this test in a program of its own, which is this test program with only that test. Returns the
/// program's standard error; inside that program, runs the body and returns `None`.
fn alone(test: &str, body: fn()) -> Option<String> {
    if std::env::var_os(ALONE).is_some() {
        body();
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(format!("servers_exhausted::{test}")).args(["--exact", "--nocapture"]);
    let output = command.env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "{text}");
    Some(errors.into_owned())
}

/// Uses up all file descriptors of this program, except `free`, until the returned files are dropped.
fn use_up_descriptors(free: usize) -> Vec<File> {
    setrlimit(Resource::Nofile, Rlimit { current: Some(96), maximum: Some(96) }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.truncate(files.len() - free);
    files
}

/// The parent of a new service, the service, its address, and a channel that receives the failures.
fn start(
    app: &Process,
    make: impl FnOnce(SocketAddr) -> Runnable,
) -> (Process, Service, SocketAddr, mpsc::Receiver<Error>) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let app = Process::builder()
        .parent(app)
        .on_failure(move |_, error| drop(tell.lock().unwrap().send(error.clone())))
        .build()
        .unwrap();
    let service = Service::under(&app, make(address)).unwrap();
    service.start_blocking_within(LIMIT).unwrap();
    (app, service, address, told)
}

/// A server that sends each byte back.
fn echo(address: SocketAddr) -> Runnable {
    server::tcp(address, |mut stream: TcpStream, _: Process| {
        let mut byte = [0];
        while stream.read(&mut byte)? > 0 {
            stream.write_all(&byte)?;
        }
        procession::ok()
    })
}

/// Sends a last byte, and checks that it comes back.
fn is_echoed(client: Client) -> bool {
    let client = client.send("x");
    client.0.shutdown(Shutdown::Write).unwrap();
    client.rest() == "x"
}

#[test]
fn http_resumes_without_descriptors() {
    let test = "http_resumes_without_descriptors";
    if let Some(errors) = alone(test, || http_without_descriptors(&Process::new())) {
        // Once, although the server tries again and again.
        assert_eq!(errors.matches("cannot accept connections: Too many open files").count(), 1);
    }
}

/// A quiet program prints nothing about this.
#[test]
fn a_quiet_program_resumes_without_a_word() {
    let body = || {
        let exit = Main::new().quiet().signals([]).no_exit().run(|app| {
            http_without_descriptors(&app);
            app.close();
            procession::ok()
        });
        exit.result().unwrap();
    };
    if let Some(errors) = alone("a_quiet_program_resumes_without_a_word", body) {
        assert_eq!(errors, "");
    }
}

fn http_without_descriptors(app: &Process) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _context = runtime.enter();
    let routes = Router::new().route("/", get(|| async { "hello" }));
    let (_app, service, address, told) = start(app, |address| server::axum(address, routes));
    // A descriptor for the client, and none for the server.
    let held = use_up_descriptors(1);
    let client = Client::connect(address).send(ask("/"));
    client.0.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    assert!((&client.0).read(&mut [0]).is_err()); // the server tries again and again
    assert!(service.outcome().is_none());
    drop(held);
    client.0.set_read_timeout(Some(LIMIT)).unwrap();
    client.read_to("hello");
    Client::connect(address).send(ask("/")).read_to("hello");
    service.stop_blocking_within(LIMIT).unwrap();
    // A connection that has to wait is not lost, so it is no failure.
    assert!(told.try_recv().is_err());
}

#[test]
fn tcp_resumes_without_descriptors() {
    let _errors = alone("tcp_resumes_without_descriptors", tcp_without_descriptors);
}

fn tcp_without_descriptors() {
    let root = Process::new();
    let (app, service, address, told) = start(&root, echo);
    let idle = app.snapshot().open();
    // The server first has no free descriptor, and then one, which is too few for a connection, because it needs two.
    for free in [1, 2] {
        // The descriptors of earlier connections are free again.
        until(|| app.snapshot().open() == idle);
        let held = use_up_descriptors(free);
        let client = Client::connect(address).send("x");
        client.0.set_read_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
        let read = client.0.peek(&mut [0]);
        // The OS resets a connection that is closed with unread data.
        let is_dropped = !matches!(&read, Err(error) if error.kind() == WouldBlock);
        assert_eq!(is_dropped, free == 2);
        assert!(service.outcome().is_none());
        drop(held);
        if is_dropped {
            let error = told.recv_timeout(LIMIT).unwrap().with_causes().to_string();
            assert!(error.contains("Too many open files"), "{error}");
        } else {
            client.0.set_read_timeout(Some(LIMIT)).unwrap();
            assert!(is_echoed(client.read_to("x")));
        }
        assert!(is_echoed(Client::connect(address)));
    }
    service.stop_blocking_within(LIMIT).unwrap();
    assert!(told.try_recv().is_err());
}

#[test]
fn tcp_continues_without_a_thread() {
    let _errors = alone("tcp_continues_without_a_thread", tcp_without_a_thread);
}

fn tcp_without_a_thread() {
    let root = Process::new();
    let (_app, service, address, told) = start(&root, echo);
    // From now on, all other threads that the server needs exist, and their stacks are allocated.
    let first = Client::connect(address).send("x").read_to("x");
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
    let before = getrlimit(Resource::As);
    // Less than the stack of one more thread.
    let current = Some(size * 1024 + 1024 * 1024);
    setrlimit(Resource::As, Rlimit { current, maximum: before.maximum }).unwrap();
    assert_eq!(Client::connect(address).rest(), "");
    let error = told.recv_timeout(LIMIT).unwrap();
    setrlimit(Resource::As, before).unwrap();
    assert!(matches!(error, Error::NoThread(_)), "{error:?}");
    assert!(service.outcome().is_none());
    assert!(is_echoed(Client::connect(address)));
    assert!(is_echoed(first));
    service.stop_blocking_within(LIMIT).unwrap();
    assert!(told.try_recv().is_err());
}
