//! [`HandOver`]: the wish that a manager gives its units away, and its fulfilment.
//!
//! 1. Each caller is answered: when the manager owns nothing, when nobody could run its units, or at the end of the
//!    run. Argument: all callers of a run wait for one [`Asked`], which each of the three closes.
//! 2. The wish outlives a lease, but not a run. Argument: it is made in a run, each new lease looks at it, and
//!    [`HandOver::end`] forgets it.
//! 3. No waiter holds up the thread that answers. Argument: [`close_elsewhere`] leaves all wakers to other threads.

use std::sync::{Arc, OnceLock};

use procession::support::close_elsewhere;
use procession::{Process, Site};

use super::lease::named;
use super::table::Share;
use crate::error::ManagerError;
use crate::sync::Mutex;

#[derive(Default)]
pub(super) struct HandOver {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_running: bool,
    asked: Option<Arc<Asked>>,
}

/// A wish of one caller or several.
struct Asked {
    /// It closes with the answer.
    answered: Process,
    answer: OnceLock<Result<(), ManagerError>>,
}

impl HandOver {
    /// A run of the manager begins.
    pub(super) fn begin(&self) {
        self.state.lock().is_running = true;
    }

    /// The run of the manager has ended.
    pub(super) fn end(&self) {
        let asked = {
            let mut state = self.state.lock();
            state.is_running = false;
            state.asked.take()
        };
        if let Some(asked) = asked {
            asked.give(Err(ManagerError::NotRunning));
        }
    }

    /// Asks, and waits until the manager, which was made at `site`, owns no unit.
    pub(super) async fn ask(&self, site: Site) -> Result<(), ManagerError> {
        let new = Arc::new(Asked { answered: named("hand-over", site), answer: OnceLock::new() });
        let asked = {
            let mut state = self.state.lock();
            if !state.is_running {
                return Err(ManagerError::NotRunning);
            }
            state.asked.get_or_insert_with(|| new.clone()).clone()
        };
        // The end of a process may call subscribers, so it is not dropped under the lock.
        drop(new);
        asked.answered.closing().await;
        asked.answer.get().cloned().unwrap_or(Err(ManagerError::NotRunning))
    }

    /// Returns whether somebody waits for an answer.
    pub(super) fn is_pending(&self) -> bool {
        let state = self.state.lock();
        state.asked.as_ref().is_some_and(|asked| asked.answer.get().is_none())
    }

    /// Returns whether the manager must drain now, and answers those who wait if that is possible.
    pub(super) fn must_drain(&self, share: &Share) -> bool {
        let mut state = self.state.lock();
        let Some(asked) = state.asked.clone() else { return false };
        let is_pending = asked.answer.get().is_none();
        let is_alone = share.managers <= usize::from(!share.is_draining);
        let answer = match share.is_draining {
            true if share.owned == 0 => Ok(()),
            // Nobody else could run its units, perhaps because the others are draining as well.
            _ if is_alone && is_pending => {
                state.asked = None;
                Err(ManagerError::NoOtherManager)
            }
            is_draining => return !is_draining,
        };
        drop(state);
        asked.give(answer);
        false
    }
}

impl Asked {
    fn give(&self, answer: Result<(), ManagerError>) {
        // The first answer stands.
        let _given = self.answer.set(answer);
        close_elsewhere(&self.answered, false);
    }
}
