//! Viewers that do not read.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::Duration;

use futures_lite::future::{block_on, or};
use procession::{Clock, Process, SystemClock};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use super::inspect::{Inspect, Service};

/// Long, because machines are slow.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection whose buffer is as small as the system allows.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1024).unwrap();
    connect(&socket, &address).unwrap();
    socket.into()
}

#[test]
fn a_viewer_that_does_not_read_is_dropped() {
    let app = Process::builder().name("app").build().unwrap();
    // Long lines: each frame is a large part of what the system keeps for a connection.
    let name = |number: usize| format!("{number} {}", "\u{e9}".repeat(100));
    let mut chain = app.clone();
    for number in 0..16 {
        chain = Process::builder().name(name(number)).parent(&chain).build().unwrap();
    }
    let stubborn = |number: usize| {
        let stubborn = Process::builder().name(format!("{} x", name(number))).parent(&chain);
        stubborn.spawn_thread(|p| assert!(p.aborting().wait())).unwrap()
    };
    let _kept: Vec<Process> = (0..16).map(stubborn).collect();
    let (sender, receiver) = mpsc::channel();
    let page = Inspect::new(&app).address(([127, 0, 0, 1], 0));
    let page = page.on_ready(move |url| sender.send(url.to_owned()).unwrap());
    let service = Service::new(page).unwrap();
    service.serve().unwrap();
    let url = receiver.recv_timeout(LIMIT).unwrap();
    let address = url.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap();

    let mut viewer = narrow(address);
    viewer.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let have = |count: usize| {
        let late = async {
            SystemClock.sleep(LIMIT).await;
            panic!("there are not {count} viewers")
        };
        block_on(or(service.hub().has_viewers(count), late));
    };
    have(1);
    // Now there is a frame every 100 ms.
    app.close();
    have(0);
    app.abort();
    drop(app.closed().wait());
    drop(viewer);
}
