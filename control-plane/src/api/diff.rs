//! In what snapshots differ. A node that has them is asked for one piece after the other; nothing is kept here or there
//! between two of them, so that whoever asks can end it at any time, and another node can be asked to go on.

use std::time::Duration;

use block::{BLOCK_BYTES, Epoch, SnapshotId, WriteSeq};
use cluster::{Name, State};
use proto::link::{self, Differ, Differed};
use proto::v1;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::fault::{invalid, not_found, not_leader, refused};
use super::{Desk, parse};
use crate::raft::Leadership;

/// What a client of [`v1::DiffSnapshotRequest`] gets.
pub(super) type Pieces = ReceiverStream<Result<v1::DiffPiece, Status>>;

/// Pieces on their way to a client that reads slowly.
const PIECES_MAX: usize = 4;
/// How often a node is asked: long enough for one to come back.
const TRIES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked about.
struct Question {
    desk: Desk,
    name: Name,
    base: Base,
    pieces: mpsc::Sender<Result<v1::DiffPiece, Status>>,
}

/// What it is compared with.
enum Base {
    Nothing,
    Snapshot(Name),
    Before(WriteSeq),
}

/// Whom to ask, and what.
struct Target {
    differ: Differ,
    /// Nodes with a pool that has all it takes.
    nodes: Vec<Name>,
}

/// Nobody listens any more.
struct Gone;

impl Desk {
    pub(super) async fn diff_snapshot(&self, request: v1::DiffSnapshotRequest) -> Result<Pieces, Status> {
        let v1::DiffSnapshotRequest { name, base, base_at, offset_bytes } = request;
        let base = match (parse::optional_name("base", &base)?, base_at) {
            (Some(_), Some(_)) => return Err(invalid("base_at", "name a base or say where it was cut, not both")),
            (Some(base), None) => Base::Snapshot(base),
            (None, Some(v1::Cut { epoch, n })) => Base::Before(WriteSeq { epoch: Epoch(epoch), n }),
            (None, None) => Base::Nothing,
        };
        let name = parse::name("name", &name)?;
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let question = Question { desk: self.clone(), name, base, pieces };
        self.look(|state| question.target(state)).await??;
        tokio::spawn(async move {
            let pieces = question.pieces.clone();
            tokio::select! {
                _ended = question.run(offset_bytes) => {}
                () = pieces.closed() => {}
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

impl Question {
    async fn run(self, offset_bytes: u64) -> Result<(), Gone> {
        let mut at = offset_bytes / BLOCK_BYTES as u64;
        loop {
            let piece = self.piece(at).await?;
            let next = piece.as_ref().ok().and_then(|differed| differed.next_block);
            let told = piece.map(|differed| told(&differed));
            self.pieces.send(told).await.map_err(|_| Gone)?;
            match next {
                Some(next) => at = next,
                None => return Ok(()),
            }
        }
    }

    /// The piece that begins there, of whoever can tell.
    async fn piece(&self, at: u64) -> Result<Result<Differed, Status>, Gone> {
        let mut why = String::from("no node that has it is heard");
        for attempt in 0..TRIES_MAX {
            if !matches!(self.desk.consensus.leadership(), Leadership::Here { .. }) {
                return Ok(Err(not_leader(None)));
            }
            let Target { differ, nodes } = match self.desk.consensus.read(|state| self.target(state)) {
                Ok(target) => target,
                Err(status) => return Ok(Err(status)),
            };
            for node in &nodes {
                match self.desk.questions.differ(node, Differ { first_block: at, ..differ }).await {
                    Ok(differed) => return Ok(Ok(differed)),
                    Err(error) => why = error.to_string(),
                }
            }
            if attempt == 0 {
                let piece = v1::DiffPiece { waits_for: why.clone(), ..v1::DiffPiece::default() };
                self.pieces.send(Ok(piece)).await.map_err(|_| Gone)?;
            }
            sleep(PAUSE).await;
        }
        Ok(Err(Status::unavailable(format!("nobody can say in what snapshot {} differs now: {why}", self.name))))
    }

    fn target(&self, state: &State) -> Result<Target, Status> {
        let (id, at) = cut(state, &self.name)?;
        let base = match &self.base {
            Base::Snapshot(base) => Some(cut(state, base)?),
            Base::Nothing | Base::Before(_) => None,
        };
        if let Base::Before(before) = self.base {
            self.check_history(state, before)?;
        }
        let has = |volume: &cluster::Volume, pool, (id, at)| volume.has_snapshot(pool, id, at);
        let volumes = state.contents().volumes.values();
        let pools = volumes.flat_map(|volume| volume.replicas.keys().map(move |pool| (volume, *pool)));
        let having: Vec<_> =
            pools.filter(|(volume, pool)| has(volume, *pool, (id, at))).map(|(_, pool)| pool).collect();
        let has_base =
            |pool| base.is_none_or(|base| state.contents().volumes.values().any(|volume| has(volume, pool, base)));
        let nodes: Vec<Name> = having
            .iter()
            .filter(|pool| has_base(**pool))
            .filter_map(|pool| Some(state.pool(*pool)?.node.clone()))
            .collect();
        if nodes.is_empty() && !having.is_empty() {
            let sentence = format!("no pool has snapshot {} and its base as well; take all of it", self.name);
            return Err(refused("no-base", sentence));
        }
        let differ = Differ {
            id: 0,
            snapshot: id.0,
            at: Some(seq(at)),
            base: base.map_or(0, |(base, _)| base.0),
            before: if let Base::Before(before) = self.base { Some(seq(before)) } else { None },
            first_block: 0,
        };
        Ok(Target { differ, nodes })
    }

    /// What came after a change is known by its place in the order only as long as the order was never broken off.
    fn check_history(&self, state: &State, before: WriteSeq) -> Result<(), Status> {
        let (_, at) = cut(state, &self.name)?;
        let source = state.snapshot(&self.name).and_then(|(_, one)| state.contents().volumes.get(&one.source));
        let lineage = source.and_then(|volume| volume.replication.as_ref()).map_or(1, |decided| decided.lineage);
        let sentence = match (lineage, before > at) {
            (1, false) => return Ok(()),
            (1, true) => format!("snapshot {} was cut before the base", self.name),
            _ => String::from("the volume was gone on with from a replica that may lack writes since its base was cut"),
        };
        Err(refused("history-lost", format!("{sentence}; take all of it")))
    }
}

fn cut(state: &State, name: &Name) -> Result<(SnapshotId, WriteSeq), Status> {
    let missing = || not_found("no-such-snapshot", format!("there is no snapshot \"{name}\""));
    let (id, snapshot) = state.snapshot(name).ok_or_else(missing)?;
    let unready = || refused("not-ready", format!("snapshot {name} is not ready yet; try again"));
    Ok((id, snapshot.at().ok_or_else(unready)?))
}

fn seq(at: WriteSeq) -> link::Seq {
    link::Seq { epoch: at.epoch.0, n: at.n }
}

fn told(differed: &Differed) -> v1::DiffPiece {
    let bytes = |blocks: u64| blocks * BLOCK_BYTES as u64;
    let ranges = differed.found.iter().map(|one| v1::DiffRange {
        offset_bytes: bytes(one.first_block),
        len_bytes: bytes(one.blocks.into()),
        zeroes: one.zeroes,
    });
    v1::DiffPiece {
        ranges: ranges.collect(),
        next_bytes: differed.next_block.map_or(differed.size_bytes, bytes),
        size_bytes: differed.size_bytes,
        waits_for: String::new(),
    }
}
