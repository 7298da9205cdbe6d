//! The processes around the foreign code.

use std::any::Any;
use std::cell::RefCell;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Waker};

use procession::{Process, Sleep};
use procession_tests::foreign::{OnDrop, call_everything, keep, panic_quietly, waker};

use crate::LIMIT;

/// A process with healthy children, into which a place puts its foreign code.
pub(crate) struct Scene {
    pub(crate) app: Process,
    pub(crate) panics: bool,
    pub(crate) tell: Sender<()>,
    /// Receives a message each time that foreign code has run.
    pub(crate) told: Receiver<()>,
    pub(crate) waited: RefCell<bool>,
    /// Waiters that exist until the end.
    pub(crate) kept: RefCell<Vec<Box<dyn Any>>>,
}

impl Scene {
    /// What the foreign code does.
    pub(crate) fn acts(&self) -> impl Fn() + Send + Sync + use<> {
        let (app, panics, tell) = (self.app.clone(), self.panics, self.tell.clone());
        move || {
            if !panics {
                call_everything(&app);
            }
            let _ = tell.send(());
            if panics {
                panic_quietly();
            }
        }
    }

    /// An action that only reports its call.
    pub(crate) fn tells(&self) -> impl Fn() + Send + Sync + use<> {
        let tell = self.tell.clone();
        move || {
            let _ = tell.send(());
        }
    }

    /// A value whose drop is foreign code.
    pub(crate) fn dropped(&self) -> impl Send + Sync + use<> {
        OnDrop(self.acts())
    }

    /// A waker whose wake is foreign code.
    pub(crate) fn wakes(&self) -> Waker {
        waker(self.acts())
    }

    /// A waker whose drop is foreign code.
    pub(crate) fn drops(&self) -> Waker {
        let held = self.dropped();
        waker(move || keep(&held))
    }

    /// Waits until foreign code has run once more.
    pub(crate) fn wait(&self) {
        self.told.recv_timeout(LIMIT).expect("the foreign code did not run");
        *self.waited.borrow_mut() = true;
    }

    /// Makes a call that drops a value of its caller: a panic in that drop may reach the caller, and is caught here.
    pub(crate) fn guarded(&self, call: impl FnOnce()) {
        let called = catch_unwind(AssertUnwindSafe(call));
        assert!(called.is_ok() || self.panics);
    }

    /// Registers the waker, as the only one, and keeps the waiter.
    pub(crate) fn poll(&self, future: impl Future + 'static, waker: Waker) {
        let mut future = Box::pin(future);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        self.kept.borrow_mut().push(Box::new(future));
    }

    /// Registers the waker, and drops the waiter.
    pub(crate) fn go(&self, mut future: Sleep) {
        let waker = self.drops();
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        self.guarded(|| drop(future));
        self.wait();
    }

    /// Registers the waker, and then another one in its place.
    pub(crate) fn replace(&self, mut future: Sleep) {
        let waker = self.drops();
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(waker);
        let mut context = Context::from_waker(Waker::noop());
        self.guarded(|| {
            let _ = future.as_mut().poll(&mut context);
        });
        self.wait();
    }
}

/// An error that owns a value.
pub(crate) struct Failed(
    #[expect(dead_code, reason = "only its drop matters")] pub(crate) Box<dyn Any + Send + Sync>,
);

impl StdError for Failed {}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Failed")
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("on purpose")
    }
}
