//! [`Balance`]: how many units a manager may own, so that all managers have about as many.
//!
//! 1. Each unit runs if any manager can run it. Argument: a manager claims its fair share at once. It also claims units
//!    that stay free, because others have other kinds or no capacity: later, and more of them each time.
//! 2. Each manager gets its fair share once it can run that many units, if all managers have the same kinds. Argument:
//!    the shares of all add up to the number of units. So if a manager lacks some and none is free, others own more
//!    than theirs, and give them up at its request. If it was too slow to claim them, it asks again.
//! 3. No unit moves back and forth. Argument: a manager gives units up only at a request, or when it is draining. A
//!    manager asks until it has had its share once, and doubles the time between its requests. So the number of its
//!    requests grows with the logarithm of the time, even if none of them can bring it what it lacks.

use std::time::{Duration, Instant};

use super::table::{ManagerId, Share};

pub(super) struct Balance {
    /// How long units must be free before a manager that has its share claims more.
    patience: Duration,
    /// The last request that this manager has made room for.
    granted: u64,
    /// Since when there are free units although this manager owns all it may claim.
    free_since: Option<Instant>,
    /// What it may claim beyond its fair share.
    extra: usize,
    /// `None` once the manager has had its share.
    requests: Option<Requests>,
}

/// The requests of a manager that has not had its share yet.
struct Requests {
    /// Since when it waits for the answer to the last one.
    since: Option<Instant>,
    /// How long it waits before the next one.
    pause: Duration,
}

/// The maximum numbers of units that a manager may own.
#[derive(Debug, PartialEq)]
pub(super) struct Bounds {
    /// After it has claimed some.
    pub(super) claim: usize,
    /// Without giving any up.
    pub(super) keep: usize,
}

impl Balance {
    /// The balance of a manager that reads the table at these intervals, as all others probably do.
    pub(super) fn new(manager: ManagerId, every: Duration) -> Self {
        let patience = every.saturating_mul(2);
        // The registration was the first request.
        let requests = Some(Requests { since: None, pause: patience });
        Self { patience, granted: manager.get(), free_since: None, extra: 0, requests }
    }

    pub(super) fn bounds(&mut self, share: &Share, now: Instant) -> Bounds {
        if share.is_draining {
            // If nobody else could run the units, it does.
            let most = if share.managers == 0 { usize::MAX } else { 0 };
            return Bounds { claim: most, keep: most };
        }
        let fair = fair(share);
        if share.last_request > self.granted {
            (self.granted, self.free_since, self.extra) = (share.last_request, None, 0);
            return Bounds { claim: fair, keep: fair };
        }
        if !share.has_free || share.owned < fair + self.extra {
            self.free_since = None;
        } else if now.duration_since(*self.free_since.get_or_insert(now)) >= self.patience {
            self.extra += fair.max(1);
            self.free_since = None;
        }
        Bounds { claim: fair + self.extra, keep: usize::MAX }
    }

    /// Returns whether the manager must ask the others to give up what exceeds their shares. It has claimed what it
    /// could, and has room for this many units more.
    pub(super) fn must_request(&mut self, share: &Share, room: usize, now: Instant) -> bool {
        if share.is_draining {
            return false;
        }
        if share.owned >= fair(share) || room == 0 {
            self.requests = None;
        }
        let Some(requests) = &mut self.requests else { return false };
        if now.duration_since(*requests.since.get_or_insert(now)) < requests.pause {
            return false;
        }
        requests.since = Some(now);
        requests.pause = requests.pause.saturating_mul(2);
        true
    }
}

/// The fair share of a manager: the shares of all managers of the same kinds add up to the number of units. The oldest
/// managers get the rest of the division, so that as few units as possible move when another one joins.
fn fair(share: &Share) -> usize {
    let managers = share.managers.max(1);
    share.units / managers + usize::from(share.older < share.units % managers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);
    const MANY: usize = usize::MAX;

    /// The share of the oldest manager.
    fn share(units: usize, managers: usize, owned: usize) -> Share {
        let last_request = managers as u64;
        Share { units, managers, owned, last_request, ..Share::default() }
    }

    fn balance() -> Balance {
        Balance::new(ManagerId::new(1), EVERY)
    }

    #[test]
    fn a_manager_claims_its_fair_share() {
        let (mut balance, now) = (balance(), Instant::now());
        for (units, claim) in [(0, 0), (1, 1), (9, 9)] {
            let bounds = balance.bounds(&share(units, 1, 0), now);
            assert_eq!(bounds, Bounds { claim, keep: MANY });
        }
        balance.bounds(&share(9, 2, 0), now);
        assert_eq!(balance.bounds(&share(9, 2, 0), now), Bounds { claim: 5, keep: MANY });
    }

    #[test]
    fn fair_shares_add_up() {
        for (units, managers) in [(0, 1), (1, 3), (9, 4), (10, 5), (10_000, 99)] {
            let shares =
                (0..managers).map(|older| fair(&Share { older, ..share(units, managers, 0) }));
            let shares: Vec<usize> = shares.collect();
            assert_eq!(shares.iter().sum::<usize>(), units);
            assert!(
                shares.is_sorted_by(|one, next| one >= next)
                    && shares[0] - shares[managers - 1] <= 1
            );
        }
    }

    #[test]
    fn it_gives_units_up_once_for_each_request() {
        let (mut balance, now) = (balance(), Instant::now());
        assert_eq!(balance.bounds(&share(6, 1, 6), now).keep, MANY);
        assert_eq!(balance.bounds(&share(6, 2, 6), now), Bounds { claim: 3, keep: 3 });
        assert_eq!(balance.bounds(&share(6, 2, 6), now), Bounds { claim: 3, keep: MANY });
        assert_eq!(balance.bounds(&share(6, 3, 3), now), Bounds { claim: 2, keep: 2 });
        // One has left while another one has joined.
        let share = Share { last_request: 4, ..share(6, 3, 6) };
        assert_eq!(balance.bounds(&share, now), Bounds { claim: 2, keep: 2 });
    }

    #[test]
    fn it_claims_what_nobody_else_does() {
        let (mut balance, now) = (balance(), Instant::now());
        balance.bounds(&share(10, 2, 0), now);
        let free = |owned| Share { has_free: true, ..share(10, 2, owned) };
        assert_eq!(balance.bounds(&free(4), now).claim, 5);
        assert_eq!(balance.bounds(&free(5), now).claim, 5);
        assert_eq!(balance.bounds(&free(5), now + EVERY).claim, 5);
        assert_eq!(balance.bounds(&free(5), now + EVERY * 2).claim, 10);
        // What it has taken, it keeps, and takes no more while nothing is free.
        assert_eq!(
            balance.bounds(&share(10, 2, 8), now + EVERY * 9),
            Bounds { claim: 10, keep: MANY }
        );
        assert_eq!(balance.bounds(&free(10), now + EVERY * 10).claim, 10);
        assert_eq!(balance.bounds(&free(10), now + EVERY * 12).claim, 15);
        // Until another one joins.
        let joined = Share { last_request: 9, ..share(10, 3, 10) };
        assert_eq!(balance.bounds(&joined, now + EVERY * 13), Bounds { claim: 4, keep: 4 });
    }

    #[test]
    fn units_must_be_free_without_a_break() {
        let (mut balance, now) = (balance(), Instant::now());
        balance.bounds(&share(10, 2, 0), now);
        for second in 0..9 {
            let has_free = second % 2 == 0;
            let share = Share { has_free, ..share(10, 2, 5) };
            assert_eq!(balance.bounds(&share, now + EVERY * second).claim, 5);
        }
    }

    #[test]
    fn it_asks_until_it_has_had_its_share() {
        let (mut balance, now) = (balance(), Instant::now());
        let mut asks =
            |owned, room, at| balance.must_request(&share(10, 2, owned), room, now + EVERY * at);
        let asked: Vec<u32> = (0..31).filter(|at| asks(4, MANY, *at)).collect();
        assert_eq!(asked, [2, 6, 14, 30]);
        assert!(!asks(5, MANY, 100));
        assert!(!asks(0, MANY, 200), "it has had its share");
    }

    #[test]
    fn a_manager_without_room_has_its_share() {
        let (mut balance, now) = (balance(), Instant::now());
        assert!(!balance.must_request(&share(10, 2, 4), 0, now));
        assert!(!balance.must_request(&share(10, 2, 4), 1, now + EVERY * 9));
    }

    #[test]
    fn a_draining_manager_gives_all_up_if_another_one_is_there() {
        let (mut balance, now) = (balance(), Instant::now());
        let draining =
            |managers| Share { is_draining: true, has_free: true, ..share(9, managers, 4) };
        assert_eq!(balance.bounds(&draining(0), now), Bounds { claim: MANY, keep: MANY });
        assert_eq!(balance.bounds(&draining(1), now), Bounds { claim: 0, keep: 0 });
        let asks = (0..9).any(|at| balance.must_request(&draining(1), MANY, now + EVERY * at));
        assert!(!asks, "and asks for nothing");
    }
}
