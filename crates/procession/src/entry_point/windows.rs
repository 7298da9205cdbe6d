//! Ctrl-C and Ctrl-Break on Windows, where SIGINT stands for both (crate ctrlc).
//!
//! The thread of ctrlc takes the role of the signal thread: it only begins closings and aborts, in three stages.

use std::sync::{Arc, Weak};

use crate::process::Process;
use crate::run::abort::{ReportedBy, close};
use crate::run::{Node, perform_elsewhere};
use crate::value::sync::Mutex;
use crate::value::{BoxError, Phase, Reason};
use crate::watch::{Listener, SignalObserver};

/// The number of SIGINT.
const SIGINT: i32 = 2;

/// The default signals of a program.
pub(super) const SIGNALS: &[i32] = &[SIGINT];

/// A root that is bound.
struct Bound {
    node: Weak<Node>,
    observer: Arc<dyn SignalObserver>,
    may_exit: bool,
    received: u32,
}

struct All {
    has_handler: bool,
    bound: Vec<Bound>,
}

static ALL: Mutex<All> = Mutex::new(All { has_handler: false, bound: Vec::new() });

/// Ends the program.
pub(super) fn exit(code: i32) -> ! {
    std::process::exit(code)
}

/// Binds the root to Ctrl-C and Ctrl-Break, if SIGINT is among the signals.
pub(super) fn bind(
    root: &Process,
    signals: Vec<i32>,
    may_exit: bool,
    observer: Arc<dyn SignalObserver>,
) -> Result<(), BoxError> {
    if !signals.contains(&SIGINT) {
        return Ok(());
    }
    let mut all = ALL.lock();
    if !all.has_handler {
        ctrlc::set_handler(deliver)?;
        all.has_handler = true;
    }
    all.bound.push(Bound { node: Arc::downgrade(&root.node), observer, may_exit, received: 0 });
    Ok(())
}

/// Does nothing, because there are no other signals.
pub(super) fn listen(_signal: i32, _listener: &Arc<Listener>) -> Result<(), BoxError> {
    Ok(())
}

fn deliver() {
    let mut all = ALL.lock();
    let is_open =
        |bound: &Bound| bound.node.upgrade().is_some_and(|node| node.phase() != Phase::Closed);
    let (open, closed): (Vec<_>, Vec<_>) = all.bound.drain(..).partition(is_open);
    all.bound = open;
    let mut counted = Vec::new();
    for bound in &mut all.bound {
        bound.received += 1;
        counted.push((bound.node.clone(), bound.observer.clone(), bound.received, bound.may_exit));
    }
    drop(all);
    drop(closed);
    if counted.is_empty() {
        // No `Main` is running any more, so this is the default action.
        exit(128 + SIGINT);
    }
    let mut exits = counted.iter().filter(|(.., received, may_exit)| *received == 3 && *may_exit);
    if let Some((_, observer, ..)) = exits.next() {
        observer.before_exit(SIGINT);
        exit(128 + SIGINT);
    }
    for (node, observer, received, _) in counted {
        let (Some(node), 1 | 2) = (node.upgrade(), received) else { continue };
        let abort = received == 2;
        if abort {
            observer.before_abort(SIGINT)
        } else {
            observer.before_close(SIGINT)
        }
        perform_elsewhere(close(&node, &Reason::Signal(SIGINT), abort, ReportedBy::Main));
        observer.after_begin();
    }
}
