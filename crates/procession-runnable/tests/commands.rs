//! [`command()`]: programs of the operating system. All tests share one subscriber, which keeps their output.

#![cfg(all(unix, not(loom)))]

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use once::subscriber;
use procession::signal::{SIGUSR1, SIGUSR2};
use procession::{Error, Job, Process};
use procession_runnable::{
    Command, CommandError, NotReady, Start, command, named, run_in, run_to_end,
};
use rustix::process::{Pid, Signal, kill_process};

const LIMIT: Duration = Duration::from_secs(60);

#[track_caller]
fn shell(script: &str) -> Command {
    subscriber();
    command("sh").args(["-c", script])
}

/// A command that is ready when its script prints a process id, and a channel that receives that id.
fn prints_number(script: &str) -> (Command, Receiver<Pid>) {
    let (give, numbers) = channel();
    let is_number = move |line: &str| {
        let number = line.parse().ok().and_then(Pid::from_raw);
        number.is_some_and(|number| give.send(number).is_ok())
    };
    (shell(script).ready_when(is_number), numbers)
}

/// Is the process gone? A zombie counts as gone, because its parent is not a process of this test.
fn is_gone(number: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", number.as_raw_nonzero()));
    stat.is_err() || stat.is_ok_and(|stat| stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

/// Waits until the process is gone, which takes a moment even after SIGKILL.
#[track_caller]
fn wait_until_gone(number: Pid) {
    let end = Instant::now() + LIMIT;
    while !is_gone(number) {
        assert!(Instant::now() < end, "process {number:?} continues");
        std::thread::yield_now();
    }
}

/// Runs the command to its end.
fn ended(command: Command) -> Result<(), CommandError> {
    let outcome = block_on(run_to_end(&Process::new(), &command.runnable()));
    outcome.map_err(|error| match error {
        Error::Failed(failed) => failed.get().downcast_ref::<CommandError>().unwrap().clone(),
        other => panic!("{other}"),
    })
}

/// Closing sends a signal to the program. If the program ends by this signal, that is no failure.
#[test]
fn closing_stops_a_program() {
    // SIGINT and SIGQUIT may be ignored, if this test runs in the background of a shell.
    let stops = [
        shell("exec sleep 1000"),
        shell("exec sleep 1000").stop_signal(SIGUSR1),
        // A shell reports the signal in its exit status.
        shell("trap 'exit 143' TERM; echo 1; while :; do sleep 0.01; done").ready_when(|_| true),
        shell("trap 'exit 0' USR2; echo 1; while :; do sleep 0.01; done")
            .ready_when(|_| true)
            .stop_signal(SIGUSR2),
    ];
    for command in stops {
        block_on(run_in(&Process::new(), &command.runnable(), |_| async {})).unwrap();
    }
}

/// The exit status is the outcome, even while the program stops.
#[test]
fn the_exit_status_is_the_outcome() {
    ended(shell("exit 0")).unwrap();
    assert_eq!(ended(shell("exit 3")).unwrap_err().to_string(), "`sh` exited with status 3");
    let killed = ended(shell("kill -KILL $$")).unwrap_err();
    assert_eq!(killed.to_string(), "`sh` was ended by SIGKILL");
    // It was not asked to stop.
    let stopped = ended(shell("kill -TERM $$")).unwrap_err();
    assert_eq!(stopped.to_string(), "`sh` was ended by SIGTERM");
    let missing = ended(command("/no/such\u{1b}program")).unwrap_err();
    assert_eq!(missing.to_string(), "cannot start `/no/such\\u{1b}program`");
    let CommandError::Start { source, .. } = missing else { panic!() };
    assert_eq!(source.kind(), io::ErrorKind::NotFound);
    let nowhere = ended(shell("exit 0").current_dir("/no/such/folder")).unwrap_err();
    assert_eq!(nowhere.to_string(), "cannot start `sh` in `/no/such/folder`");

    let fails = shell("trap 'exit 7' TERM; echo 1; while :; do sleep 0.01; done");
    let fails = named("fails", fails.ready_when(|_| true).runnable());
    let error = block_on(run_in(&Process::new(), &fails, |_| async {})).unwrap_err();
    let error = error.with_causes().to_string();
    assert_eq!(error, "process `fails` failed: `sh` exited with status 7");
}

/// An abort kills a program that ignores the signal; its process is Closed only once the program has gone, and no
/// zombie is left. A killed program may go at once or a moment later, so the test kills many of them.
#[test]
fn an_abort_kills_a_program() {
    let app = Process::new();
    let script = "trap '' TERM; echo $$; while :; do sleep 0.01; done";
    let (stubborn, numbers) = prints_number(script);
    let stubborn = stubborn.runnable();
    for round in 0..50 {
        let (start, readiness) = Start::under(&app);
        let process = stubborn.start(start).unwrap();
        block_on(readiness).unwrap();
        let number = numbers.recv().unwrap();
        process.close();
        if round == 0 {
            assert!(process.closed().wait_timeout(Duration::from_millis(50)).is_none());
        }
        process.abort();
        assert!(matches!(process.closed().wait(), Err(Error::Aborted(_))));
        // Not even as a zombie.
        let path = format!("/proc/{}", number.as_raw_nonzero());
        assert!(std::fs::exists(path).is_ok_and(|exists| !exists));
    }
}

/// The programs that a command has started end with it: when it is asked to stop, when it is aborted, and when it ends.
#[test]
fn the_whole_group_ends() {
    for abort in [false, true] {
        let (command, numbers) = prints_number("sleep 1000 & echo $!; wait");
        let app = Process::new();
        let aborted = app.clone();
        let ended = block_on(run_in(&app, &command.runnable(), |_| async move {
            if abort {
                drop(aborted.abort());
            }
        }));
        assert!(abort || ended.is_ok(), "{ended:?}");
        wait_until_gone(numbers.recv().unwrap());
    }
    let (command, numbers) = prints_number("sleep 1000 & echo $!");
    ended(command).unwrap();
    wait_until_gone(numbers.recv().unwrap());
}

/// A program that leaves the group is out of reach, but does not delay the end of the run by keeping the output open.
#[test]
fn an_open_output_delays_nothing() {
    let script = "setsid sh -c 'echo $$; exec sleep 1000' & wait_for=$!; sleep 0.1";
    let (command, numbers) = prints_number(script);
    ended(command).unwrap();
    let number = numbers.recv().unwrap();
    assert!(!is_gone(number));
    kill_process(number, Signal::KILL).unwrap();
}

/// If a program ends before it is ready, its start has failed. If a run is closed before its first poll, its program is
/// not started.
#[test]
fn starts_that_fail() {
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let early = shell("echo something else").ready_when(|line| line == "ready").runnable();
    let process = early.start(start).unwrap();
    assert!(matches!(block_on(readiness), Err(NotReady::Ended(_))));
    process.closed().wait().unwrap();

    app.close();
    let (start, readiness) = Start::under(&app);
    if let Ok(process) = command("/no/such/program").runnable().start(start) {
        process.closed().wait().unwrap();
    }
    assert!(block_on(readiness).is_err());
}

/// Every line is an event, in order for each stream: the last one without a line feed, long ones in parts, with control
/// characters escaped.
#[test]
fn output_is_recorded() {
    let script = "echo first; echo wrong >&2; printf 'a\\tb\\033[2J\\377\\r\\n'; \
                  printf 'xxxxx'; sleep 0.1; head -c 20000 /dev/zero | tr '\\0' '\\011'; printf 'é%.0s' 5 5 5; \
                  head -c 9000 /dev/zero | sed 's/\\x00/é/g'; printf end";
    let prints = named("prints", shell(script).runnable());
    let app = Process::builder().name("app").build().unwrap();
    block_on(run_to_end(&app, &prints)).unwrap();
    let text = subscriber().text();
    let of_this: Vec<_> = text.lines().filter(|line| line.contains("app/prints")).collect();
    let of = |stream: &str| -> Vec<String> {
        let of_stream =
            of_this.iter().filter(|line| line.contains(&format!("stream=\"{stream}\"")));
        let message = |line: &&&str| {
            let (_, line) = line.split_once("procession::command: ").unwrap();
            line.split(" process=").next().unwrap().to_owned()
        };
        of_stream.map(|line| message(&line)).collect()
    };
    let stdout = of("stdout");
    assert_eq!(stdout[..2], ["first", "a    b\\u{1b}[2J\u{fffd}"]);
    let long = stdout[2..].concat();
    let expected = format!("xxxxx{}{}end", "    ".repeat(20_000), "é".repeat(9_003));
    assert!(stdout.len() >= 5 && long == expected, "{} parts, {} bytes", stdout.len(), long.len());
    assert_eq!(of("stderr"), ["wrong"]);
}

/// The settings reach the program.
#[test]
fn settings() {
    let script = "test \"$A\" = b && test -z \"$B\" && test \"$(pwd)\" = / && test \"$0\" = name";
    let command = shell(script).arg("name").env("A", "b").current_dir("/").configure(|command| {
        command.env("B", "");
    });
    ended(command.clone()).unwrap();
    assert!(ended(command.env_remove("A")).is_err());
}

/// The signal comes from elsewhere, and the process above the command is closed only afterwards.
#[test]
fn a_signal_to_both_programs_is_no_failure() {
    let (command, number) = prints_number("echo $$; exec sleep 1000");
    let app = Process::new();
    let (start, readiness) = Start::under(&app);
    let process = command.runnable().start(start).unwrap();
    block_on(readiness).unwrap();
    kill_process(number.recv().unwrap(), Signal::TERM).unwrap();
    app.close();
    process.closed().wait().unwrap();
}

/// A stop signal that does not exist is an error, and the program is not started.
#[test]
fn a_signal_that_does_not_exist() {
    let (command, number) = prints_number("echo $$; exec sleep 1000");
    let runnable = command.stop_signal(12345).runnable();
    let error = block_on(run_in(&Process::new(), &runnable, |_| async {})).unwrap_err();
    let text = error.with_causes().to_string();
    assert!(text.contains("with signal 12345: there is no such signal"), "{text}");
    drop(runnable);
    assert!(number.recv().is_err());
}

/// The program ends even if its parent's executor runs nothing any more.
#[test]
fn a_blocked_executor_does_not_keep_a_program_alive() {
    let app = Process::builder().spawner(|job: Job| std::mem::forget(job)).build().unwrap();
    for abort in [false, true] {
        let (command, number) = prints_number("echo $$; exec sleep 1000");
        let (start, readiness) = Start::under(&app);
        let process = command.runnable().start(start).unwrap();
        block_on(readiness).unwrap();
        if abort {
            process.abort()
        } else {
            process.close()
        };
        assert_eq!(process.closed().wait().is_err(), abort);
        assert!(is_gone(number.recv().unwrap()));
    }
}

/// A line that is incomplete when the run is aborted is not lost.
#[test]
fn an_abort_keeps_an_incomplete_line() {
    let script = "printf 'last words'; echo ready >&2; exec sleep 1000";
    let prints = named("interrupted", shell(script).ready_when(|line| line == "ready").runnable());
    let app = Process::builder().name("app").build().unwrap();
    let (start, readiness) = Start::under(&app);
    let process = prints.start(start).unwrap();
    block_on(readiness).unwrap();
    process.abort();
    process.closed().wait().unwrap_err();
    let text = subscriber().text();
    assert!(text.lines().any(|line| line.contains("last words") && line.contains("interrupted")));
}

/// A program that never stops printing can still be closed, and delays nothing else.
#[test]
fn a_flood_of_output() {
    let flood = shell("while :; do echo flood; done").ready_when(|line| line == "flood").runnable();
    let app = Process::new();
    let ended =
        block_on(run_in(&app, &flood, |p| async move { p.spawn(|_| async {})?.closed().await }));
    ended.unwrap();
}

mod once {
    use super::*;

    /// The text of all events.
    #[derive(Clone, Default)]
    pub(super) struct Recorded(Arc<parking_lot::Mutex<Vec<u8>>>);

    impl Recorded {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl Write for Recorded {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // The flood of output would use up the memory.
            if !bytes.windows(5).any(|part| part == b"flood") {
                self.0.lock().extend_from_slice(bytes);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn subscriber() -> &'static Recorded {
        static RECORDED: std::sync::OnceLock<Recorded> = std::sync::OnceLock::new();
        RECORDED.get_or_init(|| {
            let recorded = Recorded::default();
            let writer = recorded.clone();
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
            recorded
        })
    }
}
