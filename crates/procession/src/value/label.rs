//! How messages refer to a process: [`ProcessId`] and [`Label`].

use std::fmt::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;

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

/// How errors refer to a process: by its name if it has one, otherwise by its id.
///
/// Control characters in the name are escaped when the label is displayed, so that a name cannot disturb a
/// terminal.
///
/// ```
/// use procession::Process;
///
/// let process = Process::builder().name("http").build()?;
/// let label = process.label();
/// assert_eq!(label.to_string(), "process `http`");
/// assert_eq!(label.name(), Some("http"));
/// # Ok::<(), procession::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Label {
    name: Option<Arc<str>>,
    id: ProcessId,
}

impl Label {
    pub(crate) fn new(name: Option<Arc<str>>, id: ProcessId) -> Self {
        Self { name, id }
    }

    /// The process's name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The process's id.
    pub fn id(&self) -> ProcessId {
        self.id
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else { return write!(f, "process {}", self.id) };
        f.write_str("process `")?;
        for character in name.chars() {
            if is_safe(character) {
                f.write_char(character)?;
            } else {
                write!(f, "{}", character.escape_unicode())?;
            }
        }
        f.write_char('`')
    }
}

/// Can this character be printed as it is? Control characters, and those that change the direction of writing, could
/// disturb a terminal.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Label, ProcessId};

    #[test]
    fn control_characters_are_escaped() {
        let label = Label::new(Some("a\u{1b}[2J\u{202E}é".into()), ProcessId::of(&0_u8));
        assert_eq!(label.to_string(), "process `a\\u{1b}[2J\\u{202e}é`");
    }
}
