//! The two threads that keep a lease: one renews it, and one watches its end.
//!
//! They are plain threads, so that neither a starved executor nor a slow statement ends a lease, and a call that does
//! not return delays no end:
//!
//! 1. The end of the lease waits for nothing. Argument: [`watch`] reads a clock, and calls [`close_elsewhere`], which
//!    leaves all code of users to other threads.
//! 2. A refusal ends the lease at once; any other error does not. Argument: [`renew`] has one branch for each, and
//!    tries again with a new session after an error.
//! 3. Both threads end with the lease. Argument: each of their waits ends with it, and is followed by a look at it.
//! 4. A lease that nobody uses is not renewed. Argument: the manager ends its lease when it has finished, and [`renew`]
//!    returns if nobody else has the lease.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession::Process;
use procession::support::{catch, close_elsewhere};

use super::lease::Term;
use super::settings::Settings;
use super::table::{ManagerId, Registered, Registration, Session, SharedTable, TableError};
use crate::engine::{Shared, reply::Reply};
use crate::error::SharedError;
use crate::event::Happening;

/// How often the end of the lease is looked at, because nothing wakes a thread when a suspended machine resumes or when
/// the clock of a test moves.
const LOOK: Duration = Duration::from_millis(100);
/// How often a manager whose lease does not end by time asks whether an operator has ended it.
const WITHOUT_TTL: Duration = Duration::from_secs(1);

/// Registers the manager, with as many attempts as it takes, and answers `registered`. Then it renews the lease until
/// its end.
pub(super) fn keep(
    table: &dyn SharedTable,
    settings: &Settings,
    shared: &Shared<String>,
    previous: Option<ManagerId>,
    registered: Reply<Result<Arc<Term>, TableError>>,
) {
    let policy = &shared.about.policy;
    let mut pauses = policy.pauses();
    let registration = settings.registration(previous);
    while registered.is_awaited() {
        let register = || register(table, settings, &registration);
        // The manager reports the error, and no event is needed.
        let panicked =
            |message| Err(TableError::Unusable(format!("it panicked: {message}").into()));
        match catch(register).unwrap_or_else(panicked) {
            Ok((session, answer, sent)) => {
                let clock = settings.clock.clone();
                let term = Term::new(answer.manager, answer.ttl, clock, sent, shared.about.site);
                registered.give(Ok(term.clone()));
                // If the store panics, nobody renews the lease any more.
                let _ending = Ending(&term);
                return renew(table, session, settings, &term);
            }
            Err(TableError::Unavailable(error)) => {
                let delay = policy.next(&mut pauses);
                let error = SharedError::from(error);
                shared.events.tell(None, Happening::TableFailed { error, delay });
                thread::sleep(delay);
            }
            Err(error) => return registered.give(Err(error)),
        }
    }
}

/// Ends a lease when it is dropped.
pub(super) struct Ending<'a>(pub(super) &'a Term);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A session, its registration, and when that was sent.
type Opened = (Box<dyn Session>, Registered, Duration);

fn register(
    table: &dyn SharedTable,
    settings: &Settings,
    registration: &Registration,
) -> Result<Opened, TableError> {
    let mut session = table.open()?;
    let sent = settings.clock.now();
    let registered = session.register(registration)?;
    Ok((session, registered, sent))
}

fn renew(
    table: &dyn SharedTable,
    session: Box<dyn Session>,
    settings: &Settings,
    term: &Arc<Term>,
) {
    let mut session = Some(session);
    let every = term.ttl.map_or(WITHOUT_TTL, |ttl| ttl / 3);
    let mut pause = every;
    loop {
        if Arc::strong_count(term) == 1 {
            // The manager was closed while it registered. If it cannot leave, the lease runs out.
            let _left = session.map(|mut session| session.leave(term.manager));
            return;
        }
        term.wait(pause);
        if !term.is_valid() {
            return;
        }
        let sent = settings.clock.now();
        let renewed = match &mut session {
            Some(session) => session.renew(term.manager),
            None => table.open().and_then(|opened| session.insert(opened).renew(term.manager)),
        };
        match renewed {
            Ok(()) => {
                term.renewed(sent);
                pause = every;
            }
            Err(TableError::Refused) => return,
            // The session may have lost the store for ever.
            Err(_) => {
                session = None;
                pause = every / 10;
            }
        }
    }
}

/// Watches the end of the lease: with half of it left, it tells; with a third left, it closes `units`; at the end, it
/// aborts them.
pub(super) fn watch(term: &Term, units: &Process) {
    loop {
        let remaining = term.remaining();
        if remaining == Some(Duration::ZERO) {
            close_elsewhere(units, true);
            return term.end();
        }
        if let (Some(remaining), Some(lasts)) = (remaining, term.lasts) {
            if remaining < lasts / 2 {
                term.is_at_risk();
            }
            if remaining < lasts / 3 {
                close_elsewhere(units, false);
            }
        }
        term.wait(remaining.map_or(Duration::MAX, |remaining| remaining.min(LOOK)));
    }
}
