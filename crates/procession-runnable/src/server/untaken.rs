//! [`Untaken`]: what hyper was given of an HTTP/2 response and its peer has not taken yet.
//!
//! The windows of HTTP/2 can stop a response while the socket takes everything else, so the socket does not show that.
//! Each [`Piece`] of a response body reports when its bytes are written.
//!
//! *A response stalls only if its peer takes nothing*: while there is no piece, it waits for its service, and while the
//! peer takes bytes of other responses on the connection, this one may only be waiting for its turn.

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
    /// How many there are.
    count: usize,
    /// When the first of them was made, if there is one.
    since: Option<Instant>,
}

impl Untaken {
    /// That of a response on the connection that `activity` is about.
    pub(super) fn new(activity: Arc<Activity>) -> Self {
        Self(Arc::new(Shared { activity, pieces: Mutex::default() }))
    }

    /// Since when the peer has taken nothing, if there is something that it could take.
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
    /// `None` on HTTP/1, where the socket shows what is taken.
    untaken: Option<Untaken>,
}

impl<D> Piece<D> {
    pub(super) fn new(data: D, untaken: Option<&Untaken>) -> Self {
        Self { data, untaken: untaken.map(Untaken::begin) }
    }

    fn is_taken(&self) {
        if let Some(untaken) = &self.untaken {
            untaken.0.activity.takes();
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
        self.is_taken();
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.data.copy_to_bytes(len);
        self.is_taken();
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
