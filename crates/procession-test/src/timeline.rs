//! Events as a list for people: one line each, with the time since the first event.

use std::fmt;

use procession::Event;

/// The maximum number of lines at the beginning and at the end of a long list.
const SHOWN: usize = 100;

/// The `Display` of these events.
pub(crate) struct Lines<'a>(pub(crate) &'a [Event]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.0.first() else { return f.write_str("  (no events)") };
        let hidden = SHOWN..self.0.len().saturating_sub(SHOWN).max(SHOWN);
        for (index, event) in self.0.iter().enumerate() {
            if hidden.contains(&index) {
                if index == hidden.start {
                    writeln!(f, "  … {} more events", hidden.len())?;
                }
                continue;
            }
            let since = event.at().saturating_duration_since(first.at());
            let end = if index + 1 == self.0.len() { "" } else { "\n" };
            write!(f, "  {:>10.3} ms  {event}{end}", since.as_secs_f64() * 1000.0)?;
        }
        Ok(())
    }
}
