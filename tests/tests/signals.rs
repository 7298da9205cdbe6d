//! Signals to real programs: the three stages, several processes for one signal, and the former actions.

#![cfg(target_os = "linux")]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use procession::Process;
use procession::signal::{self, SignalError};
use procession_tests::program::Program;
use rustix::process::Signal;

fn start(what: &str) -> Program {
    let program = Program::start(Command::new(env!("CARGO_BIN_EXE_signals")).arg(what));
    program.read_to("bound");
    program
}

/// The first signal closes, the second aborts, the third ends the program. Each signal of the set counts.
#[test]
fn signals_close_then_abort_then_exit() {
    let mut program = start("stages");
    program.signal(Signal::INT);
    let mut lines = program.read_to("closing");
    if !lines.iter().any(|line| line.starts_with("reason")) {
        lines.extend(program.read_to("reason"));
    }
    assert!(lines.iter().any(|line| line == "reason: Some(Signal(2))"), "{lines:?}");
    program.signal(Signal::TERM);
    program.read_to("aborting");
    assert!(!program.has_ended());
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(128 + 2));
}

/// With fewer stages, further signals do nothing.
#[test]
fn signals_beyond_the_last_stage_do_nothing() {
    let mut program = start("two-stages");
    for (signal, line) in [(Signal::INT, "closing"), (Signal::INT, "aborting")] {
        program.signal(signal);
        program.read_to(line);
    }
    program.signal(Signal::INT);
    program.signal(Signal::TERM);
    assert!(!program.has_ended());
    let mut program = start("one-stage");
    program.signal(Signal::INT);
    program.read_to("closing");
    program.signal(Signal::INT);
    program.signal(Signal::INT);
    assert!(!program.has_ended());
}

/// The third signal ends the program even if wakers hang.
#[test]
fn the_third_signal_ends_a_program_that_hangs() {
    let mut program = start("hanging-waker");
    program.signal(Signal::INT);
    program.read_to("hanging");
    program.signal(Signal::INT);
    program.read_to("hanging");
    program.signal(Signal::INT);
    assert_eq!(program.status().code(), Some(128 + 2));
}

/// Several processes are bound to one signal, which one thread handles.
#[test]
fn one_thread_handles_a_signal_of_many_processes() {
    let mut program = Program::start(Command::new(env!("CARGO_BIN_EXE_signals")).arg("several"));
    let lines = program.read_to("bound");
    assert_eq!(lines, ["signal threads: 1", "bound"]);
    program.signal(Signal::USR1);
    program.read_to("all closed");
    assert!(program.status().success());
}

/// When the bound process is Closed, the former action is restored: SIGTERM ends the program by that signal, and
/// SIGHUP, ignored from the start, is ignored again.
#[test]
fn the_former_action_is_restored() {
    let path = env!("CARGO_BIN_EXE_signals");
    let script = format!("trap '' HUP; exec '{path}' former");
    let mut program = Program::start(Command::new("sh").arg("-c").arg(script));
    program.read_to("bound");
    program.signal(Signal::USR1);
    program.read_to("closed");
    program.signal(Signal::HUP);
    assert!(!program.has_ended());
    program.signal(Signal::TERM);
    assert_eq!(program.status().signal(), Some(15));
}

/// A signal that cannot be caught or does not exist is refused at the call, which binds nothing.
#[test]
fn bad_signals_are_refused() {
    let process = Process::new();
    for uncatchable in [9, 19, 11] {
        let refused = signal::bind(&process, [signal::SIGUSR2, uncatchable]);
        assert!(matches!(refused, Err(SignalError::Uncatchable(n)) if n == uncatchable));
    }
    let text = signal::bind(&process, [9]).unwrap_err().to_string();
    assert_eq!(text, "SIGKILL cannot be caught");
    for unknown in [0, -1, 65, 1_000, i32::MIN, i32::MAX] {
        let refused = signal::bind(&process, [unknown]);
        assert!(matches!(refused, Err(SignalError::NotASignal(n)) if n == unknown));
    }
    // The C library reserves these two.
    assert!(matches!(signal::bind(&process, [32]), Err(SignalError::NotASignal(32))));
    assert!(matches!(signal::bind(Process::background(), [2]), Err(SignalError::Background)));
    process.close_blocking().unwrap();
}
