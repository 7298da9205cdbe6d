//! [`Broken`]: a table in memory that breaks one rule. Each of its faults is found by the conformance suite, so this is
//! the list of what the suite checks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use procession_supervisor::shared::{
    Claimed, Desired, ManagerId, ManagerRow, MemorySharedTable, Order, Ordered, Record, Registered,
    Registration, Request, Session, Share, SharedTable, TableError, Token, UnitRow, Wanted, Write,
    WriteResult, Written,
};

macro_rules! faults {
    ($($fault:ident)*) => {
        /// A rule that is broken.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Fault {
            Nothing,
            $($fault),*
        }

        impl Fault {
            /// All but `Nothing`.
            pub(crate) const ALL: &[Self] = &[$(Self::$fault),*];
        }
    };
}
faults! {
    IdsRepeat KindsAreIgnored TtlIsIgnored
    RenewNeverRefuses RenewDoesNothing
    PreviousIsIgnored
    DrainNeverRefuses DrainForgets DrainEndsTheLease DrainFrees DrainedManagersClaim DrainedManagersCount
    RequestNeverRefuses RequestForgets RequestCountsOnce RequestDrains
    RequestsNeverRefuse RequestsIgnoreAfter RequestsIncludeOwn RequestsOfOtherKinds RequestsForgetKinds
    RequestsForgetWanted RequestsForgetManagers RequestsAreReversed
    LeaveDoesNothing LeaveRefusesTheEnded
    ExpireDeadFindsNobody ExpireDeadRepeats ExpireDeadKillsTheLiving
    ExpireDoesNothing ExpireRefusesTheEnded ExpireFreesOthers ExpireRemovesOthers ExpireRemovesStopped
    ShareNeverRefuses ShareForgetsItself ShareForgetsOwned ShareCountsAll
    ShareForgetsRequests ShareHasAllRequests ShareHasOwnRequests ShareRoundsUp ShareHidesDraining ShareHidesFree ShareHidesOrders ShareHidesDead
    ClaimNeverRefuses ClaimExceedsMax ClaimRepeats ClaimOfOthers ClaimForgetsStarts
    TokensStay TokensStartAgain
    OrdersNeverRefuse OrdersForgetStops OrdersForgetRestarts OrdersOfOthers OrdersComeOnce
    OrdersHaveOldTokens
    OwnedNeverRefuses OwnedForgets OwnedOfOthers OwnedHasOldTokens
    RecordNeverRefuses RecordForgetsReady RecordForgetsSteady RecordForgetsFailed RecordForgetsDone
    RecordForgetsRestarted RecordForgetsErrors
    ReleaseNeverRefuses ReleaseForgets
    WriteStopsAtARefusal WriteIsReversed WriteForgetsTheLast RecordsRepeat NumbersOutliveClaims
    WaitNeverWakes WaitAlwaysWakes
    PutKeepsGenerations PutBumpsGenerations PutStarts PutForgetsSpecs PutKeepsRemovals
    WantRunForgets WantStopForgets RemoveForgets RemoveWaits ClearForgets NothingIsUnknown
    FreeUnitsAreReady FreeUnitsAreSteady
    GetForgetsOwners GetForgetsCrashes GetForgetsQuarantine
    ScanIgnoresAfter ScanIgnoresLimits ScanIsReversed ScanIncludesAfter
    ManagersIncludeTheEnded ManagersForgetKinds ManagersForgetUnits ManagersAreReversed
    ManagersForgetTheEnd ManagersForgetDraining
}

#[derive(Clone)]
pub(crate) struct Broken {
    table: MemorySharedTable,
    fault: Fault,
    past: Arc<Mutex<Past>>,
}

/// What a broken store remembers, or should not.
#[derive(Default)]
struct Past {
    dead: Vec<ManagerId>,
    managers: Vec<ManagerRow>,
    claimed: Vec<Claimed>,
    ordered: Vec<Order>,
    draining: Vec<ManagerId>,
    requesting: Vec<ManagerId>,
    puts: u64,
    numbers: HashMap<String, u64>,
}

struct BrokenSession {
    inner: Box<dyn Session>,
    fault: Fault,
    past: Arc<Mutex<Past>>,
}

impl Broken {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { table: MemorySharedTable::new(), fault, past: Arc::default() }
    }
}

impl SharedTable for Broken {
    fn open(&self) -> Result<Box<dyn Session>, TableError> {
        let inner = self.table.open()?;
        Ok(Box::new(BrokenSession { inner, fault: self.fault, past: self.past.clone() }))
    }
}

impl BrokenSession {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// With this fault, a refusal is a success.
    fn never_refuses<T>(
        &self,
        fault: Fault,
        result: Result<T, TableError>,
        instead: T,
    ) -> Result<T, TableError> {
        match result {
            Err(TableError::Refused) if self.is(fault) => Ok(instead),
            result => result,
        }
    }

    fn known(&self, result: Result<(), TableError>) -> Result<(), TableError> {
        match result {
            Err(TableError::NotFound { .. }) if self.is(Fault::NothingIsUnknown) => Ok(()),
            result => result,
        }
    }

    fn shown(&self, mut row: UnitRow) -> UnitRow {
        match self.fault {
            Fault::FreeUnitsAreReady => row.is_ready |= row.owner.is_none() && row.starts > 0,
            Fault::FreeUnitsAreSteady => row.is_steady |= row.owner.is_none() && row.starts > 0,
            Fault::GetForgetsOwners => row.owner = None,
            Fault::GetForgetsCrashes => row.crashes = 0,
            Fault::GetForgetsQuarantine => row.is_quarantined = false,
            _ => {}
        }
        row
    }

    /// The requests of all managers, as one that could run everything sees them.
    fn all_requests(&mut self, after: u64) -> Result<Vec<Request>, TableError> {
        let registration = Registration::new("all", ["a", "b"], Duration::from_secs(600));
        let all = self.inner.register(&registration)?.manager;
        let requests = self.inner.requests(all, after);
        self.inner.leave(all)?;
        requests
    }

    fn is_living(&mut self, manager: ManagerId) -> bool {
        let managers = self.inner.managers().unwrap();
        managers.iter().any(|row| row.manager == manager)
    }
}

impl BrokenSession {
    fn write_one(&mut self, mut write: Write) -> Result<WriteResult, TableError> {
        let is_forgotten = match &write.what {
            Written::Record(Record::Ready) => self.is(Fault::RecordForgetsReady),
            Written::Record(Record::Steady) => self.is(Fault::RecordForgetsSteady),
            Written::Record(Record::Failed { .. }) => self.is(Fault::RecordForgetsFailed),
            Written::Record(Record::Done) => self.is(Fault::RecordForgetsDone),
            Written::Record(Record::Restarted { .. }) => self.is(Fault::RecordForgetsRestarted),
            Written::Release => self.is(Fault::ReleaseForgets),
            _ => false,
        };
        let mut past = self.past.lock().unwrap();
        let last = past.numbers.entry(write.key.clone()).or_default();
        let is_old = write.number.is_some_and(|number| number <= *last);
        *last = (*last).max(write.number.unwrap_or(0));
        if is_forgotten || is_old && self.is(Fault::NumbersOutliveClaims) {
            return Ok(WriteResult::Done);
        }
        drop(past);
        if self.is(Fault::RecordsRepeat) {
            write.number = None;
        }
        if let (Written::Record(Record::Failed { error, .. }), true) =
            (&mut write.what, self.is(Fault::RecordForgetsErrors))
        {
            error.clear();
        }
        let never_refuses = match write.what {
            Written::Release => self.is(Fault::ReleaseNeverRefuses),
            _ => self.is(Fault::RecordNeverRefuses),
        };
        let result = self.inner.write(&[write])?[0];
        Ok(if never_refuses { WriteResult::Done } else { result })
    }
}

impl Session for BrokenSession {
    fn register(&mut self, registration: &Registration) -> Result<Registered, TableError> {
        let mut registration = registration.clone();
        if self.is(Fault::PreviousIsIgnored) {
            registration.previous = None;
        }
        if self.is(Fault::KindsAreIgnored) {
            registration.kinds = vec!["a".into(), "b".into()];
        }
        if self.is(Fault::TtlIsIgnored) {
            registration.ttl *= 1000;
        }
        let mut registered = self.inner.register(&registration)?;
        if self.is(Fault::TtlIsIgnored) {
            registered.ttl = registered.ttl.map(|ttl| ttl / 1000);
        }
        if self.is(Fault::IdsRepeat) {
            registered.manager = ManagerId::new(1);
        }
        let row = self.inner.managers()?.into_iter().find(|row| row.manager == registered.manager);
        self.past.lock().unwrap().managers.extend(row);
        Ok(registered)
    }

    fn renew(&mut self, manager: ManagerId) -> Result<(), TableError> {
        if self.is(Fault::RenewDoesNothing) && self.is_living(manager) {
            return Ok(());
        }
        let renewed = self.inner.renew(manager);
        self.never_refuses(Fault::RenewNeverRefuses, renewed, ())
    }

    fn drain(&mut self, manager: ManagerId) -> Result<(), TableError> {
        match self.fault {
            Fault::DrainForgets => self.inner.renew(manager),
            Fault::DrainEndsTheLease => {
                self.inner.drain(manager)?;
                self.inner.leave(manager)
            }
            Fault::DrainFrees => {
                self.inner.drain(manager)?;
                for row in self.inner.scan(None, usize::MAX)? {
                    if row.owner == Some(manager) {
                        self.inner.release(&row.key, row.token)?;
                    }
                }
                Ok(())
            }
            // It is draining, but nobody knows.
            Fault::DrainedManagersClaim | Fault::DrainedManagersCount => {
                self.inner.renew(manager)?;
                self.past.lock().unwrap().draining.push(manager);
                if self.is(Fault::DrainedManagersClaim) {
                    Ok(())
                } else {
                    self.inner.drain(manager)
                }
            }
            _ => {
                let drained = self.inner.drain(manager);
                self.never_refuses(Fault::DrainNeverRefuses, drained, ())
            }
        }
    }

    fn request_release(&mut self, manager: ManagerId, wanted: Wanted) -> Result<(), TableError> {
        let mut past = self.past.lock().unwrap();
        let has_requested = past.requesting.contains(&manager);
        past.requesting.push(manager);
        drop(past);
        match self.fault {
            Fault::RequestForgets => return self.inner.renew(manager),
            Fault::RequestCountsOnce if has_requested => return self.inner.renew(manager),
            _ => {}
        }
        let requested = self.inner.request_release(manager, wanted);
        self.never_refuses(Fault::RequestNeverRefuses, requested, ())?;
        if self.is(Fault::RequestDrains) {
            self.inner.drain(manager)?;
        }
        Ok(())
    }

    fn requests(&mut self, manager: ManagerId, after: u64) -> Result<Vec<Request>, TableError> {
        let after = if self.is(Fault::RequestsIgnoreAfter) { 0 } else { after };
        let requests = self.inner.requests(manager, after);
        let mut requests = self.never_refuses(Fault::RequestsNeverRefuse, requests, Vec::new())?;
        match self.fault {
            Fault::RequestsIncludeOwn => {
                requests.push(Request::new(manager, 1, Wanted::new(1, true), Vec::new()));
            }
            Fault::RequestsOfOtherKinds => requests = self.all_requests(after)?,
            Fault::RequestsForgetKinds => requests.iter_mut().for_each(|r| r.kinds.clear()),
            Fault::RequestsForgetWanted => {
                requests.iter_mut().for_each(|r| r.wanted = Wanted::new(9, true));
            }
            Fault::RequestsForgetManagers => {
                requests.iter_mut().for_each(|r| r.manager = manager);
            }
            Fault::RequestsAreReversed => requests.reverse(),
            _ => {}
        }
        Ok(requests)
    }

    fn leave(&mut self, manager: ManagerId) -> Result<(), TableError> {
        if self.is(Fault::LeaveDoesNothing) {
            return Ok(());
        }
        if self.is(Fault::LeaveRefusesTheEnded) && !self.is_living(manager) {
            return Err(TableError::Refused);
        }
        self.inner.leave(manager)
    }

    fn expire_dead(&mut self, crash_limit: u32) -> Result<Vec<ManagerId>, TableError> {
        match self.fault {
            Fault::ExpireDeadFindsNobody => Ok(Vec::new()),
            Fault::ExpireDeadRepeats => {
                let dead = self.inner.expire_dead(crash_limit)?;
                let mut past = self.past.lock().unwrap();
                past.dead.extend(dead);
                Ok(past.dead.clone())
            }
            Fault::ExpireDeadKillsTheLiving => {
                let dead = self.inner.expire_dead(crash_limit)?;
                for row in self.inner.managers()? {
                    self.inner.expire(row.manager)?;
                }
                Ok(dead)
            }
            _ => self.inner.expire_dead(crash_limit),
        }
    }

    fn expire(&mut self, manager: ManagerId) -> Result<(), TableError> {
        if self.is(Fault::ExpireDoesNothing) {
            return Ok(());
        }
        if self.is(Fault::ExpireRefusesTheEnded) && !self.is_living(manager) {
            return Err(TableError::Refused);
        }
        for row in self.inner.scan(None, usize::MAX)?.into_iter().filter(|row| row.owner.is_some())
        {
            let (of_other, desired) = (row.owner != Some(manager), row.desired);
            let is_freed = match self.fault {
                Fault::ExpireFreesOthers => of_other && desired == Desired::Run,
                Fault::ExpireRemovesOthers => of_other && desired == Desired::Remove,
                Fault::ExpireRemovesStopped if !of_other && desired == Desired::Stop => {
                    self.inner.remove(&row.key)?;
                    true
                }
                _ => false,
            };
            if is_freed {
                self.inner.release(&row.key, row.token)?;
            }
        }
        self.inner.expire(manager)
    }

    fn share(&mut self, manager: ManagerId) -> Result<Share, TableError> {
        let share = self.inner.share(manager);
        let mut share = self.never_refuses(Fault::ShareNeverRefuses, share, Share::default())?;
        match self.fault {
            Fault::ShareForgetsItself => share.managers -= 1,
            Fault::ShareForgetsOwned => share.owned = 0,
            Fault::DrainedManagersCount => {
                let past = self.past.lock().unwrap();
                share.managers += past.draining.len();
            }
            Fault::DrainedManagersClaim => {
                let past = self.past.lock().unwrap();
                share.is_draining = past.draining.contains(&manager);
                share.managers -= past.draining.len().min(share.managers);
            }
            Fault::ShareRoundsUp => share.fair += usize::from(share.fair > 0 && share.owned == 0),
            Fault::ShareForgetsRequests => share.last_request = 0,
            Fault::ShareHasOwnRequests => {
                share.last_request = share.last_request.max(manager.get())
            }
            Fault::ShareHasAllRequests => {
                let all = self.all_requests(0)?;
                share.last_request = all.last().map_or(0, |request| request.number);
            }
            Fault::ShareHidesDraining => share.is_draining = false,
            Fault::ShareHidesFree => share.has_free = false,
            Fault::ShareHidesOrders => share.orders = 0,
            Fault::ShareHidesDead => share.has_dead = false,
            Fault::ShareCountsAll => share.fair = self.inner.scan(None, usize::MAX)?.len(),
            _ => {}
        }
        Ok(share)
    }

    fn claim(&mut self, manager: ManagerId, max: usize) -> Result<Vec<Claimed>, TableError> {
        let max = if self.is(Fault::ClaimExceedsMax) { max + 1 } else { max };
        let claimed = self.inner.claim(manager, max);
        let mut claimed = self.never_refuses(Fault::ClaimNeverRefuses, claimed, Vec::new())?;
        let mut past = self.past.lock().unwrap();
        match self.fault {
            Fault::ClaimRepeats => {
                past.claimed.extend(claimed.clone());
                claimed.extend(past.claimed.last().cloned());
            }
            Fault::ClaimOfOthers if claimed.is_empty() => claimed.extend(past.claimed.pop()),
            Fault::ClaimOfOthers => past.claimed.extend(claimed.clone()),
            Fault::ClaimForgetsStarts => claimed.iter_mut().for_each(|row| row.starts = 1),
            Fault::TokensStay => claimed.iter_mut().for_each(|row| row.token = Token::new(1)),
            Fault::TokensStartAgain => {
                claimed.iter_mut().for_each(|row| row.token = Token::new(row.starts));
            }
            _ => {}
        }
        Ok(claimed)
    }

    fn orders(&mut self, manager: ManagerId) -> Result<Vec<Order>, TableError> {
        let orders = self.inner.orders(manager);
        let mut orders = self.never_refuses(Fault::OrdersNeverRefuse, orders, Vec::new())?;
        let mut past = self.past.lock().unwrap();
        match self.fault {
            Fault::OrdersForgetStops => orders.retain(|order| order.what != Ordered::Stop),
            Fault::OrdersForgetRestarts => orders.retain(|order| order.what == Ordered::Stop),
            Fault::OrdersHaveOldTokens => {
                orders.iter_mut().for_each(|order| order.token = Token::new(0));
            }
            Fault::OrdersOfOthers => {
                past.ordered.extend(orders.clone());
                orders = past.ordered.last().cloned().into_iter().collect();
            }
            Fault::OrdersComeOnce => {
                let before = past.ordered.clone();
                past.ordered.extend(orders.clone());
                orders.retain(|order| !before.contains(order));
            }
            _ => {}
        }
        Ok(orders)
    }

    fn owned(&mut self, manager: ManagerId) -> Result<Vec<(String, Token)>, TableError> {
        let owned = self.inner.owned(manager);
        let mut owned = self.never_refuses(Fault::OwnedNeverRefuses, owned, Vec::new())?;
        match self.fault {
            Fault::OwnedForgets => drop(owned.pop()),
            Fault::OwnedOfOthers => {
                let rows = self.inner.scan(None, usize::MAX)?;
                owned = rows.into_iter().map(|row| (row.key, row.token)).collect();
            }
            Fault::OwnedHasOldTokens => {
                owned.iter_mut().for_each(|(_, token)| *token = Token::new(0));
            }
            _ => {}
        }
        Ok(owned)
    }

    fn write(&mut self, writes: &[Write]) -> Result<Vec<WriteResult>, TableError> {
        let mut results = Vec::new();
        let order: Vec<usize> = match self.fault {
            Fault::WriteIsReversed => (0..writes.len()).rev().collect(),
            Fault::WriteForgetsTheLast if writes.len() > 1 => (0..writes.len() - 1).collect(),
            _ => (0..writes.len()).collect(),
        };
        for position in order {
            let result = self.write_one(writes[position].clone())?;
            results.push(result);
            if result == WriteResult::Refused && self.is(Fault::WriteStopsAtARefusal) {
                break;
            }
        }
        if self.is(Fault::WriteIsReversed) {
            results.reverse();
        }
        let missing = match self.fault {
            Fault::WriteForgetsTheLast => WriteResult::Done,
            _ => WriteResult::Refused,
        };
        results.resize(writes.len(), missing);
        Ok(results)
    }

    fn wait_for_change(&mut self, timeout: Duration) -> Result<bool, TableError> {
        let has_changed = self.inner.wait_for_change(timeout)?;
        Ok(match self.fault {
            Fault::WaitNeverWakes => false,
            Fault::WaitAlwaysWakes => true,
            _ => has_changed,
        })
    }

    fn put(&mut self, key: &str, kind: &str, spec: &str) -> Result<u64, TableError> {
        match self.fault {
            Fault::PutKeepsGenerations => self.inner.put(key, kind, spec).map(|_| 1),
            Fault::PutBumpsGenerations => {
                let mut past = self.past.lock().unwrap();
                past.puts += 1;
                self.inner.put(key, kind, spec).map(|_| past.puts)
            }
            Fault::PutStarts => {
                let generation = self.inner.put(key, kind, spec)?;
                self.inner.want_run(key).map(|()| generation)
            }
            Fault::PutForgetsSpecs => self.inner.put(key, kind, "1"),
            Fault::PutKeepsRemovals => {
                let before = self.inner.get(key)?.map(|row| row.desired);
                let generation = self.inner.put(key, kind, spec)?;
                if before == Some(Desired::Remove) {
                    self.inner.remove(key)?;
                }
                Ok(generation)
            }
            _ => self.inner.put(key, kind, spec),
        }
    }

    fn want_run(&mut self, key: &str) -> Result<(), TableError> {
        if self.is(Fault::WantRunForgets) && self.inner.get(key)?.is_some() {
            return Ok(());
        }
        let wanted = self.inner.want_run(key);
        self.known(wanted)
    }

    fn want_stop(&mut self, key: &str) -> Result<(), TableError> {
        if self.is(Fault::WantStopForgets) && self.inner.get(key)?.is_some() {
            return Ok(());
        }
        let wanted = self.inner.want_stop(key);
        self.known(wanted)
    }

    fn remove(&mut self, key: &str) -> Result<(), TableError> {
        let row = self.inner.get(key)?;
        let waits = self.is(Fault::RemoveWaits) && row.as_ref().is_some_and(|r| r.owner.is_none());
        if waits || self.is(Fault::RemoveForgets) && row.is_some() {
            return Ok(());
        }
        let removed = self.inner.remove(key);
        self.known(removed)
    }

    fn clear_quarantine(&mut self, key: &str) -> Result<(), TableError> {
        if self.is(Fault::ClearForgets) && self.inner.get(key)?.is_some() {
            return Ok(());
        }
        let cleared = self.inner.clear_quarantine(key);
        self.known(cleared)
    }

    fn get(&mut self, key: &str) -> Result<Option<UnitRow>, TableError> {
        Ok(self.inner.get(key)?.map(|row| self.shown(row)))
    }

    fn scan(&mut self, after: Option<&str>, limit: usize) -> Result<Vec<UnitRow>, TableError> {
        match self.fault {
            Fault::ScanIgnoresAfter => self.inner.scan(None, limit),
            Fault::ScanIgnoresLimits => self.inner.scan(after, limit.max(1)),
            Fault::ScanIsReversed => {
                let mut rows = self.inner.scan(after, limit)?;
                rows.reverse();
                Ok(rows)
            }
            Fault::ScanIncludesAfter => {
                let mut rows = self.inner.scan(after, limit)?;
                if let Some(row) = after.map(|key| self.inner.get(key)).transpose()?.flatten() {
                    rows.insert(0, row);
                }
                Ok(rows)
            }
            _ => self.inner.scan(after, limit),
        }
    }

    fn managers(&mut self) -> Result<Vec<ManagerRow>, TableError> {
        let mut rows = self.inner.managers()?;
        match self.fault {
            Fault::ManagersIncludeTheEnded => {
                return Ok(self.past.lock().unwrap().managers.clone());
            }
            Fault::ManagersForgetKinds => rows.iter_mut().for_each(|row| row.kinds.clear()),
            Fault::ManagersForgetUnits => rows.iter_mut().for_each(|row| row.units = 0),
            Fault::ManagersAreReversed => rows.reverse(),
            Fault::ManagersForgetDraining => {
                rows.iter_mut().for_each(|row| row.is_draining = false)
            }
            Fault::DrainedManagersClaim => {
                let past = self.past.lock().unwrap();
                let is_draining = |row: &ManagerRow| past.draining.contains(&row.manager);
                rows.iter_mut().for_each(|row| row.is_draining = is_draining(row));
            }
            Fault::ManagersForgetTheEnd => rows.iter_mut().for_each(|row| row.remaining = None),
            _ => {}
        }
        Ok(rows)
    }
}
