//! What stands behind a [`Manager`](crate::Manager).
//!
//! One task, the body of the manager's process, moves the units ([`drive`]); it alone changes them. Whatever
//! else happens reaches it through the [`inbox`]: commands from any thread, and runs that are ready or Closed,
//! through their wakers. So a unit that runs costs an entry and a waker, and no task beside its own.
//!
//! The units' processes hang below a process of their own, the group, which is closed with the manager's and
//! which that does not wait for: a thread that ignores its abort does not hold up the manager's end. Its key
//! stays taken, in the entries that outlive the manager's run.
//!
//! Locks: the entries and the inbox have one each. Neither is held while a table, a unit, a waker or a reader
//! of events runs, and the inbox's is never held with another.

mod command;
mod contained;
mod drive;
pub(crate) mod inbox;
mod life;
mod reply;
mod rows;
mod units;

use std::future::poll_fn;
use std::sync::Arc;

use procession::Error;
use procession_runnable::Run;

pub(crate) use self::command::{Command, Reply};
use self::drive::Drive;
use self::inbox::Inbox;
pub(crate) use self::reply::reply;
pub(crate) use self::units::Units;
use crate::event::EventSource;
use crate::settings::Settings;
use crate::sync::Mutex;
use crate::table::{Key, Table};

/// What all handles and runs of a manager share.
pub(crate) struct Engine<K> {
    pub(crate) table: Arc<dyn Table<K>>,
    pub(crate) settings: Settings,
    pub(crate) units: Mutex<Units<K>>,
    pub(crate) inbox: Arc<Inbox<Command<K>>>,
    pub(crate) events: EventSource<K>,
    /// Held by the run of the manager that has its turn.
    turn: Arc<async_lock::Mutex<()>>,
}

impl<K: Key> Engine<K> {
    pub(crate) fn new(table: Arc<dyn Table<K>>, settings: Settings) -> Self {
        let events = EventSource::new(settings.events);
        Self {
            table,
            settings,
            units: Mutex::new(Units::new()),
            inbox: Inbox::new(),
            events,
            turn: Arc::default(),
        }
    }
}

/// A run of the manager, from its turn to its end.
pub(crate) async fn supervise<K: Key>(engine: Arc<Engine<K>>, run: Run) -> Result<(), Error> {
    let turn = engine.turn.lock_arc();
    let Some(_turn) = run.run_until_closing(turn).await else {
        return Ok(());
    };
    let mut drive = Drive::new(engine, run)?;
    poll_fn(|context| drive.poll(context)).await
}
