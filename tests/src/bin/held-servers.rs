//! Run by the tests in `held_servers.rs`: programs with a server that cannot stop, because of the part that the
//! argument names. Each must end after its grace and its abort grace, and name that part.

#![forbid(unsafe_code)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use procession::{Exit, Main, Process};
use procession_runnable::server::{self, Bind};
use procession_runnable::{
    Runnable, named, run_with, run_with_async, sequential, start_stop_thread,
};

const SHORT: Duration = Duration::from_millis(200);

fn main() -> Exit {
    let main = Main::new().name("held").grace(SHORT).abort_grace(SHORT);
    let kind = std::env::args().nth(1);
    match kind.as_deref() {
        Some("thread") => run_with(main, &named("echo", server::tcp(listen, hold))),
        Some(kind) => {
            let routes = match kind {
                "handler" => Router::new().route("/", get(|| async { hold_thread() })),
                "teardown" => Router::new().route("/", get(|| async { println!("entered") })),
                other => panic!("{other}"),
            };
            let http = named("http", server::axum(listen, routes));
            let stack = if kind == "teardown" { sequential([database(), http]) } else { http };
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let exit = runtime.block_on(run_with_async(main, &stack));
            runtime.shutdown_background();
            exit
        }
        None => panic!("no argument"),
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let listener = SocketAddr::from(([127, 0, 0, 1], 0)).listen()?;
    println!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// A handler that ignores everything.
fn hold(_: TcpStream, _: Process) {
    hold_thread();
}

fn hold_thread() {
    println!("entered");
    loop {
        thread::park();
    }
}

/// A part whose teardown never ends.
fn database() -> Runnable {
    let stop = || loop {
        thread::park();
    };
    named("database", start_stop_thread(|_| (), stop))
}
