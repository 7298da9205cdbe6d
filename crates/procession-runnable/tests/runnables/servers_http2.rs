//! HTTP/2: the handlers of a connection run below its process.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use procession::Process;

use crate::common::LIMIT;
use crate::servers_running::{Running, request, until};

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A server whose handler blocks its thread until a gate opens, and then waits for ever.
struct Blocked {
    server: Running,
    /// Open when it is dropped.
    gate: Option<mpsc::Sender<()>>,
    entered: mpsc::Receiver<()>,
    dropped: Arc<AtomicUsize>,
}

impl Blocked {
    fn start() -> Self {
        let (gate, opened) = mpsc::channel::<()>();
        let (enter, entered) = mpsc::channel();
        let dropped = Arc::new(AtomicUsize::new(0));
        let opened = Arc::new(Mutex::new(opened));
        let seen = dropped.clone();
        let handler = move || {
            let (enter, opened, dropped) = (enter.clone(), opened.clone(), Dropped(seen.clone()));
            async move {
                let _dropped = dropped;
                enter.send(()).unwrap();
                let _open = opened.lock().unwrap().recv();
                std::future::pending::<&str>().await
            }
        };
        let routes = Router::new().route("/", get(handler));
        let server = Running::start(|server| server.axum(routes));
        Self { server, gate: Some(gate), entered, dropped }
    }

    fn ends_only_with_its_handler(mut self) {
        let done = self.server.service.done();
        assert!(done.wait_timeout(Duration::from_millis(100)).is_none());
        assert_eq!(self.dropped.load(Ordering::SeqCst), 0);
        self.gate = None;
        let _outcome = self.server.outcome();
        assert_eq!(self.dropped.load(Ordering::SeqCst), 1);
    }
}

/// After an abort, a server is Closed only when its handlers have been dropped.
#[test]
fn an_abort_waits_for_handlers() {
    let blocked = Blocked::start();
    let mut client = blocked.server.connect_http2();
    let call = blocked.server.runtime.spawn(client.send_request(request("/")));
    blocked.entered.recv_timeout(LIMIT).unwrap();
    assert!(blocked.server.service.stop_blocking_within(Duration::from_millis(20)).is_err());
    blocked.ends_only_with_its_handler();
    drop(call);
}

/// A stop waits for a handler even if its client has gone.
#[test]
fn a_stop_waits_for_handlers_without_a_client() {
    let blocked = Blocked::start();
    let mut client = blocked.server.connect_http2();
    let call = blocked.server.runtime.spawn(client.send_request(request("/")));
    blocked.entered.recv_timeout(LIMIT).unwrap();
    call.abort();
    drop(client);
    blocked.server.begin_stop();
    blocked.ends_only_with_its_handler();
}

/// A handler ends when its client has gone, while the server continues.
#[test]
fn a_handler_ends_with_its_client() {
    let (enter, entered) = mpsc::channel();
    let dropped = Arc::new(AtomicUsize::new(0));
    let seen = dropped.clone();
    let handler = move || {
        let (enter, dropped) = (enter.clone(), Dropped(seen.clone()));
        async move {
            let _dropped = dropped;
            enter.send(()).unwrap();
            std::future::pending::<&str>().await
        }
    };
    let routes = Router::new().route("/", get(handler));
    let server = Running::start(|server| server.axum(routes));
    let mut client = server.connect_http2();
    let call = server.runtime.spawn(client.send_request(request("/")));
    entered.recv_timeout(LIMIT).unwrap();
    call.abort();
    until(|| dropped.load(Ordering::SeqCst) == 1);
    drop(client);
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// A teardown of a parent runs after the last handler.
#[test]
fn teardowns_of_parents_run_after_handlers() {
    let blocked = Blocked::start();
    let dropped = blocked.dropped.clone();
    let (tell, told) = mpsc::channel();
    let app: Process = blocked.server.app.clone();
    app.set_teardown(move || tell.send(dropped.load(Ordering::SeqCst)).unwrap()).unwrap();
    let mut client = blocked.server.connect_http2();
    let call = blocked.server.runtime.spawn(client.send_request(request("/")));
    blocked.entered.recv_timeout(LIMIT).unwrap();
    app.abort();
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
    drop(blocked.gate);
    assert_eq!(told.recv_timeout(LIMIT), Ok(1));
    drop(call);
}
