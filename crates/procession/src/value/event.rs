//! [`Event`]: something that happened to a process, and the time.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::value::label::NEAREST;
use crate::value::text::{Count, Elapsed, Escaped};
use crate::value::{Error, Label, ProcessId, Reason, Segment, Site, with_causes};

/// Something that happened to a process, as hooks set with [`Process::on_event`](crate::Process::on_event) see it.
///
/// Its `Display` is one line: `app › db › cache: closing (its parent closed)`.
#[derive(Clone)]
pub struct Event {
    pub(crate) source: Source,
    pub(crate) at: Instant,
    pub(crate) kind: EventKind,
}

/// The kind of an [`Event`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// The process was made.
    Made,
    /// Running became Closing, for this reason.
    Closing(Reason),
    /// The process, which is Closing, was aborted.
    Aborting,
    /// Its body has ended, or was dropped before its end.
    BodyEnded,
    /// Its teardown is due.
    TeardownQueued,
    /// Its teardown has begun to run.
    TeardownStarted,
    /// Its teardown has ended.
    TeardownEnded,
    /// Its body or its teardown has failed, or its time limit has ended.
    Failed(Error),
    /// Closing became Closed.
    #[non_exhaustive]
    Closed {
        /// The outcome.
        outcome: Result<(), Error>,
        /// How long it was Closing, accurate to a few milliseconds.
        closing_for: Duration,
    },
    /// The hook was too slow, so `count` events are missing here. This event names the process that the hook was set
    /// on.
    #[non_exhaustive]
    Missed {
        /// The number of missing events.
        count: u64,
    },
}

impl Event {
    /// The id of the process. An id may be reused after its process is Closed: the new process then begins with the
    /// event [`Made`](EventKind::Made), unless it was made before the hook applied to it.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.source.id
    }

    /// The name of the process, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.source.own.name.as_deref()
    }

    /// Where the process was made.
    #[must_use]
    pub fn site(&self) -> Site {
        self.source.own.site
    }

    /// The label of the process, with at most the 16 nearest names of its path. The path is that of the time when the
    /// process was made or, if the hook was set later, of the time when the hook was set.
    #[must_use]
    pub fn label(&self) -> Label {
        self.source.label()
    }

    /// The names or sites of the process and of at most 15 processes above it, joined by `/`: the
    /// [path](Label::path) of the [label](Self::label).
    #[must_use]
    pub fn path(&self) -> String {
        self.label().path()
    }

    /// The id of the first parent of the process, if it has one. Like the path in the [`label`](Self::label), it is the
    /// one of the time when the process was made or, if the hook was set later, when the hook was set.
    #[must_use]
    pub fn parent(&self) -> Option<ProcessId> {
        self.source.above.as_ref().map(|above| above.id)
    }

    /// The time at which it happened.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The kind of the event.
    #[must_use]
    pub fn kind(&self) -> &EventKind {
        &self.kind
    }
}

impl Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.kind)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("path", &self.path())
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl EventKind {
    /// A stable name for programs to match on, such as `teardown_started`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Closing(_) => "closing",
            Self::Aborting => "aborting",
            Self::BodyEnded => "body_ended",
            Self::TeardownQueued => "teardown_queued",
            Self::TeardownStarted => "teardown_started",
            Self::TeardownEnded => "teardown_ended",
            Self::Failed(_) => "failed",
            Self::Closed { .. } => "closed",
            Self::Missed { .. } => "missed",
        }
    }
}

impl Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Made => f.write_str("made"),
            Self::Closing(reason) => write!(f, "closing ({reason})"),
            Self::Aborting => f.write_str("aborting"),
            Self::BodyEnded => f.write_str("its body ended"),
            Self::TeardownQueued => f.write_str("its teardown is due"),
            Self::TeardownStarted => f.write_str("its teardown started"),
            Self::TeardownEnded => f.write_str("its teardown ended"),
            Self::Failed(error) => Escaped::error(&with_causes(error).to_string()).fmt(f),
            Self::Closed { outcome, closing_for } => {
                f.write_str("closed")?;
                if !closing_for.is_zero() {
                    write!(f, " after {}", Elapsed(*closing_for))?;
                }
                match outcome {
                    Ok(()) => Ok(()),
                    Err(error) => {
                        let causes = with_causes(error).to_string();
                        write!(f, ", with an error: {}", Escaped::error(&causes))
                    }
                }
            }
            Self::Missed { count } => {
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                let words = if count == 1 { "event is" } else { "events are" };
                write!(f, "{} {words} missing here", Count(count))
            }
        }
    }
}

/// The process that an event is about, described without a reference to its node.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) id: ProcessId,
    pub(crate) own: Segment,
    pub(crate) above: Option<Arc<Above>>,
}

/// A first parent, and the processes above it. The children of that parent share it.
pub(crate) struct Above {
    pub(crate) id: ProcessId,
    pub(crate) segment: Segment,
    pub(crate) above: Option<Arc<Above>>,
}

impl Above {
    /// Links these processes, which are listed from the nearest up.
    #[cfg(not(loom))]
    pub(crate) fn of(processes: Vec<(ProcessId, Segment)>) -> Option<Arc<Self>> {
        let below = |above, (id, segment)| Some(Arc::new(Self { id, segment, above }));
        processes.into_iter().rev().fold(None, below)
    }
}

/// A long chain is freed in a loop (I11).
impl Drop for Above {
    fn drop(&mut self) {
        let mut next = self.above.take();
        while let Some(mut above) = next.and_then(Arc::into_inner) {
            next = above.above.take();
        }
    }
}

impl Source {
    /// The segments above the process, the nearest first.
    fn above(&self) -> impl Iterator<Item = &Segment> {
        let above = std::iter::successors(self.above.as_deref(), |above| above.above.as_deref());
        above.map(|above| &above.segment)
    }

    pub(crate) fn label(&self) -> Label {
        let mut above: Vec<_> = self.above().take(NEAREST).cloned().collect();
        let is_cut = above.len() == NEAREST;
        if is_cut {
            above.pop();
        }
        above.reverse();
        Label::new(self.id, self.own.clone(), above, is_cut)
    }
}

/// The nearest names, as messages print them: `app › db › cache`.
impl Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let above: Vec<_> = self.above().take(NEAREST).collect();
        if above.len() == NEAREST {
            f.write_str("… › ")?;
        }
        for segment in above.iter().take(NEAREST - 1).rev() {
            write!(f, "{} › ", Escaped::name(&segment.to_string()))?;
        }
        Escaped::name(&self.own.to_string()).fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Above, Event, EventKind, Source};
    use crate::value::label::NEAREST;
    use crate::value::{ProcessId, Reason, Segment, Site};

    fn segment(name: &str) -> Segment {
        Segment { name: Some(name.into()), site: Site::caller() }
    }

    fn event(above: &[&str], kind: EventKind) -> Event {
        let id = ProcessId::of(&1_u8);
        let above = Above::of(above.iter().rev().map(|name| (id, segment(name))).collect());
        let source = Source { id: ProcessId::of(&0_u8), own: segment("cache"), above };
        Event { source, at: Instant::now(), kind }
    }

    #[test]
    fn an_event_is_one_line() {
        let closing = event(&["app", "d\nb"], EventKind::Closing(Reason::ParentClosed));
        assert_eq!(closing.to_string(), "app › d\\u{a}b › cache: closing (its parent closed)");
        assert_eq!(closing.path(), "app/d\nb/cache");
        assert_eq!(closing.parent(), closing.source.above.as_ref().map(|above| above.id));
        assert_eq!(event(&[], EventKind::Made).parent(), None);
        let closing_for = Duration::from_millis(41);
        let closed = event(&[], EventKind::Closed { outcome: Ok(()), closing_for });
        assert_eq!(closed.to_string(), "cache: closed after 41 ms");
        assert_eq!((closed.kind().name(), closed.name()), ("closed", Some("cache")));
        for (count, words) in [(1, "1 event is missing here"), (2, "2 events are missing here")] {
            assert_eq!(EventKind::Missed { count }.to_string(), words);
        }
    }

    #[test]
    fn a_long_path_is_cut() {
        let names: Vec<String> = (0..40).map(|depth| format!("p{depth}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let text = event(&names, EventKind::Made).to_string();
        assert!(text.starts_with("… › p25 › ") && text.ends_with(" › p39 › cache: made"), "{text}");
        assert_eq!(text.matches('›').count(), NEAREST);
        let all = event(&names[..15], EventKind::Made).path();
        assert!(all.starts_with("p0/") && all.ends_with("/p14/cache"), "{all}");
    }

    #[test]
    fn a_long_chain_is_freed_in_a_loop() {
        let id = ProcessId::of(&0_u8);
        drop(Above::of((0..1_000_000).map(|_| (id, segment("link"))).collect()));
    }
}
