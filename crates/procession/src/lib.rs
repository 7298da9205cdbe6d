//! Lifecycles inside one program. A process is Running, then Closing, then Closed. Processes form a graph, are closed
//! in order, and are torn down exactly once. Plain threads and any async executor use them through the same handle.
//!
//! # Vocabulary
//!
//! A [`Process`] is a unit of work that can be closed. When it closes, its **children** are closed, and it
//! waits for them, for its **body** (code that runs on a thread or as a future), and for every process to which it has
//! a **wait-for edge**. Then its **teardown** runs, once. Then it is Closed, and has an **outcome** that
//! never changes.
//!
//! ```
//! use procession::Process;
//! use std::sync::{Arc, Mutex};
//!
//! let steps = Arc::new(Mutex::new(Vec::new()));
//! let step = |name: &'static str| {
//!     let steps = steps.clone();
//!     move || steps.lock().unwrap().push(name)
//! };
//!
//! let app = Process::builder().name("app").build()?;
//! let server = Process::builder().name("server").parent(&app).teardown(step("server")).build()?;
//! let _log = Process::builder()
//!     .name("log")
//!     .parent(&app)
//!     .wait_for(&server)
//!     .teardown(step("log"))
//!     .build()?;
//!
//! // A blocking body and an async one: children of the server.
//! server.spawn_thread(|p| p.closing().wait())?;
//! server.spawn(|p| async move { p.closing().await })?;
//!
//! app.close_blocking()?;
//! assert_eq!(*steps.lock().unwrap(), ["server", "log"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What always holds
//!
//! - Phases only advance; a teardown runs exactly once, even after an abort; every caller gets the same outcome.
//! - If `p` waits for `q`, everything that `q`'s teardown did happens before `p`'s teardown starts.
//! - An edge that would complete a cycle that could never close is refused, and so is a blocking wait that could never
//!   end.
//! - Adding something to a process that is already Closing or Closed has a defined effect or returns an error. It never
//!   panics or hangs. A panic in a body or a teardown becomes an error in the outcome.
//! - When the last handle to a process that no open parent holds is dropped, the process closes. A waiter is not a
//!   handle.
//! - No lock is held while foreign code runs: a teardown or a waker may call anything. [`close`](Process::close) and
//!   [`abort`](Process::abort) return at once, and are safe inside `Drop`, in an executor's poll, and while you hold
//!   locks. A thread of the library drops your values that a process holds, such as the captures of a hook.
//! - Nothing recurses over the graph, and a long-lived parent does not grow as its children come and go.
//!
//! # What is built on it
//!
//! | | |
//! |---|---|
//! | [`Periodic`] | calls a body again and again, until closing |
//! | [`Limited`] | limits the number of children that run at a time |
//! | [`Process::on_failure`], [`ChildFailure`] | report failures when they happen, or close the parent |
//! | [`Process::on_event`] | reports every step of every process in a tree, in order |
//! | [`Process::on_stall`] | reports the items for which a slow closing waits |
//! | [`Process::body_ended`], [`Process::children_closed`] | wait for a part of a process |
//! | [`Process::on_closing`] | interrupts blocking I/O when closing begins |
//! | [`Process::close_when`], [`Process::wait_for_future`] | close a process when any future is ready, or wait for any future |
//! | [`scope()`] | thread bodies that borrow from their caller |
//! | `main`, `Main` | a program as one process, from `fn main`, with reports of signals, failures and slow closings |
//!
//! Coming from another library? `guide::coming_from` maps the names of several libraries to those of this crate. The
//! module `guide` also has recipes, explains hanging shutdowns, and more.
//!
//! # When a shutdown hangs
//!
//! [`Process::blockers`] answers with one line for each cause: the chain of processes down to it, its kind, the place
//! where its process was made, and its age. A process that only waits for other processes is not a cause.
//!
//! ```text
//! app › db › cache: thread body `cache` (src/cache.rs:41), asked to close 6.1 s ago
//! app › http › session-42 and 37 more `session`: async body (src/http.rs:88), asked to close 6.1 s ago
//! app › log ⇢ server: nobody has asked it to close (src/main.rs:33)
//! ```
//!
//! [`Process::snapshot`] is the whole picture: its `Display` is a tree in which large families are folded, `{:#}` adds
//! sites and times, and [`to_mermaid`](Snapshot::to_mermaid) and [`to_dot`](Snapshot::to_dot) draw it. `{:?}` of a
//! process is one line about the process itself. None of this needs any preparation: each process always records the
//! place where it was made, the time when it began to close, and the kind of code that it runs.
//!
//! A program that uses `Main` reports its blockers unasked, 5 s after closing began and again at doubling intervals.
//! The example `stuck` shows the output in eight cases.
//!
//! # When something fails
//!
//! Nothing fails silently. A failure is handled by a hook on the process or above it, by a parent that ignores it or
//! closes for it, by the caller that is handed the outcome, or, for a root, by the code that has a handle to it or waits for it. Any other
//! failure is reported at once, as the `tracing`
//! event `failed` and by `Main`: see [`ChildFailure::Report`].
//!
//! # Events
//!
//! [`Process::on_event`] calls a hook for each event in the tree of a process: made, closing (with the reason),
//! aborting, body ended, teardown due, started and ended, failed, Closed (with the outcome). One thread of the library
//! calls the hooks, so they may block, and no closing waits for them. Without a hook, events cost next to nothing.
//!
//! With the feature `tracing`, these events are also `tracing` events with the target `procession`. The field `event`
//! is their [stable name](EventKind::name), and `process` is the path:
//!
//! | level | `event` | further fields |
//! |---|---|---|
//! | TRACE | `made`, `closing`, `aborting`, `body_ended`, `teardown_queued`, `teardown_started`, `teardown_ended`, `closed` | `reason`; `closing_ms`, `outcome` |
//! | ERROR if nothing handles the failure, otherwise WARN | `failed` | `kind`: `error` or `panic`, `error` with its causes, `site` |
//! | WARN | `aborting`, once for each abort by a call, a guard, a deadline or a signal, except those that `Main` reports | `site` |
//! | WARN | `stalled`, and `blocked_by` for each blocker: with [`Process::on_stall`] | `closing_ms`, `open`, `blockers`, `next_report_ms`; `chain`, `kind`, `thread`, `site`, `for_ms`, `more` |
//! | WARN | `missed`, without `process`: a subscriber was too slow | `count` |
//!
//! The thread that calls the hooks records the events at TRACE, for the global subscriber. The other events are
//! recorded where they happen. Bodies run in a span `body` at INFO, with the field `process`. `Main` records its
//! reports as further events.
//!
//! With the feature `metrics`, the recorder of that crate receives these numbers. No label is a name, a path or the
//! text of an error.
//!
//! | name | kind | label | unit |
//! |---|---|---|---|
//! | `procession_processes` | gauge | `phase`: `running` or `closing` | processes |
//! | `procession_closing_seconds` | histogram of how long processes were Closing | – | seconds |
//! | `procession_failures_total` | counter of bodies, teardowns and time limits that failed | – | failures |
//!
//! # Features
//!
//! | feature | default | effect |
//! |---|---|---|
//! | `executor` | yes | async bodies and teardowns share one small executor (async-executor); without it, each has a thread of its own |
//! | `signal` | yes | the module `signal` (signal-hook, Unix), and `main` (on Windows with ctrlc) |
//! | `tokio` | no | `tokio::runtime::Handle` is a [`Spawn`], and the default one inside a tokio context |
//! | `tokio-util` | no | `CancellationToken`s that are cancelled with a process, and processes that close with a token |
//! | `tracing` | yes | events as `tracing` events, and bodies in spans |
//! | `metrics` | no | numbers for the `metrics` facade; each process is then watched, which costs a little |
//! | `smol` | no | `Smol`, smol's global executor, is a [`Spawn`] |
//! | `systemd` | no | `Main` notifies systemd, and the module `systemd` (Linux) |
//! | `serde` | no | [`Snapshot`], [`Blockers`] and their parts implement `Serialize` |
//!
//! With `--cfg loom`, the crate uses loom's locks, atomics and threads, so that you can model-check code that is built
//! on the crate. Processes then work only inside `loom::model`. `guide::model_checking` describes the requirements, the
//! parts that are left out, how to read the output of loom, and four worked models.
//!
//! # Where it comes from
//!
//! The process graph comes from Go's goprocess. Closing from many sides and the ordered stop come from pact's `process`
//! and from the `proc` package. The interface of the waiters is that of event-listener's listeners.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Layers 0 to 3; no import goes up.
mod process;
mod run;
mod state;
mod value;

// Built on layer 3 only.
mod clock;
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
mod entry_point;
// Its examples need other crates, so the tests of the project run them instead of rustdoc.
#[cfg(all(doc, not(doctest), not(loom)))]
pub mod guide;
mod limiter;
pub mod periodic;
#[cfg(not(loom))]
mod scope;
#[cfg(all(feature = "signal", unix, not(loom)))]
pub mod signal;
#[doc(hidden)]
pub mod support;
#[cfg(all(feature = "tokio-util", not(loom)))]
mod tokens;
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
mod watch;

pub use clock::{Clock, ManualClock, Sleep, SystemClock};
#[cfg(all(feature = "systemd", target_os = "linux", not(loom)))]
pub use entry_point::systemd;
#[cfg(all(feature = "signal", any(unix, windows), not(loom)))]
pub use entry_point::{Exit, Main, main, main_async};
pub use limiter::{Acquire, Limited, Slot};
pub use periodic::{Overlapping, Periodic};
pub use process::{
    AbortOnDrop, Aborting, BodyEnded, Builder, ChildrenClosed, CloseOnDrop, Closed, Closing,
    OnClosing, Process, Task, Timeout, WeakProcess,
};
#[cfg(all(feature = "smol", not(loom)))]
pub use run::Smol;
pub use run::{Inline, Job, Spawn, Threads};
#[cfg(not(loom))]
pub use scope::{Scope, scope};
#[cfg(not(loom))]
pub use value::Stall;
pub use value::{
    Blocker, BlockerKind, Blockers, BoxError, ChainLink, ChildFailure, Cycle, Deadlock, Edge,
    Error, Event, EventKind, Failed, FailedCalls, Forced, HeldSlot, IntoOutcome, Label, Link,
    LinkError, MultiError, NoThread, Panicked, Phase, ProcessId, ProcessInfo, Reason, Site,
    Snapshot, Work, ok, ok_with,
};
