//! [`Name`]: the name of a process.

use std::fmt::{self, Debug, Display, Write};
use std::ops::Deref;
use std::sync::Arc;

/// The maximum length of a name that is stored without an allocation.
const SHORT: usize = 22;

/// The name of a process. A short name that was made by [`of`](Self::of) needs no allocation.
#[derive(Clone)]
pub struct Name(Text);

#[derive(Clone)]
enum Text {
    Short { len: u8, bytes: [u8; SHORT] },
    Shared(Arc<str>),
}

/// The name, unless it is empty. Every text that refers to a process uses its site instead of an empty name, because
/// that says more.
pub(super) fn nonempty(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.is_empty())
}

impl Name {
    /// The name that `name` displays. This runs foreign code: the `Display` of `name`.
    ///
    /// # Errors
    ///
    /// Those of the `Display`.
    pub fn of(name: &impl Display) -> Result<Self, fmt::Error> {
        let mut writer = Writer { len: 0, bytes: [0; SHORT], long: String::new() };
        write!(writer, "{name}")?;
        let Writer { len, bytes, long } = writer;
        Ok(Self(if long.is_empty() {
            Text::Short { len: len as u8, bytes }
        } else {
            Text::Shared(long.into())
        }))
    }

    /// Is it the same text? That takes no time if both share it, however long it is.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq::<str>(&**self, &**other) || **self == **other
    }

    /// The name as a shared string.
    pub fn to_shared(&self) -> Arc<str> {
        match &self.0 {
            Text::Short { .. } => (**self).into(),
            Text::Shared(name) => name.clone(),
        }
    }
}

/// Collects a text: in `bytes` as long as it fits, otherwise in `long`.
struct Writer {
    len: usize,
    bytes: [u8; SHORT],
    long: String,
}

impl Write for Writer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        match self.bytes.get_mut(self.len..end) {
            Some(room) if self.long.is_empty() => {
                room.copy_from_slice(text.as_bytes());
                self.len = end;
            }
            _ => {
                if self.long.is_empty() {
                    self.long.push_str(read(&self.bytes, self.len));
                }
                self.long.push_str(text);
            }
        }
        Ok(())
    }
}

/// The text in the first `len` bytes, which were copied from whole strings.
fn read(bytes: &[u8; SHORT], len: usize) -> &str {
    std::str::from_utf8(&bytes[..len]).expect("only whole strings are copied")
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Text::Short { len, bytes } => read(bytes, usize::from(*len)),
            Text::Shared(name) => name,
        }
    }
}

impl From<Arc<str>> for Name {
    fn from(name: Arc<str>) -> Self {
        Self(Text::Shared(name))
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Text::Shared(name.into()))
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&**self, f)
    }
}

impl Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Name, SHORT, Text};

    #[test]
    fn a_name_is_the_text_that_its_source_displays() {
        for len in 0..3 * SHORT {
            let text: String = "aß".chars().cycle().take(len).collect();
            let name = Name::of(&text).unwrap();
            assert_eq!(&*name, text);
            assert_eq!(matches!(name.0, Text::Short { .. }), text.len() <= SHORT);
            let (start, end) = text.split_at(text.char_indices().nth(len / 2).map_or(0, |at| at.0));
            assert_eq!(&*Name::of(&format_args!("{start}{end}")).unwrap(), text);
            assert_eq!(&*Name::of(&text).unwrap().to_shared(), text);
        }
    }
}
