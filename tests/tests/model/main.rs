//! Random graphs and random sequences of all graph and closing calls, compared with a small sequential model: I1, I2,
//! I3, I5, I6, I8, I9, and the calls of failure hooks.
//!
//! Each process has the inline spawner, so that everything has happened when a call returns and the state must agree
//! with the model. Another test makes the calls on threads, and checks the rules at the end.

mod threads;
mod world;

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use procession::{ChildFailure, Error, Inline, LinkError, Phase, Process};
use proptest::prelude::*;
use proptest::test_runner::Config;

use world::{Kind, Linked, Model, Why, World};

/// One call. Processes are given by number, modulo the number of processes.
#[derive(Clone, Debug)]
enum Call {
    New { teardown: Option<Fails>, closes_for_a_child: bool },
    Child { parent: usize, closes_for_a_child: bool },
    Link(usize, usize, Kind),
    SetTeardown(usize, Fails),
    AddHook(usize),
    Body(usize),
    EndBody(usize, bool),
    Close(usize),
    CloseAfterChildren(usize),
    Abort(usize),
    Wait(usize, Duration),
    DropHandle(usize),
}

/// Does a teardown fail?
type Fails = bool;

fn call() -> impl Strategy<Value = Call> {
    let n = || 0..24_usize;
    let kind = prop_oneof![
        4 => Just(Kind::Child),
        3 => Just(Kind::NoWaitChild),
        3 => Just(Kind::WaitFor),
        4 => Just(Kind::CloseAfter),
    ];
    let timeout = prop_oneof![Just(Duration::ZERO), Just(Duration::from_micros(1))];
    let new = (any::<Option<Fails>>(), any::<bool>());
    prop_oneof![
        3 => new.prop_map(|(teardown, closes_for_a_child)| Call::New { teardown, closes_for_a_child }),
        5 => (n(), any::<bool>())
            .prop_map(|(parent, closes_for_a_child)| Call::Child { parent, closes_for_a_child }),
        14 => (n(), n(), kind).prop_map(|(a, b, kind)| Call::Link(a, b, kind)),
        2 => (n(), any::<Fails>()).prop_map(|(a, fails)| Call::SetTeardown(a, fails)),
        1 => n().prop_map(Call::AddHook),
        2 => n().prop_map(Call::Body),
        2 => (n(), any::<bool>()).prop_map(|(a, is_ok)| Call::EndBody(a, is_ok)),
        3 => n().prop_map(Call::Close),
        2 => n().prop_map(Call::CloseAfterChildren),
        1 => n().prop_map(Call::Abort),
        1 => (n(), timeout).prop_map(|(a, timeout)| Call::Wait(a, timeout)),
        2 => n().prop_map(Call::DropHandle),
    ]
}

/// The kind of graph, which limits the calls that are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Processes may have no-wait children, so there may be rings. They do not close for failed children.
    ///
    /// Whether the failure of a no-wait child reaches its parent in time depends on the order of the teardowns, which
    /// the model does not know.
    Rings,
    /// Processes close for failed children. There are no no-wait children, and so no rings.
    Failures,
}

/// The real processes next to the model.
#[derive(Default)]
struct Real {
    handles: Vec<Option<Process>>,
    /// How many times each teardown has run.
    ran: Vec<Arc<AtomicUsize>>,
    /// How many times the hooks of each process have been called.
    told: Vec<Arc<AtomicUsize>>,
    bodies: Vec<Option<Body>>,
}

/// A body of `run`, which the test polls and ends.
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

/// A counter, and a teardown that increments it and fails if asked to.
fn counted(fails: Fails) -> (Arc<AtomicUsize>, impl FnOnce() -> Result<(), &'static str> + Send) {
    let ran = Arc::new(AtomicUsize::new(0));
    let counter = ran.clone();
    let teardown = move || {
        counter.fetch_add(1, Ordering::SeqCst);
        if fails { Err("failed") } else { Ok(()) }
    };
    (ran, teardown)
}

fn on_child_failure(closes: bool) -> ChildFailure {
    if closes { ChildFailure::Close } else { ChildFailure::Ignore }
}

/// The real processes and the model, to which the same calls are made.
struct Comparison {
    mode: Mode,
    world: World,
    real: Real,
}

impl Comparison {
    fn new(mode: Mode) -> Self {
        Self { mode, world: World::default(), real: Real::default() }
    }

    /// Adds the real process that belongs to the last process of the model.
    fn add(&mut self, process: Process, ran: Arc<AtomicUsize>) {
        self.real.handles.push(Some(process));
        self.real.ran.push(ran);
        self.real.told.push(Arc::default());
        self.real.bodies.push(None);
    }

    /// The process with this number, if there is a handle to it.
    fn pick(&self, n: usize) -> Option<(usize, Process)> {
        let n = n.checked_rem(self.real.handles.len())?;
        Some((n, self.real.handles[n].clone()?))
    }

    /// Makes a call on both, and compares what it returns.
    fn call(&mut self, call: &Call) {
        let has_failures = self.mode == Mode::Failures;
        match *call {
            Call::New { teardown, closes_for_a_child } => {
                let closes_for_a_child = closes_for_a_child && has_failures;
                let teardown = teardown.map(|fails| fails && has_failures);
                let builder = Process::builder().spawner(Inline);
                let builder = builder.on_child_failure(on_child_failure(closes_for_a_child));
                let (ran, count) = counted(teardown == Some(true));
                let builder = if teardown.is_some() { builder.teardown(count) } else { builder };
                let teardown_set = teardown.is_some();
                let model =
                    Model { teardown, teardown_set, closes_for_a_child, ..Model::default() };
                self.world.all.push(model);
                self.add(builder.build().unwrap(), ran);
            }
            Call::Child { parent, closes_for_a_child } => {
                if let Some((n, parent)) = self.pick(parent) {
                    self.child(n, &parent, closes_for_a_child && has_failures);
                }
            }
            Call::Link(upper, lower, kind) => self.link(upper, lower, kind),
            Call::SetTeardown(n, fails) => {
                if let Some((n, process)) = self.pick(n) {
                    self.set_teardown(n, &process, fails && has_failures);
                }
            }
            Call::AddHook(n) => {
                if let Some((n, process)) = self.pick(n) {
                    let told = self.real.told[n].clone();
                    process.on_failure(move |_, _| {
                        told.fetch_add(1, Ordering::SeqCst);
                    });
                    self.world.all[n].hooks += 1;
                }
            }
            Call::Body(n) => {
                if let Some((n, process)) = self.pick(n) {
                    self.body(n, &process);
                }
            }
            Call::EndBody(n, is_ok) => {
                let Some(n) = n.checked_rem(self.real.bodies.len()) else { return };
                if let Some(mut body) = self.real.bodies[n].take() {
                    *body.end.lock().unwrap() = Some(is_ok);
                    body.poll();
                    self.world.end_body(n, is_ok);
                }
            }
            Call::Close(n) => {
                if let Some((n, process)) = self.pick(n) {
                    process.close();
                    self.world.close(n, Why::Asked, false);
                }
            }
            Call::CloseAfterChildren(n) => {
                if let Some((n, process)) = self.pick(n) {
                    process.close_after_children();
                    self.world.close_after_children(n, Why::Asked);
                }
            }
            Call::Abort(n) => {
                if let Some((n, process)) = self.pick(n) {
                    process.abort();
                    self.world.close(n, Why::Asked, true);
                }
            }
            Call::Wait(n, timeout) => {
                if let Some((n, process)) = self.pick(n) {
                    self.wait(n, &process, timeout);
                }
            }
            Call::DropHandle(n) => {
                if let Some((n, process)) = self.pick(n) {
                    drop(process);
                    // The body of a process owns a handle to it too.
                    if self.real.bodies[n].is_none() {
                        self.real.handles[n] = None;
                        if !self.world.is_owned(n) {
                            self.world.close(n, Why::Dropped, false);
                        }
                    }
                }
            }
        }
        self.world.settle();
    }

    fn child(&mut self, n: usize, parent: &Process, closes_for_a_child: bool) {
        let builder = Process::builder().parent(parent);
        let child = builder.on_child_failure(on_child_failure(closes_for_a_child)).build();
        if self.world.is_closed(n) {
            assert_eq!(child, Err(LinkError::Closed(parent.label())));
            assert!(parent.child().is_closed());
            return;
        }
        self.world.add_child(n, Model { closes_for_a_child, ..Model::default() });
        self.add(child.unwrap(), Arc::default());
    }

    fn set_teardown(&mut self, n: usize, process: &Process, fails: Fails) {
        let (ran, teardown) = counted(fails);
        let set = process.set_teardown(teardown);
        let is_closed = self.world.is_closed(n);
        let model = &mut self.world.all[n];
        if model.teardown_set {
            assert!(matches!(set, Err(Error::TeardownSet(_))), "{set:?}");
            return;
        }
        model.teardown_set = true;
        if is_closed {
            // The process is Closed: the teardown has run, and the outcome stays.
            assert_eq!((set.is_err(), ran.load(Ordering::SeqCst)), (fails, 1));
            return;
        }
        set.unwrap();
        model.teardown = Some(fails);
        self.real.ran[n] = ran;
    }

    fn body(&mut self, n: usize, process: &Process) {
        let (body, child) = Body::new(process);
        if self.world.is_closed(n) {
            assert!(child.is_none());
            return;
        }
        let Some(child) = child else {
            // An aborting process drops the body before its first poll. That is a failure, but its parents do not
            // receive it.
            assert!(self.world.all[n].aborting);
            self.world.tell_hooks(n);
            return;
        };
        self.world.add_child(n, Model { body: true, ..Model::default() });
        self.add(child, Arc::default());
        *self.real.bodies.last_mut().unwrap() = Some(body);
    }

    fn wait(&self, n: usize, process: &Process, timeout: Duration) {
        let phase = self.world.phase(n);
        let is_closing = process.closing().wait_timeout(timeout).is_some();
        assert_eq!(is_closing, phase != Phase::Running);
        let is_closed = process.closed().wait_timeout(timeout).is_some();
        assert_eq!(is_closed, phase == Phase::Closed);
        // This waiter is also ready when the process is Closed.
        let is_aborting = process.aborting().wait_timeout(timeout);
        let expected = self.world.all[n].aborting;
        assert_eq!(is_aborting, (expected || is_closed).then_some(expected));
    }

    fn link(&mut self, upper: usize, lower: usize, kind: Kind) {
        let kind = match (kind, self.mode) {
            (Kind::NoWaitChild, Mode::Failures) => Kind::Child,
            (kind, _) => kind,
        };
        let (Some((a, upper)), Some((b, lower))) = (self.pick(upper), self.pick(lower)) else {
            return;
        };
        let linked = match kind {
            Kind::Child => upper.add_child(&lower),
            Kind::NoWaitChild => upper.add_child_no_wait(&lower),
            Kind::WaitFor => upper.wait_for(&lower),
            Kind::CloseAfter => upper.close_after(&lower),
        };
        let linked = match linked {
            Ok(()) => Linked::Added,
            Err(LinkError::Cycle(cycle)) => {
                let names = |process: &Process| cycle.path().contains(&process.label());
                assert!(names(&upper) && names(&lower), "{cycle:?}");
                Linked::Cycle
            }
            Err(LinkError::Closed(label)) => {
                assert_eq!(label, upper.label());
                Linked::Closed
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(linked, self.world.link(a, b, kind), "{a} {kind:?} {b}: {:?}", self.world);
    }

    /// Checks that the real processes agree with the model.
    fn compare(&self) {
        for (n, model) in self.world.all.iter().enumerate() {
            let ran = self.real.ran[n].load(Ordering::SeqCst);
            assert_eq!(ran, usize::from(model.torn_down), "teardown of {n}: {model:?}");
            let told = self.real.told[n].load(Ordering::SeqCst);
            // A Closed process no longer knows the processes above it.
            assert!(told <= model.told, "hooks of {n}: {told}, {model:?}");
            let Some(process) = &self.real.handles[n] else { continue };
            assert_eq!(process.phase(), self.world.phase(n), "{n}: {model:?}, {process:?}");
            // If one parent closes a process and another parent aborts it in the same call, either may come first.
            let mut parents = self.world.all.iter().filter(|other| other.closes.contains(&n));
            let may_abort = model.aborting || parents.any(|parent| parent.aborting);
            let has_ended = may_abort && process.is_closed();
            assert!(has_ended || process.is_aborting() == model.aborting, "{n}: {model:?}");
            let why = model.phase.and(model.why);
            let real = process.reason().map(Why::from);
            assert!(self.may_differ(model, why, real), "{n}: {model:?}, {process:?}: {real:?}");
            let failed = self.world.is_closed(n).then_some(model.failed);
            let outcome = process.outcome().map(|outcome| outcome.is_err());
            assert_eq!(outcome, failed, "{n}: {model:?}");
        }
    }

    /// May the real reason be this one, where the model has `why`? One call may give a process several reasons to
    /// close. The order in which the call walks the graph decides which of them comes first.
    fn may_differ(&self, model: &Model, why: Option<Why>, real: Option<Why>) -> bool {
        let (Some(why), Some(real)) = (why, real) else { return why == real };
        let is_one_of_several = |why| matches!(why, Why::ParentClosed | Why::ChildFailed);
        why == real
            || model.after_children
            || model.closes_for_a_child && is_one_of_several(why) && is_one_of_several(real)
    }

    fn call_and_check(&mut self, call: &Call) {
        self.call(call);
        self.compare();
    }

    /// Checks that everything that was accepted can close, as at the end of a program: new parents close the roots.
    fn close_everything(&mut self) {
        let count = self.world.all.len();
        for n in 0..count {
            self.call_and_check(&Call::EndBody(n, true));
        }
        for n in 0..count {
            let is_root = self.world.phase(n) == Phase::Running && self.world.parents(n).is_empty();
            if is_root {
                let top = self.world.all.len();
                self.call_and_check(&Call::New { teardown: None, closes_for_a_child: false });
                self.call_and_check(&Call::Link(top, n, Kind::Child));
                self.call_and_check(&Call::Close(top));
            }
        }
        if self.world.has_rings {
            // No parent closes a ring.
            for n in 0..count {
                self.call_and_check(&Call::Close(n));
            }
        }
        let left: Vec<_> = (0..count).filter(|&n| !self.world.is_closed(n)).collect();
        assert!(left.is_empty(), "{left:?}: {:?}", self.world);
    }
}

proptest! {
    #![proptest_config(Config { cases: 1_500, failure_persistence: None, ..Config::default() })]

    /// I1, I2, I3, I5, I6, I8, I9: with rings, every call returns and changes what the model says.
    #[test]
    fn every_call_does_what_the_model_says(calls in prop::collection::vec(call(), 1..60)) {
        run_and_compare(Mode::Rings, &calls);
    }

    /// I1, I2, I3, I5, I6, I9: without rings, where failures close parents. The search for cycles is shorter as long as
    /// the whole program has no ring, which this test covers if it runs in a program of its own, as with nextest.
    #[test]
    fn every_call_without_rings_does_what_the_model_says(
        calls in prop::collection::vec(call(), 1..60),
    ) {
        run_and_compare(Mode::Failures, &calls);
    }
}

fn run_and_compare(mode: Mode, calls: &[Call]) {
    let mut run = Comparison::new(mode);
    for call in calls {
        run.call_and_check(call);
    }
    run.close_everything();
}

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    /// I2, I5, I9: calls on threads, in an unknown order, keep the rules.
    #[test]
    fn calls_on_threads_keep_the_rules(calls in prop::collection::vec(call(), 1..40)) {
        threads::run(&calls);
    }
}
