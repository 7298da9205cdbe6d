//! What a `tracing` subscriber receives. A program has one global subscriber, so this file has one test.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

use procession::support::flush_events;
use procession::{Error, Process};
use procession_tests::{LIMIT, ends_well};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

type Fields = BTreeMap<&'static str, String>;

#[derive(Default)]
struct Visitor(Fields);

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

/// Keeps everything that the library sends, and which spans were entered.
#[derive(Clone, Default)]
struct Capture(Arc<Captured>);

#[derive(Default)]
struct Captured {
    events: Mutex<Vec<(Level, Fields)>>,
    spans: Mutex<BTreeMap<u64, Fields>>,
    entered: Mutex<Vec<u64>>,
    next: AtomicU64,
    /// Notified of each event.
    heard: Condvar,
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "procession"
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = 1 + self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut visitor = Visitor::default();
        span.record(&mut visitor);
        self.0.spans.lock().unwrap().insert(id, visitor.0);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut visitor = Visitor::default();
        event.record(&mut visitor);
        let panics = visitor.0.get("process").is_some_and(|process| process.contains("panics"));
        self.0.events.lock().unwrap().push((*event.metadata().level(), visitor.0));
        self.0.heard.notify_all();
        assert!(!panics, "by the subscriber");
    }

    fn enter(&self, span: &Id) {
        self.0.entered.lock().unwrap().push(span.into_u64());
        let path = self.0.spans.lock().unwrap()[&span.into_u64()]["process"].clone();
        assert!(!path.contains("panics"), "by the subscriber");
    }

    fn exit(&self, _: &Id) {}
}

impl Capture {
    /// The events of this process, with their levels.
    fn of(&self, process: &str) -> Vec<(Level, Fields)> {
        assert!(flush_events(LIMIT));
        let events = self.0.events.lock().unwrap();
        let is_its = |fields: &Fields| fields.get("process").is_some_and(|path| path == process);
        events.iter().filter(|(_, fields)| is_its(fields)).cloned().collect()
    }

    /// Waits until this process has had an event with this name at WARN.
    #[track_caller]
    fn wait_for_warning(&self, process: &str, event: &str) {
        let is_it = |(level, fields): &(Level, Fields)| {
            let field = |name, value| fields.get(name).is_some_and(|its| its == value);
            *level == Level::WARN && field("process", process) && field("event", event)
        };
        let is_missing = |events: &mut Vec<(Level, Fields)>| !events.iter().any(is_it);
        let events = self.0.events.lock().unwrap();
        let (events, waited) = self.0.heard.wait_timeout_while(events, LIMIT, is_missing).unwrap();
        assert!(!waited.timed_out(), "no `{event}` of {process} in {events:#?}");
    }

    /// The names of the events of this process at this level.
    fn names(&self, process: &str, level: Level) -> Vec<String> {
        let of_level = self.of(process).into_iter().filter(|(its, _)| *its == level);
        of_level.map(|(_, mut fields)| fields.remove("event").unwrap()).collect()
    }

    /// The first event of this process with this name.
    #[track_caller]
    fn first(&self, process: &str, event: &str) -> Fields {
        let mut events = self.of(process).into_iter().map(|(_, fields)| fields);
        events.find(|fields| fields["event"] == event).expect("it was recorded")
    }

    /// How many times the span of this process's body was entered.
    fn entered(&self, process: &str) -> usize {
        let spans = self.0.spans.lock().unwrap();
        let entered = self.0.entered.lock().unwrap();
        entered.iter().filter(|id| spans[id]["process"] == process).count()
    }
}

fn named<'a>(name: &str, parent: &'a Process) -> procession::Builder<'a> {
    Process::builder().name(name).parent(parent)
}

/// An abort by a deadline, by a guard or by a signal is recorded as one by a call is, and once.
fn forced_aborts_are_recorded(app: &Process, capture: &Capture) {
    let hangs = |name: &str| named(name, app).spawn(|_| pending::<()>()).unwrap();
    let late = hangs("late");
    late.close_within(Duration::from_millis(5));
    let at_once = hangs("at-once");
    at_once.close_within(Duration::ZERO);
    drop(hangs("guarded").abort_on_drop());
    #[cfg(unix)]
    {
        use procession::signal::{SIGUSR2, bind};
        let signalled = hangs("signalled");
        bind(&signalled, [SIGUSR2]).unwrap();
        let raise = || {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR2)
                .unwrap();
        };
        raise();
        signalled.closing().wait_timeout(LIMIT).expect("the first signal closes it");
        raise();
    }
    let mut names = vec!["late", "at-once", "guarded"];
    names.extend(cfg!(unix).then_some("signalled"));
    for name in names {
        let path = format!("app/{name}");
        capture.wait_for_warning(&path, "aborting");
        assert_eq!(capture.names(&path, Level::WARN), ["aborting"]);
    }
    // A later abort changes nothing, and is not recorded.
    assert!(late.abort().wait().is_err() && at_once.abort().wait().is_err());
    assert_eq!(capture.names("app/late", Level::WARN), ["aborting"]);
}

/// The events of a stall have the same texts as the reports of `Main`: escaped chains in which each joint shows the kind
/// of the edge, and the path of the process at the end of each.
fn stalls_have_the_texts_of_reports(capture: &Capture) {
    // Each has a channel of its own, because a stall is told repeatedly.
    let stall = |app: &Process| {
        let (tell, told) = mpsc::channel();
        app.on_stall(Duration::from_millis(1), move |_| tell.send(()).unwrap_or_default());
        told
    };
    let server = Process::builder().name("server").build().unwrap();
    let waiting = Process::builder().name("waiting").build().unwrap();
    let log = named("log\u{1b}[2J", &waiting).wait_for(&server).build().unwrap();
    let told = stall(&waiting);
    waiting.close();
    told.recv_timeout(LIMIT).unwrap();
    let stalled = capture.first("waiting", "stalled");
    assert!(stalled["message"].ends_with(", 3 processes open"), "{stalled:?}");
    let blocked = capture.first("server", "blocked_by");
    assert_eq!(blocked["chain"], "waiting › log\\u{1b}[2J ⇢ server");
    server.close();
    ends_well(&waiting);
    drop(log);

    let family = Process::builder().name("family").build().unwrap();
    let (begin, begun) = mpsc::channel();
    for number in 0..12 {
        let begin = begin.clone();
        let member = named(&format!("member-{number}"), &family).spawn_thread(move |p| {
            begin.send(()).unwrap();
            assert!(p.aborting().wait());
        });
        member.unwrap();
        begun.recv_timeout(LIMIT).unwrap();
    }
    let told = stall(&family);
    family.close();
    told.recv_timeout(LIMIT).unwrap();
    family.abort();
    ends_well(&family);
    let blocked = capture.first("family/member-0", "blocked_by");
    assert_eq!((&*blocked["chain"], &*blocked["more"]), ("family › member-0 and 11 more", "11"));

    let alone = Process::builder().name("alone").spawn_thread(|p| assert!(p.aborting().wait()));
    let alone = alone.unwrap();
    let told = stall(&alone);
    alone.close();
    told.recv_timeout(LIMIT).unwrap();
    alone.abort();
    ends_well(&alone);
    let stalled = capture.first("alone", "stalled");
    assert!(stalled["message"].ends_with(", 1 process open"), "{stalled:?}");
    assert_eq!(stalled["open"], "1");
}

/// A subscriber receives phases at `trace`; failures, aborts and stalls at `warn`; and a span for each body.
#[test]
fn a_subscriber_hears_of_phases_and_failures() {
    // The root is made before the subscriber is set.
    let app = Process::builder().name("app").build().unwrap();
    let early = named("early", &app).build().unwrap();
    let capture = Capture::default();
    tracing::subscriber::set_global_default(capture.clone()).unwrap();

    let db = named("db", &app).teardown(|| ()).build().unwrap();
    let body = named("body", &app).spawn(|p| async move { p.closing().await }).unwrap();
    let thread = named("thread", &app).spawn_thread(|_| Err("disk\nfull")).unwrap();
    assert!(thread.closed().wait().is_err());
    let panicking = named("panicking", &app).spawn(|_| async { panic!("index") });
    assert!(panicking.unwrap().closed().wait().is_err());
    let stubborn = named("stubborn", &app).spawn(|_| pending::<()>()).unwrap();
    assert!(matches!(stubborn.abort().wait(), Err(Error::Aborted(_))));
    forced_aborts_are_recorded(&app, &capture);
    stalls_have_the_texts_of_reports(&capture);
    // A subscriber that panics does no harm.
    let panics = named("panics", &app).spawn_thread(|p| p.closing().wait()).unwrap();
    panics.abort();
    ends_well(&panics);

    // A stall, with its blockers.
    let (tell, told) = mpsc::channel();
    app.on_stall(Duration::from_millis(1), move |_| tell.send(()).unwrap_or_default());
    let (begin, begun) = mpsc::channel();
    let slow = named("slow", &app).spawn_thread(move |p| {
        begin.send(()).unwrap();
        assert!(p.aborting().wait());
    });
    let slow = slow.unwrap();
    begun.recv_timeout(LIMIT).unwrap();
    app.close();
    told.recv_timeout(LIMIT).unwrap();
    slow.abort();
    ends_well(&app);

    let phases = |process: &str| capture.names(process, Level::TRACE);
    assert_eq!(phases("app"), ["closing", "closed"]);
    assert_eq!(phases("app/early"), ["closing", "closed"]);
    let teardown = ["teardown_queued", "teardown_started", "teardown_ended"];
    assert_eq!(phases("app/db")[..2], ["made", "closing"]);
    assert_eq!(phases("app/db")[2..5], teardown);
    assert_eq!(phases("app/body"), ["made", "closing", "body_ended", "closed"]);
    let warned = |process: &str| capture.names(process, Level::WARN);
    // Nothing handles the failure.
    assert_eq!(capture.names("app/thread", Level::ERROR), ["failed"]);
    assert_eq!(warned("app/stubborn"), ["aborting"]);
    assert_eq!(warned("app")[..1], ["stalled"]);
    // On a slow machine, they may still be open when the stall is reported.
    let is_quiet = |process| warned(process).iter().all(|name| name == "blocked_by");
    assert!(is_quiet("app/body") && is_quiet("app/db"));

    let (_, failed) =
        &capture.of("app/thread").into_iter().find(|(level, _)| *level == Level::ERROR).unwrap();
    assert_eq!(failed["kind"], "error");
    assert_eq!(failed["error"], "disk\nfull");
    assert_eq!(failed["site"], thread.site().to_string());
    let (_, panicked) =
        &capture.of("app/panicking").into_iter().find(|(level, _)| *level == Level::ERROR).unwrap();
    assert_eq!(panicked["kind"], "panic");
    let blocked = capture.first("app/slow", "blocked_by");
    assert_eq!(blocked["chain"], "app › slow");
    assert_eq!(blocked["kind"], "thread_body");
    assert_eq!(blocked["thread"], "slow");

    assert_eq!(capture.entered("app/thread"), 1);
    assert!(capture.entered("app/body") >= 2, "for each poll");
    assert_eq!(phases("app/panics"), ["made", "closing", "aborting", "body_ended", "closed"]);
    drop((early, db, body));
}
