//! Keeps units running: started from a [`Table`], started again when they fail, stopped in time.

#![forbid(unsafe_code)]

mod blocking;
mod engine;
mod error;
mod event;
mod manager;
mod memory;
mod pace;
mod policy;
mod settings;
mod status;
mod supervisor;
mod table;
mod unit;

pub use blocking::{Blocking, BlockingTable, RowIterator};
pub use error::{ManagerError, SharedError};
pub use event::{Event, Events};
pub use manager::{Builder, Manager};
pub use memory::MemoryTable;
pub use pace::{Backoff, Rate};
pub use policy::Policy;
pub use settings::GiveUp;
pub use status::{State, Status};
pub use supervisor::Supervisor;
pub use table::{BoxFuture, BoxStream, Change, Key, Row, Table};
pub use unit::{Restart, Unit};
