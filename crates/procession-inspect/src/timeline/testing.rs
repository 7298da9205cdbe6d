//! Recordings for tests: built by hand, or random.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use procession::{Site, Work};
use proptest::prelude::*;

use super::recording::{
    Cause, Detail, Edge, EdgeKind, Index, Life, Mark, MarkKind, Moment, Program, Recording,
};

/// The number of cases of each property: 10,000 with `PROPTEST_CASES=10000`.
pub(crate) fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(250),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

pub(crate) fn life(name: &str) -> Life {
    Life::new(Some(name.into()), Site::caller(), None)
}

/// A recording that is built by hand.
pub(crate) struct Scene {
    pub(crate) recording: Recording,
}

impl Scene {
    pub(crate) fn new(root: &str) -> Self {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_442_589);
        let program = Program { pid: 4711, host: "web-3".into(), began };
        let recording = Recording {
            program,
            until: 0,
            lives: vec![life(root)],
            details: HashMap::new(),
            edges: Vec::new(),
            marks: Vec::new(),
            not_recorded: 0,
            missed: 0,
        };
        Self { recording }
    }

    pub(crate) fn lives(&mut self) -> &mut Vec<Life> {
        &mut self.recording.lives
    }

    pub(crate) fn child(&mut self, parent: u32, name: &str) -> u32 {
        let index = self.recording.lives.len() as u32;
        let mut life = life(name);
        life.parent = Some(Index::new(parent));
        self.lives().push(life);
        index
    }

    pub(crate) fn set(&mut self, process: u32, moment: Moment, at: u64) -> &mut Self {
        self.lives()[process as usize].set(moment, at);
        self.recording.until = self.recording.until.max(at);
        self
    }

    /// A process that began to close at `closing` and was Closed at `closed`.
    pub(crate) fn closed(&mut self, process: u32, closing: u64, closed: u64) -> &mut Self {
        self.lives()[process as usize].cause = Cause::ParentClosed;
        self.set(process, Moment::Closing, closing).set(process, Moment::Closed, closed)
    }

    pub(crate) fn mark(&mut self, at: u64, kind: MarkKind, label: &str) -> &mut Self {
        let mark = Mark { at, kind, label: label.into(), lines: Vec::new() };
        self.recording.marks.push(mark);
        self
    }
}

const MOMENTS: [Moment; 8] = [
    Moment::Made,
    Moment::Closing,
    Moment::Aborting,
    Moment::BodyEnded,
    Moment::TeardownQueued,
    Moment::TeardownStarted,
    Moment::TeardownEnded,
    Moment::Closed,
];

fn any_name() -> impl Strategy<Value = Option<Box<str>>> {
    let names =
        ["db", "cache", "session-1", "session-2", "session-3", "<a href=\"x\">", "]]>", "é"];
    prop_oneof![
        1 => Just(None),
        5 => proptest::sample::select(names.to_vec()).prop_map(|name| Some(name.into())),
    ]
}

fn any_kind() -> impl Strategy<Value = EdgeKind> {
    let kinds = [EdgeKind::Child, EdgeKind::NoWaitChild, EdgeKind::WaitFor, EdgeKind::CloseAfter];
    proptest::sample::select(kinds.to_vec())
}

/// Processes with any times, in any order, and edges that may form rings. First parents form none.
pub(crate) fn any_recording() -> impl Strategy<Value = Recording> {
    let time = proptest::option::weighted(0.7, 0_u64..100);
    let times = proptest::array::uniform8(time);
    let one = (any_name(), times, any::<proptest::sample::Index>(), any::<bool>(), any::<bool>());
    let edge = (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), any_kind());
    let lives = proptest::collection::vec(one, 1..40);
    let edges = proptest::collection::vec(edge, 0..20);
    (lives, edges, 100_u64..200).prop_map(|(lives, edges, until)| {
        let mut scene = Scene::new("app");
        let count = lives.len();
        scene.lives().clear();
        for (index, (name, times, parent, has_body, failed)) in lives.into_iter().enumerate() {
            let mut life = Life::new(name, Site::caller(), None);
            if index > 0 {
                life.parent = Some(Index::new(parent.index(index) as u32));
            }
            for (moment, at) in MOMENTS.into_iter().zip(times) {
                at.into_iter().for_each(|at| life.set(moment, at));
            }
            life.work = if has_body { Work::AsyncBody } else { Work::None };
            life.has_failed = failed;
            scene.lives().push(life);
        }
        scene.recording.edges = edges
            .into_iter()
            .map(|(from, to, kind)| Edge {
                from: from.index(count) as u32,
                to: to.index(count) as u32,
                kind,
            })
            .collect();
        scene.recording.until = until;
        scene.mark(until / 2, MarkKind::Stall, "still closing after 5.0 s");
        scene.recording
    })
}

/// One process of [`any_shutdown`].
#[derive(Clone, Debug)]
struct Plan {
    name: Option<Box<str>>,
    parent: proptest::sample::Index,
    /// It waits for these processes, or is closed after them. They are older.
    waits: Vec<(proptest::sample::Index, bool)>,
    made: u64,
    body: Option<u64>,
    queued: u64,
    teardown: Option<u64>,
    end: u64,
    failed: bool,
    aborted: Option<u64>,
}

/// A shutdown that could have happened: a simulation of processes that wait for their children and for others.
pub(crate) fn any_shutdown() -> impl Strategy<Value = Recording> {
    use proptest::option::of;
    let edge = (any::<proptest::sample::Index>(), any::<bool>());
    let work = (of(0_u64..2_000_000), 0_u64..50, of(0_u64..1_000_000), 0_u64..2_000);
    let plan = (
        any_name(),
        any::<proptest::sample::Index>(),
        proptest::collection::vec(edge, 0..3),
        0_u64..1_000,
        work,
        proptest::bool::weighted(0.1),
        proptest::option::weighted(0.1, 0_u64..100),
    );
    let plan = plan.prop_map(|(name, parent, waits, made, work, failed, aborted)| {
        let (body, queued, teardown, end) = work;
        Plan { name, parent, waits, made, body, queued, teardown, end, failed, aborted }
    });
    let plans = proptest::collection::vec(plan, 1..60);
    (plans, proptest::option::weighted(0.2, 0_u64..3_000_000)).prop_map(|(plans, cut)| {
        let recording = simulate(&plans);
        cut.map_or(recording.clone(), |cut| cut_off(recording, 1_000 + cut))
    })
}

/// All processes wait for their children and for processes at a smaller depth-first position, so there is no ring.
fn simulate(plans: &[Plan]) -> Recording {
    let count = plans.len();
    let parents: Vec<usize> = plans
        .iter()
        .enumerate()
        .map(|(index, plan)| if index == 0 { 0 } else { plan.parent.index(index) })
        .collect();
    // A process may wait for an older sibling.
    let waits = |index: usize| {
        let siblings: Vec<usize> =
            (1..index).filter(|&other| parents[other] == parents[index]).collect();
        let plan = &plans[index];
        let pick = move |(other, order): &(proptest::sample::Index, bool)| {
            (siblings[other.index(siblings.len())], *order)
        };
        let all: Vec<(usize, bool)> =
            match index == 0 || (1..index).all(|other| parents[other] != parents[index]) {
                true => Vec::new(),
                false => plan.waits.iter().map(pick).collect(),
            };
        all
    };
    let mut closing = vec![None; count];
    let mut closed: Vec<Option<u64>> = vec![None; count];
    closing[0] = Some(1_000_u64);
    let mut scene = Scene::new("app");
    scene.lives().clear();
    for (index, plan) in plans.iter().enumerate() {
        let mut life = Life::new(plan.name.clone(), Site::caller(), None);
        life.parent = (index > 0).then(|| Index::new(parents[index] as u32));
        scene.lives().push(life);
    }
    // Fixed point: each round fixes at least one boundary.
    loop {
        let mut changed = false;
        for index in 0..count {
            let order = waits(index);
            if closing[index].is_none() {
                let after =
                    order.iter().filter(|(_, orders)| *orders).map(|(other, _)| closed[*other]);
                let after: Option<Vec<u64>> = after.collect();
                if let (Some(parent), Some(after)) = (closing[parents[index]], after) {
                    closing[index] =
                        Some(after.into_iter().max().unwrap_or(0).max(parent) + index as u64 % 3);
                    changed = true;
                }
            }
            if let (None, Some(begin)) = (closed[index], closing[index]) {
                let children = (1..count).filter(|&child| parents[child] == index);
                let others = children.chain(order.iter().map(|(other, _)| *other));
                let ends: Option<Vec<u64>> = others.map(|other| closed[other]).collect();
                if let Some(ends) = ends {
                    closed[index] = Some(close(scene.lives(), &plans[index], index, begin, &ends));
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    for index in 1..count {
        for (other, orders) in waits(index) {
            let kind = if orders { EdgeKind::CloseAfter } else { EdgeKind::WaitFor };
            let edge = Edge { from: index as u32, to: other as u32, kind };
            scene.recording.edges.push(edge);
        }
    }
    scene.recording.until = closed[0].expect("there is no ring");
    scene.mark(1_000, MarkKind::Signal, "SIGINT");
    scene.recording
}

/// Sets the boundaries of a process; returns when it is Closed.
fn close(lives: &mut [Life], plan: &Plan, index: usize, begin: u64, ends: &[u64]) -> u64 {
    let life = &mut lives[index];
    life.set(Moment::Made, plan.made.min(begin));
    life.set(Moment::Closing, begin);
    life.has_failed = plan.failed;
    life.cause = if index == 0 { Cause::Signal(2) } else { Cause::ParentClosed };
    let mut at = begin;
    if let Some(body) = plan.body {
        at += body;
        life.work = Work::ThreadBody;
        life.set(Moment::BodyEnded, at);
    }
    at = ends.iter().fold(at, |at, &end| at.max(end));
    if let Some(teardown) = plan.teardown {
        life.set(Moment::TeardownQueued, at);
        at += plan.queued;
        life.set(Moment::TeardownStarted, at);
        at += teardown;
        life.set(Moment::TeardownEnded, at);
    }
    at += if plan.teardown.is_some() { plan.end } else { 0 };
    life.set(Moment::Closed, at);
    if let Some(aborted) = plan.aborted {
        life.set(Moment::Aborting, begin + (at - begin) * aborted / 100);
    }
    at
}

/// The recording as it was at an earlier moment.
fn cut_off(recording: Recording, until: u64) -> Recording {
    let until = until.min(recording.until);
    let lives = recording.lives.iter().map(|life| {
        let mut cut = Life::new(life.name.clone(), life.site, life.parent());
        for moment in MOMENTS {
            life.at(moment)
                .filter(|at| *at <= until)
                .into_iter()
                .for_each(|at| cut.set(moment, at));
        }
        cut.work = life.work;
        cut.has_failed = life.has_failed && cut.is_closed();
        cut
    });
    Recording { lives: lives.collect(), until, ..recording }
}

/// The 110 processes of the specification: `cache` is slow, `log` waits for `server`, and there are 98 sessions.
pub(crate) fn app() -> Scene {
    let mut scene = Scene::new("app");
    let ms = |millis: u64| 12_000_000 + millis * 1_000;
    scene.set(0, Moment::Made, 0);
    let db = scene.child(0, "db");
    let cache = scene.child(db, "cache");
    let http = scene.child(0, "http");
    for session in 0..98_u64 {
        let child = scene.child(http, &format!("session-{session}"));
        scene.closed(child, ms(0), ms(2 + session * 13));
        scene.set(child, Moment::BodyEnded, ms(2 + session * 13));
    }
    let log = scene.child(0, "log");
    let server = scene.child(0, "server");
    for number in 0..5 {
        let worker = scene.child(server, ["accept", "tls", "metrics", "health", "admin"][number]);
        scene.closed(worker, ms(0), ms(300 + 100 * number as u64));
    }
    let writer = scene.child(db, "writer");
    scene.set(cache, Moment::BodyEnded, ms(5_020)).closed(cache, ms(0), ms(5_020));
    scene.closed(writer, ms(0), ms(900));
    scene.lives()[writer as usize].has_failed = true;
    let detail = Detail { error: Some("disk full".into()), ..Detail::default() };
    scene.recording.details.insert(writer, detail);
    let detail = Detail { thread: Some("cache-refresh".into()), ..Detail::default() };
    scene.recording.details.insert(cache, detail);
    scene.lives()[cache as usize].work = Work::ThreadBody;
    scene.set(db, Moment::TeardownQueued, ms(5_020)).set(db, Moment::TeardownStarted, ms(5_100));
    scene.set(db, Moment::TeardownEnded, ms(6_230)).closed(db, ms(0), ms(6_230));
    scene.closed(http, ms(0), ms(1_263));
    scene.set(server, Moment::BodyEnded, ms(2_400)).closed(server, ms(0), ms(2_400));
    scene.set(log, Moment::TeardownQueued, ms(2_400)).set(log, Moment::TeardownStarted, ms(2_401));
    scene.set(log, Moment::TeardownEnded, ms(2_900)).closed(log, ms(0), ms(2_900));
    scene.recording.edges.push(Edge { from: log, to: server, kind: EdgeKind::WaitFor });
    scene.set(0, Moment::TeardownQueued, ms(6_230)).set(0, Moment::TeardownStarted, ms(6_230));
    scene.set(0, Moment::TeardownEnded, ms(6_310)).closed(0, ms(0), ms(6_310));
    scene.lives()[0].cause = Cause::Signal(2);
    scene.mark(ms(0), MarkKind::Signal, "SIGINT").mark(ms(5_000), MarkKind::Stall, "stall report");
    scene
}
