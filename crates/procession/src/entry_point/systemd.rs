//! Notifications for systemd (feature `systemd`, Linux).
//!
//! A program that runs [`Main`](crate::Main) as a service of `Type=notify` tells systemd about itself. The feature is
//! all that it needs: without the variable `NOTIFY_SOCKET`, nothing is sent.
//!
//! | message | when |
//! |---|---|
//! | `READY=1` | the program calls [`ready`]; `procession_runnable::run_with` does that when its runnable is ready |
//! | `STOPPING=1` | the root begins to close |
//! | `STATUS=` | while closing, each second: for how long, and the first items that it waits for |
//! | `EXTEND_TIMEOUT_USEC=` | while closing, each second in which something has changed: 10 more seconds |
//! | `WATCHDOG=1` | at half the interval of `WatchdogSec=`, from a job on the root's spawner |
//!
//! A closing that takes long is therefore not cut short by `TimeoutStopSec=` as long as it makes progress. One that
//! hangs is.
//!
//! The watchdog shows whether the spawner still runs jobs. If the root's executor is stuck, for example because a task
//! blocks its only thread, no more messages are sent, and systemd restarts the service.
//!
//! Everything is sent by a thread of its own, because sending may block; the watchdog's jobs only wake it. The socket
//! is opened when the program starts, so that a program without a free descriptor still sends.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking::{Parker, Unparker};
use sd_notify::NotifyState;

use super::reporter::write;
use super::shared::Shared;
use crate::process::Process;
use crate::run::reports::program_is_ready;
use crate::value::sync::spawn_thread;
use crate::value::text::{Count, Elapsed};
use crate::value::{ChildFailure, Phase, Snapshot};

/// The interval at which a closing is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The time that progress in the last interval buys.
const EXTENSION: Duration = Duration::from_secs(10);

/// The number of blockers in the status.
const LISTED: usize = 3;

/// The time that a message may wait for room in systemd's queue.
const SEND: Duration = Duration::from_secs(1);

/// Tells systemd that the program that `process` is part of has started: `READY=1`. Without `NOTIFY_SOCKET`, it does
/// nothing. It returns at once: the message is sent by a thread of the library, which tries again if systemd's queue is
/// full.
///
/// ```no_run
/// use procession::{Main, systemd};
///
/// fn main() -> procession::Exit {
///     Main::new().run(|p| {
///         p.spawn_thread(|worker| worker.closing().wait())?;
///         systemd::ready(&p);
///         procession::ok()
///     })
/// }
/// ```
pub fn ready(process: &Process) {
    program_is_ready(&process.node);
}

/// Starts the thread, if systemd wants to hear of the program.
pub(super) fn start(shared: &Arc<Shared>) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    let socket = match connect(&path) {
        Ok(socket) => socket,
        Err(error) => {
            write(&format!("cannot notify systemd on the socket in NOTIFY_SOCKET: {error}\n"));
            return;
        }
    };
    let parker = Parker::new();
    shared.set_notifier(parker.unparker());
    let timeout = sd_notify::watchdog_enabled().filter(|timeout| !timeout.is_zero());
    let watchdog = timeout.and_then(|timeout| Watchdog::new(timeout, parker.unparker()));
    let is_for = shared.clone();
    let notifier = Notifier { shared: is_for, socket, watchdog, was_ready: false, fingerprint: 0 };
    if spawn_thread(Some("procession-systemd"), move || notifier.run(&parker)).is_err() {
        shared.notifier_has_ended();
    }
}

fn connect(path: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SEND))?;
    Ok(socket)
}

struct Notifier {
    shared: Arc<Shared>,
    socket: UnixDatagram,
    watchdog: Option<Watchdog>,
    /// `READY=1` was sent.
    was_ready: bool,
    /// Stands for everything that was open when the closing was last looked at.
    fingerprint: u64,
}

impl Notifier {
    fn run(mut self, parker: &Parker) {
        while self.phase() == Phase::Running {
            let retry = self.tell_ready();
            self.wait_until_due(parker, retry);
        }
        self.tell_ready();
        self.send(&[NotifyState::Stopping, NotifyState::Status("closing")]);
        let mut next_look = Instant::now();
        while self.phase() != Phase::Closed {
            if next_look <= Instant::now() {
                self.look();
                next_look = Instant::now() + LOOK;
            }
            self.wait_until_due(parker, Some(next_look));
        }
        self.shared.notifier_has_ended();
    }

    /// Sends `READY=1` if the program has started, and returns when to try again if that fails.
    fn tell_ready(&mut self) -> Option<Instant> {
        if self.was_ready || !self.shared.has_started() {
            return None;
        }
        self.was_ready = self.send(&[NotifyState::Ready]);
        (!self.was_ready).then(|| Instant::now() + LOOK)
    }

    /// A `Main` that has ended counts as Closed.
    fn phase(&self) -> Phase {
        self.shared.root.upgrade().map_or(Phase::Closed, |root| root.phase())
    }

    /// Feeds the watchdog, and waits until that, or something else, is due.
    fn wait_until_due(&mut self, parker: &Parker, other: Option<Instant>) {
        if self.watchdog.as_ref().is_some_and(Watchdog::was_fed) {
            self.send(&[NotifyState::Watchdog]);
        }
        let feed = self.watchdog.as_mut().map(Watchdog::feed_if_due);
        match feed.into_iter().chain(other).min() {
            Some(due) => drop(parker.park_deadline(due)),
            None => parker.park(),
        }
    }

    /// Reports how the closing goes on.
    fn look(&mut self) {
        let Some(snapshot) = self.shared.snapshot() else { return };
        let closing = self.shared.facts().closing_since.map(|since| since.elapsed());
        let status = status(&snapshot, closing.unwrap_or_default());
        let status = NotifyState::Status(&status);
        let fingerprint = fingerprint(&snapshot);
        let has_changed = std::mem::replace(&mut self.fingerprint, fingerprint) != fingerprint;
        let extension = u32::try_from(EXTENSION.as_micros()).unwrap_or(u32::MAX);
        if has_changed {
            self.send(&[status, NotifyState::ExtendTimeoutUsec(extension)]);
        } else {
            self.send(&[status]);
        }
    }

    /// Sends one message, and returns whether that has worked. Otherwise, systemd notices that no message arrives.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send(message.as_bytes()).is_ok()
    }
}

/// Feeds systemd's watchdog while the spawner of the root runs jobs.
struct Watchdog {
    interval: Duration,
    next: Instant,
    /// A process that has the spawner of the root, and that neither closes with it nor is part of what it waits for.
    feeder: Process,
    fed: Arc<Fed>,
}

/// A job of the watchdog has run.
struct Fed {
    flag: AtomicBool,
    notifier: Unparker,
}

impl Watchdog {
    /// It is made where the root is made, so that its spawner is the same.
    fn new(timeout: Duration, notifier: Unparker) -> Option<Self> {
        let feeder = Process::builder().name("systemd watchdog");
        let feeder = feeder.on_child_failure(ChildFailure::Ignore).build().ok()?;
        let fed = Arc::new(Fed { flag: AtomicBool::new(false), notifier });
        Some(Self { interval: timeout / 2, next: Instant::now(), feeder, fed })
    }

    /// Has a job run since this was called last?
    fn was_fed(&self) -> bool {
        self.fed.flag.swap(false, Ordering::Relaxed)
    }

    /// Spawns a job if one is due, and returns the time of the next one. There is at most one job that has not run.
    fn feed_if_due(&mut self) -> Instant {
        let now = Instant::now();
        if self.next <= now {
            self.next = now + self.interval;
            if self.feeder.child_count() == 0 {
                let fed = self.fed.clone();
                let _started = self.feeder.spawn(|_| async move {
                    fed.flag.store(true, Ordering::Relaxed);
                    fed.notifier.unpark();
                });
            }
        }
        self.next
    }
}

/// One line.
fn status(snapshot: &Snapshot, closing: Duration) -> String {
    let blockers = snapshot.blockers(LISTED);
    let mut status = format!("closing for {}, {} open", Elapsed(closing), Count(snapshot.open()));
    for (place, blocker) in blockers.first.iter().enumerate() {
        status.push_str(if place == 0 { "; waiting for: " } else { "; " });
        status.push_str(&blocker.to_string());
    }
    if blockers.more() > 0 {
        status.push_str(&format!("; and {} more", Count(blockers.more())));
    }
    status
}

/// Differs if a process was made or closed, has begun or ended some work, or was asked to close or aborted.
fn fingerprint(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    for process in snapshot.processes() {
        (process.id(), process.phase(), process.is_aborting(), process.work()).hash(&mut hasher);
    }
    hasher.finish()
}
