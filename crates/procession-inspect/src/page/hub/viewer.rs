//! [`Viewer`]: one stream of frames.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use event_listener::EventListener;

use super::{Channel, Hub, STREAMS};
use crate::page::query::Query;

impl Hub {
    /// Waits until there are this many viewers.
    #[cfg(test)]
    pub(crate) async fn has_viewers(&self, count: usize) {
        loop {
            let made = self.made.listen();
            if self.seats.load(Ordering::Relaxed) == count {
                return;
            }
            made.await;
        }
    }

    /// Are all places taken?
    pub(crate) fn is_full(&self) -> bool {
        self.seats.load(Ordering::Relaxed) >= STREAMS
    }

    /// A place for a viewer; `None` if all are taken.
    pub(crate) fn viewer(self: &Arc<Self>, query: Query) -> Option<Viewer> {
        let take = |seats: usize| (seats < STREAMS).then_some(seats + 1);
        self.seats.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        let mut state = self.state.lock();
        let new = || Channel { viewers: 0, turn: 0, shown: None, patch: None };
        state.channels.entry(query.clone()).or_insert_with(new).viewers += 1;
        drop(state);
        // Its first frame need not wait for the sampler.
        if let Some(sample) = self.sample() {
            self.begin(&query, &sample);
        }
        self.wake.notify(usize::MAX);
        Some(Viewer { hub: self.clone(), query, seq: 0, has_ended: false })
    }
}

/// One stream. Dropping it gives its seat back.
pub(crate) struct Viewer {
    hub: Arc<Hub>,
    query: Query,
    /// The last frame that was taken.
    seq: u64,
    has_ended: bool,
}

impl Viewer {
    /// The next event: `None` if there is none yet, and `Some(None)` after the last one.
    pub(crate) fn take(&mut self) -> Option<Option<Arc<[u8]>>> {
        if self.has_ended {
            return Some(None);
        }
        let state = self.hub.state.lock();
        let channel = state.channels.get(&self.query);
        let shown = channel.and_then(|channel| Some((channel.shown.clone()?, channel)));
        if let Some((shown, channel)) = shown.filter(|(shown, _)| shown.seq() > self.seq) {
            let is_next = self.seq > 0 && self.seq + 1 == shown.seq();
            let patch = channel.patch.clone().filter(|_| is_next);
            drop(state);
            self.seq = shown.seq();
            return Some(Some(patch.unwrap_or_else(|| shown.whole())));
        }
        if let Some(bye) = &state.bye {
            self.has_ended = true;
            return Some(Some(bye.clone()));
        }
        let is_stopped = state.is_stopped;
        // The handle may be the last one, which closes the process.
        drop(state);
        (is_stopped && self.hub.root.upgrade().is_none()).then_some(None)
    }

    pub(crate) fn listen(&self) -> EventListener {
        self.hub.made.listen()
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        if let Some(channel) = state.channels.get_mut(&self.query) {
            channel.viewers -= 1;
            if channel.viewers == 0 {
                state.channels.remove(&self.query);
            }
        }
        drop(state);
        self.hub.seats.fetch_sub(1, Ordering::Relaxed);
        #[cfg(test)]
        self.hub.made.notify(usize::MAX);
    }
}
