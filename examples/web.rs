//! A web service that loses nothing: it answers every request that it accepts, it writes everything that it queues, and
//! it closes the database last.
//!
//! ```text
//! cargo run --example web
//! cargo run --example web -- --listen 127.0.0.1:8080 --database notes.db
//! cargo run --example web -- --inspect 127.0.0.1:7777      # with a live page
//! curl -d 'some words' http://127.0.0.1:8080/notes
//! ```
//!
//! It is `sequential([database, worker, http, drain])`: each part starts when the previous one is ready, and stops after
//! the next one is Closed. So Ctrl-C
//!
//! 1. turns `/readyz` off, and keeps serving for the time given by `--drain`, while load balancers stop sending
//!    requests;
//! 2. stops `http`: it accepts no new connections, and answers the requests in progress;
//! 3. stops `worker`: its queue accepts no more notes, and it writes the counts for those that are queued;
//! 4. stops `database`: the file is closed.
//!
//! Clients that are slow, silent or gone delay none of these steps by more than the timeouts of `server::Server`. After
//! a grace of 30 s, everything that is still open is aborted. A second Ctrl-C aborts at once; a third ends the program.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use parking_lot::Mutex;
use procession::{BoxError, Exit, Main};
use procession_inspect::MainExt;
use procession_runnable::server::Bind;
use procession_runnable::{
    ReadyFlag, Runnable, drain, leaf_thread, named, run_with_async, sequential, server,
    start_stop_thread,
};
use rusqlite::Connection;
use smol::channel::{Receiver, Sender, bounded};

/// The number of notes that may wait for the worker. When there are more, requests wait too.
const QUEUE: usize = 1024;

/// The time from the first Ctrl-C to the abort.
const GRACE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<Exit, BoxError> {
    let Options { listen, database, drain_for, inspect } = Options::parse()?;
    let stack = stack(listen, database, drain_for);
    let mut main = Main::new().grace(GRACE);
    if let Some(address) = inspect {
        main = main.inspect(move |page| page.address(address));
    }
    Ok(run_with_async(main, &stack).await)
}

/// The parts, in the order in which they start.
pub(crate) fn stack(listen: SocketAddr, database: PathBuf, drain_for: Duration) -> Runnable {
    let (notes, ready) = (Database::default(), ReadyFlag::new());
    let (queue, queued) = bounded(QUEUE);
    sequential([
        named("database", open(notes.clone(), database)),
        named("worker", worker(notes.clone(), queued)),
        named("http", http(listen, App { notes, queue, ready: ready.clone() })),
        named("drain", drain(drain_for, &ready)),
    ])
}

/// Keeps the file open while it runs.
fn open(database: Database, path: PathBuf) -> Runnable {
    let closed = database.clone();
    start_stop_thread(
        move |_| {
            println!("database: {}", path.display());
            database.open(&path)
        },
        move || {
            let [notes, counts] = closed.close()?;
            println!("database: closed with {notes} notes and {counts} counts");
            procession::ok()
        },
    )
}

/// Counts the words of the notes in its queue, until the queue is closed and empty.
fn worker(database: Database, queue: Receiver<Note>) -> Runnable {
    let closed = queue.clone();
    leaf_thread(
        move |run| {
            run.ready();
            while let Ok(note) = queue.recv_blocking() {
                database.add_count(note.id, note.text.split_whitespace().count())?;
            }
            println!("worker: the queue is written");
            procession::ok()
        },
        move |_| {
            closed.close();
        },
    )
}

fn http(listen: SocketAddr, app: App) -> Runnable {
    let bind = move || {
        let listener = listen.listen()?; // an error names the address
        println!("http: listening on {}", listener.local_addr()?);
        Ok::<_, io::Error>(listener)
    };
    let routes = Router::new()
        .route("/notes", post(add))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(is_ready));
    server::axum(bind, routes.with_state(app))
}

/// Should a load balancer send requests here?
async fn is_ready(State(app): State<App>) -> (StatusCode, &'static str) {
    match app.ready.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    }
}

/// Accepts a note. When this answers, the note is in the database and in the worker's queue.
async fn add(State(app): State<App>, text: String) -> Result<String, (StatusCode, String)> {
    let failed = |error: BoxError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    let (notes, note) = (app.notes.clone(), text.clone());
    let added = tokio::task::spawn_blocking(move || notes.add_note(&note)).await;
    let id = added.map_err(|error| failed(error.into()))?.map_err(failed)?;
    app.queue.send(Note { id, text }).await.map_err(|error| failed(error.into()))?;
    Ok(format!("{id}\n"))
}

/// The state that the handlers share.
#[derive(Clone)]
struct App {
    notes: Database,
    queue: Sender<Note>,
    ready: ReadyFlag,
}

struct Note {
    id: i64,
    text: String,
}

/// The file, while it is open.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<Option<Connection>>>);

impl Database {
    fn open(&self, path: &PathBuf) -> rusqlite::Result<()> {
        let connection = Connection::open(path)?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
             CREATE TABLE IF NOT EXISTS counts (note INTEGER PRIMARY KEY, words INTEGER NOT NULL);",
        )?;
        *self.0.lock() = Some(connection);
        Ok(())
    }

    fn add_note(&self, text: &str) -> Result<i64, BoxError> {
        self.with(|connection| {
            connection.execute("INSERT INTO notes (text) VALUES (?1)", [text])?;
            Ok(connection.last_insert_rowid())
        })
    }

    fn add_count(&self, note: i64, words: usize) -> Result<(), BoxError> {
        self.with(|connection| {
            connection.execute("INSERT INTO counts VALUES (?1, ?2)", (note, words as i64))?;
            Ok(())
        })
    }

    /// Closes the file, and returns the numbers of notes and of counts in it.
    fn close(&self) -> Result<[i64; 2], BoxError> {
        let sizes = self.with(|connection| {
            let size = |table| {
                connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            };
            Ok([size("notes")?, size("counts")?])
        })?;
        if let Some(connection) = self.0.lock().take() {
            connection.close().map_err(|(_, error)| error)?;
        }
        Ok(sizes)
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, BoxError> {
        match &*self.0.lock() {
            Some(connection) => Ok(work(connection)?),
            None => Err("the database is closed".into()),
        }
    }
}

struct Options {
    listen: SocketAddr,
    database: PathBuf,
    drain_for: Duration,
    /// The address of the live page.
    inspect: Option<SocketAddr>,
}

impl Options {
    fn parse() -> Result<Self, BoxError> {
        use lexopt::prelude::{Long, ValueExt};

        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: std::env::temp_dir().join("procession-web.db"),
            drain_for: Duration::ZERO,
            inspect: None,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("listen") => options.listen = arguments.value()?.parse()?,
                Long("inspect") => options.inspect = Some(arguments.value()?.parse()?),
                Long("database") => options.database = arguments.value()?.into(),
                Long("drain") => {
                    let value = arguments.value()?.string()?;
                    options.drain_for = humantime::parse_duration(&value)?;
                }
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(options)
    }
}
