//! A graph as an SVG picture.
//!
//! The picture contains no script, link, reference to something outside, `foreignObject` or `style` attribute. Every
//! text of the program goes through `escape` of the core and then through [`Markup`]. *It has at most 1 MiB*, because
//! the numbers of its nodes and edges and the lengths of its texts are limited.
//!
//! As a part of the page, it uses the style of the page; a file has a `<style>` of its own with the same rules.

use std::fmt::{self, Write};

use procession::Link;
use procession::support::text::{Count, Escaped};

use super::layout::{HEIGHT, Places, Point, WIDTH};
use super::picked::{Content, Edge, Node, Picked};
use crate::markup::Markup;
use crate::page::headers::STYLE;
use crate::page::model::{Fold, Process};
use crate::page::row::{fold_content, process_content};
use crate::page::sample::Sample;
use crate::page::{table, words};

/// The style of a graph.
const RULES: &str = include_str!("graph.css");

/// Around the nodes.
const MARGIN: f64 = 20.0;
const TOP: f64 = 74.0;

/// On the right of the nodes, for edges that go around them.
const AROUND: f64 = 70.0;

/// The width of the title and the legend.
const MINIMUM: f64 = 700.0;

/// The number of characters of a line in a node.
const LABEL: usize = 26;
const LINE: usize = 34;

pub(super) fn svg(sample: &Sample, picked: &Picked<'_>, places: &Places, is_file: bool) -> String {
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _written = Picture { sample, picked, places, is_file }.write(&mut svg);
    svg
}

/// The rules that a file needs: the colours, which are the first lines of the style of the page, and those of a graph.
pub(super) fn file_style() -> String {
    let colours = STYLE.lines().take_while(|line| line.contains(":root{"));
    colours.chain(RULES.lines()).collect()
}

struct Picture<'a> {
    sample: &'a Sample,
    picked: &'a Picked<'a>,
    places: &'a Places,
    is_file: bool,
}

impl Picture<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        let points = || self.places.corners.iter().chain(self.places.bends.iter().flatten());
        let right = points().map(|point| point.0).fold(0.0, f64::max) + WIDTH + AROUND;
        let bottom = points().map(|point| point.1).fold(0.0, f64::max) + HEIGHT;
        let width = (right + 2.0 * MARGIN).max(MINIMUM);
        let height = TOP + bottom + MARGIN;
        let title = self.title();
        writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" role=\"img\" aria-labelledby=\"graph-title\" \
             width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">"
        )?;
        writeln!(out, "<title id=\"graph-title\">{}</title>", Markup(&title))?;
        if self.is_file {
            writeln!(out, "<style>{}</style>", file_style())?;
        }
        out.push_str("<defs>");
        for (id, class) in [("graph-head", "head"), ("graph-chain-head", "chain-head")] {
            write!(
                out,
                "<marker id=\"{id}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"10\" markerHeight=\"10\" \
                 markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"{class}\" d=\"M0 0L10 5L0 10z\"/></marker>"
            )?;
        }
        writeln!(out, "</defs>")?;
        writeln!(out, "<rect class=\"paper\" width=\"{width:.0}\" height=\"{height:.0}\"/>")?;
        writeln!(out, "<text class=\"title\" x=\"{MARGIN}\" y=\"28\">{}</text>", Markup(&title))?;
        writeln!(
            out,
            "<text class=\"dim legend\" x=\"{MARGIN}\" y=\"50\">{}</text>",
            self.legend()
        )?;
        // Words are drawn over edges, and nodes over both.
        let mut words = String::new();
        for number in 0..self.picked.edges.len() {
            self.edge(out, &mut words, number)?;
        }
        out.push_str(&words);
        for number in 0..self.picked.nodes.len() {
            self.node(out, number)?;
        }
        writeln!(out, "</svg>")
    }

    fn title(&self) -> String {
        let sample = self.sample;
        let path = Escaped { text: &self.path(self.picked.top), limit: 60 }.to_string();
        let mut title = format!("{path}, {} UTC", sample.at.clock());
        let shown = self.picked.nodes.len();
        if shown < self.picked.total {
            let (shown, total) = (Count(shown), Count(self.picked.total));
            title += &format!(" · {shown} of {total} shown");
        }
        if self.picked.edges_more > 0 {
            title += &format!(" · {} more edges", Count(self.picked.edges_more));
        }
        title
    }

    fn legend(&self) -> &'static str {
        match self.places.is_list {
            false => {
                "━ keeps it from closing · ─ closes and waits · ╌ closes, does not wait · ┄▸ waits for, does not close"
            }
            true => "There was no time for a layout, so this is a list.",
        }
    }

    fn edge(&self, out: &mut String, words: &mut String, number: usize) -> fmt::Result {
        let edge = &self.picked.edges[number];
        let (path, word_at) = self.path_of(number);
        let (kind, word) = match edge.link {
            Link::Child => ("child", None),
            Link::NoWaitChild => ("no_wait", None),
            Link::CloseAfter => ("wait", Some("closes after")),
            _ => ("wait", Some("waits for")),
        };
        let chain = if edge.blocks { " chain" } else { "" };
        let head = match (word, edge.blocks) {
            (None, _) => "",
            (Some(_), false) => " marker-end=\"url(#graph-head)\"",
            (Some(_), true) => " marker-end=\"url(#graph-chain-head)\"",
        };
        let (from, to) = (self.key(edge.from), self.key(edge.to));
        writeln!(
            out,
            "<path class=\"edge {kind}{chain}\" data-from-key=\"{from}\" data-to-key=\"{to}\" d=\"{path}\"{head}/>"
        )?;
        if let Some(word) = word {
            let (x, y) = (word_at.0, word_at.1 - 4.0);
            let anchor = "text-anchor=\"middle\"";
            writeln!(
                words,
                "<text class=\"word\" {anchor} x=\"{x:.1}\" y=\"{y:.1}\">{word}</text>"
            )?;
        }
        Ok(())
    }

    /// The line of an edge, and the place of its word.
    fn path_of(&self, number: usize) -> (String, Point) {
        let Edge { from, to, .. } = self.picked.edges[number];
        let middle = HEIGHT / 2.0;
        let (start, end) = (self.corner(from), self.corner(to));
        let (start_y, end_y) = (start.1 + middle, end.1 + middle);
        if self.places.is_list && self.picked.nodes[to].from == from {
            let x = start.0 + 12.0;
            let path = format!("M{x:.1} {:.1}V{end_y:.1}H{:.1}", start.1 + HEIGHT, end.0);
            return (path, (x + 20.0, end_y));
        }
        if self.places.is_list || start.0 == end.0 {
            // Around the nodes between them.
            let (start_x, end_x) = (start.0 + WIDTH, end.0 + WIDTH);
            let x = start_x.max(end_x) + 16.0 + 6.0 * (number % 8) as f64;
            let path = format!("M{start_x:.1} {start_y:.1}H{x:.1}V{end_y:.1}H{end_x:.1}");
            return (path, (x, start_y));
        }
        // From one side of a node, or of a place between nodes, to the nearer side of the next one.
        let bends = self.places.bends.get(number).map_or(&[][..], |bends| bends);
        let stops = bends.iter().map(|bend| (bend.0 + MARGIN, bend.1 + TOP));
        let stops: Vec<Point> = stops.chain([(end.0, end_y)]).collect();
        let is_forward = start.0 < end.0;
        let near = |x: f64| if is_forward { x } else { x + WIDTH };
        let far = |x: f64| if is_forward { x + WIDTH } else { x };
        let mut at = (far(start.0), start_y);
        let mut path = format!("M{:.1} {:.1}", at.0, at.1);
        let mut word_at = at;
        for (position, stop) in stops.iter().enumerate() {
            let (x, y) = (near(stop.0), stop.1);
            let bend = (at.0 + x) / 2.0;
            path += &format!("C{bend:.1} {:.1} {bend:.1} {y:.1} {x:.1} {y:.1}", at.1);
            if position == 0 {
                word_at = (bend, (at.1 + y) / 2.0);
            }
            at = (far(stop.0), y);
            if position + 1 < stops.len() {
                path += &format!("H{:.1}", at.0);
            }
        }
        (path, word_at)
    }

    /// The upper left corner of a node in the picture.
    fn corner(&self, node: usize) -> Point {
        let (x, y) = self.places.corners[node];
        (x + MARGIN, y + TOP)
    }

    /// `app › db › cache`
    fn path(&self, process: u32) -> String {
        self.sample.path(process as usize, " › ")
    }

    /// The key of a process, or nothing for a fold.
    fn key(&self, node: usize) -> String {
        match self.picked.nodes[node].content {
            Content::Process(process) => self.sample.key(process).to_string(),
            Content::Fold(..) => String::new(),
        }
    }

    fn node(&self, out: &mut String, number: usize) -> fmt::Result {
        let node = &self.picked.nodes[number];
        let (x, y) = self.corner(number);
        let Drawn { mut class, label, line, tip, count } = self.drawn(node);
        if number == 0 {
            class += " top";
        }
        let key = self.key(number);
        let of = if key.is_empty() {
            format!("data-count=\"{count}\"")
        } else {
            format!("data-key=\"{key}\"")
        };
        write!(out, "<g class=\"node {class}\" {of}><title>{}</title>", Markup(tip))?;
        write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"5\"/>"
        )?;
        if class.contains("blocks") {
            write!(
                out,
                "<rect class=\"mark\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"5\" height=\"{HEIGHT}\"/>"
            )?;
        }
        // An inner picture cuts off what is too wide for the node.
        let (left, inside) = (x + 12.0, WIDTH - 20.0);
        write!(out, "<svg x=\"{left:.1}\" y=\"{y:.1}\" width=\"{inside}\" height=\"{HEIGHT}\">")?;
        write!(out, "<text class=\"label\" x=\"0\" y=\"17\">{}</text>", Markup(label))?;
        write!(out, "<text class=\"phase\" x=\"0\" y=\"34\">{}</text>", Markup(line))?;
        writeln!(out, "</svg></g>")
    }

    fn drawn(&self, node: &Node<'_>) -> Drawn {
        match &node.content {
            Content::Process(process) => {
                of_process(&process_content(self.sample, *process), &self.path(*process))
            }
            Content::Fold(family, link) => of_fold(&fold_content(self.sample, family, *link)),
        }
    }
}

/// What is drawn for a node.
struct Drawn {
    class: String,
    label: String,
    line: String,
    tip: String,
    count: usize,
}

/// `◐ Closing 12.4 s`, or `● Running · async body, 3 h 05 min`.
fn of_process(row: &Process, path: &str) -> Drawn {
    let (phase, words) = table::phase_words(row);
    let mut line = words.to_owned();
    if let Some(age) = row.for_ms {
        line += &format!(" {}", words::age(age));
    }
    let mut tip = format!("{path}\n{line}");
    let work = row.work.as_ref().map(table::work_text);
    if let Some(work) = &work {
        tip += &format!("\n{work}");
    }
    match (row.blocks, row.for_ms, work) {
        (true, ..) => line += " ■ BLOCKS",
        (false, None, Some(work)) => line += &format!(" · {work}"),
        _ => {}
    }
    if let Some(error) = &row.error {
        tip += &format!("\nfailed: {error}");
    }
    tip += &format!("\nmade at {}", row.site);
    // The end of a site says more than its beginning.
    let label = if row.named { &row.label } else { table::brief(&row.site) };
    Drawn {
        class: format!("{phase}{}", if row.blocks { " blocks" } else { "" }),
        label: Escaped { text: label, limit: LABEL }.to_string(),
        line: Escaped { text: &line, limit: LINE }.to_string(),
        tip,
        count: 1,
    }
}

fn of_fold(fold: &Fold) -> Drawn {
    let mut line = table::fold_counts(fold);
    if let Some(age) = fold.for_ms {
        line += &format!(", {}", words::age(age));
    }
    Drawn {
        class: "fold".to_owned(),
        label: Escaped { text: &fold.text, limit: LABEL }.to_string(),
        line: Escaped { text: &line, limit: LINE }.to_string(),
        tip: format!("{}\n{line}", fold.text),
        count: fold.count,
    }
}
