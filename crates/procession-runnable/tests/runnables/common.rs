//! Parts whose behaviour the tests choose, and a record of their actions.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use procession::{Error, Process, Smol};
use procession_runnable::{Run, Runnable, body, body_thread, named};
use tokio::runtime::Runtime;

/// How long a test waits for an event that must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The errors of an outcome, one by one. A process without a name appears only as the nearest name above it.
pub(crate) fn errors(result: Result<(), Error>) -> Vec<String> {
    let text = |error: &Error| {
        let text = error.with_causes().to_string();
        match error.process() {
            Some(label) => text.replace(&format!(" › {}", label.site()), ""),
            None => text,
        }
    };
    match result {
        Ok(()) => Vec::new(),
        Err(Error::Many(many)) => many.iter().map(text).collect(),
        Err(one) => vec![text(&one)],
    }
}

/// The events of a test, in order.
#[derive(Clone, Default)]
pub(crate) struct Events(Arc<Mutex<Vec<String>>>);

impl Events {
    pub(crate) fn add(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Is a body async, as a task, or blocking, on a thread?
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum BodyKind {
    Task,
    Thread,
}

pub(crate) const BODY_KINDS: [BodyKind; 2] = [BodyKind::Task, BodyKind::Thread];

/// Where async bodies are polled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Executor {
    /// The executor of the library.
    Shared,
    Tokio,
    Smol,
}

impl Executor {
    /// A process whose bodies run there.
    pub(crate) fn app(self) -> Process {
        static TOKIO: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
        match self {
            Self::Shared => Process::new(),
            Self::Tokio => Process::builder().spawner(TOKIO.handle().clone()).build().unwrap(),
            Self::Smol => Process::builder().spawner(Smol).build().unwrap(),
        }
    }
}

/// Each executor with each kind of body.
pub(crate) fn everywhere() -> impl Iterator<Item = (Executor, BodyKind)> {
    let executors = [Executor::Shared, Executor::Tokio, Executor::Smol];
    executors.into_iter().flat_map(|executor| BODY_KINDS.map(|kind| (executor, kind)))
}

/// How a part behaves when it is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Is ready, and stops when it is asked to.
    Serve,
    /// Fails before it is ready.
    FailToStart,
    /// Panics before it is ready.
    PanicAtStart,
    /// Ends without an error before it is ready.
    EndUnready,
    /// Is ready, and fails on its own.
    FailLater,
    /// Is ready, and panics.
    PanicLater,
    /// Is ready, and ends without an error.
    EndLater,
    /// Is never ready, and stops when it is asked to.
    Hang,
    /// Is ready, and fails when it is asked to stop.
    FailToStop,
}

#[derive(Clone)]
struct Part {
    name: &'static str,
    behaviour: Behaviour,
    events: Events,
}

impl Part {
    /// Returns `true` if the part continues until it is asked to stop.
    fn begin(&self, run: &Run) -> Result<bool, String> {
        let Self { name, behaviour, events } = self;
        events.add(format!("{name} up"));
        match behaviour {
            Behaviour::FailToStart => return Err("cannot start".into()),
            Behaviour::PanicAtStart => panic!("at start"),
            Behaviour::EndUnready => return Ok(false),
            Behaviour::Hang => return Ok(true),
            _ => run.ready(),
        }
        match behaviour {
            Behaviour::FailLater => Err("broken".into()),
            Behaviour::PanicLater => panic!("later"),
            Behaviour::EndLater => Ok(false),
            _ => Ok(true),
        }
    }

    fn end(&self) -> Result<(), String> {
        self.events.add(format!("{} down", self.name));
        if self.behaviour == Behaviour::FailToStop { Err("cannot stop".into()) } else { Ok(()) }
    }
}

/// A part that behaves like this, and records its events.
pub(crate) fn part(
    name: &'static str,
    behaviour: Behaviour,
    events: &Events,
    kind: BodyKind,
) -> Runnable {
    let part = Part { name, behaviour, events: events.clone() };
    let runnable = match kind {
        BodyKind::Task => body(move |run| {
            let part = part.clone();
            async move {
                if part.begin(&run)? {
                    run.closing().await;
                    part.end()?;
                }
                Ok::<(), String>(())
            }
        }),
        BodyKind::Thread => body_thread(move |run| {
            if part.begin(&run)? {
                run.closing().wait();
                part.end()?;
            }
            Ok::<(), String>(())
        }),
    };
    named(name, runnable)
}
