//! [`HeldClaims`]: the claims of a run, and [`Tokens`], which readers see.
//!
//! A key has a token in [`Tokens`] exactly while a claim of it is held. Argument: [`HeldClaims::insert`],
//! [`HeldClaims::remove`] and the drop are the only places that change either, and a claim takes away only its own
//! token.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::claim::Claim;
use super::table::{ManagerId, Token};
use crate::sync::Mutex;

/// The tokens of the claims that a manager holds, by key.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, Token>>);

impl Tokens {
    pub(super) fn of(&self, key: &str) -> Option<Token> {
        self.0.lock().get(key).copied()
    }
}

pub(super) struct Held {
    pub(super) claim: Claim,
    /// The number of records so far.
    pub(super) records: u64,
    pub(super) steady_at: Option<Instant>,
    /// It will be released when its run has ended.
    pub(super) is_stopping: bool,
    /// It is stopping because the manager owned too many.
    pub(super) is_surplus: bool,
    /// The manager that has asked for it.
    pub(super) leaves_for: Option<ManagerId>,
}

/// The claims, by the ids of their units.
pub(super) struct HeldClaims {
    by_unit: HashMap<usize, Held>,
    tokens: Arc<Tokens>,
}

impl HeldClaims {
    pub(super) fn new(tokens: Arc<Tokens>) -> Self {
        Self { by_unit: HashMap::new(), tokens }
    }

    pub(super) fn insert(&mut self, id: usize, held: Held) {
        let (key, token) = (held.claim.key().to_owned(), held.claim.lease().token());
        let before = self.by_unit.insert(id, held);
        before.iter().for_each(|before| self.forget(before));
        self.tokens.0.lock().insert(key, token);
    }

    pub(super) fn remove(&mut self, id: usize) -> Option<Held> {
        let held = self.by_unit.remove(&id)?;
        self.forget(&held);
        Some(held)
    }

    fn forget(&self, held: &Held) {
        let mut tokens = self.tokens.0.lock();
        if tokens.get(held.claim.key()) == Some(&held.claim.lease().token()) {
            tokens.remove(held.claim.key());
        }
    }

    pub(super) fn get(&self, id: usize) -> Option<&Held> {
        self.by_unit.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: usize) -> Option<&mut Held> {
        self.by_unit.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Held)> {
        self.by_unit.iter().map(|(id, held)| (*id, held))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_unit.is_empty()
    }
}

impl Drop for HeldClaims {
    fn drop(&mut self) {
        self.by_unit.values().for_each(|held| self.forget(held));
    }
}
