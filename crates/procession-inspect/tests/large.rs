//! A timeline of very many processes. It is a program of its own, because one thread calls all hooks of a program.

#![cfg(not(loom))]

use std::time::Instant;

use procession::Process;
use procession_inspect::Timeline;
use roxmltree::Document;

fn named(name: &str, parent: &Process) -> Process {
    Process::builder().name(name).parent(parent).build().unwrap()
}

/// All processes close at once, so events may be lost. The timeline then says so.
#[test]
fn a_large_shutdown_is_drawn() {
    let app = Process::builder().name("app").build().unwrap();
    let timeline = Timeline::of(&app);
    let children = (0..100_000).map(|number| named(&format!("connection {number}"), &app));
    let children: Vec<Process> = children.collect();
    app.close_blocking().unwrap();
    let began = Instant::now();
    let svg = timeline.to_svg();
    let drawn = began.elapsed();
    let trace = timeline.to_chrome_trace();
    let written = began.elapsed() - drawn;
    let (svg_size, trace_size) = (svg.len(), trace.len());
    println!("SVG: {svg_size} bytes in {drawn:?}; trace: {trace_size} bytes in {written:?}");
    assert!(svg.contains("app: closed in"), "{}", &svg[..1_000]);
    assert!(svg.len() <= 64 << 10 && trace.len() <= 64 << 20);
    let document = Document::parse(&svg).unwrap();
    let rows = document.descendants().filter(|node| node.attribute("class") == Some("row")).count();
    assert!(rows <= 200);
    drop(children);
}
