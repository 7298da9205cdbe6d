//! The channel from a manager or a set to the readers of its events. It uses async-broadcast; in a loom model, each
//! reader has a queue instead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use procession::support::{block_on, catch};

use tracing::level_filters::LevelFilter;

use super::{Event, Happening};
use crate::table::Key;

/// The maximum capacity for unread events, because the channel allocates its whole capacity up front.
const MAX_CAPACITY: usize = 65_536;

/// The sending end of the events of a manager or a set.
pub(crate) struct EventSource<K> {
    manager: Arc<str>,
    /// The number of readers. Relaxed is enough, because a reader that is being made may miss concurrent events.
    readers: Arc<AtomicUsize>,
    sender: imp::Sender<K>,
}

impl<K: Key> EventSource<K> {
    pub(crate) fn new(manager: Arc<str>, capacity: usize) -> Self {
        let sender = imp::Sender::new(capacity.clamp(1, MAX_CAPACITY));
        Self { manager, readers: Arc::default(), sender }
    }

    /// Returns whether there is a reader, or a `tracing` subscriber that may be enabled for events.
    pub(crate) fn has_listeners(&self) -> bool {
        self.has_readers() || LevelFilter::current() >= LevelFilter::INFO
    }

    /// Returns whether there is a reader.
    pub(crate) fn has_readers(&self) -> bool {
        self.readers.load(Ordering::Relaxed) > 0
    }

    /// Sends an event to `tracing` and to all readers. Call it with no lock held, because it calls the subscriber and
    /// the readers' wakers.
    pub(crate) fn tell(&self, key: Option<K>, what: Happening) {
        let event = Event { manager: self.manager.clone(), key, what };
        // A panic of the subscriber has no effect here.
        let _logged = catch(|| event.log());
        self.sender.send(event);
    }

    pub(crate) fn read(&self) -> Events<K> {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Events {
            manager: self.manager.clone(),
            readers: self.readers.clone(),
            receiver: self.sender.new_receiver(),
        }
    }
}

/// A reader of the events of a manager or a set, from the moment when the reader is made. It is made by
/// [`Manager::events`](crate::Manager::events) and [`Supervisor::events`](crate::Supervisor::events).
///
/// The number of unread events is bounded. A reader that is too slow loses the oldest ones, and [`Happening::Missed`]
/// has their number. The events end when the last handle and the last run of the manager or set are dropped.
///
/// ```
/// use procession_runnable::nop;
/// use procession_supervisor::{Manager, MemoryTable};
///
/// let table = MemoryTable::new();
/// table.insert("job", nop());
/// let manager = Manager::new(table);
/// let mut events = manager.events();
/// let ended = manager.run_blocking(|_| {
///     for kind in ["started", "ready", "ended"] {
///         let event = events.recv_blocking().expect("the manager exists");
///         assert_eq!((event.key(), event.kind()), (Some(&"job"), kind));
///     }
/// });
/// # ended?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Events<K> {
    manager: Arc<str>,
    readers: Arc<AtomicUsize>,
    receiver: imp::Receiver<K>,
}

impl<K: Key> Events<K> {
    /// Waits for the next event. Returns `None` when the manager or set has been dropped.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before its end, no event is lost.
    pub async fn recv(&mut self) -> Option<Event<K>> {
        let next = self.receiver.recv().await;
        next.map(|next| self.event(next))
    }

    /// The blocking form of [`recv`](Self::recv).
    ///
    /// # Blocking
    ///
    /// Blocks the thread until the next event, without a limit.
    pub fn recv_blocking(&mut self) -> Option<Event<K>> {
        block_on(self.recv())
    }

    /// Returns the next event, if there is one already.
    pub fn try_recv(&mut self) -> Option<Event<K>> {
        self.receiver.try_recv().map(|next| self.event(next))
    }

    fn event(&self, next: Result<Event<K>, Missed>) -> Event<K> {
        next.unwrap_or_else(|Missed(count)| Event {
            manager: self.manager.clone(),
            key: None,
            what: Happening::Missed { count },
        })
    }
}

impl<K> Drop for Events<K> {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The number of events that were lost before the next one.
struct Missed(u64);

impl<K> fmt::Debug for Events<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
mod imp {
    use async_broadcast::{InactiveReceiver, RecvError, TryRecvError, broadcast};

    use super::Missed;
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
                // Sending fails if the last reader has just been dropped.
                let _unread = self.sender.try_broadcast(event);
            }
        }

        pub(super) fn new_receiver(&self) -> Receiver<K> {
            Receiver(self.sender.new_receiver())
        }
    }

    pub(super) struct Receiver<K>(async_broadcast::Receiver<Event<K>>);

    impl<K: Key> Receiver<K> {
        pub(super) async fn recv(&mut self) -> Option<Result<Event<K>, Missed>> {
            match self.0.recv_direct().await {
                Ok(event) => Some(Ok(event)),
                Err(RecvError::Overflowed(count)) => Some(Err(Missed(count))),
                Err(RecvError::Closed) => None,
            }
        }

        pub(super) fn try_recv(&mut self) -> Option<Result<Event<K>, Missed>> {
            match self.0.try_recv() {
                Ok(event) => Some(Ok(event)),
                Err(TryRecvError::Overflowed(count)) => Some(Err(Missed(count))),
                Err(TryRecvError::Empty | TryRecvError::Closed) => None,
            }
        }
    }
}

/// Replaces async-broadcast, which wakes its receivers while it holds a lock of the standard library. In a model, all
/// threads share one OS thread, so this would deadlock.
#[cfg(loom)]
mod imp {
    use std::collections::VecDeque;
    use std::future::poll_fn;
    use std::sync::{Arc, Weak};
    use std::task::Poll;

    use procession::support::{Sleeper, model_has_failed, register, wake_sleeper};

    use super::Missed;
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
        fn next(&mut self) -> Option<Result<Event<K>, Missed>> {
            match std::mem::take(&mut self.missed) {
                0 => self.events.pop_front().map(Ok),
                count => Some(Err(Missed(count))),
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
                wake_sleeper(sleeper);
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
        pub(super) async fn recv(&mut self) -> Option<Result<Event<K>, Missed>> {
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

        pub(super) fn try_recv(&mut self) -> Option<Result<Event<K>, Missed>> {
            self.0.lock().next()
        }
    }
}
