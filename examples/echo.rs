//! An echo server that starts and stops in order.
//!
//! ```text
//! cargo run --example echo             # until Ctrl-C
//! cargo run --example echo -- --for 3s
//! cargo run --example echo -- --inspect 127.0.0.1:7777     # with a live page
//! ```
//!
//! The graph: `app` closes the three others. `log` waits for `server` and `metrics`, so the log contains their last
//! lines.
//!
//! ```text
//! app ─┬─ server ── listener (a thread) ── one thread for each connection
//!      ├─ metrics (an async body)
//!      └─ log (teardown: flush and sync)
//! ```
//!
//! The first Ctrl-C or SIGTERM closes `app`. The second one, or the end of the grace, aborts it; the third one ends the
//! program.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession::{Exit, Main, Process};
use procession_inspect::MainExt;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The time from the beginning of closing to the abort.
const GRACE: Duration = Duration::from_secs(30);

/// The interval at which a connection whose peer does not read its answers checks whether it is aborted.
const WRITE_TIMEOUT: Duration = Duration::from_millis(50);

fn main() -> Result<Exit> {
    let options = Options::from_arguments()?;
    let mut main = Main::new().name("app").grace(GRACE);
    if let Some(address) = options.inspect {
        main = main.inspect(move |page| page.address(address));
    }
    let exit = main.run(|app| {
        serve(&app)?;
        let closing = app.closing();
        match options.limit {
            Some(limit) if closing.wait_timeout(limit).is_none() => drop(app.close()),
            Some(_) => {}
            None => closing.wait(),
        }
        if let Some(reason) = app.reason() {
            println!("closing: {reason}");
        }
        procession::ok()
    });
    println!("closed");
    Ok(exit)
}

/// Starts the server, and prints its address.
fn serve(app: &Process) -> Result<()> {
    let path = std::env::temp_dir().join(format!("procession-echo-{}.log", std::process::id()));
    let address = start(app, &path)?;
    println!("log file: {}", path.display());
    println!("listening on {address}");
    Ok(())
}

/// Makes the graph below `app`, and returns the address of the server.
pub(crate) fn start(app: &Process, log_file: &Path) -> Result<SocketAddr> {
    let log = Log::create(log_file)?;
    let server = Process::builder()
        .name("server")
        .parent(app)
        .teardown(|| println!("server: closed"))
        .build()?;
    let echoed = Arc::new(AtomicU64::new(0));
    let metrics = app.spawn({
        let (log, echoed) = (log.clone(), echoed.clone());
        move |p| metrics(p, log, echoed)
    })?;
    let _log_file = Process::builder()
        .name("log")
        .parent(app)
        .wait_for(&server)
        .wait_for(&metrics)
        .teardown({
            let log = log.clone();
            move || log.sync()
        })
        .build()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    server.spawn_thread(move |p| accept(&p, &listener, &log, &echoed))?;
    Ok(address)
}

#[derive(Default)]
struct Options {
    /// `--for`: the time until the program closes. Without it, only a signal closes the program.
    limit: Option<Duration>,
    /// `--inspect`: the address of the live page.
    inspect: Option<SocketAddr>,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        use lexopt::prelude::{Long, ValueExt};

        let mut options = Self::default();
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("for") => {
                    let limit = arguments.value()?.parse_with(humantime::parse_duration)?;
                    options.limit = Some(limit);
                }
                Long("inspect") => options.inspect = Some(arguments.value()?.parse()?),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(options)
    }
}

/// The listener's body: each connection is a child of it.
fn accept(p: &Process, listener: &TcpListener, log: &Log, echoed: &Arc<AtomicU64>) -> Result<()> {
    // A thread that is blocked in `accept` does not notice that it should end, so a last connection wakes it.
    let address = listener.local_addr()?;
    let _wakes = p.on_closing(move || TcpStream::connect(address).map(drop))?;
    for number in 1_u64.. {
        let accepted = listener.accept();
        if p.is_closing() {
            break;
        }
        let spawned = accepted.map_err(Into::into).and_then(|(stream, peer)| -> Result<()> {
            log.line(&format!("connection {number} from {peer}"))?;
            let (log, echoed) = (log.clone(), echoed.clone());
            p.spawn_thread(move |p| connection(&p, number, &stream, &log, &echoed))?;
            Ok(())
        });
        if let Err(error) = spawned {
            // Usually there are too many open files or threads. Some may be free again soon.
            println!("listener: connection {number} could not be served: {error}");
            let _ = p.closing().wait_timeout(Duration::from_millis(100));
        }
    }
    println!("listener: no new connections");
    Ok(())
}

/// A connection's body: echoes until the peer ends the connection or, when it is closing, until everything that has
/// arrived is answered.
fn connection(
    p: &Process,
    number: u64,
    stream: &TcpStream,
    log: &Log,
    echoed: &AtomicU64,
) -> Result<()> {
    // After this, data that has arrived can still be read. Then reading ends as if the peer had ended the connection.
    let reader = stream.try_clone()?;
    let _ends_reading = p.on_closing(move || drop(reader.shutdown(Shutdown::Read)))?;
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut stream = stream;
    let mut buffer = [0; 16 * 1024];
    let ended = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(length) => {
                if let Err(error) = answer(p, stream, &buffer[..length]) {
                    break Err(error);
                }
                echoed.fetch_add(length as u64, Ordering::Relaxed);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    let how = if let Err(error) = &ended { error.to_string() } else { "all answered".to_owned() };
    println!("connection {number}: closed, {how}");
    log.line(&format!("connection {number} closed, {how}"))?;
    Ok(())
}

/// Writes all bytes, no matter how long the peer takes to read them, unless the process is aborted.
fn answer(p: &Process, mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut if !p.is_aborting() => {}
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    return Err(io::Error::other("aborted, because the peer does not read"));
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

/// The metrics' body: a line each second, and one at the end.
async fn metrics(p: Process, log: Log, echoed: Arc<AtomicU64>) -> Result<()> {
    let line = || format!("{} bytes echoed", echoed.load(Ordering::Relaxed));
    while p.run_until_closing(async_io::Timer::after(Duration::from_secs(1))).await.is_some() {
        log.line(&line())?;
    }
    log.line(&line())?;
    println!("metrics: {}", line());
    Ok(())
}

/// The log file, shared by everything that writes to it.
#[derive(Clone)]
struct Log {
    file: Arc<Mutex<BufWriter<File>>>,
}

impl Log {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::new(File::create(path)?);
        Ok(Self { file: Arc::new(Mutex::new(file)) })
    }

    fn line(&self, line: &str) -> io::Result<()> {
        let mut file = self.file.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        writeln!(file, "{line}")
    }

    /// The teardown. All writers have ended before it.
    fn sync(&self) -> io::Result<()> {
        self.line("end of log")?;
        let mut file = self.file.lock().map_err(|_| io::Error::other("a writer panicked"))?;
        file.flush()?;
        file.get_ref().sync_all()?;
        println!("log: flushed and synced");
        Ok(())
    }
}
