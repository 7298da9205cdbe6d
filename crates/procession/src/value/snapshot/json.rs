//! `Serialize` for snapshots.
//!
//! Processes refer to each other by index. A [`ProcessId`](crate::ProcessId) is never written, because it is an
//! address. Durations are whole milliseconds.

use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::{
    Blocker, BlockerKind, Blockers, ChainLink, Edge, HeldSlot, Link, ProcessInfo, Snapshot,
};
use crate::value::text::Signal;
use crate::value::time::millis;
use crate::value::{Phase, Reason, Site, Work};

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Snapshot", 2)?;
        fields.serialize_field("processes", &List(self.processes()))?;
        fields.serialize_field("edges", &List(self.edges()))?;
        fields.end()
    }
}

/// The items of an iterator as a sequence.
struct List<I>(I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

impl Serialize for ProcessInfo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ProcessInfo", 14)?;
        fields.serialize_field("name", &self.name())?;
        fields.serialize_field("site", &self.site())?;
        fields.serialize_field("phase", &self.phase())?;
        fields.serialize_field("aborting", &self.is_aborting())?;
        fields.serialize_field("failed", &self.has_failed())?;
        fields.serialize_field("reason", &self.reason())?;
        fields.serialize_field("closing_ms", &self.closing_for().map(millis))?;
        fields.serialize_field("aborting_ms", &self.aborting_for().map(millis))?;
        fields.serialize_field("work", &self.work())?;
        fields.serialize_field("work_ms", &self.work_for().map(millis))?;
        fields.serialize_field("thread", &self.thread())?;
        fields.serialize_field("closing_children", &self.is_closing_children())?;
        fields.serialize_field("held_slots", &self.held_slots())?;
        fields.serialize_field("first_parent", &self.first_parent.get())?;
        fields.end()
    }
}

impl Serialize for HeldSlot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("HeldSlot", 2)?;
        fields.serialize_field("site", &self.site)?;
        fields.serialize_field("held_ms", &millis(self.held_for))?;
        fields.end()
    }
}

impl Serialize for Edge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Edge", 3)?;
        fields.serialize_field("from", &self.from)?;
        fields.serialize_field("to", &self.to)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.end()
    }
}

impl Serialize for Blockers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Blockers", 2)?;
        fields.serialize_field("first", &self.first)?;
        fields.serialize_field("total", &self.total)?;
        fields.end()
    }
}

impl Serialize for Blocker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Blocker", 11)?;
        fields.serialize_field("kind", &self.kind)?;
        fields.serialize_field("chain", &self.chain)?;
        fields.serialize_field("skipped", &self.skipped)?;
        fields.serialize_field("thread", &self.thread.as_deref())?;
        fields.serialize_field("site", &self.site)?;
        fields.serialize_field("for_ms", &self.age.map(millis))?;
        fields.serialize_field("aborting_ms", &self.aborting_for.map(millis))?;
        fields.serialize_field("behind", &self.behind)?;
        fields.serialize_field("more", &self.more)?;
        fields.serialize_field("stem", &self.stem())?;
        fields.serialize_field("text", &self.to_string())?;
        fields.end()
    }
}

/// The label, which is the site if the process has no name, and the edge from the previous process on the chain.
impl Serialize for ChainLink {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("ChainLink", 4)?;
        fields.serialize_field("process", &self.process)?;
        fields.serialize_field("label", &self.label())?;
        fields.serialize_field("named", &self.name.is_some())?;
        fields.serialize_field("edge", &self.link)?;
        fields.end()
    }
}

/// The file and the line.
impl Serialize for Site {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Running => "running",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}

/// The kind of work, or null.
impl Serialize for Work {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        BlockerKind::of(*self).serialize(serializer)
    }
}

impl Serialize for BlockerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Serialize for Link {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Child => "child",
            Self::NoWaitChild => "no_wait",
            Self::WaitFor => "wait_for",
            Self::CloseAfter => "close_after",
            Self::Blocked => "blocked",
            Self::SlotWait => "slot_wait",
            Self::ChildrenWait => "children_wait",
            Self::BodyWait => "body_wait",
        })
    }
}

/// The kind of reason, or the name of the signal.
impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::Signal(signal) => return serializer.collect_str(&Signal(*signal)),
            Self::Asked => "asked",
            Self::ParentClosed => "parent_closed",
            Self::BodyFinished => "body_finished",
            Self::BodyFailed => "body_failed",
            Self::TimeLimit => "time_limit",
            Self::Dropped => "dropped",
            Self::ChildFailed(_) => "child_failed",
        };
        serializer.serialize_str(kind)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use serde_json::{json, to_value};

    use super::super::testing::{LINKS, app, as_specified, held, stuck};
    use crate::value::{Label, ProcessId, Reason, Snapshot, Work};

    fn to_json(value: impl serde::Serialize) -> serde_json::Value {
        let text = serde_json::to_string(&value).expect("it is plain data");
        serde_json::from_str(&as_specified(text)).expect("it is JSON")
    }

    #[test]
    fn a_snapshot_is_lists_of_processes_and_edges() {
        let (mut scene, app) = app();
        let cache = scene.closing_below(app, "cache", "src/cache.rs:41");
        scene
            .work(cache, Work::ThreadBody, std::time::Duration::from_secs(11_105))
            .rare_mut()
            .thread = Some("cache-refresh".into());
        scene.at(cache).rare_mut().held_slots = vec![held("src/pool.rs:20", 8_200)];
        let expected = json!({
            "processes": [
                {
                    "name": "app", "site": "src/main.rs:9", "phase": "closing", "aborting": false,
                    "failed": false, "reason": "SIGINT", "closing_ms": 6_100, "aborting_ms": null,
                    "work": null, "work_ms": null, "thread": null, "closing_children": false,
                    "held_slots": [], "first_parent": null
                },
                {
                    "name": "cache", "site": "src/cache.rs:41", "phase": "closing", "aborting": false,
                    "failed": false, "reason": "parent_closed", "closing_ms": 6_100,
                    "aborting_ms": null, "work": "thread_body", "work_ms": 11_105_000,
                    "thread": "cache-refresh", "closing_children": false,
                    "held_slots": [{"site": "src/pool.rs:20", "held_ms": 8_200}], "first_parent": 0
                }
            ],
            "edges": [{"from": 0, "to": 1, "kind": "child"}]
        });
        assert_eq!(to_json(scene.snapshot()), expected);
    }

    #[test]
    fn a_blocker_has_its_chain_and_its_text() {
        let blockers = to_json(stuck().snapshot().blockers(3));
        assert_eq!(blockers["total"], 40);
        let expected = json!({
            "kind": "thread_body",
            "chain": [
                {"process": 0, "label": "app", "named": true, "edge": null},
                {"process": 1, "label": "db", "named": true, "edge": "child"},
                {"process": 4, "label": "cache", "named": true, "edge": "child"}
            ],
            "skipped": 0, "thread": "cache-refresh", "site": "src/cache.rs:41", "for_ms": 6_100,
            "aborting_ms": null, "behind": 0, "more": 0, "stem": "cache",
            "text": "app › db › cache: thread body `cache-refresh` (src/cache.rs:41), asked to close 6.1 s ago"
        });
        assert_eq!(blockers["first"][0], expected);
        assert_eq!(
            (&blockers["first"][1]["more"], &blockers["first"][1]["stem"]),
            (&json!(37), &json!("session"))
        );
        assert_eq!(
            (&blockers["first"][2]["kind"], &blockers["first"][2]["for_ms"]),
            (&json!("not_asked"), &json!(6_100))
        );
    }

    #[test]
    fn kinds_have_stable_names() {
        let expected = json!([
            "child",
            "no_wait",
            "wait_for",
            "close_after",
            "blocked",
            "slot_wait",
            "children_wait",
            "body_wait"
        ]);
        assert_eq!(to_value(LINKS).expect("plain data"), expected);
        let work = [
            Work::None,
            Work::AsyncBody,
            Work::CallerBody,
            Work::TeardownQueued,
            Work::Teardown,
            Work::AsyncTeardown,
            Work::Hook,
            Work::Future,
            Work::FailureHook,
        ];
        let expected = json!([
            null,
            "async_body",
            "async_body",
            "teardown_queued",
            "teardown",
            "async_teardown",
            "hook",
            "future",
            "failure_hook"
        ]);
        assert_eq!(to_value(work).expect("plain data"), expected);
    }

    /// No form of a snapshot contains an id, because an id is an address.
    #[test]
    fn no_id_is_written() {
        let mut scene = stuck();
        let id = ProcessId::of(std::ptr::without_provenance::<u8>(0xABCDEF0));
        scene.at(0).set_reason(Reason::ChildFailed(Label::of_test(None, id)));
        scene.processes.iter_mut().for_each(|(own, _)| *own = id);
        let snapshot: Snapshot = scene.snapshot();
        for text in [
            serde_json::to_string(&snapshot).expect("plain data"),
            snapshot.to_string(),
            snapshot.blockers(16).to_string(),
            snapshot.to_dot(),
            snapshot.to_mermaid(),
        ] {
            assert!(!text.contains("abcdef0") && !text.contains("180150000"), "{text}");
        }
    }
}
