//! How soon a waiter is awake.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use procession::Process;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::table::{Table, median};

const ROUNDS: usize = 3_000;
/// How long a waiter has to fall asleep.
const SETTLE: Duration = Duration::from_micros(60);

/// The time from `notify` to the instant that the waiter sends.
fn awake(waiting: &Receiver<()>, woken: &Receiver<Instant>, notify: impl FnOnce()) -> Duration {
    waiting.recv().expect("a waiter");
    thread::park_timeout(SETTLE);
    let start = Instant::now();
    notify();
    woken.recv().expect("a waiter") - start
}

/// A thread that takes what it is to wait for, and tells when it was awake.
struct Waiter<T> {
    give: Sender<T>,
    waiting: Receiver<()>,
    woken: Receiver<Instant>,
}

impl<T: Send + 'static> Waiter<T> {
    fn thread(wait: impl Fn(T) + Send + 'static) -> Self {
        let (give, take) = channel();
        let (waits, waiting) = channel();
        let (wakes, woken) = channel();
        thread::spawn(move || {
            for target in take {
                if waits.send(()).is_err() {
                    return;
                }
                wait(target);
                if wakes.send(Instant::now()).is_err() {
                    return;
                }
            }
        });
        Self { give, waiting, woken }
    }

    fn round(&self, target: T, notify: impl FnOnce()) -> Duration {
        self.give.send(target).expect("a waiter");
        awake(&self.waiting, &self.woken, notify)
    }
}

pub(crate) fn thread(table: &mut Table) {
    type Flag = Arc<(Mutex<bool>, Condvar)>;
    let theirs_waits = Waiter::thread(|flag: Flag| {
        let set = flag.0.lock().expect("a flag");
        drop(flag.1.wait_while(set, |set| !*set).expect("a flag"));
    });
    let ours_waits = Waiter::thread(|closing: procession::Closing| closing.wait());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let flag = Flag::default();
        theirs.push(theirs_waits.round(flag.clone(), || {
            *flag.0.lock().expect("a flag") = true;
            flag.1.notify_all();
        }));
        let process = Process::new();
        ours.push(ours_waits.round(process.closing(), || drop(process.close())));
    }
    table.row("close → a blocked thread is awake (a Condvar)", median(ours), median(theirs), 1.1);
}

fn one_worker() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).build().expect("a runtime")
}

pub(crate) fn task(table: &mut Table) {
    let runtime = one_worker();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (waits, waiting) = channel();
    let (wakes, woken) = channel();
    let tell = move || (waits.clone(), wakes.clone());
    for _ in 0..ROUNDS {
        let notify = Arc::new(Notify::new());
        let (waits, wakes) = tell();
        let target = notify.clone();
        runtime.spawn(async move {
            let notified = target.notified();
            waits.send(()).expect("a round");
            notified.await;
            wakes.send(Instant::now()).expect("a round");
        });
        theirs.push(awake(&waiting, &woken, || notify.notify_waiters()));
        let process = Process::new();
        let (waits, wakes) = tell();
        let closing = process.closing();
        runtime.spawn(async move {
            waits.send(()).expect("a round");
            closing.await;
            wakes.send(Instant::now()).expect("a round");
        });
        ours.push(awake(&waiting, &woken, || drop(process.close())));
    }
    table.row("close → a tokio task is awake (Notify)", median(ours), median(theirs), 1.1);
}
