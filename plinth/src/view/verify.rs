//! What came of comparing a volume's replicas.

use std::collections::{BTreeMap, BTreeSet};

use proto::v1;
use serde::Serialize;

use crate::output::{size, table};

/// Differences that are shown one by one; the others are counted.
const SHOWN_MAX: usize = 1000;
/// The same for people.
const LISTED_MAX: usize = 20;

/// Of a block.
const BLOCK_BYTES: u64 = 4096;

/// A sum over ranges, from the volume's beginning on.
#[derive(Debug, Serialize)]
pub struct Verification {
    volume: String,
    /// Whether all of it was read.
    data: bool,
    size_bytes: u64,
    compared_bytes: u64,
    /// No replica that was compared differs from another, and no block is lost.
    sound: bool,
    replicas: BTreeMap<String, Replica>,
    differences_found: u64,
    /// The first ones.
    differences: Vec<Difference>,
    /// Blocks that no replica has: the first ones.
    lost: BTreeSet<LostBlock>,
    #[serde(skip)]
    complete: bool,
}

/// One replica, by the name of its node.
#[derive(Debug, Default, Serialize)]
struct Replica {
    pool: String,
    compared_bytes: u64,
    /// Why it was not compared, or not everywhere.
    absent: Option<String>,
    /// Blocks that are not zeroes.
    blocks: u64,
    /// Blocks read from its disk.
    read_blocks: u64,
    repaired_blocks: u64,
    lost_blocks: u64,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
struct LostBlock {
    /// None for a block of the volume.
    snapshot: Option<String>,
    offset_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Difference {
    offset_bytes: u64,
    len_bytes: u64,
    /// By node; the same for those that hold the same.
    held: BTreeMap<String, String>,
}

impl Verification {
    /// Of nothing so far.
    pub fn new(volume: &str, data: bool) -> Self {
        Self {
            volume: volume.to_owned(),
            data,
            size_bytes: 0,
            compared_bytes: 0,
            sound: true,
            replicas: BTreeMap::new(),
            differences_found: 0,
            differences: Vec::new(),
            lost: BTreeSet::new(),
            complete: false,
        }
    }

    /// To go on.
    pub fn request(&self) -> v1::VerifyVolumeRequest {
        v1::VerifyVolumeRequest { name: self.volume.clone(), data: self.data, offset_bytes: self.compared_bytes }
    }

    /// How far it is.
    pub fn done_bytes(&self) -> u64 {
        self.compared_bytes
    }

    /// Whether the volume's end was reached.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// One more range.
    pub fn add(&mut self, range: v1::VerifiedRange) {
        self.size_bytes = range.volume_bytes;
        if range.offset_bytes != self.compared_bytes || !range.waits_for.is_empty() {
            return;
        }
        self.compared_bytes += range.len_bytes;
        self.complete = self.compared_bytes >= self.size_bytes;
        self.lost.extend(range.lost.into_iter().map(LostBlock::from));
        for found in range.replicas {
            self.sound &= found.lost == 0;
            self.replicas.entry(found.node.clone()).or_default().add(found, range.len_bytes);
        }
        self.sound &= range.differences.is_empty();
        self.differences_found += range.differences.len() as u64;
        let room = SHOWN_MAX.saturating_sub(self.differences.len());
        self.differences.extend(range.differences.into_iter().take(room).map(Difference::from));
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut rows = table::new(&["NODE", "COMPARED", "DATA", "READ", "REPAIRED", "LOST", "NOTE"]);
        table::align_right(&mut rows, &[1, 2, 3, 4, 5]);
        for (node, replica) in &self.replicas {
            rows.add_row([
                node.clone(),
                size::show(replica.compared_bytes),
                size::show(replica.blocks * BLOCK_BYTES),
                size::show(replica.read_blocks * BLOCK_BYTES),
                replica.repaired_blocks.to_string(),
                replica.lost_blocks.to_string(),
                replica.absent.as_ref().map_or(String::new(), |why| format!("not compared everywhere: {why}")),
            ]);
        }
        let mut text = table::lines(rows);
        for difference in self.differences.iter().take(LISTED_MAX) {
            text += &difference.text();
        }
        for lost in self.lost.iter().take(LISTED_MAX) {
            text += &lost.text();
        }
        text + &self.verdict()
    }

    fn verdict(&self) -> String {
        let compared = self.replicas.values().filter(|replica| replica.compared_bytes > 0).count();
        let lost: u64 = self.replicas.values().map(|replica| replica.lost_blocks).sum();
        let name = &self.volume;
        if self.differences_found > 0 {
            let len = self.differences.first().map_or(0, |difference| difference.len_bytes);
            let (count, len) = (self.differences_found, size::show(len));
            return format!("volume {name}: DIFFERENT in {count} ranges of {len}\n");
        }
        let equal = match compared {
            0 => String::from("no replica could be compared"),
            1 => String::from("one replica, so there is nothing to compare it with"),
            compared => format!("{compared} replicas are equal"),
        };
        let lost = if lost > 0 { format!("; {lost} blocks are LOST: no replica has them") } else { String::new() };
        format!("volume {name}: {equal}{lost}\n")
    }
}

impl Replica {
    fn add(&mut self, found: v1::VerifiedReplica, len_bytes: u64) {
        self.pool = found.pool;
        if !found.absent.is_empty() {
            self.absent = Some(found.absent);
            return;
        }
        self.compared_bytes += len_bytes;
        self.blocks += found.blocks;
        self.read_blocks += found.read;
        self.repaired_blocks += found.repaired;
        self.lost_blocks += found.lost;
    }
}

impl LostBlock {
    fn text(&self) -> String {
        let of = self.snapshot.as_ref().map_or_else(|| String::from("the volume"), |name| format!("snapshot {name}"));
        format!("lost at {} of {of}\n", self.offset_bytes)
    }
}

impl From<v1::LostBlock> for LostBlock {
    fn from(found: v1::LostBlock) -> Self {
        let v1::LostBlock { snapshot, offset_bytes } = found;
        Self { snapshot: Some(snapshot).filter(|name| !name.is_empty()), offset_bytes }
    }
}

impl Difference {
    fn text(&self) -> String {
        let held: Vec<String> = self.held.iter().map(|(node, digest)| format!("{node} has {digest}")).collect();
        format!("differs at {}, {}: {}\n", self.offset_bytes, size::show(self.len_bytes), held.join(", "))
    }
}

impl From<v1::Difference> for Difference {
    fn from(found: v1::Difference) -> Self {
        let held = found.held.into_iter().map(|there| (there.node, format!("{:08x}", there.digest)));
        Self { offset_bytes: found.offset_bytes, len_bytes: found.len_bytes, held: held.collect() }
    }
}
