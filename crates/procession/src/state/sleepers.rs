//! How a node stores sleepers.

use std::task::Waker;

use super::contents::Contents;
use super::stable_list::StableList;
use crate::value::sleeper::Sleeper;

/// A moment in the life of a process for which waiters can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The process is Closing or Closed.
    Closing,
    /// The process is aborting, or Closed without having been aborted.
    Aborting,
    /// The process is Closed.
    Closed,
    /// The body of the process has ended, or it has none.
    BodyEnded,
    /// The children that the process waits for are Closed. This moment can come more than once.
    ChildrenClosed,
}

/// The number of moments.
const MOMENTS: usize = 5;

/// A set of moments. It is an array of `bool`, whose unused values let [`TeardownOrSleeper`] distinguish its variants
/// without another byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moments([bool; MOMENTS]);

impl Moments {
    pub(super) fn only(moment: Moment) -> Self {
        let mut moments = Self([false; MOMENTS]);
        moments.add(moment);
        moments
    }

    pub(super) fn has(self, moment: Moment) -> bool {
        self.0[moment as usize]
    }

    pub(super) fn add(&mut self, moment: Moment) {
        self.0[moment as usize] = true;
    }

    pub(super) fn remove(&mut self, moment: Moment) {
        self.0[moment as usize] = false;
    }

    pub(super) fn is_empty(self) -> bool {
        self == Self([false; MOMENTS])
    }
}

/// A sleeper, and the moments that it waits for. The fields of the sleeper are stored one by one, because a whole
/// [`Sleeper`] would need eight bytes more.
pub(super) struct Waiting {
    pub(super) waker: Waker,
    is_own: bool,
    /// There is more than one only in [`TeardownOrSleeper`].
    pub(super) moments: Moments,
}

impl Waiting {
    pub(super) fn new(sleeper: Sleeper, moments: Moments) -> Self {
        let is_own = sleeper.is_own();
        Self { waker: sleeper.into_waker(), is_own, moments }
    }

    pub(super) fn into_sleeper(self) -> Sleeper {
        Sleeper::from_parts(self.waker, self.is_own)
    }
}

/// Every node has space for its teardown or for one sleeper, whichever comes first. Anything that comes later is stored
/// elsewhere. So a body that waits until it closes allocates nothing: the waker of its task is stored here, and serves
/// for the abort too.
///
/// If a task waits for several moments and one of them comes, its sleeper is taken out, because waking it under the
/// lock would run foreign code there. Its place stays reserved until the sleeper is [put
/// back](super::node::Node::put_back), after the task was woken. If another of the moments comes in between, the task
/// is woken again.
#[derive(Default)]
pub(super) enum TeardownOrSleeper<C: Contents> {
    #[default]
    Empty,
    Teardown(C::Teardown),
    Waiting(Waiting),
    /// The reserved place of a sleeper that was taken out for one of its moments.
    Reserved {
        /// The [id](Sleeper::id) of the sleeper whose place it is.
        sleeper: usize,
        /// The moments that it still waits for.
        moments: Moments,
        /// Another of its moments has come since it was taken out.
        has_missed: bool,
    },
}

/// The sleepers of a node for which its [`TeardownOrSleeper`] has no space. The first two are stored in the value
/// itself.
pub(super) struct Waiters {
    pub(super) near: [Option<Waiting>; 2],
    pub(super) far: StableList<Waiting>,
}

/// The place of a sleeper in its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(super) at: u32,
    /// The number of times that the moment had come when the sleeper was registered, if it can come more than once.
    pub(super) times: u32,
}

/// The place in [`TeardownOrSleeper`]. The places in [`Waiters`] have higher numbers.
pub(super) const FIRST: u32 = 0;
/// The first place of `far`.
const FAR: u32 = 3;

impl Waiters {
    pub(super) fn new() -> Self {
        Self { near: [None, None], far: StableList::new() }
    }

    pub(super) fn insert(&mut self, waiting: Waiting) -> u32 {
        match (FIRST + 1..).zip(&mut self.near).find(|(_, near)| near.is_none()) {
            Some((place, near)) => {
                *near = Some(waiting);
                place
            }
            None => FAR + self.far.insert(waiting),
        }
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Waiting> {
        match place.checked_sub(FAR) {
            Some(place) => self.far.get_mut(place),
            None => self.near[(place - FIRST - 1) as usize].as_mut(),
        }
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<Waiting> {
        match place.checked_sub(FAR) {
            Some(place) => self.far.remove(place),
            None => self.near[(place - FIRST - 1) as usize].take(),
        }
    }
}
