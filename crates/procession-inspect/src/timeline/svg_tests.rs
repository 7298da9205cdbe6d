//! Tests of the SVG picture. They read it with a parser.

use std::collections::HashMap;

use proptest::prelude::*;
use roxmltree::{Document, Node};

use super::super::recording::{Detail, Mark, MarkKind, Moment, Recording};
use super::super::testing::{Scene, any_recording, any_shutdown, app};
use super::{Bounds, ROWS, write};

fn svg(recording: &Recording) -> String {
    let mut svg = Vec::new();
    write(recording, &mut svg).expect("a vector takes everything");
    String::from_utf8(svg).expect("it is UTF-8")
}

fn of_class<'a>(document: &'a Document<'_>, class: &'a str) -> impl Iterator<Item = Node<'a, 'a>> {
    document.descendants().filter(move |node| {
        node.attribute("class").is_some_and(|classes| classes.split(' ').any(|own| own == class))
    })
}

fn number(node: Node<'_, '_>, name: &str) -> f64 {
    node.attribute(name).expect(name).parse().expect(name)
}

/// T1: counts, what must not occur, and that everything is inside the picture.
fn check(recording: &Recording, svg: &str) {
    let document = Document::parse(svg).expect("it is well-formed");
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(!["script", "a", "image", "use", "foreignObject"].contains(&name), "{name}");
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(
                name != "style" && !name.ends_with("href") && !name.starts_with("on"),
                "{name}"
            );
        }
    }
    let (rows, folds) = (of_class(&document, "row").count(), of_class(&document, "fold").count());
    assert!(rows + folds <= ROWS, "{rows} rows and {folds} folds");
    let folded: f64 = of_class(&document, "fold").map(|fold| number(fold, "data-count")).sum();
    assert_eq!(rows + folded as usize, recording.lives.len());
    let root = document.root_element();
    let (width, height) = (number(root, "width"), number(root, "height"));
    assert_eq!(height as usize, 140 + 20 * (rows + folds));
    for rect in document.descendants().filter(|node| node.has_tag_name("rect")) {
        let or_zero = |name| rect.attribute(name).map_or(0.0, |text| text.parse::<f64>().unwrap());
        let (x, y) = (or_zero("x"), or_zero("y"));
        let (right, bottom) = (x + number(rect, "width"), y + number(rect, "height"));
        assert!(x >= 0.0 && y >= 0.0 && right <= width && bottom <= height, "{rect:?}");
    }
    assert!(svg.len() <= 2 << 20, "{} bytes", svg.len());
}

/// T2: each arrow ends where the wait of its process ends, or where its closing begins.
fn check_arrows(recording: &Recording, svg: &str) {
    let document = Document::parse(svg).expect("it is well-formed");
    let zero = recording.zero() as i64;
    for arrow in of_class(&document, "arrow") {
        let process = number(arrow, "data-to-key") as u32 - 1;
        let bounds = Bounds::of(recording.life(process), recording.until).unwrap();
        let at = number(arrow, "data-at") as i64 + zero;
        assert!([bounds.wait as i64, bounds.closing as i64].contains(&at));
        let other = number(arrow, "data-from-key") as u32 - 1;
        let ended = Bounds::of(recording.life(other), recording.until).unwrap();
        assert!(ended.closed as i64 <= at);
    }
}

#[test]
fn the_app_is_drawn_as_specified() {
    let recording = app().recording;
    let svg = svg(&recording);
    check(&recording, &svg);
    check_arrows(&recording, &svg);
    let document = Document::parse(&svg).unwrap();
    let rows: HashMap<_, _> =
        of_class(&document, "row").map(|row| (row.attribute("data-path").unwrap(), row)).collect();
    let cache = rows["app/db/cache"];
    let bars: Vec<_> = cache
        .children()
        .filter(|node| node.has_tag_name("rect"))
        .map(|bar| {
            (bar.attribute("class").unwrap(), number(bar, "data-from"), number(bar, "data-to"))
        })
        .collect();
    let expected = [("seg run", -12_000_000.0, 0.0), ("seg body critical", 0.0, 5_020_000.0)];
    assert_eq!(bars, expected);
    assert!(cache.descendants().any(|node| node.text() == Some("①")));
    let critical: Vec<_> = of_class(&document, "arrow")
        .filter(|arrow| arrow.attribute("class").unwrap().contains("critical"))
        .map(|arrow| (number(arrow, "data-from-key"), number(arrow, "data-to-key")))
        .collect();
    assert_eq!(critical, [(3.0, 2.0), (2.0, 1.0)]);
    let explicit = of_class(&document, "explicit").filter(|node| node.has_tag_name("path")).count();
    assert_eq!(explicit, 1);
    let marks: Vec<_> = of_class(&document, "mark")
        .map(|mark| (mark.attribute("data-kind").unwrap(), number(mark, "data-at")))
        .collect();
    assert_eq!(marks, [("signal", 0.0), ("stall", 5_000_000.0)]);
    assert!(document.descendants().any(|node| {
        node.attribute("id") == Some("d")
            && node.text().unwrap().starts_with("Critical path: ① cache")
    }));
}

/// P7, as far as it is about this picture.
#[test]
fn hostile_names_are_text() {
    let names = [
        "<script>window.pwned=1</script>",
        "\"'><img src=x onerror=alert(1)>",
        "\u{1b}[2J",
        "\u{202e}",
        "]]>",
        "&#0;",
        "\u{FFFF}",
    ];
    let mut scene = Scene::new("app");
    for name in names {
        let name = procession::support::text::Escaped::name(name).to_string();
        let child = scene.child(0, &name);
        scene.closed(child, 0, 10);
        scene.lives()[child as usize].has_failed = true;
        let text: Box<str> = name.clone().into();
        let detail =
            Detail { error: Some(text.clone()), thread: Some(text.clone()), reason: Some(text) };
        scene.recording.details.insert(child, detail);
        scene.recording.marks.push(Mark {
            at: 5,
            kind: MarkKind::Stall,
            label: name.clone(),
            lines: vec![name],
        });
    }
    scene.closed(0, 0, 10);
    let svg = svg(&scene.recording);
    check(&scene.recording, &svg);
    assert!(!svg.contains("<script") && !svg.contains("<img") && !svg.contains('\u{1b}'));
    assert!(!svg.contains('\u{202e}') && !svg.contains("]]>"));
}

/// With the longest texts in every place, of characters that take the most bytes.
#[test]
fn the_picture_is_at_most_2_mib() {
    let mut scene = Scene::new(&"'".repeat(120));
    let mut last = 0;
    for _ in 0..20_000 {
        last = scene.child(last, &"'".repeat(120));
        scene.closed(last, 0, 10);
        scene.lives()[last as usize].has_failed = true;
        let long: Box<str> = "\"".repeat(300).into();
        let detail = Detail {
            error: Some(long.clone()),
            thread: Some("'".repeat(120).into()),
            reason: Some(long),
        };
        scene.recording.details.insert(last, detail);
        scene.set(last, Moment::BodyEnded, 9);
    }
    scene.closed(0, 0, 10);
    check(&scene.recording, &svg(&scene.recording));
}

#[test]
fn a_running_root_is_drawn() {
    let mut scene = Scene::new("app");
    scene.child(0, "worker");
    scene.recording.until = 5_000_000;
    let svg = svg(&scene.recording);
    check(&scene.recording, &svg);
    assert!(svg.contains("app: running"));
}

proptest! {
    #![proptest_config(super::super::testing::cases())]

    #[test]
    fn any_recording_is_drawn(recording in any_recording()) {
        check(&recording, &svg(&recording));
    }

    #[test]
    fn arrows_end_at_waits(recording in any_shutdown()) {
        let svg = svg(&recording);
        check(&recording, &svg);
        check_arrows(&recording, &svg);
    }
}
