//! A TCP server with a thread for each connection (feature `tcp`).

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;
use procession::support::{abort_past_grace, spawn_thread_unattended};
use procession::{CloseOnDrop, Error, IntoOutcome, Process};

use super::accept::{CONNECTION, Dropped, accept};
use super::bind::Bind;
use super::settings::Server;
use crate::leaf::body;
use crate::runnable::Runnable;
use crate::start::{Run, below};

#[cfg(feature = "tls")]
const NO_TLS: &str = "`Server::tcp` has no TLS: serve HTTP, or leave `Server::tls` out";

/// Calls `handler` for each connection, on a thread of its own, with the default settings of [`Server`].
///
/// Each connection is a child of the server's process. On closing, the server accepts no more connections, and waits
/// for the handlers of those that it has accepted. They should watch [`closing`](Process::closing) and finish their
/// work. If a handler may be blocked in a read then, [`on_closing`](Process::on_closing) can interrupt it. An abort
/// shuts the sockets down, so that no handler hangs in a read or a write. The end of the [grace](Server::grace) aborts
/// the server.
///
/// # Failures
///
/// If a handler fails or panics, its connection has failed; the server continues. If the OS has no thread or no file
/// descriptor for a connection, that connection is dropped, which is reported as its failure, and the server resumes
/// when it can.
///
/// The server waits for connections in an async body, without a thread.
///
/// ```
/// use procession::Process;
/// use procession_runnable::{run_in, server};
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?;
/// let echo = server::tcp(
///     move || listener.try_clone(),
///     |mut stream, _p| {
///         let mut buffer = [0; 5];
///         stream.read_exact(&mut buffer)?;
///         stream.write_all(&buffer)
///     },
/// );
/// let app = Process::new();
/// futures_lite::future::block_on(run_in(&app, &echo, |_| async move {
///     let mut client = TcpStream::connect(address)?;
///     client.write_all(b"hello")?;
///     client.read_exact(&mut [0; 5])
/// }))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[track_caller]
pub fn tcp<H, R>(bind: impl Bind, handler: H) -> Runnable
where
    H: Fn(TcpStream, Process) -> R + Send + Sync + 'static,
    R: IntoOutcome + 'static,
{
    Server::new(bind).tcp(handler)
}

impl Server {
    /// Calls `handler` for each connection, on a thread of its own: see [`tcp()`].
    #[cfg_attr(
        feature = "tls",
        doc = "\nA TCP server has no TLS: if [`tls`](Self::tls) was called, it fails to start."
    )]
    #[track_caller]
    pub fn tcp<H, R>(self, handler: H) -> Runnable
    where
        H: Fn(TcpStream, Process) -> R + Send + Sync + 'static,
        R: IntoOutcome + 'static,
    {
        let handler = Arc::new(handler);
        body(move |run| {
            let (server, handler) = (self.clone(), handler.clone());
            async move {
                #[cfg(feature = "tls")]
                if server.tls.is_some() {
                    return Err(NO_TLS.into());
                }
                let listener = Async::new(server.bind.listen()?)?;
                abort_past_grace(&run, server.timeouts.grace);
                let next = || next(&listener);
                accept(&run, next, |stream| serve(&run, stream, handler.clone())).await
            }
        })
    }
}

async fn next(listener: &Async<TcpListener>) -> io::Result<Async<TcpStream>> {
    Ok(listener.accept().await?.0)
}

/// Starts the handler of a connection. An error of the OS concerns only this connection.
fn serve<H, R>(run: &Run, stream: Async<TcpStream>, handler: Arc<H>) -> Result<(), Dropped>
where
    H: Fn(TcpStream, Process) -> R + Send + Sync + 'static,
    R: IntoOutcome + 'static,
{
    let stream = stream.into_inner()?;
    stream.set_nonblocking(false)?;
    // The handler owns its stream, so shutting the socket down on an abort needs a second descriptor.
    let shut_down = stream.try_clone()?;
    spawn_thread_unattended(below(run).name(CONNECTION), move |connection| {
        let _handling = shut_on_abort(&connection, shut_down)?;
        handler(stream, connection).into_outcome()
    })?;
    Ok(())
}

/// Shuts the socket down if the connection is aborted while the guard exists.
fn shut_on_abort(connection: &Process, stream: TcpStream) -> Result<CloseOnDrop, Error> {
    let handling = Process::builder().site(connection.site()).build()?;
    let handled = handling.closed();
    // The guard is made here and not in the future, because a future that is aborted before its first poll never runs.
    let guard = ShutOnAbort { stream, process: connection.clone() };
    below(connection).spawn(move |_| async move {
        let _guard = guard;
        drop(handled.await);
    })?;
    Ok(handling.close_on_drop())
}

/// Shuts the socket down when an abort drops the body that holds this.
struct ShutOnAbort {
    stream: TcpStream,
    process: Process,
}

impl Drop for ShutOnAbort {
    fn drop(&mut self) {
        if self.process.is_aborting() {
            // It may be shut down already.
            let _ended = self.stream.shutdown(Shutdown::Both);
        }
    }
}
