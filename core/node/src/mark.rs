//! What a completion of the store belongs to, packed into the store's token.

use store::Token;

use crate::slab::{GENERATION_BITS, Key};

/// What waits for a completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    /// An operation's only request to the store, or one step of its zeroing.
    Op(Key),
    /// A part of a write, or one end of a zeroing.
    Part(Key),
    /// The old content of a part's first block.
    Head(Key),
    /// The old content of a part's last block.
    Tail(Key),
    /// An operator's command.
    Command(Key),
    /// Something that a replica gave to its store.
    Work(Key),
}

const KIND_SHIFT: u32 = 32 + GENERATION_BITS;
const _: () = assert!(KIND_SHIFT + 3 == 64, "slot, generation and kind fill a token");

impl Mark {
    pub fn token(self) -> Token {
        let (kind, key) = match self {
            Self::Op(key) => (0, key),
            Self::Part(key) => (1, key),
            Self::Head(key) => (2, key),
            Self::Tail(key) => (3, key),
            Self::Command(key) => (4, key),
            Self::Work(key) => (5, key),
        };
        Token(kind << KIND_SHIFT | u64::from(key.generation) << 32 | u64::from(key.slot))
    }

    /// The mark that gave `token`.
    pub fn of(token: Token) -> Self {
        let slot = u32::try_from(token.0 & u64::from(u32::MAX)).expect("masked to 32 bits");
        let generation = u32::try_from(token.0 >> 32 & ((1 << GENERATION_BITS) - 1)).expect("masked to 29 bits");
        let key = Key { slot, generation };
        match token.0 >> KIND_SHIFT {
            0 => Self::Op(key),
            1 => Self::Part(key),
            2 => Self::Head(key),
            3 => Self::Tail(key),
            4 => Self::Command(key),
            5 => Self::Work(key),
            kind => unreachable!("no token was made with kind {kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Mark;
    use crate::slab::Key;

    #[test]
    fn a_token_gives_its_mark_back() {
        for (slot, generation) in [(0, 0), (7, 1), (u32::MAX, (1 << 29) - 1)] {
            let key = Key { slot, generation };
            let client = [Mark::Op(key), Mark::Part(key), Mark::Head(key), Mark::Tail(key)];
            for mark in client.into_iter().chain([Mark::Command(key), Mark::Work(key)]) {
                assert_eq!(Mark::of(mark.token()), mark);
            }
        }
    }
}
