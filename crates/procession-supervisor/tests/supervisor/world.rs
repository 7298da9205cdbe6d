//! A manager under test, with a clock that only the test advances, on an executor that runs until no task is ready.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use procession::{BoxError, Error, ManualClock, Process};
use procession_runnable::{Run, Runnable, body, body_thread, run_in};
use procession_supervisor::{
    Backoff, Builder, Event, Events, Happening, Manager, ManagerError, MemoryTable, Policy,
    Restart, State, Table, Unit,
};
use procession_test::{Task, TestExecutor};
use smol::channel::{Receiver, Sender, unbounded};

pub(crate) use procession_test::LIMIT;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A policy with predictable pauses.
pub(crate) const PLAIN: Backoff =
    Backoff::new(Duration::from_millis(100), Duration::from_secs(30)).jitter(false);

/// A thread that ignores closing and aborts until it is released; the sender that releases it; and a receiver that gets
/// a message for each of its runs.
pub(crate) fn stubborn() -> (Runnable, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (tell, runs) = mpsc::channel();
    let (released, tell) = (Mutex::new(released), Mutex::new(tell));
    let stubborn = body_thread(move |run| {
        run.ready();
        tell.lock().unwrap().send(()).unwrap();
        released.lock().unwrap().recv().unwrap_or(());
    });
    (stubborn, release, runs)
}

pub(crate) type Key = &'static str;

/// How a unit behaves from its start on, until it gets a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Is ready, and stops when it is asked to.
    Serve,
    /// Fails before it is ready.
    FailToStart,
    /// Ends without an error before it is ready.
    EndUnready,
    /// Is never ready, and stops when it is asked to.
    HangInStart,
    /// Is never ready, and ends only by an abort.
    HangForEver,
    /// Is ready, and ends only by an abort.
    IgnoreClosing,
    /// Is ready. After it is asked to stop, it ends when it gets a message.
    StopWhenTold,
    /// Becomes ready when it is asked to stop, and ends only by an abort.
    ReadyLate,
    /// Panics before it is ready.
    Panic,
}

/// A message to a running unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Message {
    Fail,
    End,
    Panic,
}

/// The units of a test: their scripts and their runs.
#[derive(Clone, Default)]
pub(crate) struct Units {
    scripts: Arc<Mutex<HashMap<Key, Script>>>,
    /// Set if a key ever had two runs at once. A panic instead would only be one more failure of a unit.
    overlapped: Arc<AtomicBool>,
}

struct Script {
    behaviour: Behaviour,
    runs: usize,
    starts: usize,
    tell: Sender<Message>,
    told: Receiver<Message>,
}

impl Default for Script {
    fn default() -> Self {
        let (tell, told) = unbounded();
        Self { behaviour: Behaviour::Serve, runs: 0, starts: 0, tell, told }
    }
}

impl Units {
    fn with<T>(&self, key: Key, act: impl FnOnce(&mut Script) -> T) -> T {
        act(self.scripts.lock().unwrap().entry(key).or_default())
    }

    /// Sets the behaviour of a unit from its next start on.
    pub(crate) fn set(&self, key: Key, behaviour: Behaviour) {
        self.with(key, |script| script.behaviour = behaviour);
    }

    pub(crate) fn behaviour(&self, key: Key) -> Behaviour {
        self.with(key, |script| script.behaviour)
    }

    /// Sends a message to the current run of a unit.
    pub(crate) fn tell(&self, key: Key, told: Message) {
        self.with(key, |script| script.tell.try_send(told).unwrap());
    }

    pub(crate) fn runs(&self, key: Key) -> usize {
        self.with(key, |script| script.runs)
    }

    pub(crate) fn starts(&self, key: Key) -> usize {
        self.with(key, |script| script.starts)
    }

    /// A unit that behaves as its script says.
    pub(crate) fn unit(&self, key: Key) -> Unit {
        let units = self.clone();
        Unit::new(body(move |run| units.clone().live(key, run)))
    }

    async fn live(self, key: Key, run: Run) -> Result<(), BoxError> {
        let (behaviour, told) = self.with(key, |script| {
            self.overlapped.fetch_or(script.runs > 0, Ordering::SeqCst);
            script.runs += 1;
            script.starts += 1;
            (script.behaviour, script.told.clone())
        });
        let _running = Running { units: &self, key };
        match behaviour {
            Behaviour::FailToStart => return Err("cannot start".into()),
            Behaviour::EndUnready => return Ok(()),
            Behaviour::Panic => panic!("at start"),
            Behaviour::HangInStart => {
                run.closing().await;
                return Ok(());
            }
            Behaviour::ReadyLate => {
                run.closing().await;
                run.ready();
                return std::future::pending().await;
            }
            Behaviour::HangForEver => return std::future::pending().await,
            Behaviour::Serve | Behaviour::IgnoreClosing | Behaviour::StopWhenTold => run.ready(),
        }
        if behaviour == Behaviour::StopWhenTold {
            run.closing().await;
        }
        if behaviour == Behaviour::IgnoreClosing {
            return std::future::pending().await;
        }
        let told = match behaviour {
            Behaviour::StopWhenTold => Some(told.recv().await),
            _ => run.run_until_closing(told.recv()).await,
        };
        match told {
            None | Some(Ok(Message::End)) => Ok(()),
            Some(Ok(Message::Fail)) => Err("broken".into()),
            Some(Ok(Message::Panic)) => panic!("later"),
            Some(Err(error)) => Err(error.into()),
        }
    }
}

/// A run that has not ended.
struct Running<'a> {
    units: &'a Units,
    key: Key,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.units.with(self.key, |script| script.runs -= 1);
    }
}

pub(crate) struct World {
    pub(crate) executor: TestExecutor,
    pub(crate) clock: ManualClock,
    pub(crate) units: Units,
    pub(crate) table: MemoryTable<Key>,
    pub(crate) manager: Manager<Key>,
    pub(crate) events: Events<Key>,
}

impl World {
    /// A manager of a table in memory.
    pub(crate) fn new() -> Self {
        Self::with(|builder, policy| builder.policy(policy))
    }

    pub(crate) fn with(set: impl FnOnce(Builder<Key>, Policy) -> Builder<Key>) -> Self {
        let table = MemoryTable::new();
        Self::of(table.clone(), table, set)
    }

    /// A manager of another table.
    pub(crate) fn of(
        table: MemoryTable<Key>,
        managed: impl Table<Key>,
        set: impl FnOnce(Builder<Key>, Policy) -> Builder<Key>,
    ) -> Self {
        let clock = ManualClock::new();
        let manager = set(Manager::builder(managed), Policy::new().clock(clock.clone())).build();
        let events = manager.events();
        let (executor, units) = (TestExecutor::new(), Units::default());
        Self { executor, clock, units, table, manager, events }
    }

    /// Adds rows.
    pub(crate) fn insert<const N: usize>(&self, keys: [Key; N]) {
        for key in keys {
            self.table.insert(key, self.units.unit(key));
        }
    }

    /// Adds a row with a unit that has this restart rule.
    pub(crate) fn insert_as(&self, key: Key, restart: Restart) {
        self.table.insert(key, self.units.unit(key).restart(restart));
    }

    /// A process whose bodies run on this executor.
    pub(crate) fn app(&self) -> Process {
        Process::builder().spawner(self.executor.clone()).build().unwrap()
    }

    /// Runs all tasks until none is ready.
    pub(crate) fn settle(&self) {
        self.executor.run_until_idle();
        assert!(!self.units.overlapped.load(Ordering::SeqCst), "two runs of one key");
    }

    /// [`settle`](Self::settle), after everything that was given to the library's threads before this call. A blocking
    /// teardown goes through the same queue. It is done many times, because several threads take from the queue, and
    /// each may hold one earlier job for a while.
    pub(crate) fn settle_pool(&self) {
        (0..100).for_each(|_| Process::with_teardown(|| ()).close_blocking().unwrap());
        self.settle();
    }

    /// Advances the clock, and then runs all tasks until none is ready.
    pub(crate) fn advance(&self, by: Duration) {
        self.settle();
        self.clock.advance(by);
        self.settle();
    }

    /// Runs tasks until the condition holds, which other threads may make true.
    pub(crate) fn until(&self, holds: impl Fn() -> bool) {
        self.executor.until(holds);
        self.settle();
    }

    /// Starts the manager. It runs until its process is closed.
    pub(crate) fn start(&self) -> Managed {
        self.run(self.manager.runnable())
    }

    /// Starts a runnable. It runs until its process is closed.
    pub(crate) fn run(&self, runnable: Runnable) -> Managed {
        let app = self.app();
        let (tell_body, body_began) = unbounded();
        let process = app.clone();
        let ended = self.executor.spawn(async move {
            run_in(&process, &runnable, |p| async move {
                tell_body.send(()).await.unwrap();
                p.closing().await;
            })
            .await
        });
        let managed = Managed { app, ended, body_began };
        self.settle();
        managed
    }

    /// Closes it, and lets its stubborn thread end in time.
    #[track_caller]
    pub(crate) fn close_with_thread(&self, managed: Managed, release: &mpsc::Sender<()>) {
        managed.app.close();
        release.send(()).unwrap();
        self.until(|| managed.has_ended());
        managed.outcome().unwrap();
    }

    /// Spawns a future, and runs all tasks until none is ready.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let task = self.executor.spawn(future);
        self.settle();
        task
    }

    /// Starts a unit by a call.
    pub(crate) fn start_unit(&self, key: Key) -> Task<Result<Process, ManagerError>> {
        let manager = self.manager.clone();
        self.spawn(async move { manager.start(key).await })
    }

    /// Stops a unit by a call.
    pub(crate) fn stop_unit(&self, key: Key) -> Task<Result<(), ManagerError>> {
        let manager = self.manager.clone();
        self.spawn(async move { manager.stop(&key).await })
    }

    pub(crate) fn state(&self, key: Key) -> Option<State> {
        let list = self.manager.list();
        list.into_iter().find(|status| status.key == key).map(|status| status.state)
    }

    /// The events since the last call, as text.
    pub(crate) fn happened(&mut self) -> Vec<String> {
        self.settle();
        std::iter::from_fn(|| self.events.try_recv()).map(|event| in_words(&event)).collect()
    }
}

/// A running manager, or another runnable.
pub(crate) struct Managed {
    pub(crate) app: Process,
    ended: Task<Result<(), Error>>,
    body_began: Receiver<()>,
}

impl Managed {
    pub(crate) fn body_began(&self) -> bool {
        !self.body_began.is_empty()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.is_finished()
    }

    /// Closes it, and returns its outcome. It must end without an advance of the clock.
    #[track_caller]
    pub(crate) fn close(self, world: &World) -> Result<(), Error> {
        self.app.close();
        world.settle();
        self.outcome()
    }

    /// Its outcome. It must have ended.
    #[track_caller]
    pub(crate) fn outcome(self) -> Result<(), Error> {
        yielded(self.ended)
    }
}

/// The output of a task, which must have ended.
#[track_caller]
pub(crate) fn yielded<T>(task: Task<T>) -> T {
    assert!(task.is_finished(), "it has not ended");
    smol::block_on(task)
}

pub(crate) fn in_words<K: Debug + Display>(event: &Event<K>) -> String {
    let what = match &event.what {
        Happening::Started => "started".into(),
        Happening::Ready => "ready".into(),
        Happening::Ended => "ended".into(),
        Happening::Failed { error, .. } => format!("failed: {}", error.with_causes()),
        Happening::Restarting { delay, restarts } => {
            format!("restarting in {delay:?} ({restarts})")
        }
        Happening::GaveUp { .. } => "given up".into(),
        Happening::LoadFailed { error, delay } => {
            format!("not loaded: {error}, again in {delay:?}")
        }
        Happening::TableFailed { error, delay } => {
            format!("not scanned: {error}, again in {delay:?}")
        }
        Happening::Gone => "gone".into(),
        Happening::Changed => "changed".into(),
        Happening::Stopping => "stopping".into(),
        Happening::Aborted { after } => format!("aborted after {after:?}"),
        Happening::Stuck => "stuck".into(),
        Happening::Stopped { error: None, forced: false } => "stopped".into(),
        Happening::Stopped { error: None, forced: true } => "stopped by force".into(),
        Happening::Stopped { error: Some(error), .. } => {
            format!("stopped: {}", error.with_causes())
        }
        Happening::Missed { count } => format!("missed {count}"),
        other => format!("{other:?}"),
    };
    match event.key() {
        Some(key) => format!("{key} {what}"),
        None => what,
    }
}
