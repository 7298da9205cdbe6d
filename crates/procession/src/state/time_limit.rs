//! The end of a process's time limit.
//!
//! It is a failure of the process, and takes the place of every other one. Between the abort and the report of that
//! failure, the process waits, so that the hooks hear of it before the process is Closed; if the teardown has started,
//! it no longer can.

use std::sync::Arc;

use super::closing::Walk;
use super::contents::{Contents, Failed};
use super::effects::Effects;
use super::node::Node;
use crate::value::{Phase, Reason};

/// Does the process wait for the report of the failure?
#[must_use = "the process may wait for `time_limit_reported`"]
pub(crate) struct Waits(bool);

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
            let waits = !inner.teardown.has_started();
            if waits {
                self.count_in();
                inner.extras().other_waits += 1;
            }
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
        if waits {
            walk.visit(self, |_, inner| {
                self.count_off();
                inner.count_other_off();
            });
        }
        walk.run()
    }
}
