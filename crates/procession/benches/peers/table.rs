//! The table that is printed.

use std::time::Duration;

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

pub(crate) struct Table {
    /// The number of rows whose ratio exceeds the limit.
    missed: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        println!("| work, ns for each | procession | peer | ratio | must be |");
        println!("|---|---|---|---|---|");
        Self { missed: 0 }
    }

    /// Prints a row. `limit` is the maximum ratio.
    pub(crate) fn row(&mut self, work: &str, ours: Duration, theirs: Duration, limit: f64) {
        let ratio = ours.as_nanos() as f64 / theirs.as_nanos() as f64;
        let mark = if ratio <= limit { "" } else { " (missed)" };
        self.missed += usize::from(ratio > limit);
        let (ours, theirs) = (ours.as_nanos(), theirs.as_nanos());
        println!("| {work} | {ours} | {theirs} | {ratio:.2} | ≤ {limit}{mark} |");
    }

    pub(crate) fn print(&self) {
        println!("\n{} rows missed\n", self.missed);
    }
}
