//! The content of one row, at most [`ROW_LIMIT`] bytes as JSON.

use procession::support::fold::{Fold as Family, State as Kind, Stem};
use procession::support::text::{Count, Escaped};
use procession::{Link, Phase, Work as Code};

use super::model::{Content, Failure, Fold, Key, Process, Row, Wait, Work};
use super::sample::{Sample, closes};
use super::summary::{millis, word};

/// The maximum number of bytes of a row.
pub(crate) const ROW_LIMIT: usize = 1024;

/// The number of processes that the column *Waits for* names.
const WAITS: usize = 3;

/// The row of a process. It is not expanded yet.
pub(crate) fn process_row(sample: &Sample, index: u32, depth: usize) -> Row {
    let content = Content::Process(Box::new(process_content(sample, index)));
    let parent = sample.owner(index).map(|edge| sample.keys[edge.from()]);
    Row { key: Key::Process(sample.key(index)), parent, depth, content }
}

/// What is shown of a process.
pub(crate) fn process_content(sample: &Sample, index: u32) -> Process {
    let process = sample.process(index);
    let (key, texts) = (sample.key(index), &sample.texts);
    let owner = sample.owner(index);
    let error = sample.error_of(key);
    let edges = sample.edges_of(index);
    let waits = edges.clone().filter(|edge| !closes(edge.kind()) && edge.to() != index as usize);
    let waits_for: Vec<Wait> = waits.clone().take(WAITS).map(|edge| wait(sample, edge)).collect();
    let open = edges.filter(|edge| {
        closes(edge.kind()) && sample.snapshot.process(edge.to()).phase() != Phase::Closed
    });
    Process {
        label: texts.label(process),
        named: process.name().is_some_and(|name| !name.is_empty()),
        phase: phase(process.phase()),
        aborting: process.is_aborting() && process.phase() == Phase::Closing,
        // The outcome of a process that a grace has aborted is an error, too.
        failed: error.is_some() || process.has_failed() && !process.is_aborting(),
        error: error.map(|error| Escaped { text: error, limit: 100 }.to_string()),
        reason: process.reason().map(word),
        for_ms: process.closing_for().map(millis),
        work: (process.work() != Code::None).then(|| Work {
            kind: word(process.work()),
            thread: process.thread().map(|thread| texts.short(thread)),
            for_ms: process.work_for().map(millis),
        }),
        open: open.count(),
        children: sample.tree.children(index).len(),
        expanded: None,
        waits_more: waits.count() - waits_for.len(),
        waits_for,
        edge: owner.map(|edge| word(edge.kind())),
        site: site(process.site().file(), process.site().line()),
        blocks: sample.marks.blocks[index as usize].is_some(),
        dimmed: false,
        who: None,
        gone: None,
    }
}

/// The row of a process that has failed and is Closed.
pub(crate) fn failed_row(failure: &Failure) -> Row {
    let content = Process {
        label: failure.label.clone(),
        named: true,
        phase: phase(Phase::Closed),
        aborting: false,
        failed: true,
        error: Some(Escaped { text: &failure.error, limit: 100 }.to_string()),
        reason: None,
        for_ms: None,
        work: None,
        open: 0,
        children: 0,
        expanded: None,
        waits_for: Vec::new(),
        waits_more: 0,
        edge: None,
        site: failure.site.clone(),
        blocks: false,
        dimmed: false,
        who: None,
        gone: None,
    };
    let key = Key::Process(failure.key);
    Row { key, parent: None, depth: 0, content: Content::Process(Box::new(content)) }
}

fn wait(sample: &Sample, edge: procession::Edge) -> Wait {
    let process = sample.snapshot.process(edge.to());
    Wait {
        key: sample.keys[edge.to()],
        label: Escaped { text: &sample.texts.label(process), limit: 30 }.to_string(),
        edge: word(edge.kind()),
    }
}

/// The file and the line, without the beginning of a long path.
fn site(file: &str, line: u32) -> String {
    let cut = file.char_indices().rev().nth(99).map_or(0, |(position, _)| position);
    let ellipsis = if cut > 0 { "…" } else { "" };
    format!("{ellipsis}{}:{line}", &file[cut..])
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}

/// The key of a fold: it consists of characters that mean nothing in a query.
pub(crate) fn fold_key(
    parent: u64,
    link: Link,
    is_reference: bool,
    stem: Stem<'_>,
    sample: &Sample,
) -> String {
    let (kind, text) = match stem {
        Stem::Name(stem) => ('n', sample.texts.raw(stem).into_owned()),
        Stem::Site(site) => ('s', site.to_string()),
    };
    let place = match (is_reference, closes(link)) {
        (true, _) => 'r',
        (false, true) => 'f',
        (false, false) => 'w',
    };
    let mut key = format!("{place}{parent}.");
    if kind == 's' {
        key.push('@');
    }
    for character in text.chars() {
        if key.len() > 60 {
            break;
        }
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' | ':' | '/' => key.push(character),
            other => key += &format!("!{:x}!", u32::from(other)),
        }
    }
    // Long stems that begin in the same way differ.
    if key.len() > 60 {
        let sum = text
            .bytes()
            .fold(0_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        key += &format!("!{sum:x}");
    }
    key
}

/// The row of a fold.
pub(crate) fn fold_content(sample: &Sample, family: &Family<'_, u32>, link: Link) -> Fold {
    let of = |kind| family.counts.of(kind);
    let stem = match family.stem {
        Stem::Name(stem) => sample.texts.short(stem),
        Stem::Site(site) => site.to_string(),
    };
    let count = family.members.len();
    let text = match family.stem {
        Stem::Name("") => format!("… and {} more", Count(count)),
        Stem::Name(_) => format!("… and {} more `{stem}`", Count(count)),
        Stem::Site(_) => format!("… and {} more from {stem}", Count(count)),
    };
    let members = || family.members.iter().map(|&member| sample.process(member));
    let work = members().next().map(|process| process.work());
    let is_same = members().all(|member| Some(member.work()) == work);
    Fold {
        text,
        stem,
        count,
        running: of(Kind::Running),
        closing: of(Kind::Closing),
        aborting: of(Kind::Aborting),
        closed: of(Kind::Closed),
        failed: of(Kind::Failed),
        for_ms: members().filter_map(|process| process.closing_for()).max().map(millis),
        work: work.filter(|work| is_same && *work != Code::None).map(word),
        shown: 0,
        edge: Some(word(link)),
    }
}

/// Makes the row at most [`ROW_LIMIT`] bytes long.
pub(crate) fn fit(row: &mut Row) {
    let mut limit = 100;
    while length(row) > ROW_LIMIT && limit > 10 {
        limit /= 2;
        let cut = |text: &mut String| *text = Escaped { text, limit }.to_string();
        match &mut row.content {
            Content::Process(process) => {
                cut(&mut process.label);
                process.error.iter_mut().for_each(cut);
                process.who.iter_mut().for_each(cut);
                process.waits_for.iter_mut().for_each(|wait| cut(&mut wait.label));
                if let Some(work) = &mut process.work {
                    work.thread.iter_mut().for_each(cut);
                }
            }
            Content::Fold { fold } => {
                cut(&mut fold.text);
                cut(&mut fold.stem);
            }
            Content::Reference { reference } => {
                cut(&mut reference.label);
                cut(&mut reference.see);
            }
            Content::Next { .. } => {}
        }
    }
}

/// The length as JSON.
pub(crate) fn length(row: &Row) -> usize {
    serde_json::to_vec(row).map_or(0, |json| json.len())
}
