//! The teardowns that have not begun, for the report of a program that ends without them (I2).
//!
//! They are listed like blockers, with two differences. Most of them wait for other processes, so no search for blockers
//! leads to them; their chains are the paths. And they have no age, because most of them are not even due.
//!
//! 1. Each teardown that will not run is listed or counted. *Because* it is either in the node of a process that the
//!    snapshot contains, or in a queue, and the survey and the work of the process tell these apart. A teardown that is
//!    running has begun, and is a blocker.

use super::Snapshot;
use super::blocker::{BlockerKind, Blockers};
use super::lines::Found;
use super::search::{Item, Step};
use super::{Link, index};
use crate::value::Work;

impl Snapshot {
    /// The first `limit` teardowns that have not begun, with large families folded, and the total number of them. The
    /// order is that of the processes.
    pub(crate) fn teardowns_left(&self, limit: usize) -> Blockers {
        let first_parent = |process: u32| {
            let from = self.info(process).first_parent.get()?;
            Some(Step { from, link: Link::Child })
        };
        let all = || 0..index(self.processes.len());
        let steps: Vec<_> = all().map(first_parent).collect();
        let mut not_due = self.teardowns_left.iter().copied().peekable();
        let mut has_left = |process: u32| {
            let is_queued = self.info(process).work() == Work::TeardownQueued;
            not_due.next_if_eq(&process).is_some() || is_queued
        };
        let item = |process: u32| Item {
            process,
            kind: BlockerKind::TeardownQueued,
            step: steps[process as usize],
            slot: 0,
        };
        let items: Vec<_> = all().filter(|&process| has_left(process)).map(item).collect();
        let nearest_closing = vec![None; self.processes.len()];
        let found = Found {
            snapshot: self,
            items: &items,
            steps: &steps,
            nearest_closing: &nearest_closing,
        };
        let mut left = found.first(limit);
        for line in &mut left.first {
            (line.thread, line.age, line.aborting_for, line.behind) = (None, None, None, 0);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{AGE, app, as_specified};
    use crate::value::{Link, Phase, Work};

    /// Teardowns that are not due, those that are queued, and those of processes that nobody closes are listed in the
    /// order of the processes; one that runs is not.
    #[test]
    fn teardowns_that_have_not_begun_are_listed() {
        let (mut scene, app) = app();
        let cache = scene.closing_below(app, "cache", "src/cache.rs:41");
        scene.work(cache, Work::ThreadBody, AGE);
        let queued = scene.closing_below(cache, "queued", "src/db.rs:12");
        scene.work(queued, Work::TeardownQueued, AGE);
        let running = scene.closing_below(app, "running", "src/db.rs:12");
        scene.work(running, Work::Teardown, AGE);
        let unnamed = scene.closing_below(app, "", "src/main.rs:41");
        let server = scene.running("server\u{1b}", "src/main.rs:33");
        scene.edge(app, Link::WaitFor, server);
        let closed = scene.closing_below(app, "closed", "src/db.rs:12");
        scene.at(closed).phase = Phase::Closed;
        let left = [app, cache, unnamed, server].map(super::index).to_vec();
        let snapshot = scene.snapshot().with_teardowns_left(left);
        let expected = "\
app: teardown (src/main.rs:9)
app › cache: teardown (src/cache.rs:41)
app › cache › queued: teardown (src/db.rs:12)
app › src/main.rs:41: teardown
server\\u{1b}: teardown (src/main.rs:33)";
        assert_eq!(as_specified(snapshot.teardowns_left(16)), expected);
        let two = as_specified(snapshot.teardowns_left(2));
        assert_eq!(two.lines().last(), Some("… and 3 more"));
    }

    #[test]
    fn large_families_are_folded() {
        let (mut scene, app) = app();
        let files = (0..600).map(|number| {
            let file = scene.closing_below(app, &format!("file-{number}"), "src/db.rs:12");
            super::index(file)
        });
        let left = files.collect();
        let snapshot = scene.snapshot().with_teardowns_left(left);
        let line = "app › file-0 and 599 more `file`: teardown (src/db.rs:12)";
        assert_eq!(as_specified(snapshot.teardowns_left(16)), line);
        assert_eq!(snapshot.teardowns_left(16).total, 600);
    }
}
