//! [`OnStuck`]: what happens to a program whose units run on after the end of their lease.

use std::io::{Write as _, stderr};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use procession::support::catch;
use procession::support::text::{Count, Escaped};

use super::lease::Term;
use crate::engine::{OpenUnit, Shared};
use crate::name::name_of;

/// What a [`SharedManager`](super::SharedManager) does if a unit ignores its abort when the lease has ended, or has left
/// such a unit of a nested set or manager behind.
///
/// Other managers run the unit from then on. Writes to the database of the table are safe, because they are refused by
/// their token, but the unit may have effects elsewhere twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnStuck {
    /// Report the unit as stuck. It keeps its key in this program until it ends.
    #[default]
    Report,
    /// End the program at once, with status 70 and a message on standard error. This happens before the lease ends in
    /// the store, unless the store has ended it early, so no unit runs twice. No other part of the program is closed
    /// first.
    ExitProgram,
}

/// The exit status: an internal error of the software (`EX_SOFTWARE`), as when `Main` has to end a program by force.
const STATUS: i32 = 70;
/// The maximum number of units that the message names.
const NAMED: usize = 16;

/// The lease has ended, and its runs were aborted: ends the program unless they end in time.
pub(super) fn exit_unless_ended(shared: &Shared<String>, term: &Term) {
    let runs = term.runs.of_lease(shared);
    let grace = shared.about.policy.abort_grace.min(term.left_in_store() / 2);
    let deadline = Instant::now().checked_add(grace);
    let is_open =
        |unit: &&OpenUnit<String>| deadline.is_some() && !shared.wait_for_end(unit, deadline);
    let open: Vec<_> = runs.iter().filter(is_open).collect();
    if open.is_empty() {
        return;
    }
    let names = open.iter().take(NAMED);
    let names: Vec<String> =
        names.map(|unit| format!("`{}`", Escaped::name(&name_of(&unit.key)))).collect();
    let more = if open.len() > NAMED { ", …" } else { "" };
    let message = format!(
        "{}: the lease has ended, and {} ignored the abort: {}{more}. The program exits with status {STATUS}, so that \
         no unit runs twice.",
        Escaped::name(&shared.about.name),
        counted(open.len()),
        names.join(", "),
    );
    say(message, grace / 2);
    exit();
}

fn counted(units: usize) -> String {
    if units == 1 { "a unit has".to_owned() } else { format!("{} units have", Count(units)) }
}

/// Reports the message. A subscriber or a terminal that blocks does not keep the program alive for longer than `limit`.
fn say(message: String, limit: Duration) {
    let (said, heard) = mpsc::channel::<()>();
    let thread = thread::Builder::new().name("last words".to_owned());
    let spawned = thread.spawn(move || {
        // Fails if standard error is closed.
        let _written = writeln!(stderr(), "{message}");
        let _caught = catch(|| tracing::error!(target: "procession", "{message}"));
        drop(said);
    });
    if spawned.is_ok() {
        let _said = heard.recv_timeout(limit);
    }
}

#[cfg(unix)]
fn exit() -> ! {
    signal_hook::low_level::exit(STATUS)
}

#[cfg(not(unix))]
fn exit() -> ! {
    std::process::exit(STATUS)
}
