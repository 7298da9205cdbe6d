//! Runs the futures and streams of a table, which are foreign code: panics of their polls and drops are caught, and
//! waits for them have a timeout.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use procession::support::catch;
use procession::support::text::Span;
use procession::{BoxError, Sleep};

use crate::policy::Policy;

/// A future or a stream of a table. A panic of its drop is caught.
pub(super) struct Contained<T: ?Sized>(Option<Pin<Box<T>>>);

impl<T: ?Sized> Contained<T> {
    pub(super) fn new(of_table: Pin<Box<T>>) -> Self {
        Self(Some(of_table))
    }

    pub(super) fn get(&mut self) -> Pin<&mut T> {
        self.0.as_mut().expect("only the drop takes it").as_mut()
    }
}

impl<T: ?Sized> Drop for Contained<T> {
    fn drop(&mut self) {
        let of_table = self.0.take();
        let _dropped = catch(|| drop(of_table));
    }
}

/// Awaits a future of a table. A panic counts as an error of the table.
pub(super) async fn caught<F, T>(future: Pin<Box<F>>) -> Result<T, BoxError>
where
    F: Future<Output = Result<T, BoxError>> + ?Sized,
{
    let mut future = Contained::new(future);
    poll_fn(|context| {
        catch(|| future.get().poll(context)).unwrap_or_else(|message| {
            Poll::Ready(Err(format!("the table panicked: {message}").into()))
        })
    })
    .await
}

/// Awaits a future for at most `timeout`. The timer starts only if the first poll is pending.
///
/// # Errors
///
/// An error means that the timeout has passed.
pub(super) async fn in_time<F: Future + Unpin>(
    mut future: F,
    policy: &Policy,
    timeout: Duration,
) -> Result<F::Output, BoxError> {
    let mut sleep: Option<Sleep> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = Pin::new(&mut future).poll(context) {
            return Poll::Ready(Ok(output));
        }
        let clock = policy.time();
        let Some(deadline) = clock.now().checked_add(timeout) else { return Poll::Pending };
        let sleep = sleep.get_or_insert_with(|| clock.sleep_until(deadline));
        sleep
            .as_mut()
            .poll(context)
            .map(|()| Err(format!("the table did not answer within {}", Span(timeout)).into()))
    })
    .await
}
