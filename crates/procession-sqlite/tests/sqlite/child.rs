//! Other programs: this test binary, started again as a child that runs only [`run`].
//!
//! A child takes commands from its standard input and ends with it, so no child outlives its test.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use procession::Process;
use procession_runnable::{Start, body};
use procession_sqlite::SqliteSharedTable;
use procession_supervisor::Unit;
use procession_supervisor::shared::{ManagerId, SharedManager, SharedTable, TableError};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::resources;
use crate::world::register;

const ROLE: &str = "PROCESSION_SQLITE_TEST_ROLE";
const PATH: &str = "PROCESSION_SQLITE_TEST_PATH";
/// What the lines of a child begin with, among those of the test harness.
const SAYS: &str = "child: ";

/// Runs in a child only.
#[test]
fn run() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::env::var_os(PATH).expect("a child has a path");
    let path = Path::new(&path);
    match &*role {
        "owner" => own(path),
        "manager" => manage(path),
        "full disk" => resources::fill(path),
        "no descriptors" => resources::use_up_descriptors(path),
        role => panic!("unknown role {role}"),
    }
}

/// Tells the parent something.
pub(crate) fn say(what: impl std::fmt::Display) {
    println!("\n{SAYS}{what}");
}

/// Registers, claims all units, and does what it is told.
fn own(path: &Path) {
    let table = SqliteSharedTable::new(path).unwrap();
    let mut session = table.open().unwrap();
    let manager = register(&mut *session);
    session.claim(manager, 1000).unwrap();
    say(manager);
    let mut commands = Vec::new();
    for command in std::io::stdin().lines() {
        match &*command.unwrap() {
            "renew" => match session.renew(manager) {
                Ok(()) => say("renewed"),
                Err(TableError::Refused) => say("refused"),
                Err(error) => panic!("{error}"),
            },
            // The command outlives this program. It ends with their common input.
            "start a command" => {
                commands.push(Command::new("cat").stdout(Stdio::null()).spawn().unwrap());
                say("started");
            }
            command => panic!("unknown command {command}"),
        }
    }
    for mut command in commands {
        command.wait().unwrap();
    }
}

/// Runs a manager until its standard input ends.
fn manage(path: &Path) {
    let table = SqliteSharedTable::new(path).unwrap();
    let manager = SharedManager::builder(table).kinds(["a"]).build(|claim| {
        let key = claim.key().to_owned();
        Ok(Unit::new(body(move |run| {
            say(&key);
            async move {
                run.ready();
                run.closing().await;
            }
        })))
    });
    let root = Process::new();
    let (start, _readiness) = Start::under(&root);
    let _process = manager.runnable().start(start).unwrap();
    std::io::stdin().lines().for_each(drop);
}

/// A running child. It is killed when this value is dropped.
pub(crate) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) fn start(role: &str, path: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child::run", "--exact", "--nocapture", "--test-threads=1"]);
        command.env(ROLE, role).env(PATH, path);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines }
    }

    /// A child that owns all units, and its manager.
    pub(crate) fn owner(path: &Path) -> (Self, ManagerId) {
        let mut program = Self::start("owner", path);
        let manager = program.hear().parse().unwrap();
        (program, ManagerId::new(manager))
    }

    /// The next thing that the child says.
    pub(crate) fn hear(&mut self) -> String {
        for line in &mut self.lines {
            if let Some(said) = line.unwrap().strip_prefix(SAYS) {
                return said.to_owned();
            }
        }
        panic!("the child has ended: {:?}", self.child.wait());
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Ends its input, and waits until it has ended.
    pub(crate) fn finish(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Returns when it is paused.
    pub(crate) fn pause(&mut self) {
        self.signal(Signal::STOP);
        let (_, status) = waitpid(Some(self.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    pub(crate) fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    fn signal(&mut self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32).unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
