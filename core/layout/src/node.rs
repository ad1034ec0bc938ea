//! Nodes of the block map as a checkpoint writes them: a leaf in up to three pages, an inner node in one.
//! Only what is there is written: a leaf with few mapped blocks takes one page.

use block::{Checksum, Epoch, PAGE_BYTES, WriteSeq};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Damage, expect_field};

/// Blocks of a leaf.
pub const LEAF_BLOCKS: usize = 1024;
/// Blocks of a group, which share one stamp.
pub const GROUP_BLOCKS: usize = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"PLmp");
const _: () = assert!(size_of::<RawNode>() == 32, "FORMAT.md says 32");
const _: () = assert!(size_of::<RawGroup>() == 24, "FORMAT.md says 24");
const _: () = assert!(size_of::<RawChild>() == 12, "FORMAT.md says 12");

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawNode {
    magic: U32,
    level: u8,
    reserved: u8,
    /// Groups of a leaf, children of an inner node.
    count: U16,
    /// Which node of its level: catches a node in another's place.
    index: U64,
    reserved_tail: [U64; 2],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawGroup {
    mapped: U64,
    seq: U64,
    epoch: U32,
    group: u8,
    reserved: [u8; 3],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
struct RawChild {
    index: u8,
    pages: u8,
    reserved: U16,
    at: U32,
    checksum: U32,
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeKind {
    /// Maps blocks.
    Leaf,
    /// Points to nodes one level below.
    Inner,
}

/// Which node of its tree it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeHeader {
    /// 0 for a leaf.
    pub level: u8,
    /// Counted from the left, within its level.
    pub index: u64,
}

/// 64 blocks of a leaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupRecord {
    /// Which group of the leaf, 0 to 15.
    pub group: u8,
    /// Bit i: block i of the group is mapped.
    pub mapped: u64,
    /// Newest write in the group.
    pub born: WriteSeq,
}

/// A child of an inner node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InnerChild {
    /// Which child.
    pub index: u8,
    /// Pages it takes.
    pub pages: u8,
    /// Its first page, counted from the start of the pool.
    pub at: u32,
    /// crc32c of its pages.
    pub checksum: Checksum,
}

/// Writes a node into zeroed bytes, front to back.
#[derive(Debug)]
pub struct NodeWriter<'a> {
    bytes: &'a mut [u8],
    at: usize,
    count: u16,
    header: NodeHeader,
}

impl<'a> NodeWriter<'a> {
    /// Begins a node in `bytes`, which are zero and long enough.
    pub fn new(header: NodeHeader, bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: size_of::<RawNode>(), count: 0, header }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Appends a group and its mapped blocks' (page, checksum), as many as `mapped` has bits.
    pub fn group(&mut self, record: &GroupRecord, entries: impl Iterator<Item = (u32, Checksum)>) {
        let raw = RawGroup {
            mapped: record.mapped.into(),
            seq: record.born.n.into(),
            epoch: record.born.epoch.0.into(),
            group: record.group,
            reserved: [0; 3],
        };
        self.put(raw.as_bytes());
        let before = self.at;
        for (at, checksum) in entries {
            self.put(&at.to_le_bytes());
            self.put(&checksum.0.to_le_bytes());
        }
        assert_eq!((self.at - before) / 8, record.mapped.count_ones() as usize, "one entry a mapped block");
        self.count += 1;
    }

    /// Appends a child of an inner node.
    pub fn child(&mut self, child: &InnerChild) {
        let raw = RawChild {
            index: child.index,
            pages: child.pages,
            reserved: 0.into(),
            at: child.at.into(),
            checksum: child.checksum.0.into(),
        };
        self.put(raw.as_bytes());
        self.count += 1;
    }

    /// Ends the node; answers how many bytes it takes.
    #[must_use]
    pub fn finish(self) -> usize {
        let raw = RawNode {
            magic: MAGIC.into(),
            level: self.header.level,
            reserved: 0,
            count: self.count.into(),
            index: self.header.index.into(),
            reserved_tail: [0.into(); 2],
        };
        self.bytes[..size_of::<RawNode>()].copy_from_slice(raw.as_bytes());
        self.at
    }
}

/// Reads a node whose checksum the caller has verified. Every structural claim is still checked.
#[derive(Debug)]
pub struct NodeReader<'a> {
    /// Which node it says it is.
    pub header: NodeHeader,
    count: u16,
    rest: &'a [u8],
}

/// The (page, checksum) of each mapped block of a group, in order.
#[derive(Debug, Clone)]
pub struct GroupEntries<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for GroupEntries<'_> {
    type Item = (u32, Checksum);

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.next()?;
        let word = |bytes: &[u8]| U32::read_from_bytes(bytes).expect("4 bytes").get();
        Some((word(&entry[..4]), Checksum(word(&entry[4..]))))
    }
}

impl<'a> NodeReader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Damage> {
        let (raw, rest) = RawNode::ref_from_prefix(bytes)
            .map_err(|_| Damage::Field { field: "length of a map node", found: bytes.len() as u64 })?;
        if raw.magic.get() != MAGIC {
            return Err(Damage::Magic { found: raw.magic.get().into(), expected: MAGIC.into() });
        }
        let header = NodeHeader { level: raw.level, index: raw.index.get() };
        Ok(Self { header, count: raw.count.get(), rest })
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> NodeKind {
        if self.header.level == 0 { NodeKind::Leaf } else { NodeKind::Inner }
    }

    fn take(&mut self, len_bytes: usize) -> Result<&'a [u8], Damage> {
        let short = Damage::Field { field: "length of a map node", found: self.rest.len() as u64 };
        let (taken, rest) = self.rest.split_at_checked(len_bytes).ok_or(short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next group of a leaf, with the (page, checksum) of each mapped block; `None` after the last.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn group(&mut self) -> Result<Option<(GroupRecord, GroupEntries<'a>)>, Damage> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        let raw = RawGroup::ref_from_bytes(self.take(size_of::<RawGroup>())?).expect("its own size");
        expect_field("group of a leaf", usize::from(raw.group) < LEAF_BLOCKS / GROUP_BLOCKS, raw.group)?;
        let mapped = raw.mapped.get();
        let entries = GroupEntries(self.take(mapped.count_ones() as usize * 8)?.chunks_exact(8));
        let born = WriteSeq { epoch: Epoch(raw.epoch.get()), n: raw.seq.get() };
        Ok(Some((GroupRecord { group: raw.group, mapped, born }, entries)))
    }

    /// The next child of an inner node; `None` after the last.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn child(&mut self) -> Result<Option<InnerChild>, Damage> {
        if self.count == 0 {
            return Ok(None);
        }
        self.count -= 1;
        let raw = RawChild::ref_from_bytes(self.take(size_of::<RawChild>())?).expect("its own size");
        expect_field("pages of a map node", (1..=3).contains(&raw.pages), raw.pages)?;
        Ok(Some(InnerChild {
            index: raw.index,
            pages: raw.pages,
            at: raw.at.get(),
            checksum: Checksum(raw.checksum.get()),
        }))
    }
}

/// Bytes of a leaf with `groups` groups and `mapped` mapped blocks.
#[must_use]
pub const fn leaf_bytes(groups: usize, mapped: usize) -> usize {
    size_of::<RawNode>() + groups * size_of::<RawGroup>() + mapped * 8
}

/// Bytes of an inner node with `children` children.
#[must_use]
pub const fn inner_bytes(children: usize) -> usize {
    size_of::<RawNode>() + children * size_of::<RawChild>()
}

const _: () =
    assert!(leaf_bytes(LEAF_BLOCKS / GROUP_BLOCKS, LEAF_BLOCKS) <= 3 * PAGE_BYTES, "a leaf takes three pages");
const _: () = assert!(inner_bytes(256) <= PAGE_BYTES, "an inner node takes one page");

#[cfg(test)]
mod tests {
    use super::{GroupRecord, InnerChild, NodeHeader, NodeKind, NodeReader, NodeWriter, leaf_bytes};
    use block::{Checksum, Epoch, WriteSeq};

    #[test]
    fn a_leaf_reads_back_as_it_was_written() {
        let mut bytes = [0; 4096];
        let born = WriteSeq { epoch: Epoch(3), n: 9 };
        let records = [GroupRecord { group: 2, mapped: 0b101, born }, GroupRecord { group: 15, mapped: 0, born }];
        let mut writer = NodeWriter::new(NodeHeader { level: 0, index: 1 << 23 }, &mut bytes);
        writer.group(&records[0], [(7, Checksum(8)), (9, Checksum(10))].into_iter());
        writer.group(&records[1], [].into_iter());
        let used = writer.finish();
        assert_eq!(used, leaf_bytes(2, 2));

        let mut reader = NodeReader::new(&bytes[..used]).unwrap();
        assert_eq!((reader.kind(), reader.header.index), (NodeKind::Leaf, 1 << 23));
        let (record, entries) = reader.group().unwrap().unwrap();
        assert_eq!((record, entries.collect::<Vec<_>>()), (records[0], vec![(7, Checksum(8)), (9, Checksum(10))]));
        assert_eq!(reader.group().unwrap().map(|(record, _)| record), Some(records[1]));
        assert!(reader.group().unwrap().is_none());
        for len in 0..used {
            let broken = NodeReader::new(&bytes[..len])
                .and_then(|mut reader| {
                    reader.group()?;
                    reader.group().map(|_| ())
                })
                .is_err();
            assert!(broken, "{len} bytes");
        }
    }

    #[test]
    fn an_inner_node_reads_back_as_it_was_written() {
        let mut bytes = [0; 4096];
        let children = [0, 7, 255].map(|index| InnerChild { index, pages: 3, at: 99, checksum: Checksum(4) });
        let mut writer = NodeWriter::new(NodeHeader { level: 2, index: 5 }, &mut bytes);
        children.iter().for_each(|child| writer.child(child));
        let used = writer.finish();
        let mut reader = NodeReader::new(&bytes[..used]).unwrap();
        assert_eq!(reader.kind(), NodeKind::Inner);
        for child in children {
            assert_eq!(reader.child(), Ok(Some(child)));
        }
        assert_eq!(reader.child(), Ok(None));
    }
}
