//! Servers: accepted requests are answered, and an abort ends everything.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use axum::Router;
use axum::routing::get;
use futures_lite::future::block_on;
use futures_lite::stream;
use procession::Process;
use procession_runnable::{Runnable, Service, named, run_in, server};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::service::Routes;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::common::{LIMIT, errors};

const CLIENTS: usize = 50;

/// An address, and a function that listens on it in each run.
fn port() -> (SocketAddr, impl Fn() -> io::Result<TcpListener> + Clone + Send + Sync) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    (address, move || TcpListener::bind(address))
}

/// Sends a request, and reads the response to its end.
fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Starts the runnable on a runtime.
fn start(runtime: &Runtime, runnable: Runnable) -> Service {
    let _context = runtime.enter();
    let service = Service::new(runnable);
    service.start_blocking_within(LIMIT).unwrap();
    service
}

/// Every request that was accepted before the server was asked to stop is answered. New ones are refused.
#[test]
fn running_requests_finish() {
    let runtime = Runtime::new().unwrap();
    let (address, bind) = port();
    let (gate, entered) = (Process::new(), Arc::new(AtomicUsize::new(0)));
    let (closed, count) = (gate.clone(), entered.clone());
    let handler = move || {
        let (gate, entered) = (closed.closed(), count.clone());
        async move {
            entered.fetch_add(1, Ordering::SeqCst);
            gate.await.unwrap();
            "answered"
        }
    };
    let http = server::axum(bind, Router::new().route("/", get(handler)));
    let service = start(&runtime, named("http", http));
    let clients: Vec<_> = (0..CLIENTS).map(|_| thread::spawn(move || ask(address))).collect();
    while entered.load(Ordering::SeqCst) < CLIENTS {
        thread::yield_now();
    }
    let stopping = service.clone();
    let stopped = thread::spawn(move || stopping.stop_blocking());
    while TcpStream::connect(address).is_ok() {
        thread::yield_now();
    }
    assert!(service.outcome().is_none());
    gate.close();
    for client in clients {
        let answer = client.join().unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("answered"), "{answer}");
    }
    stopped.join().unwrap().unwrap();
    assert!(ask(address).is_err());
}

/// An abort drops the requests that do not finish.
#[test]
fn an_abort_drops_requests() {
    let runtime = Runtime::new().unwrap();
    let (address, bind) = port();
    let (tell, told) = mpsc::channel();
    let handler = move || {
        tell.send(()).unwrap();
        std::future::pending::<&str>()
    };
    let http = server::axum(bind, Router::new().route("/", get(handler)));
    let service = start(&runtime, http);
    let client = thread::spawn(move || ask(address));
    told.recv_timeout(LIMIT).unwrap();
    assert!(service.stop_blocking_within(std::time::Duration::from_millis(20)).is_err());
    assert!(service.done().wait_timeout(LIMIT).is_some());
    // The client may see an end or an error, but no response.
    assert!(client.join().unwrap().map_or(true, |answer| answer.is_empty()));
}

/// A server can be run again. It fails if its address is in use, and without tokio.
#[test]
fn requirements_of_a_server() {
    let runtime = Runtime::new().unwrap();
    let (_, bind) = port();
    let router = Router::new().route("/", get(|| async { "hello" }));
    let http = named("http", server::axum(bind.clone(), router));
    for _ in 0..2 {
        start(&runtime, http.clone()).stop_blocking().unwrap();
    }
    let taken = bind().unwrap();
    let _context = runtime.enter();
    let refused =
        Service::new(http.clone()).start_blocking().unwrap_err().with_causes().to_string();
    assert!(
        refused.starts_with("process `http` failed: ") && refused.contains("in use"),
        "{refused}"
    );
    drop((taken, _context));
    let outside = errors(block_on(run_in(&Process::new(), &http, |_| async {})));
    let expected = "process `http` failed: an HTTP server needs a tokio runtime: use `run_with_async` inside \
                    `#[tokio::main]`, for example";
    assert_eq!(outside, [expected]);
}

/// A TCP server serves each accepted connection to its end, even if it is asked to stop.
#[test]
fn connections_on_threads() {
    let (address, bind) = port();
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let echo = server::tcp(bind, move |mut stream: TcpStream, p: Process| {
        tell.lock().unwrap().send(()).unwrap();
        p.closing().wait(); // the reply comes after the server was asked to stop
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer)?;
        stream.write_all(&buffer)
    });
    let service = Service::new(named("echo", echo));
    service.start_blocking().unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            thread::spawn(move || {
                let mut stream = TcpStream::connect(address)?;
                stream.write_all(b"hello")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok::<String, io::Error>(answer)
            })
        })
        .collect();
    (0..CLIENTS).for_each(|_| told.recv_timeout(LIMIT).unwrap());
    service.stop_blocking().unwrap();
    for client in clients {
        assert_eq!(client.join().unwrap().unwrap(), "hello");
    }
    assert!(TcpStream::connect(address).is_err());
}

/// An abort ends a handler that hangs in a read.
#[test]
fn an_abort_ends_a_read() {
    let (address, bind) = port();
    let (tell, told) = mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let reader = server::tcp(bind, move |mut stream: TcpStream, _: Process| {
        tell.lock().unwrap().send(()).unwrap();
        stream.read_exact(&mut [0; 5])
    });
    let service = Service::new(reader);
    service.start_blocking().unwrap();
    let client = TcpStream::connect(address).unwrap();
    told.recv_timeout(LIMIT).unwrap();
    assert!(service.stop_blocking_within(std::time::Duration::from_millis(20)).is_err());
    assert!(service.done().wait_timeout(LIMIT).is_some());
    drop(client);
}

/// A gRPC service whose answers wait for a gate.
struct Gated {
    gate: Process,
    entered: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Health for Gated {
    type WatchStream = stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: tonic::Request<HealthCheckRequest>) -> Reply<HealthCheckResponse> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        self.gate.closed().await.map_err(|error| Status::internal(error.to_string()))?;
        Ok(tonic::Response::new(HealthCheckResponse { status: 1 }))
    }

    async fn watch(&self, _: tonic::Request<HealthCheckRequest>) -> Reply<Self::WatchStream> {
        Ok(tonic::Response::new(stream::empty()))
    }
}

type Reply<T> = Result<tonic::Response<T>, Status>;

/// When the server is asked to stop, it answers the calls in progress on an HTTP/2 connection; an abort ends them.
#[test]
fn calls_on_one_connection() {
    for is_forced in [false, true] {
        let runtime = Runtime::new().unwrap();
        let (address, bind) = port();
        let (gate, entered) = (Process::new(), Arc::new(AtomicUsize::new(0)));
        let health = HealthServer::new(Gated { gate: gate.clone(), entered: entered.clone() });
        let service = start(&runtime, named("grpc", server::tonic(bind, Routes::new(health))));
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let channel = runtime.block_on(endpoint.unwrap().connect()).unwrap();
        let calls: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let mut client = HealthClient::new(channel.clone());
                runtime.spawn(async move { client.check(HealthCheckRequest::default()).await })
            })
            .collect();
        while entered.load(Ordering::SeqCst) < CLIENTS {
            thread::yield_now();
        }
        if is_forced {
            let stopped = service.stop_blocking_within(std::time::Duration::from_millis(20));
            assert!(stopped.is_err());
            assert!(service.done().wait_timeout(LIMIT).is_some());
        } else {
            let stopping = service.clone();
            let stopped = thread::spawn(move || stopping.stop_blocking());
            while TcpStream::connect(address).is_ok() {
                thread::yield_now();
            }
            gate.close();
            stopped.join().unwrap().unwrap();
        }
        for call in calls {
            assert_eq!(runtime.block_on(call).unwrap().is_err(), is_forced);
        }
    }
}
