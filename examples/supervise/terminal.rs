//! The terminal, which is taken while the view is shown, and restored however the program ends.
//!
//! The view uses the alternate screen, where a resize leaves no remains, and which keeps the lines above the program.
//! While the view is shown, typed characters are not echoed, because they would appear in the middle of it.
//!
//! [`restore`] is called at the regular end, in the panic hook, and before `Main` ends the program by force. Nothing is
//! drawn afterwards, *because* a frame is written with the lock that `restore` takes, and only if the terminal is still
//! taken. The panic hook cannot deadlock, *because* nothing that can panic runs while the lock is held.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::panic;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};

/// `Some` while the terminal is taken.
static TAKEN: Mutex<Option<modes::Modes>> = Mutex::new(None);

/// The screen to draw on.
pub(crate) type Screen = Terminal<CrosstermBackend<Frames>>;

/// Takes the terminal. Returns `None` if standard output is not a terminal, or if the terminal cannot move its cursor.
pub(crate) fn take() -> Option<Screen> {
    let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
    if !io::stdout().is_terminal() || is_dumb {
        return None;
    }
    *taken() = Some(modes::set().ok()?);
    let screen = execute!(io::stdout(), EnterAlternateScreen)
        .and_then(|()| Terminal::new(CrosstermBackend::new(Frames::default())));
    // The first frame assumes that the screen is empty.
    let screen = screen.and_then(|mut screen| screen.clear().map(|()| screen));
    if screen.is_err() {
        restore();
    }
    screen.ok()
}

/// Makes the next frame draw every cell, without an empty screen in between: it is compared with a frame that has
/// nothing in common with it.
pub(crate) fn forget_frame(screen: &mut Screen) {
    screen.swap_buffers();
    for cell in &mut screen.current_buffer_mut().content {
        cell.set_char(char::REPLACEMENT_CHARACTER);
    }
    screen.swap_buffers();
}

/// Restores the terminal, if it is taken.
pub(crate) fn restore() {
    if let Some(modes) = taken().take() {
        // An error means that the terminal is gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        modes.restore();
    }
}

/// Is the terminal taken?
pub(crate) fn is_taken() -> bool {
    taken().is_some()
}

/// Makes a panic restore the terminal before its message is printed. A panic of a worker is not printed, because the
/// manager catches it and the view shows it.
pub(crate) fn restore_on_panic() {
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let is_workers =
            panic.location().is_some_and(|location| location.file().ends_with("workers.rs"));
        if !is_workers || cfg!(panic = "abort") {
            restore();
            print(panic);
        }
    }));
}

fn taken() -> MutexGuard<'static, Option<modes::Modes>> {
    TAKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Collects a frame, and writes it at once if the terminal is still taken.
#[derive(Default)]
pub(crate) struct Frames(Vec<u8>);

impl Write for Frames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let frame = std::mem::take(&mut self.0);
        let taken = taken();
        if taken.is_none() {
            return Ok(());
        }
        let mut output = io::stdout().lock();
        output.write_all(&frame)?;
        output.flush()
    }
}

#[cfg(unix)]
mod modes {
    //! The modes of the terminal. Ctrl-C stays a signal.

    use std::io;

    use rustix::termios::{
        InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
    };

    /// The modes before they were changed.
    pub(super) struct Modes(Termios);

    /// Turns off the echo, and the keys that would stop the program or its output while the screen is taken.
    pub(super) fn set() -> io::Result<Modes> {
        let former = tcgetattr(io::stdout())?;
        let mut modes = former.clone();
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        modes.input_modes.remove(InputModes::IXON);
        // 0 stands for no key. Ctrl-Z would leave the shell on the alternate screen.
        modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(io::stdout(), OptionalActions::Now, &modes)?;
        Ok(Modes(former))
    }

    impl Modes {
        /// Restores the modes, and discards what was typed.
        pub(super) fn restore(self) {
            let _ = tcsetattr(io::stdout(), OptionalActions::Flush, &self.0);
        }
    }
}

#[cfg(not(unix))]
mod modes {
    //! There are no modes to change, because a console echoes only the characters that a program reads.

    use std::io;

    pub(super) struct Modes;

    pub(super) fn set() -> io::Result<Modes> {
        Ok(Modes)
    }

    impl Modes {
        pub(super) fn restore(self) {}
    }
}
