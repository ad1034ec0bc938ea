//! Secrets that clients prove an attachment with. A node knows their hashes only.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of a token; a client writes twice as many digits.
const TOKEN_BYTES: usize = 16;

/// SHA-256 of a token's 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

impl TokenHash {
    /// The hash of a token as clients write it: 32 lower-case hexadecimal digits, and nothing else.
    #[must_use]
    pub fn of_text(digits: &str) -> Option<Self> {
        let digits: &[u8; 2 * TOKEN_BYTES] = digits.as_bytes().try_into().ok()?;
        let mut token = [0; TOKEN_BYTES];
        for (byte, pair) in token.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(Sha256::digest(token).into()))
    }

    /// Whether the two are one; takes as long whatever they are.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differs, (one, two)| differs | (one ^ two)) == 0
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::TokenHash;

    #[test]
    fn a_token_is_hashed_as_bytes_and_not_as_text() {
        // SHA-256 of the bytes 00 01 .. 0f.
        let expected = [
            0xbe, 0x45, 0xcb, 0x26, 0x05, 0xbf, 0x36, 0xbe, 0xbd, 0xe6, 0x84, 0x84, 0x1a, 0x28, 0xf0, 0xfd, 0x43, 0xc6,
            0x98, 0x50, 0xa3, 0xdc, 0xe5, 0xfe, 0xdb, 0xa6, 0x99, 0x28, 0xee, 0x3a, 0x89, 0x91,
        ];
        let found = TokenHash::of_text("000102030405060708090a0b0c0d0e0f").unwrap();
        assert_eq!(found.0, expected);
        assert!(found.is(&TokenHash(expected)) && !found.is(&TokenHash([0; 32])));
        assert_eq!(format!("{found:?}"), "TokenHash(..)");
    }

    #[test]
    fn only_thirty_two_lower_case_digits_are_a_token() {
        let good = "0123456789abcdef0123456789abcdef";
        assert!(TokenHash::of_text(good).is_some());
        for bad in ["", &good[1..], &format!("{good}0"), &good.to_uppercase(), &good.replace('a', "g"), &"é".repeat(16)]
        {
            assert!(TokenHash::of_text(bad).is_none(), "{bad}");
        }
    }
}
