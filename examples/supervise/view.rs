//! [`View`]: draws the program while it runs, and prints the results at the end.

use std::env;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use procession::{BoxError, Exit, Process, Reason};
use procession_supervisor::Manager;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::widgets::{Block, Borders, Paragraph, Row as TableRow, Table};
use ratatui::{Frame, text::Line};

use crate::log::{self, Log};
use crate::terminal::{self, Screen};
use crate::units::{Row, Seconds, Shown, Units, count};

/// The time between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// The time after which everything is drawn again, even what has not changed: another program may have written to the
/// terminal.
const REPAINT: Duration = Duration::from_secs(1);

pub(crate) struct View {
    /// `None` once the thread has started.
    shown: Option<Picture>,
    thread: Option<JoinHandle<Picture>>,
    log: Log,
}

/// Everything that is drawn.
struct Picture {
    /// `None` if standard output is not a terminal.
    screen: Option<Screen>,
    has_colours: bool,
    units: Units,
    log: Log,
    began: Instant,
    /// When everything was drawn.
    painted: Instant,
    limit: Option<Duration>,
    closing_since: Option<Instant>,
    closed_in: Option<Duration>,
    reason: String,
    is_aborting: bool,
}

impl View {
    /// Takes the terminal, if standard output is one.
    pub(crate) fn new(manager: &Manager<String>, log: &Log, limit: Option<Duration>) -> Self {
        let picture = Picture {
            screen: terminal::take(),
            has_colours: env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
            units: Units::new(manager, log),
            log: log.clone(),
            began: Instant::now(),
            painted: Instant::now(),
            limit,
            closing_since: None,
            closed_in: None,
            reason: String::new(),
            is_aborting: false,
        };
        Self { shown: Some(picture), thread: None, log: log.clone() }
    }

    /// Starts the thread that draws until the program is Closed.
    pub(crate) fn show(&mut self, app: &Process) -> Result<(), BoxError> {
        let Some(mut picture) = self.shown.take() else { return Ok(()) };
        let app = app.clone();
        let draw = move || {
            picture.draw_until_closed(&app);
            picture
        };
        self.thread = Some(thread::Builder::new().name("view".to_owned()).spawn(draw)?);
        Ok(())
    }

    /// Restores the terminal. Prints the warnings again, because they have vanished with the view; then the table of
    /// the units, the error of the program if there is one, and how the program was closed.
    pub(crate) fn finish(mut self, exit: Exit) -> ExitCode {
        let picture = self.thread.take().map(JoinHandle::join).transpose();
        terminal::restore();
        self.log.warnings().iter().for_each(|line| log::say(&line.text));
        let picture = picture.map(|picture| picture.or(self.shown)).ok().flatten();
        if let Some(picture) = &picture {
            // Standard output may be closed, which is no reason to panic.
            let _ = io::stdout().write_all(picture.units.table().as_bytes());
        }
        let status = exit.code();
        let code = exit.report();
        let Some(picture) = picture else {
            // The panic hook has printed why.
            log::say("the view has failed");
            return ExitCode::FAILURE;
        };
        log::say(&format!("{}; exit status {status}", picture.ending()));
        code
    }
}

/// A view that is dropped because of an error or a panic must not keep the terminal.
impl Drop for Picture {
    fn drop(&mut self) {
        terminal::restore();
    }
}

impl Picture {
    fn draw_until_closed(&mut self, app: &Process) {
        while app.closing().wait_timeout(FRAME).is_none() {
            self.draw_next();
        }
        self.closing_since = Some(Instant::now());
        self.reason = match app.reason() {
            Some(Reason::Asked) if self.limit.is_some() => "its time was over".to_owned(),
            reason => reason.map(|reason| reason.to_string()).unwrap_or_default(),
        };
        while app.closed().wait_timeout(FRAME).is_none() {
            self.is_aborting = app.is_aborting();
            self.draw_next();
        }
        self.closed_in = self.closing_since.map(|since| since.elapsed());
        self.units.update();
    }

    fn draw_next(&mut self) {
        self.units.update();
        if let Some(mut screen) = self.screen.take() {
            if self.painted.elapsed() >= REPAINT {
                self.painted = Instant::now();
                terminal::forget_frame(&mut screen);
            }
            // An error means that the terminal is gone.
            if screen.draw(|frame| self.draw(frame)).is_ok() {
                self.screen = Some(screen);
            } else {
                terminal::restore();
            }
        }
    }

    /// From top to bottom: the program, the units, the totals, the log.
    fn draw(&self, frame: &mut Frame<'_>) {
        let rows = self.units.rows();
        let all = u16::try_from(rows.len()).unwrap_or(u16::MAX);
        // The log has the lines that the units leave, but at least one.
        let layout = Layout::vertical([
            Constraint::Length(1),
            Constraint::Max(all.saturating_add(1)),
            Constraint::Length(1),
            Constraint::Min(1),
        ]);
        let [head, table, totals, log] = layout.areas(frame.area());
        self.draw_head(frame, head);
        self.draw_units(frame, table, &rows);
        frame.render_widget(Line::from(self.units.totals()).bold(), totals);
        self.draw_log(frame, log);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let (state, colour, hint) = match self.closing_since {
            None => {
                let ran = self.began.elapsed();
                let left = self.limit.map(|limit| limit.saturating_sub(ran));
                let left = left.map(|left| format!(", closes in {}", Seconds(left)));
                let state = format!("running for {}{}", Seconds(ran), left.unwrap_or_default());
                (state, Color::Green, "Ctrl-C stops the workers")
            }
            Some(since) => {
                let word = if self.is_aborting { "aborting" } else { "closing" };
                let hint = if self.is_aborting { "Ctrl-C exits" } else { "Ctrl-C again aborts" };
                let state = format!("{word} for {} ({})", Seconds(since.elapsed()), self.reason);
                (state, Color::Magenta, hint)
            }
        };
        let title = Line::from_iter(["supervise: ".bold(), state.fg(self.colour(colour)).bold()]);
        let hint = Line::from(hint).dim().alignment(Alignment::Right);
        let [title_area, hint_area] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(26)]).areas(area);
        frame.render_widget(title, title_area);
        frame.render_widget(hint, hint_area);
    }

    fn draw_units(&self, frame: &mut Frame<'_>, area: Rect, rows: &[&Row]) {
        let height = usize::from(area.height.saturating_sub(1));
        let (shown, folded) = fold(rows, height);
        let key = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        let key = u16::try_from(key).unwrap_or(u16::MAX);
        let (state, restarts, gap) = (27, 8, 2);
        let others = key.saturating_add(state + restarts + 3 * gap);
        let error = area.width.saturating_sub(others);
        let widths = [key, state, restarts, error].map(Constraint::Length);
        let table = shown.iter().map(|row| {
            let restarts = Line::from(row.restarts.to_string()).alignment(Alignment::Right);
            let cells = [
                row.key.clone().into(),
                row.text.clone().into(),
                restarts,
                cut(&row.error, error).into(),
            ];
            TableRow::new(cells).style(self.style(row.state))
        });
        let columns = TableRow::new(["unit", "state", "restarts", "last error"]);
        let table = Table::new(table, widths).header(columns.dim()).column_spacing(gap);
        frame.render_widget(table, area);
        if !folded.is_empty() && area.height > 1 {
            let last = Rect { y: area.bottom() - 1, height: 1, ..area };
            let states = count(folded.iter().copied());
            let line = format!("… and {} more: {states}", folded.len());
            frame.render_widget(Line::from(line).dim(), last);
        }
    }

    fn draw_log(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = if area.height > 2 {
            Block::new().borders(Borders::TOP).title("latest events").dim()
        } else {
            Block::new()
        };
        let inner = block.inner(area);
        let lines = self.log.latest(usize::from(inner.height));
        let lines = lines.into_iter().map(|line| {
            let at = format!("{:7.1} s  ", line.at).dim();
            let text = cut(&line.text, inner.width.saturating_sub(11));
            let text = if line.is_warning { text.bold() } else { text.into() };
            Line::from_iter([at, text])
        });
        frame.render_widget(block, area);
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), inner);
    }

    fn style(&self, state: Shown) -> Style {
        let style = Style::new();
        match state {
            Shown::Stuck | Shown::GivenUp => style.fg(self.colour(Color::Red)).bold(),
            Shown::Stopping => style.fg(self.colour(Color::Magenta)),
            Shown::Waiting => style.fg(self.colour(Color::Yellow)),
            Shown::Starting => style.fg(self.colour(Color::Cyan)),
            Shown::Stopped => style.dim(),
            Shown::Running => style.fg(self.colour(Color::Green)),
        }
    }

    fn colour(&self, colour: Color) -> Color {
        if self.has_colours { colour } else { Color::Reset }
    }

    /// How the program was closed.
    fn ending(&self) -> String {
        let closed_in = Seconds(self.closed_in.unwrap_or_default());
        format!("closed in {closed_in} ({}): {}", self.reason, self.units.ends())
    }
}

/// Splits the rows into those that are shown, at most `height`, and those that are summarised. If there are too many,
/// one line is left for the summary, and units that are not running are shown first. The order by key stays.
fn fold<'a>(rows: &[&'a Row], height: usize) -> (Vec<&'a Row>, Vec<&'a Row>) {
    if rows.len() <= height {
        return (rows.to_vec(), Vec::new());
    }
    let mut by_state = rows.to_vec();
    // The sort is stable: within a state, the order by key stays.
    by_state.sort_by_key(|row| row.state);
    let folded = by_state.split_off(height.saturating_sub(1));
    by_state.sort_by(|one, other| one.key.cmp(&other.key));
    (by_state, folded)
}

/// The text, or as much of it as fits into this width, with an ellipsis.
fn cut(text: &str, width: u16) -> String {
    let width = usize::from(width);
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut + "…"
}
