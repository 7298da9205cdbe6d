//! [`Timer`]: waits for a deadline that often moves and seldom passes.
//!
//! The deadline of a connection moves with every request and every byte. The timer does not follow each move: it keeps
//! sleeping until the earliest deadline that it was given. Only when that has passed, it compares it with the current
//! deadline, and sleeps again if that is later. So a connection makes one entry in the deadline thread for each
//! timeout, not one for each request.
//!
//! *No deadline is missed*, because the timer never sleeps past the deadline of the last poll: if that is earlier than
//! the end of the current sleep, the sleep is replaced.
//!
//! It sleeps on procession's own deadline thread, and therefore works on a tokio runtime without a time driver.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use procession::{Clock, Sleep, SystemClock};

#[derive(Default)]
pub(super) struct Timer {
    sleep: Option<(Instant, Sleep)>,
}

impl Timer {
    /// Ready once `deadline` has passed; without a deadline, never.
    pub(super) fn poll(
        &mut self,
        deadline: Option<Instant>,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        loop {
            let (until, sleep) = match &mut self.sleep {
                Some((until, sleep)) if *until <= deadline => (*until, sleep),
                _ => {
                    let sleep = SystemClock.sleep_until(deadline);
                    (deadline, &mut self.sleep.insert((deadline, sleep)).1)
                }
            };
            ready!(sleep.as_mut().poll(context));
            self.sleep = None;
            if until >= deadline {
                return Poll::Ready(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn wait(timer: &mut Timer, deadline: Instant) -> impl Future<Output = ()> {
        poll_fn(move |context| timer.poll(Some(deadline), context))
    }

    /// The deadline can move in both directions.
    #[test]
    fn deadlines_move() {
        let (start, mut timer) = (Instant::now(), Timer::default());
        let after = |millis| start + Duration::from_millis(millis);
        for later in [20, 60_000, 10] {
            assert_eq!(block_on(poll_once(wait(&mut timer, after(later)))), None);
        }
        block_on(wait(&mut timer, after(40)));
        assert!(start.elapsed() >= Duration::from_millis(40));
        block_on(wait(&mut timer, start));
        let never = poll_fn(|context| timer.poll(None, context));
        assert_eq!(block_on(poll_once(never)), None);
    }
}
