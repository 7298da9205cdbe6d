//! Panics and errors of handlers are failures, each reported once. The behaviour of clients is not a failure.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use procession::BoxError;
use procession_runnable::server::RequestBody;

use crate::servers_running::{PREFACE, Running, get as ask, request, until};

type Answer = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, BoxError>> + Send>>;

/// Sends a request that fails, on both versions of HTTP. Each failure is reported once, and the server continues.
fn fails(server: &Running, path: &str, expected: &str) {
    drop(server.connect().send(ask(path)).rest());
    until(|| !server.failures().is_empty());
    let mut client = server.connect_http2();
    server.runtime.block_on(async {
        let answer = client.send_request(request(path)).await;
        assert!(answer.is_err() || answer.unwrap().collect().await.is_err());
        let answer = client.send_request(request("/")).await.unwrap();
        assert!(answer.status().is_success());
    });
    until(|| server.failures().len() >= 2);
    assert!(server.connect().send(ask("/")).read_to("hello").0.peer_addr().is_ok());
    drop(client);
    server.stop().unwrap();
    assert_eq!(server.failures(), [expected, expected]);
}

/// A panic is the failure of its request. On HTTP/2, the other requests of the connection continue.
#[test]
fn a_panic_is_a_failure() {
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/panic", get(|| async { panic!("no paper") as &str }));
    let server = Running::start(|server| server.axum(routes));
    fails(&server, "/panic", "process `request` panicked: no paper");
}

/// A panic in the drop of a handler whose client has gone is also a failure of the request.
#[test]
fn a_panic_in_a_drop_is_a_failure() {
    struct Panics;

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("no paper");
        }
    }

    let entered = Arc::new(AtomicUsize::new(0));
    let count = entered.clone();
    let held = move || {
        let count = count.clone();
        async move {
            let _panics = Panics;
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<&str>().await
        }
    };
    let server = Running::start(|server| server.axum(Router::new().route("/", get(held))));
    let client = server.connect().send(ask("/"));
    until(|| entered.load(Ordering::SeqCst) == 1);
    drop(client);
    until(|| server.failures().len() == 1);
    let mut client = server.connect_http2();
    let call = server.runtime.spawn(client.send_request(request("/")));
    until(|| entered.load(Ordering::SeqCst) == 2);
    call.abort();
    until(|| server.failures().len() == 2);
    drop(client);
    server.stop().unwrap();
    assert_eq!(server.failures(), ["process `request` panicked: no paper"; 2]);
}

/// A panic while the service is cloned for a connection is the failure of that connection only.
#[test]
fn a_panic_in_a_clone_ends_one_connection() {
    struct Cloned(Arc<AtomicBool>);

    impl Clone for Cloned {
        fn clone(&self) -> Self {
            assert!(!self.0.swap(false, Ordering::SeqCst), "no paper");
            Self(self.0.clone())
        }
    }

    let panics = Arc::new(AtomicBool::new(false));
    let cloned = Cloned(panics.clone());
    let service = service_fn(move |_: Request<RequestBody>| {
        let _cloned = &cloned;
        async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("hello")))) }
    });
    let server = Running::start(|server| server.hyper(service));
    panics.store(true, Ordering::SeqCst);
    assert_eq!(server.connect().send(ask("/")).rest(), "");
    server.connect().send(ask("/")).read_to("hello");
    server.stop().unwrap();
    assert_eq!(server.failures(), ["process `connection` panicked: no paper"]);
}

/// An error that a service returns is a failure of the request.
#[test]
fn an_error_is_a_failure() {
    let service = service_fn(|request: Request<RequestBody>| {
        let is_good = request.uri().path() == "/";
        async move {
            if is_good {
                Ok(Response::new(Full::new(Bytes::from("hello"))))
            } else {
                Err("no paper")
            }
        }
    });
    let server = Running::start(|server| server.hyper(service));
    fails(&server, "/error", "process `request` failed: no paper");
}

/// A response body that fails is a failure of the request.
#[test]
fn a_response_body_that_fails_is_a_failure() {
    let broken = || async {
        let parts = futures_lite::stream::iter([Ok("a part"), Err(io::Error::other("no paper"))]);
        Body::from_stream(parts)
    };
    let routes = Router::new().route("/", get(|| async { "hello" })).route("/broken", get(broken));
    let server = Running::start(|server| server.axum(routes));
    // axum's error repeats its source.
    let expected = "process `request` failed: no paper: no paper: no paper";
    fails(&server, "/broken", expected);
}

/// Clients that disconnect or break the protocol cause no failure, even if the service returns their errors.
#[test]
fn clients_cause_no_failures() {
    let service = service_fn(|request: Request<RequestBody>| -> Answer {
        Box::pin(async move {
            request.into_body().collect().await?;
            Ok(Response::new(Full::default()))
        })
    });
    let server = Running::start(|server| server.hyper(service));
    assert!(server.connect().send("nonsense\r\n\r\n").rest().starts_with("HTTP/1.1 400"));
    let mut wrong = PREFACE.to_vec();
    wrong.extend_from_slice(&[0xff; 64]);
    drop(server.connect().send(&wrong).rest());
    drop(server.connect().send("GET / HT"));
    drop(server.connect().send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"));
    let stalled = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n";
    drop(server.connect().send(stalled).rest());
    // Unread data makes the OS reset the connection.
    drop(server.connect().send(ask("/")));
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// If a handler aborts its own request, the connection ends, and the server does not fail.
#[test]
fn a_handler_can_abort_its_request() {
    use axum::Extension;
    use procession_runnable::server::RequestProcess;

    let abort = |request: Extension<RequestProcess>| async move {
        request.abort();
        std::future::pending::<Infallible>().await;
    };
    let routes = Router::new().route("/", get(abort));
    let server = Running::start(|server| server.axum(routes));
    assert_eq!(server.connect().send(ask("/")).rest(), "");
    server.stop().unwrap();
    // Hooks may be called for the abort.
    assert!(server.failures().iter().all(|failure| failure.contains("was aborted")));
}
