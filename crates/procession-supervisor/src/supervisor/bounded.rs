//! One unit of a set: what comes of it is what its policy makes of that, and its stop is bounded.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::or;
use procession::{ChildFailure, Closed, Error, Process};
use procession_runnable::{NotReady, Run, Runnable, Start, body, named};

use super::Member;
use crate::error::ManagerError;
use crate::event::Event;
use crate::unit::Restart;

/// The unit, for its set: it fails when it is to be started again.
pub(super) fn bounded(member: Arc<Member>) -> Runnable {
    let (name, site) = (member.name.clone(), member.unit.site());
    named(name, body(move |run| member.clone().keep(run)).at(site))
}

impl Member {
    async fn keep(self: Arc<Self>, run: Run) -> Result<(), Error> {
        let last = self.last.lock().take();
        if let Some(last) = last {
            // There is one run at a time, also when the last one ignores its abort.
            if run.run_until_closing(last).await.is_none() {
                return Ok(());
            }
        }
        // The unit hangs below it without being waited for, so that it can be left alone.
        let group = Process::builder().no_wait_parent(&run).name(self.name.clone());
        // The strategy handles their failures.
        let group = group.on_child_failure(ChildFailure::Ignore).site(run.site()).build()?;
        let (start, readiness) = Start::under(&group);
        let started = match self.unit.start(start.named(&self.name), &run.label()) {
            Ok(started) => started,
            Err(error) => return self.ended(&run, Some(error)),
        };
        self.set.policy.bound(&started, self.unit.grace);
        *self.last.lock() = Some(started.closed());
        self.tell(Event::Started { key: self.name.clone() });
        let mut unready = None;
        match run.run_until_closing(readiness).await {
            Some(Ok(())) => {
                self.tell(Event::Ready { key: self.name.clone() });
                run.ready();
            }
            Some(Err(NotReady::Ended(label))) => {
                started.close();
                unready = Some(NotReady::of(label));
            }
            Some(Err(_)) | None => {}
        }
        match run.run_until_closing(started.closed()).await {
            Some(outcome) if !run.is_closing() => self.ended(&run, outcome.err().or(unready)),
            // It was asked to stop, whichever of the two this task sees first.
            _ => self.stop(started, &run).await,
        }
    }

    /// The unit has ended without having been asked to.
    fn ended(&self, run: &Run, error: Option<Error>) -> Result<(), Error> {
        let key = self.name.clone();
        self.tell(match &error {
            Some(error) => Event::Failed { key, error: error.clone() },
            None => Event::Ended { key },
        });
        match (self.unit.restart, error) {
            (Restart::Temporary, _) => {
                // Nothing waits for it any longer.
                run.ready();
                Ok(())
            }
            (Restart::Transient | Restart::Permanent, Some(error)) => Err(error),
            (Restart::Transient, None) => Ok(()),
            (Restart::Permanent, None) => {
                Err(Error::failed(run.label(), "it ended, and is to run always".into()))
            }
        }
    }

    /// Stops the unit: gracefully, then by force, then without it.
    async fn stop(&self, started: Process, run: &Run) -> Result<(), Error> {
        let key = || self.name.clone();
        self.tell(Event::Stopping { key: key() });
        started.close();
        let policy = &self.set.policy;
        let grace = self.unit.grace.unwrap_or(policy.grace);
        let mut outcome = self.closed_within(started.closed(), grace).await;
        // The deadline may have passed while this task was held up.
        if outcome.is_none() || started.is_aborting() && !run.is_aborting() {
            self.tell(Event::Aborted { key: key(), grace });
        }
        if outcome.is_none() {
            started.abort();
            outcome = self.closed_within(started.closed(), policy.abort_grace).await;
        }
        let Some(outcome) = outcome else {
            self.tell(Event::Stuck { key: key() });
            let stuck = ManagerError::Stuck { keys: [key()].into() };
            return Err(Error::failed(started.label(), Box::new(stuck)));
        };
        self.tell(Event::Stopped { key: key(), error: outcome.clone().err() });
        match outcome {
            // That was asked for.
            Err(Error::Aborted(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The outcome, if it comes in time.
    async fn closed_within(&self, closed: Closed, limit: Duration) -> Option<Result<(), Error>> {
        let clock = self.set.policy.time();
        let closed = async { Some(closed.await) };
        match clock.now().checked_add(limit) {
            Some(deadline) => {
                let late = async {
                    clock.sleep_until(deadline).await;
                    None
                };
                or(closed, late).await
            }
            None => closed.await,
        }
    }

    fn tell(&self, event: Event<Arc<str>>) {
        self.set.events.tell(event);
    }
}
