//! Who may use a volume: attachments, each with a generation and a secret token.
//!
//! A generation is raised by every attach and every detach and never used again. Who serves the volume lets in only
//! clients of the attachments it was told last, and drops the others before it says that it knows. So a client of an
//! ended attachment can change nothing once its node has confirmed the later generation, however late its bytes arrive.

use crate::name::Name;

/// Read-only attachments of one volume.
pub const READERS_MAX: usize = 256;

/// Number of a change to a volume's attachments; 0 stands before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Generation(pub u64);

/// A hash of the token that a client proves its attachment with. The token itself is nowhere in the state.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash(pub [u8; 32]);

impl std::fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessMode {
    /// Read and write, alone.
    ReadWrite,
    /// Read, beside other readers.
    ReadOnly,
}

/// Permission of one client to use a volume.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attachment {
    /// Who.
    pub client: Name,
    /// How.
    pub mode: AccessMode,
    /// Its number.
    pub generation: Generation,
    /// What proves it.
    pub token: TokenHash,
}

/// All of one volume: one writer, or readers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attachments {
    /// Number of the last change.
    pub generation: Generation,
    held: Vec<Attachment>,
}

/// Why an attachment was not made. Nothing was changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AttachError {
    /// Somebody else has the volume in a way that excludes this.
    Held(Attachment),
    /// There are [`READERS_MAX`].
    TooMany,
}

impl Attachments {
    /// Those in force, oldest first.
    #[must_use]
    pub fn held(&self) -> &[Attachment] {
        &self.held
    }

    /// Adds one. A client that has one already gets a new one in its place: whoever it was before, if it still lives, is
    /// shut out.
    pub(crate) fn attach(
        &mut self,
        client: &Name,
        mode: AccessMode,
        token: TokenHash,
    ) -> Result<Generation, AttachError> {
        let others = || self.held.iter().filter(|held| held.client != *client);
        let excludes = |held: &&Attachment| mode == AccessMode::ReadWrite || held.mode == AccessMode::ReadWrite;
        if let Some(holder) = others().find(excludes) {
            return Err(AttachError::Held(holder.clone()));
        }
        if others().count() >= READERS_MAX {
            return Err(AttachError::TooMany);
        }
        self.held.retain(|held| held.client != *client);
        self.raise();
        self.held.push(Attachment { client: client.clone(), mode, generation: self.generation, token });
        Ok(self.generation)
    }

    /// Ends the client's, or all; answers the new generation if there was one.
    pub(crate) fn detach(&mut self, client: Option<&Name>) -> Option<Generation> {
        let before = self.held.len();
        self.held.retain(|held| client.is_some_and(|client| held.client != *client));
        if self.held.len() == before {
            return None;
        }
        self.raise();
        Some(self.generation)
    }

    fn raise(&mut self) {
        self.generation.0 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{AccessMode, AttachError, Attachments, Generation, READERS_MAX, TokenHash};
    use crate::name::Name;

    fn client(name: &str) -> Name {
        name.parse().unwrap()
    }

    /// Every pair of a first and a second attachment: whether the second is let in.
    #[test]
    fn a_writer_is_alone_and_readers_are_together() {
        use AccessMode::{ReadOnly, ReadWrite};
        let rows = [
            (ReadWrite, "a", ReadWrite, "b", false),
            (ReadWrite, "a", ReadOnly, "b", false),
            (ReadOnly, "a", ReadWrite, "b", false),
            (ReadOnly, "a", ReadOnly, "b", true),
            (ReadWrite, "a", ReadWrite, "a", true),
            (ReadWrite, "a", ReadOnly, "a", true),
            (ReadOnly, "a", ReadWrite, "a", true),
            (ReadOnly, "a", ReadOnly, "a", true),
        ];
        for (first, one, second, two, fits) in rows {
            let mut attachments = Attachments::default();
            attachments.attach(&client(one), first, TokenHash([1; 32])).unwrap();
            let result = attachments.attach(&client(two), second, TokenHash([2; 32]));
            match result {
                Ok(generation) => assert_eq!(generation, Generation(2)),
                Err(AttachError::Held(holder)) => assert_eq!(holder.client, client(one)),
                Err(AttachError::TooMany) => panic!("there are two"),
            }
            let held = if !fits || one == two { 1 } else { 2 };
            assert_eq!((attachments.held().len(), attachments.generation.0), (held, 1 + u64::from(fits)));
        }
    }

    #[test]
    fn generations_only_rise_and_every_end_of_an_attachment_raises_one() {
        let mut attachments = Attachments::default();
        assert_eq!(attachments.detach(None), None);
        attachments.attach(&client("a"), AccessMode::ReadWrite, TokenHash([1; 32])).unwrap();
        assert_eq!(attachments.detach(Some(&client("b"))), None);
        assert_eq!(attachments.detach(Some(&client("a"))), Some(Generation(2)));
        assert_eq!(attachments.attach(&client("a"), AccessMode::ReadWrite, TokenHash([1; 32])), Ok(Generation(3)));
        assert_eq!(attachments.detach(None), Some(Generation(4)));
    }

    #[test]
    fn readers_are_limited() {
        let mut attachments = Attachments::default();
        for reader in 0..READERS_MAX {
            attachments.attach(&client(&format!("r{reader}")), AccessMode::ReadOnly, TokenHash([0; 32])).unwrap();
        }
        let result = attachments.attach(&client("one-more"), AccessMode::ReadOnly, TokenHash([0; 32]));
        assert_eq!(result, Err(AttachError::TooMany));
        assert!(attachments.attach(&client("r7"), AccessMode::ReadOnly, TokenHash([9; 32])).is_ok());
    }
}
