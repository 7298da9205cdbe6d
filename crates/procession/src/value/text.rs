//! The texts that all surfaces share: durations, counts, signals, and names that are safe to print.
//!
//! With `{:-}`, each of them is written in ASCII.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use std::time::Duration;

/// The maximum number of characters of a name that are printed.
pub const NAME_LIMIT: usize = 120;

/// The maximum number of characters of an error's message that are printed.
pub const ERROR_LIMIT: usize = 300;

/// A text from users' code, made safe for a terminal: control characters, and those that change the direction of
/// writing, are escaped (`\u{1b}`), and at most `limit` characters are written, the last of which is `…` if the text
/// was cut. An escape sequence is never cut in two.
///
/// Only the part of the text that is written is examined.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a> {
    /// The text.
    pub text: &'a str,
    /// The maximum number of characters that are written.
    pub limit: usize,
}

impl<'a> Escaped<'a> {
    /// A name of a process or a thread.
    #[must_use]
    pub fn name(text: &'a str) -> Self {
        Self { text, limit: NAME_LIMIT }
    }

    /// A message of an error.
    #[must_use]
    pub fn error(text: &'a str) -> Self {
        Self { text, limit: ERROR_LIMIT }
    }

    /// The escaped text. A text that needs no escaping is not copied.
    #[must_use]
    pub fn into_cow(self) -> Cow<'a, str> {
        match self.cut(is_safe, 1) {
            None if self.text.chars().all(is_safe) => Cow::Borrowed(self.text),
            _ => Cow::Owned(self.to_string()),
        }
    }

    /// The number of bytes of the text that are written if the text has to be cut; `None` if it fits. At most
    /// `limit + 1` characters are visited.
    fn cut(self, is_plain: impl Fn(char) -> bool, ellipsis: usize) -> Option<usize> {
        let (mut written, mut cut) = (0, 0);
        for (position, character) in self.text.char_indices() {
            if written + ellipsis <= self.limit {
                cut = position;
            }
            written += if is_plain(character) { 1 } else { character.escape_unicode().len() };
            if written > self.limit {
                return Some(cut);
            }
        }
        None
    }
}

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ascii = f.sign_minus();
        let is_plain = |character| is_safe(character) && (!ascii || character.is_ascii());
        let ellipsis = if ascii { "..." } else { "…" };
        let cut = self.cut(is_plain, ellipsis.chars().count());
        let mut rest = &self.text[..cut.unwrap_or(self.text.len())];
        while let Some(position) = rest.find(|character| !is_plain(character)) {
            f.write_str(&rest[..position])?;
            let mut characters = rest[position..].chars();
            if let Some(character) = characters.next() {
                write!(f, "{}", character.escape_unicode())?;
            }
            rest = characters.as_str();
        }
        f.write_str(rest)?;
        if cut.is_some() { f.write_str(ellipsis) } else { Ok(()) }
    }
}

/// Can this character be printed as it is? Control characters, and those that change the direction of writing, could
/// disturb a terminal.
fn is_safe(character: char) -> bool {
    !character.is_control()
        && !matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// A measured time: `410 µs`, `41 ms`, `6.1 s`, `4 min 12 s`, `3 h 05 min`, `2 d 4 h`.
///
/// It is rounded down, so that the text never claims more than has passed. Below a minute, seconds have one decimal.
#[derive(Clone, Copy, Debug)]
pub struct Elapsed(pub Duration);

impl Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours) = (seconds / 60, seconds / 3600);
        match seconds {
            0 => write_below_a_second(self.0, f),
            1..60 => write!(f, "{seconds}.{} s", self.0.subsec_millis() / 100),
            60..3600 => write!(f, "{minutes} min {:02} s", seconds % 60),
            3600..86_400 => write!(f, "{hours} h {:02} min", minutes % 60),
            _ => write!(f, "{} d {} h", hours / 24, hours % 24),
        }
    }
}

/// A configured time, or the rest of one: `500 ms`, `17.6 s`, `30 s`, `2 min`, `1 min 30 s`. Parts that are zero are
/// left out.
#[derive(Clone, Copy, Debug)]
pub struct Span(pub Duration);

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours) = (seconds / 60, seconds / 3600);
        let is_whole = match seconds {
            0 => self.0.is_zero(),
            1..60 => self.0.subsec_millis() < 100,
            60..3600 => seconds % 60 == 0,
            3600..86_400 => minutes % 60 == 0,
            _ => hours % 24 == 0,
        };
        match seconds {
            _ if !is_whole => Elapsed(self.0).fmt(f),
            0..60 => write!(f, "{seconds} s"),
            60..3600 => write!(f, "{minutes} min"),
            3600..86_400 => write!(f, "{hours} h"),
            _ => write!(f, "{} d", hours / 24),
        }
    }
}

fn write_below_a_second(duration: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (duration.subsec_millis(), duration.subsec_micros()) {
        (0, micros) if f.sign_minus() => write!(f, "{micros} us"),
        (0, micros) => write!(f, "{micros} µs"),
        (millis, _) => write!(f, "{millis} ms"),
    }
}

/// A number of things: `9,950`.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub usize);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position) % 3 == 0 {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A number of processes: `1 process`, `9,950 processes`.
#[derive(Clone, Copy, Debug)]
pub struct Processes(pub usize);

impl Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.0 == 1 { "process" } else { "processes" };
        write!(f, "{} {noun}", Count(self.0))
    }
}

/// A signal: `SIGINT`, or `signal 42` if its number has no fixed meaning.
#[derive(Clone, Copy, Debug)]
pub struct Signal(pub i32);

impl Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            1 => "SIGHUP",
            2 => "SIGINT",
            3 => "SIGQUIT",
            6 => "SIGABRT",
            9 => "SIGKILL",
            13 => "SIGPIPE",
            14 => "SIGALRM",
            15 => "SIGTERM",
            number if number == USER_SIGNALS.0 => "SIGUSR1",
            number if number == USER_SIGNALS.1 => "SIGUSR2",
            number => return write!(f, "signal {number}"),
        })
    }
}

/// The numbers of `SIGUSR1` and `SIGUSR2`; zero, which is no signal, where they are unknown.
const USER_SIGNALS: (i32, i32) = if cfg!(any(target_os = "linux", target_os = "android")) {
    (10, 12)
} else if cfg!(any(target_vendor = "apple", target_os = "freebsd")) {
    (30, 31)
} else {
    (0, 0)
};

#[cfg(all(test, not(loom)))]
mod tests {
    use std::borrow::Cow;
    use std::time::{Duration, Instant};

    use super::{Count, Elapsed, Escaped, Signal, Span};

    #[test]
    fn measured_times_have_two_units_at_most() {
        for (micros, text) in [
            (0, "0 µs"),
            (410, "410 µs"),
            (41_999, "41 ms"),
            (999_999, "999 ms"),
            (5_000_000, "5.0 s"),
            (6_199_999, "6.1 s"),
            (59_999_999, "59.9 s"),
            (60_000_000, "1 min 00 s"),
            (252_000_000, "4 min 12 s"),
            (11_100_000_000, "3 h 05 min"),
            (187_200_000_000, "2 d 4 h"),
        ] {
            assert_eq!(Elapsed(Duration::from_micros(micros)).to_string(), text);
        }
        assert_eq!(format!("{:-}", Elapsed(Duration::from_micros(410))), "410 us");
        assert_eq!(Elapsed(Duration::MAX).to_string(), "213503982334601 d 7 h");
    }

    #[test]
    fn times_that_were_set_have_no_zeros() {
        for (millis, text) in [
            (0, "0 s"),
            (500, "500 ms"),
            (5_000, "5 s"),
            (17_600, "17.6 s"),
            (30_000, "30 s"),
            (30_040, "30 s"),
            (90_000, "1 min 30 s"),
            (120_000, "2 min"),
            (3_600_000, "1 h"),
            (86_400_000, "1 d"),
        ] {
            assert_eq!(Span(Duration::from_millis(millis)).to_string(), text);
        }
        assert_eq!(Span(Duration::from_micros(7)).to_string(), "7 µs");
    }

    #[test]
    fn counts_have_separators() {
        for (count, text) in [(0, "0"), (999, "999"), (9_950, "9,950"), (1_000_000, "1,000,000")] {
            assert_eq!(Count(count).to_string(), text);
        }
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(Signal(2).to_string(), "SIGINT");
        assert_eq!(Signal(15).to_string(), "SIGTERM");
        assert_eq!(Signal(42).to_string(), "signal 42");
    }

    #[test]
    fn characters_that_disturb_a_terminal_are_escaped() {
        let name = "a\u{1b}[2J\u{202E}é\n\u{2069}";
        assert_eq!(Escaped::name(name).to_string(), "a\\u{1b}[2J\\u{202e}é\\u{a}\\u{2069}");
        assert_eq!(format!("{:-}", Escaped::name("é›")), "\\u{e9}\\u{203a}");
        assert!(matches!(Escaped::name("é").into_cow(), Cow::Borrowed("é")));
        assert_eq!(Escaped::name("\u{7f}").into_cow(), "\\u{7f}");
        assert_eq!(Escaped::name("").to_string(), "");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let text = |text, limit| Escaped { text, limit }.to_string();
        assert_eq!(text("abcde", 5), "abcde");
        assert_eq!(text("abcdef", 5), "abcd…");
        assert_eq!(text("äöüßéà", 5), "äöüß…");
        assert_eq!(text("abc\n", 8), "abc\\u{a}");
        assert_eq!(text("abc\n", 7), "abc…");
        assert_eq!(text("abc\ndef", 9), "abc\\u{a}…");
        assert_eq!(text("abc", 0), "…");
        assert_eq!(format!("{:-}", Escaped { text: "abcdef", limit: 5 }), "ab...");
        assert_eq!(Escaped::name(&"A".repeat(121)).to_string(), "A".repeat(119) + "…");
        assert_eq!(Escaped::error(&"A".repeat(300)).to_string(), "A".repeat(300));
    }

    /// Even in a debug build, 10,000 long names take less than a walk over all of their 10 GB would.
    #[test]
    fn long_texts_are_not_walked() {
        let (name, start) = ("A".repeat(1 << 20), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(Escaped::name(&name).into_cow().len(), 119 + "…".len());
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
