//! What is started again when it fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use procession::Error;
use procession::support::ignore_failures_of_children;
use procession_runnable::{Run, Runnable, Start, body, named};

use super::Set;
use crate::error::ManagerError;
use crate::event::Event;
use crate::policy::Restarts;

/// Runs `inner` until it ends well, or has failed too often; ready when it was so once.
pub(super) fn restarting(name: Arc<str>, inner: Runnable, set: Arc<Set>) -> Runnable {
    let site = set.site;
    let keep = {
        let name = name.clone();
        body(move |run| set.clone().keep(run, name.clone(), inner.clone()))
    };
    named(name, keep.at(site))
}

impl Set {
    async fn keep(self: Arc<Self>, run: Run, name: Arc<str>, inner: Runnable) -> Result<(), Error> {
        let clock = self.policy.time();
        let mut restarts = Restarts::new(&self.policy);
        loop {
            let error = match self.once(&run, &inner, &mut restarts).await {
                Err(error) if !run.is_closing() => error,
                ended => return ended,
            };
            if self.gave_up.load(Ordering::SeqCst) {
                return Err(error);
            }
            let Some(delay) = restarts.again(&self.policy, clock.now()) else {
                self.gave_up.store(true, Ordering::SeqCst);
                self.events.tell(Event::GaveUp { key: name.clone(), error: Some(error.clone()) });
                let gave_up = ManagerError::GaveUp { key: name, source: Some(error) };
                return Err(Error::failed(run.label(), Box::new(gave_up)));
            };
            let count = restarts.count;
            self.events.tell(Event::Restarting { key: name.clone(), delay, restarts: count });
            if let Some(due) = clock.now().checked_add(delay) {
                run.run_until_closing(clock.sleep_until(due)).await;
            } else {
                run.closing().await;
            }
            if run.is_closing() {
                return Ok(());
            }
        }
    }

    /// One run.
    async fn once(
        &self,
        run: &Run,
        inner: &Runnable,
        restarts: &mut Restarts,
    ) -> Result<(), Error> {
        let clock = self.policy.time();
        // The outcome of the run below it is read here.
        ignore_failures_of_children(run);
        let (start, readiness) = Start::under(run);
        let started = inner.start(start)?;
        let mut ready_since = None;
        // What cannot be ready fails: its outcome says why.
        if let Some(Ok(())) = run.run_until_closing(readiness).await {
            ready_since = Some(clock.now());
            run.ready();
        }
        let outcome = match run.run_until_closing(started.closed()).await {
            Some(outcome) => outcome,
            None => return started.close().await,
        };
        if let Some(since) = ready_since {
            restarts.ran(&self.policy, since, clock.now());
        }
        outcome
    }
}
