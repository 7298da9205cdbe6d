//! A web server that answers what it has accepted, and a handler that knows when the server closes.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use axum::extract::State;
use axum::{Extension, Router, routing::get};
use procession::{BoxError, Process};
use procession_runnable::server::{self, RequestProcess};
use procession_runnable::{named, run_in, sequential, start_stop};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

type Request = Extension<RequestProcess>;

/// Answers when the server closes. A stream of events would end then.
async fn wait(State(arrived): State<UnboundedSender<()>>, request: Request) -> &'static str {
    println!("2. a request waits");
    let _sent = arrived.send(());
    request.closing().await;
    "the server is closing"
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (arrived, mut arrivals) = unbounded_channel();
    let (bound, mut addresses) = unbounded_channel();

    let database = start_stop(
        |_| async { println!("1. the database is open") },
        || async { println!("3. the database is closed, after the server") },
    );
    let bind = move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let _sent = bound.send(listener.local_addr()?);
        Ok::<_, io::Error>(listener)
    };
    let http = server::axum(bind, Router::new().route("/", get(wait)).with_state(arrived));
    let stack = sequential([named("database", database), named("http", http)]);

    let app = Process::builder().name("app").build()?;
    let (answered, mut answers) = unbounded_channel();
    // The stack runs around this body: it is ready before, and stops after it.
    let body = |_| async move {
        let address = addresses.recv().await.ok_or("the server has an address")?;
        std::thread::spawn(move || answered.send(ask(address)));
        arrivals.recv().await.ok_or("the handler is called")
    };
    run_in(&app, &stack, body).await?;
    let answer = answers.recv().await.ok_or("the client has an answer")??;
    println!("4. the answer was: {}", answer.lines().last().unwrap_or_default());
    Ok(())
}

fn ask(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
