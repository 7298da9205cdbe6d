//! A stop under load: every request that reached a handler is answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;

use crate::common::LIMIT;
use crate::servers_running::{Running, get as ask, request, until};

const CLIENTS: usize = 16;
const ROUNDS: usize = 8;
/// The number of responses before a stop.
const WARM: usize = 400;

/// Sends requests on one connection after the other until the server is gone, and counts the responses.
fn ask_again(address: SocketAddr, answered: &AtomicUsize) -> io::Result<()> {
    loop {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut answers = BufReader::new(stream.try_clone()?);
        // Several requests on each connection, so that the stop meets both new and idle connections.
        for _ in 0..20 {
            stream.write_all(ask("/").as_bytes())?;
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                if answers.read_line(&mut line)? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            answers.read_exact(&mut [0; 5])?;
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[test]
fn nothing_is_lost_when_a_server_stops_under_load() {
    for round in 0..ROUNDS {
        let handled = Arc::new(AtomicUsize::new(0));
        let answered = Arc::new(AtomicUsize::new(0));
        let count = handled.clone();
        let handler = move || {
            count.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::task::yield_now().await;
                "hello"
            }
        };
        let routes = Router::new().route("/", get(handler));
        let server = Running::start(|server| server.axum(routes));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (address, answered) = (server.address, answered.clone());
                thread::spawn(move || ask_again(address, &answered).unwrap_err())
            })
            .collect();
        let mut http2 = server.connect_http2();
        let (by_streams, counted) = (Arc::new(AtomicUsize::new(0)), answered.clone());
        let streams = by_streams.clone();
        let calls = server.runtime.spawn(async move {
            loop {
                let calls: Vec<_> =
                    (0..8).map(|_| tokio::spawn(http2.send_request(request("/")))).collect();
                for call in calls {
                    let Ok(answer) = call.await.unwrap() else { return };
                    assert_eq!(answer.collect().await.unwrap().to_bytes(), "hello");
                    counted.fetch_add(1, Ordering::SeqCst);
                    streams.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        until(|| answered.load(Ordering::SeqCst) >= WARM + 50 * round);
        server.begin_stop();
        for client in clients {
            let ended = client.join().unwrap();
            assert!(!matches!(ended.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut));
        }
        server.runtime.block_on(calls).unwrap();
        server.outcome().unwrap();
        assert_eq!(handled.load(Ordering::SeqCst), answered.load(Ordering::SeqCst));
        assert!(by_streams.load(Ordering::SeqCst) > 0);
        assert_eq!(server.failures(), [""; 0]);
    }
}
