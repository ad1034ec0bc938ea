//! Says what a replica holds in some groups, at just one place of the order; and, if that is wanted, reads all of it.
//!
//! What the map says is taken in the order in which the store is given changes, so every member says it of the same place.
//! Reading takes its time and does not matter for that: it shows whether the disk still has what the map says.

use block::{GroupIndex, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use replication::{Aside, Found, GroupRange, Snapshot};
use store::{Outcome, Source, Token};

use crate::copies::content::known;
use crate::copies::rot::{Outlook, Span};
use crate::copies::work::{Given, Handed, Work};
use crate::mark::Mark;
use crate::pipeline::Pipeline;
use crate::slab::Key;

/// Looks of this node that read at a time, for whomever.
const LOOKS_MAX: usize = 8;

/// What is to be looked at, and who wants to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Question {
    pub asker: Asker,
    pub groups: GroupRange,
    /// Whether all of it is read.
    pub reads: bool,
    /// Of which the same is meant.
    pub snapshots: Vec<Snapshot>,
}

/// Who wants to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A comparison of this node.
    Here { number: u64 },
    /// One of another node.
    Peer { peer: PoolId, number: u64 },
}

/// A look that reads.
#[derive(Debug)]
pub(crate) struct Look {
    volume: VolumeId,
    asker: Asker,
    found: Found,
    /// What is to be read, the next one last.
    rest: Vec<Piece>,
    reading: Piece,
    /// Blocks of it that were being repaired when it was met last.
    repairing: u64,
    /// What is known to be lost of it was asked for once more.
    asked_anew: bool,
}

/// A group of the volume, or what a snapshot holds of it that nothing else does.
#[derive(Clone, Copy, Debug)]
struct Piece {
    of: Option<SnapshotId>,
    group: GroupIndex,
    blocks: u32,
}

impl Pipeline {
    /// The primary wants to know what is held here as of a change.
    pub(super) fn asked_to_look(&mut self, id: VolumeId, peer: PoolId, at: WriteSeq, question: Question) {
        let Some(copy) = self.copy_mut(id) else { return };
        let status = copy.replica.status();
        let follows = copy.replica.configuration().is_some_and(|found| found.primary == peer);
        if !follows || at != (WriteSeq { epoch: status.epoch, n: status.received }) {
            return self.answer_look(id, question.asker, None);
        }
        copy.work.push_back(Work::Look(question));
        self.hand_work(id);
    }

    /// Everything before it was given to the store.
    pub(super) fn look(&mut self, id: VolumeId, question: Question) {
        let Question { asker, groups: GroupRange { first, count }, reads, snapshots } = question;
        let is_there =
            |wanted: &Snapshot| self.store.snapshot_state(wanted.id).is_some_and(|found| known(found) == *wanted);
        let numbers: Vec<_> = snapshots.iter().map(|snapshot| snapshot.id).collect();
        // One that is not there any more, or not yet, is not compared with: whoever asks asks again.
        let digests = snapshots.iter().all(is_there).then(|| self.store.digests_with(id, &numbers, first, count));
        let Some(Ok(digests)) = digests else { return self.answer_look(id, asker, None) };
        let blocks = digests.iter().map(|group| u64::from(group.blocks)).sum();
        let found = Found { blocks, digests: digests.iter().map(|group| group.digest).collect(), ..Found::default() };
        if !reads {
            return self.answer_look(id, asker, Some(found));
        }
        if self.copies.looks.len() >= LOOKS_MAX {
            return self.answer_look(id, asker, None);
        }
        let pieces = (first.0..).zip(&digests).flat_map(|(group, found)| {
            let volume = Piece { of: None, group: GroupIndex(group), blocks: found.mapped };
            [volume].into_iter().chain(self.pieces_of(id, &numbers, GroupIndex(group)))
        });
        let mut rest: Vec<_> = pieces.filter(|piece| piece.blocks > 0).collect();
        rest.reverse();
        let reading = Piece { of: None, group: first, blocks: 0 };
        let look = Look { volume: id, asker, found, rest, reading, repairing: 0, asked_anew: false };
        let key = self.copies.looks.insert(look);
        self.look_on(key);
    }

    /// What the snapshots, by rising place, hold of a group and neither the volume nor the one before holds.
    fn pieces_of(&self, id: VolumeId, snapshots: &[SnapshotId], group: GroupIndex) -> Vec<Piece> {
        let before = [None].into_iter().chain(snapshots.iter().map(|snapshot| Some(*snapshot)));
        let pieces = snapshots.iter().zip(before).map(|(snapshot, before)| {
            let beside: Vec<_> = before.map(Source::Snapshot).into_iter().chain([Source::Volume(id)]).collect();
            Piece { of: Some(*snapshot), group, blocks: self.store.held_alone(*snapshot, group, &beside) }
        });
        pieces.collect()
    }

    /// Reads the next group, or answers.
    fn look_on(&mut self, key: Key) {
        let Some(look) = self.copies.looks.get_mut(key) else { return };
        let (id, asker) = (look.volume, look.asker);
        while let Some(piece @ Piece { of, group, .. }) = look.rest.pop() {
            (look.reading, look.repairing, look.asked_anew) = (piece, 0, false);
            let given = Given::Look { look: key, group, of };
            let handed = self.copies.handed.insert(Handed::new(id, Incarnation(0), given));
            let source = of.map_or(Source::Volume(id), Source::Snapshot);
            if self.store.read_group(source, group, Mark::Work(handed).token()).is_ok() {
                return self.stir();
            }
            self.copies.handed.remove(handed);
        }
        let found = self.copies.looks.remove(key).map(|look| look.found);
        self.answer_look(id, asker, found);
    }

    /// Notes how many blocks of a group are repaired before it is read again.
    fn note_repairs(&mut self, key: Key, repairing: u64) {
        if let Some(look) = self.copies.looks.get_mut(key) {
            look.repairing += repairing;
        }
    }

    /// A group could not be read: what it lost is asked for, once more if that was done before.
    pub(super) fn look_tries_again(&mut self, look: Key, token: Token, span: Span) -> bool {
        let is_first =
            self.copies.looks.get_mut(look).is_some_and(|look| !std::mem::replace(&mut look.asked_anew, true));
        if is_first {
            self.copies.rot.look_again(span);
        }
        let again = self.copies.rot.judge(token, span) == Outlook::Again;
        if again {
            let repairing = self.copies.rot.count(span).0;
            self.note_repairs(look, repairing);
        }
        again
    }

    /// A group was read, or cannot be.
    pub(super) fn looked(&mut self, key: Key, outcome: Outcome) {
        let Some(look) = self.copies.looks.get(key) else { return };
        let (piece, lost) = (look.reading, self.lost_of(look.volume, look.reading));
        let Some(look) = self.copies.looks.get_mut(key) else { return };
        look.found.read += u64::from(piece.blocks);
        match outcome {
            Outcome::Read(found) => {
                look.found.repaired += look.repairing;
                self.store.recycle(found.buffer);
            }
            Outcome::Failed(_) | Outcome::Done | Outcome::Space(_) => {
                look.found.lost += lost;
                look.found.repaired += look.repairing.saturating_sub(lost);
            }
        }
        self.look_on(key);
    }

    /// Lost blocks of what was read. Of a snapshot, those that the volume lost as well were counted there.
    fn lost_of(&self, volume: VolumeId, piece: Piece) -> u64 {
        let range = block::BlockRange::new(piece.group.0 * u64::from(block::GROUP_BLOCKS), block::GROUP_BLOCKS);
        let span = Span { volume, of: piece.of, range };
        let lost = self.copies.rot.lost_within(span);
        let own = lost.filter(|(block, held)| piece.of.is_none() || self.store.held(volume, *block) != Some(*held));
        // What failed and is not lost failed for good all the same.
        (own.count() as u64).max(u64::from(piece.of.is_none()))
    }

    fn answer_look(&mut self, id: VolumeId, asker: Asker, found: Option<Found>) {
        match asker {
            Asker::Here { number } => self.found_here(id, number, found),
            Asker::Peer { peer, number } => self.post_aside(id, peer, &Aside::Compared { id: number, found }),
        }
    }
}
