//! [`Markup`]: texts in XML and HTML.

use std::fmt::{self, Display, Write};

/// A text as the content of an element or of a quoted attribute. The characters that mean something to a parser are
/// references, and those that XML forbids are `U+FFFD`, so the text cannot end the element or attribute that it is in.
///
/// Names of users also go through `escape` of the core, which makes control characters visible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Markup<T>(pub(crate) T);

impl<T: Display> Display for Markup<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaper<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| self.write_char(character))
    }

    fn write_char(&mut self, character: char) -> fmt::Result {
        match character {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            character if is_allowed(character) => self.0.write_char(character),
            _ => self.0.write_char(char::REPLACEMENT_CHARACTER),
        }
    }
}

/// Is it a `Char` of XML 1.0?
fn is_allowed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        character => character >= ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::Markup;

    #[test]
    fn nothing_ends_an_element_or_an_attribute() {
        let text = Markup("</title><script>'x' && \"y\" ]]>").to_string();
        let expected = "&lt;/title&gt;&lt;script&gt;&#39;x&#39; &amp;&amp; &quot;y&quot; ]]&gt;";
        assert_eq!(text, expected);
    }

    #[test]
    fn forbidden_characters_are_replaced() {
        assert_eq!(Markup("a\0\u{1b}\u{FFFF}\té").to_string(), "a\u{FFFD}\u{FFFD}\u{FFFD}\té");
    }
}
