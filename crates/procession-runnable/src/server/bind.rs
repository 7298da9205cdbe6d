//! [`Bind`]: where a server listens.

use std::io;
use std::net::{SocketAddr, TcpListener};

use procession::support::text::Escaped;

/// An address that a server listens on, or a function that makes its listener.
///
/// A runnable can be run any number of times, so a server is given an address or a function and not a listener. It binds
/// anew in each run. Implemented for [`SocketAddr`], for strings such as `"127.0.0.1:80"` and `"localhost:80"`, and for
/// closures that return a [`TcpListener`].
///
/// A failure to listen on an address names it: ``process `http` failed: cannot listen on 127.0.0.1:80: Address already in
/// use``. The error of a closure is passed on as it is. To print the address that was chosen for port 0, for example, use
/// a closure that calls [`listen`](Self::listen):
///
/// ```
/// use procession_runnable::server::Bind;
/// use std::net::SocketAddr;
///
/// let address = SocketAddr::from(([127, 0, 0, 1], 0));
/// let bind = move || {
///     let listener = address.listen()?;
///     println!("listening on {}", listener.local_addr()?);
///     Ok(listener)
/// };
/// # let _listener = bind.listen()?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "a server cannot listen on `{Self}`",
    label = "this is neither an address nor a function that makes a listener",
    note = "servers listen on a `SocketAddr`, a `&'static str` or a `String`, or call a closure that is \
            `Fn() -> io::Result<TcpListener> + Send + Sync + 'static`"
)]
pub trait Bind: Send + Sync + 'static {
    /// Makes a listener.
    ///
    /// # Errors
    ///
    /// That of the operating system. For an address, it names the address.
    ///
    /// # Blocking
    ///
    /// Resolving a host name blocks the thread; an IP address does not.
    fn listen(&self) -> io::Result<TcpListener>;
}

/// The address of a failed [`Bind::listen`], around the error of the operating system.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
struct CannotListen {
    address: String,
    source: io::Error,
}

impl Bind for SocketAddr {
    fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self).map_err(|error| at(self.to_string(), error))
    }
}

impl Bind for &'static str {
    fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self).map_err(|error| at(Escaped::name(self).to_string(), error))
    }
}

impl Bind for String {
    fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(self).map_err(|error| at(Escaped::name(self).to_string(), error))
    }
}

#[diagnostic::do_not_recommend]
impl<F> Bind for F
where
    F: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
{
    fn listen(&self) -> io::Result<TcpListener> {
        self()
    }
}

fn at(address: String, source: io::Error) -> io::Error {
    io::Error::new(source.kind(), CannotListen { address, source })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    /// The kind is that of the cause, the message has the address, and each cause is printed once.
    #[test]
    fn a_taken_port_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        for error in [address.listen(), address.to_string().listen()] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert_eq!(error.to_string(), format!("cannot listen on {address}"));
            assert!(error.source().unwrap().to_string().contains("in use"), "{error:?}");
        }
        assert_eq!("no\nport".listen().unwrap_err().to_string(), "cannot listen on no\\u{a}port");
    }
}
