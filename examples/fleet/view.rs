//! The live view: who runs what, with its token.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use procession::{BoxError, Process};
use procession_supervisor::Events;
use procession_supervisor::shared::{
    Desired, ManagerRow, SharedManager, TableError, UnitRow, Units,
};
use ratatui::crossterm::cursor::MoveTo;
use ratatui::crossterm::queue;
use ratatui::crossterm::terminal::{Clear, ClearType};

use crate::store::Store;

/// How often the view is drawn.
const EVERY: Duration = Duration::from_millis(500);
/// The maximum number of units in a view, and the number of events below them.
const ROWS: usize = 40;
const EVENTS: usize = 8;

pub(crate) struct View {
    name: String,
    units: Units,
    store: Store,
    events: Events<String>,
}

impl View {
    pub(crate) fn new(name: String, units: Units, store: Store, manager: &SharedManager) -> Self {
        Self { name, units, store, events: manager.events() }
    }

    /// Shows the units on a terminal, and the events everywhere else, until the program closes.
    pub(crate) fn show(self, app: &Process) -> Result<(), BoxError> {
        let body = move |process: Process| {
            if io::stdout().is_terminal() { self.draw(&process) } else { self.print(&process) }
        };
        app.spawn_thread(body)?;
        Ok(())
    }

    fn print(mut self, process: &Process) -> Result<(), BoxError> {
        loop {
            let is_over = process.closing().wait_timeout(EVERY / 5).is_some();
            while let Some(event) = self.events.try_recv() {
                println!("{event}");
            }
            if is_over {
                return Ok(());
            }
        }
    }

    fn draw(mut self, process: &Process) -> Result<(), BoxError> {
        let mut latest = Vec::new();
        loop {
            let is_over = process.closing().wait_timeout(EVERY).is_some();
            while let Some(event) = self.events.try_recv() {
                latest.push(event.to_string());
            }
            latest.drain(..latest.len().saturating_sub(EVENTS));
            let rows = lines(&self.units, &self.store)
                .unwrap_or_else(|error| vec![format!("the table cannot be read: {error}")]);
            let mut screen = Vec::new();
            queue!(screen, Clear(ClearType::All), MoveTo(0, 0))?;
            writeln!(screen, "{}: Ctrl-C ends it\r\n", self.name.escape_debug())?;
            for line in rows.iter().map(|row| &**row).chain([""]).chain(latest.iter().map(|e| &**e))
            {
                write!(screen, "{line}\r\n")?;
            }
            io::stdout().write_all(&screen)?;
            io::stdout().flush()?;
            if is_over {
                return Ok(());
            }
        }
    }
}

/// Returns one line for each manager and unit.
pub(crate) fn lines(units: &Units, store: &Store) -> Result<Vec<String>, TableError> {
    let managers = units.managers().wait()?;
    let mut lines = vec![format!("{:<8} {:<24} {:>6}", "MANAGER", "PROGRAM", "UNITS")];
    for ManagerRow { manager, name, units, is_draining, .. } in &managers {
        let more = if *is_draining { "  hands over" } else { "" };
        lines.push(format!("{:<8} {:<24} {units:>6}{more}", manager.get(), shown(name)));
    }
    lines.push(String::new());
    lines.push(format!(
        "{:<16} {:<12} {:<24} {:>6} {:>7} {:>8}  {}",
        "UNIT", "STATE", "PROGRAM", "TOKEN", "STARTS", "COUNT", "LAST ERROR"
    ));
    let counts: HashMap<String, i64> = store.counter()?.last()?.into_iter().collect();
    let rows = units.list(None, ROWS + 1).wait()?;
    for row in rows.iter().take(ROWS) {
        let owner = managers.iter().find(|manager| Some(manager.manager) == row.owner);
        let owner = owner.map_or("-".to_owned(), |owner| shown(&owner.name));
        let count = counts.get(&row.key).map_or("-".to_owned(), ToString::to_string);
        let error = row.last_error.as_deref().map(shown).unwrap_or_default();
        let (key, token, starts) = (shown(&row.key), row.token.get(), row.starts);
        lines.push(format!(
            "{key:<16} {:<12} {owner:<24} {token:>6} {starts:>7} {count:>8}  {error}",
            state(row)
        ));
    }
    if rows.len() > ROWS {
        lines.push("..".to_owned());
    }
    Ok(lines)
}

fn state(row: &UnitRow) -> &'static str {
    match row.desired {
        _ if row.is_quarantined => "quarantined",
        Desired::Remove => "removing",
        Desired::Stop if row.owner.is_some() => "stopping",
        Desired::Stop => "stopped",
        _ if row.is_done => "done",
        _ if row.is_ready => "running",
        _ if row.owner.is_some() => "starting",
        _ => "free",
    }
}

/// Names and errors may have control characters.
fn shown(text: &str) -> String {
    text.escape_debug().take(80).collect()
}
