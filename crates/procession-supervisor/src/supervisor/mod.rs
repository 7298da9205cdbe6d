//! [`Supervisor`]: a fixed set of units that are started in order, and restarted by a strategy.
//!
//! A set is put together from the combinators of `procession-runnable` and two of its own: [`bounded`], one
//! unit whose stop is bounded, and [`restarting`], what is started again when it fails.
//!
//! | strategy | is |
//! |---|---|
//! | one for one | `sequential` of `restarting(bounded(unit))` |
//! | one for all | `restarting(sequential` of `bounded(unit))` |
//! | rest for one | `restarting(sequential([bounded(first), rest for one of the others]))` |

mod bounded;
mod restarting;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use procession::{Closed, Site};
use procession_runnable::{Runnable, named, sequential};

use self::bounded::bounded;
use self::restarting::restarting;
use crate::event::{EventSource, Events};
use crate::policy::Policy;
use crate::sync::Mutex;
use crate::unit::Unit;

/// The number of unread events that are kept for each reader.
const EVENTS: usize = 1024;

/// Keeps a fixed set of units running that belong together, as a supervisor of Erlang does. Clones describe the
/// same set.
///
/// The units start in order, each when the one before it is ready, and stop in the reverse order, one after
/// the other, each within its grace time. What is started again when a unit fails is up to the strategy; when,
/// and how often, to the [`Policy`]. A unit that is started again too often ends the set, whose outcome has its
/// error. So supervisors nest: a set is a unit of another, or of a [`Manager`](crate::Manager).
///
/// ```
/// use procession::Process;
/// use procession_runnable::{body, run_in};
/// use procession_supervisor::Supervisor;
///
/// let part = |what: &'static str| {
///     body(move |run| async move {
///         println!("{what} is up");
///         run.ready();
///         run.closing().await;
///     })
/// };
/// // If the connection fails, the session is of no use any more: it is stopped, and both start again.
/// let link = Supervisor::rest_for_one([
///     ("connection", part("the connection")),
///     ("session", part("the session")),
/// ]);
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &link.runnable(), |_| async {}))?;
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
pub struct Supervisor {
    name: Arc<str>,
    /// Where it was described.
    site: Site,
    strategy: Strategy,
    units: Vec<(Arc<str>, Unit)>,
    policy: Policy,
    events: Arc<EventSource<Arc<str>>>,
}

#[derive(Clone, Copy, Debug)]
enum Strategy {
    OneForOne,
    OneForAll,
    RestForOne,
}

/// A run of a set.
struct Set {
    site: Site,
    policy: Policy,
    events: Arc<EventSource<Arc<str>>>,
    /// A unit was given up: nothing is started again.
    gave_up: AtomicBool,
}

/// A unit of a run of a set.
struct Member {
    name: Arc<str>,
    unit: Unit,
    /// Its last run, which may have ignored its abort: the next one waits for it.
    last: Arc<Mutex<Option<Closed>>>,
    set: Arc<Set>,
}

impl Supervisor {
    /// A unit that fails is started again, and no other.
    #[track_caller]
    pub fn one_for_one<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::OneForOne, units)
    }

    /// When a unit fails, all others are stopped, and all are started again.
    #[track_caller]
    pub fn one_for_all<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::OneForAll, units)
    }

    /// When a unit fails, those after it are stopped, and it and those are started again.
    #[track_caller]
    pub fn rest_for_one<N, U>(units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        Self::new(Strategy::RestForOne, units)
    }

    #[track_caller]
    fn new<N, U>(strategy: Strategy, units: impl IntoIterator<Item = (N, U)>) -> Self
    where
        N: Into<Arc<str>>,
        U: Into<Unit>,
    {
        let units = units.into_iter().map(|(name, unit)| (name.into(), unit.into())).collect();
        let (name, policy) = ("supervisor".into(), Policy::new());
        let site = Site::caller();
        Self { name, site, strategy, units, policy, events: Arc::new(EventSource::new(EVENTS)) }
    }

    /// Its name, for its process and its errors. Default: `supervisor`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How units are started again and stopped.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Reads all that happens from now on, in all runs. With one for all, it is the set that is started again:
    /// the events of that have its name.
    pub fn events(&self) -> Events<Arc<str>> {
        self.events.read()
    }

    /// The set as a runnable: ready when all its units were.
    ///
    /// Its outcome has the error of a unit that was given up, as
    /// [`ManagerError::GaveUp`](crate::ManagerError::GaveUp), and those of units that did not stop, as
    /// [`ManagerError::Stuck`](crate::ManagerError::Stuck).
    pub fn runnable(&self) -> Runnable {
        let set = self.clone();
        let assembled = Runnable::new(move |start| set.assemble().at(set.site).start(start));
        named(self.name.clone(), assembled)
    }

    /// The set for one run.
    fn assemble(&self) -> Runnable {
        let set = Arc::new(Set {
            site: self.site,
            policy: self.policy.clone(),
            events: self.events.clone(),
            gave_up: AtomicBool::new(false),
        });
        let units = self.units.iter().map(|(name, unit)| {
            let (name, unit) = (name.clone(), unit.clone());
            let member =
                Member { name: name.clone(), unit, last: Arc::default(), set: set.clone() };
            (name, bounded(Arc::new(member)))
        });
        match self.strategy {
            Strategy::OneForOne => {
                sequential(units.map(|(name, unit)| restarting(name, unit, set.clone())))
            }
            Strategy::OneForAll => {
                let all = sequential(units.map(|(_, unit)| unit)).at(self.site);
                restarting(self.name.clone(), all, set)
            }
            Strategy::RestForOne => {
                let units: Vec<_> = units.collect();
                let rest = units.into_iter().rev().fold(None, |rest, (name, unit)| {
                    let with_rest = sequential([unit].into_iter().chain(rest)).at(self.site);
                    Some(restarting(name, with_rest, set.clone()))
                });
                sequential(rest)
            }
        }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.units.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Supervisor")
            .field("name", &self.name)
            .field("strategy", &self.strategy)
            .field("units", &names)
            .finish_non_exhaustive()
    }
}
