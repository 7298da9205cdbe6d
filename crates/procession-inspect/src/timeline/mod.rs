//! The timeline of a shutdown.
//!
//! Events become plain values, and the pictures are functions of these.
//!
//! | file | subject |
//! |---|---|
//! | this one | [`Timeline`] |
//! | `recorder` | what events and snapshots tell |
//! | `store` | the lives that a recorder keeps, in bounded memory |
//! | `recording` | the plain values; begin here |
//! | `segments` | what a process did from Closing to Closed |
//! | `critical` | the critical path |
//! | `rows` | the order of the rows, and what is folded |
//! | `words` | the texts of the pictures |
//! | `svg` | the picture; `scale`, `style`: its axis and its colours |
//! | `trace` | the Chrome trace |
//! | `file` | writing a file |
//! | `program` | [`MainExt`] |

mod critical;
mod file;
#[cfg(any(unix, windows))]
mod program;
mod recorder;
mod recording;
mod rows;
mod scale;
mod segments;
mod store;
mod style;
mod svg;
#[cfg(test)]
mod testing;
mod trace;
mod words;

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use procession::{Process, support};

#[cfg(any(unix, windows))]
pub use program::MainExt;
use recorder::Recorder;
use recording::Recording;

/// The time that a picture waits for the last events.
const LIMIT: Duration = Duration::from_secs(1);

/// Records how a process closes: which of the processes below it closed when, which ones they waited for, and the
/// critical path, the chain of processes that determined the total time.
///
/// ```
/// use procession::Process;
/// use procession_inspect::Timeline;
///
/// let app = Process::builder().name("app").build()?;
/// let timeline = Timeline::of(&app);
/// let _db = Process::builder().name("db").parent(&app).build()?;
/// app.close_blocking()?;
///
/// println!("{}", timeline.critical_path()); // ① db: wait 31 µs (78 %) → ② app: wait 9 µs (22 %)
/// let directory = std::env::temp_dir();
/// timeline.save(directory.join("shutdown.svg"))?; // for a browser
/// timeline.save(directory.join("shutdown.json.gz"))?; // for Perfetto
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What it records
///
/// The timeline begins when it is made, and shows what happens once the process is Closing. A process that is Closed
/// before that is forgotten, unless it failed: the last 1,000 such failures are kept. There are at most 100,000
/// processes in a timeline, and any more are only counted. Each takes about 130 bytes.
///
/// The times come from events, as with [`Process::on_event`]. Edges other than those from first parents come from
/// snapshots, the first of which is taken about a millisecond after closing began: of a process that is Closed before
/// that, such edges are missing.
///
/// Clones are handles to the same timeline. Dropping all of them does not end the recording, which ends with the
/// process.
///
/// # Blocking
///
/// The methods that draw wait until the events so far have been recorded. A thread of the library does that, usually
/// within a few milliseconds; if another hook blocks that thread, they stop waiting after a second.
#[derive(Clone)]
pub struct Timeline {
    recorder: Arc<Recorder>,
}

impl Timeline {
    /// Records how this process, and everything below it, closes. The pictures are about this process, even if it has
    /// parents.
    #[must_use = "a timeline is there to be drawn"]
    pub fn of(process: &Process) -> Self {
        Self { recorder: Recorder::start(process) }
    }

    /// The picture, as an SVG document of at most 200 rows and 2 MiB: large families of processes are folded. It can be
    /// drawn at any time; what has not ended yet ends now.
    #[must_use]
    pub fn to_svg(&self) -> String {
        text(|out| svg::write(&self.recording(), out))
    }

    /// The timeline as a Chrome trace, a JSON document that [Perfetto](https://ui.perfetto.dev) and `chrome://tracing`
    /// open. It has at most 200,000 events and 64 MiB; beyond that, large families of processes are folded.
    #[must_use]
    pub fn to_chrome_trace(&self) -> String {
        text(|out| trace::write(&self.recording(), out))
    }

    /// Writes [`to_chrome_trace`](Self::to_chrome_trace) piece by piece.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_chrome_trace(&self, mut out: impl Write) -> io::Result<()> {
        trace::write(&self.recording(), &mut out)
    }

    /// Writes a file: a picture if the name ends in `.svg`, a Chrome trace if it ends in `.json` or `.json.gz`. The
    /// file is complete or, after an error, as it was before.
    ///
    /// # Errors
    ///
    /// Those of the file system, and [`io::ErrorKind::InvalidInput`] for another name.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        file::save(&self.recording(), path.as_ref())
    }

    /// The critical path as one line:
    /// `① cache: body 5.0 s (80 %) → ② db: teardown 1.2 s (19 %) → ③ app: teardown 80 ms (1 %)`. Of more than eight
    /// steps, the longest ones are named. If the process has not begun to close, it is `none`.
    #[must_use]
    pub fn critical_path(&self) -> String {
        let recording = self.recording();
        let path = critical::critical_path(&recording, &critical::Waits::of(&recording));
        words::critical_path(&recording, &critical::steps(&path.spans))
    }

    fn recording(&self) -> Recording {
        support::flush_events(LIMIT);
        self.recorder.recording()
    }

    /// The program is being ended by force.
    #[cfg(any(unix, windows))]
    fn exits(&self) {
        self.recorder.exits();
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").finish_non_exhaustive()
    }
}

fn text(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).expect("a vector takes everything");
    String::from_utf8(text).expect("all texts are UTF-8")
}
