//! Hooks for a slow closing.

use std::time::Duration;

use super::Process;
use crate::run::deadlines;
use crate::value::Stall;

impl Process {
    /// Calls `on_stall` when this process has been Closing for `after` and is not Closed, and again when it has been
    /// Closing for twice that, four times that, and so on. The [`Stall`] lists the items that it waits for.
    ///
    /// The hook runs on a thread of the library for which nothing else waits, so it never holds up the closing. It may
    /// block and panic. While it runs, it is not called again. With the feature `tracing`, the stall and its blockers
    /// are also events at WARN. There may be several hooks. On the background process, this does nothing.
    ///
    /// A hook that holds a handle to this process keeps the process open until it is closed. When the process is
    /// Closed, a thread of the library drops the hook.
    ///
    /// ```
    /// use procession::Process;
    /// use std::sync::mpsc;
    /// use std::time::Duration;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let (sender, receiver) = mpsc::channel();
    /// app.on_stall(Duration::from_millis(10), move |stall| drop(sender.send(stall.to_string())));
    ///
    /// let cache = Process::builder().name("cache").parent(&app);
    /// let cache = cache.spawn_thread(|p| assert!(p.aborting().wait()))?;
    /// app.close();
    /// let stall = receiver.recv()?;
    /// assert!(stall.starts_with("process `app` is still closing after"));
    /// assert!(stall.contains("app › cache: thread body `cache`"));
    /// # app.abort().wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_stall(&self, after: Duration, on_stall: impl Fn(&Stall) + Send + Sync + 'static) {
        if !self.node.is_background() {
            deadlines::watch_for_stalls(&self.node, after, true, on_stall);
        }
    }
}
