//! The frame around every record on disk: a version, and a checksum over the record and its place, so that a record that
//! rotted, was torn, or stands where another belongs is noticed.

/// Version of the frame and of the record in it.
const VERSION: u8 = 1;
/// Version, crc32c.
const HEADER_BYTES: usize = 5;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub column: &'static str,
    pub key: &'a [u8],
}

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum Flaw {
    /// There is less than a header.
    #[error("it has only {0} bytes")]
    Short(usize),
    /// Written by a later program, or rotten.
    #[error("it has version {0}, and this program knows version {VERSION}")]
    Version(u8),
    /// Rotten, torn, or of another place.
    #[error("its checksum does not match")]
    Checksum,
}

/// Puts a record into its frame.
pub(super) fn seal(place: Place<'_>, record: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + record.len());
    bytes.push(VERSION);
    bytes.extend_from_slice(&checksum(place, VERSION, record).to_le_bytes());
    bytes.extend_from_slice(record);
    bytes
}

/// Takes a record out of its frame.
pub(super) fn open<'a>(place: Place<'_>, bytes: &'a [u8]) -> Result<&'a [u8], Flaw> {
    let Some((header, record)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(Flaw::Short(bytes.len()));
    };
    let [version, checksum_bytes @ ..] = *header;
    if checksum(place, version, record) != u32::from_le_bytes(checksum_bytes) {
        return Err(Flaw::Checksum);
    }
    if version == VERSION { Ok(record) } else { Err(Flaw::Version(version)) }
}

fn checksum(place: Place<'_>, version: u8, record: &[u8]) -> u32 {
    let sum = crc32c::crc32c(place.column.as_bytes());
    let sum = crc32c::crc32c_append(sum, place.key);
    let sum = crc32c::crc32c_append(sum, &[version]);
    crc32c::crc32c_append(sum, record)
}

#[cfg(test)]
mod tests {
    use super::{Flaw, Place, open, seal};

    const PLACE: Place<'static> = Place { column: "log", key: b"7" };

    #[test]
    fn a_record_comes_back_as_it_was() {
        for record in [&b""[..], b"x", b"some record"] {
            assert_eq!(open(PLACE, &seal(PLACE, record)), Ok(record));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = seal(PLACE, b"some record");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(PLACE, &flipped), Err(Flaw::Checksum), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(open(PLACE, &whole[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn a_record_in_the_place_of_another_is_noticed() {
        let sealed = seal(PLACE, b"some record");
        assert_eq!(open(Place { key: b"8", ..PLACE }, &sealed), Err(Flaw::Checksum));
        assert_eq!(open(Place { column: "meta", ..PLACE }, &sealed), Err(Flaw::Checksum));
    }

    #[test]
    fn a_later_version_is_told_from_rot() {
        let mut sealed = seal(PLACE, b"x");
        sealed[0] = 2;
        let sum = super::checksum(PLACE, 2, b"x").to_le_bytes();
        sealed[1..5].copy_from_slice(&sum);
        assert_eq!(open(PLACE, &sealed), Err(Flaw::Version(2)));
    }
}
