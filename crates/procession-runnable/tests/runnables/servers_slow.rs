//! Clients that are slow, silent or stalled: timeouts end their connections, and a stop has an upper bound.

use std::io::Read;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::{MethodRouter, get, post};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use procession::{Clock, Error, SystemClock};
use procession_runnable::server::{BodyError, RequestProcess, Server, Unanswered};
use smol::channel::{Receiver, Sender, bounded};

use crate::common::LIMIT;
use crate::servers_running::{Client, PREFACE, Running, get as ask, request, until};

/// A timeout that should expire.
const SHORT: Duration = Duration::from_millis(50);
/// A timeout that should expire, but not before the client has sent something, even on a busy machine.
const MEDIUM: Duration = Duration::from_millis(500);
const HALF_A_HEADER: &str = "GET / HTTP/1.1\r\nHost: local";
const PART_OF_A_BODY: &str = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc";
/// More than the buffers of both sides hold.
const LARGE: usize = 64 * 1024 * 1024;

type Piece = Result<Frame<Bytes>, std::io::Error>;
type Pieces = StreamBody<Pin<Box<Receiver<Piece>>>>;

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

/// A router whose handler of `/body` reads the body after a pause, and sends its error, if any, to the channel.
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

/// A handler that never answers, and the number of its calls.
fn never() -> (MethodRouter, Arc<AtomicUsize>) {
    let entered = Arc::new(AtomicUsize::new(0));
    let count = entered.clone();
    let handler = move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<&str>()
    };
    (get(handler), entered)
}

/// An HTTP/2 client for request bodies of either kind.
async fn connect_with_bodies(address: SocketAddr) -> SendRequest<Either<Pieces, Full<Bytes>>> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A request whose body has begun, and a sender for the rest.
fn begun(path: &str) -> (hyper::Request<Either<Pieces, Full<Bytes>>>, Sender<Piece>) {
    let (sender, pieces) = bounded(1);
    sender.try_send(Ok(Frame::data(Bytes::from("abc")))).unwrap();
    let request = hyper::Request::post(format!("http://localhost{path}"));
    (request.body(Either::Left(StreamBody::new(Box::pin(pieces)))).unwrap(), sender)
}

/// The failure of a server that has dropped requests.
fn unanswered(stopped: Result<(), Error>) -> Unanswered {
    let error = stopped.unwrap_err();
    let Error::Failed(failed) = &error else { panic!("{error:?}") };
    *failed.get().downcast_ref::<Unanswered>().unwrap()
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

/// A connection that is idle when closing begins ends at once; on HTTP/2, with GOAWAY.
#[test]
fn idle_connections_end_at_once() {
    // Other connections may stay this long. On a busy machine, at least one of several attempts is faster than that.
    const LINGER: Duration = Duration::from_secs(1);
    let is_fast = |_| {
        let server = Running::start(|server| server.axum(hello()));
        let client = server.connect().send(ask("/")).read_to("hello");
        let start = Instant::now();
        server.stop().unwrap();
        let took = start.elapsed();
        assert_eq!(client.rest(), "");
        took < LINGER
    };
    assert!((0..10).any(is_fast));
    let server = Running::start(|server| server.axum(hello()));
    // The answer to the preface: SETTINGS, and an acknowledgement.
    let client = server.connect().send(PREFACE).read_to("\0\0\0\x04\x01\0\0\0\0");
    server.stop().unwrap();
    assert!(client.rest().contains("\0\0\x08\x07\0\0\0\0\0"));
}

/// A client that connected before closing began, and completes its first request only afterwards, is still answered.
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
    let server = Running::start(|server| server.header_timeout(MEDIUM).axum(hello()));
    let beginnings: [&[u8]; 5] = [b"", b"G", HALF_A_HEADER.as_bytes(), &PREFACE[..24], PREFACE];
    let clients = beginnings.map(|bytes| server.connect().send(bytes));
    let next = server.connect().send(ask("/")).read_to("hello").send(HALF_A_HEADER);
    for client in clients {
        assert!(!client.rest().contains("HTTP/1.1"));
    }
    assert_eq!(next.rest(), "");
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
    let server = Running::start(|server| server.header_timeout(MEDIUM).axum(hello()));
    let client = server.connect().send(ask("/")).read_to("hello");
    // A later connection has reached the timeout.
    assert_eq!(server.connect().rest(), "");
    client.send(ask("/")).read_to("hello");
    server.stop().unwrap();
}

/// Even if the idle timeout is zero, a request is answered, however long its handler needs.
#[test]
fn a_slow_handler_is_not_an_idle_connection() {
    let slow = || async {
        SystemClock.sleep(2 * SHORT).await;
        "slow"
    };
    let routes = Router::new().route("/", get(slow));
    let server = Running::start(|server| server.idle_timeout(Duration::ZERO).axum(routes));
    assert!(server.connect().send(ask("/")).rest().ends_with("slow"));
    assert_eq!(server.failures(), [""; 0]);
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

/// On HTTP/2, a stalled request body does not affect other requests of the connection.
#[test]
fn stalled_bodies_have_a_timeout_on_http2() {
    let (tell, told) = mpsc::channel();
    let routes = reader(tell, Duration::ZERO).merge(hello());
    let server = Running::start(|server| server.body_timeout(SHORT).axum(routes));
    server.runtime.block_on(async {
        let mut client = connect_with_bodies(server.address).await;
        let (stalled, _sender) = begun("/body");
        let answer = client.send_request(stalled).await.unwrap();
        assert!(answer.status().is_success());
        let other = request("/").map(Either::Right);
        assert!(client.send_request(other).await.unwrap().status().is_success());
    });
    assert!(told.recv_timeout(LIMIT).unwrap().unwrap().contains("sent nothing"));
    server.stop().unwrap();
}

/// The body timeout counts only while the handler waits for bytes.
#[test]
fn a_slow_handler_is_not_a_stalled_body() {
    let (tell, told) = mpsc::channel();
    let server = Running::start(|server| {
        server
            .header_timeout(MEDIUM)
            .body_timeout(SHORT)
            .idle_timeout(SHORT)
            .axum(reader(tell, MEDIUM + SHORT))
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

/// A client that reads slowly receives the whole response, however long that takes.
#[test]
fn a_slow_reader_is_not_a_stalled_one() {
    const PIECES: usize = 64;
    let server = Running::start(|server| server.body_timeout(2 * MEDIUM).axum(large()));
    let mut client = server.connect().send(ask("/")).read_to("\r\n\r\n");
    let start = Instant::now();
    for _ in 0..PIECES {
        client.0.read_exact(&mut vec![0; LARGE / PIECES]).unwrap();
        std::thread::sleep(SHORT); // the pace itself is what is tested
    }
    assert!(start.elapsed() > 2 * MEDIUM);
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

/// The grace is an upper bound on the stop. It is no failure if a client does not read.
#[test]
fn a_response_that_is_not_read_ends_with_the_grace() {
    let server =
        Running::start(|server| server.body_timeout(Duration::MAX).grace(SHORT).axum(large()));
    let _client = server.connect().send(ask("/"));
    has(&server, 2);
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// It is no failure either if a client does not send its body.
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

/// If handlers are still working at the end of the grace, their requests are dropped, and the server fails.
#[test]
fn handlers_that_work_end_with_the_grace() {
    let (never, entered) = never();
    let routes = Router::new().route("/", never);
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let _clients = [(); 2].map(|()| server.connect().send(ask("/")));
    let mut http2 = server.connect_http2();
    let call = server.runtime.spawn(http2.send_request(request("/")));
    until(|| entered.load(Ordering::SeqCst) == 3);
    let lost = unanswered(server.stop());
    assert_eq!((lost.requests, lost.grace), (3, SHORT));
    let expected = "the grace of 50 ms was over: 3 requests were dropped unanswered";
    assert_eq!(lost.to_string(), expected);
    assert!(server.runtime.block_on(call).unwrap().is_err());
    assert_eq!(server.failures().len(), 1);
}

/// A request that is answered, and waits for more of its body, does not hide a working handler of its connection.
#[test]
fn an_answered_request_hides_no_handler() {
    let (never, entered) = never();
    let routes =
        Router::new().route("/echo", post(|body: Body| async { body })).route("/never", never);
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let (echoed, sender) = begun("/echo");
    let (call, _echo) = server.runtime.block_on(async {
        let mut client = connect_with_bodies(server.address).await;
        let mut echo = client.send_request(echoed).await.unwrap().into_body();
        assert_eq!(echo.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        let call = client.send_request(request("/never").map(Either::Right));
        (tokio::spawn(call), echo)
    });
    until(|| entered.load(Ordering::SeqCst) == 1);
    assert_eq!(unanswered(server.stop()).requests, 1);
    assert!(server.runtime.block_on(call).unwrap().is_err());
    drop(sender);
}

/// Once its read has timed out, a handler no longer counts as waiting for the body.
#[test]
fn a_handler_works_after_a_body_that_does_not_come() {
    let (tell, told) = mpsc::channel();
    let read = move |mut body: Body| async move {
        tell.send(body.frame().await.unwrap().is_err()).unwrap();
        tell.send(body.frame().await.unwrap().is_err()).unwrap();
        // The body is still here.
        std::future::pending::<()>().await;
        drop(body);
    };
    let routes = Router::new().route("/body", post(read));
    let server =
        Running::start(|server: Server| server.body_timeout(SHORT).grace(SHORT).axum(routes));
    let _client = server.connect().send(PART_OF_A_BODY);
    assert_eq!([(); 2].map(|()| told.recv_timeout(LIMIT)), [Ok(false), Ok(true)]);
    assert_eq!(unanswered(server.stop()).requests, 1);
}

/// If a process that a handler has started does not end, it is aborted after the grace, and the server fails.
#[test]
fn processes_of_requests_that_are_aborted_are_a_failure() {
    let start = |request: axum::Extension<RequestProcess>| async move {
        request.spawn(|_| std::future::pending::<()>()).unwrap();
        "started"
    };
    let routes = Router::new().route("/", get(start));
    let server = Running::start(|server: Server| server.grace(SHORT).axum(routes));
    let _client = server.connect().send(ask("/")).read_to("started");
    let lost = unanswered(server.stop());
    let expected = "the grace of 50 ms was over: processes below the server were aborted";
    assert_eq!((lost.requests, lost.to_string().as_str()), (0, expected));
}

/// Timers need no time driver of tokio.
#[test]
fn a_runtime_without_time_is_enough() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_io().build().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let http = Server::new(address).header_timeout(MEDIUM).axum(hello());
    let _context = runtime.enter();
    let service = procession_runnable::Service::new(http);
    service.start_blocking_within(LIMIT).unwrap();
    Client::connect(address).send(ask("/")).read_to("hello");
    assert_eq!(Client::connect(address).rest(), "");
    service.stop_blocking_within(LIMIT).unwrap();
}
