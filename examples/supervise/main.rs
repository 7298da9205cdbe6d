//! Twenty workers, some of which fail, panic or hang, under supervision.
//!
//! ```text
//! cargo run --example supervise               # until Ctrl-C
//! cargo run --example supervise -- --for 10s
//! cargo run --example supervise -- --workers 100
//! cargo run --example supervise -- --stuck       # the last worker ignores its abort
//! cargo run --example supervise -- --inspect 127.0.0.1:7777    # with a live page
//! ```
//!
//! In a terminal, each worker has a row with its state, its restarts and its last error; below the rows are the totals
//! and the latest events. Ctrl-C stops all workers within two seconds, including those that hang. A table of the events
//! of each worker remains on the screen.
//!
//! If standard output is not a terminal, the events are plain lines on standard error.
//!
//! | file | subject |
//! |---|---|
//! | this one | the program |
//! | `workers` | the workers, and the policy of their manager |
//! | `units` | the statuses and events of the manager as text: rows, lines, totals. Only this file reads `Status` and `Event` |
//! | `log` | the latest lines: events, and the reports of `Main` |
//! | `view` | the drawing |
//! | `signals` | the signals, which must not end the program before the terminal is restored |
//! | `terminal` | the terminal, which is restored however the program ends |

#![forbid(unsafe_code)]

mod log;
mod signals;
mod terminal;
mod units;
mod view;
mod workers;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use futures_lite::future::block_on;
use procession::{BoxError, Clock, Main, SystemClock};
use procession_inspect::MainExt;
use procession_runnable::run_in;

use crate::log::Log;
use crate::view::View;

/// The time from the beginning of closing to the abort. The manager stops its workers much earlier.
const GRACE: Duration = Duration::from_secs(30);

fn main() -> Result<ExitCode, BoxError> {
    let options = Options::from_arguments()?;
    let log = Log::install()?;
    terminal::restore_on_panic();
    signals::hold()?;

    let manager = workers::manager(options.workers, options.has_stuck);
    let mut view = View::new(&manager, &log, options.limit);
    let mut main = signals::bind(Main::new().grace(GRACE));
    if let Some(address) = options.inspect {
        let (manager, log) = (manager.clone(), log.clone());
        main = main.inspect(move |page| {
            let log = log.clone();
            // The terminal belongs to the view.
            let page = page.on_ready(move |url| log.announce(&format!("page: {url}")));
            page.address(address).units(manager.clone())
        });
    }
    let exit = main.run(|app| {
        view.show(&app)?;
        if let Some(limit) = options.limit {
            let end = SystemClock.now() + limit;
            app.close_when(SystemClock.sleep_until(end))?;
        }
        block_on(run_in(&app, &manager.runnable(), |body| async move {
            log.announce(&format!("{} workers are running", options.workers));
            body.closing().await;
        }))?;
        procession::ok()
    });
    Ok(view.finish(exit))
}

struct Options {
    /// `--for`: the time until the program closes. Without it, only a signal closes the program.
    limit: Option<Duration>,
    /// `--workers`: the number of workers.
    workers: u32,
    /// `--stuck`: the last worker ignores even its abort.
    has_stuck: bool,
    /// `--inspect`: the address of the live page.
    inspect: Option<SocketAddr>,
}

impl Options {
    fn from_arguments() -> Result<Self, BoxError> {
        use lexopt::prelude::{Long, ValueExt};

        let mut options = Self { limit: None, workers: 20, has_stuck: false, inspect: None };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("for") => {
                    let limit = arguments.value()?.parse_with(humantime::parse_duration)?;
                    options.limit = Some(limit);
                }
                Long("inspect") => options.inspect = Some(arguments.value()?.parse()?),
                Long("stuck") => options.has_stuck = true,
                Long("workers") => options.workers = arguments.value()?.parse()?,
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(options)
    }
}
