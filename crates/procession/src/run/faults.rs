//! Faults that a test injects into the code of processes, to check whether a shutdown survives them (feature
//! `test-faults`). Without that feature, all of this does nothing.
//!
//! # Invariants
//!
//! - F1. The interpreter cannot distinguish an injected panic, error or hang from one in users' code. *Because* a fault
//!   strikes where the interpreter runs that code, and in the same catch; and a job that a spawner should drop is
//!   dropped where the spawner would be called.
//! - F2. Faults are set on a process like a hook for events, and apply to the processes that inherit such a hook,
//!   *because* their function is kept in an observer. It is called with no lock held and in a catch, because it is
//!   foreign code.
//! - F3. Until a process is given faults for the first time, each place costs one relaxed load. Relaxed is enough,
//!   because the code that a fault is meant for runs after the fault was set: its process is made later, or is started
//!   by something that happens later.
//! - F4. Code that a fault replaces is dropped as foreign code: in the catch in which it would have run, in the catch
//!   that drops the future of a body that has panicked or is aborted, or by a thread of the library.

#[cfg(all(feature = "test-faults", not(loom)))]
pub(crate) use injected::inject;
#[cfg(all(feature = "test-faults", not(loom)))]
pub(super) use injected::{BodyFault, TeardownFault, drops_jobs};
#[cfg(not(all(feature = "test-faults", not(loom))))]
pub(super) use none::{BodyFault, TeardownFault, drops_jobs};

#[cfg(all(feature = "test-faults", not(loom)))]
mod injected {
    use std::future::poll_fn;
    use std::mem;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll};

    use crate::run::Node;
    use crate::run::catch::catch;
    use crate::run::fault::{Fault, FaultHook, FaultPlace};
    use crate::run::observers::Observer;
    use crate::run::park::block_on;
    use crate::run::teardown::{Begun, Teardown};
    use crate::run::wakers::drop_sleeper;
    use crate::state::Moment;
    use crate::value::sleeper::Sleeper;
    use crate::value::{BoxError, IntoOutcome, Phase, Work};

    /// Set when a process is given faults for the first time (F3).
    static ARE_USED: AtomicBool = AtomicBool::new(false);

    /// Sets faults on the process and on everything below it.
    pub(crate) fn inject(node: &Arc<Node>, faults: FaultHook) {
        ARE_USED.store(true, Ordering::Relaxed);
        let observer = Observer::faults(faults);
        observer.set_source(node);
        node.add_observer(observer);
    }

    /// The fault that strikes here.
    #[inline]
    fn at(place: FaultPlace, node: &Arc<Node>) -> Option<Fault> {
        if ARE_USED.load(Ordering::Relaxed) { look(place, node) } else { None }
    }

    #[cold]
    fn look(place: FaultPlace, node: &Arc<Node>) -> Option<Fault> {
        let observer = node.find_observer(Observer::has_faults)?;
        catch(|| observer.fault(place, node)).ok().flatten()
    }

    /// Does the spawner drop the jobs of this process?
    pub(in crate::run) fn drops_jobs(node: Option<&Arc<Node>>) -> bool {
        let fault = node.and_then(|node| at(FaultPlace::Spawner, node));
        matches!(fault, Some(Fault::DropJob))
    }

    /// The fault of a body.
    pub(in crate::run) enum BodyFault {
        /// The body has not begun.
        Unasked,
        None,
        Panics(String),
        EndsEarly,
        IgnoresClosing(Arc<Node>),
        /// The body has ended, but that is reported only when it is aborted.
        Held,
    }

    impl BodyFault {
        pub(in crate::run) fn unasked() -> Self {
            Self::Unasked
        }

        /// The fault of the body of this process, which is beginning.
        pub(in crate::run) fn of(node: &Arc<Node>) -> Self {
            if node.work.get() == Work::Future {
                return Self::None;
            }
            match at(FaultPlace::Body, node) {
                Some(Fault::Panic(message)) => Self::Panics(message),
                Some(Fault::EndEarly) => Self::EndsEarly,
                Some(Fault::IgnoreClosing) => Self::IgnoresClosing(node.clone()),
                _ => Self::None,
            }
        }

        /// Looks up the fault when the body of this process is polled for the first time.
        pub(in crate::run) fn begin(&mut self, node: &Arc<Node>) {
            if let Self::Unasked = self {
                *self = Self::of(node);
            }
        }

        /// Runs a blocking body. This is foreign code: call it in a catch.
        pub(in crate::run) fn run<R: IntoOutcome>(
            self,
            body: impl FnOnce() -> R,
        ) -> Result<(), BoxError> {
            match self {
                Self::Panics(message) => {
                    drop(body);
                    resume_unwind(Box::new(message))
                }
                Self::EndsEarly => Ok(()),
                Self::IgnoresClosing(node) => {
                    let ended = catch_unwind(AssertUnwindSafe(|| body().into_outcome()));
                    if node.phase() != Phase::Running {
                        wait_for_abort(&node);
                    }
                    ended.unwrap_or_else(|payload| resume_unwind(payload))
                }
                Self::Unasked | Self::None | Self::Held => body().into_outcome(),
            }
        }

        /// Called before each poll of an async body, in the catch of the body (F4). Returns whether the fault replaces
        /// the poll. If the fault ends the body, `result` is set.
        pub(in crate::run) fn replaces_poll<F>(
            &mut self,
            future: Pin<&mut Option<F>>,
            result: &mut Option<Result<(), BoxError>>,
        ) -> bool {
            match mem::replace(self, Self::None) {
                Self::Panics(message) => resume_unwind(Box::new(message)),
                Self::EndsEarly => {
                    *result = Some(Ok(()));
                    // Last, because the drop may panic.
                    drop_future(future);
                    true
                }
                Self::Held => {
                    *self = Self::Held;
                    true
                }
                other => {
                    *self = other;
                    false
                }
            }
        }

        /// Called after each poll of an async body. Returns whether the body has ended and is held until it is aborted.
        pub(in crate::run) fn holds(&mut self, has_ended: bool) -> bool {
            let Self::IgnoresClosing(node) = self else { return false };
            let holds = has_ended && node.phase() != Phase::Running;
            if holds {
                *self = Self::Held;
            }
            holds
        }
    }

    fn drop_future<F>(mut future: Pin<&mut Option<F>>) {
        future.set(None);
    }

    fn wait_for_abort(node: &Arc<Node>) {
        let mut place = None;
        block_on(poll_fn(|context: &mut Context<'_>| {
            if node.is_aborting() {
                return Poll::Ready(());
            }
            let sleeper = Sleeper::of(context.waker());
            let (is_registered, spent) =
                node.register_sleeper(Moment::Aborting, &mut place, sleeper);
            drop_sleeper(spent);
            if is_registered { Poll::Pending } else { Poll::Ready(()) }
        }));
    }

    /// The fault of a teardown.
    pub(in crate::run) struct TeardownFault(Option<Fault>);

    impl TeardownFault {
        /// The fault of the teardown of this process, which is beginning. A hook of `on_closing` has none.
        pub(in crate::run) fn of(node: &Arc<Node>) -> Self {
            let is_hook = node.work.get() == Work::Hook;
            Self(if is_hook { None } else { at(FaultPlace::Teardown, node) })
        }

        /// Begins the teardown. This is foreign code: call it in a catch.
        pub(in crate::run) fn begin(self, teardown: Teardown) -> Begun {
            match self.0 {
                Some(Fault::Panic(message)) => {
                    drop(teardown);
                    resume_unwind(Box::new(message))
                }
                Some(Fault::Fail(message)) => Begun::Ended(Err(message.into())),
                Some(Fault::Hang(gate)) if teardown.is_blocking() => {
                    gate.wait();
                    teardown.begin()
                }
                Some(Fault::Hang(gate)) => Begun::Future(Box::pin(async move {
                    gate.opened().await;
                    match teardown.begin() {
                        Begun::Ended(result) => result,
                        Begun::Future(future) => future.await,
                    }
                })),
                _ => teardown.begin(),
            }
        }
    }
}

#[cfg(not(all(feature = "test-faults", not(loom))))]
mod none {
    use std::pin::Pin;
    use std::sync::Arc;

    use crate::run::Node;
    use crate::run::teardown::{Begun, Teardown};
    use crate::value::{BoxError, IntoOutcome};

    #[inline(always)]
    pub(in crate::run) fn drops_jobs(_node: Option<&Arc<Node>>) -> bool {
        false
    }

    pub(in crate::run) struct BodyFault;

    impl BodyFault {
        #[inline(always)]
        pub(in crate::run) fn unasked() -> Self {
            Self
        }

        #[inline(always)]
        pub(in crate::run) fn of(_node: &Arc<Node>) -> Self {
            Self
        }

        #[inline(always)]
        pub(in crate::run) fn begin(&mut self, _node: &Arc<Node>) {}

        #[inline(always)]
        pub(in crate::run) fn run<R: IntoOutcome>(
            self,
            body: impl FnOnce() -> R,
        ) -> Result<(), BoxError> {
            body().into_outcome()
        }

        #[inline(always)]
        pub(in crate::run) fn replaces_poll<F>(
            &mut self,
            _future: Pin<&mut Option<F>>,
            _result: &mut Option<Result<(), BoxError>>,
        ) -> bool {
            false
        }

        #[inline(always)]
        pub(in crate::run) fn holds(&mut self, _has_ended: bool) -> bool {
            false
        }
    }

    pub(in crate::run) struct TeardownFault;

    impl TeardownFault {
        #[inline(always)]
        pub(in crate::run) fn of(_node: &Arc<Node>) -> Self {
            Self
        }

        #[inline(always)]
        pub(in crate::run) fn begin(self, teardown: Teardown) -> Begun {
            teardown.begin()
        }
    }
}
