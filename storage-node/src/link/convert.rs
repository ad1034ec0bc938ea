//! Where the messages of the link become values of ours, checked, and the other way round. Nothing that a leader sends
//! makes this panic: what cannot be is an error that names the field.

use std::collections::BTreeMap;

use block::{BlockIndex, Epoch, GroupIndex, Incarnation, PoolId, SnapshotId, VOLUME_BYTES_MAX, VolumeId, WriteSeq};
use node::{
    Absence, Answer, Attachment, Command, ComparedReplica, Configuration, CopiesIntent, CopyObservation, CutRefusal,
    Found, GroupRange, HoldObservation, HoldState, Intent, LostBlock, Origin, Proposal, ReplicaIntent, Route,
    SnapshotIntent, SnapshotObservation, SnapshotsIntent, TokenHash, Wanted,
};
use proto::link::{self, FromNode, ToNode, from_node, to_node};
use store::DifferenceBase;
use store::map::Difference;

use super::delta::{Delta, PoolDelta};
use crate::cluster::{Introduction, is_name};
use crate::control::CallError;

/// Version of the protocol.
const VERSION: u32 = 1;
/// Entries of one list of an intent.
const ENTRIES_MAX: usize = 100_000;
/// Attachments of one volume: its readers, and one that changes places.
const ATTACHMENTS_MAX: usize = 257;
/// Replicas of one volume, and those that are on their way in or out.
const REPLICAS_MAX: usize = 16;
/// Snapshots of one volume, those that are to be deleted included.
const SNAPSHOTS_MAX: usize = 4096;
/// Smallest volume.
const VOLUME_BYTES_MIN: u64 = 1 << 20;
/// Sizes of volumes are multiples of this.
const SIZE_UNIT: u64 = block::BLOCK_BYTES as u64;
/// Longest address.
const ADDRESS_BYTES_MAX: usize = 256;
/// What is quoted of a bad value at most.
const QUOTED_CHARS_MAX: usize = 64;

/// A cluster's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClusterId(pub u128);

/// What a leader says.
#[derive(Debug)]
pub(super) enum Message {
    /// It comes first, and only then.
    Welcome,
    Intent {
        intent: Box<Intent>,
        /// Entries that are for pools of others; left out.
        foreign: usize,
        /// Our pool was removed from the cluster.
        removed: bool,
    },
    /// What became of a proposal. An intent tells it as well, with all that belongs to it.
    Decision,
    /// A question, and its number.
    Compare(u64, Command),
    /// A question about snapshots.
    Differ(u64, Command),
    /// It is there, says the answer to this question.
    Pong(u64),
}

/// Why a message is not one.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    /// No kind of message that is known.
    #[error("a message is empty, or of a kind this node does not know; update the older of the two")]
    UnknownKind,
    /// The wrong number of bytes.
    #[error("{field} has {found} bytes where {expected} are needed")]
    Length {
        /// Which.
        field: &'static str,
        /// What came.
        found: usize,
        /// What fits.
        expected: usize,
    },
    /// Too long a list.
    #[error("{field} has {found} entries where {max} may be")]
    TooMany {
        /// Which.
        field: &'static str,
        /// What came.
        found: usize,
        /// What fits.
        max: usize,
    },
    /// Not a name.
    #[error("{field} is \"{found}\", which is not a name")]
    Name {
        /// Which.
        field: &'static str,
        /// What came, cut.
        found: String,
    },
    /// Not an address.
    #[error("{field} is \"{found}\", which is no address: 1 to {ADDRESS_BYTES_MAX} bytes are needed")]
    Address {
        /// Which.
        field: &'static str,
        /// What came, cut.
        found: String,
    },
    /// Not what members of a configuration can be.
    #[error("replicas.replication of volume {volume} names no primary that is a member, or one twice")]
    Members {
        /// Of which volume.
        volume: u64,
    },
    /// A clone of a snapshot that is nowhere.
    #[error("replicas.origin names snapshot {snapshot} without its place")]
    NoOrigin {
        /// Of which.
        snapshot: u64,
    },
    /// No size of a volume.
    #[error("replicas.size_bytes is {found}, where a multiple of 4096 from 1 MiB to 64 TiB is needed")]
    Size {
        /// What came.
        found: u64,
    },
}

/// What a node says first.
pub(super) fn hello(introduction: &Introduction, cluster: Option<ClusterId>) -> FromNode {
    let Introduction { node, peer_address, nbd_addresses, labels, tags: _ } = introduction.clone();
    let cluster = cluster.map_or_else(Vec::new, |cluster| cluster.0.to_be_bytes().to_vec());
    let hello = link::Hello {
        version: VERSION,
        node,
        peer_address,
        nbd_addresses,
        labels,
        cluster,
        compares: true,
        differs: true,
    };
    FromNode { message: Some(from_node::Message::Hello(hello)) }
}

/// What a node holds.
pub(super) fn report(pool: PoolId, tags: &[String], delta: Delta) -> FromNode {
    let pools = delta.pool.into_iter().map(|news| pool_report(pool, tags, &news)).collect();
    FromNode { message: Some(from_node::Message::Report(link::Report { heard: delta.heard, pools })) }
}

fn pool_report(id: PoolId, tags: &[String], news: &PoolDelta) -> link::PoolReport {
    let replicas = news.replicas.iter().map(|replica| link::ReplicaReport {
        volume: replica.volume.0,
        size_bytes: replica.size_bytes,
        generation: replica.generation,
        epoch_seen: replica.epoch_seen.0,
        lost_blocks: replica.lost_blocks,
        snapshots: replica.snapshots.iter().map(snapshot_report).collect(),
        hold: replica.hold.map(hold_report),
        cut_refused: cut_refused(replica.cut_refused).into(),
        branch_points: replica.branch_points,
        ..replica.copy.as_ref().map(standing).unwrap_or_default()
    });
    link::PoolReport {
        id: id.0.to_be_bytes().to_vec(),
        capacity_bytes: news.pool.capacity_bytes,
        used_bytes: news.pool.used_bytes,
        tags: tags.to_vec(),
        failed: news.pool.failed,
        whole: news.whole,
        replicas: replicas.collect(),
        gone: news.gone.iter().map(|volume| volume.0).collect(),
    }
}

fn seq_of(at: WriteSeq) -> link::Seq {
    link::Seq { epoch: at.epoch.0, n: at.n }
}

fn snapshot_report(found: &SnapshotObservation) -> link::SnapshotReport {
    link::SnapshotReport {
        id: found.id.0,
        at: Some(seq_of(found.at)),
        size_bytes: found.size_bytes,
        exclusive_bytes: found.exclusive_bytes,
        shared_bytes: found.shared_bytes,
    }
}

fn hold_report(found: HoldObservation) -> link::Hold {
    let state = match found.state {
        HoldState::Held => link::HoldState::Held,
        HoldState::Cut => link::HoldState::Cut,
        HoldState::Released => link::HoldState::Released,
        HoldState::Broken => link::HoldState::Broken,
    };
    link::Hold { group: found.group, state: state.into() }
}

fn cut_refused(found: Option<CutRefusal>) -> link::CutRefusal {
    match found {
        None => link::CutRefusal::None,
        Some(CutRefusal::ManySnapshots) => link::CutRefusal::ManySnapshots,
        Some(CutRefusal::PoolFull) => link::CutRefusal::PoolFull,
        Some(CutRefusal::PoolCrowded) => link::CutRefusal::PoolCrowded,
        Some(CutRefusal::PoolFailed) => link::CutRefusal::PoolFailed,
        Some(CutRefusal::OldNode) => link::CutRefusal::OldNode,
    }
}

/// What a replica is among those of its volume.
fn standing(copy: &CopyObservation) -> link::ReplicaReport {
    link::ReplicaReport {
        incarnation: copy.incarnation.0,
        warm_from: copy.warm_from.0,
        epoch: copy.epoch.0,
        role: role_of(copy.role).into(),
        resync: copy.copying.map(|copying| link::Progress { left: copying.left, groups: copying.groups }),
        unable: !copy.is_able,
        ..link::ReplicaReport::default()
    }
}

fn role_of(role: &str) -> link::Role {
    match role {
        "learner" => link::Role::Learner,
        "joining" => link::Role::Joining,
        "backup" => link::Role::Backup,
        "candidate" => link::Role::Candidate,
        "recovering" => link::Role::Recovering,
        "reconciling" => link::Role::Reconciling,
        "primary" => link::Role::Primary,
        _ => link::Role::Out,
    }
}

/// What a volume's primary, or who wants to be, asks for.
pub(super) fn proposal(volume: VolumeId, wanted: &Proposal) -> FromNode {
    let member = |(pool, incarnation): (PoolId, Incarnation)| link::Member {
        pool: pool.0.to_be_bytes().to_vec(),
        incarnation: incarnation.0,
    };
    let Configuration { primary, members, .. } = &wanted.configuration;
    let proposal = link::Proposal {
        volume: volume.0,
        expected: wanted.expected.0,
        proposer: Some(member(wanted.proposer)),
        primary: primary.0.to_be_bytes().to_vec(),
        members: members.iter().map(|(pool, incarnation)| member((*pool, *incarnation))).collect(),
    };
    FromNode { message: Some(from_node::Message::Proposal(proposal)) }
}

/// Asks the leader whether it is there.
pub(super) fn ping(number: u64) -> FromNode {
    FromNode { message: Some(from_node::Message::Ping(link::Ping { number })) }
}

/// Takes what a leader says first, and whether it can be asked if it is there; `None` when it is something else.
pub(super) fn parse_first(message: ToNode) -> Result<Option<(ClusterId, bool)>, ConvertError> {
    match message.message {
        Some(to_node::Message::Welcome(found)) => welcome(&found).map(|cluster| Some((cluster, found.pongs))),
        Some(
            to_node::Message::Intent(_)
            | to_node::Message::Decision(_)
            | to_node::Message::Compare(_)
            | to_node::Message::Differ(_)
            | to_node::Message::Pong(_),
        ) => Ok(None),
        None => Err(ConvertError::UnknownKind),
    }
}

fn welcome(welcome: &link::Welcome) -> Result<ClusterId, ConvertError> {
    let cluster = array("welcome.cluster", &welcome.cluster)?;
    Ok(ClusterId(u128::from_be_bytes(cluster)))
}

/// Takes a message of the leader of `cluster` to the node whose pool is `ours`.
pub(super) fn parse(message: ToNode, cluster: ClusterId, ours: PoolId) -> Result<Message, ConvertError> {
    match message.message {
        Some(to_node::Message::Welcome(found)) => welcome(&found).map(|_| Message::Welcome),
        Some(to_node::Message::Intent(intent)) => parse_intent(intent, cluster, ours),
        Some(to_node::Message::Decision(_)) => Ok(Message::Decision),
        Some(to_node::Message::Pong(link::Pong { number })) => Ok(Message::Pong(number)),
        Some(to_node::Message::Compare(found)) => Ok(Message::Compare(found.id, comparison(&found))),
        Some(to_node::Message::Differ(found)) => Ok(Message::Differ(found.id, difference(&found))),
        None => Err(ConvertError::UnknownKind),
    }
}

fn difference(found: &link::Differ) -> Command {
    let base = match (found.base, found.before) {
        (0, None) => DifferenceBase::Nothing,
        (0, Some(before)) => DifferenceBase::Before(parse_seq(before)),
        (base, _) => DifferenceBase::Snapshot(SnapshotId(base)),
    };
    // None is cut at the very beginning.
    let snapshot = (SnapshotId(found.snapshot), parse_seq(found.at.unwrap_or_default()));
    Command::Differ { snapshot, base, from: BlockIndex(found.first_block) }
}

/// What became of a question about snapshots.
pub(super) fn differed(id: u64, answer: Result<Answer, CallError>) -> FromNode {
    let differed = match answer {
        Ok(Answer::Differences { pieces, size_bytes }) => link::Differed {
            id,
            refused: String::new(),
            found: pieces.found.into_iter().map(one_difference).collect(),
            next_block: pieces.next.map(|block| block.0),
            size_bytes,
        },
        Ok(other) => {
            link::Differed { id, refused: format!("the node answered {other:?}"), ..link::Differed::default() }
        }
        Err(error) => link::Differed { id, refused: error.to_string(), ..link::Differed::default() },
    };
    FromNode { message: Some(from_node::Message::Differed(differed)) }
}

fn one_difference(found: Difference) -> link::Difference {
    let Difference { range, is_zero } = found;
    link::Difference { first_block: range.first.0, blocks: range.count.0, zeroes: is_zero }
}

fn comparison(found: &link::Compare) -> Command {
    // Behind the largest volume there is nothing.
    let first = GroupIndex(found.first_group.min(VOLUME_BYTES_MAX >> block::BLOCK_SHIFT));
    let groups = GroupRange { first, count: found.groups };
    Command::Compare { volume: VolumeId(found.volume), groups, reads: found.reads }
}

/// The answer to such a question.
pub(super) fn compared(id: u64, answer: Result<Answer, CallError>) -> FromNode {
    let (refused, replicas) = match answer {
        Ok(Answer::Compared(replicas)) => (String::new(), replicas.into_iter().map(compared_replica).collect()),
        Ok(_) => (String::from("the node answered something else; report it"), Vec::new()),
        Err(error) => (error.to_string(), Vec::new()),
    };
    FromNode { message: Some(from_node::Message::Compared(link::Compared { id, refused, replicas })) }
}

fn compared_replica(replica: ComparedReplica) -> link::ComparedReplica {
    let pool = replica.pool.0.to_be_bytes().to_vec();
    match replica.found {
        Err(absence) => link::ComparedReplica {
            pool,
            absent: absence.to_string(),
            again: !matches!(absence, Absence::Old),
            ..link::ComparedReplica::default()
        },
        Ok(Found { blocks, read, repaired, lost, digests }) => link::ComparedReplica {
            pool,
            absent: String::new(),
            again: false,
            blocks,
            read,
            repaired,
            lost,
            digests: digests.into_iter().map(|digest| digest.0).collect(),
            lost_blocks: replica.lost.into_iter().map(lost_block).collect(),
        },
    }
}

fn lost_block(lost: LostBlock) -> link::LostBlock {
    link::LostBlock { snapshot: lost.snapshot.map(|id| id.0), block: lost.block.0 }
}

fn parse_intent(intent: link::Intent, cluster: ClusterId, ours: PoolId) -> Result<Message, ConvertError> {
    let link::Intent { revision, whole, replicas, deletions, routes, lost_routes, snapshot_deletions, removed_pools } =
        intent;
    let given = replicas.len() + deletions.len() + snapshot_deletions.len();
    let replicas = bounded("replicas", replicas, ENTRIES_MAX)?;
    let deletions = bounded("deletions", deletions, ENTRIES_MAX)?;
    let snapshot_deletions = bounded("snapshot_deletions", snapshot_deletions, ENTRIES_MAX)?;
    let routes = bounded("routes", routes, ENTRIES_MAX)?;
    let lost_routes = bounded("lost_routes", lost_routes, ENTRIES_MAX)?;
    let intent = Intent {
        cluster: cluster.0,
        revision,
        whole,
        replicas: here(replicas.into_iter().map(parse_replica), ours)?,
        deletions: here(deletions.into_iter().map(|deletion| parse_deletion(&deletion)), ours)?,
        snapshot_deletions: here(snapshot_deletions.iter().map(parse_snapshot_deletion), ours)?,
        routes: routes.into_iter().map(parse_route).collect::<Result<_, _>>()?,
        lost_routes: lost_routes.into_iter().map(|lost| name("lost_routes", lost)).collect::<Result<_, _>>()?,
    };
    let foreign = given - intent.replicas.len() - intent.deletions.len() - intent.snapshot_deletions.len();
    let removed = removed_pools.iter().any(|pool| *pool == ours.0.to_be_bytes());
    Ok(Message::Intent { intent: Box::new(intent), foreign, removed })
}

/// Those that are for our pool.
fn here<T>(
    entries: impl Iterator<Item = Result<(PoolId, T), ConvertError>>,
    ours: PoolId,
) -> Result<Vec<T>, ConvertError> {
    let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    Ok(entries.into_iter().filter(|(pool, _)| *pool == ours).map(|(_, entry)| entry).collect())
}

fn parse_replica(replica: link::ReplicaIntent) -> Result<(PoolId, ReplicaIntent), ConvertError> {
    let pool = pool_id("replicas.pool", &replica.pool)?;
    let copies = replica.replication.map(|replication| parse_copies(replica.volume, pool, replication)).transpose()?;
    let attachments = bounded("replicas.attachments", replica.attachments, ATTACHMENTS_MAX)?;
    let wanted = bounded("replicas.snapshots", replica.snapshots, SNAPSHOTS_MAX)?;
    let snapshots = SnapshotsIntent {
        wanted: wanted.iter().map(parse_snapshot).collect(),
        origin: replica.origin.map(parse_origin).transpose()?,
        hold: replica.hold,
        retired: replica.retired,
    };
    let parsed = ReplicaIntent {
        volume: VolumeId(replica.volume),
        name: name("replicas.name", replica.name)?,
        size_bytes: size(replica.size_bytes)?,
        may_create: replica.may_create,
        generation: replica.generation,
        attachments: attachments.into_iter().map(parse_attachment).collect::<Result<_, _>>()?,
        open: replica.open,
        copies,
        snapshots,
    };
    Ok((pool, parsed))
}

fn parse_snapshot(found: &link::SnapshotIntent) -> SnapshotIntent {
    SnapshotIntent { id: SnapshotId(found.id), at: found.at.map(parse_seq), group: found.group }
}

fn parse_origin(found: link::Origin) -> Result<Origin, ConvertError> {
    let at = found.at.map(parse_seq).ok_or(ConvertError::NoOrigin { snapshot: found.snapshot })?;
    Ok(Origin { snapshot: SnapshotId(found.snapshot), at })
}

fn parse_seq(at: link::Seq) -> WriteSeq {
    WriteSeq { epoch: Epoch(at.epoch), n: at.n }
}

fn parse_snapshot_deletion(deletion: &link::SnapshotDeletion) -> Result<(PoolId, SnapshotId), ConvertError> {
    Ok((pool_id("snapshot_deletions.pool", &deletion.pool)?, SnapshotId(deletion.snapshot)))
}

fn parse_copies(volume: u64, me: PoolId, found: link::Replication) -> Result<CopiesIntent, ConvertError> {
    let link::Replication { lineage, configuration, peers, hand_over_to, unwanted, copies } = found;
    let mut wanted = Wanted { copies: copies as usize, ..Wanted::default() };
    wanted.unwanted.extend(unwanted.then_some(me));
    let mut addresses = BTreeMap::new();
    for peer in bounded("replicas.replication.peers", peers, REPLICAS_MAX)? {
        let pool = pool_id("replicas.replication.peers.pool", &peer.pool)?;
        wanted.unwanted.extend((!peer.wanted).then_some(pool));
        addresses.insert(pool, peer.address);
    }
    let hand_over = match hand_over_to.as_slice() {
        [] => None,
        bytes => Some(pool_id("replicas.replication.hand_over_to", bytes)?),
    };
    let history = Epoch(u32::try_from(lineage).unwrap_or(u32::MAX));
    let configuration = match configuration {
        Some(configuration) => parse_configuration(volume, configuration, history)?,
        None => Configuration {
            epoch: Epoch(0),
            primary: me,
            members: BTreeMap::new(),
            members_min: 1,
            cache_generation: 0,
            history,
            recovery: false,
        },
    };
    Ok(CopiesIntent { configuration, peers: addresses, hand_over, wanted })
}

fn parse_configuration(volume: u64, found: link::Configuration, history: Epoch) -> Result<Configuration, ConvertError> {
    let primary = pool_id("replicas.replication.configuration.primary", &found.primary)?;
    let named = bounded("replicas.replication.configuration.members", found.members, REPLICAS_MAX)?;
    let count = named.len();
    let members: BTreeMap<PoolId, Incarnation> = named.iter().map(parse_member).collect::<Result<_, _>>()?;
    if members.len() != count || !members.contains_key(&primary) {
        return Err(ConvertError::Members { volume });
    }
    Ok(Configuration {
        epoch: Epoch(found.epoch),
        primary,
        members,
        members_min: found.members_min as usize,
        cache_generation: found.cache_generation,
        history,
        recovery: found.recovery,
    })
}

fn parse_member(member: &link::Member) -> Result<(PoolId, Incarnation), ConvertError> {
    let pool = pool_id("replicas.replication.configuration.members.pool", &member.pool)?;
    Ok((pool, Incarnation(member.incarnation)))
}

fn parse_attachment(attachment: link::Attachment) -> Result<Attachment, ConvertError> {
    Ok(Attachment {
        client: name("replicas.attachments.client", attachment.client)?,
        read_only: attachment.read_only,
        generation: attachment.generation,
        token: TokenHash(array("replicas.attachments.token_hash", &attachment.token_hash)?),
    })
}

fn parse_deletion(deletion: &link::Deletion) -> Result<(PoolId, VolumeId), ConvertError> {
    Ok((pool_id("deletions.pool", &deletion.pool)?, VolumeId(deletion.volume)))
}

fn parse_route(route: link::Route) -> Result<Route, ConvertError> {
    // Whether it leads somewhere is seen when a client goes there: one node's odd address must not cut off all others.
    if !(1..=ADDRESS_BYTES_MAX).contains(&route.address.len()) {
        return Err(ConvertError::Address { field: "routes.address", found: quoted(&route.address) });
    }
    Ok(Route { name: name("routes.name", route.name)?, address: route.address })
}

fn bounded<T>(field: &'static str, entries: Vec<T>, max: usize) -> Result<Vec<T>, ConvertError> {
    match entries.len() {
        found if found > max => Err(ConvertError::TooMany { field, found, max }),
        _ => Ok(entries),
    }
}

fn name(field: &'static str, text: String) -> Result<String, ConvertError> {
    if is_name(&text) { Ok(text) } else { Err(ConvertError::Name { field, found: quoted(&text) }) }
}

fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS_MAX).collect::<String>().escape_debug().to_string()
}

fn size(found: u64) -> Result<u64, ConvertError> {
    let can_be = (VOLUME_BYTES_MIN..=VOLUME_BYTES_MAX).contains(&found) && found.is_multiple_of(SIZE_UNIT);
    if can_be { Ok(found) } else { Err(ConvertError::Size { found }) }
}

fn pool_id(field: &'static str, bytes: &[u8]) -> Result<PoolId, ConvertError> {
    array(field, bytes).map(|bytes| PoolId(u128::from_be_bytes(bytes)))
}

fn array<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], ConvertError> {
    bytes.try_into().map_err(|_| ConvertError::Length { field, found: bytes.len(), expected: N })
}

#[cfg(test)]
mod tests {
    use block::PoolId;
    use proto::link::{
        Attachment, Configuration, Deletion, Intent, ReplicaIntent, Replication, Route, ToNode, Welcome, to_node,
    };

    use super::{ATTACHMENTS_MAX, ClusterId, ENTRIES_MAX, Message, parse};

    const OURS: PoolId = PoolId(7);
    const CLUSTER: ClusterId = ClusterId(8);

    fn pool() -> Vec<u8> {
        OURS.0.to_be_bytes().to_vec()
    }

    fn replica() -> ReplicaIntent {
        ReplicaIntent { pool: pool(), volume: 1, name: "v".to_owned(), size_bytes: 1 << 20, ..ReplicaIntent::default() }
    }

    fn attachment() -> Attachment {
        Attachment { client: "c".to_owned(), token_hash: vec![0; 32], ..Attachment::default() }
    }

    fn good() -> Intent {
        Intent {
            revision: 3,
            whole: true,
            replicas: vec![ReplicaIntent { attachments: vec![attachment()], ..replica() }],
            deletions: vec![Deletion { pool: pool(), volume: 2 }],
            routes: vec![Route { name: "r".to_owned(), address: "a:1".to_owned() }],
            lost_routes: vec!["l".to_owned()],
            ..Intent::default()
        }
    }

    fn of(intent: Intent) -> Result<Message, super::ConvertError> {
        parse(ToNode { message: Some(to_node::Message::Intent(intent)) }, CLUSTER, OURS)
    }

    #[test]
    fn an_intent_is_taken_as_it_is_and_without_what_is_for_others() {
        let mut given = good();
        given.replicas.push(ReplicaIntent { pool: vec![9; 16], ..replica() });
        given.deletions.push(Deletion { pool: vec![9; 16], volume: 3 });
        let Ok(Message::Intent { intent, foreign, removed }) = of(given) else { panic!("an intent") };
        assert_eq!((intent.cluster, intent.revision, intent.whole, foreign), (CLUSTER.0, 3, true, 2));
        assert!(!removed);
        assert_eq!((intent.replicas.len(), intent.deletions.len()), (1, 1));
        assert_eq!((intent.routes[0].address.as_str(), intent.lost_routes[0].as_str()), ("a:1", "l"));
    }

    #[test]
    fn a_node_hears_that_its_own_pool_was_removed() {
        for (removed_pools, expected) in [(vec![vec![9; 16], pool()], true), (vec![vec![9; 16], Vec::new()], false)] {
            let Ok(Message::Intent { removed, .. }) = of(Intent { removed_pools, ..good() }) else {
                panic!("an intent")
            };
            assert_eq!(removed, expected);
        }
    }

    #[test]
    fn what_cannot_be_is_an_error_that_names_the_field() {
        type Change = fn(&mut Intent);
        let with = |change: Change| {
            let mut intent = good();
            change(&mut intent);
            of(intent).expect_err("refused").to_string()
        };
        let rows: [(&str, Change); 14] = [
            ("names no primary that is a member", |intent| {
                let configuration = Configuration { primary: vec![7; 16], epoch: 1, ..Configuration::default() };
                let replication = Replication { configuration: Some(configuration), ..Replication::default() };
                intent.replicas[0].replication = Some(replication);
            }),
            ("replicas.pool has 15", |intent| intent.replicas[0].pool.truncate(15)),
            ("replicas.name is \"V\"", |intent| intent.replicas[0].name = "V".to_owned()),
            ("replicas.name is \"\"", |intent| intent.replicas[0].name.clear()),
            ("replicas.size_bytes is 0", |intent| intent.replicas[0].size_bytes = 0),
            ("replicas.size_bytes is 1048577", |intent| intent.replicas[0].size_bytes += 1),
            ("replicas.size_bytes is 18", |intent| intent.replicas[0].size_bytes = u64::MAX),
            ("replicas.attachments has 258", |intent| {
                intent.replicas[0].attachments = vec![attachment(); ATTACHMENTS_MAX + 1];
            }),
            ("replicas.attachments.client", |intent| intent.replicas[0].attachments[0].client = "\u{1b}".to_owned()),
            ("replicas.attachments.token_hash has 0", |intent| intent.replicas[0].attachments[0].token_hash.clear()),
            ("deletions.pool has 0", |intent| intent.deletions[0].pool.clear()),
            ("routes.address", |intent| intent.routes[0].address = "x".repeat(257)),
            ("routes.name", |intent| intent.routes[0].name = "a/b".to_owned()),
            ("lost_routes has 100001", |intent| intent.lost_routes = vec!["l".to_owned(); ENTRIES_MAX + 1]),
        ];
        for (expected, change) in rows {
            let found = with(change);
            assert!(found.contains(expected), "{expected} is missing in: {found}");
        }
    }

    #[test]
    fn a_message_of_no_kind_and_a_welcome_without_a_cluster_are_refused() {
        assert!(parse(ToNode { message: None }, CLUSTER, OURS).is_err());
        for len_bytes in [0, 15, 17] {
            let welcome = Welcome { cluster: vec![1; len_bytes], pongs: true };
            assert!(parse(ToNode { message: Some(to_node::Message::Welcome(welcome)) }, CLUSTER, OURS).is_err());
        }
    }
}
