//! Events also go to `tracing`. This is a program of its own, because a program has only one global subscriber.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession_runnable::body;
use procession_supervisor::{Backoff, Event, Manager, MemoryTable, Policy, Rate, Unit};

/// The log output.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_event_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || writer.clone());
    tracing::subscriber::set_global_default(subscriber.finish()).unwrap();

    let table = MemoryTable::new();
    table.insert(
        "good",
        body(|run| async move {
            run.ready();
            run.closing().await;
        }),
    );
    table.insert("bad", body(|_| async { Err("broken") }));
    let deaf = body(|run| async move {
        run.ready();
        std::future::pending::<()>().await;
    });
    table.insert("deaf", Unit::new(deaf).grace(Duration::from_millis(1)));
    let first = Duration::from_millis(1);
    let policy = Policy::new()
        .backoff(Backoff::new(first, Duration::from_secs(30)))
        .intensity(Rate::new(1, Duration::from_secs(60)));
    let manager = Manager::builder(table).policy(policy).build();
    let mut events = manager.events();
    let ended = manager.run_blocking(|_| {
        let is_it = |event: &Event<_>| (event.key(), event.kind()) == (Some(&"bad"), "gave_up");
        while !events.recv_blocking().is_some_and(|event| is_it(&event)) {}
    });
    ended.unwrap();

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let logged: Vec<&str> = log.lines().map(str::trim).collect();
    for expected in [
        "INFO was started manager=\"manager\" unit=good kind=\"started\"",
        "INFO is ready manager=\"manager\" unit=good",
        "WARN failed: process `bad` failed: broken; it will be restarted in",
        "INFO will be restarted in",
        "ERROR was restarted too often: process `bad` failed: broken manager=\"manager\" unit=bad",
        "INFO was asked to stop manager=\"manager\" unit=good",
        "INFO has stopped manager=\"manager\" unit=good",
        "WARN was aborted after",
        "INFO was stopped by force manager=\"manager\" unit=deaf",
    ] {
        // The names of the bodies' spans are between the level and the message.
        let (level, message) = expected.split_once(' ').unwrap();
        let is_it = |line: &&str| line.starts_with(level) && line.contains(message);
        assert!(logged.iter().any(is_it), "{expected}: {logged:#?}");
    }
}
