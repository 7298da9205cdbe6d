//! [`Balance`]: how many units a manager may own, so that all managers have about as many.
//!
//! 1. Each unit runs if any manager can run it. Argument: a manager claims its fair share at once. It also claims units
//!    that stay free, because others have no capacity or are slow: later, and twice as many each time.
//! 2. If all managers have the same kinds, each gets its fair share after it has joined, and also later unless another
//!    one owns those units because it was given them in time. Argument: the shares of all add up to the number of
//!    units. So if a manager lacks some and none is free, others own more than their shares. They give up what they own
//!    beyond their shares if it has joined, and otherwise what they have claimed beyond them, at its next request. If
//!    it was too slow to claim those units, it asks again.
//! 3. A manager has claimed at most `extra` units beyond its share. Argument: it claims no more than that, and at each
//!    look, [`Balance::plan`] lowers `extra` to what the manager still owns beyond its share.
//! 4. No unit is given up in vain again and again. Argument: a manager gives up units only at a request, or when it is
//!    draining, and only units of kinds that the asking manager can run, and no more than it lacks. A manager asks only
//!    while it has room, and doubles the time between its requests, up to [`LONGEST`] pauses, until it has its share.

use std::time::{Duration, Instant};

use super::table::{Request, Share, Wanted};

/// The greatest factor by which a manager prolongs the time between its requests.
const LONGEST: u32 = 64;

pub(super) struct Balance {
    /// How long units must be free before a manager that has its share claims more, and how long a manager waits for
    /// what it lacks before it asks.
    patience: Duration,
    /// The number of the last request that this manager has seen.
    seen: u64,
    /// Since when there are free units although this manager owns all it may claim.
    free_since: Option<Instant>,
    /// What it may own beyond its fair share, because nobody else has claimed it.
    extra: usize,
    /// Since when it lacks units, or since its last request.
    lacks_since: Option<Instant>,
    /// The factor by which the time to the next request is prolonged.
    factor: u32,
    /// It has not had its share since it registered.
    is_joining: bool,
}

/// What a manager does with its units.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// The maximum number of units that it may own after it has claimed some.
    pub(super) limit: usize,
    pub(super) surplus: Option<Surplus>,
}

/// Units that a manager should give up. How many it runs, it knows best itself.
#[derive(Debug, PartialEq)]
pub(super) struct Surplus {
    /// The number of units that it may keep.
    pub(super) keep: usize,
    /// The number of units that it may have claimed beyond its share, including those that it is giving up already.
    pub(super) extra: usize,
    /// What others ask for. `None` if it gives up all that it may not keep.
    pub(super) requests: Option<Vec<Request>>,
}

impl Surplus {
    /// The maximum number of units that it gives up because of a request, if it is already giving up `own` units
    /// because of earlier ones of the same manager, and `all` units because of any.
    pub(super) fn most(&self, wanted: Wanted, own: usize, all: usize) -> usize {
        let most = if wanted.is_joining { usize::MAX } else { self.extra.saturating_sub(all) };
        wanted.units.saturating_sub(own).min(most)
    }
}

impl Balance {
    /// The balance of a manager that reads the table at these intervals, as all others probably do.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            patience: every.saturating_mul(2),
            seen: 0,
            free_since: None,
            extra: 0,
            lacks_since: None,
            // It asks at once.
            factor: 0,
            is_joining: true,
        }
    }

    /// The number of the last request that the manager knows, if there are newer ones.
    pub(super) fn must_read_requests(&self, share: &Share) -> Option<u64> {
        (share.last_request > self.seen).then_some(self.seen)
    }

    /// What the manager does now, given the requests that it has not seen yet.
    pub(super) fn plan(&mut self, share: &Share, requests: Vec<Request>, now: Instant) -> Plan {
        if share.is_draining {
            // If nobody else could run the units, it does.
            if share.managers == 0 {
                return Plan { limit: usize::MAX, surplus: None };
            }
            let all = Surplus { keep: 0, extra: 0, requests: None };
            return Plan { limit: 0, surplus: Some(all) };
        }
        self.extra = self.extra.min(share.owned.saturating_sub(share.fair));
        let surplus = self.surplus(share, requests);
        if !share.has_free || share.owned < share.fair + self.extra || surplus.is_some() {
            self.free_since = None;
        } else if now.duration_since(*self.free_since.get_or_insert(now)) >= self.patience {
            self.extra += (share.fair + self.extra).max(1);
            self.free_since = None;
        }
        Plan { limit: share.fair + self.extra, surplus }
    }

    fn surplus(&mut self, share: &Share, requests: Vec<Request>) -> Option<Surplus> {
        self.seen = self.seen.max(requests.iter().map(|request| request.number).max()?);
        Some(Surplus { keep: share.fair, extra: self.extra, requests: Some(requests) })
    }

    /// The manager has claimed what it could, and has room for this many units more. Returns what it must ask the
    /// others for. If it has done so, it calls [`requested`](Self::requested).
    pub(super) fn settle(&mut self, share: &Share, room: usize, now: Instant) -> Option<Wanted> {
        let lack = share.fair.saturating_sub(share.owned).min(room);
        if lack == 0 || share.is_draining {
            (self.lacks_since, self.factor, self.is_joining) = (None, 1, false);
            return None;
        }
        let waited = now.duration_since(*self.lacks_since.get_or_insert(now));
        let is_due = waited >= self.patience.saturating_mul(self.factor);
        is_due.then(|| Wanted::new(lack, self.is_joining))
    }

    pub(super) fn requested(&mut self, now: Instant) {
        self.lacks_since = Some(now);
        self.factor = (self.factor * 2).clamp(1, LONGEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::table::ManagerId;

    const EVERY: Duration = Duration::from_secs(1);
    const MANY: usize = usize::MAX;

    fn share(fair: usize, owned: usize) -> Share {
        Share { fair, managers: 2, owned, ..Share::default() }
    }

    fn with_free(fair: usize, owned: usize) -> Share {
        Share { has_free: true, ..share(fair, owned) }
    }

    fn balance() -> Balance {
        Balance::new(EVERY)
    }

    fn request(number: u64, wanted: Wanted) -> Request {
        Request::new(ManagerId::new(number), number, wanted, vec!["a".into()])
    }

    /// The maximum number of units that are given up because of a request, if `all` units are stopping already because
    /// of the same manager.
    fn gives(balance: &mut Balance, share: &Share, wanted: Wanted, all: usize) -> usize {
        let request = request(balance.seen + 1, wanted);
        let surplus = balance.plan(share, vec![request], Instant::now()).surplus.unwrap();
        surplus.most(wanted, all, all).min((share.owned - all).saturating_sub(surplus.keep))
    }

    #[test]
    fn requests_are_seen_once() {
        let (mut balance, now) = (balance(), Instant::now());
        let seen = |balance: &Balance, last_request| {
            balance.must_read_requests(&Share { last_request, ..share(3, 6) })
        };
        assert_eq!(balance.plan(&share(3, 6), Vec::new(), now), Plan { limit: 3, surplus: None });
        assert_eq!((seen(&balance, 0), seen(&balance, 2)), (None, Some(0)));
        let requests = || vec![request(1, Wanted::new(1, false)), request(2, Wanted::new(9, true))];
        let surplus = Some(Surplus { keep: 3, extra: 0, requests: Some(requests()) });
        assert_eq!(balance.plan(&share(3, 6), requests(), now), Plan { limit: 3, surplus });
        assert_eq!((seen(&balance, 2), seen(&balance, 3)), (None, Some(2)));
    }

    #[test]
    fn it_gives_up_what_exceeds_its_share_when_another_one_joins() {
        let mut balance = balance();
        let joins = |units| Wanted::new(units, true);
        assert_eq!(gives(&mut balance, &share(3, 9), joins(2), 0), 2);
        assert_eq!(gives(&mut balance, &share(3, 9), joins(MANY), 0), 6);
        assert_eq!(gives(&mut balance, &share(3, 3), joins(2), 0), 0);
        // It is asked again while the units are stopping.
        assert_eq!(gives(&mut balance, &share(3, 9), joins(2), 2), 0);
        assert_eq!(gives(&mut balance, &share(3, 9), joins(3), 2), 1);
    }

    /// Units that ended elsewhere, which leaves others with more, are no reason to move any.
    #[test]
    fn a_manager_that_has_had_its_share_gets_only_what_others_claimed_beyond_theirs() {
        let (mut balance, now) = (balance(), Instant::now());
        let lacks = |units| Wanted::new(units, false);
        assert_eq!(gives(&mut balance, &share(3, 5), lacks(2), 0), 0);
        for second in 0..3 {
            balance.plan(&with_free(6, 6), Vec::new(), now + EVERY * second);
        }
        // It was allowed six more, and has claimed five.
        assert_eq!(gives(&mut balance, &share(6, 11), lacks(2), 0), 2);
        assert_eq!(gives(&mut balance, &share(6, 11), lacks(9), 0), 5);
        assert_eq!(gives(&mut balance, &share(6, 11), lacks(9), 2), 3);
        // When these are gone, it does not claim them again at once.
        let plan = balance.plan(&with_free(6, 6), Vec::new(), now + EVERY * 3);
        assert_eq!(plan.limit, 6);
        assert_eq!(gives(&mut balance, &share(3, 5), lacks(2), 0), 0);
    }

    #[test]
    fn it_claims_what_nobody_else_does() {
        let (mut balance, now) = (balance(), Instant::now());
        let mut limit = |share: Share, at| balance.plan(&share, Vec::new(), now + EVERY * at).limit;
        assert_eq!(limit(with_free(5, 4), 0), 5);
        assert_eq!(limit(with_free(5, 5), 0), 5);
        assert_eq!(limit(with_free(5, 5), 1), 5);
        assert_eq!(limit(with_free(5, 5), 2), 10);
        assert_eq!(limit(with_free(5, 10), 3), 10);
        assert_eq!(limit(with_free(5, 10), 5), 20);
        // It keeps what it has claimed, and claims no more while nothing is free.
        assert_eq!(limit(share(5, 8), 9), 8);
        assert_eq!(limit(with_free(5, 8), 10), 8);
        assert_eq!(limit(with_free(5, 8), 12), 16);
        // When there are fewer units, it has no right to more than its share any longer.
        assert_eq!(limit(share(2, 2), 13), 2);
        assert_eq!(limit(with_free(20, 2), 14), 20);
    }

    #[test]
    fn units_must_be_free_without_a_break() {
        let (mut balance, now) = (balance(), Instant::now());
        for second in 0..9 {
            let share = Share { has_free: second % 2 == 0, ..share(5, 5) };
            assert_eq!(balance.plan(&share, Vec::new(), now + EVERY * second).limit, 5);
        }
    }

    /// The seconds after which a manager asks, and what for.
    fn asks(balance: &mut Balance, share: Share, room: usize, seconds: u32) -> Vec<(u32, Wanted)> {
        let now = Instant::now();
        let ask = |at| {
            let wanted = balance.settle(&share, room, now + EVERY * at)?;
            balance.requested(now + EVERY * at);
            Some((at, wanted))
        };
        (0..seconds).filter_map(ask).collect()
    }

    #[test]
    fn it_asks_until_it_has_its_share() {
        let mut balance = balance();
        let wanted = Wanted::new(3, true);
        let expected = [0, 2, 6, 14, 30].map(|at| (at, wanted));
        assert_eq!(asks(&mut balance, share(5, 2), MANY, 31), expected);
        assert_eq!(asks(&mut balance, share(5, 5), MANY, 99), []);
        // It has had its share: from now on, it wants only what others have claimed beyond theirs.
        let expected = [2, 6, 14, 30].map(|at| (at, Wanted::new(1, false)));
        assert_eq!(asks(&mut balance, share(5, 2), 1, 31), expected);
        assert_eq!(asks(&mut balance, share(5, 2), 0, 99), [], "without room");
    }

    /// The store could not be reached.
    #[test]
    fn a_request_that_was_not_made_is_made_at_the_next_look() {
        let (mut balance, now) = (balance(), Instant::now());
        let mut asks = |at| balance.settle(&share(5, 2), MANY, now + EVERY * at).is_some();
        assert_eq!([0, 1, 4].map(&mut asks), [true; 3]);
        balance.requested(now + EVERY * 4);
        let mut asks = |at| balance.settle(&share(5, 2), MANY, now + EVERY * at).is_some();
        assert_eq!([4, 5, 6, 7].map(&mut asks), [false, false, true, true]);
    }

    #[test]
    fn the_time_between_requests_has_a_limit() {
        let asks = asks(&mut balance(), share(5, 2), MANY, 1_000);
        let last: Vec<u32> = asks.iter().rev().take(3).map(|(at, _)| *at).collect();
        assert_eq!([last[0] - last[1], last[1] - last[2]], [2 * LONGEST; 2]);
    }

    #[test]
    fn a_draining_manager_gives_all_up_if_another_one_is_there() {
        let (mut balance, now) = (balance(), Instant::now());
        let draining =
            |managers| Share { is_draining: true, managers, has_free: true, ..share(0, 4) };
        let mut plan = |managers| balance.plan(&draining(managers), Vec::new(), now);
        assert_eq!(plan(0), Plan { limit: MANY, surplus: None });
        let all = Surplus { keep: 0, extra: 0, requests: None };
        assert_eq!(plan(1), Plan { limit: 0, surplus: Some(all) });
        assert_eq!(asks(&mut balance, draining(1), MANY, 9), [], "and asks for nothing");
    }
}
