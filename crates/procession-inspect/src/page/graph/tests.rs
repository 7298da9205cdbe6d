//! The pictures of real processes.

use std::time::Duration;

use procession::Process;
use roxmltree::{Document, Node};

use super::layout::{list, places};
use super::picked::{EDGES, NODES, Picked};
use super::{draw, page, svg, unknown};
use crate::page::html::Tabs;
use crate::page::query::Query;
use crate::page::sample::Sample;
use crate::page::tests::{HOSTILE, Scene, end, stuck};

/// The picture as a file, after checks that hold for all of them.
fn drawn(sample: &Sample, top: u32) -> String {
    let file = svg(sample, top, true);
    check(&file);
    // The part of a page differs in its style only.
    let part = svg(sample, top, false);
    assert!(!part.contains("<style") && file.contains("<style>:root{"));
    file
}

fn check(file: &str) {
    assert!(file.len() <= 1 << 20, "{} bytes", file.len());
    let document = Document::parse(file).unwrap();
    let root = document.root_element();
    let size = |name: &str| -> f64 { root.attribute(name).unwrap().parse().unwrap() };
    let nodes: Vec<Node<'_, '_>> = of_class(&document, "node");
    assert!(nodes.len() <= NODES, "{} nodes", nodes.len());
    assert!(of_class(&document, "edge").len() <= EDGES);
    for node in nodes {
        let rect = node.children().find(|child| child.has_tag_name("rect")).unwrap();
        let number = |name: &str| -> f64 { rect.attribute(name).unwrap().parse().unwrap() };
        assert!(number("x") >= 0.0 && number("x") + number("width") <= size("width"));
        assert!(number("y") >= 0.0 && number("y") + number("height") <= size("height"));
    }
    for element in document.descendants().filter(Node::is_element) {
        let name = element.tag_name().name();
        assert!(
            ["svg", "title", "style", "defs", "marker", "path", "rect", "text", "g"]
                .contains(&name),
            "{name}"
        );
        for attribute in element.attributes() {
            let name = attribute.name();
            assert!(name != "style" && name != "href" && !name.starts_with("on"), "{name}");
        }
    }
    assert!(!file.contains("<script") && !file.contains("http://www.w3.org/1999"));
    assert!(!file.contains(['\u{1b}', '\u{202e}']));
}

fn of_class<'a, 'b>(document: &'a Document<'b>, class: &str) -> Vec<Node<'a, 'b>> {
    let has = |node: &Node<'_, '_>| {
        node.attribute("class").is_some_and(|classes| classes.split(' ').any(|one| one == class))
    };
    document.descendants().filter(has).collect()
}

fn text(node: Node<'_, '_>, class: &str) -> String {
    let of = node.descendants().find(|child| child.attribute("class") == Some(class));
    of.and_then(|child| child.text()).unwrap_or_default().to_owned()
}

fn title(document: &Document<'_>) -> String {
    document.root_element().first_element_child().unwrap().text().unwrap().to_owned()
}

/// The edge between two processes: its classes.
fn edge<'a>(document: &'a Document<'_>, from: u64, to: u64) -> Option<&'a str> {
    let (from, to) = (from.to_string(), to.to_string());
    of_class(document, "edge")
        .into_iter()
        .find(|edge| {
            edge.attribute("data-from-key") == Some(&from)
                && edge.attribute("data-to-key") == Some(&to)
        })
        .and_then(|edge| edge.attribute("class"))
}

fn key(sample: &Sample, name: &str) -> u64 {
    let index = (0..).find(|&index| sample.process(index).name() == Some(name)).unwrap();
    sample.key(index)
}

#[test]
fn a_program_that_hangs_is_drawn() {
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    let mut labels: Vec<String> =
        of_class(&document, "node").into_iter().map(|node| text(node, "label")).collect();
    labels.sort();
    let expected =
        ["app", "cache", "db", "http", "log", "server", "session-0", "… and 37 more `session`"];
    assert_eq!(labels, expected);
    let key = |name: &str| key(&sample, name);
    assert_eq!(edge(&document, key("app"), key("db")), Some("edge child chain"));
    assert_eq!(edge(&document, key("db"), key("cache")), Some("edge child chain"));
    assert_eq!(edge(&document, key("log"), key("server")), Some("edge wait chain"));
    let words = of_class(&document, "word");
    assert_eq!(words.iter().filter_map(Node::text).collect::<Vec<_>>(), ["waits for"]);
    let cache = of_class(&document, "blocks");
    assert!(cache.iter().any(|node| text(*node, "phase").ends_with(" ■ BLOCKS")));
    assert!(title(&document).starts_with("app, 00:16:41 UTC"), "{}", title(&document));
    // The part below one process.
    let log = sample.index_of(key("log")).unwrap();
    let part = drawn(&sample, log);
    let document = Document::parse(&part).unwrap();
    assert_eq!(of_class(&document, "node").len(), 2);
    assert!(title(&document).starts_with("app › log, "));
    end(&scene, &kept);
}

#[test]
fn each_kind_of_edge_has_a_line_of_its_own() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let (one, other) = (scene.child(&app, "one"), scene.child(&app, "other"));
    let aside = Process::builder().name("aside").no_wait_parent(&app).build().unwrap();
    one.wait_for(&other).unwrap();
    let _unnamed = app.child();
    other.close_after(&aside).unwrap();
    // A second parent, and a ring of processes that close each other.
    one.add_child(&aside).unwrap();
    aside.add_child_no_wait(&one).unwrap();
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    let key = |name: &str| key(&sample, name);
    assert_eq!(edge(&document, key("app"), key("one")), Some("edge child"));
    assert_eq!(edge(&document, key("app"), key("aside")), Some("edge no_wait"));
    assert_eq!(edge(&document, key("one"), key("other")), Some("edge wait"));
    assert_eq!(edge(&document, key("one"), key("aside")), Some("edge child"));
    assert_eq!(edge(&document, key("aside"), key("one")), Some("edge no_wait"));
    let label = of_class(&document, "label")
        .into_iter()
        .find_map(|label| label.text().filter(|text| text.starts_with("graph/tests.rs:")));
    assert!(label.is_some(), "{file}");
    let words = of_class(&document, "word");
    let mut words: Vec<&str> = words.iter().filter_map(Node::text).collect();
    words.sort_unstable();
    assert_eq!(words, ["closes after", "waits for"]);
    app.close();
}

#[test]
fn at_most_200_nodes_are_drawn() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    // Families that are too small to be folded: 1 + 600 + 1,200 nodes.
    let word = |number: usize| {
        let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).unwrap());
        format!("{}{}", letter(number / 26), letter(number))
    };
    let mut kept = Vec::new();
    for number in 0..600 {
        let parent = scene.child(&app, &word(number));
        kept.extend(["x", "y"].map(|name| scene.child(&parent, name)));
        kept.push(parent);
    }
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    assert_eq!(of_class(&document, "node").len(), 200);
    assert_eq!(of_class(&document, "edge").len(), 199);
    assert!(title(&document).ends_with(" · 200 of 1,801 shown"), "{}", title(&document));
    // What keeps the app from closing is drawn, however far away it is.
    let above = kept.last().unwrap().clone();
    let culprit = Process::builder().name("culprit").parent(&above);
    let culprit = culprit.spawn_thread(|p| assert!(p.aborting().wait())).unwrap();
    for other in kept.iter().filter(|other| **other != above) {
        other.close_after(&culprit).unwrap();
    }
    app.close();
    let file = drawn(&scene.sample(1_000), 0);
    let document = Document::parse(&file).unwrap();
    assert_eq!(of_class(&document, "node").len(), 200);
    assert!(file.contains(">culprit</text>"));
    app.abort().wait().ok();
}

#[test]
fn a_hundred_thousand_processes_and_a_deep_chain_are_drawn() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let name = |number: usize| format!("connection {number}");
    let mut kept: Vec<Process> =
        (0..100_000).map(|number| scene.child(&app, &name(number))).collect();
    let mut above = scene.child(&app, "chain");
    for _ in 0..1_000 {
        let below = scene.child(&above, "link");
        kept.push(std::mem::replace(&mut above, below));
    }
    // One process waits for all connections.
    let waits = scene.child(&app, "waits");
    kept[..100_000].iter().for_each(|connection| waits.wait_for(connection).unwrap());
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    assert!(file.contains("… and 99,999 more"));
    assert!(title(&document).ends_with(" · 200 of 1,005 shown"), "{}", title(&document));
    assert_eq!(of_class(&document, "word").len(), 2);
    app.close_blocking().unwrap();
}

#[test]
fn hostile_names_are_only_texts() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let long = "A".repeat(1 << 20);
    let kept: Vec<Process> = HOSTILE
        .into_iter()
        .chain([&*long, ""])
        .map(|name| {
            let failing = Process::builder().name(name).parent(&app);
            failing.spawn(|p| async move { p.closing().await }).unwrap()
        })
        .collect();
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    let labels = of_class(&document, "label");
    assert!(labels.iter().any(|label| label.text() == Some("<script>window.pwned=1</s…")));
    for index in 0..sample.keys.len() {
        let view =
            Tabs { query: &Query::default(), mount: "", has_timeline: true, has_units: true };
        let page = page(&sample, u32::try_from(index).unwrap(), &view);
        assert!(!page.contains("<img") && !page.contains("<script") && !page.contains(" style="));
    }
    drop(kept);
    app.close();
}

#[test]
fn names_are_redacted() {
    let (mut scene, kept) = stuck();
    scene.texts = crate::page::texts::Texts::new(Some(std::sync::Arc::new(|_| "x".to_owned())));
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    assert!(!file.contains("cache") && !file.contains("session"), "{file}");
    end(&scene, &kept);
}

/// Without a layout, there is a list, in which nothing covers anything else.
#[test]
fn a_late_layout_is_replaced_by_a_list() {
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let picked = Picked::new(&sample, 0);
    let late = places(&picked, Duration::ZERO);
    assert!(late.is_list);
    assert_eq!(late, list(&picked));
    let mut rows: Vec<u64> = late.corners.iter().map(|(_, y)| *y as u64).collect();
    rows.sort_unstable();
    rows.dedup();
    assert_eq!(rows.len(), picked.nodes.len());
    let file = draw::svg(&sample, &picked, &late, true);
    check(&file);
    assert!(file.contains("this is a list") && file.contains("waits for"));
    end(&scene, &kept);
}

#[test]
fn no_two_nodes_cover_each_other() {
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let picked = Picked::new(&sample, 0);
    let corners = places(&picked, Duration::from_secs(60)).corners;
    for (number, one) in corners.iter().enumerate() {
        for other in &corners[number + 1..] {
            let is_apart = (one.0 - other.0).abs() >= super::layout::WIDTH
                || (one.1 - other.1).abs() >= super::layout::HEIGHT;
            assert!(is_apart, "{one:?} {other:?}");
        }
    }
    end(&scene, &kept);
}

#[test]
fn the_page_around_a_graph_needs_no_script() {
    let (mut scene, kept) = stuck();
    let sample = scene.sample(1_000);
    let query = Query::parse("root=2");
    let view = Tabs { query: &query, mount: "/inspect", has_timeline: false, has_units: false };
    let db = sample.index_of(2).unwrap();
    let shown = page(&sample, db, &view);
    for link in
        ["/inspect/graph.svg?root=2", "/inspect/process/2", "/inspect?root=2", "/inspect/graph\""]
    {
        assert!(shown.contains(&format!("href=\"{link}")), "{link}");
    }
    assert!(shown.contains("<svg ") && shown.contains("aria-current=\"page\">Graph<"));
    assert!(unknown(&sample, &view).contains("There is no such process"));
    end(&scene, &kept);
}

/// More edges than are drawn: the nodes are there all the same.
#[test]
fn a_dense_graph_is_drawn() {
    let mut scene = Scene::new();
    let app = scene.app.clone();
    let letter = |digit: usize| char::from(b'a' + u8::try_from(digit % 26).unwrap());
    let name = |number: usize| format!("{}{}", letter(number / 26), letter(number));
    let kept: Vec<Process> = (0..150).map(|number| scene.child(&app, &name(number))).collect();
    for (number, one) in kept.iter().enumerate() {
        kept[number + 1..].iter().take(20).for_each(|other| one.wait_for(other).unwrap());
    }
    let sample = scene.sample(1_000);
    let file = drawn(&sample, 0);
    let document = Document::parse(&file).unwrap();
    assert_eq!(of_class(&document, "node").len(), 151);
    assert_eq!(of_class(&document, "edge").len(), EDGES);
    assert!(title(&document).ends_with(" more edges"), "{}", title(&document));
    app.close_blocking().unwrap();
}
