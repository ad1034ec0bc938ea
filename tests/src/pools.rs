//! Pools of nodes that do not run: whether they are sound, and whether the replicas of a volume in them are equal.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use block::{Checksum, Page, PoolOffset, VolumeId};
use store::{BootId, DiskError, Media};

use crate::stamp::BLOCK;

/// Differences that are told one by one.
const TOLD_MAX: usize = 8;

/// A pool's file. Nothing is written to it.
struct PoolFile(File);

impl Media for PoolFile {
    fn read(&self, at: PoolOffset, into: &mut [Page]) -> Result<(), DiskError> {
        for (page, offset) in into.iter_mut().zip((at.0..).step_by(BLOCK)) {
            let read = self.0.read_exact_at(&mut page.0, offset);
            read.map_err(|error| DiskError::Failed { errno: error.raw_os_error().unwrap_or_default() })?;
        }
        Ok(())
    }

    fn write_zeroes(&self, _at: PoolOffset, _len_bytes: u64) -> Result<(), DiskError> {
        unreachable!("looking at a pool changes nothing")
    }
}

/// Reads all of every pool.
///
/// # Errors
/// A sentence that says what differs, or what is not what was written.
pub fn compare(pools: &[PathBuf], volume: u64) -> Result<usize, String> {
    let all = pools.iter().map(|pool| blocks(pool, volume)).collect::<Result<Vec<_>, _>>()?;
    agree(&all).map_err(|difference| format!("volume {volume}: {difference}"))
}

fn agree(all: &[Vec<(u64, Checksum)>]) -> Result<usize, String> {
    let (first, rest) = all.split_first().ok_or("there is nothing to compare")?;
    if first.is_empty() {
        return Err("the first pool holds nothing of it".to_owned());
    }
    match rest.iter().position(|other| first != other) {
        Some(index) => Err(format!("pool {} differs from the first: {}", index + 2, differences(first, &rest[index]))),
        None => Ok(first.len()),
    }
}

fn blocks(pool: &Path, volume: u64) -> Result<Vec<(u64, Checksum)>, String> {
    let failed = |what: &dyn std::fmt::Display| format!("{}: {what}", pool.display());
    let file = File::open(pool).map_err(|error| failed(&error))?;
    let bytes = file.metadata().map_err(|error| failed(&error))?.len();
    let (media, boot) = (PoolFile(file), BootId(0));
    let report = store::check(&media, bytes, boot, &mut |_, _| {}).map_err(|error| failed(&error))?;
    if !report.is_sound() {
        return Err(failed(&format!("{:?}", report.bad)));
    }
    store::volume_checksums(&media, bytes, boot, VolumeId(volume)).map_err(|error| failed(&error))
}

fn differences(one: &[(u64, Checksum)], other: &[(u64, Checksum)]) -> String {
    let missing = |from: &[(u64, Checksum)], of: &[(u64, Checksum)]| -> Vec<u64> {
        of.iter().filter(|block| !from.contains(block)).map(|(block, _)| *block).take(TOLD_MAX).collect()
    };
    format!(
        "blocks {:?} of one and {:?} of the other, of {} and {}",
        missing(one, other),
        missing(other, one),
        other.len(),
        one.len()
    )
}

#[cfg(test)]
mod tests {
    use block::Checksum;

    use super::agree;

    #[test]
    fn one_block_that_differs_or_is_missing_is_found_and_named() {
        let list = |bytes: &[u8]| -> Vec<(u64, Checksum)> {
            (0..).zip(bytes).map(|(at, byte)| (at, Checksum::of(&[*byte]))).collect()
        };
        assert_eq!(agree(&[list(b"abc"), list(b"abc")]), Ok(3));
        let found = agree(&[list(b"abc"), list(b"abc"), list(b"aXc")]).unwrap_err();
        assert!(found.starts_with("pool 3 differs from the first: blocks [1] of one and [1] of the other"), "{found}");
        assert!(agree(&[list(b"abc"), list(b"ab")]).unwrap_err().contains("of one and [2]"));
        assert!(agree(&[list(b""), list(b"")]).is_err(), "equal because nothing was compared");
    }
}
