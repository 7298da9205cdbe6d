//! Units that run once across programs: start this program as often as you like on one table.
//!
//! ```text
//! cargo run --example fleet -- demo                             # three programs; one is killed, one is paused
//!
//! cargo run --example fleet -- run --table fleet.db             # in two or three terminals, until Ctrl-C
//! cargo run --example fleet -- run --inspect 127.0.0.1:7777     # the same with a live page
//! cargo run --example fleet -- put --table fleet.db clock       # in another one: a unit that counts
//! cargo run --example fleet -- list --table fleet.db
//! cargo run --example fleet -- stop --table fleet.db clock      # and `start`, `remove`, `clear`
//! cargo run --example fleet -- hand-over --table fleet.db 1     # manager 1 gives its units away
//! ```
//!
//! `--table` is a SQLite file, or the URL of a PostgreSQL database: `postgres://user@host/database`.
//!
//! | file | subject |
//! |---|---|
//! | this one | the commands |
//! | `run` | a program that runs units |
//! | `unit` | what a unit does, by its spec |
//! | `store` | the two stores, and the counters in their databases |
//! | `view` | the live view: who runs what, with its token |
//! | `demo` | three programs, and what happens to them |

#![forbid(unsafe_code)]

mod demo;
mod run;
mod store;
mod unit;
mod view;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::{Long, Value, ValueExt};
use procession::BoxError;
use procession_supervisor::shared::{ManagerId, Units};

use crate::store::Store;

const USAGE: &str =
    "usage: fleet run|put|stop|start|remove|clear|list|hand-over|demo [--table FILE or URL] ..";

fn main() -> ExitCode {
    perform().unwrap_or_else(|error| {
        eprint!("fleet: {error}");
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        causes.for_each(|cause| eprint!(": {cause}"));
        eprintln!();
        ExitCode::FAILURE
    })
}

/// Performs the command of the arguments.
fn perform() -> Result<ExitCode, BoxError> {
    let options = Options::from_arguments()?;
    match &*options.command {
        "demo" => demo::demo(options.limit),
        "run" => run::run(&options),
        _ => operate(&options).map(|()| ExitCode::SUCCESS),
    }
}

/// The commands of operators.
fn operate(options: &Options) -> Result<(), BoxError> {
    let store = Store::open(&options.table, options.ttl)?;
    let units = Units::new(store.table());
    match &*options.command {
        "put" => {
            let spec = options.words.get(1).map_or("count", |spec| spec);
            let generation =
                units.put(options.word(0, "the key of a unit")?, "fleet", spec).wait()?;
            println!("generation {generation}");
        }
        "stop" => units.want_stop(options.word(0, "the key of a unit")?).wait()?,
        "start" => units.want_run(options.word(0, "the key of a unit")?).wait()?,
        "remove" => units.remove(options.word(0, "the key of a unit")?).wait()?,
        "clear" => units.clear_quarantine(options.word(0, "the key of a unit")?).wait()?,
        "list" => view::lines(&units, &store)?.iter().for_each(|line| println!("{line}")),
        "hand-over" => {
            let manager = options.word(0, "the number of a manager")?.parse()?;
            units.hand_over(ManagerId::new(manager)).wait()?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

struct Options {
    command: String,
    words: Vec<String>,
    /// `--table`: a file, or the URL of a PostgreSQL database.
    table: String,
    /// `--name`: the name of this program in the table.
    name: Option<String>,
    /// `--ttl`: how long a lease lasts without a renewal.
    ttl: Duration,
    /// `--for`: the time until the program closes. Without it, only a signal closes the program.
    limit: Option<Duration>,
    /// `--inspect`: the address of the live page.
    inspect: Option<SocketAddr>,
    /// `--log`: the file to which each start and end of a unit is appended.
    log: Option<PathBuf>,
}

impl Options {
    fn from_arguments() -> Result<Self, BoxError> {
        let mut options = Self {
            command: String::new(),
            words: Vec::new(),
            table: "fleet.db".to_owned(),
            name: None,
            ttl: Duration::from_secs(15),
            limit: None,
            log: None,
            inspect: None,
        };
        let mut arguments = lexopt::Parser::from_env();
        let duration = |value: OsString| value.parse_with(humantime::parse_duration);
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("table") => options.table = arguments.value()?.string()?,
                Long("name") => options.name = Some(arguments.value()?.string()?),
                Long("ttl") => options.ttl = duration(arguments.value()?)?,
                Long("for") => options.limit = Some(duration(arguments.value()?)?),
                Long("inspect") => options.inspect = Some(arguments.value()?.parse()?),
                Long("log") => options.log = Some(arguments.value()?.into()),
                Value(word) if options.command.is_empty() => options.command = word.string()?,
                Value(word) => options.words.push(word.string()?),
                _ => return Err(argument.unexpected().into()),
            }
        }
        if options.command.is_empty() { Err(USAGE.into()) } else { Ok(options) }
    }

    fn word(&self, position: usize, what: &str) -> Result<&str, BoxError> {
        let word = self.words.get(position);
        word.map(|word| &**word).ok_or_else(|| format!("{} needs {what}", self.command).into())
    }
}
