//! The texts of the pictures that are not drawn from a single value: the title, the critical path, a row's tooltip.

use std::time::{Duration, SystemTime};

use procession::Work;
use procession::support::text::{Count, Elapsed, Escaped};

use super::critical::{Step, Waits};
use super::recording::{Cause, Moment, Recording};
use super::segments::{Bounds, Kind};

/// The number of steps of the critical path that are written out.
const STEPS: usize = 8;

/// The number of names that a tooltip lists.
const LISTED: usize = 8;

pub(crate) fn micros(micros: u64) -> Elapsed {
    Elapsed(Duration::from_micros(micros))
}

/// `①`; above 20, `(21)`.
pub(crate) fn number(number: usize) -> String {
    let circled = u32::try_from(number).ok().filter(|number| (1..=20).contains(number));
    let circled = circled.and_then(|number| char::from_u32('①' as u32 + number - 1));
    circled.map_or_else(|| format!("({number})"), String::from)
}

/// A text of at most `limit` characters, cut in the middle.
pub(crate) fn cut_in_the_middle(text: &str, limit: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= limit {
        return text.to_owned();
    }
    let (before, after) = (limit / 2, limit.saturating_sub(1) - limit / 2);
    let (before, after) = (&characters[..before], &characters[characters.len() - after..]);
    before.iter().chain(['…'].iter()).chain(after).collect()
}

/// `app: closed in 6.3 s after SIGINT · ok · 110 processes · web-3, 2026-11-23 14:03:09 UTC`.
pub(crate) fn title(recording: &Recording) -> String {
    let root = &recording.lives[0];
    let (label, count) = (root.label(), Count(recording.lives.len()));
    let processes = if recording.lives.len() == 1 { "process" } else { "processes" };
    let when = recording.program.began.checked_add(Duration::from_micros(recording.zero()));
    let when = utc(when.unwrap_or(recording.program.began));
    let state = match Bounds::of(root, recording.until) {
        None => "running".to_owned(),
        Some(bounds) => {
            let verb = if root.is_closed() { "closed in" } else { "closing for" };
            let reason = match (root.cause, recording.reason(0)) {
                (Cause::Signal(_), Some(signal)) => format!(" after {signal}"),
                (_, Some(reason)) => format!(" ({reason})"),
                (_, None) => String::new(),
            };
            let outcome = Escaped { text: recording.outcome(0), limit: 60 };
            format!("{verb} {}{reason} · {outcome}", micros(bounds.closed - bounds.closing))
        }
    };
    let host = &recording.program.host;
    let failed = recording.lives.iter().filter(|life| life.has_failed).count();
    let failed = if failed > 0 { format!(" · {} failed", Count(failed)) } else { String::new() };
    let mut title = format!("{label}: {state} · {count} {processes}{failed} · {host}, {when}");
    let clip = |count: u64| Count(usize::try_from(count).unwrap_or(usize::MAX));
    if recording.not_recorded > 0 {
        title += &format!(" · {} more not recorded", clip(recording.not_recorded));
    }
    if recording.missed > 0 {
        let word = if recording.missed == 1 { "event" } else { "events" };
        title += &format!(" · {} {word} missing", clip(recording.missed));
    }
    title
}

/// `2026-11-23 14:03:09 UTC`
fn utc(time: SystemTime) -> String {
    // A clock before 1970 or after 9999 cannot be written this way.
    let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
    let time = time.clamp(SystemTime::UNIX_EPOCH, last);
    let time = humantime::format_rfc3339_seconds(time).to_string();
    time.replace('T', " ").replace('Z', " UTC")
}

/// `① cache: body 5.0 s (80 %) → ② db: teardown 1.2 s (19 %) → …`: at most 8 steps, the longest ones.
pub(crate) fn critical_path(recording: &Recording, steps: &[Step]) -> String {
    let total: u64 = steps.iter().map(Step::micros).sum();
    if total == 0 {
        return "none".to_owned();
    }
    let mut longest: Vec<&Step> = steps.iter().collect();
    longest.sort_by_key(|step| (std::cmp::Reverse(step.micros()), step.number));
    longest.truncate(STEPS);
    longest.sort_by_key(|step| step.number);
    let rest = steps.len() - longest.len();
    let share = |part: u64| (u128::from(part) * 100 + u128::from(total) / 2) / u128::from(total);
    let mut text: Vec<String> = longest
        .iter()
        .map(|step| {
            format!(
                "{} {} ({} %)",
                number(step.number),
                said(recording, step, 24),
                share(step.micros())
            )
        })
        .collect();
    if rest > 0 {
        text.push(format!("… and {} shorter steps", Count(rest)));
    }
    text.join(" → ")
}

/// The critical path in short: `cache: body 5.0 s, db: teardown 1.2 s`.
pub(crate) fn critical_path_in_short(recording: &Recording, steps: &[Step]) -> String {
    let first: Vec<String> =
        steps.iter().take(STEPS).map(|step| said(recording, step, 120)).collect();
    let rest = if steps.len() > STEPS { ", …" } else { "" };
    first.join(", ") + rest
}

/// `cache: body 5.0 s`. Of several kinds, those that take at least a tenth of the step are named.
fn said(recording: &Recording, step: &Step, limit: usize) -> String {
    let label = cut_in_the_middle(&recording.life(step.process).label(), limit);
    let mut kinds: Vec<(Option<Kind>, u64)> = Vec::new();
    for span in &step.spans {
        let length = span.to - span.from;
        match kinds.iter_mut().find(|(kind, _)| *kind == span.kind) {
            Some((_, sum)) => *sum += length,
            None => kinds.push((span.kind, length)),
        }
    }
    let total = step.micros();
    let parts = kinds.iter().filter(|(_, part)| *part >= total / 10 && *part > 0);
    let work = recording.life(step.process).work;
    let parts = parts.map(|(kind, part)| format!("{} {}", kind_name(*kind, work), micros(*part)));
    format!("{label}: {}", parts.collect::<Vec<_>>().join(" + "))
}

fn kind_name(kind: Option<Kind>, work: Work) -> &'static str {
    kind.map_or("closing reached it", |kind| kind.words(work))
}

/// The tooltip of a process.
pub(crate) fn tooltip(recording: &Recording, waits: &Waits, process: u32) -> String {
    let life = recording.life(process);
    let zero = recording.zero();
    let since = |at: u64| match at.checked_sub(zero) {
        Some(after) => format!("at {}", micros(after)),
        None => format!("{} before", micros(zero - at)),
    };
    let mut lines = vec![recording.path(process, " › ")];
    let bounds = Bounds::of(life, recording.until);
    if let Some(bounds) = &bounds {
        let reason =
            recording.reason(process).map_or_else(String::new, |text| format!(" ({text})"));
        lines.push(format!("asked to close {}{reason}", since(bounds.closing)));
    }
    if let Some(aborting) = life.at(Moment::Aborting) {
        lines.push(format!("aborted {}", since(aborting)));
    }
    let thread = recording.detail(process).and_then(|detail| detail.thread.as_deref());
    let thread = thread.map_or_else(String::new, |thread| format!(" (thread {thread})"));
    if let Some(ended) = life.at(Moment::BodyEnded) {
        lines.push(format!("body ended {}{thread}", since(ended)));
    }
    if let Some(started) = life.at(Moment::TeardownStarted) {
        let ended = life.at(Moment::TeardownEnded);
        let took = ended.map_or("did not end".to_owned(), |ended| {
            format!("took {}", micros(ended.saturating_sub(started)))
        });
        let what = Kind::Teardown.words(life.work);
        lines.push(format!("{what} started {}, {took}", since(started)));
    }
    if bounds.is_some() {
        lines.push(format!("waited for: {}", waited_for(recording, waits, process)));
    }
    match life.at(Moment::Closed) {
        Some(closed) => {
            lines.push(format!("Closed {}: {}", since(closed), recording.outcome(process)))
        }
        None => lines.push("not closed".to_owned()),
    }
    let before = life.at(Moment::Made).map(|made| zero.saturating_sub(made)).filter(|age| *age > 0);
    let before = before.map_or_else(String::new, |age| format!(", {} before", micros(age)));
    lines.push(format!("made at {}{before}", life.site));
    lines.join("\n")
}

/// The processes that it waited for, the last one to be Closed first.
fn waited_for(recording: &Recording, waits: &Waits, process: u32) -> String {
    let end = |other: u32| match recording.life(other).is_closed() {
        true => Bounds::of(recording.life(other), recording.until).map_or(0, |own| own.closed),
        false => u64::MAX,
    };
    let mut others: Vec<u32> = waits.from(process).iter().map(|(other, _)| *other).collect();
    others.dedup();
    others.sort_by_key(|&other| (std::cmp::Reverse(end(other)), other));
    if others.is_empty() {
        return "–".to_owned();
    }
    let label = |other: &u32| cut_in_the_middle(&recording.life(*other).label(), 24);
    let listed: Vec<String> = others.iter().take(LISTED).map(label).collect();
    let rest = others.len() - listed.len();
    let more = if rest > 0 { format!(" and {} more", Count(rest)) } else { String::new() };
    listed.join(", ") + &more
}

#[cfg(test)]
mod tests {
    use super::super::critical::{Waits, critical_path as path, steps};
    use super::super::testing::app;
    use super::{critical_path, critical_path_in_short, cut_in_the_middle, number, title, tooltip};

    #[test]
    fn the_title_says_how_it_ended() {
        let recording = app().recording;
        let expected = "app: closed in 6.3 s after SIGINT · ok · 110 processes · 1 failed · web-3, 2026-11-23 14:03:21 UTC";
        assert_eq!(title(&recording), expected);
        let mut scene = app();
        scene.recording.not_recorded = 1_204;
        scene.recording.missed = 3;
        assert!(title(&scene.recording).ends_with(" · 1,204 more not recorded · 3 events missing"));
    }

    #[test]
    fn the_critical_path_is_one_line() {
        let recording = app().recording;
        let steps = steps(&path(&recording, &Waits::of(&recording)).spans);
        let expected = "① cache: body 5.0 s (80 %) → ② db: teardown 1.1 s (19 %) → ③ app: teardown 80 ms (1 %)";
        assert_eq!(critical_path(&recording, &steps), expected);
        let expected = "cache: body 5.0 s, db: teardown 1.1 s, app: teardown 80 ms";
        assert_eq!(critical_path_in_short(&recording, &steps), expected);
    }

    #[test]
    fn a_tooltip_has_the_facts() {
        let recording = app().recording;
        let text = tooltip(&recording, &Waits::of(&recording), 2);
        let site = recording.life(2).site;
        let expected = format!(
            "app › db › cache\nasked to close at 0 µs (its parent closed)\nbody ended at 5.0 s (thread cache-refresh)\nwaited for: –\nClosed at 5.0 s: ok\nmade at {site}"
        );
        assert_eq!(text, expected);
        assert!(
            tooltip(&recording, &Waits::of(&recording), 3)
                .contains("waited for: session-97, session-96, ")
        );
    }

    #[test]
    fn numbers_are_circled_up_to_20() {
        assert_eq!([1, 20, 21].map(number), ["①", "⑳", "(21)"]);
    }

    #[test]
    fn long_labels_are_cut_in_the_middle() {
        assert_eq!(cut_in_the_middle("abcdefghij", 10), "abcdefghij");
        assert_eq!(cut_in_the_middle("abcdefghijk", 10), "abcde…hijk");
        assert_eq!(cut_in_the_middle("éàü", 2), "é…");
    }
}
