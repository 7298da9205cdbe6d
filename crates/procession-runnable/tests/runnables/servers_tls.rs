//! TLS: both versions of HTTP, and handshakes that fail or stall.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use procession_runnable::Service;
use procession_runnable::server::Server;
use procession_runnable::server::rustls::pki_types::ServerName;
use procession_runnable::server::rustls::{ClientConfig, RootCertStore, ServerConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::common::LIMIT;
use crate::servers_running::{Running, request};

/// The configuration of a server, and the root certificates with which clients trust it.
fn trusted() -> (ServerConfig, RootCertStore) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    (config, roots)
}

/// A server, and the root certificates with which clients trust it.
fn secure(protocols: &[&str], header_timeout: Duration) -> (Running, Arc<RootCertStore>) {
    let (mut config, roots) = trusted();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let routes = Router::new().route("/", get(|| async { "hello" }));
    let start = |server: Server| server.tls(config).header_timeout(header_timeout).axum(routes);
    (Running::start(start), Arc::new(roots))
}

async fn connect(
    server: &Running,
    roots: Arc<RootCertStore>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

const LONG: Duration = Duration::from_secs(30);

/// The client and the server agree on a version of HTTP, and both versions are served.
#[test]
fn both_versions_are_offered() {
    let (server, roots) = secure(&[], LONG);
    server.runtime.block_on(async {
        for protocols in [&["h2", "http/1.1"][..], &["h2"]] {
            let stream = connect(&server, roots.clone(), protocols).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let io = TokioIo::new(stream);
            let (mut client, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            let answer = client.send_request(request("/")).await.unwrap();
            assert_eq!(answer.collect().await.unwrap().to_bytes(), "hello");
        }
        for protocols in [&["http/1.1"][..], &[]] {
            let stream = connect(&server, roots.clone(), protocols).await.unwrap();
            let expected = protocols.first().map(|name| name.as_bytes());
            assert_eq!(stream.get_ref().1.alpn_protocol(), expected);
            let io = TokioIo::new(stream);
            let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            let request = Request::get("/").header("Host", "localhost");
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let answer = client.send_request(request).await.unwrap();
            assert_eq!(answer.collect().await.unwrap().to_bytes(), "hello");
        }
    });
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// If a configuration names protocols, they are kept.
#[test]
fn own_protocols_are_kept() {
    let (server, roots) = secure(&["http/1.1"], LONG);
    let stream = server.runtime.block_on(connect(&server, roots, &["h2", "http/1.1"])).unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    drop(stream);
    server.stop().unwrap();
}

/// A handshake that fails ends only its connection.
#[test]
fn a_failed_handshake_is_no_failure() {
    let (server, roots) = secure(&[], LONG);
    drop(server.connect().send("GET / HTTP/1.1\r\n\r\n").rest());
    drop(server.connect().send([0x16, 3, 1]));
    server.runtime.block_on(async {
        let untrusting = connect(&server, Arc::new(RootCertStore::empty()), &[]).await;
        assert!(untrusting.is_err());
        assert!(connect(&server, roots.clone(), &["smtp"]).await.is_err());
        assert!(connect(&server, roots, &["h2"]).await.is_ok());
    });
    server.stop().unwrap();
    assert_eq!(server.failures(), [""; 0]);
}

/// The header timeout ends a handshake that stalls, and a stop does not wait for it.
#[test]
fn a_stalled_handshake_ends() {
    let (server, _) = secure(&[], Duration::from_millis(50));
    assert_eq!(server.connect().send([0x16, 3, 1]).rest(), "");
    assert_eq!(server.connect().rest(), "");
    server.stop().unwrap();
    let (server, _) = secure(&[], LONG);
    let client = server.connect().send([0x16, 3, 1]);
    server.stop().unwrap();
    assert_eq!(client.rest(), "");
}

/// With a TLS configuration, a TCP server does not serve plain text, but fails to start.
#[test]
fn a_tcp_server_refuses_tls() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let handler = |_: std::net::TcpStream, _: procession::Process| procession::ok();
    let service = Service::new(Server::new(address).tls(trusted().0).tcp(handler));
    let error = service.start_blocking_within(LIMIT).unwrap_err().with_causes().to_string();
    assert!(error.contains("`Server::tcp` has no TLS"), "{error}");
}
