//! [`Untaken`]: the bytes of an HTTP/2 response that hyper has received and the peer has not taken yet.
//!
//! The flow control of HTTP/2 can hold back one response while the socket takes everything else, so the socket does not
//! show that a response stalls. Instead, each [`Piece`] of a response body reports when its bytes are written.
//!
//! *A response counts as stalled only if its peer is at fault*: while there is no piece, the response waits for its
//! service, and while the peer takes bytes of other responses on the connection, this one may only be waiting for its
//! turn.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::Instant;

use ::hyper::body::{Buf, Bytes};

use super::activity::Activity;
use crate::sync::Mutex;

/// The pieces of one response.
#[derive(Clone)]
pub(super) struct Untaken(Arc<Shared>);

struct Shared {
    activity: Arc<Activity>,
    pieces: Mutex<Pieces>,
}

#[derive(Default)]
struct Pieces {
    /// How many pieces exist.
    count: usize,
    /// When their number last became greater than zero. `None` while there is no piece.
    since: Option<Instant>,
}

impl Untaken {
    /// For a response on the connection of `activity`.
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self(Arc::new(Shared { activity, pieces: Mutex::default() }))
    }

    /// The time since which the peer has taken nothing, if there is a piece that it could take.
    pub(super) fn since(&self) -> Option<Instant> {
        let since = self.0.pieces.lock().since?;
        Some(since.max(self.0.activity.taken_at()))
    }

    fn begin(&self) -> Self {
        let now = Instant::now();
        let mut pieces = self.0.pieces.lock();
        pieces.count += 1;
        pieces.since.get_or_insert(now);
        self.clone()
    }

    fn end(&self) {
        let mut pieces = self.0.pieces.lock();
        pieces.count -= 1;
        if pieces.count == 0 {
            pieces.since = None;
        }
    }
}

/// A piece of a response body.
pub(super) struct Piece<D> {
    data: D,
    /// `None` on HTTP/1, where the socket shows whether the peer takes bytes.
    untaken: Option<Untaken>,
}

impl<D> Piece<D> {
    pub(super) fn new(data: D, untaken: Option<&Untaken>) -> Self {
        Self { data, untaken: untaken.map(Untaken::begin) }
    }

    fn mark_taken(&self) {
        if let Some(untaken) = &self.untaken {
            untaken.0.activity.record_taken();
        }
    }
}

impl<D: Buf> Buf for Piece<D> {
    fn remaining(&self) -> usize {
        self.data.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.data.chunk()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        self.data.chunks_vectored(slices)
    }

    fn advance(&mut self, count: usize) {
        self.data.advance(count);
        self.mark_taken();
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.data.copy_to_bytes(len);
        self.mark_taken();
        bytes
    }
}

impl<D> Drop for Piece<D> {
    fn drop(&mut self) {
        if let Some(untaken) = &self.untaken {
            untaken.end();
        }
    }
}
