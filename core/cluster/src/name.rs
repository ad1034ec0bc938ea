//! Names that people give.

use std::fmt;
use std::str::FromStr;

/// Longest name.
pub const NAME_BYTES_MAX: usize = 128;

/// 1 to [`NAME_BYTES_MAX`] characters of `a-z`, `0-9`, `.`, `_` and `-`, the first a letter or digit: what is also a
/// file name, an NBD export name and, but for `_`, a DNS label.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text is no name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{found}\" is not a name: 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, '.', '_' and '-', the first a letter or digit"
)]
pub struct NameError {
    /// What was found, cut to the length of a name.
    pub found: String,
}

impl Name {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let starts = text.starts_with(plain);
        let all = text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
        if starts && all && text.len() <= NAME_BYTES_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError { found: text.chars().take(NAME_BYTES_MAX).collect() })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, Name};

    #[test]
    fn names_are_what_a_file_and_an_export_may_be_called() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "0", "db-1.prod_x", longest.as_str()] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "-a", ".a", "A", "a b", "a/b", "ä", "a\0", long.as_str()] {
            let error = bad.parse::<Name>().unwrap_err();
            assert!(error.found.len() <= NAME_BYTES_MAX && error.to_string().contains("is not a name"), "{bad}");
        }
    }
}
