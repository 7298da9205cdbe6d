//! The limit of [`Process::close_within`](crate::Process::close_within).

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dispatch::dispatch;
use crate::reason::Reason;
use crate::state::Node;
use crate::sync::spawn_thread;
use crate::wait::Closed;

/// Aborts the process after `limit`, unless it is Closed then.
pub(crate) fn abort_after(node: &Arc<Node>, limit: Duration) {
    // A limit beyond what a clock can say is none.
    let Some(deadline) = Instant::now().checked_add(limit) else { return };
    if limit.is_zero() || !watch(node, deadline) {
        abort(node);
    }
}

fn abort(node: &Arc<Node>) {
    dispatch(node.close(Reason::Asked, true));
}

/// Has the shared executor watch the deadline; without one, a thread. `false` if there is neither: then the
/// limit is kept early and not dropped.
#[cfg(all(feature = "executor", not(loom)))]
fn watch(node: &Arc<Node>, deadline: Instant) -> bool {
    let Ok(executor) = crate::spawn::executor::start() else {
        return watch_on_thread(node, deadline);
    };
    let node = node.clone();
    executor
        .spawn(async move {
            let closed = async { drop(Closed::new(&node).await) };
            let over = async {
                async_io::Timer::at(deadline).await;
                abort(&node);
            };
            futures_lite::future::or(closed, over).await;
        })
        .detach();
    true
}

#[cfg(not(all(feature = "executor", not(loom))))]
fn watch(node: &Arc<Node>, deadline: Instant) -> bool {
    watch_on_thread(node, deadline)
}

fn watch_on_thread(node: &Arc<Node>, deadline: Instant) -> bool {
    let node = node.clone();
    let watch = move || {
        if Closed::new(&node).wait_deadline(deadline).is_none() {
            abort(&node);
        }
    };
    spawn_thread(Some("procession-limit"), watch).is_ok()
}
