//! Viewers that do not read.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use futures_lite::future::{block_on, or};
use procession::{Clock, Process, Site, SystemClock};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use super::inspect::{Inspect, Service};

/// Long, because machines are slow.
const LIMIT: Duration = Duration::from_secs(120);

/// A connection whose buffer is as small as the system allows.
fn small(address: SocketAddr) -> TcpStream {
    let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 1024).unwrap();
    connect(&socket, &address).unwrap();
    socket.into()
}

#[test]
fn a_viewer_that_does_not_read_is_dropped() {
    let app = Process::builder().name("app").build().unwrap();
    let stubborn = |number: usize| {
        let stubborn = Process::builder().name(format!("part {number}")).parent(&app);
        stubborn.spawn_thread(|p| assert!(p.aborting().wait())).unwrap()
    };
    let _kept: Vec<Process> = (0..16).map(stubborn).collect();
    let page = Inspect::new(&app).address(([127, 0, 0, 1], 0)).on_ready(|_| ());
    let service = Service::new(page, Site::caller()).unwrap();
    // Its connections have the buffer of the listener.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sockopt::set_socket_send_buffer_size(&listener, 1024).unwrap();
    let address = listener.local_addr().unwrap();
    service.serve_on(listener).unwrap();

    let mut viewer = small(address);
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
