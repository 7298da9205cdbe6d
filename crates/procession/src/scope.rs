//! [`scope`]: thread bodies that borrow from their caller.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::thread;

use crate::process::Process;
use crate::run::body::{BodyEnd, ErrorRecipient};
use crate::run::catch::contain;
use crate::run::waits::begin_wait;
use crate::run::{Seed, inherited_from_context};
use crate::value::sync::Mutex;
use crate::value::{ChildFailure, Error, IntoOutcome, Site};

/// Runs `body` on this thread, as the body of a new root, and returns the outcome of the root once it is Closed. Thread
/// bodies that are spawned in the scope may borrow from the caller's stack, as in [`std::thread::scope`].
///
/// The scope is a separate root. If the calling code belongs to a process `p` whose closing should close the scope,
/// begin the body with `p.add_child(&scope)`.
///
/// If the body or a child fails or panics, the whole scope closes, and all errors are in the outcome, because the root
/// has [`ChildFailure::Close`]. Otherwise, the scope waits until the children have finished.
///
/// # Errors
///
/// Those of the outcome. A panic of `body` is caught, and becomes one of them.
///
/// # Blocking
///
/// Blocks the thread, with no limit on the time. Do not call it in async code.
///
/// ```
/// let (mut left, mut right) = (vec![3, 1, 2], vec![6, 5, 4]);
/// procession::scope(|p| {
///     p.spawn_thread(|_| left.sort())?;
///     p.spawn_thread(|_| right.sort())?;
///     procession::ok()
/// })?;
/// assert_eq!((left, right), (vec![1, 2, 3], vec![4, 5, 6]));
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn scope<'env, F, R>(body: F) -> Result<(), Error>
where
    F: for<'scope> FnOnce(Scope<'scope, 'env>) -> R,
    R: IntoOutcome,
{
    let inherited = inherited_from_context();
    let mut seed = Seed { inherited, body: true, ..Seed::at(Site::caller()) };
    seed.extras().on_child_failure = ChildFailure::Close;
    let process = Process::from_seed(seed);
    let end = BodyEnd::of(process.node.clone());
    // The calling code is blocked from here on, because the scope joins its threads.
    let _edges = begin_wait(&process.node)?;
    thread::scope(|threads| {
        let scope = Scope { process: process.clone(), threads };
        end.run(|| body(scope));
    });
    process.closed().wait()
}

/// The process of a [`scope`](scope()): a [`Process`] whose [`spawn_thread`](Self::spawn_thread) takes bodies that
/// borrow. A thread of the scope that spawns further such bodies needs a clone.
#[derive(Clone)]
pub struct Scope<'scope, 'env> {
    process: Process,
    threads: &'scope thread::Scope<'scope, 'env>,
}

impl<'scope> Scope<'scope, '_> {
    /// [`Process::spawn_thread`], with a body that may borrow from outside the scope.
    ///
    /// # Errors
    ///
    /// Those of [`Process::spawn_thread`].
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering};
    ///
    /// let found = AtomicU32::new(0);
    /// procession::scope(|p| {
    ///     for start in [0, 100] {
    ///         let found = &found;
    ///         p.spawn_thread(move |worker| {
    ///             for number in start..start + 100 {
    ///                 if worker.is_closing() {
    ///                     break;
    ///                 }
    ///                 found.fetch_add(u32::from(number % 10 == 0), Ordering::Relaxed);
    ///             }
    ///         })?;
    ///     }
    ///     procession::ok()
    /// })?;
    /// assert_eq!(found.into_inner(), 20);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[track_caller]
    pub fn spawn_thread<F, R>(&self, body: F) -> Result<Process, Error>
    where
        F: FnOnce(Process) -> R + Send + 'scope,
        R: IntoOutcome,
    {
        let (child, end) = self.process.child_with_body(Site::caller())?;
        end.mark_thread_body();
        // Shared, because if the thread cannot be created, its closure is dropped. The body may borrow, so it must be
        // dropped here, and not by a thread of the library.
        let kept = Arc::new(Mutex::new(Some((end, body))));
        let (process, given) = (child.clone(), kept.clone());
        let run = move || {
            let given = given.lock().take();
            given.into_iter().for_each(|(end, body)| end.run(|| body(process.clone())));
        };
        let mut builder = thread::Builder::new();
        let name = child.node.segment().thread_name();
        if !name.contains('\0') {
            builder = builder.name(name);
        }
        match builder.spawn_scoped(self.threads, run) {
            Ok(_joined_by_the_scope) => Ok(child),
            Err(error) => {
                let (end, body) = kept.lock().take().expect("no thread has taken it");
                let error = end.refuse_thread(error, ErrorRecipient::Caller);
                contain(|| drop(body));
                Err(error)
            }
        }
    }
}

impl Deref for Scope<'_, '_> {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.process).finish()
    }
}
