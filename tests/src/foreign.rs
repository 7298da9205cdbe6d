//! Foreign code for tests to hand to the library: it calls the library, or it panics.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use procession::Process;

/// Makes every call on `process` that its own teardown, hook, waker or captured value may make.
pub fn call_everything(process: &Process) {
    let other = Process::new();
    let _ = process.add_child(&other);
    let _ = process.add_child_no_wait(&other);
    let _ = process.wait_for(&Process::new().child());
    let _ = other.wait_for(process);
    let _ = process.child();
    let _ = process.set_teardown(|| ());
    let _ = process.set_teardown_async(|| async {});
    let _ = process.spawn_thread(|_| ());
    let _ = process.spawn(|_| async {});
    let _ = process.close_when(async {});
    let _ = process.wait_for_future(async {});
    let mut context = Context::from_waker(Waker::noop());
    let _ = pin!(process.run(|_| async {})).poll(&mut context);
    let _ = pin!(process.run_until_closing(std::future::pending::<()>())).poll(&mut context);
    let _ = pin!(process.closed()).poll(&mut context);
    process.on_failure(|_, _| ());
    process.close();
    process.close_after_children();
    process.close_within(Duration::from_secs(60));
    process.child().close_within(Duration::ZERO);
    process.abort();
    let _ = (process.phase(), process.is_aborting(), process.outcome(), process.reason());
    let _ = (process.name(), process.id(), process.label(), format!("{process:?}"));
    let _ = (process.closing(), process.aborting(), format!("{:?}", process.closed()));
    let _ = Process::builder().parent(process).wait_for(&other).build();
    drop(process.clone().close_on_drop());
    drop(process.clone().abort_on_drop());
    let _ = (process.clone().close_on_drop().disarm(), process.downgrade().upgrade());
    let _ = pin!(process.closing().timeout(Duration::from_secs(60))).poll(&mut context);
    drop(process.clone());
}

/// Panics without printing anything. It does nothing on a thread that is already panicking, where Rust would abort.
pub fn panic_quietly() {
    if !thread::panicking() {
        resume_unwind(Box::new("on purpose"));
    }
}

/// A value whose drop calls the function.
#[derive(Debug)]
pub struct OnDrop<F: Fn()>(pub F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A value whose drop sends on `dropped`, and then panics.
pub fn panics_on_drop(dropped: &Sender<()>) -> impl Send + Sync + use<> {
    let dropped = dropped.clone();
    OnDrop(move || {
        let _ = dropped.send(());
        panic_quietly();
    })
}

/// Makes the closure that calls this own the value.
pub fn keep<T>(_value: &T) {}

struct OnWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// A waker that calls the function.
pub fn waker(wake: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnWake(wake)))
}

/// Waits until the thread with this name sleeps.
#[cfg(target_os = "linux")]
pub fn until_asleep(name: &str) {
    let end = std::time::Instant::now() + crate::LIMIT;
    while !is_asleep(name) {
        assert!(std::time::Instant::now() < end, "the thread `{name}` does not sleep");
        thread::yield_now();
    }
}

#[cfg(target_os = "linux")]
fn is_asleep(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        // <id> (<name>) <state> …; the file is missing if the thread has just ended.
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.contains(&format!("({name}) S"))
    })
}
