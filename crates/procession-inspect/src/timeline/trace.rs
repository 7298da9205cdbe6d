//! The timeline as a Chrome trace: JSON that Perfetto and `chrome://tracing` open.
//!
//! # Invariants
//!
//! - J1. All times are whole microseconds, and the slices of one `tid` nest or are disjoint. *Because* a process has a
//!   `tid` of its own; its run ends where its closing begins; and its segments partition the closing (G1), before which
//!   `closing` itself is written, because slices that begin together nest in file order.
//! - J2. A flow begins and ends inside a slice `closing`, at the same time. *Because* [`Writer::flow`] writes both ends
//!   or none, after a look at both slices.
//! - J3. There are at most [`EVENTS`] events and [`BYTES`] bytes. *Because* everything is first written to a counter,
//!   with fewer rows until it fits.

use std::collections::HashSet;
use std::io::{self, Write};

use super::critical::{Critical, Hop, Span, Step, Waits, critical_path, is_critical, steps};
use super::recording::{EdgeKind, Moment, Recording};
use super::rows::{Content, Row, Tree, all, folded};
use super::segments::{Bounds, Kind, segments};
use super::words::{self, micros};
use procession::Work;

/// The maximum number of events.
pub(crate) const EVENTS: usize = 200_000;

/// The maximum number of bytes.
pub(crate) const BYTES: usize = 64 << 20;

/// The numbers of rows that are tried if not everything fits.
const FOLDED: [usize; 3] = [10_000, 1_000, 200];

/// The maximum numbers of flows for explicit edges, and of samples of the counter.
const EXPLICIT: usize = 20_000;
const SAMPLES: usize = 1_000;

/// The part of the time before closing that is shown.
const RUN: u64 = 1_000_000;

/// Writes the trace.
pub(crate) fn write(recording: &Recording, out: &mut dyn Write) -> io::Result<()> {
    let waits = Waits::of(recording);
    let Critical { spans, hops } = critical_path(recording, &waits);
    let steps = steps(&spans);
    let tree = Tree::of(recording);
    let write = |rows: &[Row], out: &mut dyn Write, limit| {
        let mut tids = vec![None; recording.lives.len()];
        for (tid, row) in (1..).zip(rows) {
            if let Content::Process(process) = row.content {
                tids[process as usize] = Some(tid);
            }
        }
        let (waits, spans, hops, steps) = (&waits, &spans[..], &hops[..], &steps[..]);
        let pid = recording.program.pid;
        Writer { recording, waits, spans, hops, steps, rows, tids, pid, events: 0, limit, out }
            .write()
    };
    let mut rows = all(&tree);
    for limit in FOLDED {
        let mut counter = Counter { left: BYTES };
        if write(&rows, &mut counter, EVENTS).is_ok() {
            break;
        }
        rows = folded(recording, &tree, &spans, limit);
    }
    write(&rows, out, usize::MAX)
}

/// Takes a number of bytes, and fails after that.
struct Counter {
    left: usize,
}

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Writer<'a> {
    recording: &'a Recording,
    waits: &'a Waits,
    spans: &'a [Span],
    hops: &'a [Hop],
    steps: &'a [Step],
    rows: &'a [Row],
    /// The row of each process that has one, from 1.
    tids: Vec<Option<usize>>,
    pid: u32,
    events: usize,
    /// The maximum number of events.
    limit: usize,
    out: &'a mut dyn Write,
}

/// The value of an argument.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
    True,
    List(&'a [String]),
}

impl Writer<'_> {
    fn write(mut self) -> io::Result<()> {
        let recording = self.recording;
        let total: u64 = self.steps.iter().map(Step::micros).sum();
        let folded = recording.lives.len() - self.tids.iter().flatten().count();
        let (not_recorded, missed) = (recording.not_recorded, recording.missed);
        write!(
            self.out,
            "{{\"displayTimeUnit\":\"ms\",\"otherData\":{{\"generator\":\"procession-inspect/1\",\"total_us\":{total},\
             \"folded\":{folded},\"not_recorded\":{not_recorded},\"missed_events\":{missed},\"critical_path\":"
        )?;
        text(self.out, &words::critical_path_in_short(recording, self.steps))?;
        write!(self.out, "}},\"traceEvents\":[")?;
        let name = recording.lives[0].label();
        self.metadata(0, "process_name", "name", Value::Text(&name))?;
        let verb = if recording.lives[0].is_closed() { "closed in" } else { "closing for" };
        let label = format!("{verb} {}", micros(total));
        self.metadata(0, "process_labels", "labels", Value::Text(&label))?;
        for (tid, row) in (1..).zip(self.rows) {
            match &row.content {
                Content::Process(process) => self.process(tid, *process)?,
                Content::Fold { label, members } => self.fold(tid, label, members)?,
            }
        }
        self.flows()?;
        self.marks()?;
        self.open_processes()?;
        writeln!(self.out, "]}}")
    }

    /// Writes an event. `fields` are those between `pid` and `name`.
    fn event(
        &mut self,
        phase: char,
        fields: &str,
        name: &str,
        arguments: &[(&str, Value<'_>)],
    ) -> io::Result<()> {
        if self.events >= self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let separator = if self.events > 0 { ",\n" } else { "\n" };
        self.events += 1;
        let pid = self.pid;
        write!(self.out, "{separator}{{\"ph\":\"{phase}\",\"pid\":{pid},{fields},\"name\":")?;
        text(self.out, name)?;
        for (position, (key, value)) in arguments.iter().enumerate() {
            let separator = if position > 0 { "," } else { ",\"args\":{" };
            write!(self.out, "{separator}\"{key}\":")?;
            match value {
                Value::Text(value) => text(self.out, value)?,
                Value::Number(value) => write!(self.out, "{value}")?,
                Value::True => write!(self.out, "true")?,
                Value::List(lines) => serde_json::to_writer(&mut *self.out, lines)?,
            }
        }
        let end = if arguments.is_empty() { "}" } else { "}}" };
        self.out.write_all(end.as_bytes())
    }

    fn metadata(&mut self, tid: usize, name: &str, key: &str, value: Value<'_>) -> io::Result<()> {
        self.event('M', &format!("\"tid\":{tid}"), name, &[(key, value)])
    }

    fn slice(
        &mut self,
        tid: usize,
        (from, to): (u64, u64),
        category: &str,
        name: &str,
        arguments: &[(&str, Value<'_>)],
    ) -> io::Result<()> {
        let duration = to - from;
        let fields =
            format!("\"tid\":{tid},\"ts\":{from},\"dur\":{duration},\"cat\":\"{category}\"");
        self.event('X', &fields, name, arguments)
    }

    fn thread(&mut self, tid: usize, name: &str) -> io::Result<()> {
        self.metadata(tid, "thread_name", "name", Value::Text(name))?;
        self.metadata(tid, "thread_sort_index", "sort_index", Value::Number(tid as u64))
    }

    fn process(&mut self, tid: usize, process: u32) -> io::Result<()> {
        let recording = self.recording;
        let life = recording.life(process);
        self.thread(tid, &recording.path(process, "/"))?;
        let closing = closing(recording, process);
        let run = closing.map_or(recording.until, |(from, _)| from);
        let made = life.at(Moment::Made).unwrap_or(0).max(run.saturating_sub(RUN));
        if made < run {
            self.slice(tid, (made, run), "run", "run", &[])?;
        }
        let Some(closing) = closing else { return Ok(()) };
        self.closing(tid, process, closing)?;
        for segment in segments(life, recording.until) {
            let is_critical = is_critical(self.spans, process, &segment);
            let mut arguments = Vec::new();
            for (is, key) in
                [(is_critical, "critical"), (segment.aborted, "aborted"), (segment.open, "open")]
            {
                if is {
                    arguments.push((key, Value::True));
                }
            }
            let awaited = Some(segment.kind).filter(|kind| *kind == Kind::Wait);
            let awaited = awaited.and_then(|_| self.awaited(process));
            let name = awaited.map(|other| format!("waits for {}", recording.path(other, "/")));
            let name = name.as_deref().unwrap_or(segment.kind.words(life.work));
            let fields = format!(
                "\"tid\":{tid},\"ts\":{},\"dur\":{},\"cat\":\"{}\"{}",
                segment.from,
                segment.to - segment.from,
                segment.kind.name(),
                if is_critical { ",\"cname\":\"terrible\"" } else { "" }
            );
            self.event('X', &fields, name, &arguments)?;
        }
        if let Some(aborting) = life.at(Moment::Aborting) {
            let fields = format!("\"s\":\"t\",\"tid\":{tid},\"ts\":{aborting},\"cat\":\"abort\"");
            self.event('i', &fields, "abort", &[])?;
        }
        Ok(())
    }

    /// The closing as a whole, with everything that is known about the process.
    fn closing(&mut self, tid: usize, process: u32, closing: (u64, u64)) -> io::Result<()> {
        let recording = self.recording;
        let life = recording.life(process);
        let detail = recording.detail(process);
        let reason = recording.reason(process);
        let error = detail.and_then(|detail| detail.error.as_deref());
        let outcome = match (life.is_closed(), life.has_failed, error) {
            (false, ..) => "open",
            (true, true, _) => "failed",
            (true, false, Some(_)) => "aborted",
            (true, false, None) => "ok",
        };
        let site = life.site.to_string();
        let critical: u64 =
            self.steps.iter().filter(|step| step.process == process).map(Step::micros).sum();
        let mut arguments = Vec::new();
        if let Some(reason) = &reason {
            arguments.push(("reason", Value::Text(reason)));
        }
        arguments.push(("outcome", Value::Text(outcome)));
        if let Some(error) = error {
            arguments.push(("error", Value::Text(error)));
        }
        arguments.push(("site", Value::Text(&site)));
        if let Some(work) = work(life.work) {
            arguments.push(("work", Value::Text(work)));
        }
        if let Some(thread) = detail.and_then(|detail| detail.thread.as_deref()) {
            arguments.push(("thread", Value::Text(thread)));
        }
        if critical > 0 {
            arguments.push(("critical_us", Value::Number(critical)));
        }
        self.slice(tid, closing, "closing", "closing", &arguments)
    }

    /// The process that it waited for longest.
    fn awaited(&self, process: u32) -> Option<u32> {
        let own = Bounds::of(self.recording.life(process), self.recording.until)?;
        let waits = |kind| kind != EdgeKind::NoWaitChild;
        let is_in = |_, closed| closed > own.body && closed <= own.wait;
        let (other, _) = self.waits.last_closed(self.recording, process, waits, is_in)?;
        Some(other)
    }

    /// Processes that share a row: one slice from the first closing to the last Closed.
    fn fold(&mut self, tid: usize, label: &str, members: &[u32]) -> io::Result<()> {
        self.thread(tid, label)?;
        let closings = || members.iter().filter_map(|&member| closing(self.recording, member));
        let first = closings().map(|(from, _)| from).min();
        let last = closings().map(|(_, to)| to).max();
        let (Some(first), Some(last)) = (first, last) else { return Ok(()) };
        let count = Value::Number(members.len() as u64);
        self.slice(tid, (first, last), "fold", label, &[("count", count)])
    }

    /// The critical path, the last child of each parent, and explicit edges.
    fn flows(&mut self) -> io::Result<()> {
        let mut drawn = HashSet::new();
        let mut id = 0;
        let path: Vec<(u32, u32)> = self.hops.iter().map(|hop| (hop.from, hop.to)).collect();
        let with_row = (0..).zip(&self.tids).filter(|(_, tid)| tid.is_some());
        let last = with_row.filter_map(|(process, _)| Some((self.awaited(process)?, process)));
        let last: Vec<(u32, u32)> = last.collect();
        let explicit = self.recording.edges.iter().filter(|edge| edge.kind.is_explicit());
        let explicit = explicit.take(EXPLICIT).map(|edge| (edge.to, edge.from));
        for (from, to) in path.into_iter().chain(last).chain(explicit) {
            if drawn.insert((from, to)) {
                self.flow(from, to, &mut id)?;
            }
        }
        Ok(())
    }

    /// An arrow from the end of one process to the wait of another (J2).
    fn flow(&mut self, from: u32, to: u32, id: &mut u64) -> io::Result<()> {
        let tid = |process: u32| self.tids[process as usize];
        let (Some(before), Some(after)) = (tid(from), tid(to)) else { return Ok(()) };
        let slice = |process| closing(self.recording, process);
        let (Some(source), Some(target)) = (slice(from), slice(to)) else { return Ok(()) };
        let at = source.1 - 1;
        let is_in = target.0 <= at && at < target.1;
        if !self.recording.life(from).is_closed() || !is_in {
            return Ok(());
        }
        *id += 1;
        for (phase, extra, tid) in [('s', "", before), ('f', "\"bp\":\"e\",", after)] {
            let fields =
                format!("{extra}\"tid\":{tid},\"ts\":{at},\"id\":{id},\"cat\":\"waits_for\"");
            self.event(phase, &fields, "closed", &[])?;
        }
        Ok(())
    }

    fn marks(&mut self) -> io::Result<()> {
        for mark in &self.recording.marks {
            let kind = mark.kind.name();
            let fields = format!("\"s\":\"g\",\"tid\":1,\"ts\":{},\"cat\":\"{kind}\"", mark.at);
            let blockers = [("blockers", Value::List(&mark.lines))];
            let arguments = if mark.lines.is_empty() { &[][..] } else { &blockers[..] };
            self.event('i', &fields, &mark.label, arguments)?;
        }
        Ok(())
    }

    /// A counter of the processes that are open, from when closing began.
    fn open_processes(&mut self) -> io::Result<()> {
        let zero = self.recording.zero();
        let mut open = 0_u64;
        let mut changes = Vec::new();
        for life in &self.recording.lives {
            let made = life.at(Moment::Made).unwrap_or(0);
            let closed = life.at(Moment::Closed);
            if closed.is_some_and(|closed| closed < zero) {
                continue;
            }
            match made <= zero {
                true => open += 1,
                false => changes.push((made, true)),
            }
            closed.into_iter().for_each(|closed| changes.push((closed, false)));
        }
        changes.sort_unstable();
        let mut samples = vec![(zero, open)];
        for (at, is_made) in changes {
            open = if is_made { open + 1 } else { open.saturating_sub(1) };
            match samples.last_mut().filter(|last| last.0 == at) {
                Some(last) => last.1 = open,
                None => samples.push((at, open)),
            }
        }
        let step = samples.len().div_ceil(SAMPLES - 1).max(1);
        let last = samples.len() - 1;
        for (position, (at, open)) in samples.into_iter().enumerate() {
            if position % step == 0 || position == last {
                self.event(
                    'C',
                    &format!("\"tid\":0,\"ts\":{at}"),
                    "open",
                    &[("open", Value::Number(open))],
                )?;
            }
        }
        Ok(())
    }
}

/// The slice `closing` of a process, which lasts at least a microsecond.
fn closing(recording: &Recording, process: u32) -> Option<(u64, u64)> {
    let own = Bounds::of(recording.life(process), recording.until)?;
    Some((own.closing, own.closed.max(own.closing + 1)))
}

fn text(out: &mut dyn Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

fn work(work: Work) -> Option<&'static str> {
    Some(match work {
        Work::ThreadBody => "thread body",
        Work::AsyncBody => "async body",
        Work::CallerBody => "body in a task of its caller",
        Work::Hook => "closing hook",
        Work::Future => "future given to wait_for_future",
        Work::Teardown | Work::TeardownQueued => "teardown",
        Work::AsyncTeardown => "async teardown",
        _ => return None,
    })
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;
