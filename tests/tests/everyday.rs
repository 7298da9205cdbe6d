//! Everyday calls: weak references, guards, waiters with timeouts, the count of children.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use procession::{Error, Process, Reason};
use procession_tests::{LIMIT, closing, ends_well, in_time, outcome};

/// I8: a weak reference is not a handle. It can be upgraded as long as anything still refers to the process.
#[test]
fn a_weak_reference_keeps_nothing_open() {
    let process = Process::new();
    let weak = process.downgrade();
    let handle = weak.upgrade().unwrap();
    assert_eq!(handle, process);
    drop(process);
    assert!(!handle.is_closing(), "the upgraded handle owns the process");

    let closed = handle.closed();
    drop(handle);
    outcome(&closed).unwrap();
    let late = weak.upgrade().unwrap();
    assert!(late.is_closed());
    assert_eq!(late.reason(), Some(Reason::Dropped));
    drop((late, closed));
    assert_eq!(weak.upgrade(), None);
    assert_eq!(format!("{weak:?}"), "WeakProcess(None)");
}

/// An open parent keeps its child, so a weak reference to the child can be upgraded. Dropping the handle that it yields
/// changes nothing.
#[test]
fn a_weak_reference_to_a_child_can_be_upgraded() {
    let parent = Process::new();
    let weak = parent.child().downgrade();
    drop(weak.upgrade().unwrap());
    let child = weak.upgrade().unwrap();
    assert!(!child.is_closing());
    drop(child);
    parent.close_blocking().unwrap();
    assert_eq!(weak.upgrade(), None, "a closed parent has let go of its children");
}

/// I8: handles to a process are counted even while a parent owns it. When the parent has let go, dropping the last of
/// them closes the process.
#[test]
fn the_last_upgraded_handle_closes_after_the_parent_has_let_go() {
    let (parent, process) = (Process::new(), Process::new());
    parent.add_child(&process).unwrap();
    let weak = process.downgrade();
    drop(process);
    drop(weak.upgrade().unwrap());
    let again = weak.upgrade().unwrap();
    assert!(!again.is_closing());
    parent.close_blocking().unwrap();
    assert!(again.is_closed());
}

/// Weak references compare by identity, even when the process is gone.
#[test]
fn weak_references_are_equal_by_identity() {
    let (one, other) = (Process::new(), Process::new());
    let weak = [one.downgrade(), one.clone().downgrade(), other.downgrade()];
    let set: HashSet<_> = weak.iter().cloned().collect();
    assert_eq!(set.len(), 2);
    drop((one, other));
    assert_eq!(weak[0], weak[1]);
    assert_ne!(weak[0], weak[2]);
    assert!(set.contains(&weak[2]));
}

/// A guard that is disarmed gives its process back, and does nothing when it is dropped.
#[test]
fn a_disarmed_guard_does_nothing() {
    let process = Process::new();
    let guard = process.clone().close_on_drop();
    let aborting = process.clone().abort_on_drop();
    assert_eq!(aborting.process(), &process);
    assert_eq!(guard.disarm(), process);
    assert_eq!(aborting.disarm(), process);
    assert!(!process.is_closing());

    // The disarmed guard held the last handle.
    let guard = process.abort_on_drop();
    let closed = guard.process().closed();
    drop(guard.disarm());
    outcome(&closed).unwrap();
}

/// The guard of `abort_on_drop` aborts its process when it is dropped, even if the process is already Closing.
#[test]
fn a_dropped_guard_aborts() {
    let process = Process::new();
    drop(process.clone().abort_on_drop());
    assert!(process.is_aborting());
    ends_well(&process);

    let (process, gate) = closing();
    let guard = process.clone().abort_on_drop();
    assert!(!process.is_aborting());
    drop(guard);
    assert!(process.is_aborting());
    gate.close();
    ends_well(&process);
    drop(Process::background().clone().abort_on_drop());
    assert!(!Process::background().is_closing());
}

/// A waker that counts its calls.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// A waiter whose timeout ends yields `None`, and not before that time.
#[test]
fn a_timeout_yields_none_and_not_too_early() {
    const SHORT: Duration = Duration::from_millis(5);
    let (process, gate) = closing();
    let running = Process::new();
    let start = Instant::now();
    assert_eq!(block_on(running.closing().timeout(SHORT)), None);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(block_on(process.aborting().timeout(SHORT)), None);
    assert!(block_on(process.closed().timeout(SHORT)).is_none());
    assert!(start.elapsed() >= 3 * SHORT);
    assert!(block_on(process.closed().timeout(Duration::ZERO)).is_none());
    gate.close();
    ends_well(&process);
}

/// A moment that comes before the timeout ends, or that is already past, yields the value of the waiter.
#[test]
fn a_moment_in_time_yields_its_value() {
    let failing = Process::with_teardown(|| Err("no flush"));
    let process = failing.clone();
    let waiter = in_time(move || {
        let closing = process.closing().timeout(LIMIT);
        let aborting = process.aborting().timeout(LIMIT);
        let closed = process.close().timeout(LIMIT);
        (block_on(closed), block_on(closing), block_on(aborting))
    });
    assert!(matches!(waiter, (Some(Err(Error::Failed(_))), Some(()), Some(false))));
    // The moment is past, so a timeout of zero suffices.
    assert_eq!(block_on(failing.closing().timeout(Duration::ZERO)), Some(()));

    let process = Process::new();
    process.abort();
    assert_eq!(block_on(process.aborting().timeout(Duration::ZERO)), Some(true));
    let background = block_on(Process::background().closed().timeout(LIMIT));
    assert!(matches!(background, Some(Err(Error::Background))));
}

/// A timeout that is longer than a clock can measure never ends.
#[test]
fn the_longest_timeout_never_ends() {
    let process = Process::new();
    let mut closing = process.closing().timeout(Duration::MAX);
    assert!(poll(&mut closing, Waker::noop()).is_pending());
    let waiter = std::thread::spawn(move || block_on(closing));
    process.close();
    assert_eq!(waiter.join().unwrap(), Some(()));
}

/// I9: a dropped timeout leaves no waker behind, neither in the process nor on the deadline thread.
#[test]
fn a_dropped_timeout_leaves_nothing_behind() {
    let process = Process::new();
    let woken = Arc::<Woken>::default();
    let waker = Waker::from(woken.clone());
    let mut timeout = process.closing().timeout(LIMIT);
    assert!(poll(&mut timeout, &waker).is_pending());
    drop(timeout);
    drop(waker);
    assert_eq!(Arc::strong_count(&woken), 1);
    process.close();
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
}

/// Each form of `aborting` tells an abort from a process that became Closed without one.
#[test]
fn aborting_yields_whether_the_process_was_aborted() {
    let (aborted, closed) = (Process::new(), Process::new());
    let waiters = [aborted.aborting(), closed.aborting()];
    assert_eq!(waiters[0].wait_timeout(Duration::ZERO), None);
    aborted.abort();
    closed.close();
    assert_eq!(waiters.each_ref().map(|waiter| waiter.wait()), [true, false]);
    let past = Instant::now();
    assert_eq!(
        waiters.each_ref().map(|waiter| waiter.wait_deadline(past)),
        [Some(true), Some(false)]
    );
    assert_eq!(waiters.map(block_on), [true, false]);
}

/// `child_count` counts the children that are not Closed, including no-wait children, and nothing else.
#[test]
fn child_count_counts_open_children() {
    let (process, gate) = (Process::new(), Process::new());
    assert_eq!(process.child_count(), 0);
    let children = [(); 3].map(|()| process.child());
    let _grandchild = children[0].child();
    let no_wait = Process::new();
    process.add_child_no_wait(&no_wait).unwrap();
    process.wait_for(&gate).unwrap();
    assert_eq!(process.child_count(), 4);

    // A child that is Closing is open.
    children[0].wait_for(&gate).unwrap();
    children[0].close();
    children[1].close_blocking().unwrap();
    no_wait.close_blocking().unwrap();
    assert_eq!(process.child_count(), 2);
    process.close();
    assert_eq!(process.child_count(), 1);
    // A child that is added late closes at once, but may stay in the list of its Closing parent for a while.
    assert!(process.child().is_closed());
    assert_eq!(process.child_count(), 1);
    gate.close();
    ends_well(&process);
    assert_eq!(process.child_count(), 0);
}

/// The site is the place of the call, and code of others calls a function that is passed as a value.
#[test]
fn a_function_value_does_not_record_the_line_where_it_is_named() {
    let parents = [Process::new(), Process::new()];
    let pointer: fn(&Process) -> Process = Process::child;
    let is_of = |children: Vec<Process>, file: &str| {
        assert!(children.iter().all(|child| child.site().file().contains(file)), "{children:?}");
    };
    is_of(parents.iter().map(Process::child).collect(), "core/src");
    is_of(parents.iter().map(pointer).collect(), "crates/procession/src");
    is_of(parents.iter().map(|parent| parent.child()).collect(), file!());
}
