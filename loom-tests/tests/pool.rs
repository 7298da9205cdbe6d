//! A worked model of the guide: a pool that hands out connections while it closes.
//!
//! A pool must not close a connection that is in use. Each connection that is handed out has a process, its lease.
//! There are two ways to tie the lease to the pool:
//!
//! - As a **child** of the pool. A parent closes its children, and a process that waits for nothing is Closed as soon
//!   as it closes. So the lease is Closed when the pool closes, whatever its holder is doing, and delays nothing. A
//!   child is for work that the parent may end.
//! - With **`pool.wait_for(&lease)`**. The pool does not close the lease, and its teardown starts only when the holder
//!   has closed it, or dropped it. A wait-for edge is for work that other code ends.

#![cfg(loom)]

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use procession::{LinkError, Process};
use procession_loom_tests::{assert_fails, model};

struct Pool {
    process: Process,
    /// One connection is enough for a model. The accesses are relaxed, because the pool must provide the order (I4).
    is_open: Arc<AtomicBool>,
}

/// A connection that was handed out. The pool's teardown waits until it is dropped.
struct Lease {
    _process: Process,
    is_open: Arc<AtomicBool>,
}

impl Pool {
    fn new() -> Self {
        let is_open = Arc::new(AtomicBool::new(true));
        let connection = is_open.clone();
        let disconnect = move || connection.store(false, Ordering::Relaxed);
        let process = Process::builder().name("pool").teardown(disconnect).build().unwrap();
        Self { process, is_open }
    }

    /// A connection, unless the teardown of the pool has started.
    fn lease(&self) -> Result<Lease, LinkError> {
        let lease = Process::new();
        self.process.wait_for(&lease)?;
        Ok(Lease { _process: lease, is_open: self.is_open.clone() })
    }

    /// The same with a child, which does not delay the teardown.
    fn lease_as_child(&self) -> Result<Lease, LinkError> {
        let lease = Process::builder().parent(&self.process).build()?;
        Ok(Lease { _process: lease, is_open: self.is_open.clone() })
    }
}

impl Lease {
    fn query(&self) {
        assert!(self.is_open.load(Ordering::Relaxed), "used after it was closed");
    }
}

/// One thread takes a connection and uses it while another one closes the pool.
fn use_while_closing(lease: fn(&Pool) -> Result<Lease, LinkError>) {
    let pool = Arc::new(Pool::new());
    let user = pool.clone();
    let using = thread::spawn(move || lease(&user).map(|lease| lease.query()).is_ok());
    pool.process.close_blocking().unwrap();
    assert!(!pool.is_open.load(Ordering::Relaxed));
    let _has_had_one = using.join().unwrap();
}

/// I2, I4, I6: the teardown of the pool waits for the lease.
#[test]
fn a_connection_is_not_closed_while_it_is_used() {
    model(3, || use_while_closing(Pool::lease));
}

/// With a child in place of the wait-for edge, the model fails.
#[test]
fn a_lease_that_is_a_child_delays_nothing() {
    assert_fails("a_lease_that_is_a_child_delays_nothing", &["used after it was closed"], || {
        model(3, || use_while_closing(Pool::lease_as_child))
    });
}
