//! Futures and streams of a table, which are foreign code: their polls and their drops are caught.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use procession::BoxError;
use procession::support::catch;

/// A future or a stream of a table, whose drop is caught wherever it happens.
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

/// The result of a future of a table. A panic is an error of the table.
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
