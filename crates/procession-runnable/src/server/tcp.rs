//! A TCP server for programs of threads (feature `tcp`).

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;
use procession::{BoxError, CloseOnDrop, Error, IntoOutcome, Process};

use super::after_refusal;
use crate::leaf::body;
use crate::runnable::Runnable;
use crate::start::{Run, below};

/// Calls `handler` for each connection to the listener that `bind` makes, on a thread of its own.
///
/// On closing, the server accepts no more connections, and waits for the handlers of those that it has accepted. They see
/// [`closing`](Process::closing), and finish their work. An abort shuts their sockets down, so that no handler hangs in a
/// read. Hooks are told of a handler that fails, and the server continues.
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
pub fn tcp<B, H, R>(bind: B, handler: H) -> Runnable
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
    H: Fn(TcpStream, Process) -> R + Send + Sync + 'static,
    R: IntoOutcome + 'static,
{
    let shared = Arc::new((bind, handler));
    body(move |run| serve(run, shared.clone()))
}

async fn serve<B, H, R>(run: Run, shared: Arc<(B, H)>) -> Result<(), BoxError>
where
    B: Fn() -> io::Result<TcpListener> + Send + Sync + 'static,
    H: Fn(TcpStream, Process) -> R + Send + Sync + 'static,
    R: IntoOutcome + 'static,
{
    let listener = Async::new((shared.0)()?)?;
    run.ready();
    while let Some(accepted) = run.run_until_closing(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream.into_inner()?,
            Err(error) => {
                after_refusal(&run, error).await?;
                continue;
            }
        };
        let shared = shared.clone();
        below(&run).spawn_thread(move |connection| {
            stream.set_nonblocking(false)?;
            let _handling = shut_on_abort(&connection, stream.try_clone()?)?;
            (shared.1)(stream, connection).into_outcome()
        })?;
    }
    Ok(())
}

/// Shuts the socket down if the connection is aborted while the guard exists.
fn shut_on_abort(connection: &Process, stream: TcpStream) -> Result<CloseOnDrop, Error> {
    let handling = Process::builder().site(connection.site()).build()?;
    let handled = handling.closed();
    // The guard is made here, because a future that is aborted before its first poll is dropped without being run.
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
