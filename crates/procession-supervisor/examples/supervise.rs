//! Twenty workers, some of which fail, panic or hang at random, under supervision.
//!
//! ```text
//! cargo run --example supervise -p procession-supervisor               # until Ctrl-C
//! cargo run --example supervise -p procession-supervisor -- --for 10s
//! ```
//!
//! In a terminal there is a line for each worker: its state, its restarts and its last error. Ctrl-C stops all
//! of them, those that hang too, within two seconds; then there is a summary.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::panic;
use std::thread;
use std::time::Duration;

use futures_lite::future::{block_on, pending};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use procession::{BoxError, Clock, Error, Exit, Process, SystemClock};
use procession_runnable::{Run, body, run_in};
use procession_supervisor::{
    Event, Events, Manager, MemoryTable, Policy, Rate, Restart, State, Status, Unit,
};

const WORKERS: u32 = 20;
/// How often the view is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

fn main() -> Result<Exit, BoxError> {
    let limit = limit()?;
    // What panics is an event, and is shown there.
    panic::set_hook(Box::new(|_| {}));

    let table = MemoryTable::new();
    for number in 1..=WORKERS {
        table.insert(
            format!("worker {number:2}"),
            Unit::new(body(work)).restart(Restart::Permanent),
        );
    }
    let policy = Policy::new()
        .grace(Duration::from_secs(1))
        .abort_grace(Duration::from_secs(1))
        .intensity(Rate::new(10, Duration::from_secs(60)));
    let manager = Manager::builder(table).policy(policy).event_capacity(10_000).build();

    let shown = Process::new();
    let view = thread::spawn({
        let (view, shown) = (View::new(&manager), shown.clone());
        move || view.show(&shown)
    });
    let exit = procession::main(|p| {
        if let Some(limit) = limit {
            let start = SystemClock.now();
            p.close_when(SystemClock.sleep_until(start + limit))?;
        }
        block_on(run_in(&p, &manager.runnable(), |p| async move {
            println!("{WORKERS} workers are running");
            p.closing().await;
        }))
    });
    shown.close();
    match view.join() {
        Ok(summary) => print!("{summary}"),
        Err(_) => eprintln!("the view has failed"),
    }
    Ok(exit)
}

/// Works for a while, again and again, until something happens to it.
async fn work(run: Run) -> Result<(), &'static str> {
    pause(&run, 0..500).await;
    run.ready();
    loop {
        pause(&run, 500..4_000).await;
        if run.is_closing() {
            return Ok(());
        }
        match fastrand::u32(..100) {
            0..8 => return Err("the connection was lost"),
            8..12 => panic!("index out of bounds"),
            12..15 => return Ok(()),
            // It does not see its closing any more; an abort drops it.
            15..18 => pending().await,
            _ => {}
        }
    }
}

async fn pause(run: &Run, milliseconds: std::ops::Range<u64>) {
    let pause = Duration::from_millis(fastrand::u64(milliseconds));
    run.run_until_closing(SystemClock.sleep_until(SystemClock.now() + pause)).await;
}

/// What is seen of the workers while they run, and what became of them.
struct View {
    manager: Manager<String>,
    events: Events<String>,
    lines: BTreeMap<String, ProgressBar>,
    bars: MultiProgress,
    tallies: BTreeMap<String, Tally>,
}

#[derive(Default)]
struct Tally {
    starts: u32,
    failures: u32,
    panics: u32,
    aborts: u32,
    end: &'static str,
}

impl View {
    fn new(manager: &Manager<String>) -> Self {
        Self {
            manager: manager.clone(),
            events: manager.events(),
            lines: BTreeMap::new(),
            bars: MultiProgress::new(),
            tallies: BTreeMap::new(),
        }
    }

    /// Draws until it is closed; then the summary.
    fn show(mut self, shown: &Process) -> String {
        let mut is_over = false;
        while !is_over {
            // Once more after the end, so that nothing is missed.
            is_over = shown.closing().wait_timeout(FRAME).is_some();
            while let Some(event) = self.events.try_recv() {
                self.tally(event);
            }
            for status in self.manager.list() {
                self.line(&status);
            }
        }
        self.lines.values().for_each(ProgressBar::finish_and_clear);
        self.summary()
    }

    fn line(&mut self, status: &Status<String>) {
        let line = self.lines.entry(status.key.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix}  {msg}");
            let bar = ProgressBar::no_length().with_prefix(status.key.clone());
            self.bars.add(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
        });
        let error = status.last_error.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut state = status.state.to_string();
        if let (State::Waiting, Some(due)) = (status.state, status.next_restart) {
            let left = due.saturating_duration_since(SystemClock.now());
            state = format!("again in {:.1} s", left.as_secs_f32());
        }
        line.set_message(format!("{state:<14} {:>2} restarts  {error}", status.restarts));
    }

    fn tally(&mut self, event: Event<String>) {
        let Some(key) = event.key() else { return };
        let tally = self.tallies.entry(key.clone()).or_default();
        match event {
            Event::Started { .. } => tally.starts += 1,
            Event::Failed { error: Error::Panicked(_), .. } => tally.panics += 1,
            Event::Failed { .. } => tally.failures += 1,
            Event::Aborted { .. } => tally.aborts += 1,
            Event::Stopped { error: None, .. } => tally.end = "stopped",
            Event::Stopped { error: Some(Error::Aborted(_)), .. } => tally.end = "aborted",
            Event::Stopped { .. } => tally.end = "failed",
            Event::GaveUp { .. } => tally.end = "given up",
            Event::Stuck { .. } => tally.end = "stuck",
            _ => {}
        }
    }

    fn summary(&self) -> String {
        let mut summary = String::from("unit       starts failures panics aborts  end\n");
        for (key, tally) in &self.tallies {
            let Tally { starts, failures, panics, aborts, end } = tally;
            summary += &format!("{key}  {starts:6} {failures:8} {panics:6} {aborts:6}  {end}\n");
        }
        summary
    }
}

/// `--for`: how long it runs without a signal.
fn limit() -> Result<Option<Duration>, BoxError> {
    use lexopt::prelude::{Long, ValueExt};

    let mut limit = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("for") => limit = Some(arguments.value()?.parse_with(humantime::parse_duration)?),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(limit)
}
