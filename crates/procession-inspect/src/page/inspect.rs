//! [`Inspect`]: the inspector of a process.
//!
//! The server runs on a thread and a runtime of its own, outside the tree of the process, *because* the page must work
//! while the program's executor is stuck, must not be listed among the things that the process waits for, and must end
//! after everything else. Its runnable is a process in the tree, which starts the server, is ready when the server
//! listens, and ends as soon as it is asked to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use parking_lot::{Condvar, Mutex};
use procession::{BoxError, ChildFailure, Process, Site, support};
use procession_runnable::server::Server;
use procession_runnable::{Runnable, Start, body};

use super::answers::{Answers, router};
use super::error::InspectError;
use super::guard::Guard;
use super::hub::{Hub, SAVE};
use super::texts::{Redact, Texts};
use super::token::Token;
use super::units::Source;
use crate::Timeline;

/// The port of the page, unless another address is given.
const PORT: u16 = 7777;

/// A function that is given the URL.
type OnReady = Arc<dyn Fn(&str) + Send + Sync>;

/// The time for the head of a request, and for a viewer that reads nothing.
const HEADER: Duration = Duration::from_secs(5);
const BODY: Duration = Duration::from_secs(15);

/// The time for the end of the server, after everything else has ended and viewers know it.
const LAST: Duration = Duration::from_millis(250);

/// The live page of a process: its tree, what its closing waits for, failures, and the timeline, in a browser.
///
/// The page is read-only. It is updated while it is open, works without a script, and its data is also JSON:
/// `/snapshot.json`, `/blockers.json`, `/process/9.json`, and the stream `/events`.
///
/// # As a runnable
///
/// [`runnable`](Self::runnable) serves the page on an address of its own. The server has a thread of its own and is not
/// part of the tree, so the page can still be read while the program's executor is blocked, during the shutdown, and
/// during the teardown of the process itself; it is never among the things that the process waits for. When the process
/// is Closed, the server tells its viewers and ends within 500 ms. A program that runs [`Main`](procession::Main) uses
/// [`MainExt::inspect`](crate::MainExt::inspect), which waits for that.
///
/// ```no_run
/// use procession::Process;
/// use procession_inspect::Inspect;
/// use procession_runnable::run_in;
///
/// let app = Process::builder().name("app").build()?;
/// let page = Inspect::new(&app).runnable()?; // http://127.0.0.1:7777/
/// futures_lite::future::block_on(run_in(&app, &page, |p| async move { p.closing().await }))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # As a router
///
/// [`router`](Self::router) is a part of another server. It checks only `Origin`: put authentication in front of it.
///
/// # Settings
///
/// | setting | default |
/// |---|---|
/// | [`address`](Self::address) | `127.0.0.1:7777` |
/// | [`allow_host`](Self::allow_host) | `localhost` and IP addresses |
/// | [`token`](Self::token) | none on loopback; 128 random bits on any other address |
/// | [`redact`](Self::redact) | texts are shown as they are |
/// | `units` (feature `supervisor`) | no units are shown |
/// | [`on_ready`](Self::on_ready) | the address is printed to standard error |
///
/// # Safety of the page
///
/// Only `GET` and `HEAD` are answered. A request whose `Host` is not this machine, or that another web page makes, is
/// refused, so a page that rebinds its name to this machine reads nothing. Beyond loopback, the page needs its token.
#[derive(Clone)]
#[must_use = "it does nothing until `runnable` or `router`"]
pub struct Inspect {
    app: Process,
    address: SocketAddr,
    hosts: Vec<String>,
    token: Option<String>,
    redact: Option<Redact>,
    on_ready: Option<OnReady>,
    units: Vec<Source>,
}

impl Inspect {
    /// An inspector of this process and of everything below it, with the default settings.
    ///
    /// Once it is a runnable or a router, it does not keep the process open.
    pub fn new(app: &Process) -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
        Self {
            app: app.clone(),
            address,
            hosts: Vec::new(),
            token: None,
            redact: None,
            on_ready: None,
            units: Vec::new(),
        }
    }

    /// Shows the units of a manager or a set on the page: their states, restarts and errors and, of a shared manager,
    /// its number and the tokens of its claims. It can be called for several managers; at most 32 are shown.
    ///
    /// The page keeps the manager until it ends, but it does not keep it running.
    ///
    /// ```
    /// use procession::Process;
    /// use procession_inspect::Inspect;
    /// use procession_supervisor::{Manager, MemoryTable};
    ///
    /// let manager = Manager::new(MemoryTable::<String>::new());
    /// let page = Inspect::new(&Process::new()).units(manager.clone());
    /// # drop(page);
    /// ```
    #[cfg(feature = "supervisor")]
    pub fn units(mut self, units: impl procession_supervisor::HasUnits) -> Self {
        self.units.push(super::units::source(units));
        self
    }

    /// Sets the address that the server listens on. Beyond loopback, the page needs a [`token`](Self::token).
    pub fn address(mut self, address: impl Into<SocketAddr>) -> Self {
        self.address = address.into();
        self
    }

    /// Lets browsers reach the server under this name too, on any port.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// Sets the token that the page needs. By default, the token is random; on loopback, none is needed.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sets a function that changes each text of the program before it is shown: the names of processes, threads,
    /// managers and the host, the keys of units, and errors, but not the names of source files. Only in a path, where a
    /// source file stands for a process without a name, it is changed like a name. The page then has no timeline.
    ///
    /// The function runs on threads of the inspector. If it panics, the text is not shown.
    pub fn redact(mut self, redact: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.redact = Some(Arc::new(redact));
        self
    }

    /// Sets a function that is called with the URL when the server listens. If there is a token, the URL contains it.
    /// By default, the URL is printed to standard error.
    pub fn on_ready(mut self, on_ready: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_ready = Some(Arc::new(on_ready));
        self
    }

    /// A router with the page, for [`nest`](Router::nest) or a server of its own. It needs a tokio runtime.
    ///
    /// It checks only `Origin`, and the server around it decides how long a connection may take.
    pub fn router(self) -> Router {
        let (hub, timeline) = self.start();
        router(Answers { hub, guard: Arc::default(), timeline, is_sending_all: Arc::default() })
    }

    /// The server of the page, as a runnable that is ready when the server listens: see [`Inspect`].
    ///
    /// Recording begins with this call. The runnable ends when it is asked to close, and the server when the inspected
    /// process is Closed. It needs no runtime.
    ///
    /// # Errors
    ///
    /// [`InspectError`], if the token is too short, or if no random token can be made.
    #[track_caller]
    pub fn runnable(self) -> Result<Runnable, InspectError> {
        let service = Arc::new(Service::new(self, Site::caller())?);
        Ok(body(move |run| {
            let service = service.clone();
            async move {
                service.serve()?;
                run.ready();
                run.closing().await;
                Ok::<(), BoxError>(())
            }
        }))
    }

    fn start(&self) -> (Arc<Hub>, Option<Timeline>) {
        let hub = Hub::start(&self.app, Texts::new(self.redact.clone()), self.units.clone().into());
        // A timeline shows names as they are.
        let timeline = (!hub.is_redacted()).then(|| Timeline::of(&self.app));
        (hub, timeline)
    }
}

impl fmt::Debug for Inspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspect").field("address", &self.address).finish_non_exhaustive()
    }
}

/// The server, which is started at most once at a time.
pub(crate) struct Service {
    address: SocketAddr,
    hosts: Vec<String>,
    token: Option<Token>,
    on_ready: Option<OnReady>,
    hub: Arc<Hub>,
    timeline: Option<Timeline>,
    running: Arc<(Mutex<usize>, Condvar)>,
    site: Site,
}

impl Service {
    /// The server's processes have this site.
    pub(crate) fn new(inspect: Inspect, site: Site) -> Result<Self, InspectError> {
        let token = match &inspect.token {
            Some(token) => Some(Token::new(token.clone())?),
            None if inspect.address.ip().is_loopback() => None,
            None => Some(Token::random()?),
        };
        let (hub, timeline) = inspect.start();
        let Inspect { address, hosts, on_ready, .. } = inspect;
        let running = Arc::default();
        Ok(Self { address, hosts, token, on_ready, hub, timeline, running, site })
    }

    /// Listens, and serves on a thread of its own until the inspected process is Closed.
    pub(crate) fn serve(&self) -> Result<(), BoxError> {
        let listener = TcpListener::bind(self.address)
            .map_err(|error| format!("cannot listen on {}: {error}", self.address))?;
        self.serve_on(listener)
    }

    pub(super) fn serve_on(&self, listener: TcpListener) -> Result<(), BoxError> {
        let address = listener.local_addr()?;
        let guard = Guard {
            is_server: true,
            hosts: self.hosts.clone(),
            token: self.token.clone(),
            port: address.port(),
        };
        let router = router(Answers {
            hub: self.hub.clone(),
            guard: Arc::new(guard),
            timeline: self.timeline.clone(),
            is_sending_all: Arc::default(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .max_blocking_threads(2)
            .thread_name("procession-inspect")
            .build()?;
        let (hub, running, site) = (self.hub.clone(), self.running.clone(), self.site);
        *running.0.lock() += 1;
        let serve = move || {
            let _running = Running(running);
            serve_until_closed(&runtime, listener, router, &hub, site);
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("procession-inspect".to_owned());
        if let Err(error) = thread.spawn(serve) {
            return Err(error.into());
        }
        self.tell(&url(address, self.token.as_ref()));
        Ok(())
    }

    fn tell(&self, url: &str) {
        match &self.on_ready {
            Some(on_ready) => drop(support::catch(|| on_ready(url))),
            None => {
                use io::Write;
                // Standard error may be closed.
                let _written = writeln!(io::stderr(), "{}: {url}", self.hub.program().name);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The process is the root of a program, which [ends](Self::end) the server.
    pub(crate) fn expect_exit(&self) {
        self.hub.expect_exit();
    }

    /// The program ends with the root: tells viewers the exit status, ends the server, and waits for that.
    pub(crate) fn end(&self, root: &Process) {
        let deadlines = support::deadlines_of_root(root);
        let code = deadlines.map(|found| found.code.unwrap_or(found.code_by_force));
        self.hub.exits(code, root.is_closed());
        let (running, ended) = &*self.running;
        let deadline = std::time::Instant::now() + SAVE + LAST + Duration::from_millis(50);
        let mut running = running.lock();
        while *running > 0 && !ended.wait_until(&mut running, deadline).timed_out() {}
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Nobody can start it again; a server that runs ends with the process that it shows.
        if *self.running.0.lock() == 0 {
            self.hub.stop();
        }
    }
}

/// The server runs as long as this exists.
struct Running(Arc<(Mutex<usize>, Condvar)>);

impl Drop for Running {
    fn drop(&mut self) {
        *self.0.0.lock() -= 1;
        self.0.1.notify_all();
    }
}

fn serve_until_closed(
    runtime: &tokio::runtime::Runtime,
    listener: TcpListener,
    router: Router,
    hub: &Arc<Hub>,
    site: Site,
) {
    let bind = move || listener.try_clone();
    let server = Server::new(bind).header_timeout(HEADER).body_timeout(BODY).grace(LAST);
    let server = server.axum(router).at(site);
    // Its own root: nothing of the program waits for it, and its connections are not failures of the program.
    let root = Process::builder()
        .name("procession-inspect")
        .site(site)
        .spawner(runtime.handle().clone())
        .on_child_failure(ChildFailure::Ignore)
        .on_failure(|_, _| {})
        .build();
    let Ok(root) = root else { return };
    runtime.block_on(async {
        let Ok(_server) = server.start(Start::under(&root).0.named("http")) else { return };
        hub.ended().await;
        // What is left after that ends with the runtime.
        if root.close().timeout(LAST).await.is_none() {
            drop(root.abort());
        }
    });
}

/// `http://127.0.0.1:7777/`
fn url(address: SocketAddr, token: Option<&Token>) -> String {
    let token = token.map_or_else(String::new, |token| format!("?token={}", token.as_str()));
    format!("http://{address}/{token}")
}
