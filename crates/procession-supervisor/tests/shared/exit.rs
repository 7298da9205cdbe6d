//! A program whose unit ignores its abort ends before the unit runs elsewhere.

use std::env;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use procession_runnable::body_thread;
use procession_supervisor::shared::{OnStuck, SharedManager};
use procession_supervisor::{Policy, Unit};

use crate::support::{Cut, LIMIT, started, table_of};

const CHILD: &str = "PROCESSION_TEST_EXIT";

/// Not a test of its own: the program that the test below starts.
#[test]
fn child_with_a_unit_that_ignores_its_abort() {
    let Ok(mode) = env::var(CHILD) else { return };
    let cut = Cut { table: table_of(&["good", "bad"]), is_cut: Arc::default() };
    let on_stuck = if mode == "exit" { OnStuck::ExitProgram } else { OnStuck::Report };
    let builder = SharedManager::builder(cut.clone()).ttl(Duration::from_secs(1));
    // The program must end before the lease does, which is much earlier than this.
    let abort_grace = if mode == "exit" { LIMIT * 10 } else { Duration::from_millis(100) };
    let builder = builder.policy(Policy::new().abort_grace(abort_grace));
    let manager = builder.on_stuck(on_stuck).build(|claim| {
        let is_bad = claim.key() == "bad";
        Ok(Unit::new(body_thread(move |run| {
            run.ready();
            run.closing().wait();
            if is_bad {
                loop {
                    std::thread::park();
                }
            }
        })))
    });
    let mut events = manager.events();
    let _root = started(&manager);
    cut.is_cut.store(true, Ordering::SeqCst);
    while events.recv_blocking().is_some_and(|event| event.kind() != "stuck") {}
    println!("stuck");
    std::process::exit(0);
}

fn run(mode: &str) -> (Option<i32>, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "exit::child_with_a_unit_that_ignores_its_abort", "--nocapture"]);
    let child = command.env(CHILD, mode).stdin(Stdio::null()).output().unwrap();
    let texts = [child.stdout, child.stderr].map(|text| String::from_utf8(text).unwrap());
    (child.status.code(), texts.concat())
}

#[test]
fn a_unit_that_ignores_its_abort_ends_the_program_if_that_is_wanted() {
    let begun = Instant::now();
    let (status, text) = run("exit");
    assert!(begun.elapsed() < LIMIT);
    assert_eq!(status, Some(70), "{text}");
    let expected =
        "manager: the lease has ended, and a unit has ignored the abort: `bad`. The program exits";
    assert!(text.contains(expected), "{text}");
    let (status, text) = run("report");
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("stuck"), "{text}");
}
