//! What the live page costs a program: 100,000 processes, and 100 viewers of which 10 read nothing, in a program of
//! their own. `cargo bench -p procession-inspect --bench viewers` prints the figures. It needs Linux, for its `/proc`.

#![cfg(all(target_os = "linux", not(loom)))]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use procession_inspect::Inspect;
use procession_runnable::Start;
use rustix::net::sockopt::set_socket_recv_buffer_size;

const PROCESSES: usize = 100_000;
const VIEWERS: usize = 100;
const SILENT: usize = 10;

/// A viewer that reads nothing has a place for this long, once nothing more fits into its socket.
const SILENT_FOR: Duration = Duration::from_secs(20);

/// The time for which the program and its viewers are watched.
const WATCHED: Duration = Duration::from_secs(60);

/// The list in which every change shows, so that frames and patches are large.
const LARGE: &str = "/events?sort=name&scope=all";

fn main() {
    match std::env::var("PROCESSION_VIEWERS") {
        Ok(address) => view(address.parse().expect("an address")),
        Err(_) => measure(),
    }
}

fn measure() {
    let app = Process::builder().name("app").build().expect("it has no edge");
    let connection = |number: usize| {
        Process::builder().name(format!("connection {number}")).parent(&app).build()
    };
    let connections: Vec<_> = (0..PROCESSES).map(connection).collect();
    let (alone, of_program) = (Work::of(&app), resident());

    let (sender, receiver) = mpsc::channel();
    let page = Inspect::new(&app).address(([127, 0, 0, 1], 0));
    let page = page.on_ready(move |url| sender.send(url.to_owned()).expect("it waits"));
    let (start, readiness) = Start::under(&app);
    let page = page.runnable().expect("no token is needed").start(start).expect("it starts");
    futures_lite::future::block_on(readiness).expect("it listens");
    let url = receiver.recv().expect("an address");
    let address: SocketAddr =
        url.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    let unseen = Work::of(&app);

    let mut viewers = Viewers::start(address);
    let is_done = Arc::new(AtomicBool::new(false));
    let changing = thread::spawn({
        let (app, is_done) = (app.clone(), is_done.clone());
        move || change(&app, &is_done)
    });
    let watching = thread::spawn(move || watch(address));
    // The first frames are made.
    thread::sleep(Duration::from_secs(5));
    let seen = Work::of(&app);
    let (of_page, gone) = watching.join().expect("it ends");
    is_done.store(true, Ordering::Relaxed);
    changing.join().expect("it ends");
    let largest = viewers.end();

    let mib = |bytes: usize| bytes as f64 / 1024.0 / 1024.0;
    let bound = PROCESSES * 300 + (64 << 20);
    let added = of_page.saturating_sub(of_program);
    println!(
        "memory that the page adds, with {PROCESSES} processes and {VIEWERS} viewers: {:.0} MiB (must be ≤ {:.0} MiB)",
        mib(added),
        mib(bound)
    );
    println!("the largest event: {} KiB (must be ≤ 256 KiB)", largest.div_ceil(1024));
    let longest = gone.iter().max().copied().unwrap_or_default();
    println!(
        "viewers that read nothing: {} of {SILENT} were dropped, at the latest {longest:.1?} after their sockets were \
         full (must be ≤ {SILENT_FOR:?})",
        gone.len()
    );
    let slower = |work: &Work| 100.0 * (work.took.as_secs_f64() / alone.took.as_secs_f64() - 1.0);
    println!(
        "the program's work: {:.2?} alone, {:+.1} % with the page, {:+.1} % with viewers (must be ≤ 5 %)",
        alone.took,
        slower(&unseen),
        slower(&seen)
    );
    println!(
        "making and closing a process in it, 999 of 1,000 and the longest: {:.1?} and {:.1?} alone, {:.1?} and {:.1?} \
         with the page, {:.1?} and {:.1?} with viewers (the longest must be ≤ 1 ms more)",
        alone.most, alone.longest, unseen.most, unseen.longest, seen.most, seen.longest
    );
    drop((page, connections));
}

/// Some work of the program, in which a process is made and closed every 100 µs or so.
struct Work {
    took: Duration,
    /// The times for making and closing one process.
    most: Duration,
    longest: Duration,
}

impl Work {
    fn of(app: &Process) -> Self {
        let mut once: Vec<Self> = (0..5).map(|_| Self::once(app)).collect();
        once.sort_by_key(|work| work.took);
        once.swap_remove(2)
    }

    fn once(app: &Process) -> Self {
        let began = Instant::now();
        let mut times: Vec<Duration> = (0..20_000_u64)
            .map(|number| {
                let mut sum = number;
                for step in 0..60_000 {
                    sum = black_box(sum.rotate_left(5) ^ step);
                }
                black_box(sum);
                let began = Instant::now();
                app.child().close();
                began.elapsed()
            })
            .collect();
        let took = began.elapsed();
        times.sort_unstable();
        let most = times[times.len() - 1 - times.len() / 1000];
        Self { took, most, longest: times[times.len() - 1] }
    }
}

/// Replaces the processes that a list of names begins with, so that there is much to send.
fn change(app: &Process, is_done: &AtomicBool) {
    for round in 0_u64.. {
        let name = |number: usize| format!("aa {round}-{number}-{}", "x".repeat(90));
        let some: Vec<_> = (0..500)
            .map(|number| Process::builder().name(name(number)).parent(app).build())
            .collect();
        thread::sleep(Duration::from_millis(200));
        some.iter().flatten().for_each(|process| drop(process.close()));
        if is_done.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// The largest resident memory, and for each viewer that was dropped, how long it had a place after its socket was
/// full.
fn watch(address: SocketAddr) -> (usize, Vec<Duration>) {
    let (began, mut largest) = (Instant::now(), 0);
    let mut queues: HashMap<String, (String, Instant)> = HashMap::new();
    let mut gone = Vec::new();
    while began.elapsed() < WATCHED {
        thread::sleep(Duration::from_millis(100));
        largest = largest.max(resident());
        let now = Instant::now();
        let sockets = full_sockets(address);
        for (peer, queue) in &sockets {
            let known = queues.entry(peer.clone()).or_insert_with(|| (queue.clone(), now));
            if known.0 != *queue {
                *known = (queue.clone(), now);
            }
        }
        queues.retain(|peer, (_, since)| {
            let is_there = sockets.contains_key(peer);
            // A viewer that reads has a queue only for a moment.
            if !is_there && since.elapsed() > Duration::from_secs(5) {
                gone.push(since.elapsed());
            }
            is_there
        });
    }
    (largest, gone)
}

/// The peers for which something waits to be sent, and how much, from `/proc/net/tcp`.
fn full_sockets(address: SocketAddr) -> HashMap<String, String> {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let port = format!(":{:04X}", address.port());
    let full = sockets.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, peer) = (fields.next()?, fields.next()?);
        let (state, queue) = (fields.next()?, fields.next()?.split(':').next()?);
        let is_full = local.ends_with(&port) && state == "01" && queue != "00000000";
        is_full.then(|| (peer.to_owned(), queue.to_owned()))
    });
    full.collect()
}

/// The resident memory of this program, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// The program of the viewers.
struct Viewers(Child);

impl Viewers {
    fn start(address: SocketAddr) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(this);
        command.env("PROCESSION_VIEWERS", address.to_string());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        Self(child.expect("a program"))
    }

    /// Ends it, and returns the size of the largest event.
    fn end(&mut self) -> usize {
        drop(self.0.stdin.take());
        let mut largest = String::new();
        let output = self.0.stdout.as_mut().expect("a pipe");
        output.read_to_string(&mut largest).expect("a text");
        self.0.wait().expect("it ends");
        largest.trim().parse().expect("a number")
    }
}

/// Views the page until the standard input ends, and prints the size of the largest event.
fn view(address: SocketAddr) {
    let largest = Arc::new(AtomicUsize::new(0));
    let mut silent = Vec::new();
    for number in 0..VIEWERS {
        // Those that read nothing, and as many that read, have the large list.
        let path = match number % 10 {
            0 | 1 => LARGE.to_owned(),
            other => format!("/events?q=connection%20{other}"),
        };
        let mut stream = TcpStream::connect(address).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").expect("a request");
        if number % (VIEWERS / SILENT) == 0 {
            // Otherwise, the system would take some megabytes before the socket is full.
            set_socket_recv_buffer_size(&stream, 4096).expect("a socket");
            silent.push(stream);
            continue;
        }
        let largest = largest.clone();
        thread::spawn(move || read(stream, &largest));
    }
    let mut end = Vec::new();
    std::io::stdin().read_to_end(&mut end).expect("the end");
    println!("{}", largest.load(Ordering::Relaxed));
}

fn read(stream: TcpStream, largest: &AtomicUsize) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if line.starts_with("data: ") {
            largest.fetch_max(line.len(), Ordering::Relaxed);
        }
    }
}
