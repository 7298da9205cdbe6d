//! [`Token`]: the secret of an inspector that can be reached from other machines.

use std::fmt::Write;

use subtle::ConstantTimeEq;

use super::error::InspectError;

/// It is compared in constant time. Nothing but the address that the program prints once contains it: it has no
/// `Debug`.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Token {
    pub(crate) fn new(text: String) -> Result<Self, InspectError> {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if text.len() < 16 || !is_plain { Err(InspectError::Token) } else { Ok(Self(text)) }
    }

    /// 128 random bits.
    pub(crate) fn random() -> Result<Self, InspectError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(InspectError::Random)?;
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string does not fail.
            let _written = write!(hex, "{byte:02x}");
            hex
        });
        Ok(Self(hex))
    }

    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn tokens_have_128_random_bits() {
        let (one, other) = (Token::random().unwrap(), Token::random().unwrap());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.is(one.as_str()) && !one.is(other.as_str()) && !one.is(""));
        assert!(Token::new("short".into()).is_err());
        assert!(Token::new("0123456789abcde;".into()).is_err());
    }
}
