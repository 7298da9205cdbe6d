//! The screen of the supervise example: while it runs, while it closes, and after it has ended.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::process::Command;

use procession_tests::program::example;
use procession_tests::screen::{Screen, Terminal};

const SMALL: (u16, u16) = (24, 80);
const LARGE: (u16, u16) = (45, 150);
const SIZES: [(u16, u16); 2] = [SMALL, LARGE];

const CTRL_C: &str = "\u{3}";

/// The states that a row may show, some of them followed by a time.
const STATES: [&str; 11] = [
    "loading",
    "starting",
    "running for ",
    "waiting",
    "stopping, abort in ",
    "stopping, aborted ",
    "aborted",
    "ended",
    "given up",
    "stopped",
    "stuck",
];

fn start(arguments: &[&str], size: (u16, u16)) -> Terminal {
    start_with(arguments, &[], size)
}

fn start_with(arguments: &[&str], variables: &[(&str, &str)], size: (u16, u16)) -> Terminal {
    let program = example("procession-examples", "supervise");
    Terminal::start(&program, arguments, variables, size)
}

/// The view, read from a screen on which every line was found in its place.
#[derive(Debug)]
struct View {
    head: String,
    rows: Vec<Row>,
    /// The number of units that are not shown.
    folded: usize,
    totals: BTreeMap<String, usize>,
    log: Vec<String>,
}

#[derive(Debug)]
struct Row {
    key: String,
    state: String,
    restarts: usize,
    error: String,
}

impl View {
    /// Reads the whole screen. Anything that does not belong there is an error, for example a line that something else
    /// has written, or the rest of an old line.
    fn read(screen: &Screen) -> Result<Self, String> {
        if !screen.is_alternate || screen.has_cursor {
            return Err("the view is not shown".to_owned());
        }
        let mut lines = screen.lines.iter().map(String::as_str).peekable();
        let head = lines.next().unwrap_or_default();
        if !head.starts_with("supervise: ") || !head.contains("Ctrl-C") {
            return Err(format!("this is no head: {head}"));
        }
        let columns: Vec<_> = lines.next().unwrap_or_default().split_whitespace().collect();
        if columns != ["unit", "state", "restarts", "last", "error"] {
            return Err(format!("these are no columns: {columns:?}"));
        }
        let mut rows = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("worker ")) {
            rows.push(Row::read(line)?);
        }
        if !rows.is_sorted_by(|one, other| one.key < other.key) {
            return Err("the rows are not sorted, or one is there twice".to_owned());
        }
        let folded = match lines.next_if(|line| line.starts_with("… and ")) {
            Some(line) => number_before(line, " more: ", "… and ")?,
            None => 0,
        };
        let totals = lines.next().unwrap_or_default();
        let (states, restarts) =
            totals.split_once("; ").ok_or_else(|| format!("these are no totals: {totals}"))?;
        let mut totals = BTreeMap::new();
        for part in states.split(", ") {
            let (count, state) = part.split_once(' ').unwrap_or_default();
            totals.insert(state.to_owned(), count.parse().map_err(|_| format!("totals: {part}"))?);
        }
        let restarts = number_before(restarts, " restart", "")?;
        let shown: usize = rows.iter().map(|row| row.restarts).sum();
        if folded == 0 && restarts != shown {
            return Err(format!("{restarts} restarts in the totals, {shown} in the rows"));
        }
        lines.next_if(|line| line.starts_with("latest events──"));
        let log: Vec<_> = lines.map(str::to_owned).collect();
        let (log, blank) = log.split_at(log.iter().take_while(|line| !line.is_empty()).count());
        let is_entry = |line: &&String| {
            let entry = line.trim_start().split_once(" s  ");
            entry.is_some_and(|(at, text)| at.parse::<f32>().is_ok() && !text.is_empty())
        };
        if let Some(line) = log.iter().find(|line| !is_entry(line)) {
            return Err(format!("this is no line of the log: {line}"));
        }
        if let Some(line) = blank.iter().find(|line| !line.is_empty()) {
            return Err(format!("this is below the log: {line}"));
        }
        Ok(Self { head: head.to_owned(), rows, folded, totals, log: log.to_vec() })
    }

    /// The same as [`read`](Self::read), for a view that shows each of the workers.
    fn read_all(screen: &Screen, workers: usize) -> Result<Self, String> {
        let view = Self::read(screen)?;
        let keys: Vec<_> = view.rows.iter().map(|row| row.key.clone()).collect();
        let expected: Vec<_> = (1..=workers).map(|number| format!("worker {number:02}")).collect();
        if keys != expected || view.folded != 0 || view.totals.values().sum::<usize>() != workers {
            return Err(format!("not all {workers} workers are shown: {view:#?}"));
        }
        for (state, count) in &view.totals {
            let shown = view.rows.iter().filter(|row| row.total() == state).count();
            if shown != *count {
                return Err(format!("{count} {state} in the totals, {shown} in the rows"));
            }
        }
        Ok(view)
    }

    fn restarts(&self) -> usize {
        self.rows.iter().map(|row| row.restarts).sum()
    }

    fn row(&self, key: &str) -> &Row {
        self.rows.iter().find(|row| row.key == key).unwrap()
    }
}

impl Row {
    fn read(line: &str) -> Result<Self, String> {
        let wrong = || format!("this is no row: {line}");
        let cell = |from: usize, to: usize| {
            let cell: String = line.chars().skip(from).take(to - from).collect();
            cell
        };
        // The columns, and the gaps between them.
        let (key, state, restarts, error) =
            (cell(0, 9), cell(11, 38), cell(40, 48), cell(50, usize::MAX));
        let gaps = [cell(9, 11), cell(38, 40), cell(48, 50)];
        let state = state.trim_end().to_owned();
        let is_state = STATES.iter().any(|known| state.starts_with(known));
        let is_error = ["", "failed: ", "panicked: ", "was aborted"];
        let is_error = is_error.iter().any(|known| match *known {
            "" => error.is_empty(),
            known => error.starts_with(known),
        });
        if gaps.iter().any(|gap| !gap.trim().is_empty()) || !is_state || !is_error {
            return Err(wrong());
        }
        let restarts = restarts.trim().parse().map_err(|_| wrong())?;
        Ok(Self { key, state, restarts, error })
    }

    /// The word that the totals have for the state.
    fn total(&self) -> &str {
        match self.state.split([' ', ',']).next().unwrap_or_default() {
            "loading" => "starting",
            "given" => "given up",
            "ended" | "aborted" => "stopped",
            word => word,
        }
    }

    /// The seconds that are left.
    fn left(&self, before: &str) -> Option<f32> {
        self.state.strip_prefix(before)?.strip_suffix(" s")?.parse().ok()
    }
}

fn number_before(line: &str, after: &str, before: &str) -> Result<usize, String> {
    let number = line.strip_prefix(before).and_then(|line| line.split_once(after));
    let number = number.and_then(|(number, _)| number.parse().ok());
    number.ok_or_else(|| format!("no number in: {line}"))
}

/// Accepts a condition; otherwise the error says what is missing.
fn require(condition: bool, missing: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(missing.to_owned()) }
}

/// Waits for the end. Checks that the terminal is as it was before, with only the table and the last line on it, which
/// it returns.
#[track_caller]
fn assert_end(terminal: &mut Terminal, status: u32) -> Vec<String> {
    assert_eq!(terminal.status(), status, "{}", terminal.screen().lines.join("\n"));
    let left = terminal.wait_for(|screen| {
        require(!screen.is_alternate, "the alternate screen is still shown")?;
        require(screen.has_cursor, "the cursor is hidden")?;
        require(screen.lines.iter().any(|line| line.contains("exit")), "how it ended is not shown")
    });
    assert!(terminal.echoes());
    left.lines.into_iter().filter(|line| !line.is_empty()).collect()
}

/// Checks the table, which says how each worker ended, and the last line.
#[track_caller]
fn assert_final_table(lines: &[String], workers: usize, status: u32) {
    let (table, last) = lines.split_at(1 + workers);
    assert!(table[0].starts_with("unit "), "{lines:#?}");
    for (number, line) in (1..).zip(&table[1..]) {
        assert!(line.starts_with(&format!("worker {number:02}  ")), "{lines:#?}");
        let ends = ["  stopped", "  aborted", "  given up"];
        assert!(ends.iter().any(|end| line.ends_with(end)), "{line}");
    }
    // The line may be wider than the screen.
    let last = last.concat();
    assert!(last.starts_with("supervise: closed in "), "{lines:#?}");
    assert!(last.ends_with(&format!("exit status {status}")), "{lines:#?}");
    assert_eq!(last.matches("supervise:").count(), 1, "{lines:#?}");
}

#[test]
fn each_worker_has_one_row_and_nothing_stale_remains() {
    for size in SIZES {
        let terminal = start(&[], size);
        // Waits for many changes, and so for many lines in the log.
        let screen = terminal.wait_for(|screen| {
            let view = View::read_all(screen, 20)?;
            require(view.restarts() >= 5, "no 5 restarts")?;
            require(view.log.len() == usize::from(size.0).saturating_sub(24).max(1), "a short log")
        });
        let view = View::read_all(&screen, 20).unwrap();
        assert!(view.head.starts_with("supervise: running for "), "{}", view.head);
        assert!(view.rows.iter().any(|row| row.error.starts_with("failed: ")), "{view:#?}");
    }
}

#[test]
fn the_back_off_counts_down() {
    for size in SIZES {
        let terminal = start(&[], size);
        let waiting = "waiting, starts in ";
        // The unit fails soon after each start.
        let left = |screen: &Screen| {
            let view = View::read_all(screen, 20)?;
            view.row("worker 05").left(waiting).ok_or("worker 05 is not waiting".to_owned())
        };
        let first = terminal.wait_for(|screen| require(left(screen)? > 0.5, "nearly over"));
        let first = left(&first).unwrap();
        terminal.wait_for(|screen| require(left(screen)? < first, "it does not count down"));
        terminal.wait_for(|screen| {
            let view = View::read_all(screen, 20)?;
            require(view.row("worker 05").state.starts_with("running"), "it is not started again")
        });
    }
}

#[test]
fn a_unit_that_fails_again_and_again_is_given_up() {
    let terminal = start(&[], SMALL);
    terminal.wait_for(|screen| {
        let view = View::read_all(screen, 20)?;
        require(view.totals.contains_key("given up"), "none is given up")?;
        require(view.row("worker 05").state == "given up", "worker 05 is not given up")
    });
}

#[test]
fn ctrl_c_shows_the_grace_and_leaves_a_clean_screen() {
    for size in SIZES {
        let mut terminal = start(&[], size);
        terminal.wait_for(|screen| {
            require(View::read_all(screen, 20)?.log.len() == 1 || size == LARGE, "no log")
        });
        // Ctrl-C is not echoed.
        terminal.type_in("\r\rwhat a nice view\r");
        terminal.type_in(CTRL_C);
        let abort_in = "stopping, abort in ";
        let left = |screen: &Screen| {
            let view = View::read_all(screen, 20)?;
            require(view.head.contains("supervise: closing for "), "it is not closing")?;
            require(view.head.contains("(SIGINT)"), "the reason is missing")?;
            require(view.head.ends_with("Ctrl-C again aborts"), "the hint is missing")?;
            // This worker hangs.
            view.row("worker 10").left(abort_in).ok_or("worker 10 is not stopping".to_owned())
        };
        let first = terminal.wait_for(|screen| left(screen).map(drop));
        let first = left(&first).unwrap();
        terminal.wait_for(|screen| require(left(screen)? < first, "it does not count down"));
        let lines = assert_end(&mut terminal, 0);
        assert_final_table(&lines, 20, 0);
    }
}

#[test]
fn it_ends_after_the_given_time() {
    for size in SIZES {
        let mut terminal = start(&["--for", "2s"], size);
        terminal.wait_for(|screen| {
            require(View::read_all(screen, 20)?.head.contains(", closes in "), "no countdown")
        });
        let lines = assert_end(&mut terminal, 0);
        assert_final_table(&lines, 20, 0);
        assert!(lines[21].contains("(its time was over)"), "{lines:#?}");
    }
}

/// The third Ctrl-C ends the program at once, with no time to clean up. A worker ignores its abort, so that the program
/// may still be open by then.
#[test]
fn further_signals_restore_the_terminal() {
    let mut terminal = start(&["--stuck"], SMALL);
    terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
    terminal.type_in(CTRL_C);
    terminal.wait_for(|screen| {
        require(View::read_all(screen, 20)?.head.contains("supervise: closing"), "not closing")
    });
    terminal.type_in(CTRL_C);
    terminal.wait_for(|screen| {
        let is_aborting = |view: View| view.head.contains("supervise: aborting");
        let is_over = || !screen.is_alternate;
        require(is_over() || View::read_all(screen, 20).is_ok_and(is_aborting), "not aborting")
    });
    terminal.type_in(CTRL_C);
    assert_end(&mut terminal, 130);
}

/// A worker ignores its abort. The program names it and fails.
#[test]
fn a_stuck_worker_is_named() {
    let mut terminal = start(&["--stuck"], SMALL);
    terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
    terminal.type_in(CTRL_C);
    terminal.wait_for(|screen| {
        let view = View::read_all(screen, 20)?;
        let state = &view.row("worker 20").state;
        require(state.starts_with("stopping, aborted "), "it is not aborted")
    });
    let lines = assert_end(&mut terminal, 1);
    let line = lines.iter().find(|line| line.starts_with("worker 20 ")).unwrap();
    assert!(line.ends_with("  stuck"), "{lines:#?}");
    let lines = lines.concat();
    assert!(lines.contains("`worker 20`"), "{lines}");
    assert!(lines.ends_with("1 stuck; exit status 1"), "{lines}");
}

#[test]
fn more_units_than_rows() {
    for (size, workers) in [(SMALL, 60), (LARGE, 90), ((10, 60), 20)] {
        let count = workers.to_string();
        let terminal = start(&["--workers", &count], size);
        terminal.wait_for(|screen| {
            let view = View::read(screen)?;
            require(view.rows.len() + view.folded == workers, "some are missing")?;
            require(view.folded > 0, "nothing is folded")?;
            require(view.totals.values().sum::<usize>() == workers, "the totals are wrong")?;
            require(view.totals.get("waiting").is_some_and(|count| *count > 0), "none is waiting")?;
            // The rows of units that are not running are always shown.
            let hidden = workers - view.totals["running"];
            let shown = view.rows.iter().filter(|row| row.total() != "running").count();
            require(shown == hidden.min(view.rows.len()), "not those that need attention")
        });
    }
}

#[test]
fn a_resize_leaves_nothing_behind() {
    let mut terminal = start(&[], LARGE);
    for (lines, columns) in [LARGE, SMALL, (30, 100), (24, 79), LARGE, SMALL] {
        terminal.resize(lines, columns);
        terminal.wait_for(|screen| {
            require(screen.lines.len() == usize::from(lines), "not resized")?;
            let view = View::read_all(screen, 20)?;
            // The log fills the rest of the screen.
            require(usize::from(lines) >= 23 + view.log.len(), "the log is too long")
        });
    }
    terminal.resize(12, 80);
    terminal.wait_for(|screen| {
        let view = View::read(screen)?;
        require(view.rows.len() + view.folded == 20 && view.folded > 0, "it is not folded")
    });
    terminal.resize(24, 80);
    terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
    terminal.type_in(CTRL_C);
    assert_final_table(&assert_end(&mut terminal, 0), 20, 0);
}

/// A line of another program is gone when everything is drawn again.
#[test]
fn what_another_program_writes_does_not_stay() {
    let mut terminal = start(&[], SMALL);
    terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
    for line in [1, 3, 12, 24] {
        terminal.write_from_elsewhere(&format!("\x1b[{line};9HSTRAY LINE from another program"));
    }
    terminal.wait_for(|screen| {
        require(screen.lines.iter().any(|line| line.contains("STRAY")), "it is not written")
    });
    terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
    terminal.type_in(CTRL_C);
    assert_final_table(&assert_end(&mut terminal, 0), 20, 0);
}

/// Does the output have sequences that set a colour?
fn has_colour(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.split("\u{1b}[").skip(1).any(|sequence| {
        let Some((numbers, _)) = sequence.split_once('m') else { return false };
        let mut numbers = numbers.split(';').map(str::parse::<u32>);
        numbers.any(|number| matches!(number, Ok(30..=38 | 40..=48 | 90..=107)))
    })
}

#[test]
fn colours_follow_the_environment() {
    let terminal = start(&[], SMALL);
    let screen = terminal.wait_for(|screen| {
        require(View::read_all(screen, 20)?.row("worker 10").total() == "running", "not running")
    });
    assert!(has_colour(&screen.formatted[2 + 9]));
    for variable in [("NO_COLOR", "1"), ("NO_COLOR", "")] {
        let mut terminal = start_with(&[], &[variable], SMALL);
        terminal.wait_for(|screen| View::read_all(screen, 20).map(drop));
        terminal.type_in(CTRL_C);
        assert_end(&mut terminal, 0);
        assert_eq!(has_colour(&terminal.bytes()), variable.1.is_empty(), "{variable:?}");
    }
}

/// With a pipe, events go to standard error and the table to standard output, without control characters.
#[test]
fn a_pipe_gets_plain_lines() {
    let mut command = Command::new(example("procession-examples", "supervise"));
    let output = command.args(["--for", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let printed = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!(printed.clone() + &errors).contains(|c: char| c.is_control() && c != '\n'));
    let (first, table) = printed.split_once('\n').unwrap();
    assert_eq!(first, "20 workers are running");
    let errors: Vec<_> = errors.lines().collect();
    assert!(errors.iter().all(|line| line.starts_with("supervise: ")), "{errors:#?}");
    assert!(errors.contains(&"supervise: worker 10 is ready"), "{errors:#?}");
    let mut lines: Vec<_> = table.lines().map(str::to_owned).collect();
    lines.push(errors.last().unwrap().to_string());
    assert_final_table(&lines, 20, 0);
}

/// A terminal whose cursor cannot be moved gets plain lines too.
#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let mut terminal = start_with(&["--for", "1s"], &[("TERM", "dumb")], LARGE);
    assert_eq!(terminal.status(), 0);
    terminal.wait_for(|screen| {
        require(screen.lines.iter().any(|line| line.contains("exit status 0")), "not at its end")
    });
    assert!(!terminal.bytes().contains(&0x1b));
}
