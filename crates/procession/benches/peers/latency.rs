//! The time until a waiter is awake.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::table::{Table, median};

const ROUNDS: usize = 2_000;
/// How long the benchmark waits until a waiter sleeps.
const SETTLE: Duration = Duration::from_micros(100);

/// The state of a round. One side spins while the other works, so that only the wake-up is measured.
struct Round {
    stage: AtomicU8,
    woken: Mutex<Instant>,
}

const IDLE: u8 = 0;
const WAITING: u8 = 1;
const WOKEN: u8 = 2;

impl Round {
    fn new() -> Arc<Self> {
        Arc::new(Self { stage: AtomicU8::new(IDLE), woken: Mutex::new(Instant::now()) })
    }

    /// Spins until the waiter has reached this stage.
    fn await_stage(&self, stage: u8) {
        while self.stage.load(Ordering::Acquire) != stage {
            spin_loop();
        }
    }

    /// The waiter is about to wait.
    fn waits(&self) {
        self.stage.store(WAITING, Ordering::Release);
    }

    /// The waiter is awake.
    fn wakes(&self) {
        *self.woken.lock().expect("a round") = Instant::now();
        self.stage.store(WOKEN, Ordering::Release);
    }

    /// The time from `notify` until the waiter is awake.
    fn measure(&self, notify: impl FnOnce()) -> Duration {
        self.await_stage(WAITING);
        let settled = Instant::now() + SETTLE;
        while Instant::now() < settled {
            spin_loop();
        }
        let start = Instant::now();
        notify();
        self.await_stage(WOKEN);
        *self.woken.lock().expect("a round") - start
    }
}

/// A round with a waiter on a thread.
fn on_thread(wait: impl FnOnce() + Send, notify: impl FnOnce()) -> Duration {
    let round = Round::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            round.waits();
            wait();
            round.wakes();
        });
        round.measure(notify)
    })
}

pub(crate) fn thread(table: &mut Table) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (flag, condvar) = (Mutex::new(false), Condvar::new());
        theirs.push(on_thread(
            || {
                let set = flag.lock().expect("a flag");
                drop(condvar.wait_while(set, |set| !*set).expect("a flag"));
            },
            || {
                *flag.lock().expect("a flag") = true;
                condvar.notify_all();
            },
        ));
        let process = Process::new();
        ours.push(on_thread(|| process.closing().wait(), || drop(process.close())));
    }
    table.row("close → a blocked thread is awake (a Condvar)", median(ours), median(theirs), 1.1);
}

fn one_worker() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
}

/// A round with a waiter in a task.
fn in_task(
    runtime: &Runtime,
    wait: impl Future<Output = ()> + Send + 'static,
    notify: impl FnOnce(),
) -> Duration {
    let round = Round::new();
    let waiter = round.clone();
    runtime.spawn(async move {
        waiter.waits();
        wait.await;
        waiter.wakes();
    });
    round.measure(notify)
}

pub(crate) fn task(table: &mut Table) {
    let runtime = one_worker();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let notify = Arc::new(Notify::new());
        let waiter = notify.clone();
        let wait = async move { waiter.notified().await };
        theirs.push(in_task(&runtime, wait, || notify.notify_waiters()));
        let process = Process::new();
        ours.push(in_task(&runtime, process.closing(), || drop(process.close())));
    }
    table.row("close → a tokio task is awake (Notify)", median(ours), median(theirs), 1.1);
}
