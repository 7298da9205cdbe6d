//! The signals, none of which may end the program before the terminal is restored.

use procession::{BoxError, Main};

/// Binds the program to every signal that a terminal sends.
#[cfg(unix)]
pub(crate) fn bind(main: Main) -> Main {
    main.signals(ALL)
}

#[cfg(not(unix))]
pub(crate) fn bind(main: Main) -> Main {
    main
}

/// Prevents the default action of the signals for ever. [`Main`] prevents it only until the program is Closed, which is
/// before the view has ended.
#[cfg(unix)]
pub(crate) fn hold() -> Result<(), BoxError> {
    use procession::Process;
    use procession::signal::{Stages, bind_stages};

    let (bound, open) = (Process::new(), Process::new());
    // A process that is Closing stays bound, and `bound` is never Closed, because it waits for `open`.
    bound.wait_for(&open)?;
    bind_stages(&bound, ALL, Stages::Close)?;
    std::mem::forget((bound, open));
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn hold() -> Result<(), BoxError> {
    Ok(())
}

#[cfg(unix)]
const ALL: [i32; 4] = {
    use procession::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    [SIGINT, SIGTERM, SIGHUP, SIGQUIT]
};
