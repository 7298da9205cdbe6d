//! The names of keys. A name is the output of the key's `Display`, which is foreign code.

use std::fmt::{self, Display};
use std::sync::Arc;

use procession::support;
use procession::support::catch;
use procession::support::text::Escaped;

/// The name of a key. If its `Display` panics, a text about that takes the place of the name.
pub(crate) fn name_of(key: &impl Display) -> Arc<str> {
    text_of(key).into()
}

/// Displays a key, escaped for messages and terminals.
pub(crate) struct Name<'a, K>(pub(crate) &'a K);

impl<K: Display> Display for Name<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::name(&text_of(self.0)).fmt(f)
    }
}

/// The name of the process of a key: the text of [`name_of`].
pub(crate) fn process_name_of(key: &impl Display) -> support::Name {
    match catch(|| support::Name::of(key)) {
        Ok(Ok(name)) => name,
        Ok(Err(_)) | Err(_) => name_of(key).into(),
    }
}

fn text_of(key: &impl Display) -> String {
    catch(|| key.to_string()).unwrap_or_else(|_| "(its name panicked)".into())
}
