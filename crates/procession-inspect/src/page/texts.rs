//! [`Texts`]: the texts of the program, as they are shown.
//!
//! Every name, path and error goes through `redact`, which is a user's code, and then through `escape` of the core. It
//! is called with no lock held, in a catch; if it panics, nothing of the text is shown. *A filter finds nothing that is
//! not shown*, because it looks at the same texts.

use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;

use procession::support::catch;
use procession::support::text::{ERROR_LIMIT, Escaped, NAME_LIMIT};
use procession::{ProcessInfo, Site};

use super::tally;
use crate::texts::{UNPRINTABLE, beginning, path};

/// A function that changes texts before they are shown.
pub(crate) type Redact = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// The limit of a path.
const PATH_LIMIT: usize = 200;

/// The limit of the key and of the error of a unit.
#[cfg(feature = "supervisor")]
const UNIT_LIMIT: usize = 100;

#[derive(Clone, Default)]
pub(crate) struct Texts {
    redact: Option<Redact>,
}

impl Texts {
    pub(crate) fn new(redact: Option<Redact>) -> Self {
        Self { redact }
    }

    pub(crate) fn is_redacted(&self) -> bool {
        self.redact.is_some()
    }

    /// A text that is not escaped yet.
    pub(crate) fn raw<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.redact {
            None => Cow::Borrowed(text),
            Some(redact) => catch(|| redact(text)).unwrap_or_else(|_| "(redacted)".into()).into(),
        }
    }

    fn limited(&self, text: &str, limit: usize) -> String {
        Escaped { text: &self.raw(text), limit }.to_string()
    }

    pub(crate) fn name(&self, name: &str) -> String {
        self.limited(name, NAME_LIMIT)
    }

    /// A name where there is little space.
    pub(crate) fn short(&self, name: &str) -> String {
        self.limited(name, 40)
    }

    /// The key of a unit.
    #[cfg(feature = "supervisor")]
    pub(crate) fn unit(&self, key: &str) -> String {
        self.limited(key, UNIT_LIMIT)
    }

    /// The error of a unit.
    #[cfg(feature = "supervisor")]
    pub(crate) fn unit_error(&self, error: &dyn Display) -> String {
        self.printed(error, UNIT_LIMIT)
    }

    /// The path of a process, made from its labels, the topmost first. `separator` is `/` in fields for programs, and
    /// ` › ` in texts for people. The labels do not tell which of them are sites, so all are redacted.
    pub(crate) fn path(&self, labels: &[String], separator: &str) -> String {
        path(labels.iter().rev().map(|label| self.name(label)), separator, PATH_LIMIT)
    }

    pub(crate) fn error(&self, error: &dyn Display) -> String {
        self.printed(error, ERROR_LIMIT)
    }

    /// The text of an error, of which no more is read than is shown. A function that redacts is given more, because it
    /// might not recognise what is cut.
    fn printed(&self, error: &dyn Display, limit: usize) -> String {
        let read = if self.is_redacted() { tally::ERROR_LIMIT } else { 4 * (limit + 1) };
        let text = beginning(error, read);
        self.limited(text.as_deref().unwrap_or(UNPRINTABLE), limit)
    }

    /// An error in the details of a process, with at most this number of bytes.
    pub(crate) fn detail(&self, error: &str, limit: usize) -> String {
        let mut error = self.limited(error, limit);
        if error.len() > limit {
            let end = (0..=limit.saturating_sub(3)).rev().find(|&end| error.is_char_boundary(end));
            error.truncate(end.unwrap_or(0));
            // Three bytes, like any other character of this kind.
            error.extend((limit >= 3).then_some('…'));
        }
        error
    }

    /// The label of a process.
    pub(crate) fn label(&self, process: ProcessInfo<'_>) -> String {
        self.name_or_site(process.name(), process.site())
    }

    /// A site is not a text of the program's users, and is not redacted.
    pub(crate) fn name_or_site(&self, name: Option<&str>, site: Site) -> String {
        match name.filter(|name| !name.is_empty()) {
            Some(name) => self.name(name),
            None => site.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Texts;

    #[test]
    fn texts_are_redacted_and_then_escaped() {
        let texts = Texts::new(Some(Arc::new(|text| text.replace("secret", "\u{1b}"))));
        assert_eq!(texts.name("a secret"), "a \\u{1b}");
        let texts = Texts::new(Some(Arc::new(|_| panic!("no"))));
        assert_eq!(texts.error(&"disk full"), "(redacted)");
    }

    /// A secret of which only the beginning was read would not be recognised.
    #[test]
    fn an_error_is_not_cut_before_it_is_redacted() {
        let redact = |text: &str| text.replace('x', "").replace("secret", "*****");
        let texts = Texts::new(Some(Arc::new(redact)));
        for before in 0..5_000 {
            let error = texts.error(&format_args!("{}secret", "x".repeat(before)));
            assert_eq!(error, "*****", "{before}");
        }
    }

    #[test]
    fn a_detail_is_limited_in_bytes() {
        let texts = Texts::default();
        assert_eq!(texts.detail("disk full", 9), "disk full");
        assert_eq!(texts.detail("ééééé", 9), "ééé…");
        for limit in 0..20 {
            for text in ["éééééééééé", "\u{1b}\u{1b}\u{1b}\u{1b}", "aaaaaaaaaaaaaaaaaaaaaaa"]
            {
                let detail = texts.detail(text, limit);
                assert!(
                    detail.len() <= limit && (limit < 3 || detail.len() + 4 > limit),
                    "{limit}: {detail}"
                );
            }
        }
    }
}
