//! A server that runs for a test, and its clients.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use procession::{Error, Process};
use procession_runnable::server::Server;
use procession_runnable::{Runnable, Service, named};
use tokio::runtime::Runtime;

use crate::common::LIMIT;

/// The beginning of each HTTP/2 connection: the preface, and an empty SETTINGS frame.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A server named `http`, and the failures for which hooks above it were called.
pub(crate) struct Running {
    pub(crate) runtime: Runtime,
    pub(crate) app: Process,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
    failures: Arc<Mutex<Vec<String>>>,
    /// The number of processes before the first connection.
    above: usize,
}

impl Running {
    /// Starts a server on a port of its own.
    pub(crate) fn start(make: impl FnOnce(Server) -> Runnable) -> Self {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let server = Server::new(move || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            tell.lock().unwrap().send(listener.local_addr()?).unwrap();
            Ok(listener)
        });
        let runtime = Runtime::new().unwrap();
        let _context = runtime.enter();
        let failures = Arc::new(Mutex::new(Vec::new()));
        let seen = failures.clone();
        let hook = move |_: &Process, error: &Error| {
            seen.lock().unwrap().push(error.with_causes().to_string());
        };
        let app = Process::builder().name("app").on_failure(hook).build().unwrap();
        let service = Service::under(&app, named("http", make(server))).unwrap();
        service.start_blocking_within(LIMIT).unwrap();
        let address = told.recv_timeout(LIMIT).unwrap();
        drop(_context);
        let above = app.snapshot().open();
        Self { runtime, app, service, address, failures, above }
    }

    /// Stops the server, which must end in time.
    #[track_caller]
    pub(crate) fn stop(&self) -> Result<(), Error> {
        self.begin_stop();
        self.outcome()
    }

    /// Asks the server to stop, and waits until it accepts no more connections.
    pub(crate) fn begin_stop(&self) {
        let service = self.service.clone();
        thread::spawn(move || service.stop_blocking());
        until(|| TcpStream::connect(self.address).is_err());
    }

    /// The outcome of the server, which must end in time.
    #[track_caller]
    pub(crate) fn outcome(&self) -> Result<(), Error> {
        let done = self.service.done().wait_timeout(LIMIT);
        done.unwrap_or_else(|| panic!("the server did not end: {:#}", self.app.snapshot())).clone()
    }

    /// The number of processes below the server: connections and requests.
    pub(crate) fn below(&self) -> usize {
        self.app.snapshot().open() - self.above
    }

    /// The failures so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// An HTTP/2 client. Dropping it ends its connection once its requests have ended.
    pub(crate) fn connect_http2(&self) -> SendRequest<Full<Bytes>> {
        let address = self.address;
        self.runtime.block_on(async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let io = TokioIo::new(stream);
            let (client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            client
        })
    }
}

/// A connection on which a test can write any bytes.
pub(crate) struct Client(pub(crate) TcpStream);

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    /// Sends these bytes.
    pub(crate) fn send(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.write_all(bytes.as_ref()).unwrap();
        self
    }

    /// Reads until this text has come.
    pub(crate) fn read_to(mut self, end: &str) -> Self {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap_or_else(|error| {
                panic!("{error} after {:?}", String::from_utf8_lossy(&read))
            });
            read.push(byte[0]);
        }
        self
    }

    /// Reads to the end of the connection, which must come in time.
    #[track_caller]
    pub(crate) fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut bytes) {
            let is_slow =
                matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
            assert!(!is_slow, "the connection did not end");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(crate) fn until(condition: impl Fn() -> bool) {
    let end = std::time::Instant::now() + LIMIT;
    while !condition() {
        assert!(std::time::Instant::now() < end, "the condition did not come true");
        thread::yield_now();
    }
}

/// An HTTP/1 request without a body.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// An HTTP/2 request without a body.
pub(crate) fn request(path: &str) -> hyper::Request<Full<Bytes>> {
    hyper::Request::get(format!("http://localhost{path}")).body(Full::default()).unwrap()
}
