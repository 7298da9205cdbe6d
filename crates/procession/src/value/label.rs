//! How messages refer to a process: [`ProcessId`], [`Segment`] and [`Label`].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::value::name::nonempty;
use crate::value::text::Escaped;
use crate::value::{Name, Site};

/// The maximum number of segments of a label.
pub(crate) const NEAREST: usize = 16;

/// Distinguishes processes that exist at the same time.
///
/// An id may be reused once nothing refers to its process any more.
///
/// ```
/// use procession::Process;
///
/// let (one, other) = (Process::new(), Process::new());
/// assert_eq!(one.id(), one.clone().id());
/// assert_ne!(one.id(), other.id());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(NonZeroUsize);

impl ProcessId {
    pub(crate) fn of<T>(process: *const T) -> Self {
        // An address is never zero.
        Self(NonZeroUsize::new(process.addr()).unwrap_or(NonZeroUsize::MAX))
    }
}

impl fmt::Debug for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProcessId({:#x})", self.0)
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// One process in a path: its name if it has one, and where it was made.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: Option<Name>,
    pub(crate) site: Site,
}

impl Segment {
    /// The name, unless it is empty.
    fn nonempty_name(&self) -> Option<&str> {
        nonempty(self.name.as_deref())
    }

    /// A name for a thread that runs code of the process: the name or, without one, the file and the line.
    pub(crate) fn thread_name(&self) -> String {
        match self.nonempty_name() {
            Some(name) => name.to_owned(),
            None => {
                let file = self.site.file();
                let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
                format!("{file}:{}", self.site.line())
            }
        }
    }
}

/// Writes the name, unescaped, or the site if the name is missing or empty.
impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nonempty_name() {
            Some(name) => f.write_str(name),
            None => self.site.fmt(f),
        }
    }
}

/// The label by which errors refer to a process: its name or, if that is missing or empty, the place where it was
/// made and the nearest name above it.
///
/// A label describes the process at the time when a caller asked for it or when the error that carries it happened. A
/// process that is already Closed has nothing above it any more. Labels are equal if they refer to the same process.
///
/// The `Display` escapes control characters, so that a name cannot disturb a terminal, and writes at most 120
/// characters of each name.
///
/// ```
/// use procession::Process;
///
/// let app = Process::builder().name("app").build()?;
/// assert_eq!(app.label().to_string(), "process `app`");
/// let unnamed = app.child();
/// assert_eq!(unnamed.label().to_string(), format!("process `app` › {}", unnamed.site()));
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone)]
pub struct Label(Arc<Parts>);

struct Parts {
    id: ProcessId,
    own: Segment,
    /// The nearest first parents, the topmost first.
    above: Vec<Segment>,
    /// There are more processes above these.
    is_cut: bool,
    /// The failure that carries this label has been reported. Each error has a label of its own, which its clones
    /// share, so a body that returns the error of another process does not report it again. Relaxed, because whatever
    /// hands a clone to another thread orders the accesses.
    is_reported: AtomicBool,
}

impl Label {
    pub(crate) fn new(id: ProcessId, own: Segment, above: Vec<Segment>, is_cut: bool) -> Self {
        Self(Arc::new(Parts { id, own, above, is_cut, is_reported: AtomicBool::new(false) }))
    }

    /// A label of the same process for a new error, which is not yet reported.
    pub(crate) fn renewed(&self) -> Self {
        let Parts { id, own, above, is_cut, .. } = &*self.0;
        Self::new(*id, own.clone(), above.clone(), *is_cut)
    }

    /// Records that the error with this label is reported; returns whether it had been reported before.
    #[cfg_attr(loom, expect(dead_code, reason = "a model reports nothing"))]
    pub(crate) fn set_reported(&self) -> bool {
        self.0.is_reported.swap(true, Ordering::Relaxed)
    }

    /// Is the error with this label reported?
    pub(crate) fn is_reported(&self) -> bool {
        self.0.is_reported.load(Ordering::Relaxed)
    }

    /// The label of a process that has nothing above it.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn of_test(name: Option<&str>, id: ProcessId) -> Self {
        let own = Segment {
            name: name.map(|name| Name::from(Arc::<str>::from(name))),
            site: Site::caller(),
        };
        Self::new(id, own, Vec::new(), false)
    }

    /// The process's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.0.own.name.as_deref()
    }

    /// The process's id.
    pub fn id(&self) -> ProcessId {
        self.0.id
    }

    /// Where the process was made.
    pub fn site(&self) -> Site {
        self.0.own.site
    }

    /// The names or sites of the process and of at most 15 processes above it, following first parents, joined by `/`.
    /// It begins with `…` if there are more.
    ///
    /// ```
    /// use procession::Process;
    ///
    /// let app = Process::builder().name("app").build()?;
    /// let cache = Process::builder().name("cache").parent(&app).build()?;
    /// assert_eq!(cache.label().path(), "app/cache");
    /// # Ok::<(), procession::LinkError>(())
    /// ```
    #[must_use]
    pub fn path(&self) -> String {
        self.labels().join("/")
    }

    /// The names or sites of [`path`](Self::path).
    pub(crate) fn labels(&self) -> Vec<String> {
        let cut = self.0.is_cut.then(|| "…".to_owned());
        let segments = self.0.above.iter().chain([&self.0.own]);
        cut.into_iter().chain(segments.map(Segment::to_string)).collect()
    }

    /// The names or sites of [`path`](Self::path), escaped and joined by ` › `.
    #[cfg(not(loom))]
    pub(crate) fn chain(&self) -> impl fmt::Display + '_ {
        Chain(self)
    }

    /// Does [`chain`](Self::chain) end with the site, because the process has no name?
    #[cfg(not(loom))]
    pub(crate) fn is_site(&self) -> bool {
        self.0.own.nonempty_name().is_none()
    }

    /// The label without the word "process".
    pub(crate) fn bare(&self) -> impl fmt::Display + '_ {
        Bare(self)
    }
}

#[cfg(not(loom))]
struct Chain<'a>(&'a Label);

#[cfg(not(loom))]
impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { own, above, is_cut, .. } = &*self.0.0;
        if *is_cut {
            f.write_str("… › ")?;
        }
        for (position, segment) in above.iter().chain([own]).enumerate() {
            if position > 0 {
                f.write_str(" › ")?;
            }
            match segment.nonempty_name() {
                Some(name) => Escaped::name(name).fmt(f)?,
                None => segment.site.fmt(f)?,
            }
        }
        Ok(())
    }
}

struct Bare<'a>(&'a Label);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { own, above, .. } = &*self.0.0;
        if let Some(name) = own.nonempty_name() {
            return write!(f, "`{}`", Escaped::name(name));
        }
        if let Some(name) = above.iter().rev().find_map(Segment::nonempty_name) {
            write!(f, "`{}` › ", Escaped::name(name))?;
        }
        own.site.fmt(f)
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.bare())
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Label {}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Label, ProcessId, Segment};
    use crate::value::Site;

    fn segment(name: Option<&str>) -> Segment {
        Segment { name: name.map(Into::into), site: Site::caller() }
    }

    fn label(own: Option<&str>, above: &[Option<&str>], is_cut: bool) -> Label {
        let above = above.iter().map(|name| segment(*name)).collect();
        Label::new(ProcessId::of(&0_u8), segment(own), above, is_cut)
    }

    #[test]
    fn control_characters_are_escaped() {
        let label = label(Some("a\u{1b}[2J\u{202E}é"), &[], false);
        assert_eq!(label.to_string(), "process `a\\u{1b}[2J\\u{202e}é`");
    }

    #[test]
    fn a_process_without_a_name_is_found_by_its_site() {
        let unnamed = label(None, &[Some("app"), Some("db"), None], false);
        let site = unnamed.site();
        assert_eq!(unnamed.to_string(), format!("process `db` › {site}"));
        assert_eq!(unnamed.path(), format!("app/db/{site}/{site}"));
        assert_eq!(label(None, &[], false).to_string(), format!("process {site}"));
    }

    /// An empty name is treated as none.
    #[test]
    fn a_process_with_an_empty_name_is_found_by_its_site() {
        let empty = label(Some(""), &[Some("app"), Some("")], false);
        let site = empty.site();
        assert_eq!(empty.to_string(), format!("process `app` › {site}"));
        assert_eq!(empty.path(), format!("app/{site}/{site}"));
        assert_eq!(empty.chain().to_string(), format!("app › {site} › {site}"));
        let segment = segment(Some(""));
        assert_eq!(segment.thread_name(), format!("label.rs:{}", segment.site.line()));
    }

    #[test]
    fn a_path_that_is_cut_says_so() {
        assert_eq!(label(Some("leaf"), &[Some("twig")], true).path(), "…/twig/leaf");
    }
}
