//! The timeline as an SVG picture.
//!
//! The file contains no script, link, external reference, `foreignObject` or `style` attribute. Every text of a user's
//! goes through `escape` of the core when it is recorded and through [`Markup`] when it is written.
//!
//! *It has at most 2 MiB*, because it has at most [`ROWS`] rows, and the texts of a row have limits: 200 characters for
//! a path, 120 for a name, 300 for an error.

use std::io::{self, Write};

use super::critical::{Critical, Hop, Span, Step, Waits, critical_path, is_critical, steps};
use super::recording::{EdgeKind, Life, Recording};
use super::rows::{Content, Row, Tree, folded};
use super::scale::{LEFT, RIGHT, Scale};
use super::segments::{Bounds, Kind, Segment, segments};
use super::style::{DEFINITIONS, STYLE};
use super::words::{self, cut_in_the_middle, micros};
use crate::markup::Markup;
use procession::support::text::{Count, Span as Set};

/// The maximum number of rows.
pub(crate) const ROWS: usize = 200;

/// The maximum number of arrows for explicit edges.
const EXPLICIT: usize = 100;

const WIDTH: usize = 1400;
const ROW: usize = 20;

/// The first row begins here; below the last one is the legend.
const TOP: usize = 112;
const BOTTOM: usize = 28;

/// The left edge of the labels, and the maximum number of characters of one.
const MARGIN: f64 = 16.0;
const LABEL: usize = 44;
const INDENT: f64 = 10.0;
const LEVELS: usize = 8;

/// The maximum number of steps of the critical path whose numbers are written behind one row.
const NUMBERS: usize = 3;

/// Labels of marks that are closer than this are on two lines.
const MARK: f64 = 90.0;

/// Writes the picture.
pub(crate) fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let waits = Waits::of(recording);
    let Critical { spans, hops } = critical_path(recording, &waits);
    let rows = folded(recording, &Tree::of(recording), &spans, ROWS);
    let picture = Picture {
        recording,
        steps: steps(&spans),
        scale: Scale::of(recording),
        waits,
        spans,
        hops,
        places: places(recording, &rows),
        rows,
        out,
    };
    picture.write()
}

/// The row of each process that has one.
fn places(recording: &Recording, rows: &[Row]) -> Vec<Option<usize>> {
    let mut places = vec![None; recording.lives.len()];
    for (place, row) in rows.iter().enumerate() {
        if let Content::Process(process) = row.content {
            places[process as usize] = Some(place);
        }
    }
    places
}

struct Picture<'a> {
    recording: &'a Recording,
    waits: Waits,
    spans: Vec<Span>,
    hops: Vec<Hop>,
    steps: Vec<Step>,
    scale: Scale,
    rows: Vec<Row>,
    places: Vec<Option<usize>>,
    out: &'a mut dyn Write,
}

impl Picture<'_> {
    fn write(mut self) -> io::Result<()> {
        let height = TOP + ROW * self.rows.len() + BOTTOM;
        let title = words::title(self.recording);
        let path = words::critical_path(self.recording, &self.steps);
        writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"t d\">\n\
             <title id=\"t\">{}</title>\n<desc id=\"d\">Critical path: {}</desc>\n\
             <style>{STYLE}</style>\n<defs>{DEFINITIONS}</defs>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>",
            Markup(&title),
            Markup(&path)
        )?;
        let (title, path) = (cut_in_the_middle(&title, 150), cut_in_the_middle(&path, 190));
        writeln!(
            self.out,
            "<text class=\"title\" x=\"{MARGIN}\" y=\"28\">{}</text>\n\
             <text x=\"{MARGIN}\" y=\"50\">Critical path: {}</text>",
            Markup(title),
            Markup(path)
        )?;
        self.ticks(height)?;
        self.marks(height)?;
        for place in 0..self.rows.len() {
            match self.rows[place].content {
                Content::Process(process) => self.process(place, process)?,
                Content::Fold { .. } => self.fold(place)?,
            }
        }
        self.arrows()?;
        self.legend(height)?;
        writeln!(self.out, "</svg>")
    }

    fn ticks(&mut self, height: usize) -> io::Result<()> {
        let bottom = height - BOTTOM;
        let ticks = self.scale.ticks();
        let end = self.scale.end - self.scale.zero;
        let mut last = f64::MIN;
        for tick in ticks {
            let (x, class) =
                (self.scale.x(self.scale.zero + tick), if tick == 0 { "zero" } else { "grid" });
            last = x;
            let label = if tick == 0 {
                "0".to_owned()
            } else {
                Set(std::time::Duration::from_micros(tick)).to_string()
            };
            writeln!(
                self.out,
                "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
                 <text class=\"tick dim\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
                TOP - 4,
                TOP - 8
            )?;
        }
        if RIGHT - last >= 50.0 {
            let y = TOP - 8;
            writeln!(
                self.out,
                "<text class=\"tick\" text-anchor=\"middle\" x=\"{RIGHT}\" y=\"{y}\">{}</text>",
                micros(end)
            )?;
        }
        Ok(())
    }

    fn marks(&mut self, height: usize) -> io::Result<()> {
        let bottom = height - BOTTOM;
        let mut marks: Vec<_> = self.recording.marks.iter().collect();
        marks.sort_by_key(|mark| mark.at);
        let (mut last, mut is_lower) = (f64::MIN, false);
        for mark in marks {
            let x = self.scale.x(mark.at);
            is_lower = x - last < MARK && !is_lower;
            last = x;
            let y = if is_lower { 88 } else { 74 };
            let anchor = if x > RIGHT - 60.0 { "end" } else { "middle" };
            let (kind, at) = (mark.kind.name(), self.scale.relative(mark.at));
            let lines: String = mark.lines.iter().map(|line| format!("\n{line}")).collect();
            writeln!(
                self.out,
                "<g class=\"mark\" data-kind=\"{kind}\" data-at=\"{at}\"><title>{}{}</title>\
                 <path d=\"M{x:.1} {}V93M{x:.1} {}V{bottom}\"/>\
                 <text text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y}\">{}</text></g>",
                Markup(&mark.label),
                Markup(lines),
                y + 4,
                TOP - 4,
                Markup(&mark.label)
            )?;
        }
        Ok(())
    }

    fn middle(place: usize) -> usize {
        TOP + ROW * place + ROW / 2
    }

    fn label(&mut self, place: usize, text: &str) -> io::Result<()> {
        let x = MARGIN + INDENT * self.rows[place].depth.min(LEVELS) as f64;
        let limit = LABEL.min(((LEFT - x - 8.0) / 7.0) as usize);
        let y = Self::middle(place) + 4;
        write!(
            self.out,
            "<text x=\"{x}\" y=\"{y}\">{}</text>",
            Markup(cut_in_the_middle(text, limit))
        )
    }

    fn process(&mut self, place: usize, process: u32) -> io::Result<()> {
        let recording = self.recording;
        let life = recording.life(process);
        let (key, path) = (process + 1, recording.path(process, "/"));
        let tooltip = words::tooltip(recording, &self.waits, process);
        write!(
            self.out,
            "<g class=\"row\" data-key=\"{key}\" data-path=\"{}\"><title>{}</title>",
            Markup(path),
            Markup(tooltip)
        )?;
        self.label(place, &life.label())?;
        for segment in drawn(life, recording.until, self.scale.zero) {
            self.bar(place, process, &segment)?;
        }
        self.end(place, process)?;
        writeln!(self.out, "</g>")
    }

    fn bar(&mut self, place: usize, process: u32, segment: &Segment) -> io::Result<()> {
        let Segment { kind, from, to, aborted, open } = *segment;
        let (left, right) = (self.scale.x(from), self.scale.x(to));
        // A bar that is too short to be seen is drawn all the same.
        let width = (right - left).max(0.5);
        let left = left.min(RIGHT - width);
        let height = if kind == Kind::Wait { 4 } else { 12 };
        let y = Self::middle(place) - height / 2;
        let is_critical = is_critical(&self.spans, process, segment);
        let class = |is: bool, name: &'static str| if is { name } else { "" };
        let (critical, aborted) = (class(is_critical, " critical"), class(aborted, " aborted"));
        let (open, name) = (class(open, " open"), kind.name());
        let (from, to) = (self.scale.relative(from), self.scale.relative(to));
        write!(
            self.out,
            "<rect class=\"seg {name}{aborted}{open}{critical}\" data-from=\"{from}\" data-to=\"{to}\" \
             x=\"{left:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\"/>"
        )
    }

    /// How it ended, next to the last bar.
    fn end(&mut self, place: usize, process: u32) -> io::Result<()> {
        let life = self.recording.life(process);
        let Some(bounds) = Bounds::of(life, self.recording.until) else { return Ok(()) };
        let (x, y) = (self.scale.x(bounds.closed) + 6.0, Self::middle(place) + 4);
        let numbers: String = self
            .steps
            .iter()
            .filter(|step| step.process == process)
            .map(|step| words::number(step.number))
            .take(NUMBERS)
            .collect();
        let (sign, class) = match (life.is_closed(), life.has_failed) {
            (true, true) => ('✕', " class=\"failed\""),
            (true, false) => ('○', ""),
            (false, _) => ('▶', ""),
        };
        let time = match numbers.is_empty() {
            true => String::new(),
            false => format!(" {}", micros(bounds.closed.saturating_sub(self.scale.zero))),
        };
        // At the right end, the axis tells the time.
        let time = if x + 30.0 + 7.5 * time.len() as f64 > WIDTH as f64 { "" } else { &time };
        let after = if life.is_aborted() { "▲" } else { "" };
        write!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y}\"><tspan class=\"number\">{numbers}</tspan>\
             <tspan{class}>{after}{sign}</tspan>{time}</text>"
        )
    }

    fn fold(&mut self, place: usize) -> io::Result<()> {
        let Content::Fold { label, members } = self.rows[place].content.clone() else {
            return Ok(());
        };
        let (recording, y) = (self.recording, Self::middle(place));
        let bounds = members.iter().filter_map(|&member| {
            Some((member, Bounds::of(recording.life(member), recording.until)?))
        });
        let bounds: Vec<(u32, Bounds)> = bounds.collect();
        let mut ends: Vec<u64> = bounds
            .iter()
            .filter(|(member, _)| recording.life(*member).is_closed())
            .map(|(_, own)| own.closed)
            .collect();
        ends.sort_unstable();
        write!(self.out, "<g class=\"fold\" data-count=\"{}\">", members.len())?;
        let text = self.spread(&ends, members.len());
        write!(self.out, "<title>{}\n{text}</title>", Markup(&label))?;
        self.label(place, &format!("… {label}"))?;
        let first = bounds.iter().map(|(_, own)| own.closing).min();
        let last = bounds.iter().map(|(_, own)| own.closed).max();
        let mut after = LEFT;
        if let (Some(first), Some(last)) = (first, last) {
            let (left, right) = (self.scale.x(first), self.scale.x(last));
            let width = (right - left).max(0.5);
            let left = left.min(RIGHT - width);
            write!(
                self.out,
                "<rect class=\"family\" x=\"{left:.2}\" y=\"{}\" width=\"{width:.2}\" height=\"4\"/>",
                y - 2
            )?;
            after = right;
        }
        for decile in deciles(&ends) {
            let x = self.scale.x(decile);
            let (top, bottom) = (y - 6, y + 6);
            write!(
                self.out,
                "<line class=\"decile\" x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>"
            )?;
        }
        // Next to the bar where there is more room.
        let (x, anchor) = match after < (LEFT + RIGHT) / 2.0 {
            true => (after + 8.0, "start"),
            false => (RIGHT - 8.0, "end"),
        };
        let y = if anchor == "start" { y + 4 } else { y - 4 };
        writeln!(
            self.out,
            "<text class=\"tick dim\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y}\">{text}</text></g>"
        )
    }

    /// `98 closed between 2 ms and 1.3 s, median 40 ms`
    fn spread(&self, ends: &[u64], all: usize) -> String {
        let since = |at: u64| micros(at.saturating_sub(self.scale.zero));
        let open = all - ends.len();
        let open = if open > 0 { format!("{} not closed", Count(open)) } else { String::new() };
        let (Some(&first), Some(&last)) = (ends.first(), ends.last()) else { return open };
        let (median, count) = (since(ends[ends.len() / 2]), Count(ends.len()));
        let between =
            format!("{count} closed between {} and {}, median {median}", since(first), since(last));
        if open.is_empty() { between } else { format!("{between}; {open}") }
    }

    /// Critical ones first, so that an explicit edge on the critical path has one arrow.
    fn arrows(&mut self) -> io::Result<()> {
        let mut drawn = std::collections::HashSet::new();
        for Hop { from, to, begins } in self.hops.clone() {
            drawn.insert((from, to));
            let kind = if begins { EdgeKind::CloseAfter } else { EdgeKind::WaitFor };
            self.arrow(from, to, kind, "critical")?;
        }
        let mut left = EXPLICIT;
        for edge in &self.recording.edges {
            if left == 0 {
                break;
            }
            let is_new = edge.kind.is_explicit() && drawn.insert((edge.to, edge.from));
            if is_new && self.arrow(edge.to, edge.from, edge.kind, "explicit")? {
                left -= 1;
            }
        }
        Ok(())
    }

    /// From the end of one process to the end of the wait of another, or to the beginning of its closing. Returns
    /// whether there is one.
    fn arrow(&mut self, from: u32, to: u32, kind: EdgeKind, class: &str) -> io::Result<bool> {
        let bounds = |process: u32| Bounds::of(self.recording.life(process), self.recording.until);
        let (Some(begin), Some(end)) = (self.places[from as usize], self.places[to as usize])
        else {
            return Ok(false);
        };
        let (Some(before), Some(after)) = (bounds(from), bounds(to)) else { return Ok(false) };
        let at = if kind == EdgeKind::CloseAfter { after.closing } else { after.wait };
        if !self.recording.life(from).is_closed() || at < before.closed {
            return Ok(false);
        }
        let (left, right) = (self.scale.x(before.closed), self.scale.x(at));
        let (top, bottom) = (Self::middle(begin), Self::middle(end));
        // It ends at the edge of the bar.
        let bottom = if end > begin { bottom - 6 } else { bottom + 6 };
        let at = self.scale.relative(at);
        let head = if class == "critical" { " marker-end=\"url(#head)\"" } else { "" };
        writeln!(
            self.out,
            "<path class=\"arrow {class}\" data-from-key=\"{}\" data-to-key=\"{}\" data-at=\"{at}\" \
             d=\"M{left:.1} {top}H{right:.1}V{bottom}\"{head}/>",
            from + 1,
            to + 1
        )?;
        Ok(true)
    }

    fn legend(&mut self, height: usize) -> io::Result<()> {
        let y = height - 10;
        let bars = [
            ("run", "running", 12),
            ("body", "body after it was asked to close", 12),
            ("wait", "waiting for others", 4),
            ("queue", "teardown queued", 12),
            ("teardown", "teardown", 12),
            ("aborted", "after an abort ▲", 12),
            ("critical", "critical path ①", 12),
        ];
        write!(self.out, "<g class=\"legend\">")?;
        let mut x = MARGIN;
        for (class, text, height) in bars {
            let top = y - 4 - height / 2;
            let fill = if class == "critical" { "queue critical" } else { class };
            write!(
                self.out,
                "<rect class=\"seg {fill}\" x=\"{x}\" y=\"{top}\" width=\"16\" height=\"{height}\"/>\
                 <text class=\"tick\" x=\"{}\" y=\"{y}\">{text}</text>",
                x + 22.0
            )?;
            x += 38.0 + 6.4 * text.chars().count() as f64;
        }
        write!(
            self.out,
            "<text class=\"tick\" x=\"{x}\" y=\"{y}\">┄ explicit edge   ○ closed  ✕ failed  ▶ not closed</text>"
        )?;
        writeln!(self.out, "</g>")
    }
}

/// The segments that are drawn: the time before closing first; an end of less than a millisecond is left out.
fn drawn(life: &Life, until: u64, zero: u64) -> Vec<Segment> {
    let mut drawn = segments(life, until);
    drawn.retain(|segment| segment.kind != Kind::End || segment.to - segment.from >= 1_000);
    let made = life.at(super::recording::Moment::Made).unwrap_or(0);
    let closing = Bounds::of(life, until).map_or(until.max(zero), |bounds| bounds.closing);
    if made < closing {
        let run = Segment { kind: Kind::Run, from: made, to: closing, aborted: false, open: false };
        drawn.insert(0, run);
    }
    drawn
}

/// The nine values that divide a sorted list into ten equal parts.
fn deciles(sorted: &[u64]) -> impl Iterator<Item = u64> + '_ {
    let numbers = if sorted.is_empty() { 0..0 } else { 1..10 };
    numbers.map(|number| sorted[(sorted.len() - 1) * number / 10])
}

#[cfg(test)]
#[path = "svg_tests.rs"]
mod tests;
