//! The output of a program: each line is a `tracing` event.

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

/// Longer lines are split, so that a program that never prints a line feed does not make the buffer grow.
const MAX_LINE: usize = 8 * 1024;

/// The maximum number of bytes that are read after the end of the program. A pipe holds no more, but another process
/// that inherited it may go on writing.
const MAX_REST: usize = 1024 * 1024;

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

    /// Passes on everything that the program prints, until the future is dropped. A line that has been read only in
    /// part by then is kept for [`copy_rest`](Self::copy_rest).
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

/// An abort drops the run before the program has ended. Then the incomplete lines are passed on.
impl Drop for Output {
    fn drop(&mut self) {
        let Self { stdout, stderr, sink } = self;
        let lines = [stdout, stderr].into_iter().flatten();
        // The subscriber may panic.
        let _printed = catch(|| lines.for_each(|lines| lines.copy_partial(sink)));
    }
}

/// One of the streams, split into lines.
struct Lines {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    stream: Stream,
    /// The beginning of a line whose end has not been read.
    partial: Vec<u8>,
}

impl Lines {
    fn of(reader: Box<dyn AsyncRead + Send + Unpin>, stream: Stream) -> Self {
        Self { reader, stream, partial: Vec::new() }
    }

    /// Copies up to the end of the stream.
    async fn copy(lines: &mut Option<Self>, sink: &Sink) {
        let Some(lines) = lines else { return };
        let mut buffer = vec![0; MAX_LINE];
        while let Ok(length @ 1..) = lines.reader.read(&mut buffer).await {
            lines.add(&buffer[..length], sink);
            // If the program never stops printing, the reads never wait.
            yield_now().await;
        }
    }

    async fn copy_rest(&mut self, sink: &Sink) {
        let (mut buffer, mut read) = (vec![0; MAX_LINE], 0);
        while read < MAX_REST {
            let next = poll_once(self.reader.read(&mut buffer)).await;
            let Some(Ok(length @ 1..)) = next else { break };
            self.add(&buffer[..length], sink);
            read += length;
        }
        self.copy_partial(sink);
    }

    fn copy_partial(&mut self, sink: &Sink) {
        if !self.partial.is_empty() {
            sink.line(&std::mem::take(&mut self.partial), self.stream);
        }
    }

    fn add(&mut self, bytes: &[u8], sink: &Sink) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(part);
            if let Some(line) = self.partial.strip_suffix(b"\n") {
                sink.line(line.strip_suffix(b"\r").unwrap_or(line), self.stream);
                self.partial.clear();
            } else if self.partial.len() >= MAX_LINE {
                let end = whole_characters(&self.partial);
                sink.line(&self.partial[..end], self.stream);
                self.partial.drain(..end);
            }
        }
    }
}

/// The length of the text without an incomplete character at its end.
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

    /// Must the lines be read? Otherwise, the command can inherit this program's standard streams.
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
        // A tab is harmless on a terminal, so it is not escaped.
        Escaped { text: &line.replace('\t', "    "), limit: usize::MAX }
    );
}

/// Prints the line where the program would have printed it. Errors are ignored, because the stream may be closed.
fn print(line: &[u8], stream: Stream) {
    let line = [line, b"\n"].concat();
    let _printed = match stream {
        Stream::Stdout => io::stdout().write_all(&line),
        Stream::Stderr => io::stderr().write_all(&line),
    };
}
