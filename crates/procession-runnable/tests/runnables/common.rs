//! Parts whose behaviour the tests choose, and a record of their actions.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use procession::{Error, Process, Smol};
use procession_runnable::{Run, Runnable, body, body_thread, named};
use tokio::runtime::Runtime;

/// How long a test waits for what must happen.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The errors of an outcome, one by one. For a process without a name, the nearest name above it is left.
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

/// What happened, in order.
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

/// Bodies are async or blocking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Face {
    Task,
    Thread,
}

pub(crate) const FACES: [Face; 2] = [Face::Task, Face::Thread];

/// Where async bodies are polled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Executor {
    /// The one that comes with the crate.
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

/// Each executor with each face.
pub(crate) fn everywhere() -> impl Iterator<Item = (Executor, Face)> {
    let executors = [Executor::Shared, Executor::Tokio, Executor::Smol];
    executors.into_iter().flat_map(|executor| FACES.map(|face| (executor, face)))
}

/// What a part does when it is started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Does {
    /// Is ready, and stops when it is asked to.
    Serve,
    /// Fails before it is ready.
    FailToStart,
    /// Panics before it is ready.
    PanicAtStart,
    /// Ends well before it is ready.
    EndUnready,
    /// Is ready, and fails on its own.
    FailLater,
    /// Is ready, and panics.
    PanicLater,
    /// Is ready, and ends well.
    EndLater,
    /// Is never ready, and stops when it is asked to.
    Hang,
    /// Is ready, and fails when it is asked to stop.
    FailToStop,
}

#[derive(Clone)]
struct Part {
    name: &'static str,
    does: Does,
    events: Events,
}

impl Part {
    /// `true` if it goes on until it is asked to stop.
    fn begin(&self, run: &Run) -> Result<bool, String> {
        let Self { name, does, events } = self;
        events.add(format!("{name} up"));
        match does {
            Does::FailToStart => return Err("cannot start".into()),
            Does::PanicAtStart => panic!("at start"),
            Does::EndUnready => return Ok(false),
            Does::Hang => return Ok(true),
            _ => run.ready(),
        }
        match does {
            Does::FailLater => Err("broken".into()),
            Does::PanicLater => panic!("later"),
            Does::EndLater => Ok(false),
            _ => Ok(true),
        }
    }

    fn end(&self) -> Result<(), String> {
        self.events.add(format!("{} down", self.name));
        if self.does == Does::FailToStop { Err("cannot stop".into()) } else { Ok(()) }
    }
}

/// A part that does this, and says so.
pub(crate) fn part(name: &'static str, does: Does, events: &Events, face: Face) -> Runnable {
    let part = Part { name, does, events: events.clone() };
    let runnable = match face {
        Face::Task => body(move |run| {
            let part = part.clone();
            async move {
                if part.begin(&run)? {
                    run.closing().await;
                    part.end()?;
                }
                Ok::<(), String>(())
            }
        }),
        Face::Thread => body_thread(move |run| {
            if part.begin(&run)? {
                run.closing().wait();
                part.end()?;
            }
            Ok::<(), String>(())
        }),
    };
    named(name, runnable)
}
