//! How events reach those that read them: async-broadcast; in a loom model, a queue for each reader.

use std::fmt;

use procession::support::block_on;

use super::Event;
use crate::table::Key;

/// Where events come from.
pub(crate) struct EventSource<K> {
    sender: imp::Sender<K>,
}

impl<K: Key> EventSource<K> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { sender: imp::Sender::new(capacity.max(1)) }
    }

    /// Tells all readers. Call it with no lock held, because it calls their wakers.
    pub(crate) fn tell(&self, event: Event<K>) {
        event.log();
        self.sender.send(event);
    }

    pub(crate) fn read(&self) -> Events<K> {
        Events { receiver: self.sender.new_receiver() }
    }
}

/// Reads the events of a manager, from when it was made on. Made by [`Manager::events`](crate::Manager::events).
///
/// It keeps a bounded number of unread events. A reader that is too slow loses the oldest ones, and is told their
/// number by [`Event::Missed`]. It ends when the manager is gone.
///
/// ```
/// use procession_runnable::nop;
/// use procession_supervisor::{Event, Manager, MemoryTable};
///
/// let table = MemoryTable::new();
/// table.insert("job", nop());
/// let manager = Manager::new(table);
/// let mut events = manager.events();
/// futures_lite::future::block_on(async {
///     manager.run(|_| async {}).await?;
///     assert!(matches!(events.recv().await, Some(Event::Started { key: "job" })));
///     assert!(matches!(events.recv().await, Some(Event::Ready { key: "job" })));
///     procession::ok()
/// })?;
/// # Ok::<(), procession::BoxError>(())
/// ```
pub struct Events<K> {
    receiver: imp::Receiver<K>,
}

impl<K: Key> Events<K> {
    /// The next event; `None` when the manager is gone.
    ///
    /// # Cancel safety
    ///
    /// No event is lost if the future is dropped.
    pub async fn recv(&mut self) -> Option<Event<K>> {
        self.receiver.recv().await
    }

    /// [`recv`](Self::recv), blocking.
    ///
    /// # Blocking
    ///
    /// Blocks the thread without a limit.
    pub fn recv_blocking(&mut self) -> Option<Event<K>> {
        block_on(self.recv())
    }

    /// The next event, if it is there.
    pub fn try_recv(&mut self) -> Option<Event<K>> {
        self.receiver.try_recv()
    }
}

impl<K> fmt::Debug for Events<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
mod imp {
    use async_broadcast::{InactiveReceiver, RecvError, TryRecvError, broadcast};

    use crate::event::Event;
    use crate::table::Key;

    pub(super) struct Sender<K> {
        sender: async_broadcast::Sender<Event<K>>,
        /// Keeps the channel open while there is no reader.
        _open: InactiveReceiver<Event<K>>,
    }

    impl<K: Key> Sender<K> {
        pub(super) fn new(capacity: usize) -> Self {
            let (mut sender, receiver) = broadcast(capacity);
            sender.set_overflow(true);
            Self { sender, _open: receiver.deactivate() }
        }

        pub(super) fn send(&self, event: Event<K>) {
            if self.sender.receiver_count() > 0 {
                // The last reader may be gone by now.
                let _unread = self.sender.try_broadcast(event);
            }
        }

        pub(super) fn new_receiver(&self) -> Receiver<K> {
            Receiver(self.sender.new_receiver())
        }
    }

    pub(super) struct Receiver<K>(async_broadcast::Receiver<Event<K>>);

    impl<K: Key> Receiver<K> {
        pub(super) async fn recv(&mut self) -> Option<Event<K>> {
            match self.0.recv_direct().await {
                Ok(event) => Some(event),
                Err(RecvError::Overflowed(count)) => Some(Event::Missed { count }),
                Err(RecvError::Closed) => None,
            }
        }

        pub(super) fn try_recv(&mut self) -> Option<Event<K>> {
            match self.0.try_recv() {
                Ok(event) => Some(event),
                Err(TryRecvError::Overflowed(count)) => Some(Event::Missed { count }),
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
            }
        }
    }
}

/// async-broadcast wakes its receivers with a lock of the standard library's held. In a model, where all threads are on
/// one OS thread, that would block for ever.
#[cfg(loom)]
mod imp {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::sync::{Arc, Weak};
    use std::task::Poll;

    use procession::support::{Sleeper, model_has_failed, register};

    use crate::event::Event;
    use crate::sync::Mutex;
    use crate::table::Key;

    pub(super) struct Sender<K> {
        capacity: usize,
        receivers: Mutex<Vec<Weak<Mutex<Unread<K>>>>>,
    }

    struct Unread<K> {
        events: VecDeque<Event<K>>,
        missed: u64,
        is_over: bool,
        sleeper: Option<Sleeper>,
    }

    impl<K> Unread<K> {
        fn next(&mut self) -> Option<Event<K>> {
            match std::mem::take(&mut self.missed) {
                0 => self.events.pop_front(),
                count => Some(Event::Missed { count }),
            }
        }
    }

    impl<K> Sender<K> {
        fn with_each(&self, change: impl Fn(&mut Unread<K>)) {
            let receivers = self.receivers.lock().clone();
            for receiver in receivers.iter().filter_map(Weak::upgrade) {
                let mut unread = receiver.lock();
                change(&mut unread);
                let sleeper = unread.sleeper.take();
                drop(unread);
                sleeper.into_iter().for_each(|sleeper| sleeper.into_waker().wake());
            }
        }
    }

    impl<K: Key> Sender<K> {
        pub(super) fn new(capacity: usize) -> Self {
            Self { capacity, receivers: Mutex::default() }
        }

        pub(super) fn send(&self, event: Event<K>) {
            self.with_each(|unread| {
                if unread.events.len() == self.capacity {
                    unread.events.pop_front();
                    unread.missed += 1;
                }
                unread.events.push_back(event.clone());
            });
        }

        pub(super) fn new_receiver(&self) -> Receiver<K> {
            let unread =
                Unread { events: VecDeque::new(), missed: 0, is_over: false, sleeper: None };
            let unread = Arc::new(Mutex::new(unread));
            self.receivers.lock().push(Arc::downgrade(&unread));
            Receiver(unread)
        }
    }

    impl<K> Drop for Sender<K> {
        fn drop(&mut self) {
            if !model_has_failed() {
                self.with_each(|unread| unread.is_over = true);
            }
        }
    }

    pub(super) struct Receiver<K>(Arc<Mutex<Unread<K>>>);

    impl<K: Key> Receiver<K> {
        pub(super) async fn recv(&mut self) -> Option<Event<K>> {
            poll_fn(|context| {
                let (mut next, mut is_over) = (None, false);
                let replaced = register(&self.0, context.waker(), |unread| {
                    next = next.take().or_else(|| unread.next());
                    is_over = unread.is_over;
                    (next.is_none() && !is_over).then_some(&mut unread.sleeper)
                });
                drop(replaced);
                match next {
                    None if !is_over => Poll::Pending,
                    next => Poll::Ready(next),
                }
            })
            .await
        }

        pub(super) fn try_recv(&mut self) -> Option<Event<K>> {
            self.0.lock().next()
        }
    }
}
