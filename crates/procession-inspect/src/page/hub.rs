//! [`Hub`]: one sampler for all viewers.
//!
//! A thread takes a snapshot every max(1 s, 20 × the time that the last one took), or every 100 ms while the root is
//! Closing and fewer than 1,000 processes are open. It sleeps while nobody looks, but not while the root is Closing.
//! Requests share its samples, and it shares theirs. Each distinct query is a [`Channel`], whose frame is built once
//! for all of its viewers.
//!
//! # Invariants
//!
//! - H1. A viewer holds no frame. *Because* it asks its channel for what follows the last frame that it has taken: the
//!   patch if that was the frame before, otherwise the whole frame.
//! - H2. No foreign code runs under a lock. *Because* frames are made from samples without one, and the lock of the hub
//!   is held only to read and replace values.
//! - H3. At most [`STREAMS`] viewers exist, because each has a seat, which it gives back when it is dropped.
//! - H4. The app is not kept open by its inspector. *Because* the hub has a weak handle, and upgrades it for a snapshot
//!   only.
//! - H5. The hub has at most one sample, except for those being taken. *Because* it drops the old one before a new one
//!   is taken: a sample of 100,000 processes takes more than 10 MB.
//! - H6. A thread waits for another one's sample only if the other one runs no foreign code, or if two others are
//!   already taking samples. *Because* one thread takes samples at a time or, if there is a function that redacts, two;
//!   and an outcome, which is a user's error, is formatted before or, if the root was Closed meanwhile, after that.
//! - H7. A sample with a root that is Closed has an outcome. *Because* otherwise it is not made, but taken again.

mod viewer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use event_listener::{Event, Listener};
use futures_lite::future::{block_on, or};
use parking_lot::Mutex;
use procession::{Clock, Error, Phase, Process, SystemClock, WeakProcess, support};

pub(crate) use self::viewer::Viewer;
use super::facts::Facts;
use super::farewell::{bye, outcome_text};
use super::frame::{FRAME_LIMIT, frame, keep_closed, next};
use super::history::History;
use super::model::{At, Frame, Program, State as Shows};
use super::query::Query;
use super::sample::{Numbered, Sample};
use super::tally::Tally;
use super::texts::Texts;
use super::units::Sources;

/// The maximum number of streams.
pub(crate) const STREAMS: usize = 100;

/// The maximum number of distinct queries for which a frame is made at one time; the others take turns.
const QUERIES: usize = 16;

const PAUSE: Duration = Duration::from_secs(1);
const SHORT_PAUSE: Duration = Duration::from_millis(100);
const FEW: usize = 1_000;

/// The time for which requests are answered with the same sample, unless 20 times its cost is longer. A sample from
/// before the root began to close is not used after that.
const FRESH: Duration = Duration::from_millis(100);

/// The time that the last frame waits for the last events.
const FLUSH: Duration = Duration::from_millis(100);

/// The time between the last event and the end of the server, if there are viewers.
pub(crate) const SAVE: Duration = Duration::from_millis(400);

/// The time that the last event waits for the exit status, which the program tells as soon as it has reported its end.
const EXIT: Duration = Duration::from_secs(5);

pub(crate) struct Hub {
    root: WeakProcess,
    began: Instant,
    program: Arc<Program>,
    texts: Texts,
    sources: Sources,
    tally: Tally,
    history: Mutex<History>,
    state: Mutex<State>,
    /// A viewer has come, or the sampler must end.
    wake: Event,
    /// Frames have been made.
    made: Event,
    /// A sample has been taken.
    taken: Event,
    seats: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// The last sample, and until when requests are answered with it.
    sample: Option<(Instant, Arc<Sample>)>,
    channels: BTreeMap<Query, Channel>,
    /// The queries whose turn was last, so that others have theirs.
    turn: u64,
    closing_since: Option<Instant>,
    end: Option<Outcome>,
    bye: Option<Arc<[u8]>>,
    is_stopped: bool,
    exit: Exit,
    /// The number of threads that are taking a sample.
    taking: usize,
    /// The number of samples that were taken.
    #[cfg(test)]
    samples: u64,
}

impl State {
    /// The last sample, if a request may be answered with it: it is fresh, or the request has waited for it.
    fn usable(&self, has_waited: bool) -> Option<&Arc<Sample>> {
        let (until, sample) = self.sample.as_ref()?;
        // Closing may take less time than a sample is fresh.
        let is_outdated = self.closing_since.is_some() && sample.summary.state == Shows::Running;
        ((has_waited || Instant::now() < *until) && !is_outdated).then_some(sample)
    }
}

/// What is known about the exit status of the program.
#[derive(Clone, Copy)]
enum Exit {
    /// It will be told.
    Expected,
    With(Option<u8>),
}

impl Default for Exit {
    fn default() -> Self {
        Self::With(None)
    }
}

/// The outcome of the root in words, and how long it was Closing.
type Outcome = (String, Duration);

/// A sample, if there is one; or the root, if it is Closed and its outcome is not known.
type Taken = Result<Option<Arc<Sample>>, Process>;

/// A thread that takes a sample.
struct Turn<'a>(&'a Hub);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().taking -= 1;
        self.0.taken.notify(usize::MAX);
    }
}

/// The frames of one query.
struct Channel {
    viewers: usize,
    turn: u64,
    shown: Option<Arc<Shown>>,
    /// The patch that leads to it from the frame before.
    patch: Option<Arc<[u8]>>,
}

/// A frame that viewers see.
struct Shown {
    frame: Frame,
    /// The whole frame as an event, once a viewer needs it: one that has just come, or has missed a patch.
    whole: OnceLock<Arc<[u8]>>,
}

impl Shown {
    fn new(frame: Frame) -> Arc<Self> {
        Arc::new(Self { frame, whole: OnceLock::new() })
    }

    fn seq(&self) -> u64 {
        self.frame.seq.unwrap_or(0)
    }

    fn whole(&self) -> Arc<[u8]> {
        self.whole.get_or_init(|| event("frame", self.seq(), &self.frame)).clone()
    }
}

impl Hub {
    /// The hub of a process, without a sampler.
    fn new(root: &Process, texts: Texts, sources: Sources) -> Arc<Self> {
        let mut random = [0; 8];
        // Without random numbers, two runs may look the same; nothing else depends on it.
        let _filled = getrandom::fill(&mut random);
        let host = gethostname::gethostname().to_string_lossy().into_owned();
        let program = Program {
            name: texts.name_or_site(root.name().as_deref(), root.site()),
            pid: std::process::id(),
            host: texts.name(&host),
            run: format!("{:016x}", u64::from_le_bytes(random)),
        };
        let hub = Arc::new(Self {
            root: root.downgrade(),
            began: Instant::now(),
            program: Arc::new(program),
            texts,
            sources,
            tally: Tally::new(root.id()),
            history: Mutex::default(),
            state: Mutex::default(),
            wake: Event::new(),
            made: Event::new(),
            taken: Event::new(),
            seats: AtomicUsize::new(0),
        });
        let observer = Arc::downgrade(&hub);
        root.on_event(move |event| {
            observer.upgrade().into_iter().for_each(|hub| hub.tally.observe(event));
        });
        hub
    }

    pub(crate) fn start(root: &Process, texts: Texts, sources: Sources) -> Arc<Self> {
        let (closing, closed) = (root.closing(), root.closed());
        let hub = Self::new(root, texts, sources);
        let sampler = hub.clone();
        let sample = move || {
            block_on(async {
                let closing = async {
                    closing.await;
                    true
                };
                let stopped = async {
                    sampler.stopped().await;
                    false
                };
                if sampler.until(or(closing, stopped)).await {
                    sampler.state.lock().closing_since = Some(Instant::now());
                }
                let outcome = async { Some(closed.await) };
                let stopped = async {
                    sampler.stopped().await;
                    None
                };
                let outcome = sampler.until(or(outcome, stopped)).await;
                sampler.end(outcome).await;
            });
        };
        let thread = std::thread::Builder::new().name("procession-inspect".to_owned());
        // Without a thread, pages show what requests ask for, and streams end.
        drop(thread.spawn(sample));
        hub
    }

    /// The program, for pages that show nothing else.
    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn is_redacted(&self) -> bool {
        self.texts.is_redacted()
    }

    /// Makes frames until the future is ready.
    async fn until<T>(&self, end: impl Future<Output = T>) -> T {
        let mut end = std::pin::pin!(end);
        loop {
            let wake = self.wake.listen();
            let pause = {
                let state = self.state.lock();
                let has_viewers = !state.channels.is_empty();
                has_viewers || state.closing_since.is_some()
            };
            let pause = if pause { Some(self.tick(Self::sample)) } else { None };
            let woken = async {
                match pause {
                    Some(pause) => SystemClock.sleep(pause).await,
                    None => wake.await,
                }
                None
            };
            let ended = async { Some(end.as_mut().await) };
            if let Some(ended) = or(ended, woken).await {
                return ended;
            }
        }
    }

    async fn stopped(&self) {
        loop {
            let wake = self.wake.listen();
            if self.state.lock().is_stopped {
                return;
            }
            wake.await;
        }
    }

    /// Ends the sampler, and all streams.
    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.wake.notify(usize::MAX);
        self.made.notify(usize::MAX);
    }

    /// Makes the frames, and returns the time until the next ones.
    fn tick(&self, sample: impl FnOnce(&Self) -> Option<Arc<Sample>>) -> Duration {
        let began = Instant::now();
        let Some(sample) = sample(self) else { return PAUSE };
        let queries = {
            let mut state = self.state.lock();
            state.turn += 1;
            let turn = state.turn;
            let mut due: Vec<(u64, Query)> =
                state.channels.iter().map(|(query, one)| (one.turn, query.clone())).collect();
            due.sort_unstable();
            due.truncate(QUERIES);
            for (_, query) in &due {
                if let Some(channel) = state.channels.get_mut(query) {
                    channel.turn = turn;
                }
            }
            due
        };
        for (_, query) in queries {
            let before = {
                let state = self.state.lock();
                state.channels.get(&query).and_then(|channel| channel.shown.clone())
            };
            self.advance(&query, before.as_ref(), &sample);
        }
        self.made.notify(usize::MAX);
        self.pause(&sample, began.elapsed())
    }

    /// The time until the next frames, after those of this sample.
    fn pause(&self, sample: &Sample, cost: Duration) -> Duration {
        let is_closing = self.state.lock().closing_since.is_some();
        let pause = if is_closing && sample.summary.open() < FEW { SHORT_PAUSE } else { PAUSE };
        pause.max(cost * 20)
    }

    /// The first frame of a channel that has none.
    fn begin(&self, query: &Query, sample: &Sample) {
        let has_none = |channel: &Channel| channel.shown.is_none();
        if !self.state.lock().channels.get(query).is_some_and(has_none) {
            return;
        }
        let first = Shown::new(Frame { seq: Some(1), ..frame(sample, query) });
        if let Some(channel) = self.state.lock().channels.get_mut(query).filter(|one| has_none(one))
        {
            channel.shown = Some(first);
        }
    }

    /// The frame after `before`, unless another one has taken its place, because all viewers have left and others have
    /// come.
    fn advance(&self, query: &Query, before: Option<&Arc<Shown>>, sample: &Sample) {
        let Some(before) = before else { return self.begin(query, sample) };
        let mut now = frame(sample, query);
        keep_closed(&before.frame, &mut now, sample, query);
        let (now, patch) = next(&before.frame, now);
        let patch = event("patch", patch.seq, &patch);
        let patch = Some(patch).filter(|patch| patch.len() <= FRAME_LIMIT);
        let now = Shown::new(now);
        let mut state = self.state.lock();
        let is_same = |channel: &&mut Channel| {
            channel.shown.as_ref().is_some_and(|shown| Arc::ptr_eq(shown, before))
        };
        if let Some(channel) = state.channels.get_mut(query).filter(is_same) {
            let replaced =
                (channel.shown.replace(now), std::mem::replace(&mut channel.patch, patch));
            drop(state);
            drop(replaced);
        }
    }

    /// Takes a sample with the outcome of the root. If the root was Closed meanwhile, it is taken again.
    fn with_outcome(&self, take: impl Fn(Option<Outcome>) -> Taken) -> Option<Arc<Sample>> {
        let outcome = {
            let root = self.root.upgrade();
            self.outcome(root.as_ref())
        };
        take(outcome).or_else(|closed| take(self.outcome(Some(&closed)))).ok().flatten()
    }

    /// The outcome of the root once it is Closed, and how long it was Closing. It runs foreign code.
    fn outcome(&self, root: Option<&Process>) -> Option<Outcome> {
        let (closing_since, end) = {
            let state = self.state.lock();
            (state.closing_since, state.end.clone())
        };
        end.or_else(|| {
            let outcome = root?.outcome()?;
            let closing_for = closing_since.map_or(Duration::ZERO, |since| since.elapsed());
            Some((outcome_text(&outcome), closing_for))
        })
    }

    /// Takes a sample. Returns a later one if another thread has taken it meanwhile, and the last one if there is no
    /// root any more.
    fn take_sample(&self, outcome: Option<Outcome>) -> Taken {
        let Some(root) = self.root.upgrade() else {
            return Ok(self.state.lock().sample.clone().map(|(_, sample)| sample));
        };
        let last = self.state.lock().sample.take();
        drop(last);
        let (at, now, tally, numbered) = {
            // One at a time, because the history belongs to the last snapshot.
            let mut history = self.history.lock();
            let (at, now, tally) = (At::now(), Instant::now(), self.tally.state());
            let snapshot = root.snapshot();
            if outcome.is_none() && snapshot.root().phase() == Phase::Closed {
                return Err(root);
            }
            let numbered = Numbered::new(snapshot, &mut history, &tally);
            (at, now, tally, numbered)
        };
        let deadlines = support::deadlines_of_root(&root);
        drop(root);
        let (program, texts, sources) = (&self.program, &self.texts, &self.sources);
        let up = self.began.elapsed();
        let facts = Facts { at, now, up, program, deadlines, tally, texts, sources, outcome };
        let sample = Arc::new(Sample::new(numbered, facts));
        let fresh_until = Instant::now() + FRESH.max(now.elapsed() * 20);
        let mut state = self.state.lock();
        #[cfg(test)]
        {
            state.samples += 1;
        }
        // Redacting takes time.
        if let Some((_, later)) =
            state.sample.as_ref().filter(|(_, last)| last.taken > sample.taken)
        {
            return Ok(Some(later.clone()));
        }
        let replaced = state.sample.replace((fresh_until, sample.clone()));
        drop(state);
        drop(replaced);
        Ok(Some(sample))
    }

    /// A sample that is new enough to answer a request. If one is being taken, it waits for that (H6).
    pub(crate) fn sample(&self) -> Option<Arc<Sample>> {
        self.with_outcome(|outcome| self.shared_sample(outcome))
    }

    fn shared_sample(&self, outcome: Option<Outcome>) -> Taken {
        // A function that redacts may ask for the page, and would wait for itself.
        let limit = if self.texts.is_redacted() { 2 } else { 1 };
        let mut has_waited = false;
        loop {
            let taken = self.taken.listen();
            {
                let mut state = self.state.lock();
                if let Some(sample) = state.usable(has_waited) {
                    return Ok(Some(sample.clone()));
                }
                if state.taking < limit {
                    // Before the turn, so that during it the listeners are those that wait.
                    drop(taken);
                    state.taking += 1;
                    break;
                }
            }
            taken.wait();
            has_waited = true;
        }
        let _turn = Turn(self);
        self.take_sample(outcome)
    }

    /// A sample that is taken now.
    fn new_sample(&self) -> Option<Arc<Sample>> {
        self.with_outcome(|outcome| {
            self.state.lock().taking += 1;
            let _turn = Turn(self);
            self.take_sample(outcome)
        })
    }

    /// The root is Closed, or the inspector was stopped.
    async fn end(&self, outcome: Option<Result<(), Error>>) {
        let since = self.state.lock().closing_since;
        let elapsed = since.map_or(Duration::ZERO, |since| since.elapsed());
        if let Some(outcome) = &outcome {
            self.state.lock().end = Some((outcome_text(outcome), elapsed));
            // The last events may not have been handled yet.
            support::flush_events(FLUSH);
            self.tick(Self::new_sample);
        }
        let exit_code = self.exit_code().await;
        let bye = bye(outcome.as_ref(), exit_code, elapsed, &self.texts);
        let bye = event("bye", 0, &bye);
        let mut state = self.state.lock();
        (state.bye, state.is_stopped) = (Some(bye), true);
        drop(state);
        self.made.notify(usize::MAX);
        self.wake.notify(usize::MAX);
    }

    /// Waits until everything has ended, and viewers have had time to save the timeline.
    pub(crate) async fn ended(&self) {
        loop {
            let made = self.made.listen();
            if self.state.lock().bye.is_some() {
                break;
            }
            made.await;
        }
        if self.seats.load(Ordering::Relaxed) > 0 {
            SystemClock.sleep(SAVE).await;
        }
    }

    /// The process is the root of a program, which [tells](Self::exits) its exit status.
    pub(crate) fn expect_exit(&self) {
        self.state.lock().exit = Exit::Expected;
    }

    /// The program ends with this status, even if the root is still open.
    pub(crate) fn exits(&self, code: Option<u8>, is_closed: bool) {
        let mut state = self.state.lock();
        state.exit = Exit::With(code);
        state.is_stopped |= !is_closed;
        drop(state);
        self.wake.notify(usize::MAX);
    }

    /// The exit status, if there is a program that tells it soon.
    async fn exit_code(&self) -> Option<u8> {
        let known = async {
            loop {
                let wake = self.wake.listen();
                if let Exit::With(code) = self.state.lock().exit {
                    return code;
                }
                wake.await;
            }
        };
        let late = async {
            SystemClock.sleep(EXIT).await;
            None
        };
        or(known, late).await
    }
}

/// An event of a stream. The data is one line, because JSON has no line breaks.
fn event(name: &str, seq: u64, data: &impl serde::Serialize) -> Arc<[u8]> {
    let mut event = format!("event: {name}\nid: {seq}\ndata: ").into_bytes();
    // Plain values are always written.
    let _written = serde_json::to_writer(&mut event, data);
    event.extend_from_slice(b"\n\n");
    event.into()
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
