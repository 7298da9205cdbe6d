//! Signals close, abort and at last end a process (feature `signal`, on by default; Unix).
//!
//! A process is bound to a set of signals. The first of them closes it, with reason [`Reason::Signal`]; the
//! second aborts it; the third ends the program with status 128 + the signal's number, even if everything
//! hangs. [`Stages`] says how many of these there are.
//!
//! However many processes are bound, one thread of the program serves them all. It does no more than to begin
//! the closing: wakers and spawners are called on another thread, so that the third signal is never held up.
//!
//! Once no process is bound to a signal any more that is not Closed, the signal does what it did before. What
//! that was is read from `/proc/self/status` at the first binding; where there is none, it is taken to be the
//! default action.
//!
//! ```
//! use procession::signal::{self, SIGUSR1};
//! use procession::{Process, Reason};
//!
//! let app = Process::builder().name("app").build()?;
//! signal::bind(&app, [SIGUSR1])?;
//!
//! signal_hook::low_level::raise(SIGUSR1)?;
//! app.closed().wait()?;
//! assert_eq!(app.reason(), Some(Reason::Signal(SIGUSR1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use parking_lot::Mutex;
use signal_hook::consts::FORBIDDEN;
pub use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::consts::signal::{SIGKILL, SIGSTOP};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::backend::Handle;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;
use signal_hook::low_level::{emulate_default_handler, exit, signal_name};

use crate::dispatch::dispatch;
use crate::phase::Phase;
use crate::process::Process;
use crate::reason::Reason;
use crate::state::{Effects, Node};
use crate::sync::spawn_thread;

/// What the signals that a process is bound to do, one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stages {
    /// The first closes; further ones do nothing.
    Close,
    /// The first closes, the second aborts; further ones do nothing.
    CloseAbort,
    /// The first closes, the second aborts, the third ends the program.
    #[default]
    CloseAbortExit,
}

/// Why a process could not be bound. Then it is bound to none of the signals.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no signal with this number.
    NotASignal(i32),
    /// This signal cannot be caught, as SIGKILL and SIGSTOP, or not in any useful way, as SIGSEGV.
    Uncatchable(i32),
    /// [`Process::background`] cannot be closed.
    Background,
    /// The system refused.
    Io(io::Error),
}

/// Binds the process to the signals, in [three stages](Stages::CloseAbortExit), until it is Closed.
///
/// Several processes can be bound to one signal; each counts the signals that it has seen. The binding is not
/// a handle: it does not keep the process open.
///
/// # Errors
///
/// [`SignalError`]; then the process is bound to none of them.
pub fn bind(process: &Process, signals: impl IntoIterator<Item = i32>) -> Result<(), SignalError> {
    bind_stages(process, signals, Stages::default())
}

/// [`bind`], with the stages given.
///
/// ```
/// use procession::Process;
/// use procession::signal::{self, SignalError, Stages};
///
/// let app = Process::new();
/// signal::bind_stages(&app, [signal::SIGHUP], Stages::Close)?;
/// assert!(matches!(signal::bind(&app, [9]), Err(SignalError::Uncatchable(9))));
/// # Ok::<(), SignalError>(())
/// ```
///
/// # Errors
///
/// [`SignalError`]; then the process is bound to none of them.
pub fn bind_stages(
    process: &Process,
    signals: impl IntoIterator<Item = i32>,
    stages: Stages,
) -> Result<(), SignalError> {
    bind_watched(process, signals, stages).map(drop)
}

/// [`bind_stages`]; the number that is handed back becomes that of the signal that aborts the process.
pub(crate) fn bind_watched(
    process: &Process,
    signals: impl IntoIterator<Item = i32>,
    stages: Stages,
) -> Result<Arc<AtomicI32>, SignalError> {
    if process.node.is_background() {
        return Err(SignalError::Background);
    }
    let signals: Vec<i32> = signals.into_iter().collect();
    signals.iter().try_for_each(|&signal| check(signal))?;
    let mut bound = BOUND.lock();
    let ended = bound.take_ended();
    for &signal in &signals {
        bound.watch(signal)?;
    }
    let aborted_by = Arc::new(AtomicI32::new(0));
    let node = process.node.clone();
    let binding = Binding { node, signals, stages, seen: 0, aborted_by: aborted_by.clone() };
    bound.bindings.push(binding);
    drop(bound);
    drop(ended);
    Ok(aborted_by)
}

fn check(signal: i32) -> Result<(), SignalError> {
    /// The last real-time signal.
    const LAST: i32 = 64;
    if FORBIDDEN.contains(&signal) {
        return Err(SignalError::Uncatchable(signal));
    }
    if (1..=LAST).contains(&signal) { Ok(()) } else { Err(SignalError::NotASignal(signal)) }
}

static BOUND: Mutex<Bound> =
    Mutex::new(Bound { handle: None, former: BTreeMap::new(), bindings: Vec::new() });

/// All that is bound. Under its lock, no other is taken and nothing is closed.
struct Bound {
    /// The way to the helper thread, once there is one.
    handle: Option<Handle>,
    former: BTreeMap<i32, Former>,
    bindings: Vec<Binding>,
}

struct Binding {
    node: Arc<Node>,
    signals: Vec<i32>,
    stages: Stages,
    /// How many of its signals were delivered.
    seen: u32,
    /// The signal that aborts the process; 0 before.
    aborted_by: Arc<AtomicI32>,
}

/// What a signal did before it was watched.
#[derive(Clone, Copy)]
enum Former {
    Default,
    Ignored,
    /// Another handler. signal-hook goes on to call it.
    Handler,
}

impl Bound {
    /// Makes the helper thread see the signal.
    fn watch(&mut self, signal: i32) -> Result<(), SignalError> {
        if self.former.contains_key(&signal) {
            return Ok(());
        }
        let handle = match &self.handle {
            Some(handle) => handle,
            None => self.handle.insert(start()?),
        };
        let former = Former::of(signal);
        handle.add_signal(signal).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => SignalError::NotASignal(signal),
            _ => SignalError::Io(error),
        })?;
        self.former.insert(signal, former);
        Ok(())
    }

    /// Takes out the bindings of processes that are Closed.
    fn take_ended(&mut self) -> Vec<Binding> {
        let (open, ended) = self.bindings.drain(..).partition(Binding::is_open);
        self.bindings = open;
        ended
    }

    /// Counts the signal, and says what it does to which process.
    fn count(&mut self, signal: i32) -> Vec<(Arc<Node>, Option<Stage>)> {
        let bound = self.bindings.iter_mut().filter(|binding| binding.signals.contains(&signal));
        bound.map(|binding| (binding.node.clone(), binding.count(signal))).collect()
    }
}

/// What one signal does.
enum Stage {
    Close,
    Abort,
    Exit,
}

impl Binding {
    fn is_open(&self) -> bool {
        self.node.phase() != Phase::Closed
    }

    fn count(&mut self, signal: i32) -> Option<Stage> {
        self.seen += 1;
        match self.seen {
            1 => Some(Stage::Close),
            2 if self.stages >= Stages::CloseAbort => {
                // Before the abort, and so before Closed.
                self.aborted_by.store(signal, Ordering::Relaxed);
                Some(Stage::Abort)
            }
            3 if self.stages >= Stages::CloseAbortExit => Some(Stage::Exit),
            _ => None,
        }
    }
}

impl Former {
    fn of(signal: i32) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let has = |field: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix(field));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            mask.unwrap_or(0) >> (signal - 1) & 1 == 1
        };
        match (has("SigIgn:"), has("SigCgt:")) {
            (true, _) => Self::Ignored,
            (_, true) => Self::Handler,
            _ => Self::Default,
        }
    }
}

/// Starts the helper thread.
fn start() -> Result<Handle, SignalError> {
    let mut signals = SignalsInfo::<WithRawSiginfo>::new([0_i32; 0]).map_err(SignalError::Io)?;
    let handle = signals.handle();
    let serve = move || signals.forever().for_each(|info| deliver(info.si_signo));
    spawn_thread(Some("procession-signal"), serve).map_err(SignalError::Io)?;
    Ok(handle)
}

fn deliver(signal: i32) {
    let mut bound = BOUND.lock();
    let ended = bound.take_ended();
    let counted = bound.count(signal);
    let former = bound.former.get(&signal).copied();
    drop(bound);
    if counted.is_empty() {
        drop(ended);
        return act_as_before(signal, former);
    }
    // Before anything that could hold this thread up.
    if counted.iter().any(|(_, stage)| matches!(stage, Some(Stage::Exit))) {
        exit(128 + signal);
    }
    let effects = counted.iter().filter_map(|(node, stage)| {
        let stage = stage.as_ref()?;
        Some(node.close(Reason::Signal(signal), matches!(stage, Stage::Abort)))
    });
    run(effects.collect());
}

fn act_as_before(signal: i32, former: Option<Former>) {
    if let Some(Former::Default) = former {
        if emulate_default_handler(signal).is_err() {
            // One that signal-hook does not know: a real-time signal, which ends the program.
            exit(128 + signal);
        }
    }
}

/// Calls wakers and spawners, on a thread that may hang.
fn run(effects: Vec<Effects>) {
    let effects = Arc::new(Mutex::new(effects));
    let taken = effects.clone();
    let run = move || {
        let effects = std::mem::take(&mut *taken.lock());
        effects.into_iter().for_each(dispatch);
    };
    if spawn_thread(Some("procession-closing"), run.clone()).is_err() {
        run();
    }
}

fn described(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NotASignal(signal) => write!(f, "there is no signal {signal}"),
            Self::Uncatchable(signal @ (SIGKILL | SIGSTOP)) => {
                write!(f, "{} cannot be caught", described(signal))
            }
            Self::Uncatchable(signal) => {
                write!(f, "{} cannot be caught in any useful way", described(signal))
            }
            Self::Background => f.write_str("the background process never closes"),
            Self::Io(ref error) => write!(f, "the signal cannot be watched: {error}"),
        }
    }
}

impl std::error::Error for SignalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}
