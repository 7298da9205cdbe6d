//! Layer 1, the state machine: phases, edges, the closing walk, sleepers, slots, and failures on their way up.
//!
//! It knows no thread, future, spawner, teardown or hook. The values that it keeps for the layers above are opaque to
//! it (see [`Contents`]). The teardowns to run and the sleepers to wake leave it by value, as [`Effects`]. The layers
//! above report to it when a body or a teardown has ended.
//!
//! | file | subject |
//! |---|---|
//! | [`node`] | the node of a process: the invariants S1 to S8, the lock order, all fields |
//! | [`inner`], [`extras`] | access to the fields under the lock |
//! | [`seed`], [`inherited`], [`scope`] | everything that a new process starts with; what children inherit |
//! | [`contents`], [`sleepers`], [`limit`], [`known_hooks`] | the types of these fields |
//! | [`path`] | the path of a process, which names it in errors |
//! | [`phase_word`] | the atomic word that publishes the phase |
//! | [`edge_kind`], [`edges`] | the kinds of edges; adding and removing edges |
//! | [`cycle`] | the search for cycles that could never close |
//! | [`blocked`], [`shown_wait`] | a blocking wait as an edge; other blocking waits, which snapshots show |
//! | [`closing`], [`ended`] | the closing walk; the remaining work at the end of a process |
//! | [`closing_hooks`] | functions that run when a process begins to close |
//! | [`failures`], [`hooks`] | failures on their way up; the hooks that are called for them |
//! | [`watched`] | the observers of a process, and the events that they receive |
//! | [`handled`] | whether a failure is handled (I17) |
//! | [`readers`] | handles and waiters for the end, which can read the outcome; the failures that are left to them |
//! | [`calls`] | the calls of a periodic process, and how many failed |
//! | [`time_limit`], [`forced`] | the end of a time limit, and of a grace |
//! | [`counting`] | the number of open children |
//! | [`children`] | waiting until the children are Closed |
//! | [`waiters`], [`slots`] | the sleepers that wait for a moment of a process, or for a slot |
//! | [`survey`](mod@survey) | everything below a process, as a snapshot |
//! | [`stable_list`], [`effects`] | the list type of edges and waiters; the work that is left to be done without a lock |
//! | `below` | everything that a process waits for, for waits on a tokio runtime |

#[cfg(all(feature = "tokio", not(loom)))]
mod below;
mod blocked;
mod calls;
mod children;
mod closing;
mod closing_hooks;
mod contents;
mod counting;
mod cycle;
mod edge_kind;
mod edges;
mod effects;
mod ended;
mod extras;
mod failure_hooks;
mod failures;
mod forced;
mod handled;
mod hooks;
mod inherited;
mod inner;
mod known_hooks;
mod limit;
mod node;
mod path;
mod phase_word;
mod readers;
mod scope;
mod seed;
mod shown_wait;
mod sleepers;
mod slots;
mod stable_list;
mod survey;
#[cfg(all(test, not(loom)))]
mod testing;
mod time_limit;
mod waiters;
mod watched;
#[cfg(all(test, not(loom)))]
mod watched_tests;

#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) use below::{everything_below, everything_below_children};
pub(crate) use blocked::BlockedEdge;
pub(crate) use closing_hooks::HookPlace;
pub(crate) use contents::{Contents, Failed, NodeEvent, ObservedEvent};
pub(crate) use cycle::slots_wait_for;
pub(crate) use edge_kind::EdgeKind;
pub(crate) use edges::{Added, fresh_child, link, unlink_all};
pub(crate) use effects::{Due, Effects, Reported, Wake};
pub(crate) use failure_hooks::CallingHooks;
pub(crate) use hooks::invalidate_hook_caches;
pub(crate) use inherited::Inherited;
pub(crate) use limit::{Limit, SlotAttempt, Ticket};
pub(crate) use node::{Extras, Node, SetTeardown};
pub(crate) use scope::Scope;
pub(crate) use seed::Seed;
pub(crate) use shown_wait::ShownWait;
pub(crate) use sleepers::{Moment, Place};
pub(crate) use slots::Unlinked;
#[cfg(not(loom))]
pub(crate) use stable_list::StableList;
pub(crate) use survey::{Workplaces, glance, survey};
pub(crate) use time_limit::Waits;
pub(crate) use waiters::PutBack;
