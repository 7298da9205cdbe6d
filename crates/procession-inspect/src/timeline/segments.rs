//! The segments of a process: what it did from Closing to Closed.
//!
//! # Invariants
//!
//! - G1. The segments of a process partition [closing, Closed]: they are in order, without gap or overlap. *Because*
//!   they are cut at [`Bounds`], each of which is the maximum of its own time and the one before.
//! - G2. If the process is not Closed, they end at the moment of the recording, and the last one is open.

use procession::Work;

use super::recording::{Life, Moment};

/// What a process does in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Before it was asked to close.
    Run,
    /// Its own body has not ended yet.
    Body,
    /// It waits for other processes.
    Wait,
    /// Its teardown is due.
    Queue,
    Teardown,
    /// From the end of its teardown until it is Closed.
    End,
}

impl Kind {
    /// A stable name for programs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Body => "body",
            Self::Wait => "wait",
            Self::Queue => "queue",
            Self::Teardown => "teardown",
            Self::End => "end",
        }
    }

    /// What a process with this work does. A closing hook is a process whose teardown is the hook.
    pub(crate) fn words(self, work: Work) -> &'static str {
        match (self, work) {
            (Self::Teardown, Work::Hook) => "closing hook",
            (kind, _) => kind.name(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: Kind,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// It is after an abort.
    pub(crate) aborted: bool,
    /// It had not ended when the recording was taken.
    pub(crate) open: bool,
}

/// The boundaries of the segments, none of which is earlier than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) closing: u64,
    /// The end of the body.
    pub(crate) body: u64,
    /// The end of the wait for others.
    pub(crate) wait: u64,
    /// The start of the teardown.
    pub(crate) queue: u64,
    /// The end of the teardown.
    pub(crate) teardown: u64,
    /// When it was Closed, or the moment of the recording.
    pub(crate) closed: u64,
    /// The segment that is open.
    pub(crate) open: Option<Kind>,
}

impl Bounds {
    /// The boundaries of a process that has begun to close.
    pub(crate) fn of(life: &Life, until: u64) -> Option<Self> {
        let closing = life.at(Moment::Closing).or(life.at(Moment::Closed))?;
        let body_ended = life.at(Moment::BodyEnded);
        let queued = life.at(Moment::TeardownQueued);
        let started = life.at(Moment::TeardownStarted);
        let ended = life.at(Moment::TeardownEnded);
        let closed = life.at(Moment::Closed);
        let open = match (closed, ended, started, queued) {
            (Some(_), ..) => None,
            (None, Some(_), ..) => Some(Kind::End),
            (None, None, Some(_), _) => Some(Kind::Teardown),
            (None, None, None, Some(_)) => Some(Kind::Queue),
            (None, None, None, None) => {
                let has_body =
                    matches!(life.work, Work::ThreadBody | Work::AsyncBody | Work::CallerBody);
                let is_in_body = has_body && body_ended.is_none();
                Some(if is_in_body { Kind::Body } else { Kind::Wait })
            }
        };
        let last = closed.unwrap_or(until);
        // The end of a segment: its own time or, without one, the time of the next boundary that has one.
        let body = match open {
            Some(Kind::Body) => last,
            _ => body_ended.unwrap_or(closing),
        };
        let body = body.max(closing);
        let wait = queued.or(started).or(ended).unwrap_or(last).max(body);
        let queue = started.or(ended).unwrap_or(last).max(wait);
        let teardown = ended.unwrap_or(last).max(queue);
        let closed = last.max(teardown);
        Some(Self { closing, body, wait, queue, teardown, closed, open })
    }

    /// The parts, the empty ones too.
    pub(crate) fn parts(&self) -> [(Kind, u64, u64); 5] {
        let Self { closing, body, wait, queue, teardown, closed, .. } = *self;
        [
            (Kind::Body, closing, body),
            (Kind::Wait, body, wait),
            (Kind::Queue, wait, queue),
            (Kind::Teardown, queue, teardown),
            (Kind::End, teardown, closed),
        ]
    }
}

/// The segments that are not empty. One during which the process was aborted is two.
pub(crate) fn segments(life: &Life, until: u64) -> Vec<Segment> {
    let Some(bounds) = Bounds::of(life, until) else { return Vec::new() };
    let aborting = life.at(Moment::Aborting).unwrap_or(u64::MAX);
    let mut segments = Vec::new();
    for (kind, from, to) in bounds.parts() {
        let cut = aborting.clamp(from, to);
        for (from, to, aborted) in [(from, cut, false), (cut, to, true)] {
            if from < to {
                segments.push(Segment { kind, from, to, aborted, open: false });
            }
        }
    }
    if let (Some(_), Some(last)) = (bounds.open, segments.last_mut()) {
        last.open = true;
    }
    segments
}

#[cfg(test)]
mod tests {
    use procession::Work;
    use proptest::prelude::*;

    use super::super::testing::{any_recording, life};
    use super::Kind::{Body, End, Queue, Teardown, Wait};
    use super::{Bounds, Moment, segments};

    #[test]
    fn a_process_has_five_segments() {
        let mut life = life("db");
        for (moment, at) in [
            (Moment::Closing, 10),
            (Moment::BodyEnded, 20),
            (Moment::TeardownQueued, 30),
            (Moment::TeardownStarted, 40),
            (Moment::TeardownEnded, 50),
            (Moment::Closed, 60),
        ] {
            life.set(moment, at);
        }
        let found: Vec<_> =
            segments(&life, 99).iter().map(|one| (one.kind, one.from, one.to)).collect();
        let expected =
            [(Body, 10, 20), (Wait, 20, 30), (Queue, 30, 40), (Teardown, 40, 50), (End, 50, 60)];
        assert_eq!(found, expected);
    }

    #[test]
    fn empty_segments_are_left_out() {
        let mut life = life("worker");
        life.set(Moment::BodyEnded, 5); // before it was asked to close
        life.set(Moment::Closing, 10);
        life.set(Moment::Closed, 30);
        let found: Vec<_> =
            segments(&life, 99).iter().map(|one| (one.kind, one.from, one.to)).collect();
        assert_eq!(found, [(Wait, 10, 30)]);
    }

    #[test]
    fn an_abort_cuts_a_segment() {
        let mut life = life("worker");
        life.set(Moment::Closing, 10);
        life.set(Moment::Aborting, 15);
        life.set(Moment::BodyEnded, 20);
        life.set(Moment::Closed, 30);
        let found: Vec<_> = segments(&life, 99)
            .iter()
            .map(|one| (one.kind, one.from, one.to, one.aborted))
            .collect();
        let expected = [(Body, 10, 15, false), (Body, 15, 20, true), (Wait, 20, 30, true)];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_open_segment_ends_now() {
        let mut life = life("worker");
        life.set(Moment::Closing, 10);
        let last = |life: &_| segments(life, 99).last().map(|one| (one.kind, one.to, one.open));
        assert_eq!(last(&life), Some((Wait, 99, true)));
        life.work = Work::AsyncBody;
        assert_eq!(last(&life), Some((Body, 99, true)));
        life.set(Moment::BodyEnded, 20);
        assert_eq!(last(&life), Some((Wait, 99, true)));
        life.set(Moment::TeardownQueued, 30);
        assert_eq!(last(&life), Some((Queue, 99, true)));
        life.set(Moment::TeardownStarted, 40);
        assert_eq!(last(&life), Some((Teardown, 99, true)));
        life.set(Moment::TeardownEnded, 50);
        assert_eq!(last(&life), Some((End, 99, true)));
    }

    proptest! {
        #![proptest_config(super::super::testing::cases())]

        /// G1, for events in any order too.
        #[test]
        fn segments_partition_closing(recording in any_recording()) {
            for life in &recording.lives {
                let Some(bounds) = Bounds::of(life, recording.until) else {
                    prop_assert!(segments(life, recording.until).is_empty());
                    continue;
                };
                let mut at = bounds.closing;
                for segment in segments(life, recording.until) {
                    prop_assert_eq!(segment.from, at);
                    prop_assert!(segment.from < segment.to);
                    at = segment.to;
                }
                prop_assert_eq!(at, bounds.closed);
            }
        }
    }
}
