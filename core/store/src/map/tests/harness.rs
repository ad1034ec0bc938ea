//! A map beside its oracle, and everything that must hold after every step.

use std::collections::{BTreeMap, BTreeSet};

use block::{BlockCount, BlockIndex, BlockRange, Checksum, Epoch, GroupIndex, SnapshotId, VolumeId, WriteSeq};

use super::oracle::{Blocks, Oracle, State};
use crate::map::image::{count_nodes, count_unwritten};
use crate::map::{
    Base, Difference, DiskRef, Image, Inner, Kind, Leaf, Location, Map, Node, PlacedGroup, Progress, Restamp, Run,
    Source, Tree, VersionId, VersionRecord, Walk,
};

pub struct FrozenImage {
    pub image: Image,
    contents: Vec<Blocks>,
    walks: Vec<Walk>,
}

#[derive(Default)]
pub struct World {
    pub map: Map,
    pub oracle: Oracle,
    /// What the map said is live: location -> block and the volume that wrote it.
    pub live: BTreeMap<u32, (u64, VolumeId)>,
    dead: Vec<Location>,
    /// Places of node copies that were not retired.
    on_disk: BTreeSet<u32>,
    pub images: Vec<FrozenImage>,
    next_location: u32,
    next_disk: u32,
    next_name: u64,
    seq: u64,
    pub deleting: bool,
}

fn place(n: u64) -> WriteSeq {
    WriteSeq { epoch: Epoch(u32::try_from(n / 50).unwrap()), n }
}

pub fn blocks_of(tree: &Tree) -> Blocks {
    let mut blocks = Blocks::new();
    if let Some(root) = tree.root() {
        gather(root, 0, &mut blocks);
    }
    blocks
}

fn gather(node: &Node, index: u64, blocks: &mut Blocks) {
    match node {
        Node::Leaf(leaf) => {
            for (group, at) in leaf.groups().zip(0..) {
                let mapped = (0..64).filter(|bit| group.bitmap() >> bit & 1 == 1);
                for (bit, entry) in mapped.zip(group.mapped()) {
                    blocks.insert(index * 1024 + at * 64 + bit, (entry.location.0, entry.crc.0));
                }
            }
        }
        Node::Inner(inner) => {
            for (child, node) in inner.children() {
                assert_eq!(node.level() + 1, inner.level());
                assert!(inner.disk().is_none() || node.disk().is_some(), "what is written is written below");
                gather(node, index * 256 + u64::from(child), blocks);
            }
        }
    }
}

/// What a reader of the disk would make of a node.
fn decode(node: &Node, table: &mut BTreeMap<u32, Node>) -> Node {
    let disk = node.disk().expect("written");
    if let Some(known) = table.get(&disk.at.0) {
        return known.clone();
    }
    let decoded = match node {
        Node::Leaf(leaf) => {
            let mut copy = Leaf::empty();
            for (index, group) in leaf.groups().enumerate() {
                assert!(copy.fill_group(index, group.born, group.bitmap(), group.mapped()));
            }
            Node::Leaf(copy.into())
        }
        Node::Inner(inner) => {
            let mut copy = Inner::empty(inner.level());
            for (index, child) in inner.children() {
                copy.insert(index, decode(child, table));
            }
            Node::Inner(copy.into())
        }
    };
    decoded.set_disk(disk);
    table.insert(disk.at.0, decoded.clone());
    decoded
}

impl World {
    pub fn name(&mut self) -> u64 {
        self.next_name += 1;
        self.next_name
    }

    fn seq(&mut self) -> WriteSeq {
        self.seq += 1;
        place(self.seq)
    }

    /// A place in the order that was given out already.
    fn earlier(&self, percent: u64) -> WriteSeq {
        place(self.seq * percent / 100)
    }

    fn bury(&mut self) {
        for location in std::mem::take(&mut self.dead) {
            assert!(self.live.remove(&location.0).is_some(), "{location:?} dies once");
        }
    }

    pub fn create(&mut self, end: u64) -> VolumeId {
        let volume = VolumeId(self.name());
        self.map.create_head(volume, BlockIndex(end)).unwrap();
        self.oracle.create(volume, end);
        volume
    }

    pub fn snapshot(&mut self, volume: VolumeId) -> SnapshotId {
        let id = SnapshotId(self.name());
        self.map.snapshot(volume, id).unwrap();
        self.oracle.freeze(volume, Kind::Snapshot(id));
        id
    }

    pub fn clone_from(&mut self, source: Source, grow: u64) -> VolumeId {
        let origin = match source {
            Source::Head(volume) => self.map.head(volume),
            Source::Snapshot(id) => self.map.snapshot_version(id),
        };
        let end = self.map.version(origin.unwrap()).end().0 + grow;
        let volume = VolumeId(self.name());
        self.map.clone_from(source, volume, BlockIndex(end)).unwrap();
        self.oracle.clone_from(source, volume, end);
        volume
    }

    pub fn resize(&mut self, volume: VolumeId, grow: u64) {
        let end = self.oracle.head(volume).end + grow;
        self.map.resize(volume, BlockIndex(end)).unwrap();
        self.oracle.head(volume).end = end;
    }

    pub fn set(&mut self, volume: VolumeId, first: u64, count: u64) {
        let end = self.oracle.head(volume).end;
        let first = first.min(end - 1);
        let count = u32::try_from(count.min(end - first)).unwrap();
        let location = self.next_location + 1;
        self.next_location += count;
        let seq = self.seq();
        let crcs: Vec<u32> = (0..count).map(|at| at.wrapping_mul(77) ^ location).collect();
        let sums: Vec<Checksum> = crcs.iter().copied().map(Checksum).collect();
        let head = self.map.head(volume).unwrap();
        self.map.set(head, BlockIndex(first), Location(location), &sums, seq, &mut self.dead);
        self.oracle.set(volume, first, location, &crcs, seq);
        self.live.extend((0..count).map(|at| (location + at, (first + u64::from(at), volume))));
        self.bury();
    }

    pub fn zero(&mut self, volume: VolumeId, first: u64, count: u64) {
        let end = self.oracle.head(volume).end;
        let first = first.min(end - 1);
        let count = count.min(end - first);
        let seq = self.seq();
        let head = self.map.head(volume).unwrap();
        let range = BlockRange::new(first, u32::try_from(count).unwrap());
        self.map.zero(head, range, seq, &mut self.dead);
        self.oracle.zero(volume, first, first + count, seq);
        self.bury();
    }

    /// The group of `block` becomes what a copy brings, which may be older than what it holds.
    pub fn replace_group(&mut self, volume: VolumeId, block: u64, mapped: u64, age: u64) {
        let end = self.oracle.head(volume).end;
        let group = block.min(end - 1) / 64;
        let mapped =
            mapped & u64::MAX.checked_shr(64 - u32::try_from((end - group * 64).min(64)).unwrap()).unwrap_or(0);
        let location = self.next_location + 1;
        self.next_location += mapped.count_ones();
        let born = self.earlier(100 - age);
        let crcs: Vec<Checksum> = (0..mapped.count_ones()).map(|at| Checksum(at ^ location)).collect();
        let head = self.map.head(volume).unwrap();
        let placed = PlacedGroup { group: GroupIndex(group), mapped, location: Location(location), crcs: &crcs };
        self.map.replace_group(head, placed, born, &mut self.dead);
        let bits = (0..64).filter(|bit| mapped >> bit & 1 == 1);
        let blocks: Vec<_> = bits.zip(location..).map(|(bit, at)| (bit, (at, (at - location) ^ location))).collect();
        self.oracle.replace_group(volume, group, &blocks, born);
        self.live.extend(blocks.iter().map(|&(bit, (at, _))| (at, (group * 64 + bit, volume))));
        self.bury();
    }

    pub fn restamp(&mut self, volume: VolumeId, age: u64) {
        let restamp = Restamp { after: self.earlier(100 - age), seq: self.seq() };
        let head = self.map.head(volume).unwrap();
        let (before, cost) = (self.map.counts(), self.map.restamp_cost(head, restamp));
        self.map.restamp(head, restamp);
        let copies = self.map.counts().leaves - before.leaves;
        assert!(cost.shared <= copies && copies <= cost.leaves, "images make copies, too");
        assert_eq!(self.map.restamp_cost(head, restamp).leaves, 0, "nothing is left to stamp");
        self.oracle.restamp(volume, restamp.after, restamp.seq);
    }

    pub fn relocate(&mut self, pick: usize) {
        let before = self.nodes_of_versions();
        let Some((&from, &(block, writer))) = self.live.iter().nth(pick % self.live.len().max(1)) else { return };
        self.next_location += 1;
        let to = self.next_location;
        assert!(self.map.relocate(writer, BlockIndex(block), Location(from), Location(to)));
        assert!(!self.map.relocate(writer, BlockIndex(block), Location(from), Location(to)), "it is gone from there");
        self.oracle.relocate(from, to);
        self.live.remove(&from);
        self.live.insert(to, (block, writer));
        assert_eq!(self.nodes_of_versions(), before, "what was shared is shared");
    }

    pub fn rewrite(&mut self, pick: usize) {
        let before = self.nodes_of_versions();
        let mut written = Vec::new();
        for (_, version) in self.map.versions() {
            let root = version.tree().root();
            written.extend(root.into_iter().flat_map(written_nodes).map(|(place, at)| (version.family(), place, at)));
        }
        let Some(&(family, place, at)) = written.get(pick % written.len().max(1)) else { return };
        assert!(self.map.rewrite(family, place, at));
        assert!(!self.map.rewrite(family, place, at), "no version has that copy any more");
        assert_eq!(self.nodes_of_versions(), before, "what was shared is shared");
    }

    pub fn delete(&mut self, kind: Kind) {
        match kind {
            Kind::Head(volume) => self.map.delete_head(volume).unwrap(),
            Kind::Snapshot(id) => self.map.delete_snapshot(id).unwrap(),
            Kind::Hidden => unreachable!("has no name"),
        }
        self.oracle.delete(kind);
        self.deleting = true;
    }

    pub fn delete_step(&mut self, budget: usize) -> Progress {
        let progress = self.map.delete_step(budget, &mut self.dead);
        assert!(self.dead.len() <= budget * 1024);
        self.bury();
        self.deleting = progress == Progress::More;
        progress
    }

    pub fn freeze(&mut self) {
        let image = self.map.freeze();
        let contents = image.versions.iter().map(|version| blocks_of(&version.tree)).collect();
        let walks = image.versions.iter().map(|_| Walk::default()).collect();
        self.images.push(FrozenImage { image, contents, walks });
    }

    /// Writes up to `count` nodes of an image; whether all are written.
    pub fn write(&mut self, image: usize, mut count: usize) -> bool {
        let FrozenImage { image, walks, .. } = &mut self.images[image];
        for (version, walk) in image.versions.iter().zip(walks) {
            while let Some(found) = walk.next(&version.tree) {
                let root = version.tree.root().unwrap();
                assert!(found.node.level() == found.place.level && root.level() >= found.place.level);
                assert!(version.tree.node(found.place).unwrap().is(found.node));
                self.next_disk += 1;
                let pages = u8::try_from(found.node.encoded_bytes().div_ceil(4096)).unwrap();
                let disk = DiskRef { at: Location(self.next_disk), pages, crc: Checksum(0) };
                self.map.note_written(found.node, disk);
                self.on_disk.insert(self.next_disk);
                count = count.saturating_sub(1);
                if count == 0 {
                    return false;
                }
            }
        }
        true
    }

    pub fn release(&mut self, image: usize) {
        let FrozenImage { image, contents, .. } = self.images.remove(image);
        for (version, blocks) in image.versions.iter().zip(contents) {
            assert_eq!(blocks_of(&version.tree), blocks, "an image does not change");
        }
        self.map.release(image.into_trees());
    }

    pub fn settle(&mut self) {
        while !self.images.is_empty() {
            self.release(0);
        }
        while self.map.release_step(1000) == Progress::More {}
        while self.delete_step(1000) == Progress::More {}
    }

    /// Writes a checkpoint and starts from what is on disk.
    pub fn reload(&mut self) {
        self.images.clear();
        self.freeze();
        assert!(self.write(0, usize::MAX));
        let FrozenImage { image, .. } = self.images.remove(0);
        let mut table = BTreeMap::new();
        let versions = image.versions.iter().map(|version| VersionRecord {
            tree: Tree::new(version.tree.root().map(|root| decode(root, &mut table))),
            ..*version
        });
        let loaded = Image { versions: versions.collect(), members: image.members.clone() };
        self.map = Map::restore(loaded).unwrap();
        self.on_disk = table.into_keys().collect();
        let mut live = BTreeSet::new();
        self.map.count_live(&mut |location| assert!(live.insert(location.0), "{location:?} is counted once"));
        assert!(live.iter().eq(self.live.keys()));
    }

    fn nodes_of_versions(&self) -> crate::map::NodeCounts {
        count_nodes(self.map.versions().filter_map(|(_, version)| version.tree().root()))
    }

    /// All that must hold now.
    pub fn check(&mut self) {
        self.check_liveness();
        self.check_contents();
        self.check_nodes();
        if !self.deleting {
            assert!(self.oracle.live().iter().eq(self.live.keys()), "nothing else is live");
            assert_eq!(self.map.versions().count(), self.oracle.versions.len());
        }
    }

    fn check_liveness(&self) {
        let contents: BTreeMap<VersionId, Blocks> =
            self.map.versions().map(|(id, version)| (id, blocks_of(version.tree()))).collect();
        let mut tops = BTreeMap::new();
        for (id, version) in self.map.versions() {
            for (block, &(location, _)) in &contents[&id] {
                assert_eq!(self.live[&location].0, *block, "what a version holds is live");
                let parent = version.parent().and_then(|parent| contents[&parent].get(block));
                if parent.is_none_or(|entry| entry.0 != location) {
                    assert_eq!(tops.insert(location, id), None, "holders of {location} are connected");
                }
            }
        }
        assert!(tops.keys().eq(self.live.keys()), "what is live is held");
        for (&location, &(block, writer)) in &self.live {
            let holder = self.map.find_holder(writer, BlockIndex(block), Location(location)).expect("it is live");
            assert_eq!(contents[&holder][&block].0, location);
            let stale = Location(location + 1_000_000);
            assert_eq!(self.map.find_holder(writer, BlockIndex(block), stale), None);
        }
        let mut counted = BTreeSet::new();
        self.map.count_live(&mut |location| assert!(counted.insert(location.0)));
        assert!(counted.iter().eq(self.live.keys()));
    }

    fn version_of(&self, kind: Kind) -> VersionId {
        match kind {
            Kind::Head(volume) => self.map.head(volume).unwrap(),
            Kind::Snapshot(id) => self.map.snapshot_version(id).unwrap(),
            Kind::Hidden => unreachable!("has no name"),
        }
    }

    fn check_contents(&self) {
        for state in self.oracle.named() {
            let id = self.version_of(state.kind);
            assert_eq!(self.map.version(id).end().0, state.end);
            assert_eq!(blocks_of(self.map.version(id).tree()), state.blocks);
            for (&block, &entry) in &state.blocks {
                let found = self.map.lookup(id, BlockIndex(block)).expect("it is mapped");
                assert_eq!((found.location.0, found.crc.0), entry);
            }
            self.check_stamps(id, &state.born);
            self.check_runs(id, 0, state.end, &state.blocks);
            self.check_runs(id, 1000, state.end.min(263_000), &state.blocks);
            self.check_differences(id, state);
        }
    }

    /// Against nothing, every other version that has a name, and itself half a history ago.
    fn check_differences(&self, id: VersionId, state: &State) {
        let nothing = Blocks::new();
        let zero = |block: &u64| !state.blocks.contains_key(block);
        let differing = |other: &Blocks| -> BTreeMap<u64, bool> {
            let all = state.blocks.keys().chain(other.keys()).filter(|block| **block < state.end);
            all.filter(|block| state.blocks.get(block) != other.get(block)).map(|block| (*block, zero(block))).collect()
        };
        assert_eq!(self.found_differences(id, Base::Nothing, 0), differing(&nothing));
        for other in self.oracle.named() {
            let base = Base::Version(self.version_of(other.kind));
            let mut expected = differing(&other.blocks);
            assert_eq!(self.found_differences(id, base, 0), expected);
            assert_eq!(self.found_differences(id, base, 262_200), expected.split_off(&262_200));
        }
        let since = place(self.seq / 2);
        let groups = state.born.iter().filter(|(_, seq)| **seq > since).map(|(group, _)| *group);
        let blocks = groups.flat_map(|group| group * 64..group * 64 + 64).filter(|block| *block < state.end);
        let expected: BTreeMap<u64, bool> = blocks.map(|block| (block, zero(&block))).collect();
        assert_eq!(self.found_differences(id, Base::Before(since), 0), expected);
    }

    /// Asked for in small pieces.
    fn found_differences(&self, id: VersionId, base: Base, from: u64) -> BTreeMap<u64, bool> {
        let (mut next, mut found, mut end) = (Some(BlockIndex(from)), BTreeMap::new(), BlockIndex(from));
        while let Some(at) = next {
            let piece = self.map.differences(id, base, at, 2);
            for Difference { range, is_zero } in piece.found {
                assert!(range.first >= at.max(end), "they are in order");
                end = range.end();
                found.extend((range.first.0..range.end().0).map(|block| (block, is_zero)));
            }
            assert!(piece.next.is_none_or(|next| next > at), "it goes on");
            next = piece.next;
        }
        found
    }

    fn check_stamps(&self, id: VersionId, born: &BTreeMap<u64, WriteSeq>) {
        for (since, from) in [(0, 0), (self.seq / 2, 0), (self.seq / 3, 1100)] {
            let since = place(since);
            let expected = born.range(from / 64..).filter(|(_, seq)| **seq > since);
            let expected = expected.map(|(group, seq)| (*group, *seq));
            let found =
                self.map.changed(id, since, GroupIndex(from / 64)).map(|changed| (changed.group.0, changed.born));
            assert!(found.eq(expected));
        }
        for group in born.keys().flat_map(|group| [*group, group + 1]) {
            let stamp = born.get(&group).copied().unwrap_or_default();
            assert_eq!(self.map.born(id, GroupIndex(group)), stamp);
        }
    }

    fn check_runs(&self, id: VersionId, first: u64, end: u64, blocks: &Blocks) {
        let Some(count) = end.checked_sub(first) else { return };
        let range = BlockRange { first: BlockIndex(first), count: BlockCount(u32::try_from(count).unwrap()) };
        let (mut at, mut found, mut after_hole) = (first, Blocks::new(), false);
        for run in self.map.runs(id, range) {
            match run {
                Run::Hole { count } => {
                    assert!(!after_hole && count.0 > 0, "holes are whole");
                    at += u64::from(count.0);
                }
                Run::Mapped { entries } => {
                    for (entry, expected) in entries.iter().zip(entries[0].location.0..) {
                        assert_eq!(entry.location.0, expected);
                        found.insert(at, (entry.location.0, entry.crc.0));
                        at += 1;
                    }
                }
            }
            after_hole = matches!(run, Run::Hole { .. });
        }
        assert_eq!(at, end.max(first));
        assert!(found.iter().eq(blocks.range(first..end.max(first))));
    }

    fn check_nodes(&mut self) {
        for retired in self.map.retired().drain(..) {
            assert!(self.on_disk.remove(&retired.at.0), "{retired:?} is retired once");
        }
        let roots = self.map.versions().filter_map(|(_, version)| version.tree().root());
        let frozen = self.images.iter().flat_map(|frozen| &frozen.image.versions);
        let all: Vec<&Node> =
            roots.chain(&self.map.released).chain(frozen.filter_map(|version| version.tree.root())).collect();
        assert_eq!(count_nodes(all.iter().copied()), self.map.counts());
        assert_eq!(count_unwritten(all.iter().copied()), self.map.unwritten_pages());
        let written: BTreeSet<u32> = all.into_iter().flat_map(written_nodes).map(|(_, at)| at.0).collect();
        assert_eq!(written, self.on_disk, "a copy is retired when its node is gone or changed, and only then");
    }

    /// Only while nothing is being deleted.
    pub fn check_space(&mut self) {
        for state in self.oracle.named() {
            let query = self.map.space_query(self.version_of(state.kind));
            let space = query.run();
            self.map.release(query.into_trees());
            assert_eq!(space.logical, state.blocks.len() as u64);
            assert_eq!((space.exclusive, space.reclaimable), self.oracle.exclusive_and_reclaimable(state.kind));
        }
        while self.map.release_step(10) == Progress::More {}
    }
}

/// Where the nodes below `root` lie that have a copy on disk.
fn written_nodes(root: &Node) -> Vec<(crate::map::Place, Location)> {
    let mut found = Vec::new();
    let mut pending = vec![(root, 0)];
    while let Some((node, index)) = pending.pop() {
        found.extend(node.disk().map(|disk| (crate::map::Place { level: node.level(), index }, disk.at)));
        if let Node::Inner(inner) = node {
            pending.extend(inner.children().map(|(child, node)| (node, index * 256 + u32::from(child))));
        }
    }
    found
}
