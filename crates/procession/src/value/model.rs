//! How the library behaves while a loom model fails, and what it prints then.
//!
//! All threads of a model are coroutines on one OS thread. When loom finds a deadlock, or an assertion fails, the stack
//! of the running thread unwinds, the stacks of the others are leaked, and loom can no longer be called: a second panic
//! while the first one unwinds would abort the test program. Therefore the drop of a handle or a waiter checks
//! [`model_has_failed`] first, and a panic that ends the model is not caught where panics of users' code are.
//!
//! A panic that is caught does not end the model, so each thread of the model records whether it is inside
//! [`catching`]. A handle that is dropped while such a panic unwinds is kept until the panic is caught: dropping it
//! could switch to another thread of the model, which would then seem to panic too, and would poison the locks that it
//! releases.

pub use imp::*;

#[cfg(not(loom))]
mod imp {
    use crate::value::Label;

    /// Has the model failed, so that nothing of loom's may be touched?
    pub const fn model_has_failed() -> bool {
        false
    }

    /// Runs code whose panics the caller catches.
    #[inline]
    pub(crate) fn catching<R>(run: impl FnOnce() -> R) -> R {
        run()
    }

    pub(crate) const fn caught() {}

    /// If a panic is unwinding, keeps the result of `value` until the panic is caught; returns whether it does.
    #[inline]
    pub(crate) fn keep_while_panicking<T: 'static>(_value: impl FnOnce() -> T) -> bool {
        false
    }

    /// The record of a wait, for the report of a failing model. Outside a model, nothing is recorded.
    pub(crate) struct Waiting;

    impl Waiting {
        pub(crate) const fn nothing() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn record(
            _waiter: impl FnOnce() -> Option<Label>,
            _what: &str,
            _target: impl FnOnce() -> Label,
        ) -> Self {
            Self
        }
    }
}

#[cfg(loom)]
mod imp {
    use std::any::Any;
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;
    use std::panic::{self, PanicHookInfo};
    use std::sync::Once;

    use crate::value::Label;

    // These belong to the OS thread, so that they can be used in whatever state the model is.
    std::thread_local! {
        /// The model has failed.
        static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
        /// The number of values of [`CATCHING`] that exist. While there is one, the model runs, so loom can be called.
        static LIVE: Cell<usize> = const { Cell::new(0) };
        /// The waits of the model's threads, in the order in which they began.
        static WAITS: RefCell<BTreeMap<u64, String>> = const { RefCell::new(BTreeMap::new()) };
        /// Handles that were dropped while a panic unwound.
        static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
        /// The number of the next wait.
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }

    loom::thread_local! {
        /// The number of calls of [`catching`] on the stack of this thread of the model.
        static CATCHING: Depth = Depth::new();
    }

    struct Depth(Cell<usize>);

    impl Depth {
        fn new() -> Self {
            LIVE.set(LIVE.get() + 1);
            Self(Cell::new(0))
        }
    }

    impl Drop for Depth {
        fn drop(&mut self) {
            LIVE.set(LIVE.get().saturating_sub(1));
        }
    }

    /// Has the model failed, so that nothing of loom's may be touched?
    pub fn model_has_failed() -> bool {
        HAS_FAILED.get()
    }

    /// Called when a process is made. A failed model makes no process, so a recorded failure is that of an earlier
    /// model.
    pub(crate) fn prepare_model() {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                before(info);
                classify_panic(info);
            }));
        });
        if HAS_FAILED.replace(false) {
            LIVE.set(0);
            WAITS.take();
            // Dropping these would call loom.
            std::mem::forget(KEPT.take());
        }
        let _counted = CATCHING.try_with(|_| ());
    }

    /// Decides whether a panic ends the model, and prints the recorded waits if loom itself has panicked.
    fn classify_panic(info: &PanicHookInfo<'_>) {
        if model_has_failed() {
            return;
        }
        let is_from_loom = info.location().is_some_and(|location| is_in_loom(location.file()));
        // While loom panics, its state is borrowed, so `CATCHING` cannot be read.
        let can_ask = !is_from_loom && LIVE.get() > 0;
        let is_caught =
            can_ask && CATCHING.try_with(|Depth(depth)| depth.get() > 0).is_ok_and(|is| is);
        HAS_FAILED.set(LIVE.get() > 0 && !is_caught);
        if is_from_loom {
            print_waits();
        }
    }

    /// Is it a source file of the crate loom?
    fn is_in_loom(file: &str) -> bool {
        let folders: Vec<_> = file.split(['/', '\\']).collect();
        let is_package = |name: &str| name == "loom" || name.starts_with("loom-0.");
        folders.windows(2).any(|pair| is_package(pair[0]) && pair[1] == "src")
    }

    fn print_waits() {
        let waits = WAITS.take();
        if !waits.is_empty() {
            eprintln!("When the model failed:");
        }
        waits.values().for_each(|wait| eprintln!("  {wait}"));
    }

    /// Runs code whose panics the caller catches.
    pub(crate) fn catching<R>(run: impl FnOnce() -> R) -> R {
        let inside = Inside::enter();
        let result = run();
        drop(inside);
        result
    }

    /// A panic was caught, and the model goes on: drops the handles that were kept.
    pub(crate) fn caught() {
        let kept = KEPT.take();
        drop(kept);
    }

    /// If a panic is unwinding, keeps the result of `value` until the panic is caught; returns whether it does.
    pub(crate) fn keep_while_panicking<T: 'static>(value: impl FnOnce() -> T) -> bool {
        let is_panicking = std::thread::panicking();
        if is_panicking {
            KEPT.with_borrow_mut(|kept| kept.push(Box::new(value())));
        }
        is_panicking
    }

    struct Inside;

    impl Inside {
        /// `None` outside a model, and at the end of a thread, when the counter no longer exists.
        fn enter() -> Option<Self> {
            if LIVE.get() == 0 {
                return None;
            }
            CATCHING.try_with(|Depth(depth)| depth.set(depth.get() + 1)).ok().map(|()| Self)
        }
    }

    impl Drop for Inside {
        fn drop(&mut self) {
            if !model_has_failed() {
                CATCHING.with(|Depth(depth)| depth.set(depth.get() - 1));
            }
        }
    }

    /// The record of a wait, for the report of a failing model. Dropping it removes the record.
    pub(crate) struct Waiting {
        number: Option<u64>,
    }

    impl Waiting {
        pub(crate) const fn nothing() -> Self {
            Self { number: None }
        }

        /// Records that this thread of the model waits. `waiter` is the process whose code it runs, if any.
        pub(crate) fn record(
            waiter: impl FnOnce() -> Option<Label>,
            what: &str,
            target: impl FnOnce() -> Label,
        ) -> Self {
            // As loom writes it.
            let thread = format!("{:?}", loom::thread::current().id()).replace("ThreadId", "Id");
            let target = target();
            let wait = match waiter() {
                Some(waiter) => {
                    format!("{thread}, code of {waiter}, was waiting for {target} {what}")
                }
                None => format!("{thread} was waiting for {target} {what}"),
            };
            let number = NEXT.get();
            NEXT.set(number + 1);
            WAITS.with_borrow_mut(|waits| waits.insert(number, wait));
            Self { number: Some(number) }
        }
    }

    impl Drop for Waiting {
        fn drop(&mut self) {
            if let Some(number) = self.number {
                WAITS.with_borrow_mut(|waits| waits.remove(&number));
            }
        }
    }
}
