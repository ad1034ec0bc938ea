//! Writing the map out, so that recovery need not replay the whole log: the nodes that changed since the last
//! checkpoint go into the log, then the root table, then everything is made durable, then the superblock points to it.
//!
//! ```text
//! idle --due--> nodes --all written--> roots --durable--> first copy --durable--> second copy --written--> idle
//! ```
//! The state that is written is a frozen image that shares its nodes with the living map; service goes on. Both
//! superblocks end up alike, so that either may rot. Until the first copy is durable the previous checkpoint counts.

use std::collections::BTreeMap;

use block::{Checksum, Instant, Lsn, PAGE_BYTES, VolumeId, WriteSeq};
use layout::{
    AliasRecord, Entry, EntryKind, Extent, GroupRecord, InnerChild, LogPosition, NodeHeader, NodeWriter, RootTable,
    SUPERBLOCK_OFFSETS, Superblock, VersionKind, VersionRecord, VolumeRecord,
};

use crate::Store;
use crate::effect::Report;
use crate::map::{DiskRef, Image, Kind, Location, Node, Place, VersionId, Walk};

/// Log written since the last checkpoint that makes the next one due: 4 GiB.
const LOG_PAGES_MAX: u64 = 1 << 20;
/// Time after which a checkpoint is due if anything was written.
const INTERVAL_NS: u64 = 60_000_000_000;
/// Nodes written in one turn: some 20 microseconds.
const NODES_PER_TURN: usize = 8;
/// Cuts of the superblock that no run with changes may take.
const RUNS_KEPT: usize = 8;
/// Largest encoded node.
const NODE_BYTES_MAX: usize = 3 * PAGE_BYTES;

/// What the root table needs beside the image: taken at the same instant.
#[derive(Debug)]
pub(crate) struct Frozen {
    image: Image,
    volumes: Vec<VolumeRecord>,
    snapshots: BTreeMap<VersionId, (WriteSeq, VolumeId)>,
    replay: LogPosition,
    /// Nothing is appended any more: this checkpoint holds everything.
    is_final: bool,
    /// DiskRefs that the image does not reach any more: dead once this checkpoint counts.
    retiring: Vec<DiskRef>,
}

#[derive(Debug, Default)]
pub(crate) enum Phase {
    #[default]
    Idle,
    /// Writing nodes of version number `version` of the image.
    Nodes { frozen: Box<Frozen>, version: usize, walk: Walk },
    /// Waiting until everything up to `last` is durable.
    Roots { frozen: Box<Frozen>, roots: Vec<Extent>, last: Lsn },
    /// The first superblock copy is being written, then made durable by sync number `sync`.
    FirstCopy { frozen: Box<Frozen>, superblock: Box<Superblock>, sync: Option<u64> },
    /// The second copy is being written.
    SecondCopy,
}

#[derive(Debug)]
pub(crate) struct Checkpoint {
    phase: Phase,
    /// The superblock that counts.
    pub superblock: Superblock,
    /// Log written since the last one began.
    pages_since: u64,
    /// Anything beside a checkpoint's own pages was appended since, or a map node must be written elsewhere.
    changed: bool,
    started: Instant,
    wanted: bool,
    final_one: bool,
    map_pages: u64,
    scratch: Vec<u8>,
}

impl Checkpoint {
    /// `replay_pages`: log that another recovery would go through.
    pub fn new(superblock: Superblock, replay_pages: u64) -> Self {
        Self {
            phase: Phase::Idle,
            superblock,
            pages_since: replay_pages,
            changed: replay_pages > 0,
            started: Instant(0),
            wanted: false,
            final_one: false,
            map_pages: 0,
            scratch: vec![0; NODE_BYTES_MAX],
        }
    }

    /// A recovery begins at this batch.
    pub fn replay_from(&self) -> Lsn {
        self.superblock.replay.lsn
    }

    /// Whether the superblock has room for some more runs that end without a checkpoint. When it has not, nothing may
    /// be appended that recovery would keep: then such a run leaves no mark.
    pub fn has_room_for_runs(&self) -> bool {
        self.superblock.cuts.len() + RUNS_KEPT <= Superblock::CUTS_MAX
    }

    pub fn wrote(&mut self, pages: u64) {
        self.pages_since += pages;
    }

    /// Something was appended that a checkpoint would save replaying, or a node must be written elsewhere.
    pub fn note_change(&mut self) {
        self.changed = true;
    }

    /// Asks for a checkpoint soon if anything changed since the last one began.
    pub fn want_if_changed(&mut self) {
        self.wanted |= self.is_idle() && self.changed;
    }

    /// Asks for the last checkpoint before the pool is closed: it marks the pool clean.
    pub fn want_final(&mut self) {
        self.final_one = true;
    }

    pub fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// Whether the pool is marked clean.
    pub fn is_clean(&self) -> bool {
        self.superblock.clean
    }

    /// Map pages written for a checkpoint that does not count yet.
    pub fn uncounted_pages(&self) -> u64 {
        match self.phase {
            Phase::Nodes { .. } | Phase::Roots { .. } | Phase::FirstCopy { .. } => self.map_pages,
            Phase::Idle | Phase::SecondCopy => 0,
        }
    }

    /// Whether a step would find work to do without waiting for the device.
    pub fn has_work(&self) -> bool {
        matches!(self.phase, Phase::Nodes { .. })
    }

    /// When the next one is due, if anything changed since the last.
    pub fn deadline(&self) -> Option<Instant> {
        (self.is_idle() && self.changed).then(|| Instant(self.started.0 + INTERVAL_NS))
    }

    fn is_due(&self, now: Instant, pool_pages: u64) -> bool {
        let log_max = LOG_PAGES_MAX.min(pool_pages / 4);
        let timely = now.0 >= self.started.0 + INTERVAL_NS || self.pages_since >= log_max;
        self.wanted || (self.changed && timely) || (self.final_one && !self.superblock.clean)
    }
}

impl Store {
    /// Goes on with the checkpoint, a bounded step.
    pub(crate) fn step_checkpoint(&mut self, now: Instant) {
        let phase = std::mem::take(&mut self.checkpoint.phase);
        self.checkpoint.phase = match phase {
            Phase::Idle => self.begin_checkpoint(now),
            Phase::Nodes { frozen, version, walk } => self.write_nodes(frozen, version, walk),
            Phase::Roots { frozen, roots, last } => self.await_roots(frozen, roots, last),
            Phase::FirstCopy { frozen, superblock, sync: Some(sync) } if self.durability.has_ended(sync) => {
                self.complete_checkpoint(*frozen, *superblock)
            }
            waiting @ (Phase::FirstCopy { .. } | Phase::SecondCopy) => waiting,
        };
    }

    fn begin_checkpoint(&mut self, now: Instant) -> Phase {
        let pool_pages = self.geometry.pool_bytes() / PAGE_BYTES as u64;
        if !self.checkpoint.is_due(now, pool_pages) {
            return Phase::Idle;
        }
        self.checkpoint.wanted = false;
        self.checkpoint.started = now;
        self.checkpoint.pages_since = 0;
        self.checkpoint.changed = false;
        self.checkpoint.map_pages = 0;
        self.log.seal(self.durability.durable());
        let contents = &mut self.contents;
        let cursor = self.log.cursor();
        let frozen = Frozen {
            image: contents.map.freeze(),
            volumes: contents.volumes.values().map(volume_record).collect(),
            snapshots: contents.snapshots.values().map(|state| (state.version, (state.seq, state.volume))).collect(),
            replay: LogPosition {
                lsn: self.log.current_lsn(),
                segment: cursor.segment,
                generation: cursor.generation,
                page: cursor.page.max(1),
            },
            is_final: self.checkpoint.final_one,
            retiring: std::mem::take(contents.map.retired()),
        };
        Phase::Nodes { frozen: Box::new(frozen), version: 0, walk: Walk::default() }
    }

    fn write_nodes(&mut self, frozen: Box<Frozen>, mut version: usize, mut walk: Walk) -> Phase {
        for _ in 0..NODES_PER_TURN {
            let Some(record) = frozen.image.versions.get(version) else {
                return self.write_roots(frozen);
            };
            if !self.can_checkpoint() {
                break;
            }
            match walk.next(&record.tree) {
                Some(unwritten) => self.write_node(unwritten.node, unwritten.place, record.family.0),
                None => (version, walk) = (version + 1, Walk::default()),
            }
        }
        Phase::Nodes { frozen, version, walk }
    }

    fn write_node(&mut self, node: &Node, place: Place, family: u32) {
        let mut scratch = std::mem::take(&mut self.checkpoint.scratch);
        scratch.fill(0);
        let used = encode_node(node, place, &mut scratch);
        let pages = used.div_ceil(PAGE_BYTES);
        let entry = Entry {
            volume: VolumeId(family.into()),
            seq: WriteSeq::ZERO,
            kind: EntryKind::Map,
            first: place.index.into(),
            count: u32::try_from(pages).expect("at most three"),
            aux: place.level.into(),
        };
        let bytes = &scratch[..pages * PAGE_BYTES];
        let disk = DiskRef {
            at: self.append_internal(entry, bytes),
            pages: u8::try_from(pages).expect("at most three"),
            crc: Checksum::of(bytes),
        };
        self.contents.map.note_written(node, disk);
        self.contents.segments.add_live_map(disk.at, entry.count);
        self.checkpoint.map_pages += u64::from(entry.count);
        self.checkpoint.scratch = scratch;
    }

    fn write_roots(&mut self, frozen: Box<Frozen>) -> Phase {
        let mut bytes = root_table(&frozen).encode();
        bytes.resize(bytes.len().next_multiple_of(PAGE_BYTES), 0);
        let mut roots: Vec<Extent> = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if !self.can_checkpoint() {
                // The pages written so far are not referenced by anything: written again next turn.
                self.forget_roots(&roots);
                return Phase::Nodes { version: frozen.image.versions.len(), frozen, walk: Walk::default() };
            }
            let room = self.open_batch(rest.len() / PAGE_BYTES);
            let (part, after) = rest.split_at(room.min(rest.len() / PAGE_BYTES) * PAGE_BYTES);
            let count = u32::try_from(part.len() / PAGE_BYTES).expect("at most a batch");
            let entry = Entry {
                volume: VolumeId(0),
                seq: WriteSeq::ZERO,
                kind: EntryKind::Root,
                first: roots.len() as u64,
                count,
                aux: 0,
            };
            let at = self.log.append(entry, part.into()).0;
            self.contents.segments.add_live_map(at, count);
            roots.push(Extent { at: at.0, pages: count, checksum: Checksum::of(part) });
            rest = after;
        }
        self.log.seal(self.durability.durable());
        let last = self.log.last_lsn();
        self.durability.want(last);
        Phase::Roots { frozen, roots, last }
    }

    fn forget_roots(&mut self, roots: &[Extent]) {
        let lsn = self.log.last_lsn();
        for extent in roots {
            self.contents.segments.remove_live_map(Location(extent.at), extent.pages, lsn);
        }
    }

    fn await_roots(&mut self, frozen: Box<Frozen>, roots: Vec<Extent>, last: Lsn) -> Phase {
        if self.durability.durable() < last {
            return Phase::Roots { frozen, roots, last };
        }
        let old = &self.checkpoint.superblock;
        let superblock = Superblock {
            number: old.number + 1,
            clean: frozen.is_final,
            zeroed_segments: self.zeroing.zeroed(),
            replay: frozen.replay,
            durable: self.durability.durable(),
            roots,
            cuts: Vec::new(),
            ..old.clone()
        };
        self.write_superblock(&superblock, superblock.slot());
        Phase::FirstCopy { frozen, superblock: Box::new(superblock), sync: None }
    }

    /// A superblock write ended at the device.
    pub(crate) fn superblock_written(&mut self) {
        match &mut self.checkpoint.phase {
            Phase::FirstCopy { sync: sync @ None, .. } => *sync = Some(self.durability.want_fresh()),
            Phase::SecondCopy => self.checkpoint.phase = Phase::Idle,
            Phase::Idle | Phase::Nodes { .. } | Phase::Roots { .. } | Phase::FirstCopy { sync: Some(_), .. } => {
                unreachable!("superblocks are written one after the other")
            }
        }
    }

    fn complete_checkpoint(&mut self, frozen: Frozen, superblock: Superblock) -> Phase {
        let lsn = self.durability.durable();
        let old_roots = std::mem::take(&mut self.checkpoint.superblock.roots);
        let retired = frozen.retiring.iter().map(|disk| (disk.at, u32::from(disk.pages)));
        for (at, pages) in retired.chain(old_roots.iter().map(|root| (Location(root.at), root.pages))) {
            self.contents.segments.remove_live_map(at, pages, lsn);
        }
        self.contents.map.release(frozen.image.into_trees());
        self.releasing = true;
        let other = SUPERBLOCK_OFFSETS[usize::from(superblock.slot() == SUPERBLOCK_OFFSETS[0])];
        self.write_superblock(&superblock, other);
        self.report(Report::Checkpointed { replay_from: superblock.replay.lsn, map_pages: self.checkpoint.map_pages });
        self.stats.checkpoints += 1;
        self.stats.map_pages += self.checkpoint.map_pages;
        self.checkpoint.superblock = superblock;
        self.free_segments();
        Phase::SecondCopy
    }
}

fn volume_record(state: &crate::VolumeState) -> VolumeRecord {
    VolumeRecord {
        id: state.id,
        name: state.name.clone(),
        version: state.version.0.into(),
        size_bytes: state.size_bytes,
        last_seq: state.last_seq,
        stable: state.stable,
        epoch: state.epoch,
    }
}

fn root_table(frozen: &Frozen) -> RootTable {
    let version = |record: &crate::map::VersionRecord| VersionRecord {
        id: record.id.0.into(),
        parent: record.parent.map(|parent| parent.0.into()),
        kind: match record.kind {
            Kind::Head(volume) => VersionKind::Head(volume),
            Kind::Snapshot(snapshot) => VersionKind::Snapshot(snapshot),
            Kind::Hidden => VersionKind::Hidden,
        },
        family: record.family.0.into(),
        size_blocks: record.end.0,
        seq: frozen.snapshots.get(&record.id).map(|(seq, _)| *seq).unwrap_or_default(),
        volume: frozen.snapshots.get(&record.id).map(|(_, volume)| *volume),
        root: record.tree.root().map(root_extent),
        root_level: record.tree.root().map_or(0, Node::level),
    };
    let alias =
        |(volume, family): &(VolumeId, crate::map::FamilyId)| AliasRecord { volume: *volume, family: family.0.into() };
    RootTable {
        versions: frozen.image.versions.iter().map(version).collect(),
        volumes: frozen.volumes.clone(),
        aliases: frozen.image.members.iter().map(alias).collect(),
    }
}

fn root_extent(node: &Node) -> Extent {
    let disk = node.disk().expect("every node of the image is written");
    Extent { at: disk.at.0, pages: disk.pages.into(), checksum: disk.crc }
}

fn encode_node(node: &Node, place: Place, bytes: &mut [u8]) -> usize {
    let header = NodeHeader { level: place.level, index: place.index.into() };
    let mut writer = NodeWriter::new(header, bytes);
    match node {
        Node::Leaf(leaf) => {
            for (group, content) in (0..).zip(leaf.groups()) {
                let record = GroupRecord { group, mapped: content.bitmap(), born: content.born };
                if record.mapped != 0 || record.born != WriteSeq::ZERO {
                    writer.group(&record, content.mapped().map(|entry| (entry.location.0, entry.crc)));
                }
            }
        }
        Node::Inner(inner) => {
            for (index, child) in inner.children() {
                let disk = child.disk().expect("children are written before their parents");
                writer.child(&InnerChild { index, pages: disk.pages, at: disk.at.0, checksum: disk.crc });
            }
        }
    }
    writer.finish()
}
