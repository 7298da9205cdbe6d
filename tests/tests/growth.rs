//! Memory does not grow (I12). This test has a program of its own, because it measures the memory of the whole program.

#![cfg(target_os = "linux")]

use std::time::Duration;

use futures_lite::stream;
use procession::{Inline, Limited, Periodic, Phase, Process};
use procession_tests::ends_well;

/// The memory that this program holds, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// I12: a long-lived parent does not grow as children come and go in any order. Neither do processes that wait for
/// them, a Closing parent, or the list of deadlines.
#[test]
fn a_parent_whose_children_come_and_go_does_not_grow() {
    let parent = Process::new();
    let (late, gate) = (Process::new(), Process::new());
    late.wait_for(&gate).unwrap();
    late.close();
    assert_eq!(late.phase(), Phase::Closing);
    let churn = |rounds: usize| {
        let mut open = std::collections::VecDeque::new();
        for _ in 0..rounds {
            open.push_back(parent.child());
            open.push_back(parent.child());
            let other = Process::new();
            parent.wait_for(&other).unwrap();
            late.child();
            late.wait_for(&other).unwrap();
            drop((parent.closing_token(), parent.closed_token()));
            drop(parent.on_closing(|| ()).unwrap());
            other.close();
            let hour = Duration::from_secs(3_600);
            Process::builder().parent(&parent).time_limit(hour).build().unwrap().close();
            if open.len() > 100 {
                open.pop_front().unwrap().close();
                open.pop_back().unwrap().close();
            }
        }
        open.iter().for_each(|child| drop(child.close()));
    };
    churn(20_000);
    let before = resident();
    churn(300_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 * 1024, "{grown} KiB more");

    // The same for limited and periodic children, and for futures that a process waits for.
    let inline = Process::builder().spawner(Inline).parent(&parent).build().unwrap();
    let churn = |rounds: usize| {
        for _ in 0..rounds {
            let limited = Limited::new(&inline, 1).unwrap();
            inline.wait_for_future(async {}).unwrap();
            let (tell, told) = std::sync::mpsc::channel();
            late.on_closing(move || tell.send(()).unwrap()).unwrap().detach();
            told.recv().unwrap();
            ends_well(&limited.try_spawn(|_| async {}).unwrap());
            ends_well(&Periodic::on(stream::once(())).spawn(&inline, |_| async {}).unwrap());
        }
    };
    churn(5_000);
    let before = resident();
    churn(30_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 * 1024, "{grown} KiB more");
    parent.close();
    ends_well(&parent);
    gate.close();
    ends_well(&late);
}
