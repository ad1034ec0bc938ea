//! What a cluster must hold: an oracle that is nothing but the commands that succeeded.

use std::collections::BTreeMap;

use tests::random::Random;

/// Bytes of a block.
pub const BLOCK: u64 = BLOCK_LEN as u64;
const BLOCK_LEN: usize = 4096;
/// A volume grows and is made by this.
pub const PIECE: u64 = 4 << 20;

/// What a volume or a snapshot holds: the number last written to each block that is not zeroes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Image {
    pub blocks: BTreeMap<u64, u64>,
    pub size_bytes: u64,
}

impl Image {
    pub fn of_zeroes(size_bytes: u64) -> Self {
        Self { blocks: BTreeMap::new(), size_bytes }
    }

    /// A range of at most so many blocks.
    pub fn any_range(&self, random: &mut Random, blocks_max: u64) -> (u64, u64) {
        let count = 1 + random.below(blocks_max);
        // The end is where a volume has grown, and is worth more than its share.
        let last = self.size_bytes / BLOCK - count;
        let first = if random.one_in(4) { last - random.below(last.min(64) + 1) } else { random.below(last + 1) };
        (first, count)
    }

    pub fn write(&mut self, first: u64, count: u64, number: u64) {
        self.blocks.extend((first..first + count).map(|block| (block, number)));
    }

    pub fn clear(&mut self, first: u64, count: u64) {
        self.blocks.retain(|block, _| *block < first || *block >= first + count);
    }

    /// Compares a piece of it.
    ///
    /// # Errors
    /// Which block is not what it must be.
    pub fn check(&self, first: u64, bytes: &[u8]) -> Result<(), String> {
        for (block, found) in (first..).zip(bytes.chunks_exact(BLOCK_LEN)) {
            let number = self.blocks.get(&block).copied();
            if found != content(block, number) {
                let found = u64::from_le_bytes(found[..8].try_into().expect("8 bytes"));
                return Err(format!("block {block} begins with number {found}, and {number:?} was written"));
            }
        }
        Ok(())
    }
}

/// What a block holds to which this number was written.
pub fn content(block: u64, number: Option<u64>) -> Vec<u8> {
    let Some(number) = number else { return vec![0; BLOCK_LEN] };
    [number, block].map(u64::to_le_bytes).concat().repeat(BLOCK_LEN / 16)
}

/// A volume.
#[derive(Clone, Debug)]
pub struct Volume {
    pub image: Image,
    pub replicas: u64,
}

/// A snapshot, of one volume or of several.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub group: Option<String>,
    pub image: Image,
}

/// Everything.
#[derive(Default, Debug)]
pub struct Expected {
    pub volumes: BTreeMap<String, Volume>,
    pub snapshots: BTreeMap<String, Snapshot>,
    last: u64,
}

impl Expected {
    /// A number that was never used.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Some volume's name.
    pub fn any_volume(&self, random: &mut Random) -> Option<String> {
        (!self.volumes.is_empty()).then(|| self.volumes.keys().nth(random.index(self.volumes.len())).cloned())?
    }

    /// Some snapshot's name.
    pub fn any_snapshot(&self, random: &mut Random) -> Option<String> {
        (!self.snapshots.is_empty()).then(|| self.snapshots.keys().nth(random.index(self.snapshots.len())).cloned())?
    }

    /// The volume is as it is now in a snapshot of this name.
    pub fn cut(&mut self, volume: &str, snapshot: &str, group: Option<&str>) {
        let image = self.volumes[volume].image.clone();
        self.snapshots.insert(snapshot.to_owned(), Snapshot { group: group.map(str::to_owned), image });
    }

    pub fn image(&mut self, volume: &str) -> &mut Image {
        &mut self.volumes.get_mut(volume).expect("it is there").image
    }
}

#[test]
fn a_block_that_is_wrong_is_named() {
    let mut image = Image::of_zeroes(PIECE);
    image.write(1, 2, 7);
    let mut bytes = [content(0, None), content(1, Some(7)), content(2, Some(7))].concat();
    assert_eq!(image.check(0, &bytes), Ok(()));
    // Another block's content, an older one, and what should have been cleared.
    assert!(image.check(1, &bytes).unwrap_err().contains("block 1"));
    bytes[2 * BLOCK_LEN] = 6;
    assert!(image.check(0, &bytes).unwrap_err().contains("block 2 begins with number 6"));
    image.clear(1, 1);
    assert!(image.check(0, &bytes).unwrap_err().contains("block 1"));
}
