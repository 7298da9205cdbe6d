//! The critical path: the chain of processes that determined how long the root was Closing.
//!
//! It is followed backwards, from the moment when the root was Closed (or from now) to the moment when its closing
//! began. In a process, the last segments come first; where its wait ends, the path continues in the process that was
//! Closed last among those that it waited for; where a process began to close later than the root, in the process that
//! it was closed after.
//!
//! # Invariants
//!
//! - C1. The spans partition [closing, Closed] of the root. *Because* each span ends where the one after it begins
//!   ([`Path::take`] is the only place that adds one), the first one taken ends at the end, and the walk ends only when
//!   the beginning is reached, to which every span is cut.
//! - C2. The walk ends. *Because* it never enters a process twice.
//! - C3. It is linear in processes and edges. *Because* of each process that it enters, it looks at the edges once; and
//!   the search for an edge of a parent that orders closing ends at the first parent that did not begin to close late,
//!   and passes no process twice.

use super::recording::{EdgeKind, Recording};
use super::segments::{Bounds, Kind, Segment};

/// A part of the critical path, in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) process: u32,
    /// `None`: closing reached the process, which no recorded process had delayed.
    pub(crate) kind: Option<Kind>,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// The critical path. It is empty if the root has not begun to close.
#[derive(Clone, Debug, Default)]
pub(crate) struct Critical {
    /// The earliest first.
    pub(crate) spans: Vec<Span>,
    /// The same processes and those in which no time passed, from one to the next.
    pub(crate) hops: Vec<Hop>,
}

/// From a process that was Closed to one that could go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// It, or a parent, began to close only then. Otherwise, its wait ended.
    pub(crate) begins: bool,
}

/// The spans of one process that follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) process: u32,
    /// The number in the pictures, from 1.
    pub(crate) number: usize,
    pub(crate) spans: Vec<Span>,
}

impl Step {
    pub(crate) fn micros(&self) -> u64 {
        self.spans.iter().map(|span| span.to - span.from).sum()
    }
}

pub(crate) fn critical_path(recording: &Recording, waits: &Waits) -> Critical {
    let bounds = |process: u32| Bounds::of(recording.life(process), recording.until);
    let Some(root) = bounds(0) else { return Critical::default() };
    let critical = Critical::default();
    let mut path = Path { begin: root.closing, at: root.closed, critical };
    let mut entered = vec![false; recording.lives.len()];
    let mut climbed = vec![false; recording.lives.len()];
    let (mut process, mut own) = (0, root);
    entered[0] = true;
    while path.at > path.begin {
        path.take(process, Some(Kind::End), own.teardown);
        path.take(process, Some(Kind::Teardown), own.queue);
        path.take(process, Some(Kind::Queue), own.wait);
        if let Some((next, ended)) = waits.last_closed(
            recording,
            process,
            |kind| kind != EdgeKind::NoWaitChild,
            |other, closed| !entered[other as usize] && closed > own.body && closed <= path.at,
        ) {
            path.take(process, Some(Kind::Wait), ended.closed);
            path.critical.hops.push(Hop { from: next, to: process, begins: false });
            (process, own) = (next, ended);
            entered[process as usize] = true;
            continue;
        }
        path.take(process, Some(Kind::Wait), own.body);
        path.take(process, Some(Kind::Body), own.closing);
        // It began to close later than the root. Perhaps it, or a parent that closed it, had to close after another
        // process.
        let mut upper = Some(process);
        let mut before = None;
        while let (Some(late), None) = (upper, before) {
            if std::mem::replace(&mut climbed[late as usize], true) {
                break;
            }
            let is_before = |other: u32, closed| {
                !entered[other as usize] && closed > path.begin && closed <= path.at
            };
            let is_order = |kind| kind == EdgeKind::CloseAfter;
            before = waits.last_closed(recording, late, is_order, is_before);
            let is_late =
                |parent: &u32| bounds(*parent).is_some_and(|own| own.closing > path.begin);
            upper = recording.life(late).parent().filter(is_late);
        }
        match before {
            Some((next, ended)) => {
                path.take(process, None, ended.closed);
                path.critical.hops.push(Hop { from: next, to: process, begins: true });
                (process, own) = (next, ended);
                entered[process as usize] = true;
            }
            None => path.take(process, None, path.begin),
        }
    }
    path.critical.spans.reverse();
    path.critical.hops.reverse();
    path.critical
}

/// The path so far, the latest first.
struct Path {
    begin: u64,
    /// The spans begin here.
    at: u64,
    critical: Critical,
}

impl Path {
    /// Adds the span from `from` to where the path begins so far (C1).
    fn take(&mut self, process: u32, kind: Option<Kind>, from: u64) {
        let from = from.max(self.begin);
        if from < self.at {
            self.critical.spans.push(Span { process, kind, from, to: self.at });
            self.at = from;
        }
    }
}

/// The spans of each process that follow each other are one step.
pub(crate) fn steps(spans: &[Span]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for span in spans {
        match steps.last_mut().filter(|last| last.process == span.process) {
            Some(last) => last.spans.push(*span),
            None => {
                let number = steps.len() + 1;
                steps.push(Step { process: span.process, number, spans: vec![*span] });
            }
        }
    }
    steps
}

/// Is this segment of a process on the critical path? A wait is only if the path spends at least half of it there: at
/// the end of nearly every wait, a few microseconds pass before the process goes on.
pub(crate) fn is_critical(spans: &[Span], process: u32, segment: &Segment) -> bool {
    let first = spans.partition_point(|span| span.to <= segment.from);
    let overlapping = spans[first..].iter().take_while(|span| span.from < segment.to);
    let own = overlapping.filter(|span| span.process == process && span.kind == Some(segment.kind));
    let covered: u64 = own.map(|span| span.to.min(segment.to) - span.from.max(segment.from)).sum();
    let needed =
        if segment.kind == Kind::Wait { (segment.to - segment.from).div_ceil(2) } else { 1 };
    covered >= needed
}

/// The edges from each process: to those whose first parent it is, and all others.
pub(crate) struct Waits {
    /// The edges from process `p` are `edges[starts[p]..starts[p + 1]]`.
    starts: Vec<usize>,
    edges: Vec<(u32, EdgeKind)>,
}

impl Waits {
    pub(crate) fn of(recording: &Recording) -> Self {
        // A child that its first parent does not wait for has two edges, of which only the explicit one counts.
        let no_wait: std::collections::HashSet<(u32, u32)> = recording
            .edges
            .iter()
            .filter(|edge| edge.kind == EdgeKind::NoWaitChild)
            .map(|edge| (edge.from, edge.to))
            .collect();
        let children = (0..).zip(&recording.lives).filter_map(|(child, life)| {
            let parent = life.parent()?;
            (!no_wait.contains(&(parent, child))).then_some((parent, (child, EdgeKind::Child)))
        });
        let others = recording.edges.iter().map(|edge| (edge.from, (edge.to, edge.kind)));
        let mut all: Vec<(u32, (u32, EdgeKind))> = children.chain(others).collect();
        all.sort_unstable();
        let mut starts = vec![0; recording.lives.len() + 1];
        for (from, _) in &all {
            starts[*from as usize + 1] += 1;
        }
        for process in 1..starts.len() {
            starts[process] += starts[process - 1];
        }
        Self { starts, edges: all.into_iter().map(|(_, edge)| edge).collect() }
    }

    /// The edges from the process, by the keys of the others.
    pub(crate) fn from(&self, process: u32) -> &[(u32, EdgeKind)] {
        let process = process as usize;
        &self.edges[self.starts[process]..self.starts[process + 1]]
    }

    /// The process that was Closed last among those that edges of this kind lead to, and that can be the next; of those
    /// that were Closed at the same time, the one with the smallest key. A process that is not Closed counts as Closed
    /// at the moment of the recording.
    pub(crate) fn last_closed(
        &self,
        recording: &Recording,
        process: u32,
        is_kind: impl Fn(EdgeKind) -> bool,
        can_be_next: impl Fn(u32, u64) -> bool,
    ) -> Option<(u32, Bounds)> {
        let mut last: Option<(u32, Bounds)> = None;
        for &(other, _) in self.from(process).iter().filter(|(_, kind)| is_kind(*kind)) {
            let Some(bounds) = Bounds::of(recording.life(other), recording.until) else { continue };
            let is_later = last.is_none_or(|(_, last)| bounds.closed > last.closed);
            if is_later && can_be_next(other, bounds.closed) {
                last = Some((other, bounds));
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::recording::{Edge, EdgeKind, Moment};
    use super::super::segments::segments;
    use super::super::testing::{Scene, any_recording, any_shutdown};
    use super::{Bounds, Critical, Kind, Waits, critical_path, is_critical, steps};

    fn path(scene: &Scene) -> Vec<(&str, Option<Kind>, u64, u64)> {
        let recording = &scene.recording;
        let spans = critical_path(recording, &Waits::of(recording)).spans;
        let name = |process| recording.life(process).name.as_deref().unwrap_or_default();
        spans.iter().map(|span| (name(span.process), span.kind, span.from, span.to)).collect()
    }

    /// The example of the specification.
    fn app() -> Scene {
        let mut scene = Scene::new("app");
        let db = scene.child(0, "db");
        let cache = scene.child(db, "cache");
        let http = scene.child(0, "http");
        scene.set(cache, Moment::Closing, 0).set(cache, Moment::BodyEnded, 5020);
        scene.set(cache, Moment::Closed, 5020);
        scene.set(db, Moment::Closing, 0).set(db, Moment::TeardownQueued, 5020);
        scene.set(db, Moment::TeardownStarted, 5020).set(db, Moment::TeardownEnded, 6230);
        scene.set(db, Moment::Closed, 6230);
        scene.set(http, Moment::Closing, 0).set(http, Moment::Closed, 1300);
        scene.set(0, Moment::Closing, 0).set(0, Moment::TeardownQueued, 6230);
        scene.set(0, Moment::TeardownStarted, 6230).set(0, Moment::TeardownEnded, 6310);
        scene.set(0, Moment::Closed, 6310);
        scene
    }

    #[test]
    fn the_path_leads_through_the_last_child() {
        let expected = [
            ("cache", Some(Kind::Body), 0, 5020),
            ("db", Some(Kind::Teardown), 5020, 6230),
            ("app", Some(Kind::Teardown), 6230, 6310),
        ];
        assert_eq!(path(&app()), expected);
    }

    #[test]
    fn the_path_leads_along_explicit_edges() {
        let mut scene = app();
        let log = scene.child(0, "log");
        scene.set(log, Moment::Closing, 0).set(log, Moment::TeardownQueued, 6230);
        scene.set(log, Moment::TeardownStarted, 6240).set(log, Moment::TeardownEnded, 6280);
        scene.set(log, Moment::Closed, 6290);
        scene.lives()[0] = {
            let mut root = super::super::testing::life("app");
            root.set(Moment::Closing, 0);
            root.set(Moment::Closed, 6310);
            root
        };
        let db = 1;
        scene.recording.edges.push(Edge { from: log, to: db, kind: EdgeKind::WaitFor });
        let expected = [
            ("cache", Some(Kind::Body), 0, 5020),
            ("db", Some(Kind::Teardown), 5020, 6230),
            ("log", Some(Kind::Queue), 6230, 6240),
            ("log", Some(Kind::Teardown), 6240, 6280),
            ("log", Some(Kind::End), 6280, 6290),
            ("app", Some(Kind::Wait), 6290, 6310),
        ];
        assert_eq!(path(&scene), expected);
        let recording = &scene.recording;
        let steps = steps(&critical_path(recording, &Waits::of(recording)).spans);
        let numbers: Vec<_> = steps.iter().map(|step| (step.number, step.micros())).collect();
        assert_eq!(numbers, [(1, 5020), (2, 1210), (3, 60), (4, 20)]);
    }

    /// `tail` is closed after `server`; its child `sink` begins to close with it.
    #[test]
    fn the_path_leads_to_the_process_that_closing_waited_for() {
        let mut scene = Scene::new("app");
        let server = scene.child(0, "server");
        let tail = scene.child(0, "tail");
        let sink = scene.child(tail, "sink");
        scene.set(server, Moment::Closing, 0).set(server, Moment::BodyEnded, 100);
        scene.set(server, Moment::Closed, 100);
        scene.set(tail, Moment::Closing, 110).set(tail, Moment::Closed, 200);
        scene.set(sink, Moment::Closing, 120).set(sink, Moment::BodyEnded, 200);
        scene.set(sink, Moment::Closed, 200);
        scene.set(0, Moment::Closing, 0).set(0, Moment::Closed, 200);
        scene.recording.edges.push(Edge { from: tail, to: server, kind: EdgeKind::CloseAfter });
        let expected = [
            ("server", Some(Kind::Body), 0, 100),
            ("sink", None, 100, 120),
            ("sink", Some(Kind::Body), 120, 200),
        ];
        assert_eq!(path(&scene), expected);
        scene.recording.edges.clear();
        let expected = [("sink", None, 0, 120), ("sink", Some(Kind::Body), 120, 200)];
        assert_eq!(path(&scene), expected);
    }

    #[test]
    fn a_wait_for_others_is_not_critical() {
        let mut scene = Scene::new("app");
        let child = scene.child(0, "child");
        scene.closed(child, 0, 90).closed(0, 0, 100);
        let spans = critical_path(&scene.recording, &Waits::of(&scene.recording)).spans;
        let is_critical = |process: u32| {
            let segments = segments(scene.recording.life(process), 100);
            segments.iter().any(|segment| is_critical(&spans, process, segment))
        };
        assert!(is_critical(child) && !is_critical(0));
    }

    #[test]
    fn a_child_that_is_not_waited_for_is_not_on_the_path() {
        let mut scene = Scene::new("app");
        let log = scene.child(0, "log");
        scene.set(log, Moment::Closing, 0).set(log, Moment::Closed, 90);
        scene.set(0, Moment::Closing, 0).set(0, Moment::Closed, 100);
        assert_eq!(path(&scene)[0].0, "log");
        scene.recording.edges.push(Edge { from: 0, to: log, kind: EdgeKind::NoWaitChild });
        assert_eq!(path(&scene), [("app", Some(Kind::Wait), 0, 100)]);
    }

    #[test]
    fn of_equals_the_smaller_key_counts() {
        let mut scene = Scene::new("app");
        for name in ["one", "two"] {
            let child = scene.child(0, name);
            scene.set(child, Moment::Closing, 0).set(child, Moment::Closed, 90);
        }
        scene.set(0, Moment::Closing, 0).set(0, Moment::Closed, 90);
        assert_eq!(path(&scene), [("one", Some(Kind::Wait), 0, 90)]);
    }

    /// Is what a hung shutdown waits for.
    #[test]
    fn the_path_of_an_open_process_ends_now() {
        let mut scene = Scene::new("app");
        let stuck = scene.child(0, "stuck");
        scene.set(0, Moment::Closing, 0).set(stuck, Moment::Closing, 0);
        scene.recording.until = 500;
        assert_eq!(path(&scene), [("stuck", Some(Kind::Wait), 0, 500)]);
    }

    #[test]
    fn a_running_root_has_no_path() {
        assert!(path(&Scene::new("app")).is_empty());
    }

    proptest! {
        #![proptest_config(super::super::testing::cases())]

        /// C1 and C2, for events in any order, edges in rings included.
        #[test]
        fn the_path_partitions_any_closing(recording in any_recording()) {
            let spans = critical_path(&recording, &Waits::of(&recording)).spans;
            let Some(root) = Bounds::of(&recording.lives[0], recording.until) else {
                prop_assert!(spans.is_empty());
                return Ok(());
            };
            let mut at = root.closing;
            for span in &spans {
                prop_assert_eq!(span.from, at);
                prop_assert!(span.from < span.to);
                at = span.to;
            }
            prop_assert_eq!(at, root.closed);
            let total: u64 = steps(&spans).iter().map(|step| step.micros()).sum();
            prop_assert_eq!(total, root.closed - root.closing);
        }

        /// In a shutdown that could have happened, every span lies in a segment of its kind, and the path enters a
        /// process only where another one waited for it, or was closed after it.
        #[test]
        fn the_path_follows_waits(recording in any_shutdown()) {
            let waits = Waits::of(&recording);
            let Critical { spans, hops } = critical_path(&recording, &waits);
            for span in &spans {
                let own = Bounds::of(recording.life(span.process), recording.until).unwrap();
                match span.kind {
                    Some(kind) => {
                        let is_in = |&(other, from, to): &(Kind, u64, u64)| {
                            other == kind && from <= span.from && span.to <= to
                        };
                        prop_assert!(own.parts().iter().any(is_in), "{span:?} {own:?}");
                    }
                    None => prop_assert_eq!(span.to, own.closing),
                }
            }
            for hop in &hops {
                let leads = |&(other, kind): &(u32, EdgeKind)| {
                    other == hop.from && kind != EdgeKind::NoWaitChild
                };
                let own = |process| Bounds::of(recording.life(process), recording.until).unwrap();
                if !hop.begins {
                    prop_assert!(waits.from(hop.to).iter().any(leads));
                    prop_assert!(own(hop.from).closed <= own(hop.to).wait);
                } else {
                    prop_assert!(own(hop.from).closed <= own(hop.to).closing);
                }
            }
            // Nothing is skipped: the processes of the spans are on the way, in this order.
            let mut way = hops.iter().map(|hop| hop.from).chain([0]);
            for step in steps(&spans) {
                prop_assert!(way.any(|process| process == step.process));
            }
        }
    }
}
