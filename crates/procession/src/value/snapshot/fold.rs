//! Families of siblings that look alike. A few members stand for the whole family. Other crates use this fold for their
//! pictures too.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Display};
use std::time::Duration;

use super::ProcessInfo;
pub use super::info::State;
use super::info::nonempty;
use crate::value::text::{Count, Escaped};
use crate::value::{Site, Work};

/// The maximum size of a family whose members are all shown.
pub const FAMILY_LIMIT: usize = 8;

/// The number of members of a larger family that are shown, in addition to protected ones.
const SHOWN_LIMIT: usize = 3;

/// Folds large families of siblings. A folded family shows its protected members and, as long as fewer than three
/// members are shown, one member for each combination of blocking, failure, state, kind of work and site. The other
/// members become one fold.
///
/// The order of the siblings is kept, except that a large family is moved together to the position of its first member.
/// A fold has at least two members.
///
/// `member` describes a sibling. It is called several times for each, because the descriptions of 100,000 siblings
/// would take more memory than the siblings themselves.
pub fn fold<'a, T: Copy>(siblings: &[T], member: impl Fn(T) -> Member<'a>) -> Vec<Part<'a, T>> {
    let mut families = HashMap::new();
    let mut sizes: Vec<usize> = Vec::new();
    let mut family_of: Vec<u32> = Vec::with_capacity(siblings.len());
    for &sibling in siblings {
        let family = *families.entry(member(sibling).stem).or_insert(sizes.len());
        if family == sizes.len() {
            sizes.push(0);
        }
        sizes[family] += 1;
        family_of.push(super::index(family));
    }
    drop(families);
    let is_large = |family: u32| sizes[family as usize] > FAMILY_LIMIT;
    let mut large: HashMap<u32, Vec<T>> = HashMap::new();
    for (&sibling, &family) in siblings.iter().zip(&family_of) {
        if is_large(family) {
            let size = sizes[family as usize];
            large.entry(family).or_insert_with(|| Vec::with_capacity(size)).push(sibling);
        }
    }
    let mut parts = Vec::new();
    for (&sibling, &family) in siblings.iter().zip(&family_of) {
        if !is_large(family) {
            parts.push(Part::One(sibling));
        } else if let Some(members) = large.remove(&family) {
            fold_family(members, &member, &mut parts);
        }
    }
    parts
}

fn fold_family<'a, T: Copy>(
    mut members: Vec<T>,
    member: &impl Fn(T) -> Member<'a>,
    parts: &mut Vec<Part<'a, T>>,
) {
    let mut shown = select_shown(&members, member);
    if shown.len() + 1 == members.len() {
        shown = (0..members.len()).collect(); // a fold of one member takes as much space as the member
    }
    parts.extend(shown.iter().map(|&position| Part::One(members[position])));
    let stem = member(members[0]).stem;
    let shown: HashSet<usize> = shown.into_iter().collect();
    let mut position = 0;
    members.retain(|_| {
        position += 1;
        !shown.contains(&(position - 1))
    });
    if !members.is_empty() {
        let mut counts = Counts::default();
        members.iter().for_each(|&hidden| counts.add(member(hidden).state));
        parts.push(Part::Fold(Fold { stem, members, counts }));
    }
}

/// Selects the members to show, and returns their positions, the protected ones first.
fn select_shown<'a, T: Copy>(members: &[T], member: &impl Fn(T) -> Member<'a>) -> Vec<usize> {
    let all = || members.iter().map(|&one| member(one)).enumerate();
    let mut shown: Vec<usize> =
        all().filter(|(_, one)| one.protected).map(|(position, _)| position).collect();
    let appearances: HashSet<_> =
        shown.iter().map(|&position| member(members[position]).appearance()).collect();
    let mut best: HashMap<_, (usize, Rank)> = HashMap::new();
    for (position, one) in all() {
        if !appearances.contains(&one.appearance()) {
            let best = best.entry(one.appearance()).or_insert((position, one.rank()));
            if one.rank() > best.1 {
                *best = (position, one.rank());
            }
        }
    }
    let mut candidates: Vec<(usize, Rank)> = best.into_values().collect();
    candidates.sort_unstable_by_key(|&(position, rank)| (std::cmp::Reverse(rank), position));
    candidates.truncate(SHOWN_LIMIT.saturating_sub(shown.len()));
    shown.extend(candidates.into_iter().map(|(position, _)| position));
    shown
}

/// The member with the highest rank is shown first: it blocks, has failed, is aborting, and has been Closing for
/// longest.
type Rank = (bool, bool, bool, Option<Duration>);

/// The properties of a sibling that the fold looks at.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The part of its name that its family shares.
    pub stem: Stem<'a>,
    /// Must it be shown?
    pub protected: bool,
    /// Does it prevent the root from closing?
    pub blocks: bool,
    /// Has it failed?
    pub failed: bool,
    /// Its state.
    pub state: State,
    /// How long it has been Closing.
    pub closing_for: Option<Duration>,
    /// The kind of code that it runs.
    pub work: Work,
    /// Where it was made.
    pub site: Site,
}

impl<'a> Member<'a> {
    /// The properties of a process of a snapshot.
    #[must_use]
    pub fn new(process: ProcessInfo<'a>, protected: bool, blocks: bool) -> Self {
        Self {
            stem: Stem::of(process),
            protected,
            blocks,
            failed: process.has_failed(),
            state: process.state(),
            closing_for: process.closing_for(),
            work: process.work(),
            site: process.site(),
        }
    }

    /// Of several members with the same appearance, only one is shown.
    fn appearance(&self) -> (bool, bool, State, Work, Site) {
        (self.blocks, self.failed, self.state, self.work, self.site)
    }

    fn rank(&self) -> Rank {
        (self.blocks, self.failed, self.state == State::Aborting, self.closing_for)
    }
}

/// A sibling that is shown, or a fold of siblings that are not.
#[derive(Debug)]
pub enum Part<'a, T> {
    /// A sibling that is shown.
    One(T),
    /// The siblings of a family that are not shown.
    Fold(Fold<'a, T>),
}

/// The members of a family that are not shown. Its `Display` is like ``… and 9,950 more `connection`: 9,950 Closing``.
#[derive(Debug)]
pub struct Fold<'a, T> {
    /// The part of their names that they share.
    pub stem: Stem<'a>,
    /// The siblings that are not shown.
    pub members: Vec<T>,
    /// Their states.
    pub counts: Counts,
}

impl<T> Display for Fold<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if f.sign_minus() { "..." } else { "…" })?;
        write!(f, " and {} more", Count(self.members.len()))?;
        match self.stem {
            Stem::Name("") => {}
            Stem::Name(stem) => write_quoted(stem, f)?,
            Stem::Site(site) => write!(f, " from {site}")?,
        }
        write!(f, ": {}", self.counts)
    }
}

/// Writes a name in backticks, after a space.
pub(super) fn write_quoted(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(" `")?;
    Escaped::name(name).fmt(f)?;
    f.write_str("`")
}

/// The property that the members of a family share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stem<'a> {
    /// The name without trailing digits and one separator before them.
    Name(&'a str),
    /// The site of processes without a name.
    Site(Site),
}

impl<'a> Stem<'a> {
    /// The stem of a process with this name, which was made at this place.
    #[must_use]
    pub fn new(name: Option<&'a str>, site: Site) -> Self {
        match nonempty(name) {
            Some(name) => Self::Name(stem(name)),
            None => Self::Site(site),
        }
    }

    pub(super) fn of(process: ProcessInfo<'a>) -> Self {
        Self::new(process.name(), process.site())
    }
}

fn stem(name: &str) -> &str {
    let without_digits = name.trim_end_matches(|character: char| character.is_ascii_digit());
    if without_digits.len() == name.len() {
        return name;
    }
    without_digits.strip_suffix(['-', '_', '#', ':', '/', ' ']).unwrap_or(without_digits)
}

/// The number of members in each state. Its `Display` is like `2 Running, 37 Closing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; State::ALL.len()]);

impl Counts {
    /// The number of members in this state.
    #[must_use]
    pub fn of(&self, state: State) -> usize {
        self.0[state as usize]
    }

    fn add(&mut self, state: State) {
        self.0[state as usize] += 1;
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = State::ALL.into_iter().filter(|&state| self.0[state as usize] > 0);
        for (position, state) in counted.enumerate() {
            let separator = if position > 0 { ", " } else { "" };
            write!(f, "{separator}{} {}", Count(self.0[state as usize]), state.word())?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use super::super::testing::at;
    use super::{Member, Part, State, Stem, fold, stem};
    use crate::value::Work;

    fn member(name: &str) -> Member<'_> {
        Member {
            stem: Stem::Name(stem(name)),
            protected: false,
            blocks: false,
            failed: false,
            state: State::Closing,
            closing_for: None,
            work: Work::None,
            site: at("src/db.rs:12"),
        }
    }

    /// The parts as text: the index of a member that is shown, or the `Display` of a fold.
    fn folded(members: &[Member<'_>]) -> Vec<String> {
        let positions: Vec<usize> = (0..members.len()).collect();
        let parts = fold(&positions, |position| members[position]);
        let word = |part: Part<'_, usize>| match part {
            Part::One(member) => member.to_string(),
            Part::Fold(fold) => fold.to_string(),
        };
        parts.into_iter().map(word).collect()
    }

    #[test]
    fn the_stem_is_the_name_without_a_number() {
        for (name, expected) in [
            ("session-42", "session"),
            ("session", "session"),
            ("session-", "session-"),
            ("f--8", "f-"),
            ("a_1", "a"),
            ("a#1", "a"),
            ("a:1", "a"),
            ("a/1", "a"),
            ("a 1", "a"),
            ("a.1", "a."),
            ("v2", "v"),
            ("42", ""),
            ("é٣", "é٣"),
        ] {
            assert_eq!(stem(name), expected);
        }
    }

    #[test]
    fn only_large_families_are_folded() {
        assert_eq!(folded(&[member("a-1"); 8]).len(), 8);
        assert_eq!(folded(&[member("a-1"); 9]), ["0", "… and 8 more `a`: 8 Closing"]);
        assert_eq!(folded(&[member("7"); 9]), ["0", "… and 8 more: 8 Closing"]);
    }

    #[test]
    fn a_family_stays_together_at_its_first_member() {
        let mut members = vec![member("x"), member("a-1"), member("y")];
        members.extend([member("a-2"); 9]);
        members.push(member("z"));
        assert_eq!(folded(&members), ["0", "1", "… and 9 more `a`: 9 Closing", "2", "12"]);
    }

    #[test]
    fn one_member_is_shown_for_each_appearance() {
        let mut members = vec![member("a-1"); 20];
        members[3].closing_for = Some(Duration::from_secs(3));
        members[4].closing_for = Some(Duration::from_secs(4));
        members[5].state = State::Running;
        members[6].state = State::Aborting;
        members[7].failed = true;
        members[8].blocks = true;
        members[9].blocks = true;
        let fold = "… and 17 more `a`: 1 Running, 16 Closing";
        assert_eq!(folded(&members), ["8", "7", "6", fold]);
        for shown in [6, 7, 8, 9] {
            members[shown] = member("a-1");
        }
        assert_eq!(folded(&members), ["4", "5", "… and 18 more `a`: 18 Closing"]);
    }

    #[test]
    fn protected_members_are_shown() {
        let mut members = vec![member("a-1"); 20];
        for protected in [1, 5, 7, 11] {
            members[protected].protected = true;
        }
        members[3].failed = true;
        let fold = "… and 16 more `a`: 16 Closing";
        assert_eq!(folded(&members), ["1", "5", "7", "11", fold]);
        members[7] = member("a-1");
        members[11] = member("a-1");
        let fold = "… and 17 more `a`: 17 Closing";
        assert_eq!(folded(&members), ["1", "5", "3", fold]);
    }

    #[test]
    fn a_single_hidden_member_is_shown() {
        let mut members = vec![member("a-1"); 9];
        for member in &mut members[1..] {
            member.protected = true;
        }
        assert_eq!(folded(&members).len(), 9);
    }
}
