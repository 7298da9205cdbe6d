//! Binding the root of a program to signals on Unix.

use std::sync::Arc;

pub(super) use signal_hook::low_level::exit;

use crate::process::Process;
use crate::signal::{self, SIGINT, SIGTERM, Stages};
use crate::value::BoxError;
use crate::watch::{Listener, SignalObserver};

/// The default signals of a program.
pub(super) const SIGNALS: &[i32] = &[SIGINT, SIGTERM];

/// Binds the root to the signals.
pub(super) fn bind(
    root: &Process,
    signals: Vec<i32>,
    may_exit: bool,
    observer: Arc<dyn SignalObserver>,
) -> Result<(), BoxError> {
    let stages = if may_exit { Stages::CloseAbortExit } else { Stages::CloseAbort };
    Ok(signal::bind_observed(root, signals, stages, Some(observer))?)
}

/// Calls `listener` whenever the signal is delivered.
pub(super) fn listen(signal: i32, listener: &Arc<Listener>) -> Result<(), BoxError> {
    Ok(signal::listen(signal, listener)?)
}
