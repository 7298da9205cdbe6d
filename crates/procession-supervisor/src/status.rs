//! Units as readers see them: [`Status`] and [`Counts`].

use std::fmt::{self, Display};
use std::time::{Duration, Instant, SystemTime};

use procession::support::text::{Count, Elapsed, Escaped};

use crate::error::ManagerError;
use crate::name::Name;
use crate::state::State;

/// The state and the past of a unit. Returned by [`Manager::list`](crate::Manager::list) and
/// [`Supervisor::list`](crate::Supervisor::list).
///
/// Its `Display` is one line: ``importer: waiting for its restart, in 800 ms; 3 restarts; last error: …``.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status<K> {
    /// The key of the unit; in a set, its name.
    pub key: K,
    /// Its state.
    pub state: State,
    /// When it entered this state, by the manager's clock.
    pub since: Instant,
    /// The number of its restarts.
    pub restarts: u64,
    /// The last error of a run, or of loading the row.
    pub last_error: Option<ManagerError>,
    /// When it will be restarted, if it [waits](State::Waiting) for its restart. `None` while it is stuck.
    pub next_restart: Option<Instant>,
    /// If it is [stopping](State::Stopping): when it will be aborted or, once it is aborted, when it will be reported
    /// as stuck. `None` if there is no limit.
    pub deadline: Option<Instant>,
    /// Whether its current run was aborted.
    pub aborted: bool,
    /// In an [`Overview`](crate::Overview) of a shared manager: the fencing token of the unit's claim.
    pub token: Option<u64>,
    /// When the status was read, by the manager's clock.
    pub(crate) now: Instant,
}

impl<K> Status<K> {
    /// How long it has been in this state.
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_duration_since(self.since)
    }

    /// How long it has been ready, if it is running.
    pub fn uptime(&self) -> Option<Duration> {
        (self.state == State::Running).then(|| self.elapsed())
    }

    /// The time until its restart, if it waits for one.
    pub fn restarts_in(&self) -> Option<Duration> {
        self.next_restart.map(|next| next.saturating_duration_since(self.now))
    }

    /// The time until its [`deadline`](Self::deadline).
    pub fn deadline_in(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(self.now))
    }

    /// When it entered this state, by the wall clock. Call it right after the status was read, because it counts back
    /// from the current time.
    pub fn since_time(&self) -> SystemTime {
        let now = SystemTime::now();
        now.checked_sub(self.elapsed()).unwrap_or(now)
    }
}

impl<K: Display> Display for Status<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Name(&self.key), self.state)?;
        match (self.restarts_in(), self.deadline_in()) {
            (Some(time), _) => write!(f, ", in {}", Elapsed(time))?,
            (None, Some(time)) if !self.aborted => write!(f, ", abort in {}", Elapsed(time))?,
            _ => write!(f, " for {}", Elapsed(self.elapsed()))?,
        }
        match self.restarts {
            0 => {}
            1 => f.write_str("; 1 restart")?,
            restarts => write!(f, "; {} restarts", Count(restarts as usize))?,
        }
        match &self.last_error {
            Some(error) => {
                write!(f, "; last error: {}", Escaped::error(&error.with_causes().to_string()))
            }
            None => Ok(()),
        }
    }
}

/// The number of units in each group of states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// All units.
    pub units: usize,
    /// The units on their way to be ready: [`Loading`](State::Loading) and [`Starting`](State::Starting).
    pub starting: usize,
    /// The units that are [`Running`](State::Running).
    pub running: usize,
    /// The units that are [`Stopping`](State::Stopping).
    pub stopping: usize,
    /// The units that are [`Stuck`](State::Stuck).
    pub stuck: usize,
    /// The units that [wait](State::Waiting) for their restart.
    pub waiting: usize,
    /// The units that have [`Ended`](State::Ended) for good.
    pub ended: usize,
    /// All others: given up, stopped by a call, or not started yet.
    pub idle: usize,
}

impl Counts {
    pub(crate) fn of(&mut self, state: State) -> &mut usize {
        match state {
            State::Loading | State::Starting => &mut self.starting,
            State::Running => &mut self.running,
            State::Stopping => &mut self.stopping,
            State::Stuck => &mut self.stuck,
            State::Waiting => &mut self.waiting,
            State::Ended => &mut self.ended,
            _ => &mut self.idle,
        }
    }
}

/// Times are in milliseconds; `since` is the wall clock's time since 1970.
#[cfg(feature = "serde")]
impl<K: serde::Serialize> serde::Serialize for Status<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let since = self.since_time().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut fields = serializer.serialize_struct("Status", 10)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("state", &self.state.to_string())?;
        fields.serialize_field("since", &millis(since))?;
        fields.serialize_field("elapsed", &millis(self.elapsed()))?;
        fields.serialize_field("restarts", &self.restarts)?;
        let error = self.last_error.as_ref().map(|error| error.with_causes().to_string());
        fields.serialize_field("last_error", &error)?;
        fields.serialize_field("restarts_in", &self.restarts_in().map(millis))?;
        fields.serialize_field("deadline_in", &self.deadline_in().map(millis))?;
        fields.serialize_field("aborted", &self.aborted)?;
        fields.serialize_field("token", &self.token)?;
        fields.end()
    }
}

#[cfg(all(test, feature = "serde", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_status_can_be_serialized() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let status = Status {
            key: "importer",
            state: State::Waiting,
            since: now,
            restarts: 3,
            last_error: Some(ManagerError::NotRunning),
            next_restart: Some(now + 3 * second),
            deadline: None,
            aborted: false,
            token: None,
            now: now + second,
        };
        let json = serde_json::to_value(&status).expect("plain data");
        assert_eq!(json["state"], "waiting for its restart");
        assert_eq!((&json["restarts_in"], &json["elapsed"]), (&2000.into(), &1000.into()));
        assert_eq!(json["last_error"], "the manager is not running");
        assert!(json["since"].as_u64().is_some_and(|since| since > 1_700_000_000_000));
    }
}
