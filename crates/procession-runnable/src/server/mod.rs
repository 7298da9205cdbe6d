//! Servers as runnables, each behind a feature. A server is ready when it listens. On closing, it accepts no more
//! connections and finishes the requests in progress. An abort drops them.
//!
//! | function | feature | what it serves |
//! |---|---|---|
//! | `tcp` | `tcp` | a blocking handler for each connection, on threads |
//! | `hyper` | `hyper` | a hyper service, HTTP/1 and HTTP/2, on tokio |
//! | `tower` | `hyper` | a tower service, HTTP/1 and HTTP/2, on tokio |
//! | `axum` | `axum` | a router, on tokio |
//! | `tonic` | `tonic` | gRPC services, on tokio |
//!
//! Each takes an address, or a function that makes a listener: see [`Bind`]. Timeouts, the grace of a stop and TLS
//! (feature `tls`) are settings of [`Server`].
//!
//! A client cannot make the server fail: a client that is silent, is slow, disconnects or breaks the protocol loses its
//! connection, and delays a stop only within the bounds of [`Server`].

mod accept;
mod bind;
mod settings;

#[cfg(feature = "tcp")]
mod tcp;

// HTTP, from the listener down to a request.
#[cfg(feature = "hyper")]
mod activity;
#[cfg(feature = "hyper")]
mod answer;
#[cfg(feature = "hyper")]
mod answers;
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "hyper")]
mod connection;
#[cfg(feature = "hyper")]
mod faults;
#[cfg(feature = "hyper")]
mod http;
#[cfg(feature = "hyper")]
mod processes;
#[cfg(feature = "hyper")]
mod request_body;
#[cfg(feature = "hyper")]
mod response_body;
#[cfg(feature = "hyper")]
mod socket;
#[cfg(feature = "hyper")]
mod stream;
#[cfg(feature = "hyper")]
mod timer;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tonic")]
mod tonic;
#[cfg(feature = "hyper")]
mod turn;
#[cfg(feature = "hyper")]
mod unanswered;
#[cfg(feature = "hyper")]
mod untaken;
#[cfg(feature = "hyper")]
mod watch;

#[cfg(feature = "axum")]
pub use self::axum::axum;
#[cfg(feature = "tonic")]
pub use self::tonic::tonic;
pub use bind::Bind;
#[cfg(feature = "hyper")]
pub use http::{hyper, tower};
#[cfg(feature = "hyper")]
pub use processes::{ConnectionProcess, RequestProcess};
#[cfg(feature = "hyper")]
pub use request_body::{BodyError, RequestBody};
pub use settings::Server;
#[cfg(feature = "tcp")]
pub use tcp::tcp;
/// The version of rustls that [`Server::tls`] uses.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
#[cfg(feature = "hyper")]
pub use unanswered::Unanswered;
