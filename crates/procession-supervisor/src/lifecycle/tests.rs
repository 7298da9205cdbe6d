//! Tests of [`Lifecycle`](super::Lifecycle): a table of all transitions, and random sequences of inputs against a
//! model.

mod model;
mod sequences;
mod table;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use procession::{BoxError, Error, Label, Process};

use super::{Actions, Answer, Closes, End, Happening, Input, Lifecycle, Notice, Request};
use crate::backoff::Backoff;
use crate::error::{DoNotRestart, EndAll, SharedError};
use crate::policy::Policy;
use crate::restarts::Recent;
use crate::unhandled::Unhandled;

const GRACE: Duration = Duration::from_secs(10);
const ABORT_GRACE: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(30);
const STEADY: Duration = Duration::from_secs(60);

/// A policy with exact pauses.
fn policy() -> Policy {
    let backoff = Backoff { first: FIRST, max: MAX, jitter: false };
    Policy::new().grace(GRACE).abort_grace(ABORT_GRACE).steady_after(STEADY).backoff(backoff)
}

fn label() -> Label {
    static LABEL: LazyLock<Label> = LazyLock::new(|| Process::new().label());
    LABEL.clone()
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Error,
    /// With only the error of its own abort.
    Aborted,
    /// With the error of its own abort and another error.
    AbortedAndError,
    DoNotRestart,
    /// With [`EndAll`] among other errors.
    EndAll,
}

impl Fault {
    fn end(self) -> End {
        let failed = |error: BoxError| Error::failed(label(), error);
        let all = |errors: Vec<Error>| Error::all(errors).err();
        let own = || Error::Aborted(label());
        let (error, foreign_error) = match self {
            Self::None => (None, None),
            Self::Error => (Some(failed("it failed".into())), Some(failed("it failed".into()))),
            Self::Aborted => (Some(own()), None),
            Self::AbortedAndError => {
                let error = failed("it failed".into());
                (all(vec![own(), error.clone()]), Some(error))
            }
            Self::DoNotRestart => {
                let error = failed(Box::new(DoNotRestart::new("it failed")));
                (Some(error.clone()), Some(error))
            }
            Self::EndAll => {
                let first = failed(Box::new(DoNotRestart::new("it failed")));
                let error = all(vec![first, failed(Box::new(EndAll::new("it failed")))]);
                (error.clone(), error)
            }
        };
        let request = error.as_ref().map(Request::of).unwrap_or_default();
        End { error, foreign_error, request, aborted: self.is_abort() }
    }

    /// The start of a run that failed in this way.
    fn not_started(self) -> Input {
        let End { error, request, .. } = self.end();
        Input::NotStarted { error: error.expect("it has an error"), request }
    }

    fn is_abort(self) -> bool {
        matches!(self, Self::Aborted | Self::AbortedAndError)
    }

    fn is_error(self) -> bool {
        self != Self::None
    }

    /// Returns whether there is an error other than that of its own abort.
    fn is_foreign(self) -> bool {
        self.is_error() && self != Self::Aborted
    }
}

fn kind(what: &Happening) -> &'static str {
    match what {
        Happening::Started => "started",
        Happening::Ready => "ready",
        Happening::Ended => "ended",
        Happening::Failed { restart_in: None, .. } => "failed",
        Happening::Failed { restart_in: Some(_), .. } => "failed-again-soon",
        Happening::Restarting { .. } => "restarting",
        Happening::GaveUp { .. } => "gave-up",
        Happening::LoadFailed { delay: None, .. } => "load-failed",
        Happening::LoadFailed { delay: Some(_), .. } => "load-failed-again-soon",
        Happening::Stopping => "stopping",
        Happening::Aborted { .. } => "aborted",
        Happening::Stuck => "stuck",
        Happening::Freed => "freed",
        Happening::Stopped { error: None, forced: false } => "stopped",
        Happening::Stopped { error: None, forced: true } => "stopped-by-force",
        Happening::Stopped { error: Some(_), forced: false } => "stopped-with-error",
        Happening::Stopped { error: Some(_), forced: true } => "stopped-by-force-with-error",
        other => unreachable!("a lifecycle does not emit {other:?}"),
    }
}

fn notice_word(notice: &Notice) -> String {
    match notice {
        Notice::Load => "load".into(),
        Notice::Ready => "ready".into(),
        Notice::Down(down) => {
            let on_its_own = if down.on_its_own { "-on-its-own" } else { "" };
            let restarts = if down.restarts { "-restarts" } else { "" };
            let closes = match &down.closes_all {
                None => "",
                Some(Closes::Failed { .. }) => "-closes-all",
                Some(Closes::GaveUp { in_total: false, .. }) => "-gave-up",
                Some(Closes::GaveUp { in_total: true, .. }) => "-gave-up-in-total",
            };
            format!("down{on_its_own}{restarts}{closes}")
        }
    }
}

fn answer(answer: &Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::Stopped => "stopped",
        Answer::Ended => "ended",
        Answer::Stuck(_) => "stuck",
        Answer::Load(_) => "load-error",
        Answer::Failed(_) => "error",
    }
}

/// Moves a lifecycle one step, and returns the actions.
fn step(
    lifecycle: &mut Lifecycle,
    input: Input,
    policy: &Policy,
    now: Instant,
    total: &mut Recent,
) -> Actions {
    let mut actions = Actions::default();
    lifecycle.step(input, policy, now, total, &mut actions);
    actions
}

/// The actions, each as one word.
fn words(actions: &Actions) -> Vec<String> {
    let mut words: Vec<String> =
        actions.tell.iter().flatten().map(|what| kind(what).to_owned()).collect();
    words.extend(actions.close.then(|| "CLOSE".into()));
    words.extend(actions.abort.then(|| "ABORT".into()));
    words.extend(actions.starters.as_ref().map(|given| format!("starters:{}", answer(given))));
    words.extend(actions.stoppers.as_ref().map(|given| format!("stoppers:{}", answer(given))));
    words.extend(actions.forget.then(|| "FORGET".into()));
    words.extend(actions.released.is_some().then(|| "RELEASE".into()));
    words.extend(actions.notice.as_ref().map(|it| format!("notice:{}", notice_word(it))));
    words
}

/// A failure that a restart must handle.
fn unhandled() -> Arc<Unhandled> {
    let failure = Fault::Error.end().error.expect("it failed");
    Unhandled::new(&Process::new(), failure)
}

fn not_loaded(forget: bool) -> Input {
    let error = SharedError::from(BoxError::from("the table is unreachable"));
    Input::NotLoaded { key: Arc::from("unit"), error, forget }
}
