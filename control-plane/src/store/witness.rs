//! A small file beside the database that says how far the database was written.
//!
//! A database whose log is cut short, at a place where a crash could have cut it, opens without a word and has forgotten
//! votes and entries that others count on. The witness is noted after each synced write, without a sync of its own: it
//! may be late, but never early. A database that ends before it has lost something.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Magic, sequence, crc32c.
const FILE_BYTES: usize = 20;
const MAGIC: [u8; 8] = *b"PLNWTNS1";

/// The open file.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    noted: u64,
}

/// What is in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Testimony {
    /// The database had come to here.
    Noted(u64),
    /// The file is no witness, or rotten.
    Invalid,
}

impl Witness {
    /// Makes the file, durably, for a database that nobody counts on yet.
    pub(super) fn create(path: &Path, sequence: u64) -> io::Result<Self> {
        let draft = path.with_extension("new");
        fs::write(&draft, encode(sequence))?;
        File::open(&draft)?.sync_all()?;
        fs::rename(&draft, path)?;
        // The folder that the file is in, and the one that this folder may have been made in just now.
        for folder in path.ancestors().skip(1).take(2).filter(|folder| !folder.as_os_str().is_empty()) {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file: OpenOptions::new().write(true).open(path)?, noted: sequence })
    }

    /// Opens the file; `None` if there is none.
    pub(super) fn open(path: &Path) -> io::Result<Option<(Self, Testimony)>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let testimony = decode(&bytes);
        let noted = match testimony {
            Testimony::Noted(sequence) => sequence,
            Testimony::Invalid => 0,
        };
        Ok(Some((Self { file: OpenOptions::new().write(true).open(path)?, noted }, testimony)))
    }

    /// Notes that everything up to `sequence` has been synced.
    pub(super) fn note(&mut self, sequence: u64) -> io::Result<()> {
        if sequence > self.noted {
            self.file.write_all_at(&encode(sequence), 0)?;
            self.noted = sequence;
        }
        Ok(())
    }
}

fn encode(sequence: u64) -> [u8; FILE_BYTES] {
    let mut bytes = [0; FILE_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&sequence.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[..16]);
    bytes[16..].copy_from_slice(&sum.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Testimony {
    let Some(sequence) = bytes.get(8..16).and_then(|part| part.try_into().ok()).map(u64::from_be_bytes) else {
        return Testimony::Invalid;
    };
    if bytes == encode(sequence) { Testimony::Noted(sequence) } else { Testimony::Invalid }
}

#[cfg(test)]
mod tests {
    use super::{Testimony, Witness, decode, encode};

    #[test]
    fn what_was_noted_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        assert!(Witness::open(&path).unwrap().is_none());
        let mut witness = Witness::create(&path, 5).unwrap();
        witness.note(9).unwrap();
        witness.note(7).unwrap();
        let (_, testimony) = Witness::open(&path).unwrap().unwrap();
        assert_eq!(testimony, Testimony::Noted(9));
    }

    #[test]
    fn a_rotten_witness_says_nothing() {
        let whole = encode(77);
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Testimony::Invalid, "bit {bit}");
        }
        assert_eq!(decode(&whole[..19]), Testimony::Invalid);
        assert_eq!(decode(b""), Testimony::Invalid);
    }
}
