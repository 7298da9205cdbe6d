//! A program whose unit ignores its abort ends before the unit runs elsewhere.

use std::env;
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use procession::ManualClock;
use procession_runnable::body_thread;
use procession_supervisor::shared::{MemorySharedTable, OnStuck, SharedManager, SharedTable};
use procession_supervisor::{Backoff, Event, Events, Policy, Supervisor, Unit};

use crate::delegate::{Between, Held};
use crate::support::{Cut, LIMIT, started, table_of, wait_for_row};

/// Says what the child does if a unit is stuck.
const CHILD: &str = "PROCESSION_TEST_EXIT";
/// The exit status of a child that has waited in vain.
const TIMED_OUT: i32 = 3;

const TTL: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);
/// How long the lease lasts in the program: a margin of a fifth is left to the store.
const LASTS: Duration = TTL.saturating_sub(Duration::from_millis(600));

/// What the child prints, in this order.
const OTHERS_HAVE_STOPPED: &str = "the unit `good` has stopped, and the lease lasts";
const LEASE_ENDS: &str = "the lease ends now";

/// Not a test of its own: the program that the tests below start. Everything it prints goes to standard error, like the
/// last words of the manager, so the order of the lines is the order of the events.
#[test]
fn child_with_a_unit_that_ignores_its_abort() {
    let Ok(mode) = env::var(CHILD) else { return };
    thread::spawn(|| {
        thread::sleep(LIMIT * 3);
        process::exit(TIMED_OUT)
    });
    let clock = ManualClock::new();
    let table = MemorySharedTable::with_clock(clock.clone());
    for key in ["good", "bad"] {
        table.open().unwrap().put(key, "unit", "one").unwrap();
    }
    let cut = Cut { table: table.clone(), is_cut: Arc::default() };
    let (on_stuck, abort_grace) = match &*mode {
        // The program must end before the lease does, which is much earlier than this.
        "exit" | "nested" => (OnStuck::ExitProgram, LIMIT * 10),
        _ => (OnStuck::Report, Duration::ZERO),
    };
    // A set ends even if its unit does not.
    let is_nested = mode == "nested";
    let pause = Duration::from_millis(50);
    let policy = Policy::new().clock(clock.clone()).grace(LIMIT * 10).abort_grace(abort_grace);
    let policy = policy.backoff(Backoff::new(pause, pause).jitter(false));
    let builder = SharedManager::builder(cut.clone()).ttl(TTL).policy(policy).on_stuck(on_stuck);
    let manager = builder.build(move |claim| {
        let is_bad = claim.key() == "bad";
        let part = body_thread(move |run| {
            run.ready();
            run.closing().wait();
            if is_bad {
                loop {
                    thread::park();
                }
            }
        });
        // The abort at the end of the lease ends the set, but not its thread.
        let short = Policy::new().grace(LIMIT * 10).abort_grace(Duration::from_millis(30));
        let set = Supervisor::one_for_one([("part", part.clone())]).policy(short).runnable();
        Ok(Unit::new(if is_nested { set } else { part }).grace(LIMIT * 10))
    });
    let _root = started(&manager);
    for key in ["good", "bad"] {
        wait_for_row(&table, key, |row| row.is_ready);
    }
    let mut events = manager.events();
    cut.is_cut.store(true, Ordering::SeqCst);
    // With a third of the lease left, all units close.
    clock.advance(LASTS * 2 / 3 + Duration::from_millis(1));
    wait_for(&mut events, "stopped", |event| event.key().is_some_and(|key| key == "good"));
    // Nothing else happens before the lease ends, however long that takes: 20 attempts to reach the table take longer
    // than a program that has decided to exit.
    for _ in 0..20 {
        wait_for(&mut events, "table_failed", |_| true);
    }
    eprintln!("{OTHERS_HAVE_STOPPED}");
    eprintln!("{LEASE_ENDS}");
    clock.advance(LASTS / 3);
    if on_stuck == OnStuck::ExitProgram {
        loop {
            thread::park();
        }
    }
    wait_for(&mut events, "stuck", |event| event.key().is_some_and(|key| key == "bad"));
    eprintln!("the unit `bad` is stuck");
    process::exit(0);
}

/// Not a test of its own, like the one above: a program in which a lease ends late, because somebody holds a unit, and
/// the manager has started units under its next lease by then.
#[test]
fn child_with_units_of_two_leases() {
    let Ok("two leases") = env::var(CHILD).as_deref() else { return };
    let (table, held) = (table_of(&["held"]), Held::default());
    held.hold("held");
    // A unit of the lease that ends would be taken for a stuck one at once.
    let policy = Policy::new().abort_grace(Duration::ZERO);
    let builder = SharedManager::builder(Between::new(&table, held.clone())).ttl(LIMIT * 10);
    let builder = builder.policy(policy).on_stuck(OnStuck::ExitProgram).poll_every(POLL);
    let manager = builder.build(|_| {
        Ok(Unit::new(body_thread(|run| {
            run.ready();
            run.closing().wait();
        })))
    });
    let first = started(&manager);
    assert!(first.close().wait_timeout(LIMIT).is_some_and(|outcome| outcome.is_ok()));
    let mut session = table.open().unwrap();
    session.put("other", "unit", "one").unwrap();
    let second = started(&manager);
    wait_for_row(&table, "other", |row| row.is_ready);
    // Now the thread of the first lease ends, because the store refuses its writes.
    held.release("held");
    // Another unit is stopped and started again and again, which takes longer than a program that has decided to exit.
    session.put("again", "unit", "one").unwrap();
    for _ in 0..20 {
        wait_for_row(&table, "again", |row| row.is_ready);
        session.want_stop("again").unwrap();
        wait_for_row(&table, "again", |row| row.owner.is_none());
        session.want_run("again").unwrap();
    }
    second.close_blocking().unwrap();
    process::exit(0);
}

/// Waits for an event of this kind.
fn wait_for(events: &mut Events<String>, kind: &str, is_so: impl Fn(&Event<String>) -> bool) {
    while let Some(event) = events.recv_blocking() {
        if event.kind() == kind && is_so(&event) {
            return;
        }
    }
    panic!("the manager has ended");
}

/// The exit status of the child, and what it has printed.
fn run(mode: &str) -> (Option<i32>, String) {
    run_test("exit::child_with_a_unit_that_ignores_its_abort", mode)
}

fn run_test(test: &str, mode: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let child = command.env(CHILD, mode).stdin(Stdio::null()).output().unwrap();
    (child.status.code(), String::from_utf8(child.stderr).unwrap())
}

/// The positions of these texts, each of which occurs once.
#[track_caller]
fn positions<const N: usize>(text: &str, parts: [&str; N]) -> [usize; N] {
    parts.map(|part| {
        assert_eq!(text.matches(part).count(), 1, "`{part}` in {text}");
        text.find(part).unwrap()
    })
}

#[test]
fn a_unit_that_ignores_its_abort_ends_the_program_after_the_lease_and_after_all_other_units() {
    for mode in ["exit", "nested"] {
        let (status, text) = run(mode);
        assert_eq!(status, Some(70), "{mode}: {text}");
        let last_words = "manager: the lease has ended, and a unit has ignored the abort: `bad`. \
                          The program exits";
        let seen = positions(&text, [OTHERS_HAVE_STOPPED, LEASE_ENDS, last_words]);
        assert!(seen.is_sorted(), "{mode}: {text}");
    }
}

#[test]
fn a_unit_that_ignores_its_abort_is_reported_as_stuck_by_default() {
    let (status, text) = run("report");
    assert_eq!(status, Some(0), "{text}");
    let seen = positions(&text, [OTHERS_HAVE_STOPPED, LEASE_ENDS, "the unit `bad` is stuck"]);
    assert!(seen.is_sorted(), "{text}");
    assert!(!text.contains("The program exits"), "{text}");
}

/// At the end of a lease, only its own units can be stuck.
#[test]
fn the_end_of_a_lease_does_not_end_a_program_whose_units_run_under_the_next_one() {
    let (status, text) = run_test("exit::child_with_units_of_two_leases", "two leases");
    assert_eq!(status, Some(0), "{text}");
}
