//! Handlers can reach the processes of their connection and of their request.

use std::sync::mpsc;

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt;
use procession::{Phase, Process};
use procession_runnable::server::{ConnectionProcess, RequestProcess};

use crate::common::LIMIT;
use crate::servers_running::{Running, get as ask, request};

type Processes = (Process, Process);

/// A server whose handlers send their processes to the returned channel. The response of `/stream` ends only when its
/// request closes.
fn telling() -> (Running, mpsc::Receiver<Processes>) {
    let (tell, told) = mpsc::channel();
    let also = tell.clone();
    let here = move |connection: Extension<ConnectionProcess>,
                     request: Extension<RequestProcess>| async move {
        assert!(connection.peer_address().ip().is_loopback());
        assert!(request.path().contains("/http/connection/request"));
        tell.send((connection.process().clone(), request.process().clone())).unwrap();
        "here"
    };
    let stream = move |connection: Extension<ConnectionProcess>,
                       request: Extension<RequestProcess>| async move {
        let process = request.process().clone();
        also.send((connection.process().clone(), process.clone())).unwrap();
        let events = futures_lite::stream::once_future(async move {
            process.closing().await;
            Ok::<_, std::io::Error>("the end")
        });
        Body::from_stream(events)
    };
    let routes = Router::new().route("/", get(here)).route("/stream", get(stream));
    (Running::start(|server| server.axum(routes)), told)
}

/// Each request of a connection has a process of its own, below that of the connection, which closes with the response.
#[test]
fn each_request_has_a_process() {
    for is_http2 in [false, true] {
        let (server, told) = telling();
        if is_http2 {
            let mut client = server.connect_http2();
            server.runtime.block_on(async {
                for _ in 0..2 {
                    client.send_request(request("/")).await.unwrap().collect().await.unwrap();
                }
            });
        } else {
            server.connect().send(ask("/")).read_to("here").send(ask("/")).read_to("here");
        }
        let [first, second] = [(); 2].map(|()| told.recv_timeout(LIMIT).unwrap());
        assert_eq!(first.0, second.0);
        assert_ne!(first.1, second.1);
        for request in [first.1, second.1] {
            request.closed().wait_timeout(LIMIT).unwrap().unwrap();
        }
        first.0.closed().wait_timeout(LIMIT).unwrap().unwrap();
        server.stop().unwrap();
        assert_eq!(server.failures(), [""; 0]);
    }
}

/// A streamed response keeps its request open. The request begins to close when the server does, so that the handler
/// can end the stream.
#[test]
fn streams_end_when_the_server_closes() {
    for is_http2 in [false, true] {
        let (server, told) = telling();
        let client = if is_http2 {
            let mut client = server.connect_http2();
            let answer = server.runtime.block_on(client.send_request(request("/stream"))).unwrap();
            Ok(answer)
        } else {
            Err(server.connect().send(ask("/stream")).read_to("\r\n\r\n"))
        };
        let (connection, request) = told.recv_timeout(LIMIT).unwrap();
        assert_eq!((connection.phase(), request.phase()), (Phase::Running, Phase::Running));
        server.begin_stop();
        match client {
            Ok(answer) => {
                let body = server.runtime.block_on(answer.into_body().collect()).unwrap();
                assert_eq!(body.to_bytes(), "the end");
            }
            Err(client) => assert!(client.rest().contains("the end")),
        }
        server.outcome().unwrap();
        assert!(request.outcome().unwrap().is_ok());
        assert_eq!(server.failures(), [""; 0]);
    }
}

/// Work that a handler starts below its request keeps the server open, and is closed with it. Other requests of the
/// connection do not wait for it.
#[test]
fn handlers_start_work_below_their_requests() {
    let (tell, told) = mpsc::channel();
    let start = move |request: Extension<RequestProcess>| async move {
        let tell = tell.clone();
        let work = move |p: Process| async move {
            p.closing().await;
            tell.send(()).unwrap();
        };
        request.spawn(work).unwrap();
        "started"
    };
    let routes = Router::new().route("/", get(start)).route("/other", get(|| async { "other" }));
    let server = Running::start(|server| server.axum(routes));
    let client =
        server.connect().send(ask("/")).read_to("started").send(ask("/other")).read_to("other");
    drop(client);
    assert!(told.try_recv().is_err());
    server.stop().unwrap();
    told.recv_timeout(LIMIT).unwrap();
}
