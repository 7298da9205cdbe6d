//! The guarantees of the runnables, with async and blocking bodies, on tokio, smol and the shared executor.

mod common;
mod failures;
mod groups;
mod leaves;
mod nesting;
mod servers;
mod servers_exhausted;
mod servers_failing;
mod servers_http2;
mod servers_load;
mod servers_requests;
mod servers_running;
mod servers_slow;
mod servers_tls;
mod service;
mod starting;
mod to_the_end;
