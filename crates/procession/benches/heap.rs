//! The heap memory of an open child, compared with that of a `CancellationToken`. The benchmark `peers` runs it.

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
    let left = measure(|| {
        for _ in 0..CHILDREN {
            root.child().close();
        }
    });
    let (bytes, allocations) = (left.bytes_current, left.count_current);
    println!(
        "| left over after 100,000 have come and gone, in all | {bytes} | {allocations} | ≤ 128, 2 |"
    );
}

fn row(name: &str, limit: &str, make: impl FnOnce()) {
    let heap = measure(make);
    let bytes = heap.bytes_current as f64 / CHILDREN as f64;
    let allocations = heap.count_current as f64 / CHILDREN as f64;
    println!("| {name} | {bytes:.1} | {allocations:.2} | {limit} |");
}
