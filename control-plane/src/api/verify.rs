//! Comparing a volume's replicas. The node of its primary is asked for one range after the other; nothing is kept here or
//! there between two of them, so that whoever asks can end it at any time, and another primary can be asked to go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use block::{BLOCK_BYTES, GROUP_BLOCKS, PoolId, VolumeId};
use cluster::{Name, State};
use proto::link::{Compare, Compared, ComparedReplica, LostBlock};
use proto::v1;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::fault::{not_found, not_leader};
use super::{Desk, parse};
use crate::link::AskError;
use crate::raft::Leadership;

/// What a client of [`v1::VerifyVolumeRequest`] gets.
pub(super) type Ranges = ReceiverStream<Result<v1::VerifiedRange, Status>>;

const GROUP_BYTES: u64 = GROUP_BLOCKS as u64 * BLOCK_BYTES as u64;
/// Groups of a range: 64 MiB of maps are compared in a moment.
const MAP_GROUPS: u32 = 256;
/// The same when they are read: 8 MiB, so that clients' reads get their turn.
const READ_GROUPS: u32 = 32;
/// Ranges on their way to a client that reads slowly.
const RANGES_MAX: usize = 4;
/// How often a member that could not answer at once is asked again.
const MEMBER_TRIES_MAX: u32 = 20;
/// How often somebody is asked who serves the volume: long enough for a failover.
const PRIMARY_TRIES_MAX: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

/// What is being verified.
struct Verification {
    desk: Desk,
    name: Name,
    reads: bool,
    ranges: mpsc::Sender<Result<v1::VerifiedRange, Status>>,
}

/// The volume as it is now.
struct Target {
    id: VolumeId,
    size_bytes: u64,
    primary: PoolId,
    /// The nodes of its replicas.
    nodes: BTreeMap<PoolId, Name>,
    snapshots: BTreeMap<u64, Name>,
}

/// Nobody listens any more.
struct Gone;

impl Desk {
    pub(super) async fn verify_volume(&self, request: v1::VerifyVolumeRequest) -> Result<Ranges, Status> {
        let v1::VerifyVolumeRequest { name, data, offset_bytes } = request;
        let name = parse::name("name", &name)?;
        self.look(|state| target(state, &name)).await?.ok_or_else(|| missing(&name))?;
        let (ranges, receiver) = mpsc::channel(RANGES_MAX);
        let verification = Verification { desk: self.clone(), name, reads: data, ranges };
        tokio::spawn(async move {
            let ranges = verification.ranges.clone();
            tokio::select! {
                _ended = verification.run(offset_bytes) => {}
                () = ranges.closed() => {}
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}

impl Verification {
    async fn run(self, offset_bytes: u64) -> Result<(), Gone> {
        let mut at = offset_bytes - offset_bytes % GROUP_BYTES;
        loop {
            let began = Instant::now();
            let range = match self.range(at).await? {
                Ok(range) => range,
                Err(status) => return self.ranges.send(Err(status)).await.map_err(|_| Gone),
            };
            at += range.len_bytes;
            let is_last = at >= range.volume_bytes;
            self.ranges.send(Ok(range)).await.map_err(|_| Gone)?;
            if is_last {
                return Ok(());
            }
            if self.reads {
                // Half of the time belongs to others.
                sleep(began.elapsed()).await;
            }
        }
    }

    /// Compares the range that begins there.
    async fn range(&self, at: u64) -> Result<Result<v1::VerifiedRange, Status>, Gone> {
        let mut why = String::new();
        let (mut failed, mut absent) = (0, 0);
        while failed < PRIMARY_TRIES_MAX {
            if !matches!(self.desk.consensus.leadership(), Leadership::Here { .. }) {
                return Ok(Err(not_leader(None)));
            }
            let Some(target) = self.desk.consensus.read(|state| target(state, &self.name)) else {
                return Ok(Err(missing(&self.name)));
            };
            if at >= target.size_bytes {
                return Ok(Ok(v1::VerifiedRange {
                    offset_bytes: at,
                    volume_bytes: target.size_bytes,
                    ..Default::default()
                }));
            }
            match self.ask(&target, at).await {
                Ok(compared) if absent < MEMBER_TRIES_MAX && compared.replicas.iter().any(|one| one.again) => {
                    absent += 1;
                }
                Ok(compared) => return Ok(Ok(verified(&target, at, self.len_bytes(&target, at), &compared))),
                Err(error) => {
                    failed += 1;
                    if why.is_empty() {
                        self.say(at, &target, &error).await?;
                    }
                    why = error.to_string();
                }
            }
            sleep(PAUSE).await;
        }
        Ok(Err(Status::unavailable(format!("volume {} cannot be compared now: {why}", self.name))))
    }

    fn len_bytes(&self, target: &Target, at: u64) -> u64 {
        let groups = if self.reads { READ_GROUPS } else { MAP_GROUPS };
        (u64::from(groups) * GROUP_BYTES).min(target.size_bytes - at)
    }

    async fn ask(&self, target: &Target, at: u64) -> Result<Compared, AskError> {
        let Some(node) = target.nodes.get(&target.primary) else {
            return Err(AskError::Refused(String::from("nobody serves it")));
        };
        let groups = self.len_bytes(target, at).div_ceil(GROUP_BYTES);
        let compare = Compare {
            id: 0,
            volume: target.id.0,
            first_group: at / GROUP_BYTES,
            groups: u32::try_from(groups).expect("a few hundred"),
            reads: self.reads,
        };
        self.desk.questions.compare(node, compare).await
    }

    async fn say(&self, at: u64, target: &Target, error: &AskError) -> Result<(), Gone> {
        let range = v1::VerifiedRange {
            offset_bytes: at,
            volume_bytes: target.size_bytes,
            waits_for: error.to_string(),
            ..Default::default()
        };
        self.ranges.send(Ok(range)).await.map_err(|_| Gone)
    }
}

fn missing(name: &Name) -> Status {
    not_found("no-such-volume", format!("there is no volume \"{name}\""))
}

fn target(state: &State, name: &Name) -> Option<Target> {
    let (id, volume) = state.volume(name)?;
    let node = |pool: &PoolId| Some((*pool, state.pool(*pool)?.node.clone()));
    let nodes = volume.replicas.keys().filter_map(node).collect();
    let snapshots = state.snapshots_of(id).map(|(id, snapshot)| (id.0, snapshot.name.clone())).collect();
    Some(Target { id, size_bytes: volume.size_bytes, primary: volume.home(), nodes, snapshots })
}

/// What the primary found, as clients are told.
fn verified(target: &Target, at: u64, len_bytes: u64, compared: &Compared) -> v1::VerifiedRange {
    let answers: BTreeMap<PoolId, &ComparedReplica> =
        compared.replicas.iter().filter_map(|one| Some((pool_of(one)?, one))).collect();
    let replicas = target.nodes.iter().map(|(pool, node)| replica(*pool, node, answers.get(pool).copied()));
    v1::VerifiedRange {
        offset_bytes: at,
        len_bytes,
        volume_bytes: target.size_bytes,
        replicas: replicas.collect(),
        differences: differences(target, at, &answers),
        waits_for: String::new(),
        lost: compared.replicas.iter().flat_map(|one| &one.lost_blocks).map(|lost| lost_block(target, lost)).collect(),
    }
}

fn lost_block(target: &Target, lost: &LostBlock) -> v1::LostBlock {
    let name = |id: u64| target.snapshots.get(&id).map_or_else(|| format!("number {id}"), ToString::to_string);
    v1::LostBlock {
        snapshot: lost.snapshot.map(name).unwrap_or_default(),
        offset_bytes: lost.block.saturating_mul(BLOCK_BYTES as u64),
    }
}

fn pool_of(replica: &ComparedReplica) -> Option<PoolId> {
    Some(PoolId(u128::from_be_bytes(replica.pool.as_slice().try_into().ok()?)))
}

fn replica(pool: PoolId, node: &Name, answer: Option<&ComparedReplica>) -> v1::VerifiedReplica {
    let named = v1::VerifiedReplica {
        node: node.to_string(),
        pool: format!("{:032x}", pool.0),
        ..v1::VerifiedReplica::default()
    };
    let Some(answer) = answer else {
        return v1::VerifiedReplica { absent: String::from("it is not in sync"), ..named };
    };
    let ComparedReplica { absent, blocks, read, repaired, lost, .. } = answer.clone();
    v1::VerifiedReplica { absent, blocks, read, repaired, lost, ..named }
}

fn differences(target: &Target, at: u64, answers: &BTreeMap<PoolId, &ComparedReplica>) -> Vec<v1::Difference> {
    let present: Vec<(&PoolId, &&ComparedReplica)> =
        answers.iter().filter(|(_, answer)| answer.absent.is_empty()).collect();
    let groups = present.iter().map(|(_, answer)| answer.digests.len()).max().unwrap_or(0);
    let held = |group: usize| {
        let node = |pool: &PoolId| target.nodes.get(pool).map_or_else(|| pool.to_string(), ToString::to_string);
        let digest = |answer: &ComparedReplica| answer.digests.get(group).copied().unwrap_or(0);
        present.iter().map(|(pool, answer)| v1::HeldThere { node: node(pool), digest: digest(answer) }).collect()
    };
    let differs = |held: &Vec<v1::HeldThere>| held.windows(2).any(|pair| pair[0].digest != pair[1].digest);
    let all = (0..groups).map(|group| (group as u64, held(group))).filter(|(_, held)| differs(held));
    all.map(|(group, held)| v1::Difference { offset_bytes: at + group * GROUP_BYTES, len_bytes: GROUP_BYTES, held })
        .collect()
}
