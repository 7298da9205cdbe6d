//! [`drain`]: a delay between turning readiness off and stopping.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procession::support::{deadline_after, grace_of_program};
use procession::{BoxError, Clock, SystemClock};

use crate::leaf::body;
use crate::runnable::Runnable;

/// Tells a load balancer or a readiness probe (`/readyz`) whether the program accepts work. [`drain`] turns it on and
/// off. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct ReadyFlag(Arc<AtomicBool>);

impl ReadyFlag {
    /// A flag that is off.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is it on?
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn turn_on(&self) -> On<'_> {
        self.0.store(true, Ordering::Relaxed);
        On(self)
    }
}

/// The flag is on as long as this guard exists. So an abort, which drops the guard, also turns the flag off.
struct On<'a>(&'a ReadyFlag);

impl Drop for On<'_> {
    fn drop(&mut self) {
        (self.0).0.store(false, Ordering::Relaxed);
    }
}

/// Turns `flag` on when it starts. On closing, it turns the flag off, and ends after `delay`.
///
/// As the last part of a [`sequential`](crate::sequential), it is started last and stopped first. So the flag is on
/// only while all other parts are ready, and when the program closes, the servers go on serving for `delay`. Meanwhile,
/// the load balancer notices that the flag is off, and sends new requests elsewhere. Kubernetes needs this, because it
/// removes a pod from its services and signals the pod at the same time.
///
/// `delay` must be shorter than [`Main::grace`](procession::Main::grace). Otherwise, the program would be aborted
/// before its servers are asked to stop, so the start of the drain fails with [`DrainTooLong`].
///
/// ```
/// use procession::Process;
/// use procession_runnable::{ReadyFlag, body, drain, named, run_in, sequential};
/// use std::time::Duration;
///
/// let ready = ReadyFlag::new(); // the handler of `/readyz` has a clone
/// let server = body(|run| async move {
///     run.ready();
///     run.closing().await;
/// });
/// let stack = sequential([named("http", server), named("drain", drain(Duration::from_millis(1), &ready))]);
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &stack, |_| async { assert!(ready.is_ready()) }))?;
/// assert!(!ready.is_ready());
/// # Ok::<(), procession::Error>(())
/// ```
#[track_caller]
pub fn drain(delay: Duration, flag: &ReadyFlag) -> Runnable {
    let flag = flag.clone();
    body(move |run| {
        let flag = flag.clone();
        async move {
            if let Some(grace) = grace_of_program(&run).filter(|grace| delay >= *grace) {
                return Err::<(), BoxError>(DrainTooLong { delay, grace }.into());
            }
            let on = flag.turn_on();
            run.ready();
            run.closing().await;
            drop(on);
            match deadline_after(delay) {
                Some(end) => SystemClock.sleep_until(end).await,
                // Only an abort ends a delay that is longer than a clock can measure.
                None => std::future::pending().await,
            }
            Ok(())
        }
    })
}

/// A drain did not start, because the program would be aborted before the drain is over.
///
/// It is the [source](std::error::Error::source) of the [`Error::Failed`](procession::Error::Failed) of the drain's
/// process.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "cannot drain for {delay:?}: the grace of the program is {grace:?}, so it would be aborted before its servers \
     stop; make the grace longer than the drain"
)]
#[non_exhaustive]
pub struct DrainTooLong {
    /// The delay of the drain.
    pub delay: Duration,
    /// The grace of the program.
    pub grace: Duration,
}
