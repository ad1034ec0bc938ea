//! Any command at all.

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Addresses, Admin, Change, Claim, ClusterId, Command, Cron, CutRefusal, Generation, GroupId, Hold,
    HoldState, Labels, Modification, Name, NodeReport, PoolReport, Progress, Proposal, ReplicaReport, Replicas,
    RequestId, Revision, Role, Settings, SnapshotCopy, Source, Standing, Time, TokenHash, VolumeSpec, ZoneSpread,
};
use openraft::EntryPayload;
use openraft::testing::log_id;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::proptest;
use proptest::sample::select;

use crate::raft::Entry;
use crate::record::{command_len, read_entry, write_entry};

fn name() -> impl Strategy<Value = Name> {
    "[a-z0-9][a-z0-9._-]{0,12}".prop_map(|text| text.parse().unwrap())
}

fn labels() -> impl Strategy<Value = Labels> {
    btree_map(any::<String>(), any::<String>(), 0..4)
}

fn addresses() -> impl Strategy<Value = Addresses> {
    (any::<String>(), vec(any::<String>(), 0..3)).prop_map(|(peers, nbd)| Addresses { peers, nbd })
}

fn replica() -> impl Strategy<Value = ReplicaReport> {
    (any::<(u64, u64, u64)>(), standing(), btree_map(any::<u64>().prop_map(SnapshotId), copy(), 0..4)).prop_map(
        |((volume, size_bytes, generation), standing, snapshots)| ReplicaReport {
            volume: VolumeId(volume),
            size_bytes,
            generation: Generation(generation),
            standing,
            snapshots,
        },
    )
}

fn copy() -> impl Strategy<Value = SnapshotCopy> {
    any::<(u32, u64, u64, u64, u64)>().prop_map(|(epoch, n, size_bytes, exclusive_bytes, shared_bytes)| SnapshotCopy {
        at: WriteSeq { epoch: Epoch(epoch), n },
        size_bytes,
        exclusive_bytes,
        shared_bytes,
    })
}

fn hold() -> impl Strategy<Value = Hold> {
    let states = [HoldState::Held, HoldState::Cut, HoldState::Released, HoldState::Broken];
    (any::<u64>(), select(states.to_vec())).prop_map(|(group, state)| Hold { group: GroupId(group), state })
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![name().prop_map(Source::Snapshot), name().prop_map(Source::Volume)]
}

fn cron() -> impl Strategy<Value = Cron> {
    select(vec!["@daily", "*/5 * * * *", "0 0 29 2 *"]).prop_map(|text| text.parse().unwrap())
}

fn standing() -> impl Strategy<Value = Standing> {
    let roles = [
        Role::Out,
        Role::Learner,
        Role::Joining,
        Role::Backup,
        Role::Candidate,
        Role::Recovering,
        Role::Reconciling,
        Role::Primary,
    ];
    let progress = any::<(u64, u64)>().prop_map(|(left, groups)| Progress { left, groups });
    (any::<(u64, u64, u32, bool, u64)>(), select(roles.to_vec()), option::of(progress), option::of(hold())).prop_map(
        |((incarnation, warm_from, epoch, unable, lost_blocks), role, resync, hold)| Standing {
            incarnation: Incarnation(incarnation),
            warm_from: Incarnation(warm_from),
            epoch: Epoch(epoch),
            role,
            unable,
            resync,
            lost_blocks,
            hold,
            cut_refused: (epoch % 3 == 0).then_some(CutRefusal::PoolFull),
            branch_points: epoch,
        },
    )
}

fn spread() -> impl Strategy<Value = ZoneSpread> {
    prop_oneof![Just(ZoneSpread::Preferred), Just(ZoneSpread::Required), Just(ZoneSpread::None)]
}

fn proposal() -> impl Strategy<Value = Proposal> {
    let member = || any::<(u128, u64)>().prop_map(|(pool, incarnation)| (PoolId(pool), Incarnation(incarnation)));
    (any::<(u32, u128)>(), member(), vec(member(), 0..4)).prop_map(|((expected, primary), proposer, members)| {
        Proposal {
            expected: Epoch(expected),
            proposer,
            primary: PoolId(primary),
            members: members.into_iter().collect(),
        }
    })
}

fn replicas() -> impl Strategy<Value = Replicas> {
    let changed = (vec(replica(), 0..4), vec(any::<u64>().prop_map(VolumeId), 0..4));
    prop_oneof![
        vec(replica(), 0..4).prop_map(Replicas::All),
        changed.prop_map(|(present, gone)| Replicas::Changed { present, gone }),
    ]
}

fn pool() -> impl Strategy<Value = PoolReport> {
    let parts = (any::<(u128, u64, u64, bool)>(), vec(any::<String>(), 0..3), replicas());
    parts.prop_map(|((id, capacity_bytes, used_bytes, failed), tags, replicas)| PoolReport {
        id: PoolId(id),
        capacity_bytes,
        used_bytes,
        tags,
        failed,
        replicas,
    })
}

fn report() -> impl Strategy<Value = NodeReport> {
    (any::<u64>(), vec(pool(), 0..3)).prop_map(|(heard, pools)| NodeReport { heard: Revision(heard), pools })
}

fn spec() -> impl Strategy<Value = VolumeSpec> {
    let words = (vec(any::<String>(), 0..3), labels(), vec(labels(), 0..3), labels());
    let parts = (any::<(u8, Option<u8>, String, bool)>(), spread(), words);
    parts.prop_map(|((replicas, members_min, description, open), zone_spread, words)| {
        let (pool_tags, node_selector, places, labels) = words;
        VolumeSpec { replicas, members_min, zone_spread, pool_tags, node_selector, places, description, labels, open }
    })
}

fn modification() -> impl Strategy<Value = Modification> {
    let parts =
        (any::<(Option<String>, Option<bool>, Option<u8>, Option<u8>)>(), option::of(labels()), option::of(spread()));
    parts.prop_map(|((description, open, replicas, members_min), labels, zone_spread)| Modification {
        description,
        labels,
        open,
        replicas,
        members_min,
        zone_spread,
    })
}

fn admin() -> impl Strategy<Value = Admin> {
    prop_oneof![Just(Admin::Schedulable), Just(Admin::Cordoned), Just(Admin::Draining)]
}

fn mode() -> impl Strategy<Value = AccessMode> {
    prop_oneof![Just(AccessMode::ReadWrite), Just(AccessMode::ReadOnly), Just(AccessMode::Shared)]
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![Just(Claim::Take), Just(Claim::Keep), Just(Claim::Renew)]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<u128>().prop_map(|cluster| Change::Found { cluster: ClusterId(cluster) }),
        (name(), addresses(), labels()).prop_map(|(node, addresses, labels)| Change::Register {
            node,
            addresses,
            labels
        }),
        name().prop_map(|node| Change::Lose { node }),
        (name(), report()).prop_map(|(node, report)| Change::Report { node, report }),
        (name(), admin()).prop_map(|(node, admin)| Change::Administer { node, admin }),
        name().prop_map(|node| Change::RemoveNode { node }),
        (any::<u128>(), any::<bool>()).prop_map(|(pool, force)| Change::RemovePool { pool: PoolId(pool), force }),
        (name(), any::<u64>(), spec(), option::of(source()))
            .prop_map(|(name, size_bytes, spec, source)| { Change::CreateVolume { name, size_bytes, spec, source } }),
        snapshot_change(),
        (name(), any::<u64>()).prop_map(|(volume, size_bytes)| Change::ResizeVolume { volume, size_bytes }),
        (name(), modification()).prop_map(|(volume, modification)| Change::ModifyVolume { volume, modification }),
        (name(), any::<bool>()).prop_map(|(volume, force)| Change::DeleteVolume { volume, force }),
        (name(), name(), mode(), any::<[u8; 32]>(), claim()).prop_map(|(volume, client, mode, token, claim)| {
            Change::Attach { volume, client, mode, token: TokenHash(token), claim }
        }),
        (name(), option::of(name())).prop_map(|(volume, client)| Change::Detach { volume, client }),
        any::<(u64, u64, u64)>().prop_map(|(overcommit_percent, full_percent, replace_after_ms)| {
            Change::Set(Settings { overcommit_percent, full_percent, replace_after_ms })
        }),
        (any::<u64>(), proposal())
            .prop_map(|(volume, proposal)| Change::Configure { volume: VolumeId(volume), proposal }),
        (name(), any::<u128>()).prop_map(|(volume, pool)| Change::ForcePromote { volume, pool: PoolId(pool) }),
        (name(), any::<u128>()).prop_map(|(volume, pool)| Change::HandOver { volume, pool: PoolId(pool) }),
        Just(Change::Tick),
        Just(Change::Recover),
        vec(name(), 0..3).prop_map(|without| Change::Resume { without: without.into_iter().collect() }),
    ]
}

fn snapshot_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (name(), name(), labels()).prop_map(|(name, volume, labels)| Change::CreateSnapshot { name, volume, labels }),
        name().prop_map(|snapshot| Change::DeleteSnapshot { snapshot }),
        (name(), vec(name(), 0..4), labels()).prop_map(|(name, volumes, labels)| Change::CreateGroup {
            name,
            volumes,
            labels
        }),
        name().prop_map(|group| Change::DeleteGroup { group }),
        (name(), name(), cron(), any::<u32>()).prop_map(|(volume, schedule, cron, keep)| Change::SetSchedule {
            volume,
            schedule,
            cron,
            keep
        }),
        (name(), labels()).prop_map(|(host, labels)| Change::RegisterHost { host, labels }),
        name().prop_map(|host| Change::RemoveHost { host }),
        (name(), name()).prop_map(|(volume, schedule)| Change::RemoveSchedule { volume, schedule }),
    ]
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    let request = option::of(any::<u128>().prop_map(RequestId));
    (any::<u64>(), request, change()).prop_map(|(at, request, change)| Command { at: Time(at), request, change })
}

proptest! {
    #[test]
    fn every_command_comes_back_as_it_was(command in command(), (term, leader, index) in any::<(u64, u64, u64)>()) {
        let entry = Entry { log_id: log_id(term, leader, index), payload: EntryPayload::Normal(command.clone()) };
        let bytes = write_entry(&entry);
        assert_eq!(read_entry(&bytes).unwrap(), entry);
        assert!(command_len(&command) <= bytes.len());
    }

    #[test]
    fn rotten_entries_are_refused_or_read_but_never_a_panic(command in command(), at: usize, flip in 1..=u8::MAX) {
        let entry = Entry { log_id: log_id(1, 1, 1), payload: EntryPayload::Normal(command) };
        let mut bytes = write_entry(&entry);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _refused_or_not = read_entry(&bytes);
        bytes.truncate(at);
        let _refused_or_not = read_entry(&bytes);
    }
}
