//! Several programs that share a table, and a log of their units that does not depend on the table.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use procession_supervisor::shared::{ManagerId, SharedTable, UnitRow, Units};
use rustix::process::Signal;

use crate::program::{Program, example};

/// The maximum time for something that must happen soon.
const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two looks at the table or at the log.
const LOOK: Duration = Duration::from_millis(10);

/// Programs that run units of one table.
pub struct Fleet {
    /// The argument `--table` of the programs.
    table: String,
    /// The argument `--ttl`.
    ttl: String,
    /// The table.
    pub units: Units,
    log: PathBuf,
    programs: HashMap<String, Program>,
    gone: Gone,
    _directory: tempfile::TempDir,
}

/// The process ids of programs that can no longer log the ends of their units, with the length of the log before that.
type Gone = HashMap<u32, usize>;

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What happened: `start`, `end` or `refused`.
    pub what: String,
    /// The key of the unit.
    pub unit: String,
    /// The token of its claim.
    pub token: u64,
    /// The process id of the program.
    pub program: u32,
    /// When it happened, in microseconds.
    pub at: u64,
}

impl Fleet {
    /// A fleet without programs, on a table that the programs find with the argument `table`.
    pub fn new(table: &str, shared: Arc<dyn SharedTable>, ttl: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            table: table.to_owned(),
            ttl: ttl.to_owned(),
            units: Units::new(shared),
            log: directory.path().join("log"),
            programs: HashMap::new(),
            gone: HashMap::new(),
            _directory: directory,
        }
    }

    /// Puts units with this spec.
    pub fn put(&self, keys: &[&str], spec: &str) {
        for key in keys {
            self.units.put(key, "fleet", spec).wait().unwrap();
        }
    }

    /// Starts a program.
    pub fn start(&mut self, name: &str) {
        let table = self.table.clone();
        self.start_on(name, &table);
    }

    /// Starts a program that finds the table with another argument.
    pub fn start_on(&mut self, name: &str, table: &str) {
        let mut command = Command::new(example("procession-examples", "fleet"));
        command.args(["run", "--name", name, "--table", table, "--ttl", &self.ttl, "--log"]);
        let errors = File::options().create(true).append(true).open(self.errors(name)).unwrap();
        command.arg(&self.log).stderr(errors);
        self.programs.insert(name.to_owned(), Program::start(&mut command));
    }

    /// The file with the standard error of all programs of this name.
    fn errors(&self, name: &str) -> PathBuf {
        self.log.with_file_name(format!("{name}.err"))
    }

    /// Kills a program with SIGKILL.
    pub fn kill(&mut self, name: &str) {
        let mut program = self.programs.remove(name).unwrap();
        self.gone.insert(program.id(), self.log().len());
        program.signal(Signal::KILL);
        program.status();
    }

    /// Stops a program with SIGSTOP.
    pub fn pause(&mut self, name: &str) {
        let program = &self.programs[name];
        self.gone.insert(program.id(), self.log().len());
        program.signal(Signal::STOP);
    }

    /// Lets a paused program go on.
    pub fn resume(&self, name: &str) {
        self.programs[name].signal(Signal::CONT);
    }

    /// Asks a program to end, and waits for that.
    pub fn end(&mut self, name: &str) {
        let mut program = self.programs.remove(name).unwrap();
        program.signal(Signal::TERM);
        let status = program.status();
        if status.code() != Some(0) {
            let errors = fs::read_to_string(self.errors(name)).unwrap_or_default();
            panic!("{name}: {status}, with {:#?} and the errors\n{errors}", program.rest());
        }
    }

    /// Asks all programs to end.
    pub fn end_all(&mut self) {
        let names: Vec<String> = self.programs.keys().cloned().collect();
        names.iter().for_each(|name| self.end(name));
    }

    /// Waits until programs have ended without being asked. Returns them as [`ended`](Self::ended) does.
    pub fn wait_for_an_end(&mut self) -> Vec<(String, Option<i32>)> {
        let limit = Instant::now() + LIMIT;
        loop {
            let ended = self.ended();
            if !ended.is_empty() {
                return ended;
            }
            assert!(Instant::now() < limit, "all programs go on");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has the program exited because units ran on after the end of their lease? From then on, it does not belong to
    /// the fleet.
    pub fn has_exited_when_stuck(&mut self, name: &str) -> bool {
        let Some(program) = self.programs.get_mut(name) else { return true };
        if !program.has_ended() {
            return false;
        }
        let (status, output) = (program.status(), program.rest());
        let errors = fs::read_to_string(self.errors(name)).unwrap_or_default();
        let is_stuck = errors.contains("fleet: the lease has ended, and ")
            && errors.contains(" ignored the abort: ");
        assert!(is_stuck && status.code() == Some(70), "{name}: {status}, {output:#?}\n{errors}");
        self.ended();
        true
    }

    /// Returns the programs that have ended without being asked, with their exit codes, and forgets them.
    pub fn ended(&mut self) -> Vec<(String, Option<i32>)> {
        let ended = self.programs.iter_mut().filter_map(|(name, program)| {
            program.has_ended().then(|| (name.clone(), program.id(), program.status().code()))
        });
        let ended: Vec<_> = ended.collect();
        let log = self.log();
        for (name, id, _) in &ended {
            self.programs.remove(name);
            // Its log says nothing about the time after its last line, or since it was paused.
            let last = log.iter().rposition(|line| line.program == *id);
            self.gone.entry(*id).or_insert(last.map_or(0, |last| last + 1));
        }
        ended.into_iter().map(|(name, _, code)| (name, code)).collect()
    }

    /// The process id of a program.
    pub fn id(&self, name: &str) -> u32 {
        self.programs[name].id()
    }

    /// Waits until `is_so` of the rows of all units.
    pub fn wait(&self, what: &str, is_so: impl Fn(&[UnitRow]) -> bool) -> Vec<UnitRow> {
        self.find(LIMIT, is_so).unwrap_or_else(|found| panic!("waited for {what}: {found}"))
    }

    /// The rows of all units as soon as `is_so` of them, or the last ones after `limit`.
    fn find(
        &self,
        limit: Duration,
        is_so: impl Fn(&[UnitRow]) -> bool,
    ) -> Result<Vec<UnitRow>, String> {
        let end = Instant::now() + limit;
        loop {
            // The database may be out of reach.
            let rows = self.units.list(None, usize::MAX >> 1).wait().unwrap_or_default();
            if is_so(&rows) {
                return Ok(rows);
            }
            if Instant::now() > end {
                let log = self.log();
                return Err(format!("{rows:#?}, {:#?}", &log[log.len().saturating_sub(30)..]));
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Waits until all units run.
    pub fn wait_until_all_run(&self) -> Vec<UnitRow> {
        self.wait("all units", |rows| {
            !rows.is_empty() && rows.iter().all(|row| row.is_ready || row.is_quarantined)
        })
    }

    /// Waits until all units run, and each program has its share.
    pub fn wait_until_shared(&self) -> Vec<UnitRow> {
        let programs = self.programs.len();
        self.wait("fair shares", |rows| {
            let fair = [rows.len() / programs, rows.len().div_ceil(programs)];
            let is_fair = |name: &String| fair.contains(&self.units_of(name).len());
            !rows.is_empty()
                && rows.iter().all(|row| row.is_ready)
                && self.programs.keys().all(is_fair)
        })
    }

    /// The id of a program's manager.
    pub fn manager(&self, name: &str) -> ManagerId {
        let managers = self.units.managers().wait().unwrap();
        managers.into_iter().find(|row| row.name == name).unwrap().manager
    }

    /// Waits until `is_so` of the log.
    pub fn wait_for_log(&self, what: &str, is_so: impl Fn(&[Line]) -> bool) {
        let end = Instant::now() + LIMIT;
        loop {
            let lines = self.log();
            if is_so(&lines) {
                return;
            }
            assert!(Instant::now() < end, "waited for {what}: {lines:#?}");
            thread::park_timeout(LOOK);
        }
    }

    /// The units that a program runs, according to the table.
    pub fn units_of(&self, name: &str) -> Vec<String> {
        let managers = self.units.managers().wait().unwrap();
        let ids: Vec<_> =
            managers.iter().filter(|row| row.name == name).map(|row| row.manager).collect();
        let rows = self.units.list(None, usize::MAX >> 1).wait().unwrap();
        let of_it = rows.into_iter().filter(|row| row.owner.is_some_and(|id| ids.contains(&id)));
        of_it.map(|row| row.key).collect()
    }

    /// The complete lines of the log so far.
    pub fn log(&self) -> Vec<Line> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(Line::parse).collect()
    }

    /// The invariant: no unit runs twice at once, except in a program that was killed or paused before, and tokens
    /// never go back.
    pub fn check(&self) {
        let (mut running, mut last) =
            (HashMap::<&str, Vec<(u64, u32, usize)>>::new(), HashMap::new());
        let log = self.log();
        for (position, line) in log.iter().enumerate() {
            let runs = running.entry(&line.unit).or_default();
            match &*line.what {
                "start" => {
                    // It was started before its program was killed or paused, and this line comes after that.
                    let is_gone = |(_, program, start): &(u64, u32, usize)| {
                        self.gone
                            .get(program)
                            .is_some_and(|gone| (*start..=position).contains(gone))
                    };
                    assert!(runs.iter().all(is_gone), "{line:?} while it runs: {runs:?}");
                    let token = last.entry(&line.unit).or_insert(line.token);
                    assert!(*token <= line.token, "{line:?} after token {token}");
                    *token = line.token;
                    runs.push((line.token, line.program, position));
                }
                "end" => {
                    let run =
                        runs.iter().position(|run| (run.0, run.1) == (line.token, line.program));
                    runs.remove(
                        run.unwrap_or_else(|| panic!("{line:?} has not started: {runs:?}")),
                    );
                }
                _ => {}
            }
        }
    }

    /// The number of starts of a unit.
    pub fn starts(&self, unit: &str) -> usize {
        self.log().iter().filter(|line| line.what == "start" && line.unit == unit).count()
    }

    /// The longest time between the end of a unit and its next start.
    pub fn longest_pause(&self) -> Duration {
        let (mut ended, mut longest) = (HashMap::new(), 0);
        for line in self.log() {
            match &*line.what {
                "start" => {
                    longest = longest
                        .max(ended.remove(&line.unit).map_or(0, |end| line.at.saturating_sub(end)))
                }
                _ => drop(ended.insert(line.unit, line.at)),
            }
        }
        Duration::from_micros(longest)
    }
}

impl Line {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        Self {
            what: words[0].to_owned(),
            unit: words[1].to_owned(),
            token: words[2].parse().unwrap(),
            program: words[3].parse().unwrap(),
            at: words[4].parse().unwrap(),
        }
    }
}

/// The current time, as in the log.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}
