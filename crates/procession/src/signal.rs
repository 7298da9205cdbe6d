//! Signals that close a process, then abort it, then end the program (feature `signal`, on by default; Unix).
//!
//! A process is bound to a set of signals. The first delivered signal closes it, with the reason [`Reason::Signal`];
//! the second aborts it; the third ends the program with the exit status 128 + the number of the signal, even if
//! everything hangs. All signals to which a process is bound, in one binding or several, are counted together.
//! [`Stages`] limits their effects.
//!
//! One thread serves all bound processes. It only begins closings: wakers and spawners are called on other threads, so
//! nothing can hold up the third signal.
//!
//! Once every process that is bound to a signal is Closed, the signal has its previous effect again. The previous
//! action is read from `/proc/self/status` at the first binding. Where that file does not exist, the default action is
//! assumed.
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
use std::fs;
use std::io;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use signal_hook::consts::FORBIDDEN;
pub use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::backend::Handle;
use signal_hook::iterator::exfiltrator::raw::WithRawSiginfo;
use signal_hook::low_level::{emulate_default_handler, exit};

use crate::process::Process;
use crate::run::abort::{ReportedBy, close};
use crate::run::catch::catch;
use crate::run::{Node, perform_elsewhere};
pub use crate::value::SignalError;
use crate::value::sync::spawn_thread;
use crate::value::{Phase, Reason};
use crate::watch::{Listener, SignalObserver};

/// The effects of the first, second and third signal to a bound process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stages {
    /// The first closes; further ones do nothing.
    Close,
    /// The first closes, the second aborts; further ones do nothing.
    CloseAbort,
    /// The first closes, the second aborts, the third ends the program.
    #[default]
    CloseAbortExit,
}

/// Binds the process to the signals, in [three stages](Stages::CloseAbortExit), until it is Closed.
///
/// Several processes can be bound to one signal, and a process can be bound several times. Signals are counted
/// separately for each process. A binding is not a handle: it does not keep the process open.
///
/// # Errors
///
/// [`SignalError`]; the process is then bound to none of them.
pub fn bind(process: &Process, signals: impl IntoIterator<Item = i32>) -> Result<(), SignalError> {
    bind_stages(process, signals, Stages::default())
}

/// [`bind`], with the given stages.
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
/// [`SignalError`]; the process is then bound to none of them.
pub fn bind_stages(
    process: &Process,
    signals: impl IntoIterator<Item = i32>,
    stages: Stages,
) -> Result<(), SignalError> {
    bind_observed(process, signals, stages, None)
}

/// [`bind_stages`], with an observer that is notified of the signals.
pub(crate) fn bind_observed(
    process: &Process,
    signals: impl IntoIterator<Item = i32>,
    stages: Stages,
    observer: Option<Arc<dyn SignalObserver>>,
) -> Result<(), SignalError> {
    if process.node.is_background() {
        return Err(SignalError::Background);
    }
    let signals: Vec<i32> = signals.into_iter().collect();
    signals.iter().try_for_each(|&signal| check(signal))?;
    let mut bound = BOUND.lock();
    if bound.processes.len() >= bound.sweep_at {
        bound.forget_ended();
        bound.sweep_at = bound.processes.len() * 2;
    }
    for &signal in &signals {
        bound.watch(signal)?;
    }
    let binding = Binding { signals, stages, observer };
    bound
        .processes
        .entry(Arc::as_ptr(&process.node).addr())
        .or_insert_with(|| {
            let node = Arc::downgrade(&process.node);
            Bound { node, received: 0, bindings: Vec::new() }
        })
        .bindings
        .push(binding);
    Ok(())
}

/// Calls `listener` on the signal thread whenever the signal is delivered, as long as `listener` exists. It must return
/// at once.
pub(crate) fn listen(signal: i32, listener: &Arc<Listener>) -> Result<(), SignalError> {
    check(signal)?;
    let mut bound = BOUND.lock();
    bound.watch(signal)?;
    bound.listeners.push((signal, Arc::downgrade(listener)));
    Ok(())
}

fn check(signal: i32) -> Result<(), SignalError> {
    /// The last real-time signal.
    const LAST: i32 = 64;
    if FORBIDDEN.contains(&signal) {
        return Err(SignalError::Uncatchable(signal));
    }
    if (1..=LAST).contains(&signal) { Ok(()) } else { Err(SignalError::NotASignal(signal)) }
}

static BOUND: Mutex<Signals> = Mutex::new(Signals {
    handle: None,
    previous: BTreeMap::new(),
    processes: BTreeMap::new(),
    listeners: Vec::new(),
    sweep_at: 0,
});

/// All bindings. While this is locked, no node is locked and nothing is closed.
struct Signals {
    /// The signal thread's handle, once it has started.
    handle: Option<Handle>,
    previous: BTreeMap<i32, PreviousAction>,
    /// The bound processes, by the address of the node, which no other node can have while the weak pointer exists.
    processes: BTreeMap<usize, Bound>,
    /// The functions that are called for signals.
    listeners: Vec<(i32, Weak<Listener>)>,
    /// At this number of processes, the next binding removes those that are Closed. It doubles, so that not every
    /// binding checks all processes.
    sweep_at: usize,
}

/// A process that is bound. The pointer is weak, so that a Closed process can be freed.
struct Bound {
    node: Weak<Node>,
    /// The number of delivered signals to which it is bound.
    received: u32,
    bindings: Vec<Binding>,
}

struct Binding {
    signals: Vec<i32>,
    stages: Stages,
    observer: Option<Arc<dyn SignalObserver>>,
}

/// The action of a signal before the first binding to it.
#[derive(Clone, Copy)]
enum PreviousAction {
    Default,
    Ignored,
    /// Another handler, which signal-hook still calls.
    Handler,
}

impl Signals {
    /// Makes the signal thread receive the signal.
    fn watch(&mut self, signal: i32) -> Result<(), SignalError> {
        if self.previous.contains_key(&signal) {
            return Ok(());
        }
        let handle = match &self.handle {
            Some(handle) => handle,
            None => self.handle.insert(start()?),
        };
        let previous = PreviousAction::of(signal).map_err(SignalError::Io)?;
        handle.add_signal(signal).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => SignalError::NotASignal(signal),
            _ => SignalError::Io(error),
        })?;
        self.previous.insert(signal, previous);
        Ok(())
    }

    /// Forgets the processes that are Closed.
    fn forget_ended(&mut self) {
        self.processes.retain(|_, process| {
            process.node.upgrade().is_some_and(|node| node.phase() != Phase::Closed)
        });
    }

    /// Counts the signal for each process that is bound to it, and returns its effects.
    fn count(&mut self, signal: i32) -> Vec<Counted> {
        let bound = self.processes.values_mut();
        bound.filter_map(|process| process.count(signal)).collect()
    }

    /// The functions to call for the signal.
    fn listeners(&mut self, signal: i32) -> Vec<Arc<Listener>> {
        self.listeners.retain(|(_, listener)| listener.strong_count() > 0);
        let of_signal = self.listeners.iter().filter(|(of, _)| *of == signal);
        of_signal.filter_map(|(_, listener)| listener.upgrade()).collect()
    }
}

/// A signal that was counted for a process.
struct Counted {
    node: Arc<Node>,
    stage: Option<Stage>,
    observers: Vec<Arc<dyn SignalObserver>>,
}

/// The effect of one signal on one process.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Close,
    Abort,
    Exit,
}

impl Bound {
    /// Counts the signal if the process is bound to it. If several bindings contain the signal, the one with the most
    /// stages decides its effect.
    fn count(&mut self, signal: i32) -> Option<Counted> {
        let bindings = self.bindings.iter().filter(|binding| binding.signals.contains(&signal));
        let stages = bindings.map(|binding| binding.stages).max()?;
        let node = self.node.upgrade()?;
        self.received += 1;
        let stage = match self.received {
            1 => Some(Stage::Close),
            2 if stages >= Stages::CloseAbort => Some(Stage::Abort),
            3 if stages >= Stages::CloseAbortExit => Some(Stage::Exit),
            _ => None,
        };
        let observers =
            self.bindings.iter().filter_map(|binding| binding.observer.clone()).collect();
        Some(Counted { node, stage, observers })
    }
}

impl PreviousAction {
    /// # Errors
    ///
    /// If the file exists but cannot be read, for example because no descriptor is free.
    fn of(signal: i32) -> io::Result<Self> {
        let status = match fs::read_to_string("/proc/self/status") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let has = |field: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix(field));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            mask.unwrap_or(0) >> (signal - 1) & 1 == 1
        };
        Ok(match (has("SigIgn:"), has("SigCgt:")) {
            (true, _) => Self::Ignored,
            (_, true) => Self::Handler,
            _ => Self::Default,
        })
    }
}

/// Starts the signal thread.
fn start() -> Result<Handle, SignalError> {
    let mut signals = SignalsInfo::<WithRawSiginfo>::new([0_i32; 0]).map_err(SignalError::Io)?;
    let handle = signals.handle();
    // A panic must not end the thread, because the third signal must be handled (I14).
    let serve = move || {
        signals.forever().for_each(|info| drop(catch(|| deliver(info.si_signo))));
    };
    spawn_thread(Some("procession-signal"), serve).map_err(SignalError::Io)?;
    Ok(handle)
}

fn deliver(signal: i32) {
    let mut bound = BOUND.lock();
    bound.forget_ended();
    let counted = bound.count(signal);
    let previous = bound.previous.get(&signal).copied();
    let listeners = bound.listeners(signal);
    drop(bound);
    if counted.is_empty() && listeners.is_empty() {
        return run_previous_action(signal, previous);
    }
    // This comes first, before anything that could hold up this thread.
    let exits = counted.iter().filter(|counted| counted.stage == Some(Stage::Exit));
    let exits: Vec<_> = exits.map(|counted| &counted.observers).collect();
    if !exits.is_empty() {
        exits.into_iter().flatten().for_each(|observer| observer.before_exit(signal));
        exit(128 + signal);
    }
    for Counted { node, stage, observers } in counted {
        let Some(stage) = stage else { continue };
        let abort = stage == Stage::Abort;
        for observer in &observers {
            if abort { observer.before_abort(signal) } else { observer.before_close(signal) }
        }
        // Only `Main` observes the signals.
        let reported_by = if observers.is_empty() { ReportedBy::Event } else { ReportedBy::Main };
        perform_elsewhere(close(&node, &Reason::Signal(signal), abort, reported_by));
        observers.iter().for_each(|observer| observer.after_begin());
    }
    listeners.into_iter().for_each(|listener| listener());
}

fn run_previous_action(signal: i32, previous: Option<PreviousAction>) {
    if let Some(PreviousAction::Default) = previous {
        if emulate_default_handler(signal).is_err() {
            // signal-hook does not know its default action: it is a real-time signal, which ends the program.
            exit(128 + signal);
        }
    }
}
