//! Notifications for systemd (feature `systemd`, Linux).
//!
//! A program that runs [`Main`](crate::Main) as a service of `Type=notify` notifies systemd of its state. Enabling the
//! feature is enough. Without the environment variable `NOTIFY_SOCKET`, nothing is sent.
//!
//! | message | when |
//! |---|---|
//! | `READY=1` | the program calls [`ready`]; `procession_runnable::run_with` does that when its runnable is ready |
//! | `STOPPING=1` | the root begins to close |
//! | `STATUS=` | while closing, each second: how long it has been closing, and the first items that it waits for |
//! | `EXTEND_TIMEOUT_USEC=` | while closing, each second in which something has changed: 10 more seconds |
//! | `WATCHDOG=1` | at half the interval of `WatchdogSec=`, from a job on the root's spawner |
//!
//! So as long as a slow closing makes progress, `TimeoutStopSec=` does not cut it short. A closing that hangs is cut
//! short.
//!
//! The watchdog shows whether the spawner still runs jobs. If the root's executor is stuck, for example because a task
//! blocks its only thread, no more messages are sent, and systemd restarts the service.
//!
//! A separate thread sends everything, because sending may block; the jobs of the watchdog only wake it. The socket is
//! opened when the program starts, so notifications can be sent even when no file descriptor is free.

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
use crate::value::{ChildFailure, Phase, Site, Snapshot};

/// The interval at which the progress of a closing is checked.
const LOOK: Duration = Duration::from_secs(1);

/// The extension of systemd's timeout for progress in the last interval.
const EXTENSION: Duration = Duration::from_secs(10);

/// The number of blockers in the status.
const LISTED: usize = 3;

/// The maximum time that a message waits for space in systemd's queue.
const SEND: Duration = Duration::from_secs(1);

/// Notifies systemd that the program of which `process` is a part has finished starting: `READY=1`. Without
/// `NOTIFY_SOCKET`, this does nothing. It returns at once. The message is sent by a thread of the library, which tries
/// again if systemd's queue is full.
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

/// Starts the thread, if systemd wants notifications. `site` is that of the root.
pub(super) fn start(shared: &Arc<Shared>, site: Site) {
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
    let watchdog = timeout.and_then(|timeout| Watchdog::new(timeout, parker.unparker(), site));
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
    /// The fingerprint of the snapshot that was taken at the last check.
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

    /// Sends `READY=1` once the program has finished starting. If that fails, returns the time for the next attempt.
    fn tell_ready(&mut self) -> Option<Instant> {
        if self.was_ready || !self.shared.has_started() {
            return None;
        }
        self.was_ready = self.send(&[NotifyState::Ready]);
        (!self.was_ready).then(|| Instant::now() + LOOK)
    }

    /// The phase of the root. A root that no longer exists counts as Closed.
    fn phase(&self) -> Phase {
        self.shared.root.upgrade().map_or(Phase::Closed, |root| root.phase())
    }

    /// Notifies the watchdog if a job has run, and waits until the next job, or something else, is due.
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

    /// Sends the status of the closing, and extends the timeout if there was progress.
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

    /// Sends one message, and returns whether it was sent.
    fn send(&self, states: &[NotifyState<'_>]) -> bool {
        let message: String = states.iter().map(|state| format!("{state}\n")).collect();
        self.socket.send(message.as_bytes()).is_ok()
    }
}

/// Feeds systemd's watchdog while the spawner of the root runs jobs.
struct Watchdog {
    interval: Duration,
    next: Instant,
    /// The process for the jobs. It has the spawner of the root, but no edge to the root, so the root neither closes it
    /// nor waits for it.
    feeder: Process,
    fed: Arc<Fed>,
}

/// Records that a job of the watchdog has run.
struct Fed {
    flag: AtomicBool,
    notifier: Unparker,
}

impl Watchdog {
    /// This must be called where the root is made, so that the feeder gets the same spawner.
    fn new(timeout: Duration, notifier: Unparker, site: Site) -> Option<Self> {
        let feeder = Process::builder().name("systemd watchdog").site(site);
        let feeder = feeder.on_child_failure(ChildFailure::Ignore).build().ok()?;
        let fed = Arc::new(Fed { flag: AtomicBool::new(false), notifier });
        Some(Self { interval: timeout / 2, next: Instant::now(), feeder, fed })
    }

    /// Has a job run since the last call?
    fn was_fed(&self) -> bool {
        self.fed.flag.swap(false, Ordering::Relaxed)
    }

    /// Spawns a job if one is due, and returns the time of the next one. At most one job is waiting to run.
    fn feed_if_due(&mut self) -> Instant {
        let now = Instant::now();
        if self.next <= now {
            self.next = now + self.interval;
            if self.feeder.child_count() == 0 {
                let fed = self.fed.clone();
                let _started = self.feeder.spawn_at(self.feeder.site(), |_| async move {
                    fed.flag.store(true, Ordering::Relaxed);
                    fed.notifier.unpark();
                });
            }
        }
        self.next
    }
}

/// The text of the status, one line.
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

/// A number that changes if a process was made, begins to close, is aborted or Closed, or begins or ends some work.
fn fingerprint(snapshot: &Snapshot) -> u64 {
    let mut hasher = DefaultHasher::new();
    for process in snapshot.processes() {
        (process.id(), process.phase(), process.is_aborting(), process.work()).hash(&mut hasher);
    }
    hasher.finish()
}
