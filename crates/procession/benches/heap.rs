//! The heap that an open child takes, beside CancellationToken's. Run by the benchmark `peers`.

#![forbid(unsafe_code)]

use allocation_counter::measure;
use procession::Process;
use tokio_util::sync::CancellationToken;

const CHILDREN: usize = 100_000;

fn main() {
    println!("| heap for each of 100,000 open children | bytes | allocations | must be |");
    println!("|---|---|---|---|");
    let root = Process::new();
    let mut children = Vec::with_capacity(CHILDREN);
    row("procession", "≤ 128, 1", || children.extend((0..CHILDREN).map(|_| root.child())));
    let root = CancellationToken::new();
    let mut tokens = Vec::with_capacity(CHILDREN);
    row("CancellationToken", "", || tokens.extend((0..CHILDREN).map(|_| root.child_token())));
    let root = Process::new();
    let mut peak = 0;
    let churned = measure(|| {
        for _ in 0..CHILDREN {
            let child = root.child();
            peak = peak.max(child.id().to_string().len());
            child.close();
        }
    });
    println!(
        "| what 100,000 children that came and went leave | {} | {} | 0, 0 |",
        churned.bytes_current.max(0),
        churned.count_current.max(0)
    );
}

fn row(name: &str, limit: &str, make: impl FnOnce()) {
    let heap = measure(make);
    let bytes = heap.bytes_current as f64 / CHILDREN as f64;
    let allocations = heap.count_current as f64 / CHILDREN as f64;
    println!("| {name} | {bytes:.1} | {allocations:.2} | {limit} |");
}
