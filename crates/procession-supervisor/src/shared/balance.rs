//! [`Balance`]: how many units a manager may own, so that all managers have about as many.
//!
//! 1. Each unit runs if any manager can run it. Argument: a manager claims its fair share at once. It also claims units
//!    that stay free, because others have other kinds or no capacity: later, and more of them each time.
//! 2. No unit moves back and forth. Argument: a manager gives units up only when another one has registered, or when it
//!    is draining. If the other one does not take them, they remain free, and 1 applies.

use std::time::{Duration, Instant};

use super::table::{ManagerId, Share};

pub(super) struct Balance {
    /// How long units must be free before a manager that has its share claims more.
    patience: Duration,
    /// The newest manager that this one has made room for.
    newest: ManagerId,
    /// Since when there are free units although this manager owns all it may claim.
    free_since: Option<Instant>,
    /// What it may claim beyond its fair share.
    extra: usize,
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
        Self { patience, newest: manager, free_since: None, extra: 0 }
    }

    pub(super) fn bounds(&mut self, share: &Share, now: Instant) -> Bounds {
        if share.is_draining {
            // If nobody else could run the units, it does.
            let most = if share.managers == 0 { usize::MAX } else { 0 };
            return Bounds { claim: most, keep: most };
        }
        let fair = fair(share);
        let has_joined = share.newest.filter(|newest| *newest > self.newest);
        if let Some(newest) = has_joined {
            (self.newest, self.free_since, self.extra) = (newest, None, 0);
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
        let newest = Some(ManagerId::new(managers as u64));
        Share { units, managers, owned, newest, ..Share::default() }
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
    fn it_gives_units_up_once_for_each_manager_that_joins() {
        let (mut balance, now) = (balance(), Instant::now());
        assert_eq!(balance.bounds(&share(6, 1, 6), now).keep, MANY);
        assert_eq!(balance.bounds(&share(6, 2, 6), now), Bounds { claim: 3, keep: 3 });
        assert_eq!(balance.bounds(&share(6, 2, 6), now), Bounds { claim: 3, keep: MANY });
        assert_eq!(balance.bounds(&share(6, 3, 3), now), Bounds { claim: 2, keep: 2 });
        // One has left while another one has joined.
        let share = Share { newest: Some(ManagerId::new(4)), ..share(6, 3, 6) };
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
        let joined = Share { newest: Some(ManagerId::new(9)), ..share(10, 3, 10) };
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
    fn a_draining_manager_gives_all_up_if_another_one_is_there() {
        let (mut balance, now) = (balance(), Instant::now());
        let draining =
            |managers| Share { is_draining: true, has_free: true, ..share(9, managers, 4) };
        assert_eq!(balance.bounds(&draining(0), now), Bounds { claim: MANY, keep: MANY });
        assert_eq!(balance.bounds(&draining(1), now), Bounds { claim: 0, keep: 0 });
    }
}
