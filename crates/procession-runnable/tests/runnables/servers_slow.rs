//! Clients that are slow, silent or stalled: they end by timeouts, and do not delay a stop, which has an upper bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use procession::{Clock, Error, SystemClock};
use procession_runnable::server::{BodyError, RequestProcess, Server, Unanswered};

use crate::common::LIMIT;
use crate::servers_running::{Client, PREFACE, Running, get as ask, request, until};

const SHORT: Duration = Duration::from_millis(50);
const HALF_A_HEADER: &str = "GET / HTTP/1.1\r\nHost: local";
const PART_OF_A_BODY: &str = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc";
/// More than the buffers of both sides hold.
const LARGE: usize = 64 * 1024 * 1024;

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// A router whose handler of `/body` reads the body, after a pause, and tells how that ended.
fn reader(tell: mpsc::Sender<Option<String>>, pause: Duration) -> Router {
    let read = move |body: Body| async move {
        SystemClock.sleep(pause).await;
        let read = body.collect().await.map(|body| body.to_bytes());
        let error =
            read.err().map(|error| std::error::Error::source(&error).unwrap_or(&error).to_string());
        tell.send(error).unwrap();
        "read"
    };
    Router::new().route("/body", post(read))
}

/// Waits until the server has this many connections and requests.
fn has(server: &Running, count: usize) {
    until(|| server.below() == count);
}

/// Clients that have no request in progress delay a stop by little more than a second, with the default settings.
#[test]
fn clients_without_a_request_do_not_delay_a_stop() {
    let server = Running::start(|server| server.axum(hello()));
    let beginnings: [&[u8]; 6] =
        [b"", b"G", b"PRI * HT", HALF_A_HEADER.as_bytes(), &PREFACE[..24], PREFACE];
    let clients: Vec<_> = beginnings.map(|bytes| server.connect().send(bytes)).into();
    let idle = server.connect().send(ask("/")).read_to("hello");
    let next = server.connect().send(ask("/")).read_to("hello").send(HALF_A_HEADER);
    let mut http2 = server.connect_http2();
    let answered = server.runtime.block_on(http2.send_request(request("/"))).unwrap();
    assert!(answered.status().is_success());
    has(&server, clients.len() + 3);
    let start = Instant::now();
    server.stop().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    for client in clients.into_iter().chain([idle, next]) {
        assert!(!client.rest().contains("HTTP/1.1"));
    }
    assert_eq!(server.failures(), [""; 0]);
}

/// A client that connected before closing began, and sends its request only then, is still answered.
#[test]
fn a_first_request_that_comes_after_closing_is_answered() {
    let server = Running::start(|server| server.axum(hello()));
    let client = server.connect().send("G");
    has(&server, 1);
    server.begin_stop();
    assert!(client.send("ET / HTTP/1.1\r\nHost: a\r\n\r\n").rest().ends_with("hello"));
    server.outcome().unwrap();
}

/// While the server runs, a client that takes too long for a header loses its connection.
#[test]
fn headers_have_a_timeout() {
    let server = Running::start(|server| server.header_timeout(SHORT).axum(hello()));
    let beginnings: [&[u8]; 5] = [b"", b"G", HALF_A_HEADER.as_bytes(), &PREFACE[..24], PREFACE];
    for bytes in beginnings {
        assert!(!server.connect().send(bytes).rest().contains("HTTP/1.1"));
    }
    let client = server.connect().send(ask("/")).read_to("hello").send(HALF_A_HEADER);
    assert_eq!(client.rest(), "");
    assert_eq!(server.failures(), [""; 0]);
    server.stop().unwrap();
}

/// A connection may be idle for longer than a header may take, but not for ever.
#[test]
fn idle_connections_have_a_timeout() {
    let server = Running::start(|server| server.idle_timeout(SHORT).axum(hello()));
    assert_eq!(server.connect().send(ask("/")).read_to("hello").rest(), "");
    let mut http2 = server.connect_http2();
    server.runtime.block_on(async {
        http2.send_request(request("/")).await.unwrap().collect().await.unwrap();
        // GOAWAY ends the connection.
        while http2.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    });
    server.stop().unwrap();
    let server = Running::start(|server| server.header_timeout(SHORT).axum(hello()));
    let client = server.connect().send(ask("/")).read_to("hello");
    std::thread::sleep(4 * SHORT); // the time itself is what is tested
    client.send(ask("/")).read_to("hello");
    server.stop().unwrap();
}

/// A request body that stalls is an error for its handler, which can still answer; that is no failure.
#[test]
fn stalled_bodies_have_a_timeout() {
    for begins_to_close in [false, true] {
        let (tell, told) = mpsc::channel();
        let routes = reader(tell, Duration::ZERO);
        let server = Running::start(|server| server.body_timeout(4 * SHORT).axum(routes));
        let client = server.connect().send(PART_OF_A_BODY);
        if begins_to_close {
            has(&server, 2);
            server.begin_stop();
        }
        let error = told.recv_timeout(LIMIT).unwrap();
        let expected = BodyError::TimedOut(4 * SHORT).to_string();
        assert_eq!(expected, "the client sent nothing of the request body for 200 ms");
        assert_eq!(error, Some(expected));
        let answer = client.rest();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("read"), "{answer}");
        server.stop().unwrap();
        assert_eq!(server.failures(), [""; 0]);
    }
}

/// The same on HTTP/2, where other requests of the connection are not affected.
#[test]
fn stalled_bodies_have_a_timeout_on_http2() {
    let (tell, told) = mpsc::channel();
    let routes = reader(tell, Duration::ZERO).merge(hello());
    let server = Running::start(|server| server.body_timeout(SHORT).axum(routes));
    let address = server.address;
    server.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let (sender, frames) = smol::channel::bounded::<Result<Frame<Bytes>, std::io::Error>>(1);
        sender.send(Ok(Frame::data(Bytes::from("abc")))).await.unwrap();
        let stalled = hyper::Request::post("http://localhost/body")
            .body(http_body_util::Either::Left(StreamBody::new(Box::pin(frames))))
            .unwrap();
        let answer = client.send_request(stalled).await.unwrap();
        assert!(answer.status().is_success());
        let other = request("/").map(http_body_util::Either::Right);
        assert!(client.send_request(other).await.unwrap().status().is_success());
    });
    assert!(told.recv_timeout(LIMIT).unwrap().unwrap().contains("sent nothing"));
    server.stop().unwrap();
}

/// The time for a body counts only while the handler waits for it.
#[test]
fn a_slow_handler_is_not_a_stalled_body() {
    let (tell, told) = mpsc::channel();
    let server = Running::start(|server| {
        server
            .header_timeout(SHORT)
            .body_timeout(SHORT)
            .idle_timeout(SHORT)
            .axum(reader(tell, 3 * SHORT))
    });
    let body = "x".repeat(97);
    let client = server.connect().send(PART_OF_A_BODY).send(body);
    assert_eq!(told.recv_timeout(LIMIT).unwrap(), None);
    assert!(client.rest().ends_with("read"));
    server.stop().unwrap();
}

fn large() -> Router {
    Router::new().route("/", get(|| async { vec![b'x'; LARGE] }))
}

/// A client that does not read its response loses its connection.
#[test]
fn responses_that_are_not_read_have_a_timeout() {
    let server = Running::start(|server| server.body_timeout(SHORT).axum(large()));
    let _client = server.connect().send(ask("/"));
    has(&server, 2);
    has(&server, 0);
    assert_eq!(server.failures(), [""; 0]);
    server.stop().unwrap();
}

/// A client that gives a response no HTTP/2 window loses that response, and not its connection.
#[test]
fn responses_without_a_window_have_a_timeout() {
    let server = Running::start(|server| server.body_timeout(SHORT).axum(hello()));
    let address = server.address;
    server.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(0)
                .handshake(TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        for _ in 0..2 {
            let answer = client.send_request(request("/")).await.unwrap();
            assert!(answer.status().is_success());
            let read = answer.into_body().collect();
            assert!(tokio::time::timeout(LIMIT, read).await.unwrap().is_err());
        }
    });
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// The grace is an upper bound on the stop. That a client does not read is no failure.
#[test]
fn a_response_that_is_not_read_ends_with_the_grace() {
    let server =
        Running::start(|server| server.body_timeout(Duration::MAX).grace(SHORT).axum(large()));
    let _client = server.connect().send(ask("/"));
    has(&server, 2);
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// Nor is it one that a client does not send its body.
#[test]
fn a_body_that_does_not_come_ends_with_the_grace() {
    let (tell, _told) = mpsc::channel();
    let routes = reader(tell, Duration::ZERO);
    let server =
        Running::start(|server| server.body_timeout(Duration::MAX).grace(SHORT).axum(routes));
    let _client = server.connect().send(PART_OF_A_BODY);
    has(&server, 2);
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// Requests whose handlers work until the end of the grace are dropped, and that is the failure of the server.
#[test]
fn handlers_that_work_end_with_the_grace() {
    let entered = Arc::new(AtomicUsize::new(0));
    let count = entered.clone();
    let never = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<&str>()
    };
    let routes = Router::new().route("/", get(never));
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let _clients = [(); 2].map(|()| server.connect().send(ask("/")));
    let mut http2 = server.connect_http2();
    let call = server.runtime.spawn(http2.send_request(request("/")));
    until(|| entered.load(Ordering::SeqCst) == 3);
    let error = server.stop().unwrap_err();
    let Error::Failed(failed) = &error else { panic!("{error:?}") };
    let lost = failed.get().downcast_ref::<Unanswered>().unwrap();
    assert_eq!((lost.requests, lost.grace), (3, SHORT));
    let expected = "the grace of 50 ms was over: 3 requests were dropped unanswered";
    assert_eq!(lost.to_string(), expected);
    assert!(server.runtime.block_on(call).unwrap().is_err());
    assert_eq!(server.failures().len(), 1);
}

/// A request that is answered already, and waits for more of its body, hides no handler of its connection.
#[test]
fn an_answered_request_hides_no_handler() {
    let entered = Arc::new(AtomicUsize::new(0));
    let count = entered.clone();
    let never = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<&str>()
    };
    let routes =
        Router::new().route("/echo", post(|body: Body| async { body })).route("/never", get(never));
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let address = server.address;
    let (sender, frames) = smol::channel::bounded::<Result<Frame<Bytes>, std::io::Error>>(1);
    let (call, _echo) = server.runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        sender.send(Ok(Frame::data(Bytes::from("abc")))).await.unwrap();
        let echoed = hyper::Request::post("http://localhost/echo")
            .body(http_body_util::Either::Left(StreamBody::new(Box::pin(frames))))
            .unwrap();
        let mut echo = client.send_request(echoed).await.unwrap().into_body();
        assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        let never = request("/never").map(http_body_util::Either::Right);
        let call = client.send_request(never);
        (tokio::spawn(call), echo)
    });
    until(|| entered.load(Ordering::SeqCst) == 1);
    let error = server.stop().unwrap_err();
    let Error::Failed(failed) = &error else { panic!("{error:?}") };
    assert_eq!(failed.get().downcast_ref::<Unanswered>().unwrap().requests, 1);
    assert!(server.runtime.block_on(call).unwrap().is_err());
    drop(sender);
}

/// A process that a handler has started, and that does not end, is aborted after the grace: the server fails.
#[test]
fn processes_of_requests_that_are_aborted_are_a_failure() {
    let start = |request: axum::Extension<RequestProcess>| async move {
        request.spawn(|_| std::future::pending::<()>()).unwrap();
        "started"
    };
    let routes = Router::new().route("/", get(start));
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let _client = server.connect().send(ask("/")).read_to("started");
    let error = server.stop().unwrap_err();
    let Error::Failed(failed) = &error else { panic!("{error:?}") };
    let lost = failed.get().downcast_ref::<Unanswered>().unwrap();
    let expected = "the grace of 50 ms was over: processes below the server were aborted";
    assert_eq!((lost.requests, lost.to_string().as_str()), (0, expected));
}

/// Timers need no time driver of tokio.
#[test]
fn a_runtime_without_time_is_enough() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = Server::new(address).header_timeout(SHORT).axum(hello());
    let _context = runtime.enter();
    let service = procession_runnable::Service::new(http);
    service.start_blocking_within(LIMIT).unwrap();
    Client::connect(address).send(ask("/")).read_to("hello");
    assert_eq!(Client::connect(address).rest(), "");
    service.stop_blocking_within(LIMIT).unwrap();
}
