//! Random bytes that a client draws.

use std::fmt;

use super::ClientError;

/// Bytes of a request id and of a token.
const BYTES: usize = 16;

/// Names one change, so that it happens once however often it is asked for.
///
/// # Errors
/// The system has no random numbers.
pub fn request_id() -> Result<Vec<u8>, ClientError> {
    draw().map(Vec::from)
}

/// The secret of an attachment: who knows it is the client.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; BYTES]);

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn draw() -> Result<Self, ClientError> {
        draw().map(Self)
    }

    /// That of a client which kept it as text.
    pub fn of_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_hex)?;
        Some(Self(number.to_be_bytes()))
    }

    /// For the cluster, which keeps a hash.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// For the client: 32 lowercase hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Shows nothing, so that no log does.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

fn draw() -> Result<[u8; BYTES], ClientError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_shown_to_its_client_only() {
        let mut bytes = [0; 16];
        bytes[0] = 0x0a;
        bytes[15] = 0xff;
        let token = Token(bytes);
        assert_eq!(token.hex(), "0a0000000000000000000000000000ff");
        assert_eq!(Token::of_hex(&token.hex()).unwrap().0, bytes);
        for bad in ["", "0a", "0a0000000000000000000000000000f", "0a0000000000000000000000000000fg"] {
            assert!(Token::of_hex(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{token:?}"), "Token");
        assert_ne!(Token::draw().unwrap(), Token::draw().unwrap());
    }
}
