//! What a unit does, by its spec.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use procession::{BoxError, Process};
use procession_runnable::{Run, body, body_thread};
use procession_supervisor::Unit;
use procession_supervisor::shared::{Claim, TableError};

use crate::store::Store;

/// How often a unit counts.
const TICK: Duration = Duration::from_millis(100);
/// The maximum number of times that a stubborn unit tries to count after its abort.
const LATE: u32 = 3;

/// Makes the unit of a claim. A spec that nobody knows is a failure of the unit.
pub(crate) fn unit(claim: &Claim, store: &Store, name: &str, log: &Log) -> Result<Unit, BoxError> {
    let (claim, store, name, log) = (claim.clone(), store.clone(), name.to_owned(), log.clone());
    // More words after the first one make a different spec, so a `put` of it starts the unit again.
    let runnable = match claim.spec().split_whitespace().next().unwrap_or_default() {
        kind @ ("count" | "stubborn") => {
            let is_stubborn = kind == "stubborn";
            body_thread(move |run| {
                let _logged = log.started(&claim)?;
                count(&run, &claim, &store, &name, &log, is_stubborn)
            })
        }
        "idle" => body(move |run| {
            let logged = log.started(&claim);
            async move {
                let _logged = logged?;
                run.ready();
                run.closing().await;
                procession::ok()
            }
        }),
        "crash" => body_thread(move |run| -> Result<(), BoxError> {
            let _logged = log.started(&claim)?;
            run.ready();
            process::abort()
        }),
        "deaf" => body_thread(move |run| {
            let _logged = log.started(&claim)?;
            run.ready();
            Process::new().closed().wait()?;
            procession::ok()
        }),
        spec => return Err(format!("unknown spec {spec:?}").into()),
    };
    Ok(Unit::new(runnable))
}

/// Adds one to the counter of the unit again and again. The database refuses that if another program runs the unit.
fn count(
    run: &Run,
    claim: &Claim,
    store: &Store,
    name: &str,
    log: &Log,
    is_stubborn: bool,
) -> Result<(), BoxError> {
    let (mut counter, mut late) = (None, 0);
    run.ready();
    loop {
        let begun = Instant::now();
        let is_late = run.is_aborting();
        let counted = match &mut counter {
            Some(counter) => Ok(counter),
            None => store.counter().map(|opened| counter.insert(opened)),
        };
        let is_answered = match counted.and_then(|counter| counter.count(claim.lease(), name)) {
            Ok(()) => true,
            // The lease has ended, so the unit will be aborted.
            Err(TableError::Refused) => {
                log.write("refused", claim)?;
                true
            }
            // The database is away. Nothing is written until it is back.
            Err(_) => {
                counter = None;
                false
            }
        };
        let pause = TICK.saturating_sub(begun.elapsed());
        // A stubborn unit tries to count even after its abort. It does not pause then, because the program exits if the
        // unit has not ended soon after its lease.
        late += u32::from(is_late);
        let is_over = match is_stubborn {
            false => run.closing().wait_timeout(pause).is_some(),
            true if is_late => is_answered || late == LATE,
            true => {
                let _aborted = run.aborting().wait_timeout(pause);
                false
            }
        };
        if is_over {
            return Ok(());
        }
    }
}

/// A file to which all programs append the starts and ends of units. It is independent of the table, and shows that no
/// unit runs twice.
#[derive(Clone)]
pub(crate) struct Log {
    file: Option<Arc<File>>,
}

/// Logs the end when it is dropped.
pub(crate) struct Logged {
    log: Log,
    claim: Claim,
}

impl Log {
    pub(crate) fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path).map(Arc::new);
        Ok(Self { file: path.map(open).transpose()? })
    }

    fn started(&self, claim: &Claim) -> io::Result<Logged> {
        self.write("start", claim)?;
        Ok(Logged { log: self.clone(), claim: claim.clone() })
    }

    /// Appends a line, which is one write: so lines of several programs do not mix.
    fn write(&self, what: &str, claim: &Claim) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let (key, token, pid) = (claim.key(), claim.lease().token(), process::id());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        (&**file).write_all(format!("{what} {key} {token} {pid} {now}\n").as_bytes())
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _written = self.log.write("end", &self.claim);
    }
}
