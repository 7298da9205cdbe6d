//! What a program prints: each line is a `tracing` event.

use std::future::pending;
use std::io::{self, Write};
use std::sync::Arc;

use async_process::Child;
use futures_lite::future::{poll_once, yield_now, zip};
use futures_lite::{AsyncRead, AsyncReadExt};
use procession::support::catch;
#[cfg(feature = "tracing")]
use procession::support::text::Escaped;
#[cfg(feature = "tracing")]
use tracing::Level;

use super::IsReady;
use crate::start::Run;

/// A line that is longer than this is split, so that a program that prints no line feeds needs no more memory.
const LONGEST_LINE: usize = 8 * 1024;

/// The most that is read after the end of the program: a pipe holds no more, but something else may go on writing.
const MOST_REST: usize = 1024 * 1024;

/// The standard output and the standard error of a program.
pub(super) struct Output {
    stdout: Option<Lines>,
    stderr: Option<Lines>,
    sink: Sink,
}

impl Output {
    pub(super) fn of(child: &mut Child, sink: Sink) -> Self {
        let stdout = child.stdout.take().map(|stdout| Lines::of(Box::new(stdout), Stream::Stdout));
        let stderr = child.stderr.take().map(|stderr| Lines::of(Box::new(stderr), Stream::Stderr));
        Self { stdout, stderr, sink }
    }

    /// Passes on all that the program prints. It goes on until it is dropped; what it has read by then is kept.
    pub(super) async fn copy<T>(&mut self) -> T {
        let Self { stdout, stderr, sink } = self;
        zip(Lines::copy(stdout, sink), Lines::copy(stderr, sink)).await;
        pending().await
    }

    /// Passes on the rest. The program has ended, so everything that it has printed can be read at once.
    pub(super) async fn copy_rest(&mut self) {
        let Self { stdout, stderr, sink } = self;
        for lines in [stdout, stderr].into_iter().flatten() {
            lines.copy_rest(sink).await;
        }
    }
}

/// An abort drops the run before the program has ended: the lines that were begun are passed on.
impl Drop for Output {
    fn drop(&mut self) {
        let Self { stdout, stderr, sink } = self;
        let lines = [stdout, stderr].into_iter().flatten();
        // The subscriber may panic.
        let _printed = catch(|| lines.for_each(|lines| lines.copy_begun(sink)));
    }
}

/// One of the streams, cut into lines.
struct Lines {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    stream: Stream,
    /// The beginning of a line.
    begun: Vec<u8>,
}

impl Lines {
    fn of(reader: Box<dyn AsyncRead + Send + Unpin>, stream: Stream) -> Self {
        Self { reader, stream, begun: Vec::new() }
    }

    /// Copies up to the end of the stream.
    async fn copy(lines: &mut Option<Self>, sink: &Sink) {
        let Some(lines) = lines else { return };
        let mut buffer = vec![0; LONGEST_LINE];
        while let Ok(length @ 1..) = lines.reader.read(&mut buffer).await {
            lines.add(&buffer[..length], sink);
            // The reads of a program that never stops printing never wait.
            yield_now().await;
        }
    }

    async fn copy_rest(&mut self, sink: &Sink) {
        let (mut buffer, mut read) = (vec![0; LONGEST_LINE], 0);
        while read < MOST_REST {
            let next = poll_once(self.reader.read(&mut buffer)).await;
            let Some(Ok(length @ 1..)) = next else { break };
            self.add(&buffer[..length], sink);
            read += length;
        }
        self.copy_begun(sink);
    }

    fn copy_begun(&mut self, sink: &Sink) {
        if !self.begun.is_empty() {
            sink.line(&std::mem::take(&mut self.begun), self.stream);
        }
    }

    fn add(&mut self, bytes: &[u8], sink: &Sink) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.begun.extend_from_slice(part);
            if let Some(line) = self.begun.strip_suffix(b"\n") {
                sink.line(line.strip_suffix(b"\r").unwrap_or(line), self.stream);
                self.begun.clear();
            } else if self.begun.len() >= LONGEST_LINE {
                let end = whole_characters(&self.begun);
                sink.line(&self.begun[..end], self.stream);
                self.begun.drain(..end);
            }
        }
    }
}

/// The length of the text without a character of which only a part is there.
fn whole_characters(text: &[u8]) -> usize {
    // A character takes at most four bytes, of which all but the first are `10xx_xxxx`.
    let is_first = |&byte: &u8| byte & 0b1100_0000 != 0b1000_0000;
    let last = text.iter().rposition(is_first).filter(|last| text.len() - last < 4).unwrap_or(0);
    match std::str::from_utf8(&text[last..]) {
        Err(error) if error.error_len().is_none() && last > 0 => last,
        _ => text.len(),
    }
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

/// Where the lines go.
pub(super) struct Sink {
    run: Run,
    /// The path of the process, if a subscriber wants events.
    #[cfg(feature = "tracing")]
    path: Option<String>,
    is_ready: Option<Arc<IsReady>>,
}

impl Sink {
    pub(super) fn new(run: &Run, is_ready: Option<Arc<IsReady>>) -> Self {
        Self {
            run: run.clone(),
            #[cfg(feature = "tracing")]
            path: tracing::enabled!(target: "procession::command", Level::INFO).then(|| run.path()),
            is_ready,
        }
    }

    /// If not, the program can have the standard streams of this one.
    pub(super) fn is_needed(&self) -> bool {
        self.wants_events() || self.is_ready.is_some()
    }

    #[cfg(feature = "tracing")]
    fn wants_events(&self) -> bool {
        self.path.is_some()
    }

    #[cfg(not(feature = "tracing"))]
    fn wants_events(&self) -> bool {
        false
    }

    fn line(&self, line: &[u8], stream: Stream) {
        let text = String::from_utf8_lossy(line);
        if self.is_ready.as_ref().is_some_and(|is_ready| is_ready(&text)) {
            self.run.ready();
        }
        #[cfg(feature = "tracing")]
        if let Some(path) = &self.path {
            record(path, &text, stream);
            return;
        }
        print(line, stream);
    }
}

#[cfg(feature = "tracing")]
fn record(path: &str, line: &str, stream: Stream) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    tracing::event!(
        name: "output",
        target: "procession::command",
        Level::INFO,
        process = path,
        stream,
        "{}",
        // A tab is no danger to a terminal.
        Escaped { text: &line.replace('\t', "    "), limit: usize::MAX }
    );
}

/// Prints the line where the program would have printed it. Errors are ignored: the stream may be closed.
fn print(line: &[u8], stream: Stream) {
    let line = [line, b"\n"].concat();
    let _printed = match stream {
        Stream::Stdout => io::stdout().write_all(&line),
        Stream::Stderr => io::stderr().write_all(&line),
    };
}
