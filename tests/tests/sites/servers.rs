//! Servers, their connections and requests, and programs of the operating system.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

use axum::routing::get;
use axum::{Extension, Router};
use procession::Process;
use procession_runnable::server::{self, RequestProcess, Server};
use procession_runnable::{Runnable, Start, command};
use procession_tests::LIMIT;

use super::{Labels, assert_made_here, wait_for};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// The same request in HTTP/2: the preface, empty settings, and a frame with the headers of stream 1.
const REQUEST_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\
    \0\0\x06\x01\x05\0\0\0\x01\x82\x84\x86\x41\x01a";

type Bind = Box<dyn Fn() -> std::io::Result<TcpListener> + Send + Sync>;

/// Starts the server, sends the request, and looks at the processes, of which there are at least `count` meanwhile.
#[track_caller]
fn check(make: impl FnOnce(Bind) -> Runnable, request: &[u8], count: usize) {
    let (tell, told) = mpsc::channel();
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
    wait_for(&app, count);
    assert_made_here(&app, count);
    app.abort().wait().unwrap();
}

#[test]
fn sites_of_tcp_servers() {
    let _labels = Labels::watch();
    let handler = |mut stream: TcpStream, connection: Process| {
        connection.spawn(|p| async move { p.closing().await }).unwrap();
        stream.read_to_end(&mut Vec::new()).map(drop)
    };
    // The server, its connection, the code that shuts the socket down on an abort, and the handler's own.
    check(|bind| server::tcp(bind, handler), REQUEST, 5);
    check(|bind| Server::new(bind).tcp(handler), REQUEST, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn sites_of_http_servers() {
    let _labels = Labels::watch();
    let router = || {
        let answer = |Extension(request): Extension<RequestProcess>| async move {
            let _child = request.spawn(|p| async move { p.closing().await }).unwrap();
            request.closing().await;
        };
        Router::new().route("/", get(answer))
    };
    tokio::task::spawn_blocking(move || {
        // The server, its connection, the request, and the handler's own.
        for request in [REQUEST, REQUEST_2] {
            check(|bind| server::axum(bind, router()), request, 5);
            check(|bind| server::tower(bind, router()), request, 5);
            check(|bind| Server::new(bind).axum(router()), request, 5);
        }
    })
    .await
    .unwrap();
}

#[test]
fn site_of_a_command() {
    let _labels = Labels::watch();
    let sleeper = command("sleep").arg("1000").runnable();
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let run = sleeper.start(start).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    assert_made_here(&app, 2);
    run.close_blocking().unwrap();
    app.close_blocking().unwrap();
}
