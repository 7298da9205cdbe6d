//! Programs of the operating system as units of a manager.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use procession::Process;
use procession_runnable::{command, run_in};
use procession_supervisor::{Backoff, Manager, MemoryTable, Policy, Restart, State, Unit};
use procession_tests::LIMIT;
use rustix::process::{Pid, Signal, kill_process};

/// A file to which each run of the program appends its process id.
struct Runs(PathBuf);

impl Runs {
    fn new(name: &str) -> Self {
        let name = format!("procession-commands-{name}-{}", std::process::id());
        let numbers = Self(std::env::temp_dir().join(name));
        let _absent = std::fs::remove_file(&numbers.0);
        numbers
    }

    /// Waits for the run with this index, and returns its process id.
    #[track_caller]
    fn wait_for(&self, run: usize) -> Pid {
        let end = Instant::now() + LIMIT;
        loop {
            let text = std::fs::read_to_string(&self.0).unwrap_or_default();
            let lines: Vec<_> = text.split_inclusive('\n').collect();
            if let Some(line) = lines.get(run).and_then(|line| line.strip_suffix('\n')) {
                return line.parse().ok().and_then(Pid::from_raw).unwrap();
            }
            assert!(Instant::now() < end, "run {run} did not start: {text:?}");
            std::thread::yield_now();
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _absent = std::fs::remove_file(&self.0);
    }
}

fn is_alive(number: Pid) -> bool {
    Path::new(&format!("/proc/{}", number.as_raw_nonzero())).exists()
}

/// U1, U2: a program that is killed from outside is restarted, one that ignores its stop is killed after its unit's
/// grace, and two runs never overlap. When the manager has stopped, no program is left.
#[test]
fn a_manager_restarts_programs() {
    let numbers = Runs::new("restarts");
    let script = "trap '' TERM; echo $$ >> \"$0\"; while :; do sleep 0.01; done";
    let stubborn = command("sh").args(["-c", script]).arg(&numbers.0).runnable();
    let table = MemoryTable::new();
    table.insert("stubborn", Unit::new(stubborn).restart(Restart::Permanent));
    let policy = Policy::new()
        .grace(Duration::from_millis(20))
        .backoff(Backoff::new(Duration::ZERO, Duration::from_secs(30)));
    let manager = Manager::builder(table).policy(policy).build();
    let app = Process::new();
    let (units, runs) = (manager.clone(), &numbers);
    let last = block_on(run_in(&app, &manager.runnable(), |_| async move {
        let first = runs.wait_for(0);
        kill_process(first, Signal::KILL)?;
        let second = runs.wait_for(1);
        assert!(!is_alive(first));
        units.restart("stubborn").await?;
        runs.wait_for(2);
        assert!(!is_alive(second));
        assert_eq!(units.list()[0].state, State::Running);
        procession::ok()
    }));
    last.unwrap();
    assert!(!is_alive(numbers.wait_for(2)));
}
