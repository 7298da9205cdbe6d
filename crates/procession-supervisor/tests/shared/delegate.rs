//! Stores that pass their calls on to another store.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use procession_supervisor::shared::{
    MemorySharedTable, Session, SharedTable, TableError, Write, WriteResult,
};

/// What a store does when another store has answered. A function does this for each call.
pub(crate) trait Answered {
    /// An error hides the answer to this call.
    fn answered(&self, _call: &str) -> Result<(), TableError> {
        Ok(())
    }

    /// The store cannot perform a call with these writes.
    fn cannot_perform(&self, _writes: &[Write]) -> Option<TableError> {
        None
    }

    /// Somebody holds the unit of this write.
    fn is_held(&self, _write: &Write) -> bool {
        false
    }
}

impl<F: Fn(&str) -> Result<(), TableError>> Answered for F {
    fn answered(&self, call: &str) -> Result<(), TableError> {
        self(call)
    }
}

/// The keys of the units that somebody holds, as a guarded transaction does.
#[derive(Clone, Default)]
pub(crate) struct Held(Arc<Mutex<HashSet<String>>>);

impl Held {
    pub(crate) fn hold(&self, key: &str) {
        self.0.lock().unwrap().insert(key.to_owned());
    }

    pub(crate) fn release(&self, key: &str) {
        self.0.lock().unwrap().remove(key);
    }
}

impl Answered for Held {
    fn is_held(&self, write: &Write) -> bool {
        self.0.lock().unwrap().contains(&write.key)
    }
}

/// A store that passes its calls on to a store in memory, with an [`Answered`] in between.
pub(crate) struct Between(MemorySharedTable, Arc<dyn Answered + Send + Sync>);

struct BetweenSession(Box<dyn Session>, Arc<dyn Answered + Send + Sync>);

impl Between {
    pub(crate) fn new(
        table: &MemorySharedTable,
        answered: impl Answered + Send + Sync + 'static,
    ) -> Self {
        Self(table.clone(), Arc::new(answered))
    }
}

impl SharedTable for Between {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        Ok(Box::new(BetweenSession(self.0.open()?, self.1.clone())))
    }
}

impl BetweenSession {
    fn inner(&mut self) -> Result<&mut dyn Session, TableError> {
        Ok(&mut *self.0)
    }
}

impl Answered for BetweenSession {
    fn answered(&self, call: &str) -> Result<(), TableError> {
        self.1.answered(call)
    }

    fn cannot_perform(&self, writes: &[Write]) -> Option<TableError> {
        self.1.cannot_perform(writes)
    }

    fn is_held(&self, write: &Write) -> bool {
        self.1.is_held(write)
    }
}

/// Performs the writes that are possible now.
pub(crate) fn write<S: Answered>(
    session: &mut S,
    inner: impl FnOnce(&mut S, &[Write]) -> Result<Vec<WriteResult>, TableError>,
    writes: &[Write],
) -> Result<Vec<WriteResult>, TableError> {
    if let Some(error) = session.cannot_perform(writes) {
        return Err(error);
    }
    let is_held: Vec<bool> = writes.iter().map(|write| session.is_held(write)).collect();
    let free = std::iter::zip(writes, &is_held).filter(|(_, is_held)| !**is_held);
    let free: Vec<Write> = free.map(|(write, _)| write.clone()).collect();
    let mut results = inner(session, &free)?.into_iter();
    session.answered("write")?;
    let answer = |is_held| if is_held { Some(WriteResult::NotNow) } else { results.next() };
    Ok(is_held.into_iter().filter_map(answer).collect())
}

/// Implements [`Session`](procession_supervisor::shared::Session) for `$session`, which has a function
/// `inner(&mut self) -> Result<&mut dyn Session, TableError>`. After `, answered`, it implements [`Answered`] itself.
macro_rules! delegate {
    ($session:ty) => {
        impl crate::delegate::Answered for $session {}
        delegate!($session, answered);
    };
    ($session:ty, answered) => {
        const _: () = {
            use procession_supervisor::shared::*;
            use std::time::Duration;

            crate::delegate::calls! { $session;
                register(registration: &Registration) -> Registered;
                renew(manager: ManagerId) -> ();
                drain(manager: ManagerId) -> ();
                request_release(manager: ManagerId, wanted: Wanted) -> ();
                requests(manager: ManagerId, after: u64) -> Vec<Request>;
                leave(manager: ManagerId) -> ();
                expire_dead(limit: u32) -> Vec<ManagerId>;
                expire(manager: ManagerId) -> ();
                share(manager: ManagerId) -> Share;
                claim(manager: ManagerId, max: usize) -> Vec<Claimed>;
                orders(manager: ManagerId) -> Vec<Order>;
                owned(manager: ManagerId) -> Vec<(String, Token)>;
                wait_for_change(timeout: Duration) -> bool;
                put(key: &str, kind: &str, spec: &str) -> u64;
                want_run(key: &str) -> ();
                want_stop(key: &str) -> ();
                remove(key: &str) -> ();
                clear_quarantine(key: &str) -> ();
                get(key: &str) -> Option<UnitRow>;
                scan(after: Option<&str>, limit: usize) -> Vec<UnitRow>;
                managers() -> Vec<ManagerRow>;
            }
        };
    };
}
macro_rules! calls {
    ($session:ty; $($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Session for $session {
            $(fn $name(&mut self, $($arg: $type),*) -> Result<$result, TableError> {
                let answer = self.inner()?.$name($($arg),*)?;
                crate::delegate::Answered::answered(self, stringify!($name))?;
                Ok(answer)
            })*

            fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
                let inner = |session: &mut Self, writes: &[Write]| session.inner()?.write(writes);
                crate::delegate::write(self, inner, writes)
            }
        }
    };
}
pub(crate) use {calls, delegate};

delegate!(BetweenSession, answered);
