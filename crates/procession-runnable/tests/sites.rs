//! The processes of servers and tasks record the place where these were described.

use std::future::pending;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper::{Request, Response};
use procession::{BoxError, Process};
use procession_runnable::server::RequestBody;
use procession_runnable::{Runnable, Start, body, server, task, trace_region};

const LIMIT: Duration = Duration::from_secs(30);

/// Starts the server, sends the beginning of a request, and checks that the processes, of which there are at least
/// `count` meanwhile, have this file as their site.
fn check(make: impl FnOnce(Bind) -> Runnable, request: &[u8], count: usize) {
    let (tell, told) = mpsc::sync_channel(1);
    let server = make(Box::new(move || {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        tell.send(listener.local_addr()?).unwrap();
        Ok(listener)
    }));
    let app = Process::new();
    server.start(Start::under(&app).0).unwrap();
    let address: SocketAddr = told.recv_timeout(LIMIT).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let begin = Instant::now();
    while app.snapshot().processes().len() < count {
        assert!(begin.elapsed() < LIMIT, "{}", app.snapshot());
        std::thread::yield_now();
    }
    let snapshot = app.snapshot();
    let foreign: Vec<_> =
        snapshot.processes().map(|p| p.site()).filter(|site| site.file() != file!()).collect();
    assert!(foreign.is_empty(), "{foreign:?} in\n{snapshot:#}");
    app.abort().wait().unwrap();
    drop(stream);
}

type Bind = Box<dyn Fn() -> std::io::Result<TcpListener> + Send + Sync>;

#[test]
fn tasks() {
    let app = Process::new();
    let stays = || body(|run| async move { run.closing().await });
    for runnable in [task("task", stays()), trace_region("region", stays())] {
        let run = runnable.start(Start::under(&app).0).unwrap();
        assert_eq!(run.site().file(), file!());
    }
    app.close_blocking().unwrap();
}

#[test]
fn tcp() {
    let tcp = |bind| {
        server::tcp(bind, |mut stream: TcpStream, _: Process| {
            let mut byte = [0; 2];
            stream.read_exact(&mut byte)
        })
    };
    check(tcp, b"x", 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn http() {
    let servers = || {
        let asks = |_: Request<RequestBody>| pending::<Result<Response<String>, BoxError>>();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        // The server, its connection, and the request.
        check(|bind| server::hyper(bind, service_fn(asks)), request, 4);
        check(|bind| server::axum(bind, axum::Router::new()), b"x", 3);
        check(|bind| server::tonic(bind, tonic::service::Routes::default()), b"x", 3);
    };
    tokio::task::spawn_blocking(servers).await.unwrap();
}
