//! Random graphs and random interleavings of all graph and closing calls, against a small sequential model:
//! I1, I2, I3, I5, I6, I8.
//!
//! Each process has the inline spawner, so that what the model says must hold after each call, not some time
//! later. Where the real thing is to interleave, a second test runs the calls on threads and looks at what
//! must hold at the end.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};

use procession::{Error, Inline, LinkError, Phase, Process, Reason};
use procession_tests::ends_well;
use proptest::prelude::*;
use proptest::test_runner::Config;

/// One call. Processes are named by their number, modulo how many there are.
#[derive(Clone, Debug)]
enum Call {
    New { teardown: bool },
    Child(usize),
    AddChild(usize, usize),
    AddChildNoWait(usize, usize),
    WaitFor(usize, usize),
    SetTeardown(usize),
    Body(usize),
    EndBody(usize, bool),
    Close(usize),
    CloseAfterChildren(usize),
    Abort(usize),
    DropHandle(usize),
}

fn call() -> impl Strategy<Value = Call> {
    let n = || 0..24_usize;
    prop_oneof![
        3 => any::<bool>().prop_map(|teardown| Call::New { teardown }),
        5 => n().prop_map(Call::Child),
        4 => (n(), n()).prop_map(|(a, b)| Call::AddChild(a, b)),
        2 => (n(), n()).prop_map(|(a, b)| Call::AddChildNoWait(a, b)),
        4 => (n(), n()).prop_map(|(a, b)| Call::WaitFor(a, b)),
        2 => n().prop_map(Call::SetTeardown),
        2 => n().prop_map(Call::Body),
        2 => (n(), any::<bool>()).prop_map(|(a, ok)| Call::EndBody(a, ok)),
        3 => n().prop_map(Call::Close),
        2 => n().prop_map(Call::CloseAfterChildren),
        1 => n().prop_map(Call::Abort),
        2 => n().prop_map(Call::DropHandle),
    ]
}

/// A process of the model.
#[derive(Clone, Debug, Default)]
struct Model {
    phase: Option<Phase>,
    /// Whom it closes.
    closes: Vec<usize>,
    /// Whom it waits for.
    waits: Vec<usize>,
    has_parent: bool,
    handle: bool,
    body: bool,
    failed: bool,
    teardown_set: bool,
    teardown: bool,
    torn_down: bool,
    after_children: bool,
    aborting: bool,
    reason: Option<Reason>,
}

/// The sequential model: everything happens at once, and is settled after each call.
#[derive(Default)]
struct World(Vec<Model>);

impl World {
    fn phase(&self, n: usize) -> Phase {
        self.0[n].phase.unwrap_or(Phase::Running)
    }

    fn closed(&self, n: usize) -> bool {
        self.phase(n) == Phase::Closed
    }

    fn waits_for(&self, from: usize, to: usize) -> bool {
        from == to
            || !self.closed(from)
                && self.0[from].waits.iter().any(|&n| !self.closed(n) && self.waits_for(n, to))
    }

    fn close(&mut self, n: usize, reason: Reason, abort: bool) {
        if self.closed(n) {
            return;
        }
        let abort_now = abort && !self.0[n].aborting;
        let close_now = self.phase(n) == Phase::Running;
        self.0[n].aborting |= abort;
        if close_now {
            self.0[n].phase = Some(Phase::Closing);
            self.0[n].reason = Some(reason);
        }
        if close_now || abort_now {
            let aborting = self.0[n].aborting;
            for child in self.0[n].closes.clone() {
                self.close(child, Reason::ParentClosed, aborting);
            }
        }
    }

    /// Ends what waits for nothing, until there is no more of it.
    fn settle(&mut self) {
        while let Some(n) = (0..self.0.len()).find(|&n| self.is_due(n)) {
            let model = &mut self.0[n];
            if model.phase.is_none() {
                let reason = model.reason.clone().unwrap();
                model.reason = None;
                self.close(n, reason, false);
                continue;
            }
            model.torn_down |= model.teardown;
            model.phase = Some(Phase::Closed);
        }
    }

    fn is_due(&self, n: usize) -> bool {
        let model = &self.0[n];
        let idle = !model.body && model.waits.iter().all(|&n| self.closed(n));
        idle && (self.phase(n) == Phase::Closing || model.phase.is_none() && model.after_children)
    }
}

/// The real processes beside the model.
#[derive(Default)]
struct Real {
    handles: Vec<Option<Process>>,
    ran: Vec<Arc<AtomicUsize>>,
    bodies: Vec<Option<Body>>,
}

/// A body of `run`, ended by the test.
struct Body {
    end: Arc<Mutex<Option<bool>>>,
    future: std::pin::Pin<Box<dyn Future<Output = Result<(), Error>>>>,
}

impl Body {
    fn new(process: &Process) -> (Self, Option<Process>) {
        let end = Arc::new(Mutex::new(None));
        let (result, child) = (end.clone(), Arc::new(Mutex::new(None)));
        let own = child.clone();
        let future = process.run(move |p| {
            *own.lock().unwrap() = Some(p);
            poll_fn(move |_| match *result.lock().unwrap() {
                None => Poll::Pending,
                Some(true) => Poll::Ready(Ok(())),
                Some(false) => Poll::Ready(Err("failed")),
            })
        });
        let mut body = Self { end, future: Box::pin(future) };
        body.poll();
        let child = child.lock().unwrap().take();
        (body, child)
    }

    fn poll(&mut self) -> bool {
        self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }
}

struct Run {
    world: World,
    real: Real,
}

impl Run {
    fn add(&mut self, model: Model, process: Process, ran: Arc<AtomicUsize>) {
        self.world.0.push(Model { handle: true, ..model });
        self.real.handles.push(Some(process));
        self.real.ran.push(ran);
        self.real.bodies.push(None);
    }

    /// The process that a call means, if there is a handle of it.
    fn pick(&self, n: usize) -> Option<(usize, Process)> {
        let n = n.checked_rem(self.real.handles.len())?;
        Some((n, self.real.handles[n].clone()?))
    }

    fn counter() -> (Arc<AtomicUsize>, impl FnOnce() + Send + 'static) {
        let ran = Arc::new(AtomicUsize::new(0));
        let counter = ran.clone();
        (ran, move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
    }

    fn call(&mut self, call: &Call) {
        match *call {
            Call::New { teardown } => {
                let (ran, count) = Self::counter();
                let builder = Process::builder().spawner(Inline);
                let builder = if teardown { builder.teardown(count) } else { builder };
                let model = Model { teardown, teardown_set: teardown, ..Model::default() };
                self.add(model, builder.build().unwrap(), ran);
            }
            Call::Child(a) => {
                if let Some((a, parent)) = self.pick(a) {
                    let child = parent.child();
                    let n = self.world.0.len();
                    let closing = self.world.phase(a) != Phase::Running;
                    self.add(Model::default(), child, Arc::default());
                    if !self.world.closed(a) {
                        self.world.0[a].closes.push(n);
                        self.world.0[a].waits.push(n);
                        self.world.0[n].has_parent = true;
                    }
                    if closing {
                        let aborting = self.world.0[a].aborting;
                        self.world.close(n, Reason::ParentClosed, aborting);
                    }
                }
            }
            Call::AddChild(a, b) => self.link(a, b, true, true),
            Call::AddChildNoWait(a, b) => self.link(a, b, true, false),
            Call::WaitFor(a, b) => self.link(a, b, false, true),
            Call::SetTeardown(a) => {
                if let Some((a, process)) = self.pick(a) {
                    let (ran, count) = Self::counter();
                    let set = process.set_teardown(count);
                    let closed = self.world.closed(a);
                    let model = &mut self.world.0[a];
                    assert_eq!(set.is_err(), model.teardown_set);
                    if set.is_ok() && closed {
                        assert_eq!(ran.load(Ordering::SeqCst), 1);
                    } else if set.is_ok() {
                        (model.teardown, model.teardown_set) = (true, true);
                        self.real.ran[a] = ran;
                    }
                }
            }
            Call::Body(a) => {
                if let Some((a, process)) = self.pick(a) {
                    let (body, child) = Body::new(&process);
                    let phase = self.world.phase(a);
                    let n = self.world.0.len();
                    if phase == Phase::Closed {
                        assert!(child.is_none());
                        return;
                    }
                    // An aborting process drops the body before its first poll.
                    let Some(child) = child else {
                        assert!(self.world.0[a].aborting);
                        return;
                    };
                    self.add(
                        Model { body: true, has_parent: true, ..Model::default() },
                        child,
                        Arc::default(),
                    );
                    self.real.bodies[n] = Some(body);
                    self.world.0[a].closes.push(n);
                    self.world.0[a].waits.push(n);
                    if phase == Phase::Closing {
                        self.world.close(n, Reason::ParentClosed, false);
                    }
                }
            }
            Call::EndBody(a, ok) => {
                let Some(a) = a.checked_rem(self.real.bodies.len()) else { return };
                if let Some(mut body) = self.real.bodies[a].take() {
                    *body.end.lock().unwrap() = Some(ok);
                    body.poll();
                    let model = &mut self.world.0[a];
                    model.body = false;
                    let failed = !ok || model.aborting;
                    model.failed = failed;
                    if failed {
                        self.world.close(a, Reason::BodyFailed, false);
                    } else {
                        self.after_children(a, Reason::BodyFinished);
                    }
                    // The rest of `run` only waits; the child's end does not need it.
                    self.real.bodies[a] = None;
                }
            }
            Call::Close(a) => {
                if let Some((a, process)) = self.pick(a) {
                    process.close();
                    self.world.close(a, Reason::Asked, false);
                }
            }
            Call::CloseAfterChildren(a) => {
                if let Some((a, process)) = self.pick(a) {
                    process.close_after_children();
                    self.after_children(a, Reason::Asked);
                }
            }
            Call::Abort(a) => {
                if let Some((a, process)) = self.pick(a) {
                    process.abort();
                    self.world.close(a, Reason::Asked, true);
                }
            }
            Call::DropHandle(a) => {
                if let Some((a, process)) = self.pick(a) {
                    drop(process);
                    // A body's process has its handle in the body too.
                    if self.real.bodies[a].is_none() {
                        self.real.handles[a] = None;
                        self.world.0[a].handle = false;
                        if !self.world.0[a].has_parent {
                            self.world.close(a, Reason::Dropped, false);
                        }
                    }
                }
            }
        }
        self.world.settle();
    }

    fn after_children(&mut self, n: usize, reason: Reason) {
        let model = &mut self.world.0[n];
        if model.phase.is_none() && !model.after_children {
            model.after_children = true;
            model.reason = Some(reason);
        }
    }

    fn link(&mut self, a: usize, b: usize, closes: bool, waits: bool) {
        let (Some((a, upper)), Some((b, lower))) = (self.pick(a), self.pick(b)) else { return };
        let linked = match (closes, waits) {
            (true, true) => upper.add_child(&lower),
            (true, false) => upper.add_child_no_wait(&lower),
            _ => upper.wait_for(&lower),
        };
        let world = &mut self.world;
        let expected = if a == b {
            "cycle"
        } else if world.closed(a) {
            if waits { "closed" } else { "ok" }
        } else if !world.closed(b) && waits && world.waits_for(b, a) {
            "cycle"
        } else {
            "ok"
        };
        let actual = match linked {
            Ok(()) => "ok",
            Err(LinkError::Cycle(_)) => "cycle",
            Err(LinkError::Closed(_)) => "closed",
            Err(error) => panic!("{error}"),
        };
        assert_eq!(actual, expected);
        if actual != "ok" || world.closed(b) {
            return;
        }
        if world.closed(a) {
            let aborting = world.0[a].aborting;
            return world.close(b, Reason::ParentClosed, aborting);
        }
        if closes {
            world.0[a].closes.push(b);
            world.0[b].has_parent = true;
        }
        if waits {
            world.0[a].waits.push(b);
        }
        if closes && world.phase(a) == Phase::Closing {
            let aborting = world.0[a].aborting;
            world.close(b, Reason::ParentClosed, aborting);
        }
    }

    /// The real processes are as the model says.
    fn check(&self) {
        for (n, model) in self.world.0.iter().enumerate() {
            let ran = self.real.ran[n].load(Ordering::SeqCst);
            assert_eq!(ran, usize::from(model.torn_down), "teardown of {n}: {model:?}");
            let Some(process) = &self.real.handles[n] else { continue };
            assert_eq!(process.phase(), self.world.phase(n), "{n}: {model:?}, {process:?}");
            // One that waits for nothing any more may be Closed before the abort comes to it.
            let ended = model.aborting && process.is_closed();
            assert!(ended || process.is_aborting() == model.aborting, "{n}: {model:?}");
            let reason = model.phase.and(model.reason.clone());
            // One that was to close when idle may come to that in the course of its parent's closing.
            let either = model.after_children && reason.is_some() && process.reason().is_some();
            assert!(either || process.reason() == reason, "{n}: {model:?}, {process:?}");
            let failed = self.world.closed(n).then_some(model.failed);
            assert_eq!(process.outcome().map(|outcome| outcome.is_err()), failed, "{n}: {model:?}");
        }
    }
}

/// Calls that are run on threads: those that close something are dealt to the threads.
fn run_on_threads(calls: &[Call]) {
    let ran: Arc<Mutex<Vec<Arc<AtomicUsize>>>> = Arc::default();
    let processes: Vec<Process> = (0..6)
        .map(|_| {
            let counter = Arc::new(AtomicUsize::new(0));
            ran.lock().unwrap().push(counter.clone());
            let count = move || {
                counter.fetch_add(1, Ordering::SeqCst);
            };
            Process::builder().spawner(Inline).teardown(count).build().unwrap()
        })
        .collect();
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        for part in 0..3 {
            let (processes, start) = (&processes, &start);
            scope.spawn(move || {
                start.wait();
                for call in calls.iter().skip(part).step_by(3) {
                    let pick = |n: usize| &processes[n % processes.len()];
                    match *call {
                        Call::Child(a) => drop(pick(a).child()),
                        Call::AddChild(a, b) => drop(pick(a).add_child(pick(b))),
                        Call::AddChildNoWait(a, b) => drop(pick(a).add_child_no_wait(pick(b))),
                        Call::WaitFor(a, b) => drop(pick(a).wait_for(pick(b))),
                        Call::Close(a) => drop(pick(a).close()),
                        Call::CloseAfterChildren(a) => drop(pick(a).close_after_children()),
                        Call::Abort(a) => drop(pick(a).abort()),
                        _ => {}
                    }
                }
            });
        }
    });
    // Nobody waits in a circle, and every teardown runs once, whatever came between.
    processes.iter().for_each(|process| drop(process.close()));
    processes.iter().for_each(ends_well);
    let once = ran.lock().unwrap().iter().all(|ran| ran.load(Ordering::SeqCst) == 1);
    assert!(once);
}

proptest! {
    #![proptest_config(Config { cases: 2_500, failure_persistence: None, ..Config::default() })]

    #[test]
    fn every_call_does_what_the_model_says(calls in prop::collection::vec(call(), 1..60)) {
        let mut run = Run { world: World::default(), real: Real::default() };
        for call in &calls {
            run.call(call);
            run.check();
        }
        // In the end all can be closed, for nobody waits in a circle.
        for n in 0..run.world.0.len() {
            run.call(&Call::EndBody(n, true));
            run.call(&Call::Close(n));
            run.check();
        }
        // But two that close each other, and of which no handle is left, hold each other open; and who waits
        // for them.
        let world = &run.world;
        let held = |n: usize| (0..world.0.len()).any(|other| {
            !world.0[other].handle && !world.closed(other) && world.waits_for(n, other)
        });
        let left: BTreeSet<usize> = (0..world.0.len())
            .filter(|&n| world.0[n].handle && !world.closed(n) && !held(n))
            .collect();
        prop_assert!(left.is_empty(), "{left:?}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn calls_on_threads_keep_the_rules(calls in prop::collection::vec(call(), 1..40)) {
        run_on_threads(&calls);
    }
}
