//! The end of a process's time limit.
//!
//! It is a failure of the process, and takes the place of every other one. Between the abort and the report of that
//! failure, the process is not Closed, so that the hooks and the parents hear of it: it waits for the report as it waits
//! for its body. If its teardown has started, it can wait for nothing more (S3). Then the end of the teardown leaves the
//! end of the process to the report. *The process still ends once*, because under its lock exactly one of the two
//! comes second and finds that the other has been there.

use std::sync::Arc;

use super::closing::Walk;
use super::contents::{Contents, Failed};
use super::effects::Effects;
use super::node::{Inner, LimitReport, Node};
use crate::value::{Phase, Reason};

/// The process is not Closed before the report of the failure.
#[must_use = "the process waits for `time_limit_reported`"]
pub(crate) struct Waits(WaitsBy);

/// How the process waits for the report.
#[derive(Clone, Copy)]
enum WaitsBy {
    /// It counts one more thing that it waits for.
    Counting,
    /// Its teardown has started, and leaves the end to the report.
    Teardown,
}

impl<C: Contents> Node<C> {
    /// The time limit is over: aborts the process, whose outcome is `failure` from now on. `None` if it is Closed.
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
                self.count_in();
                inner.extras().other_waits += 1;
                WaitsBy::Counting
            };
            walk.begin(self, inner, &Reason::TimeLimit, true);
            ended = Some(Waits(waits));
        });
        ended.map(|waits| (walk.run(), waits))
    }

    /// The hooks have heard of the end of the time limit. The parents hear of it now.
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
                self.count_off();
                inner.count_other_off();
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
    /// The teardown has ended: is the end of the process left to the report of its time limit?
    pub(super) fn leaves_end_to_report(&mut self) -> bool {
        let report = self.extras_mut().and_then(|extras| extras.limit_report.as_mut());
        report.is_some_and(|report| {
            *report = LimitReport::AfterTeardown;
            true
        })
    }
}
