//! [`Shared`]: the state of a running program, and its messages to the reporter thread.
//!
//! The signal thread, the deadline thread and the threads of bodies only put a [`Post`] into a queue, so a slow
//! terminal holds up none of them. The reporter thread formats and writes. Only the end of the program waits for it: a
//! regular end for at most [`REGULAR_WAIT`], a forced end for at most [`FORCED_WAIT`], and longer if there are
//! functions to call.
//!
//! # Order
//!
//! A closing or an abort is reported only after it has begun, *because* sleepers of the root, which are woken after the
//! state has changed, post it, or the signal thread pauses the queue until its call of `close` has returned. The report
//! of a signal is never overtaken by the end of the root to which the signal leads, *because* the signal thread posts
//! it before it calls `close`.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Wake;
use std::time::{Duration, Instant};

use parking::{Parker, Unparker};

use super::extensions::{self, AtEnd};
use super::os::exit;
use crate::process::Process;
use crate::run::abort::ReportedBy;
use crate::run::deadlines::{act_at, force_elsewhere};
use crate::run::reports::{MainListener, SingleFailure};
use crate::run::{Node, look_at, register_own};
use crate::state::Moment;
use crate::value::sync::Mutex;
use crate::value::time::deadline_after;
use crate::value::{BoxError, Forced, Phase, Reason, Snapshot};
use crate::watch::SignalObserver;

/// The exit status if a grace that no signal began had to abort the root.
pub(super) const FORCED: u8 = 70;

/// The maximum time that a forced end waits for the reporter thread to write its last report.
const FORCED_WAIT: Duration = Duration::from_millis(200);

/// The maximum time that a regular end waits for the reporter thread to write everything.
const REGULAR_WAIT: Duration = Duration::from_secs(1);

/// The maximum number of failures that wait to be written. Any more are only counted.
const WAITING_FAILURES: usize = 1024;

/// The settings that the reports depend on.
pub(super) struct Rules {
    pub(super) grace: Option<Duration>,
    pub(super) abort_grace: Duration,
    pub(super) is_quiet: bool,
    pub(super) may_exit: bool,
}

pub(super) struct Shared {
    pub(super) rules: Rules,
    /// Weak, because bindings and sleepers of the root hold this value.
    pub(super) root: Weak<Node>,
    at_end: Vec<AtEnd>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    posts: VecDeque<Post>,
    /// Nothing is taken from the queue while the signal thread is closing or aborting the root because of a signal in
    /// it.
    is_paused: bool,
    /// `None` if there is no reporter thread.
    reporter: Option<Unparker>,
    /// `None` if systemd wants no notifications.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    notifier: Option<Notifier>,
    /// The number of failures in the queue, and the number of failures for which there was no space.
    waiting_failures: usize,
    lost_failures: usize,
    /// The functions for the end were called.
    has_ended: bool,
    facts: Facts,
}

/// The thread that sends notifications to systemd.
#[cfg(all(feature = "systemd", target_os = "linux"))]
struct Notifier {
    thread: Unparker,
    /// The program has finished starting.
    is_ready: bool,
    /// The thread that waits until the notifier has sent everything.
    end: Option<Unparker>,
}

/// The facts that the exit status and the last report depend on.
#[derive(Clone, Default)]
pub(super) struct Facts {
    /// The number of failures that nothing has handled.
    pub(super) failures: usize,
    /// The signal that began to close the root.
    pub(super) closed_by: Option<i32>,
    pub(super) aborted_by: Option<AbortedBy>,
    pub(super) closing_since: Option<Instant>,
    pub(super) aborting_since: Option<Instant>,
    /// The exit status, once the root is Closed.
    pub(super) code: Option<u8>,
}

/// A signal has aborted the root.
#[derive(Clone)]
pub(super) struct AbortedBy {
    pub(super) signal: i32,
    /// Everything that was aborted.
    pub(super) forced: Forced,
}

/// A message to the reporter thread.
pub(super) enum Post {
    /// The root has begun to close.
    Closing,
    /// The first signal, and whether the root was closing before.
    FirstSignal(i32, bool),
    /// The signal, and the number of processes that were open.
    SecondSignal(i32, usize),
    ThirdSignal(i32, Unparker),
    /// The grace has ended, and the root is being aborted. The snapshot was taken before that.
    GraceOver(Snapshot),
    /// The abort grace has ended.
    GaveUp,
    Failed(SingleFailure),
    Dump,
    /// The root is Closed: the exit status, the aborted items, the number of failures, and the thread that waits for
    /// the report.
    Closed(u8, Option<Forced>, usize, Unparker),
    /// There is nothing more to report.
    Quit,
}

impl Shared {
    pub(super) fn new(rules: Rules, root: &Arc<Node>, at_end: Vec<AtEnd>) -> Arc<Self> {
        Arc::new(Self { rules, root: Arc::downgrade(root), at_end, state: Mutex::default() })
    }

    /// Calls the functions for the end of the program, unless they were called before. Returns their errors.
    pub(super) fn call_at_end(&self) -> Vec<BoxError> {
        if std::mem::replace(&mut self.state.lock().has_ended, true) {
            return Vec::new();
        }
        let Some(root) = self.root.upgrade() else { return Vec::new() };
        extensions::end(&self.at_end, &Process::of_node(root))
    }

    /// The time that the end of the program waits for the reporter thread: `limit`, extended if there are functions to
    /// call.
    fn limit(&self, limit: Duration, with_functions: Duration) -> Duration {
        if self.at_end.is_empty() { limit } else { limit + with_functions }
    }

    /// The time that a forced end waits.
    fn forced_wait(&self) -> Duration {
        self.limit(FORCED_WAIT, extensions::FORCED_EXTENSION)
    }

    /// Sets the reporter thread, which has started.
    pub(super) fn set_reporter(&self, reporter: Unparker) {
        self.state.lock().reporter = Some(reporter);
    }

    /// Sets the thread for systemd. It is woken when the program has finished starting, when the root begins to close,
    /// and when the root is Closed.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(super) fn set_notifier(&self, thread: Unparker) {
        self.state.lock().notifier = Some(Notifier { thread, is_ready: false, end: None });
    }

    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(super) fn notifier_has_ended(&self) {
        let notifier = self.state.lock().notifier.take();
        if let Some(end) = notifier.and_then(|notifier| notifier.end) {
            end.unpark();
        }
    }

    /// Has the program finished starting?
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(super) fn has_started(&self) -> bool {
        self.state.lock().notifier.as_ref().is_some_and(|notifier| notifier.is_ready)
    }

    /// Changes the state for the thread for systemd, and wakes it; `false` if there is no such thread.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    fn wake_notifier(&self, change: impl FnOnce(&mut Notifier)) -> bool {
        let tell = |notifier: &mut Notifier| {
            change(notifier);
            notifier.thread.clone()
        };
        let thread = self.state.lock().notifier.as_mut().map(tell);
        thread.map(|thread| thread.unpark()).is_some()
    }

    /// The root is Closed: waits for the last notification to systemd, for a limited time.
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    fn end_notifier(&self) {
        let parker = Parker::new();
        if self.wake_notifier(|notifier| notifier.end = Some(parker.unparker())) {
            parker.park_timeout(REGULAR_WAIT);
        }
    }

    pub(super) fn facts(&self) -> Facts {
        self.state.lock().facts.clone()
    }

    /// A snapshot of the root, if that still exists.
    pub(super) fn snapshot(&self) -> Option<Snapshot> {
        Some(look_at(&self.root.upgrade()?))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.root.upgrade().is_none_or(|root| root.phase() == Phase::Closed)
    }

    /// The exit status of a program that is ended by force.
    pub(super) fn code_by_force(&self) -> u8 {
        let facts = self.facts();
        let reason = self.root.upgrade().and_then(|root| root.reason());
        match (facts.aborted_by, reason) {
            (Some(AbortedBy { signal, .. }), _) | (None, Some(Reason::Signal(signal))) => {
                code_of(signal)
            }
            (None, _) => FORCED,
        }
    }

    /// Takes the next post from the queue.
    pub(super) fn next(&self) -> Option<Post> {
        let mut state = self.state.lock();
        if state.is_paused {
            return None;
        }
        let post = state.posts.pop_front()?;
        if matches!(post, Post::Failed(_)) {
            state.waiting_failures -= 1;
        }
        Some(post)
    }

    /// Takes the number of failures for which there was no space in the queue, if there were any.
    pub(super) fn take_lost(&self) -> Option<usize> {
        let lost = std::mem::take(&mut self.state.lock().lost_failures);
        (lost > 0).then_some(lost)
    }

    /// Posts a message to the reporter thread; `false` if there is no such thread.
    pub(super) fn post(&self, post: Post) -> bool {
        let mut state = self.state.lock();
        let Some(reporter) = state.reporter.clone() else { return false };
        state.posts.push_back(post);
        drop(state);
        reporter.unpark();
        true
    }

    /// Posts a message to the reporter thread, and waits until it is written, but at most for `limit`; `false` if there
    /// is no such thread.
    fn post_and_wait(&self, post: impl FnOnce(Unparker) -> Post, limit: Duration) -> bool {
        let parker = Parker::new();
        let is_posted = self.post(post(parker.unparker()));
        if is_posted {
            parker.park_timeout(limit);
        }
        is_posted
    }

    /// The root is Closed: reports that, calls the functions for the end, and waits for that for a limited time.
    pub(super) fn end(&self, code: u8, forced: Option<Forced>, failures: usize) {
        self.state.lock().facts.code = Some(code);
        let closed = |written| Post::Closed(code, forced, failures, written);
        let limit = self.limit(REGULAR_WAIT, extensions::REGULAR_EXTENSION);
        if !self.post_and_wait(closed, limit) {
            // Without the thread, nothing is reported.
            drop(self.call_at_end());
        }
        #[cfg(all(feature = "systemd", target_os = "linux"))]
        self.end_notifier();
    }

    /// Starts the grace when the root begins to close, and the abort grace when the root is aborted.
    pub(super) fn watch_root(self: &Arc<Self>, root: &Arc<Node>) {
        for moment in [Moment::Closing, Moment::Aborting] {
            // The root is new, so neither has begun.
            let _is_registered =
                register_own(root, moment, Arc::new(Woken { shared: self.clone(), moment }));
        }
    }

    fn closing_began(self: &Arc<Self>) {
        self.state.lock().facts.closing_since = Some(Instant::now());
        self.post(Post::Closing);
        #[cfg(all(feature = "systemd", target_os = "linux"))]
        self.wake_notifier(|_| ());
        let (Some(grace), Some(root)) = (self.rules.grace, self.root.upgrade()) else { return };
        let Some(deadline) = deadline_after(grace) else { return };
        let (shared, other) = (self.clone(), self.clone());
        let force = move |shared: Arc<Self>| {
            let weak = shared.root.clone();
            force_elsewhere(&weak, grace, ReportedBy::Main, move |snapshot| {
                shared.post(Post::GraceOver(snapshot));
            });
        };
        if !act_at(&root, deadline, move || force(shared)) {
            force(other);
        }
    }

    fn aborting_began(self: &Arc<Self>) {
        let Some(root) = self.root.upgrade() else { return };
        if !root.is_aborting() || root.phase() == Phase::Closed {
            return;
        }
        self.state.lock().facts.aborting_since = Some(Instant::now());
        let Some(deadline) = deadline_after(self.rules.abort_grace) else { return };
        let shared = self.clone();
        act_at(&root, deadline, move || shared.give_up());
    }

    /// The abort grace has ended: the reporter thread reports that, and ends the program. If it fails to, this thread
    /// or the deadline thread ends it.
    fn give_up(self: &Arc<Self>) {
        if self.is_closed() {
            return;
        }
        let is_posted = self.post(Post::GaveUp);
        if !self.rules.may_exit {
            return;
        }
        let code = i32::from(self.code_by_force());
        let deadline = deadline_after(self.forced_wait()).filter(|_| is_posted);
        let (Some(deadline), Some(root)) = (deadline, self.root.upgrade()) else { exit(code) };
        if !act_at(&root, deadline, move || exit(code)) {
            exit(code);
        }
    }
}

impl MainListener for Shared {
    fn is_quiet(&self) -> bool {
        self.rules.is_quiet
    }

    fn grace(&self) -> Option<Duration> {
        self.rules.grace
    }

    fn abort_grace(&self) -> Option<Duration> {
        Some(self.rules.abort_grace)
            .filter(|grace| self.rules.may_exit && deadline_after(*grace).is_some())
    }

    fn code_by_force(&self) -> u8 {
        Self::code_by_force(self)
    }

    fn code(&self) -> Option<u8> {
        self.facts().code
    }

    fn program_is_ready(&self) {
        #[cfg(all(feature = "systemd", target_os = "linux"))]
        self.wake_notifier(|notifier| notifier.is_ready = true);
    }

    fn count_failure(&self) {
        self.state.lock().facts.failures += 1;
    }

    fn report(&self, failure: &SingleFailure) {
        if self.rules.is_quiet {
            return;
        }
        let mut state = self.state.lock();
        if state.waiting_failures >= WAITING_FAILURES {
            state.lost_failures += 1;
            return;
        }
        state.waiting_failures += 1;
        drop(state);
        if !self.post(Post::Failed(failure.clone())) {
            self.state.lock().waiting_failures -= 1;
        }
    }
}

impl SignalObserver for Shared {
    fn before_close(&self, signal: i32) {
        let was_closing = self.root.upgrade().is_none_or(|root| root.phase() != Phase::Running);
        let mut state = self.state.lock();
        state.is_paused = true;
        state.facts.closed_by = Some(signal);
        state.posts.push_back(Post::FirstSignal(signal, was_closing));
    }

    fn before_abort(&self, signal: i32) {
        let Some(root) = self.root.upgrade() else { return };
        if root.phase() == Phase::Closed {
            return;
        }
        // This runs on the signal thread, because the items that will be aborted must be found before the abort. It
        // takes the locks of nodes, which are never held for long, and runs no foreign code.
        let snapshot = look_at(&root);
        let forced = Forced::new(root.label(), Duration::ZERO, &snapshot);
        let aborted_by = AbortedBy { signal, forced };
        let mut state = self.state.lock();
        // If the root was already aborted, the signal changes nothing.
        if !root.is_aborting() {
            state.facts.aborted_by = Some(aborted_by);
        }
        state.is_paused = true;
        state.posts.push_back(Post::SecondSignal(signal, snapshot.open()));
    }

    fn after_begin(&self) {
        let mut state = self.state.lock();
        state.is_paused = false;
        let reporter = state.reporter.clone();
        drop(state);
        if let Some(reporter) = reporter {
            reporter.unpark();
        }
    }

    fn before_exit(&self, signal: i32) {
        let third = |written| Post::ThirdSignal(signal, written);
        self.post_and_wait(third, self.forced_wait());
    }
}

/// The waker that is woken when the root begins to close, or when it is aborted.
struct Woken {
    shared: Arc<Shared>,
    moment: Moment,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        match self.moment {
            Moment::Closing => self.shared.closing_began(),
            _ => self.shared.aborting_began(),
        }
    }
}

/// The exit status of a program that was ended by this signal.
pub(super) fn code_of(signal: i32) -> u8 {
    128_u8.saturating_add(u8::try_from(signal).unwrap_or(0))
}
