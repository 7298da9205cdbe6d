//! [`Drive`]: the task that moves the units, from the beginning of a run of a manager or a set to its end.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use procession::support::ShownWait;
use procession::{Aborting, Closing, Error, Sleep};

use super::core::Core;
use super::{Command, FrontEnd};
use crate::lifecycle::{Input, Notice, Then};
use crate::table::Key;

/// The maximum number of rounds in one poll, so that other tasks get to run.
const ROUNDS: usize = 32;
/// The number of starts that count as one round.
const BATCH: usize = 64;

pub(super) struct Drive<K: Key, F: FrontEnd<K>> {
    /// Dropped before `core`, which has the turn of the run.
    front_end: F,
    core: Core<K>,
    closing: Option<Closing>,
    aborting: Option<Aborting>,
    /// Has the run reported that it is ready, so that the code that needs the units may begin?
    is_ready: bool,
    /// When the run becomes ready even if units are still starting.
    start_by: Option<Instant>,
    /// The beginning of the current period of the restart rate, and the number of restarts in it.
    restarts_of_period: (Instant, usize),
    sleep: Option<(Instant, Sleep)>,
    #[cfg(feature = "metrics")]
    counted: crate::metrics::Added,
    /// Shows in snapshots that the teardown waits for the units.
    shown: Option<ShownWait>,
}

impl<K: Key, F: FrontEnd<K>> Drive<K, F> {
    pub(super) fn new(core: Core<K>, front_end: F) -> Self {
        let now = core.now();
        Self {
            closing: Some(core.run.closing()),
            aborting: Some(core.run.aborting()),
            is_ready: false,
            start_by: core.shared.about.start_limit.and_then(|limit| now.checked_add(limit)),
            restarts_of_period: (now, 0),
            sleep: None,
            #[cfg(feature = "metrics")]
            counted: crate::metrics::Added::default(),
            shown: None,
            core,
            front_end,
        }
    }

    /// Drives the units until the run begins to close, or all units have ended for good.
    pub(super) fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll(context, |drive| {
            let is_over = drive.core.is_closing() || drive.front_end.has_ended(&drive.core);
            is_over.then(|| drive.core.take_failure().map_or(Ok(()), Err))
        })
    }

    /// Stops the units, and drives them until each has ended or is stuck.
    pub(super) fn poll_teardown(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        ready!(self.core.poll_starts(context));
        if !self.core.set_stopping() {
            self.core.shared.inbox.close();
            self.core.observe_abort();
            self.shown = Some(self.core.show_wait());
            self.core.now = self.core.policy().time().now();
            self.front_end.stop(&mut self.core);
            self.deliver_notices();
        }
        self.poll(context, |drive| {
            let is_open = drive.core.shared.units.lock().is_open();
            (!is_open).then(|| {
                let errors =
                    drive.core.take_failure().into_iter().chain(drive.core.take_stuck_error());
                Error::all(errors)
            })
        })
    }

    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        end: impl Fn(&mut Self) -> Option<T>,
    ) -> Poll<T> {
        let mut rounds = 0;
        while rounds < ROUNDS {
            rounds += 1;
            ready!(self.core.poll_starts(context));
            self.core.now = self.core.policy().time().now();
            let mut is_busy = self.poll_closing(context);
            is_busy |= self.poll_inbox(context);
            if self.core.is_stopping() {
                is_busy |= self.front_end.continue_stopping(&mut self.core);
            } else if !self.core.is_closing() {
                is_busy |= self.front_end.poll(&mut self.core, context);
                rounds += self.core.begin_starts() / BATCH;
                ready!(self.core.poll_starts(context));
            }
            self.deliver_notices();
            is_busy |= self.poll_due(context);
            self.report_ready();
            #[cfg(feature = "metrics")]
            self.counted.publish(self.core.shared.counts());
            if let Some(end) = end(self) {
                return Poll::Ready(end);
            }
            if !is_busy {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notices that the run closes or is aborted. After an abort, the front end aborts the units too, each in its turn.
    fn poll_closing(&mut self, context: &mut Context<'_>) -> bool {
        let mut is_busy = false;
        if let Some(closing) = &mut self.closing {
            if Pin::new(closing).poll(context).is_ready() {
                self.closing = None;
                is_busy = true;
            }
        }
        if let Some(aborting) = &mut self.aborting {
            if let Poll::Ready(is_aborted) = Pin::new(aborting).poll(context) {
                self.aborting = None;
                self.core.observe_abort();
                is_busy |= is_aborted;
            }
        }
        is_busy
    }

    fn poll_inbox(&mut self, context: &Context<'_>) -> bool {
        let (commands, reports) = self.core.shared.inbox.take(context.waker());
        let is_busy = !(commands.is_empty() && reports.is_empty());
        for command in commands {
            self.handle_command(command);
            self.deliver_notices();
        }
        for (run, report) in reports {
            self.core.handle_report(run, report);
            self.deliver_notices();
        }
        is_busy
    }

    fn handle_command(&mut self, command: Command<K>) {
        // Dropping a command answers it with an error.
        if !self.core.is_closing() {
            if let Err(command) = self.core.command(command) {
                self.front_end.command(&mut self.core, command);
            }
        }
    }

    /// Passes the notices on to the front end. While everything closes, nothing is started.
    fn deliver_notices(&mut self) {
        while let Some((id, notice)) = self.core.next_notice() {
            match notice {
                Notice::Load if self.core.is_closing() => {
                    if self.core.state(id).is_some() {
                        self.core.step(id, Input::Stop(Then::Forget));
                    }
                }
                notice => self.front_end.moved(&mut self.core, id, notice),
            }
        }
    }

    /// Performs the steps that are due, and sleeps until the next one.
    fn poll_due(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.core.now();
        let mut is_busy = false;
        loop {
            let overdue = self.core.shared.units.lock().overdue(now);
            let Some(id) = overdue else { break };
            self.step_due(id);
            is_busy = true;
        }
        while self.may_restart(now) {
            let due = self.core.shared.units.lock().due_restart(now);
            let Some(id) = due else { break };
            self.restarts_of_period.1 += 1;
            self.step_due(id);
            is_busy = true;
        }
        let next = self.next_due(now);
        is_busy | self.sleep_until(next, context)
    }

    fn step_due(&mut self, id: usize) {
        self.core.step(id, Input::Due);
        self.deliver_notices();
    }

    /// Returns whether the restart rate allows another restart in the current period.
    fn may_restart(&mut self, now: Instant) -> bool {
        let Some(rate) = self.core.shared.about.restart_rate.filter(|rate| !rate.within.is_zero())
        else {
            return true;
        };
        if now.saturating_duration_since(self.restarts_of_period.0) >= rate.within {
            self.restarts_of_period = (now, 0);
        }
        self.restarts_of_period.1 < rate.count.max(1)
    }

    /// When the task must wake next. Restarts that must wait for the next period share this time.
    fn next_due(&mut self, now: Instant) -> Option<Instant> {
        let may_restart = self.may_restart(now);
        let (deadline, mut restart) = {
            let units = self.core.shared.units.lock();
            (units.next_deadline(), units.next_restart())
        };
        if let (Some(rate), false) = (self.core.shared.about.restart_rate, may_restart) {
            restart = restart
                .and_then(|due| Some(due.max(self.restarts_of_period.0.checked_add(rate.within)?)));
        }
        let front_end = if self.core.is_stopping() { None } else { self.front_end.next_due() };
        [deadline, restart, front_end, self.start_by].into_iter().flatten().min()
    }

    fn sleep_until(&mut self, next: Option<Instant>, context: &mut Context<'_>) -> bool {
        let Some(next) = next else {
            self.sleep = None;
            return false;
        };
        if self.sleep.as_ref().is_none_or(|(until, _)| *until != next) {
            self.sleep = Some((next, self.core.policy().time().sleep_until(next)));
        }
        let is_over =
            self.sleep.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready());
        if is_over {
            self.sleep = None;
        }
        is_over
    }

    /// Reports that the run is ready: when all units that it waits for have started, or at the start limit.
    fn report_ready(&mut self) {
        if self.is_ready {
            return;
        }
        let is_late = self.start_by.is_some_and(|limit| self.core.now() >= limit);
        if is_late || self.front_end.is_started(&self.core) {
            self.is_ready = true;
            self.start_by = None;
            self.front_end.body_begins();
            self.core.run.ready();
        }
    }
}
