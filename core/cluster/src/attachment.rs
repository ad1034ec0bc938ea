//! Who may use a volume: attachments, each with a generation and a secret token.
//!
//! A generation is raised by every attach and every detach and never used again. Who serves the volume lets in only
//! clients of the attachments it was told last, and drops the others before it says that it knows. So a client of an
//! ended attachment can change nothing once its node has confirmed the later generation, however late its bytes arrive.

use crate::name::Name;

/// Attachments of one volume that are beside each other.
pub const TOGETHER_MAX: usize = 256;

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
    /// Read and write, beside others that do. Each is fenced by itself; what they do to the same blocks at one time is theirs
    /// to agree on.
    Shared,
}

impl AccessMode {
    /// Whether two clients may have a volume so at one time. Readers are not beside writers: a reader takes what it has read
    /// for what is there.
    fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::ReadOnly, Self::ReadOnly) | (Self::Shared, Self::Shared) => true,
            (Self::ReadWrite, _) | (_, Self::ReadWrite) => false,
            (Self::ReadOnly, Self::Shared) | (Self::Shared, Self::ReadOnly) => false,
        }
    }
}

/// What a client that asks for an attachment takes to be so already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Claim {
    /// Nothing: one that it has is replaced.
    #[default]
    Take,
    /// It may have one in this mode, which stays as it is, and so does whoever uses it.
    Keep,
    /// It has one in this mode, which is replaced; or has it shared and asks to write, and then it stays shared; or asks to
    /// read only from now on, and proves by the token of its attachment that it is this one that it gives up. One that was ended meanwhile is not made again: who comes late with the
    /// permission of yesterday must not take the volume from whoever is to have it today.
    Renew,
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

/// All of one volume: one writer, or readers, or those who share it.
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
    /// There are [`TOGETHER_MAX`].
    TooMany,
    /// The client has the volume in the other mode.
    Otherwise(AccessMode),
    /// The client does not have the volume in this mode.
    NotHeld,
}

impl Attachments {
    /// Those in force, oldest first.
    #[must_use]
    pub fn held(&self) -> &[Attachment] {
        &self.held
    }

    /// Whether one can be added.
    pub(crate) fn check(
        &self,
        client: &Name,
        mode: AccessMode,
        token: TokenHash,
        claim: Claim,
    ) -> Result<(), AttachError> {
        self.check_claim(client, mode, token, claim)?;
        let others = || self.held.iter().filter(|held| held.client != *client);
        if let Some(holder) = others().find(|held| !mode.goes_with(held.mode)) {
            return Err(AttachError::Held(holder.clone()));
        }
        if others().count() >= TOGETHER_MAX {
            return Err(AttachError::TooMany);
        }
        Ok(())
    }

    /// What a client gets that asks for this mode. Whoever renews what it may write has it as it was given to it: alone, or
    /// shared; that is not the client's to say.
    pub(crate) fn mode_for(&self, client: &Name, mode: AccessMode, claim: Claim) -> AccessMode {
        let is_shared = self.held.iter().any(|held| held.client == *client && held.mode == AccessMode::Shared);
        match (claim, mode) {
            (Claim::Renew, AccessMode::ReadWrite) if is_shared => AccessMode::Shared,
            (Claim::Take | Claim::Keep | Claim::Renew, _) => mode,
        }
    }

    fn check_claim(&self, client: &Name, mode: AccessMode, token: TokenHash, claim: Claim) -> Result<(), AttachError> {
        let held = self.held.iter().find(|held| held.client == *client);
        let gives_up = |held: &Attachment| mode == AccessMode::ReadOnly && held.token == token;
        match (claim, held) {
            (Claim::Take, _) | (Claim::Keep, None) => Ok(()),
            (Claim::Keep | Claim::Renew, Some(held)) if held.mode == mode => Ok(()),
            (Claim::Renew, Some(held)) if gives_up(held) => Ok(()),
            (Claim::Keep, Some(held)) => Err(AttachError::Otherwise(held.mode)),
            (Claim::Renew, None | Some(_)) => Err(AttachError::NotHeld),
        }
    }

    /// That of a client which asks for what it has, in this mode: the token tells, or that any will do.
    pub(crate) fn kept(&self, client: &Name, mode: AccessMode, token: TokenHash, claim: Claim) -> Option<Generation> {
        let keeps = |held: &Attachment| claim == Claim::Keep || held.token == token;
        let same = |held: &&Attachment| held.client == *client && held.mode == mode && keeps(held);
        self.held.iter().find(same).map(|held| held.generation)
    }

    /// Adds one that was checked. A client that has one already gets a new one in its place, and whoever used the old one
    /// is shut out.
    pub(crate) fn attach(&mut self, client: &Name, mode: AccessMode, token: TokenHash) -> Generation {
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
    use super::{AccessMode, AttachError, Attachments, Claim, Generation, TOGETHER_MAX, TokenHash};
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
        claimed(attachments, who, mode, token, Claim::Take)
    }

    fn claimed(
        attachments: &mut Attachments,
        who: &str,
        mode: AccessMode,
        token: u8,
        claim: Claim,
    ) -> Result<Generation, AttachError> {
        let mode = attachments.mode_for(&client(who), mode, claim);
        attachments.check(&client(who), mode, TokenHash([token; 32]), claim)?;
        let kept = attachments.kept(&client(who), mode, TokenHash([token; 32]), claim);
        Ok(kept.unwrap_or_else(|| attachments.attach(&client(who), mode, TokenHash([token; 32]))))
    }

    /// Every pair of a first and a second attachment: whether the second is let in.
    #[test]
    fn a_writer_is_alone_and_others_are_with_their_kind() {
        use AccessMode::{ReadOnly, ReadWrite, Shared};
        let rows = [
            (ReadWrite, "a", ReadWrite, "b", false),
            (ReadWrite, "a", ReadOnly, "b", false),
            (ReadOnly, "a", ReadWrite, "b", false),
            (ReadOnly, "a", ReadOnly, "b", true),
            (ReadWrite, "a", ReadWrite, "a", true),
            (ReadWrite, "a", ReadOnly, "a", true),
            (ReadOnly, "a", ReadWrite, "a", true),
            (ReadOnly, "a", ReadOnly, "a", true),
            (Shared, "a", Shared, "b", true),
            (Shared, "a", ReadWrite, "b", false),
            (Shared, "a", ReadOnly, "b", false),
            (ReadWrite, "a", Shared, "b", false),
            (ReadOnly, "a", Shared, "b", false),
            (Shared, "a", ReadWrite, "a", true),
            (ReadWrite, "a", Shared, "a", true),
        ];
        for (first, one, second, two, fits) in rows {
            let mut attachments = Attachments::default();
            attach(&mut attachments, one, first, 1).unwrap();
            match attach(&mut attachments, two, second, 2) {
                Ok(generation) => assert_eq!(generation, Generation(2)),
                Err(AttachError::Held(holder)) => assert_eq!(holder.client, client(one)),
                Err(error) => panic!("{error:?}"),
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

    /// What a client has, what it asks for, and how: what it gets.
    #[test]
    fn a_claim_that_does_not_hold_is_refused_and_one_that_is_kept_stays() {
        use AccessMode::{ReadOnly, ReadWrite, Shared};
        use AttachError::{NotHeld, Otherwise};
        let rows = [
            (None, ReadWrite, Claim::Keep, Ok(Generation(1))),
            (Some(ReadWrite), ReadWrite, Claim::Keep, Ok(Generation(1))),
            (Some(ReadOnly), ReadOnly, Claim::Keep, Ok(Generation(1))),
            (Some(ReadWrite), ReadOnly, Claim::Keep, Err(Otherwise(ReadWrite))),
            (Some(ReadOnly), ReadWrite, Claim::Keep, Err(Otherwise(ReadOnly))),
            (None, ReadWrite, Claim::Renew, Err(NotHeld)),
            (Some(ReadWrite), ReadWrite, Claim::Renew, Ok(Generation(2))),
            (Some(ReadWrite), ReadOnly, Claim::Renew, Err(NotHeld)),
            (Some(ReadOnly), ReadWrite, Claim::Renew, Err(NotHeld)),
            (Some(ReadWrite), ReadOnly, Claim::Take, Ok(Generation(2))),
            (Some(Shared), Shared, Claim::Keep, Ok(Generation(1))),
            (Some(Shared), ReadWrite, Claim::Keep, Err(Otherwise(Shared))),
            (Some(ReadWrite), Shared, Claim::Keep, Err(Otherwise(ReadWrite))),
            (Some(Shared), ReadWrite, Claim::Renew, Ok(Generation(2))),
            (Some(Shared), ReadOnly, Claim::Renew, Err(NotHeld)),
            (Some(ReadWrite), Shared, Claim::Renew, Err(NotHeld)),
            (None, Shared, Claim::Renew, Err(NotHeld)),
        ];
        for (has, mode, claim, expected) in rows {
            let mut attachments = Attachments::default();
            if let Some(has) = has {
                attach(&mut attachments, "a", has, 1).unwrap();
            }
            let before = attachments.clone();
            let found = claimed(&mut attachments, "a", mode, 2, claim);
            assert_eq!(found, expected, "{has:?} {mode:?} {claim:?}");
            let stays = found.is_err() || (claim == Claim::Keep && has.is_some());
            assert_eq!(attachments == before, stays, "{has:?} {mode:?} {claim:?}");
        }
    }

    #[test]
    fn nobody_renews_what_another_client_has() {
        let mut attachments = Attachments::default();
        attach(&mut attachments, "a", AccessMode::ReadWrite, 1).unwrap();
        let found = claimed(&mut attachments, "b", AccessMode::ReadWrite, 2, Claim::Renew);
        assert_eq!(found, Err(AttachError::NotHeld));
        let found = claimed(&mut attachments, "b", AccessMode::ReadWrite, 2, Claim::Keep);
        assert!(matches!(found, Err(AttachError::Held(_))), "{found:?}");
    }

    /// Whoever prepares a volume for readers becomes one of them, without a moment in which it has nothing; and not with the
    /// permission of yesterday.
    #[test]
    fn a_writer_becomes_a_reader_by_its_own_token_only() {
        use AccessMode::{ReadOnly, ReadWrite};
        let mut attachments = Attachments::default();
        attach(&mut attachments, "a", ReadWrite, 1).unwrap();
        let lessen = |attachments: &mut Attachments, token| claimed(attachments, "a", ReadOnly, token, Claim::Renew);
        assert_eq!(lessen(&mut attachments, 2), Err(AttachError::NotHeld));
        assert_eq!(lessen(&mut attachments, 1), Ok(Generation(2)));
        assert_eq!(attachments.held()[0].mode, ReadOnly);
        assert_eq!(claimed(&mut attachments, "a", ReadWrite, 1, Claim::Renew), Err(AttachError::NotHeld));
        attach(&mut attachments, "b", ReadOnly, 3).unwrap();
        // It was taken away and given again meanwhile.
        let mut again = Attachments::default();
        attach(&mut again, "a", ReadWrite, 5).unwrap();
        assert_eq!(lessen(&mut again, 1), Err(AttachError::NotHeld));
    }

    /// What a node has shared it cannot make its own by renewing it.
    #[test]
    fn what_is_shared_stays_shared_and_each_ends_by_itself() {
        let mut attachments = Attachments::default();
        attach(&mut attachments, "a", AccessMode::Shared, 1).unwrap();
        attach(&mut attachments, "b", AccessMode::Shared, 2).unwrap();
        let renewed = claimed(&mut attachments, "a", AccessMode::ReadWrite, 3, Claim::Renew);
        assert_eq!(renewed, Ok(Generation(3)));
        let held = |attachments: &Attachments| -> Vec<(String, AccessMode, u64)> {
            let one = |held: &super::Attachment| (held.client.to_string(), held.mode, held.generation.0);
            attachments.held().iter().map(one).collect()
        };
        let both = [("b".to_owned(), AccessMode::Shared, 2), ("a".to_owned(), AccessMode::Shared, 3)];
        assert_eq!(held(&attachments), both);
        assert_eq!(attachments.detach(Some(&client("b"))), Some(Generation(4)));
        assert_eq!(held(&attachments), both[1..]);
    }

    #[test]
    fn readers_are_limited() {
        let mut attachments = Attachments::default();
        for reader in 0..TOGETHER_MAX {
            attach(&mut attachments, &format!("r{reader}"), AccessMode::ReadOnly, 0).unwrap();
        }
        assert_eq!(attach(&mut attachments, "one-more", AccessMode::ReadOnly, 0), Err(AttachError::TooMany));
        assert!(attach(&mut attachments, "r7", AccessMode::ReadOnly, 9).is_ok());
    }
}
