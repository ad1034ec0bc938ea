//! Blocks that say where they belong and which write wrote them.

/// Size of a stamped block.
pub const BLOCK: usize = 4096;

const MARK: u64 = u64::from_le_bytes(*b"stamped\0");

/// What a block turned out to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Never written, or discarded.
    Zero,
    /// The bytes of the write with this number, all of them, at this block.
    Stamped(u64),
}

/// Appends the bytes that write `seq` puts into `block`.
pub fn encode(block: u64, seq: u64, bytes: &mut Vec<u8>) {
    let words = [MARK, block, seq];
    let start = bytes.len();
    bytes.extend(words.into_iter().flat_map(u64::to_le_bytes));
    let mut word = block ^ seq.rotate_left(32) ^ MARK;
    while bytes.len() < start + BLOCK {
        word = word.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

/// Tells what the bytes of `block` are.
///
/// # Errors
/// A sentence when they are neither zero nor exactly what one write put there.
pub fn decode(block: u64, bytes: &[u8]) -> Result<Content, String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Content::Zero);
    }
    let word = |index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().expect("eight bytes"));
    let (mark, home, seq) = (word(0), word(1), word(2));
    if mark != MARK {
        return Err(format!("block {block} holds bytes nobody wrote: {:02x?}", &bytes[..32]));
    }
    if home != block {
        return Err(format!("block {block} holds block {home} of write {seq}"));
    }
    let mut expected = Vec::with_capacity(BLOCK);
    encode(block, seq, &mut expected);
    match bytes.iter().zip(&expected).position(|(found, wanted)| found != wanted) {
        None => Ok(Content::Stamped(seq)),
        Some(at) => Err(format!("block {block} of write {seq} is torn at byte {at}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Content, decode, encode};

    #[test]
    fn a_stamp_is_known_again_and_every_damage_is_named() {
        let mut bytes = Vec::new();
        encode(7, 99, &mut bytes);
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(decode(7, &bytes), Ok(Content::Stamped(99)));
        assert!(decode(8, &bytes).unwrap_err().contains("holds block 7"));
        bytes[4000] ^= 1;
        assert!(decode(7, &bytes).unwrap_err().contains("torn at byte 4000"));
        assert_eq!(decode(7, &[0; BLOCK]), Ok(Content::Zero));
        assert!(decode(7, &[1; BLOCK]).is_err());
    }
}
