//! The two threads that keep a lease: one renews it, and one watches its end.
//!
//! They are plain threads, so that neither a starved executor nor a slow statement ends a lease, and a call that does
//! not return delays no end:
//!
//! 1. The end of the lease waits for nothing. Argument: [`watch`] calls only [`Process::close`] and
//!    [`Process::abort`], which return at once, and reads a clock.
//! 2. A refusal ends the lease at once; any other error does not. Argument: [`renew`] has one branch for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use procession::Process;

use super::lease::Term;
use super::manager::Settings;
use super::table::{Registration, Session, SharedTable, TableError};
use crate::error::SharedError;
use crate::event::{EventSource, Happening};

/// How long the threads sleep at most, because a suspended machine and a fake clock do not wake them.
const NAP: Duration = Duration::from_millis(100);
/// How often a manager whose lease does not end by time asks whether an operator has ended it.
const WITHOUT_TTL: Duration = Duration::from_secs(1);

/// Tells the threads of one lease to end.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(super) fn set(&self) {
        // Release and acquire: what the manager did before is visible to a thread that ends for it.
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sleeps for `time`, or until it is set.
    pub(super) fn sleep(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && !self.is_set() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}

/// Registers the manager, as often as it takes, and passes the result on. Then it renews the lease until its end.
pub(super) fn keep(
    table: &dyn SharedTable,
    settings: &Settings,
    events: &EventSource<String>,
    stop: &Stop,
    registered: impl FnOnce(Result<Arc<Term>, TableError>),
) {
    let mut pauses = settings.policy.pauses();
    let registration = Registration {
        name: settings.program.clone(),
        kinds: settings.kinds.clone(),
        ttl: settings.ttl,
    };
    while !stop.is_set() {
        let sent = settings.clock.now();
        let opened = table.open().and_then(|mut session| {
            let registered = session.register(&registration)?;
            Ok((session, registered))
        });
        match opened {
            Ok((mut session, answer)) => {
                let clock = settings.clock.clone();
                let term = Term::new(answer.manager, answer.ttl, clock, sent);
                registered(Ok(term.clone()));
                renew(&mut *session, settings, &term, stop);
                return;
            }
            Err(TableError::Unavailable(error)) => {
                let delay = settings.policy.next(&mut pauses);
                let error = SharedError::from(error);
                events.tell(None, Happening::ScanFailed { error, delay });
                stop.sleep(delay);
            }
            Err(error) => return registered(Err(error)),
        }
    }
}

fn renew(session: &mut dyn Session, settings: &Settings, term: &Term, stop: &Stop) {
    let every = term.lasts().map_or(WITHOUT_TTL, |_| settings.ttl / 3);
    let mut pause = every;
    loop {
        stop.sleep(pause);
        if stop.is_set() || !term.is_valid() {
            return;
        }
        let sent = settings.clock.now();
        match session.renew(term.manager) {
            Ok(()) => {
                term.renewed(sent);
                pause = every;
            }
            Err(TableError::Unavailable(_)) => pause = every / 10,
            Err(_) => return term.end(),
        }
    }
}

/// Watches the end of the lease: with half of it left, it tells; with a third left, it closes `units`; at the end, it
/// aborts them.
pub(super) fn watch(term: &Term, units: &Process, events: &EventSource<String>, stop: &Stop) {
    let mut is_told = false;
    while !stop.is_set() {
        let remaining = term.remaining();
        if remaining == Some(Duration::ZERO) {
            events.tell(None, Happening::LeaseEnded);
            term.end();
            units.abort();
            return;
        }
        if let (Some(remaining), Some(lasts)) = (remaining, term.lasts()) {
            if remaining >= lasts / 2 {
                is_told = false;
            } else if !std::mem::replace(&mut is_told, true) {
                events.tell(None, Happening::LeaseAtRisk { remaining });
            }
            if remaining < lasts / 3 {
                units.close();
            }
        }
        thread::sleep(remaining.map_or(NAP, |remaining| remaining.min(NAP)));
    }
}
