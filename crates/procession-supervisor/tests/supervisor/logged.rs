//! Events are `tracing` events too.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use procession_supervisor::Rate;

use crate::world::{Does, SECOND, Told, World, yielded};

/// What was logged.
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
fn all_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .with_writer(move || writer.clone());
    // The tasks of the world run on this thread.
    let _logging = tracing::subscriber::set_default(subscriber.finish());
    let world =
        World::with(|builder, policy| builder.policy(policy.intensity(Rate::new(1, SECOND * 60))));
    world.insert(["a"]);
    let managed = world.start();
    world.units.set("a", Does::FailToStart);
    world.units.tell("a", Told::Fail);
    world.advance(SECOND);
    world.units.set("a", Does::IgnoreClosing);
    yielded(world.start_unit("a")).unwrap();
    managed.app.close();
    world.advance(SECOND * 10);
    managed.outcome().unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let logged: Vec<&str> = log.lines().map(str::trim).collect();
    for expected in [
        "INFO started unit=a",
        "INFO ready unit=a",
        "WARN failed unit=a error=process `a` failed: broken",
        "INFO is to be started again unit=a delay=",
        "WARN failed unit=a error=process `a` failed: cannot start",
        "ERROR given up unit=a error=process `a` failed: cannot start",
        "INFO stopping unit=a",
        "WARN aborted unit=a grace=10s",
        "WARN stopped unit=a error=process `a` was aborted",
    ] {
        assert!(logged.iter().any(|line| line.starts_with(expected)), "{expected}: {logged:#?}");
    }
}
