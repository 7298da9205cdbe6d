//! The graph of a [`Snapshot`], for Mermaid and for Graphviz.

use std::fmt::{self, Display, Write};

use super::outline::{Bounds, Content, Outline};
use super::{Link, Snapshot};
use crate::value::text::{Count, Elapsed};

/// The maximum number of nodes that are drawn.
const NODES: usize = 200;

impl Snapshot {
    /// The graph as a flowchart for Mermaid: at most 200 nodes, with large families of children folded.
    ///
    /// An edge to a child is solid, to a no-wait child dashed; an edge that only waits is dotted and labelled.
    #[must_use]
    pub fn to_mermaid(&self) -> String {
        let picture = Picture::new(self);
        let mut lines = Lines::new("flowchart TD");
        if let Some(missing) = &picture.missing {
            lines.add(format_args!("%% {missing}"));
        }
        for (node, text) in picture.nodes.iter().enumerate() {
            lines.add(format_args!("n{node}[\"{}\"]", ForMermaid(text)));
        }
        for arrow in &picture.arrows {
            let Arrow { from, to, link } = arrow;
            match words(*link) {
                "" => lines.add(format_args!("n{from} --> n{to}")),
                words if link.closes() => lines.add(format_args!("n{from} -->|{words}| n{to}")),
                words => lines.add(format_args!("n{from} -.->|{words}| n{to}")),
            }
        }
        for (position, arrow) in picture.arrows.iter().enumerate() {
            if arrow.link == Link::NoWaitChild {
                lines.add(format_args!("linkStyle {position} stroke-dasharray:8 4"));
            }
        }
        lines.0
    }

    /// The graph for Graphviz: at most 200 nodes, with large families of children folded.
    ///
    /// An edge to a child is solid, to a no-wait child dashed; an edge that only waits is dotted and labelled.
    #[must_use]
    pub fn to_dot(&self) -> String {
        let picture = Picture::new(self);
        let mut lines = Lines::new("digraph {");
        if let Some(missing) = &picture.missing {
            lines.add(format_args!("label=\"{missing}\""));
        }
        lines.add(format_args!("node [shape=box]"));
        for (node, text) in picture.nodes.iter().enumerate() {
            lines.add(format_args!("n{node} [label=\"{}\"]", ForDot(text)));
        }
        for Arrow { from, to, link } in picture.arrows {
            match (words(link), link.closes()) {
                ("", _) => lines.add(format_args!("n{from} -> n{to}")),
                (words, true) => {
                    lines.add(format_args!("n{from} -> n{to} [style=dashed, label=\"{words}\"]"));
                }
                (words, false) => {
                    lines.add(format_args!("n{from} -> n{to} [style=dotted, label=\"{words}\"]"));
                }
            }
        }
        lines.0.push_str("}\n");
        lines.0
    }
}

/// The label of an edge; a child has none.
fn words(link: Link) -> &'static str {
    match link {
        Link::Child => "",
        Link::NoWaitChild => "no wait",
        Link::WaitFor | Link::Blocked => "waits for",
        Link::CloseAfter => "closes after",
        Link::SlotWait => "waits for a slot of",
        Link::ChildrenWait => "waits for the children of",
        Link::BodyWait => "waits for the body of",
    }
}

/// The content of both formats. Nodes are numbered by their position, because an id would reveal an address.
struct Picture {
    /// The texts of the nodes, which are not escaped for any format.
    nodes: Vec<String>,
    arrows: Vec<Arrow>,
    /// The text that says how many processes are shown, if some have no node.
    missing: Option<String>,
}

struct Arrow {
    from: usize,
    to: usize,
    link: Link,
}

impl Picture {
    fn new(snapshot: &Snapshot) -> Self {
        let bounds = Bounds { rows: NODES, levels: usize::MAX, references: false };
        let outline = Outline::new(snapshot, bounds);
        let mut node_of = vec![None; snapshot.processes.len()];
        let mut arrows = Vec::new();
        let nodes = outline.rows.iter().enumerate().map(|(node, row)| match &row.content {
            Content::Process(process, _) | Content::Reference(process) => {
                node_of[*process as usize] = Some(node);
                node_text(snapshot, *process)
            }
            Content::Fold(fold, _) => {
                let link = row.link.unwrap_or(Link::Child);
                arrows.push(Arrow { from: row.parent, to: node, link });
                fold.to_string()
            }
            Content::Deeper { levels, .. } => format!("… {} levels deeper", Count(*levels)),
        });
        let nodes: Vec<String> = nodes.collect();
        let ends =
            |edge: super::Edge| Some((node_of[edge.from()]?, node_of[edge.to()]?, edge.kind()));
        let between_nodes = snapshot.edges.iter().filter_map(ends);
        arrows.extend(between_nodes.map(|(from, to, link)| Arrow { from, to, link }));
        let (shown, all) = (node_of.iter().flatten().count(), node_of.len());
        let missing = format!("{} of {} processes shown", Count(shown), Count(all));
        Self { nodes, arrows, missing: (shown < all).then_some(missing) }
    }
}

fn node_text(snapshot: &Snapshot, process: u32) -> String {
    let process = snapshot.info(process);
    let state = process.state();
    let mut text = format!("{} {} {}", state.glyph(), state.word(), process.printed());
    if let Some(age) = process.closing_for() {
        text += &format!(", {}", Elapsed(age));
    }
    text
}

/// The inside of a quoted text for Mermaid. All characters except letters, digits and a few symbols are written as
/// numbers, because they could have a meaning in Mermaid or in the languages embedded in it (Markdown, HTML).
struct ForMermaid<'a>(&'a str);

impl Display for ForMermaid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                ' ' | '.' | ',' | ':' | '-' | '_' | '/' | '…' => f.write_char(character)?,
                '●' | '◐' | '▲' | '○' | '✕' => f.write_char(character)?,
                letter if letter.is_alphanumeric() => f.write_char(letter)?,
                other => write!(f, "#{};", u32::from(other))?,
            }
        }
        Ok(())
    }
}

/// The inside of a quoted text for Graphviz, which interprets escape sequences and HTML entities.
struct ForDot<'a>(&'a str);

impl Display for ForDot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '&' => f.write_str("&amp;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Lines of text. All but the first are indented.
struct Lines(String);

impl Lines {
    fn new(first: &str) -> Self {
        Self(format!("{first}\n"))
    }

    fn add(&mut self, line: fmt::Arguments<'_>) {
        self.0 += &format!("    {line}\n");
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::testing::{HOSTILE, app, hostile, stuck, wide};
    use crate::value::Link;

    #[test]
    fn a_flowchart_for_mermaid() {
        let expected = "\
flowchart TD
    %% 7 of 44 processes shown
    n0[\"◐ Closing app, 6.1 s\"]
    n1[\"◐ Closing db, 6.1 s\"]
    n2[\"◐ Closing http, 6.1 s\"]
    n3[\"◐ Closing log, 6.1 s\"]
    n4[\"◐ Closing cache, 6.1 s\"]
    n5[\"◐ Closing session-42, 6.1 s\"]
    n6[\"… and 37 more #96;session#96;: 37 Closing\"]
    n7[\"● Running server\"]
    n2 --> n6
    n0 --> n1
    n0 --> n2
    n0 --> n3
    n1 --> n4
    n2 --> n5
    n3 -.->|waits for| n7
";
        assert_eq!(stuck().snapshot().to_mermaid(), expected);
    }

    #[test]
    fn a_graph_for_graphviz() {
        let (mut scene, app) = app();
        let db = scene.closing_below(app, "db", "src/db.rs:12");
        let log = scene.running("log", "src/log.rs:17");
        scene.edge(app, Link::NoWaitChild, log);
        scene.edge(db, Link::WaitFor, log);
        scene.edge(log, Link::CloseAfter, db);
        let expected = "\
digraph {
    node [shape=box]
    n0 [label=\"◐ Closing app, 6.1 s\"]
    n1 [label=\"◐ Closing db, 6.1 s\"]
    n2 [label=\"● Running log\"]
    n0 -> n1
    n0 -> n2 [style=dashed, label=\"no wait\"]
    n1 -> n2 [style=dotted, label=\"waits for\"]
    n2 -> n1 [style=dotted, label=\"closes after\"]
}
";
        let snapshot = scene.snapshot();
        assert_eq!(snapshot.to_dot(), expected);
        let mermaid = snapshot.to_mermaid();
        assert!(mermaid.contains("    n0 -->|no wait| n2\n"));
        assert!(mermaid.ends_with("    linkStyle 1 stroke-dasharray:8 4\n"), "{mermaid}");
    }

    /// Each name stays within its quotes and on its line.
    #[test]
    fn hostile_names_are_escaped() {
        let snapshot = hostile();
        let mermaid = snapshot.to_mermaid();
        let nodes: Vec<&str> = mermaid.lines().filter(|line| line.contains('[')).collect();
        assert_eq!(nodes.len(), HOSTILE.len() + 3);
        for node in nodes {
            let text =
                node.split_once("[\"").expect("a node").1.strip_suffix("\"]").expect("its end");
            assert!(!text.contains(['"', '[', ']', '<', '>', '&', '`', '\\', '{']), "{node}");
            assert!(node.len() <= 1024);
        }
        let dot = snapshot.to_dot();
        assert_eq!(dot.lines().count(), 3 + 2 * (HOSTILE.len() + 3) - 1);
        for node in dot.lines().filter(|line| line.contains("[label=")) {
            let text = node.split_once("[label=\"").expect("a node").1;
            let text =
                text.strip_suffix("\"]").expect("its end").replace(r"\\", "").replace(r#"\""#, "");
            assert!(!text.contains(['"', '\\', '\u{1b}']), "{node}");
            assert!(!text.replace("&amp;", "").contains('&'), "{node}");
        }
        assert!(dot.contains(r"\\u{1b}[2J"));
    }

    #[test]
    fn large_families_are_folded() {
        let mermaid = wide(100_000).to_mermaid();
        assert_eq!(mermaid.lines().count(), 7);
        assert!(mermaid.contains("%% 2 of 100,001 processes shown"));
    }
}
