//! The end of a process's time limit.
//!
//! It is a failure of the process, and replaces every other failure. The process must not become Closed between the
//! abort and the report of that failure to its hooks and parents. So it waits for the report as it waits for its body.
//! If its teardown has started, it can no longer wait for anything (S3). In that case, the process is finished by
//! whichever comes last, the end of the teardown or the report. *The process still ends exactly once*, because both
//! take its lock, and the second one sees there that the first one has come.

use std::sync::Arc;

use super::closing::Walk;
use super::contents::{Contents, Failed};
use super::effects::Effects;
use super::node::{Inner, LimitReport, Node};
use crate::value::{Phase, Reason};

/// The process does not become Closed before the report of the failure.
#[must_use = "the process waits for `time_limit_reported`"]
pub(crate) struct Waits(WaitsBy);

/// How the process waits for the report.
#[derive(Clone, Copy)]
enum WaitsBy {
    /// The report is counted in `waiting`.
    Counting,
    /// Its teardown has started. The later one of the end of the teardown and the report finishes the process.
    Teardown,
}

impl<C: Contents> Node<C> {
    /// The time limit has ended: aborts the process, whose outcome will be `failure`. `None` if it is Closed.
    pub(crate) fn end_time(self: &Arc<Self>, failure: C::Failure) -> Option<(Effects<C>, Waits)> {
        let mut walk = Walk::new();
        let mut ended = None;
        walk.visit(self, |walk, inner| {
            if self.phase() == Phase::Closed {
                return;
            }
            inner.extras().past_limit = Some(failure);
            let waits = if inner.teardown.has_started() {
                inner.extras().limit_report = Some(LimitReport::Due);
                WaitsBy::Teardown
            } else {
                self.increment_waiting();
                inner.extras().other_waits += 1;
                WaitsBy::Counting
            };
            walk.begin(self, inner, &Reason::TimeLimit, true);
            ended = Some(Waits(waits));
        });
        ended.map(|waits| (walk.run(), waits))
    }

    /// The hooks were called for the end of the time limit. This reports it to the parents, and no longer keeps the
    /// process from becoming Closed.
    pub(crate) fn time_limit_reported(
        self: &Arc<Self>,
        failed: Option<Failed<C>>,
        Waits(waits): Waits,
    ) -> Effects<C> {
        let mut walk = Walk::new();
        if let Some(failed) = failed {
            walk.fail(self, failed, |_, _| {});
        }
        match waits {
            WaitsBy::Counting => walk.visit(self, |_, inner| {
                self.decrement_waiting();
                inner.decrement_other_waits();
            }),
            WaitsBy::Teardown => {
                let mut inner = self.inner.lock();
                let report = inner.extras().limit_report.take();
                let is_torn_down = report == Some(LimitReport::AfterTeardown);
                let ended = is_torn_down.then(|| walk.finish(self, &mut inner, None));
                drop(inner);
                drop(ended);
            }
        }
        walk.run()
    }
}

impl<C: Contents> Inner<C> {
    /// The teardown has ended: must the process wait for the report that its time limit has ended? If so, records that
    /// the teardown has ended.
    pub(super) fn leaves_end_to_report(&mut self) -> bool {
        let report = self.extras_mut().and_then(|extras| extras.limit_report.as_mut());
        report.is_some_and(|report| {
            *report = LimitReport::AfterTeardown;
            true
        })
    }
}
