//! Programs that a test runs in a terminal, and the screen that they show.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::fs::{Mode, OFlags, open};
use rustix::termios::{LocalModes, tcgetattr};

use crate::LIMIT;

/// A program in a terminal of its own. It is killed when this is dropped.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    /// Keeps the modes of the terminal after the program has ended.
    modes: OwnedFd,
    shown: Arc<Shown>,
}

struct Shown {
    output: Mutex<Output>,
    has_changed: Condvar,
}

struct Output {
    parser: vt100::Parser,
    bytes: Vec<u8>,
}

/// What a terminal shows.
#[derive(Clone, Debug)]
pub struct Screen {
    /// The lines, without trailing blanks.
    pub lines: Vec<String>,
    /// The lines with the sequences that set their colours.
    pub formatted: Vec<Vec<u8>>,
    /// Is the cursor visible?
    pub has_cursor: bool,
    /// Is this the alternate screen?
    pub is_alternate: bool,
}

impl Terminal {
    /// Starts the program in a terminal of this size.
    pub fn start(
        program: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
        (lines, columns): (u16, u16),
    ) -> Self {
        let pair = native_pty_system().openpty(size(lines, columns)).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(arguments);
        command.env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        let name = pair.master.tty_name().unwrap();
        let modes = open(name, OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty());
        let modes = modes.unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let keyboard = pair.master.take_writer().unwrap();
        let output = Output { parser: vt100::Parser::new(lines, columns, 1000), bytes: Vec::new() };
        let shown = Arc::new(Shown { output: Mutex::new(output), has_changed: Condvar::new() });
        let writes = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            // An error means that the program has closed the terminal.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                let mut output = writes.output.lock().unwrap();
                output.parser.process(&bytes[..count]);
                output.bytes.extend(&bytes[..count]);
                writes.has_changed.notify_all();
            }
        });
        Self { child, master: pair.master, keyboard, modes, shown }
    }

    /// The current screen.
    pub fn screen(&self) -> Screen {
        Screen::of(self.shown.output.lock().unwrap().parser.screen())
    }

    /// Waits until `check` accepts the screen. Its errors say what is wrong.
    #[track_caller]
    pub fn wait_for(&self, check: impl Fn(&Screen) -> Result<(), String>) -> Screen {
        let end = Instant::now() + LIMIT;
        let mut output = self.shown.output.lock().unwrap();
        loop {
            let screen = Screen::of(output.parser.screen());
            let Err(wrong) = check(&screen) else { return screen };
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(output);
                panic!("{wrong}\n{}", screen.lines.join("\n"));
            }
            output = self.shown.has_changed.wait_timeout(output, left).unwrap().0;
        }
    }

    /// Types characters.
    pub fn type_in(&mut self, characters: &str) {
        self.keyboard.write_all(characters.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Writes to the terminal, as another program could.
    pub fn write_from_elsewhere(&self, text: &str) {
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let other = open(self.master.tty_name().unwrap(), flags, Mode::empty()).unwrap();
        File::from(other).write_all(text.as_bytes()).unwrap();
    }

    /// Changes the size of the terminal.
    pub fn resize(&self, lines: u16, columns: u16) {
        let mut output = self.shown.output.lock().unwrap();
        output.parser.set_size(lines, columns);
        self.master.resize(size(lines, columns)).unwrap();
    }

    /// Are typed characters echoed?
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.modes).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Everything that the program has written.
    pub fn bytes(&self) -> Vec<u8> {
        self.shown.output.lock().unwrap().bytes.clone()
    }

    /// Waits for the end of the program, and returns its exit status.
    #[track_caller]
    pub fn status(&mut self) -> u32 {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            let lines = || self.screen().lines.join("\n");
            assert!(Instant::now() < end, "the program did not end\n{}", lines());
            thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Screen {
    fn of(screen: &vt100::Screen) -> Self {
        let (_, columns) = screen.size();
        let lines = screen.rows(0, columns).map(|line| line.trim_end().to_owned());
        Self {
            lines: lines.collect(),
            formatted: screen.rows_formatted(0, columns).collect(),
            has_cursor: !screen.hide_cursor(),
            is_alternate: screen.alternate_screen(),
        }
    }
}

fn size(rows: u16, cols: u16) -> PtySize {
    PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }
}
