//! What a failing loom model may still touch, and what it prints.
//!
//! All threads of a model are coroutines on one OS thread. When loom finds a deadlock, or an assertion fails, the stack
//! that happens to run unwinds, those of the other threads are leaked, and no call of loom's is possible any more: a
//! second panic while the first one unwinds would abort the test program. So whatever drops a handle or a waiter asks
//! [`model_has_failed`] first, and a panic that ends the model passes through the places that catch the panics of
//! users' code.
//!
//! A panic that is caught does not end the model. So it is known on each thread of the model whether its code is inside
//! [`catching`]. A handle that is dropped while the panic unwinds is kept until it is caught, because if another thread
//! of the model were given its turn, it would seem to panic too, and poison what it unlocks.

pub use imp::*;

#[cfg(not(loom))]
mod imp {
    use crate::value::Label;

    /// Has the model failed, so that nothing of loom's may be touched?
    pub const fn model_has_failed() -> bool {
        false
    }

    /// Runs what a caller catches the panics of.
    #[inline]
    pub(crate) fn catching<R>(run: impl FnOnce() -> R) -> R {
        run()
    }

    pub(crate) const fn caught() {}

    /// Keeps what `value` returns until the panic is caught, if one unwinds.
    #[inline]
    pub(crate) fn keep_while_panicking<T: 'static>(_value: impl FnOnce() -> T) -> bool {
        false
    }

    /// That something is being waited for, in what is printed when a model fails.
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

    // These are the OS thread's, so that they can be used whatever has become of the model.
    std::thread_local! {
        /// The model has failed.
        static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
        /// How many values of [`CATCHING`] exist. While there is one, the model runs, so that loom can be asked.
        static LIVE: Cell<usize> = const { Cell::new(0) };
        /// What the threads of the model wait for, in the order in which they began.
        static WAITS: RefCell<BTreeMap<u64, String>> = const { RefCell::new(BTreeMap::new()) };
        /// Handles that were dropped while a panic unwound.
        static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
        /// The number of the next wait.
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }

    loom::thread_local! {
        /// How many calls of [`catching`] are on the stack of this thread of the model.
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

    /// Is called when a process is made. A failed model makes none, so a failure was that of an earlier model.
    pub(crate) fn prepare_model() {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                before(info);
                see_panic(info);
            }));
        });
        if HAS_FAILED.replace(false) {
            LIVE.set(0);
            WAITS.take();
            // Nothing of loom's may be touched for it.
            std::mem::forget(KEPT.take());
        }
        let _counted = CATCHING.try_with(|_| ());
    }

    /// Decides whether a panic ends the model; if it is loom's own, prints what was being waited for.
    fn see_panic(info: &PanicHookInfo<'_>) {
        if model_has_failed() {
            return;
        }
        let is_from_loom = info.location().is_some_and(|location| is_in_loom(location.file()));
        // While loom panics, its state is borrowed.
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

    /// Runs what a caller catches the panics of.
    pub(crate) fn catching<R>(run: impl FnOnce() -> R) -> R {
        let inside = Inside::enter();
        let result = run();
        drop(inside);
        result
    }

    /// A panic was caught, and the model goes on.
    pub(crate) fn caught() {
        let kept = KEPT.take();
        drop(kept);
    }

    /// Keeps what `value` returns until the panic is caught, if one unwinds.
    pub(crate) fn keep_while_panicking<T: 'static>(value: impl FnOnce() -> T) -> bool {
        let is_panicking = std::thread::panicking();
        if is_panicking {
            KEPT.with_borrow_mut(|kept| kept.push(Box::new(value())));
        }
        is_panicking
    }

    struct Inside;

    impl Inside {
        /// `None` at the end of a thread, where nothing is counted.
        fn enter() -> Option<Self> {
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

    /// That something is being waited for, in what is printed when a model fails.
    pub(crate) struct Waiting {
        number: Option<u64>,
    }

    impl Waiting {
        pub(crate) const fn nothing() -> Self {
            Self { number: None }
        }

        /// Records that this thread of the model waits: code of `waiter`, if it is a process's.
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
