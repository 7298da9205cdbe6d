//! Programs that hang, and a proxy in front of them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use procession::{ChildFailure, Process};
use procession_inspect::Inspect;
use procession_runnable::Start;
use procession_test_browser::{LIMIT, Screen};

pub(crate) const WIDE: Screen = Screen { width: 1400, height: 900, is_dark: false };
pub(crate) const NARROW: Screen = Screen { width: 390, height: 844, is_dark: false };

/// Each size in light and dark colours, with a name.
pub(crate) const SCREENS: [(&str, Screen); 4] = [
    ("wide-light", WIDE),
    ("wide-dark", Screen { is_dark: true, ..WIDE }),
    ("narrow-light", NARROW),
    ("narrow-dark", Screen { is_dark: true, ..NARROW }),
];

/// The file of a screenshot, in the directory for files of tests.
pub(crate) fn picture(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&directory).unwrap();
    directory.join(format!("{name}.png"))
}

/// A process with a page.
pub(crate) struct Scene {
    pub(crate) app: Process,
    pub(crate) address: SocketAddr,
    server: Process,
    kept: Vec<Process>,
}

/// Starts the page of this process, as a part of it.
pub(crate) fn serve(app: &Process) -> SocketAddr {
    serve_in(app, app)
}

/// Starts the page of `app` as a part of `host`.
pub(crate) fn serve_in(app: &Process, host: &Process) -> SocketAddr {
    serve_page(Inspect::new(app), host)
}

/// Starts this page as a part of `host`.
pub(crate) fn serve_page(page: Inspect, host: &Process) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    let page = page.address(([127, 0, 0, 1], 0));
    let page = page.on_ready(move |url| sender.send(url.to_owned()).unwrap());
    let (start, readiness) = Start::under(host);
    let _page = page.runnable().unwrap().start(start.named("page")).unwrap();
    futures_lite::future::block_on(readiness).unwrap();
    address(&receiver.recv_timeout(LIMIT).unwrap())
}

/// The address in a URL.
pub(crate) fn address(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().trim_end_matches('/').parse().unwrap()
}

fn named<'a>(name: &str, parent: &'a Process) -> procession::Builder<'a> {
    Process::builder().name(name.to_owned()).parent(parent)
}

/// A process that does nothing.
pub(crate) fn child(name: &str, parent: &Process) -> Process {
    named(name, parent).build().unwrap()
}

/// Adds a process whose thread ignores that it should close.
pub(crate) fn stubborn(name: &str, parent: &Process) -> Process {
    named(name, parent).spawn_thread(|p| assert!(p.aborting().wait())).unwrap()
}

impl Scene {
    /// A program without children, except for the page.
    pub(crate) fn empty() -> Self {
        let app = Process::builder().name("app").on_child_failure(ChildFailure::Ignore);
        let app = app.build().unwrap();
        let server = Process::builder().name("server").build().unwrap();
        let address = serve(&app);
        Self { app, address, server, kept: Vec::new() }
    }

    /// It hangs for two reasons: a thread that ignores closing, and a process that waits for one that nobody closes.
    pub(crate) fn stuck() -> Self {
        let mut scene = Self::empty();
        let db = child("db", &scene.app);
        scene.kept.push(stubborn("cache", &db));
        let log = named("log", &scene.app).wait_for(&scene.server);
        scene.kept.extend([log.build().unwrap(), db]);
        scene
    }

    /// It also hangs for a family of bodies. One part has failed, and there are this many processes in all.
    pub(crate) fn large(processes: usize) -> Self {
        let mut scene = Self::stuck();
        let db = scene.kept.last().unwrap().clone();
        let writer = named("writer", &db).spawn_thread(|_| Err("disk full")).unwrap();
        writer.closed().wait().unwrap_err();
        let http = child("http", &scene.app);
        for number in 0..38 {
            let session = named(&format!("session-{number}"), &http);
            let session = session.spawn(|p| async move { assert!(p.aborting().await) });
            scene.kept.push(session.unwrap());
        }
        let pool = child("pool", &scene.app);
        for number in 0..processes.saturating_sub(46) {
            let connection = named(&format!("connection {number}"), &pool).wait_for(&scene.server);
            scene.kept.push(connection.build().unwrap());
        }
        scene.kept.extend([http, pool]);
        scene
    }

    pub(crate) fn keep(&mut self, process: Process) {
        self.kept.push(process);
    }

    /// Its address, with this path and query.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Lets it end.
    pub(crate) fn end(&self) {
        drop(self.server.close());
        drop(self.app.abort());
        drop(self.app.closed().wait());
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Nothing may wait for an assertion that has failed.
        drop(self.server.close());
        drop(self.app.abort());
    }
}

/// What a proxy does with connections.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Option<Arc<Shared>>,
}

struct Shared {
    target: SocketAddr,
    /// The answer to any request for `/events`, instead of that of the target.
    events: Option<String>,
    is_over: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn start(target: SocketAddr) -> Self {
        Self::answering(target, None)
    }

    /// It answers requests for `/events` with this text.
    pub(crate) fn answering(target: SocketAddr, events: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut proxy = Self { address: listener.local_addr().unwrap(), shared: None };
        proxy.accept(listener, target, events);
        proxy
    }

    /// Listens at the same address again.
    pub(crate) fn restart(&mut self, target: SocketAddr) {
        self.stop();
        self.accept(TcpListener::bind(self.address).unwrap(), target, None);
    }

    fn accept(&mut self, listener: TcpListener, target: SocketAddr, events: Option<String>) {
        let shared = Shared { target, events, is_over: false.into(), streams: Mutex::default() };
        let shared = Arc::new(shared);
        self.shared = Some(shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = shared.clone();
                thread::spawn(move || shared.forward(stream));
            }
        });
    }

    /// Cuts all connections off. New ones are refused once this has returned.
    pub(crate) fn stop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        shared.is_over.store(true, Ordering::SeqCst);
        // The thread is in `accept`, and ends with this connection; its queue is then reset.
        while let Ok(mut last) = TcpStream::connect(self.address) {
            drop(last.read(&mut [0]));
        }
        for stream in shared.streams.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn forward(&self, mut client: TcpStream) {
        let mut head = [0; 16 << 10];
        let Ok(length) = client.read(&mut head) else { return };
        let head = &head[..length];
        let is_events =
            [&b"GET /events"[..], b"HEAD /events"].iter().any(|&path| head.starts_with(path));
        if let Some(events) = self.events.as_ref().filter(|_| is_events) {
            drop(client.write_all(events.as_bytes()));
            return;
        }
        let Ok(mut target) = TcpStream::connect(self.target) else { return };
        let (Ok(client_end), Ok(target_end)) = (client.try_clone(), target.try_clone()) else {
            return;
        };
        {
            let mut streams = self.streams.lock().unwrap();
            streams.extend([client_end, target_end]);
        }
        if self.is_over.load(Ordering::SeqCst) {
            return;
        }
        // Each request has a connection of its own, if one of them may be answered here.
        let head = match self.events {
            Some(_) => {
                String::from_utf8_lossy(head).replacen("keep-alive", "close", 1).into_bytes()
            }
            None => head.to_owned(),
        };
        drop(target.write_all(&head));
        let (Ok(mut from), Ok(mut to)) = (client.try_clone(), target.try_clone()) else { return };
        thread::spawn(move || {
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Both));
        });
        drop(std::io::copy(&mut target, &mut client));
        drop(client.shutdown(Shutdown::Both));
    }
}
