//! How texts of the program are shortened: the one place for the page and the timeline.

use std::fmt::{self, Display, Write};

use procession::support::catch;

/// Stands for an error whose `Display` panics.
pub(crate) const UNPRINTABLE: &str = "an error that panicked when it was printed";

/// The beginning of what `value` displays: at most `limit` bytes, and whole characters. `None` if it panics before
/// that.
///
/// The `Display` is foreign code. It is told to stop when the limit is reached, so a text of 100 MB costs no more than
/// a short one.
pub(crate) fn beginning(value: &dyn Display, limit: usize) -> Option<String> {
    let mut beginning = Beginning { text: String::new(), limit, is_full: false };
    let result = catch(|| write!(beginning, "{value}"));
    // A `Display` may panic because it is told to stop.
    (result.is_ok() || beginning.is_full).then_some(beginning.text)
}

/// The labels of a process and of those above it, the nearest first, as a path with the topmost first. The labels that
/// do not fit into `limit` characters are replaced by `…`, except for that of the process itself.
pub(crate) fn path(
    nearest_first: impl IntoIterator<Item = String>,
    separator: &str,
    limit: usize,
) -> String {
    let (mut labels, mut length) = (Vec::new(), 0);
    for label in nearest_first {
        length += label.chars().count();
        if !labels.is_empty() {
            length += separator.chars().count();
            if length > limit {
                labels.push("…".to_owned());
                break;
            }
        }
        labels.push(label);
    }
    labels.reverse();
    labels.join(separator)
}

/// Takes a number of bytes, and fails after that.
struct Beginning {
    text: String,
    limit: usize,
    is_full: bool,
}

impl Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = self.limit - self.text.len();
        self.is_full |= text.len() > left;
        if !self.is_full {
            self.text.push_str(text);
            return Ok(());
        }
        let end = (0..=left.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
        self.text.push_str(&text[..end.unwrap_or(0)]);
        // Nothing fits any more, even if the last character did not.
        self.limit = self.text.len();
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fmt::{self, Display};

    use super::{beginning, path};

    /// A million pieces of 100 bytes, and the number of them that were written.
    #[derive(Default)]
    struct Long {
        pieces: Cell<usize>,
        /// What it does when it is told to stop.
        panics: bool,
        goes_on: bool,
    }

    impl Display for Long {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            for _ in 0..1_000_000 {
                self.pieces.set(self.pieces.get() + 1);
                let written = f.write_str(&"é".repeat(50));
                assert!(written.is_ok() || !self.panics, "cannot write");
                if !self.goes_on {
                    written?;
                }
                if self.pieces.get() == 1_000 {
                    return Ok(());
                }
            }
            Ok(())
        }
    }

    #[test]
    fn a_long_text_is_not_formatted_to_its_end() {
        for limit in [0, 1, 99, 100, 101, 1_001] {
            let text = Long::default();
            let expected = "é".repeat(limit / 2);
            assert_eq!(beginning(&text, limit), Some(expected.clone()));
            assert!(text.pieces.get() <= limit / 100 + 1, "{limit}: {}", text.pieces.get());
            let panics = Long { panics: true, ..Long::default() };
            assert_eq!(beginning(&panics, limit), Some(expected.clone()));
            let goes_on = Long { goes_on: true, ..Long::default() };
            assert_eq!(beginning(&goes_on, limit), Some(expected));
        }
        assert_eq!(beginning(&"disk full", 9).as_deref(), Some("disk full"));
        assert_eq!(beginning(&"disk full", 8).as_deref(), Some("disk ful"));
        // What comes after a character that did not fit does not fit either.
        assert_eq!(beginning(&format_args!("{}{}", "é", "a"), 1).as_deref(), Some(""));
    }

    #[test]
    fn a_text_that_panics_has_no_beginning() {
        struct Panics;
        impl Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no text")
            }
        }
        assert_eq!(beginning(&Panics, 100), None);
    }

    #[test]
    fn the_upper_labels_of_a_long_path_are_left_out() {
        let labels = || ["cache", "a/b", "app"].map(str::to_owned);
        assert_eq!(path(labels(), " › ", 17), "app › a/b › cache");
        assert_eq!(path(labels(), " › ", 16), "… › a/b › cache");
        assert_eq!(path(labels(), "/", 5), "…/cache");
        assert_eq!(path(labels(), "/", 0), "…/cache");
        assert_eq!(path([], "/", 5), "");
    }
}
