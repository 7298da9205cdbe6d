//! A clock whose calls run foreign code.

use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession::{Clock, Periodic, Process, Sleep, SystemClock};
use procession_tests::foreign::{OnDrop, keep};

use crate::scene::Scene;

/// Which call of the clock runs foreign code.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Call {
    /// A call of `now`, after this many others.
    Now(usize),
    SleepUntil,
    Poll,
    DropSleep,
    Drop,
}

struct ForeignClock {
    call: Call,
    /// Foreign code, which runs once.
    acts: Arc<dyn Fn() + Send + Sync>,
    reads: AtomicUsize,
    _held: Box<dyn Any + Send + Sync>,
}

impl Clock for ForeignClock {
    fn now(&self) -> Instant {
        if self.call == Call::Now(self.reads.fetch_add(1, Ordering::SeqCst)) {
            (self.acts)();
        }
        SystemClock.now()
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        let (call, acts) = (self.call, self.acts.clone());
        if call == Call::SleepUntil {
            acts();
        }
        let held = (call == Call::DropSleep).then(|| OnDrop(move || acts()));
        let (acts, mut sleep) = (self.acts.clone(), SystemClock.sleep_until(deadline));
        Box::pin(poll_fn(move |context| {
            keep(&held);
            if call == Call::Poll {
                acts();
            }
            sleep.as_mut().poll(context)
        }))
    }
}

/// Starts a periodic process with such a clock.
pub(crate) fn periodic(scene: &Scene, faulty: &Process, call: Call) {
    let (acts, acted) = (scene.acts(), AtomicUsize::new(0));
    let acts = Arc::new(move || {
        if acted.fetch_add(1, Ordering::SeqCst) == 0 {
            acts();
        }
    });
    let held: Box<dyn Any + Send + Sync> = match call {
        Call::Drop => Box::new(scene.dropped()),
        _ => Box::new(()),
    };
    let clock = ForeignClock { call, acts, reads: AtomicUsize::new(0), _held: held };
    let often = Periodic::every(Duration::from_millis(1)).clock(clock);
    scene.guarded(|| drop(often.spawn_thread(faulty, |_| ())));
}
