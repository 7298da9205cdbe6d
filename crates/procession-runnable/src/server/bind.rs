//! [`Bind`]: where a server listens.

use std::io;
use std::net::{SocketAddr, TcpListener};

use procession::support::text::Escaped;

/// An address that a server listens on, or a function that makes its listener.
///
/// A runnable can be run any number of times, and a server binds anew in each run. So it takes an address or a
/// function, and not a listener. The trait is implemented for [`SocketAddr`], for strings such as `"127.0.0.1:80"` and
/// `"localhost:80"`, and for closures that return a [`TcpListener`].
///
/// The error of a failure to listen names the address: ``process `http` failed: cannot listen on 127.0.0.1:80: Address
/// already in use``. The error of a closure is passed on unchanged. A closure can call [`listen`](Self::listen), for
/// example to print which port the OS chose for port 0:
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
    /// The error of the operating system, with the address if there is one, or the error of the closure.
    ///
    /// # Blocking
    ///
    /// Blocks the thread until a host name is resolved. An IP address needs no resolving.
    fn listen(&self) -> io::Result<TcpListener>;
}

/// The error of the operating system in [`Bind::listen`], with the address.
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
    fn the_error_names_the_address_in_use() {
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
