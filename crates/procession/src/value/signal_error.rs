//! [`SignalError`]: why a process could not be bound to signals.

use std::io;

use signal_hook::consts::signal::{SIGKILL, SIGSTOP};
use signal_hook::low_level::signal_name;
use thiserror::Error;

/// Why a process could not be bound to signals. It is then bound to none of them.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SignalError {
    /// There is no signal with this number.
    #[error("there is no signal {0}")]
    NotASignal(i32),
    /// This signal cannot be caught (SIGKILL and SIGSTOP), or only in a useless way (SIGSEGV, for example).
    #[error("{} cannot be caught{}", described(*.0), if is_caught_uselessly(*.0) { " in any useful way" } else { "" })]
    Uncatchable(i32),
    /// [`Process::background`](crate::Process::background) cannot be closed.
    #[error("the background process never closes")]
    Background,
    /// The OS refused to register the handler, or to start the thread that receives signals.
    #[error("the program cannot receive the signal")]
    Io(#[source] io::Error),
}

fn is_caught_uselessly(signal: i32) -> bool {
    signal != SIGKILL && signal != SIGSTOP
}

fn described(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}
