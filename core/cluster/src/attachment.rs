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
    /// Those in force, oldest first.
    pub held: Vec<Attachment>,
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

    /// Whether one can be added.
    pub(crate) fn check(&self, client: &Name, mode: AccessMode) -> Result<(), AttachError> {
        let others = || self.held.iter().filter(|held| held.client != *client);
        let excludes = |held: &&Attachment| mode == AccessMode::ReadWrite || held.mode == AccessMode::ReadWrite;
        if let Some(holder) = others().find(excludes) {
            return Err(AttachError::Held(holder.clone()));
        }
        if others().count() >= READERS_MAX {
            return Err(AttachError::TooMany);
        }
        Ok(())
    }

    /// Adds one that was checked. A client that has one already gets a new one in its place, and whoever used the old one
    /// is shut out; unless mode and token are the same: then it asks for what it has.
    pub(crate) fn attach(&mut self, client: &Name, mode: AccessMode, token: TokenHash) -> Generation {
        let same = |held: &&Attachment| held.client == *client && held.mode == mode && held.token == token;
        if let Some(held) = self.held.iter().find(same) {
            return held.generation;
        }
        self.held.retain(|held| held.client != *client);
        self.raise();
        self.held.push(Attachment { client: client.clone(), mode, generation: self.generation, token });
        self.generation
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

    /// Whoever is let in without an attachment is shut out from here on, too.
    pub(crate) fn raise(&mut self) {
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

    fn attach(
        attachments: &mut Attachments,
        who: &str,
        mode: AccessMode,
        token: u8,
    ) -> Result<Generation, AttachError> {
        attachments.check(&client(who), mode)?;
        Ok(attachments.attach(&client(who), mode, TokenHash([token; 32])))
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
            attach(&mut attachments, one, first, 1).unwrap();
            match attach(&mut attachments, two, second, 2) {
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
        attach(&mut attachments, "a", AccessMode::ReadWrite, 1).unwrap();
        assert_eq!(attachments.detach(Some(&client("b"))), None);
        assert_eq!(attachments.detach(Some(&client("a"))), Some(Generation(2)));
        assert_eq!(attach(&mut attachments, "a", AccessMode::ReadWrite, 1), Ok(Generation(3)));
        assert_eq!(attachments.detach(None), Some(Generation(4)));
    }

    #[test]
    fn who_asks_again_for_what_it_has_is_not_shut_out() {
        let mut attachments = Attachments::default();
        assert_eq!(attach(&mut attachments, "a", AccessMode::ReadWrite, 1), Ok(Generation(1)));
        assert_eq!(attach(&mut attachments, "a", AccessMode::ReadWrite, 1), Ok(Generation(1)));
        assert_eq!(attach(&mut attachments, "a", AccessMode::ReadWrite, 2), Ok(Generation(2)));
        assert_eq!(attach(&mut attachments, "a", AccessMode::ReadOnly, 2), Ok(Generation(3)));
        assert_eq!(attachments.held().len(), 1);
    }

    #[test]
    fn readers_are_limited() {
        let mut attachments = Attachments::default();
        for reader in 0..READERS_MAX {
            attach(&mut attachments, &format!("r{reader}"), AccessMode::ReadOnly, 0).unwrap();
        }
        assert_eq!(attach(&mut attachments, "one-more", AccessMode::ReadOnly, 0), Err(AttachError::TooMany));
        assert!(attach(&mut attachments, "r7", AccessMode::ReadOnly, 9).is_ok());
    }
}
