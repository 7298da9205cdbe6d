//! [`OnClosing`]: a function that runs when a process begins to close.

use std::fmt;
use std::sync::Arc;

use super::Process;
use crate::run::foreign::Foreign;
use crate::run::{Node, Seed, Teardown, perform};
use crate::state::{Added, HookPlace};
use crate::value::model::model_has_failed;
use crate::value::sync::Mutex;
use crate::value::{BoxError, Error, IntoOutcome, Reason, Site};

type Hook = Box<dyn FnOnce() -> Result<(), BoxError> + Send>;

/// The function, until it starts or is cancelled.
type Slot = Mutex<Option<Foreign<Hook>>>;

impl Process {
    /// Runs `f` once when the process begins to close, on a thread of the library. If the process is already Closing,
    /// `f` runs at once, on such a thread.
    ///
    /// This is for interrupting blocking I/O, as with `std::stop_callback` of C++ and `context.AfterFunc` of Go: `f`
    /// shuts down the socket, so that a read that is blocked on it returns. Neither the spawner, nor the limit of 512
    /// teardowns, nor bodies and wakers that block can delay `f`. It never runs on the stack of the call that closes
    /// the process, so [`close`](Self::close) remains safe while you hold locks and inside `Drop`. Only if the OS
    /// cannot create threads does a thread that is blocked in a wait without a timeout run `f`.
    ///
    /// The process waits for `f`: its teardown starts only after `f` has returned. An abort does not skip `f`. While
    /// `f` runs, it counts as a child of the process, and its error or panic is the failure of that child: the
    /// [hooks](Self::on_failure) are called, and with [`ChildFailure::Close`](crate::ChildFailure::Close) it is part of
    /// the outcome of this process. Until closing begins, the process does not wait for `f`, so
    /// [`close_after_children`](Self::close_after_children) and the end of the body still close it.
    ///
    /// Dropping the returned guard cancels `f` unless `f` has started; [`detach`](OnClosing::detach) keeps `f` without
    /// the guard. The guard keeps nothing open, but as long as `f` is not cancelled, a handle that `f` holds to its own
    /// process keeps that process open until it is closed.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] if the teardown of this process has started, [`Error::Background`] on the background process,
    /// which never closes. Then a thread of the library drops `f`.
    ///
    /// ```
    /// use procession::Process;
    /// use std::io::Read;
    /// use std::net::{Shutdown, TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let _silent_peer = TcpStream::connect(listener.local_addr()?)?;
    /// let (stream, _) = listener.accept()?;
    ///
    /// let app = Process::new();
    /// let connection = app.spawn_thread(move |p| {
    ///     let interrupted = stream.try_clone()?;
    ///     let _guard = p.on_closing(move || interrupted.shutdown(Shutdown::Both))?;
    ///     let mut buffer = [0; 1024];
    ///     while (&stream).read(&mut buffer)? > 0 {
    ///         // answer
    ///     }
    ///     procession::ok()
    /// })?;
    /// app.close_blocking()?; // the read returns
    /// assert!(connection.outcome().unwrap().is_ok());
    /// # Ok::<(), procession::BoxError>(())
    /// ```
    #[track_caller]
    pub fn on_closing<F, R>(&self, f: F) -> Result<OnClosing, Error>
    where
        F: FnOnce() -> R + Send + 'static,
        R: IntoOutcome,
    {
        let site = Site::caller();
        if self.node.is_background() {
            return Err(Error::Background);
        }
        let hook: Hook = Box::new(|| f().into_outcome());
        let slot: Arc<Slot> = Arc::new(Mutex::new(Some(Foreign::new(hook))));
        let called = slot.clone();
        let teardown = Teardown::blocking(move || match take(&called) {
            Some(hook) => hook.into_inner()(),
            None => Ok(()),
        });
        let seed = Seed { teardown: Some(teardown), ..Seed::at(site) };
        let (hook, added, place) = self.node.add_closing_hook(seed);
        match added {
            Added::Open => {}
            Added::Late => perform(hook.close(&Reason::ParentClosed, self.is_aborting())),
            Added::Refused => return Err(Error::Closed(self.label())),
        }
        Ok(OnClosing { node: self.node.clone(), place, slot: Some(slot) })
    }
}

/// Takes the function out, so that it can be called or dropped with the lock released.
fn take(slot: &Slot) -> Option<Foreign<Hook>> {
    slot.lock().take()
}

/// A guard for a function that runs when a process begins to close. Made by [`Process::on_closing`].
///
/// Dropping it cancels the function unless the function has started. It never waits.
///
/// ```
/// use procession::Process;
///
/// let process = Process::new();
/// let guard = process.on_closing(|| println!("interrupted"))?;
/// drop(guard); // the I/O has ended, so nothing has to be interrupted
/// process.close_blocking()?; // prints nothing
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "dropping the guard cancels the function: keep it in a variable, or call `detach`"]
pub struct OnClosing {
    node: Arc<Node>,
    /// The place of the hook in the process, if the process was Running.
    place: Option<HookPlace>,
    /// `None` once the guard is detached.
    slot: Option<Arc<Slot>>,
}

impl OnClosing {
    /// Cancels the function unless it has started. Returns `true` if the function was cancelled, and will therefore
    /// never run. This does not wait for a function that is running. A thread of the library drops a cancelled
    /// function.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// let guard = process.on_closing(|| println!("interrupted"))?;
    /// assert!(guard.cancel());
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn cancel(mut self) -> bool {
        self.cancel_once()
    }

    /// Gives up the guard without cancelling the function, which runs when the process begins to close.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let process = Process::new();
    /// process.on_closing(|| println!("closing"))?.detach();
    /// process.close_blocking()?; // prints "closing"
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn detach(mut self) {
        self.slot = None;
    }

    fn cancel_once(&mut self) -> bool {
        let Some(slot) = self.slot.take() else { return false };
        let cancelled = take(&slot);
        if let Some(place) = self.place {
            self.node.remove_closing_hook(place);
        }
        cancelled.is_some()
    }
}

impl Drop for OnClosing {
    fn drop(&mut self) {
        if !model_has_failed() {
            self.cancel_once();
        }
    }
}

impl fmt::Debug for OnClosing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnClosing").field(&self.node.label()).finish()
    }
}
