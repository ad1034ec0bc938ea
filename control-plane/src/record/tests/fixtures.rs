//! Records as every version wrote them. Those of the last two are read as what they were, and written in the same bytes today,
//! and so are entries of versions 2 and 3, which knew no snapshots, and no hosts; their states, and records of version 1, which
//! knew one replica of a volume, are read as what they were. A record that changes has another version, and its old bytes
//! stay here to be read.
//!
//! `PLINTH_WRITE_FIXTURES=1` writes those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Addresses, Admin, Change, Claim, ClusterId, Command, Contents, Generation, GroupId, GroupPhase, Hold,
    HoldState, Labels, Modification, Name, NodeReport, PoolReport, Progress, Proposal, ReplicaReport, Replicas,
    RequestId, Revision, Role, Settings, SnapshotCopy, Source, Standing, State, Time, TokenHash, VolumeSpec,
    ZoneSpread,
};
use openraft::testing::log_id;
use openraft::{EntryPayload, Membership, SnapshotMeta, StoredMembership, Vote};

use crate::raft::{Entry, StoreId, Voter};
use crate::record::{self, Current, Invalid};
use crate::store::Identity;

fn folder(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/record-v{version}"))
}

/// The record of a version that is still written.
fn check<T: PartialEq + Debug>(
    version: u32,
    name: &str,
    value: &T,
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, Invalid>,
) {
    let path = folder(version).join(format!("{name}.bin"));
    if !path.exists() && std::env::var("PLINTH_WRITE_FIXTURES").is_ok() {
        std::fs::create_dir_all(folder(version)).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = check_read(version, name, value, read);
    assert_eq!(kept, bytes, "{name} is written in other bytes now: that takes another version");
}

/// The record of a version, which need not be the last.
fn check_read<T: PartialEq + Debug>(
    version: u32,
    name: &str,
    value: &T,
    read: impl Fn(&[u8]) -> Result<T, Invalid>,
) -> Vec<u8> {
    let path = folder(version).join(format!("{name}.bin"));
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(read(&kept).unwrap(), *value, "{name} of version {version} means something else now");
    kept
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn labels() -> Labels {
    Labels::from([("zone".to_owned(), "a".to_owned())])
}

fn spec() -> VolumeSpec {
    VolumeSpec {
        replicas: 1,
        members_min: None,
        zone_spread: ZoneSpread::Preferred,
        pool_tags: vec!["ssd".to_owned()],
        node_selector: labels(),
        places: Vec::new(),
        description: "orders".to_owned(),
        labels: Labels::from([("app".to_owned(), "shop".to_owned())]),
        open: true,
    }
}

fn register() -> Change {
    let addresses = Addresses { peers: "n1:7000".to_owned(), nbd: vec!["n1:10809".to_owned()] };
    Change::Register { node: name("n1"), addresses, labels: labels() }
}

fn report(replicas: Replicas) -> Change {
    let pool = PoolReport {
        id: PoolId(5),
        capacity_bytes: 1 << 40,
        used_bytes: 1 << 30,
        tags: vec!["ssd".to_owned()],
        failed: false,
        replicas,
    };
    Change::Report { node: name("n1"), report: NodeReport { heard: Revision(4), pools: vec![pool] } }
}

fn present(volume: u64) -> ReplicaReport {
    let standing = Standing::default();
    let (volume, snapshots) = (VolumeId(volume), BTreeMap::new());
    ReplicaReport { volume, size_bytes: 1 << 30, generation: Generation(1), standing, snapshots }
}

/// A replica that takes part in the replication of its volume.
fn member(volume: u64, role: Role, resync: Option<Progress>) -> ReplicaReport {
    let standing = Standing {
        incarnation: Incarnation(9),
        warm_from: Incarnation(8),
        epoch: Epoch(1),
        role,
        resync,
        ..Standing::default()
    };
    ReplicaReport { standing, ..present(volume) }
}

fn attach(mode: AccessMode) -> Change {
    Change::Attach { volume: name("db"), client: name("host"), mode, token: TokenHash([3; 32]), claim: Claim::Take }
}

fn create(volume: &str) -> Change {
    Change::CreateVolume { name: name(volume), size_bytes: 1 << 30, spec: spec(), source: None }
}

/// What version 1 could say.
fn changes_of_version_1() -> Vec<(&'static str, Change)> {
    let modification = Modification {
        description: Some("old orders".to_owned()),
        labels: Some(Labels::new()),
        open: Some(false),
        ..Modification::default()
    };
    let settings = Settings { overcommit_percent: 200, full_percent: 80, ..Settings::default() };
    let changed = Replicas::Changed { present: vec![present(1)], gone: vec![VolumeId(2)] };
    vec![
        ("found", Change::Found { cluster: ClusterId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef) }),
        ("register", register()),
        ("lose", Change::Lose { node: name("n1") }),
        ("report-all", report(Replicas::All(vec![present(1), present(77)]))),
        ("report-changed", report(changed)),
        ("administer", Change::Administer { node: name("n1"), admin: Admin::Draining }),
        ("remove-node", Change::RemoveNode { node: name("n1") }),
        ("create-volume", create("db")),
        ("resize-volume", Change::ResizeVolume { volume: name("db"), size_bytes: 2 << 30 }),
        ("modify-volume", Change::ModifyVolume { volume: name("db"), modification }),
        ("modify-nothing", Change::ModifyVolume { volume: name("db"), modification: Modification::default() }),
        ("delete-volume", Change::DeleteVolume { volume: name("db"), force: true }),
        ("attach-read-write", attach(AccessMode::ReadWrite)),
        ("attach-read-only", attach(AccessMode::ReadOnly)),
        ("detach", Change::Detach { volume: name("db"), client: Some(name("host")) }),
        ("detach-all", Change::Detach { volume: name("db"), client: None }),
        ("set", Change::Set(settings)),
    ]
}

/// What was added since.
fn changes_of_version_2() -> Vec<(&'static str, Change)> {
    let progress = Progress { left: 3, groups: 70 };
    let standings = vec![member(1, Role::Primary, None), member(2, Role::Learner, Some(progress))];
    let spec = VolumeSpec { replicas: 3, members_min: Some(2), zone_spread: ZoneSpread::Required, ..spec() };
    let modification = Modification {
        replicas: Some(3),
        members_min: Some(1),
        zone_spread: Some(ZoneSpread::None),
        ..Modification::default()
    };
    let proposal = Proposal {
        expected: Epoch(7),
        proposer: (PoolId(5), Incarnation(9)),
        primary: PoolId(6),
        members: BTreeMap::from([(PoolId(5), Incarnation(9)), (PoolId(6), Incarnation(2))]),
    };
    let settings = Settings { replace_after_ms: 60_000, ..Settings::default() };
    vec![
        ("report-standings", report(Replicas::All(standings))),
        ("create-replicated", Change::CreateVolume { name: name("db"), size_bytes: 1 << 30, spec, source: None }),
        ("modify-replicas", Change::ModifyVolume { volume: name("db"), modification }),
        ("configure", Change::Configure { volume: VolumeId(1), proposal }),
        ("force-promote", Change::ForcePromote { volume: name("db"), pool: PoolId(5) }),
        ("hand-over", Change::HandOver { volume: name("db"), pool: PoolId(6) }),
        ("tick", Change::Tick),
        ("set-replace-after", Change::Set(settings)),
    ]
}

fn copy(n: u64) -> SnapshotCopy {
    let at = WriteSeq { epoch: Epoch(1), n };
    SnapshotCopy { at, size_bytes: 1 << 30, exclusive_bytes: 4096, shared_bytes: 1 << 20 }
}

/// What snapshots added.
fn changes_of_version_3() -> Vec<(&'static str, Change)> {
    let hold = Some(Hold { group: GroupId(4), state: HoldState::Cut });
    let standing = Standing { hold, ..member(1, Role::Primary, None).standing };
    let snapshots = BTreeMap::from([(SnapshotId(1), copy(7)), (SnapshotId(2), copy(9))]);
    let from = |source| Change::CreateVolume { name: name("db2"), size_bytes: 0, spec: spec(), source: Some(source) };
    let reported = ReplicaReport { standing, snapshots, ..present(1) };
    vec![
        ("report-snapshots", report(Replicas::All(vec![reported]))),
        ("clone-snapshot", from(Source::Snapshot(name("monday")))),
        ("clone-volume", from(Source::Volume(name("db")))),
        ("create-snapshot", snapshot("monday", "db")),
        ("delete-snapshot", Change::DeleteSnapshot { snapshot: name("monday") }),
        ("create-group", group("both", &["db", "new"])),
        ("delete-group", Change::DeleteGroup { group: name("both") }),
        ("set-schedule", schedule("@daily")),
        ("remove-schedule", Change::RemoveSchedule { volume: name("db"), schedule: name("daily") }),
    ]
}

/// The same with a pool that was removed, and one that came back.
fn with_removed_pools() -> State {
    let pool = |node: &str, id: u128| {
        let Change::Report { report, .. } = report(Replicas::All(Vec::new())) else { panic!("it is a report") };
        let pools = report.pools.into_iter().map(|pool| PoolReport { id: PoolId(id), ..pool }).collect();
        Change::Report { node: name(node), report: NodeReport { heard: Revision(0), pools } }
    };
    let node = |node: &str| Change::Register { node: name(node), addresses: Addresses::default(), labels: labels() };
    let remove = |pool| Change::RemovePool { pool: PoolId(pool), force: false };
    let lose = |node: &str| Change::Lose { node: name(node) };
    let history = [
        node("n8"),
        node("n9"),
        pool("n8", 80),
        pool("n9", 90),
        lose("n8"),
        lose("n9"),
        remove(80),
        remove(90),
        node("n9"),
        pool("n9", 90),
    ];
    applied(with_snapshots(), 90_000_000, history)
}

/// What hosts, places and the removal of pools added.
fn changes_of_version_4() -> Vec<(&'static str, Change)> {
    let mode = AccessMode::ReadWrite;
    let claimed =
        |claim| Change::Attach { volume: name("db"), client: name("host"), mode, token: TokenHash([4; 32]), claim };
    vec![
        ("attach-keep", claimed(Claim::Keep)),
        ("attach-renew", claimed(Claim::Renew)),
        ("create-in-places", placed("placed")),
        ("register-host", host()),
        ("remove-pool", Change::RemovePool { pool: PoolId(5), force: true }),
        ("remove-host", Change::RemoveHost { host: name("host") }),
        ("attach-shared", attach(AccessMode::Shared)),
    ]
}

/// What the loss of most voters added.
fn changes_of_version_5() -> Vec<(&'static str, Change)> {
    let without = BTreeSet::from([name("n2"), name("n3")]);
    vec![("recover", Change::Recover), ("resume", Change::Resume { without })]
}

/// One of everything that a recovery leaves: pools that were given up, one of which is back, and a volume in doubt.
fn with_a_recovery() -> State {
    let history = [Change::Recover, Change::Resume { without: ["n1", "n3"].map(name).into() }];
    let state = applied(replicated(), 900_000, history);
    let node = Change::Register { node: name("n1"), addresses: Addresses::default(), labels: labels() };
    applied(state, 901_000, [node, report(Replicas::All(Vec::new()))])
}

fn placed(volume: &str) -> Change {
    let other = Labels::from([("zone".to_owned(), "b".to_owned()), ("region".to_owned(), "r".to_owned())]);
    let spec = VolumeSpec { places: vec![labels(), other], ..spec() };
    Change::CreateVolume { name: name(volume), size_bytes: 1 << 30, spec, source: None }
}

fn host() -> Change {
    Change::RegisterHost { host: name("host"), labels: labels() }
}

fn snapshot(snapshot: &str, volume: &str) -> Change {
    Change::CreateSnapshot { name: name(snapshot), volume: name(volume), labels: labels() }
}

fn group(group: &str, volumes: &[&str]) -> Change {
    let volumes = volumes.iter().map(|volume| name(volume)).collect();
    Change::CreateGroup { name: name(group), volumes, labels: labels() }
}

fn schedule(cron: &str) -> Change {
    Change::SetSchedule { volume: name("new"), schedule: name("daily"), cron: cron.parse().unwrap(), keep: 7 }
}

/// One of everything that snapshots added to a state.
fn with_snapshots() -> State {
    let new = |snapshots: &[(u64, u64)], hold| {
        let snapshots = snapshots.iter().map(|(id, n)| (SnapshotId(*id), copy(*n))).collect();
        let standing = Standing { hold, ..Standing::default() };
        ReplicaReport { snapshots, standing, ..present(78) }
    };
    let told = |of: Vec<ReplicaReport>| report(Replicas::All(of));
    let clone = |clone: &str, source| Change::CreateVolume {
        name: name(clone),
        size_bytes: 0,
        spec: spec(),
        source: Some(source),
    };
    let old = |snapshots| vec![present(1), new(snapshots, None)];
    let history = [
        told(old(&[])),
        Change::Administer { node: name("n1"), admin: Admin::Schedulable },
        snapshot("first", "new"),
        snapshot("second", "new"),
        snapshot("of-db", "db"),
        told(vec![
            ReplicaReport { snapshots: [(SnapshotId(3), copy(2))].into(), ..present(1) },
            new(&[(1, 5), (2, 6), (99, 1)], None),
        ]),
        clone("cloned", Source::Snapshot(name("first"))),
        clone("copied", Source::Volume(name("new"))),
        Change::DeleteSnapshot { snapshot: name("second") },
        snapshot("gone", "new"),
        Change::DeleteSnapshot { snapshot: name("gone") },
        Change::DeleteVolume { volume: name("db"), force: true },
        group("pair", &["new"]),
    ];
    let state = applied(state(), 20_000, history);
    // The group is held, cut and released; another is begun.
    let hold = state.groups(None).next().map(|(_, group)| group.phase.clone());
    let Some(GroupPhase::Holding { hold, .. }) = hold else { panic!("{hold:?}") };
    let said = |state: HoldState| Some(Hold { group: hold, state });
    let ids: Vec<u64> = state.contents().snapshots.keys().map(|id| id.0).collect();
    let all: Vec<(u64, u64)> = ids.iter().filter(|id| **id != 3).map(|id| (*id, 4 + id)).collect();
    let all = all.as_slice();
    let db = || ReplicaReport { snapshots: [(SnapshotId(3), copy(2))].into(), ..present(1) };
    let then = |snapshots: &[(u64, u64)], hold| told(vec![db(), new(snapshots, hold)]);
    let history = [
        then(&[(1, 5)], said(HoldState::Held)),
        then(all, said(HoldState::Cut)),
        then(all, said(HoldState::Released)),
        Change::SetSchedule { volume: name("new"), schedule: name("daily"), cron: "@daily".parse().unwrap(), keep: 7 },
        group("again", &["new"]),
        snapshot("never", "new"),
    ];
    let state = applied(state, 20_100, history);
    let late = applied(state, 86_400_000, [Change::Tick]);
    applied(late, 86_400_100, [snapshot("last", "new"), group("another", &["new"])])
}

fn membership() -> Membership<u64, Voter> {
    let voter = |id: u64| (id, Voter { address: format!("v{id}:4700"), store: StoreId(u128::from(id) << 100) });
    let members: BTreeMap<u64, Voter> = [1, 2, 4].map(voter).into();
    Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], members)
}

/// One of everything that a state of version 1 can hold.
fn state() -> State {
    let delete = Change::DeleteVolume { volume: name("old"), force: false };
    let history = [
        Change::Found { cluster: ClusterId(6) },
        register(),
        report(Replicas::All(Vec::new())),
        create("db"),
        create("old"),
        report(Replicas::All(vec![present(1), present(77)])),
        attach(AccessMode::ReadOnly),
        Change::ResizeVolume { volume: name("db"), size_bytes: 2 << 30 },
        delete,
        create("new"),
        Change::Register { node: name("n2"), addresses: Addresses::default(), labels: Labels::new() },
        Change::Lose { node: name("n2") },
        Change::Administer { node: name("n1"), admin: Admin::Cordoned },
    ];
    applied(State::default(), 1000, history)
}

fn applied(mut state: State, from: u64, history: impl IntoIterator<Item = Change>) -> State {
    for (at, change) in (from..).zip(history) {
        let request = Some(RequestId(u128::from(at) << 64));
        state.apply(Command { at: Time(at), request, change }).unwrap();
    }
    state
}

/// The same with a volume of two replicas: a primary, and one that is lost and to be replaced; and what is left of a third.
fn replicated() -> State {
    let pool = |node: &str, id: u128, all: Vec<ReplicaReport>| {
        let Change::Report { report, .. } = report(Replicas::All(all)) else { panic!("it is a report") };
        let pools = report.pools.into_iter().map(|pool| PoolReport { id: PoolId(id), ..pool }).collect();
        Change::Report { node: name(node), report: NodeReport { heard: Revision(0), pools } }
    };
    let node = |node: &str| Change::Register { node: name(node), addresses: Addresses::default(), labels: labels() };
    let spec = VolumeSpec { replicas: 2, ..spec() };
    let uncordon = Change::Administer { node: name("n1"), admin: Admin::Schedulable };
    let two = PoolId(6);
    let grown = BTreeMap::from([(PoolId(5), Incarnation(9)), (two, Incarnation(9))]);
    let configure = |members, expected| {
        let proposal =
            Proposal { expected: Epoch(expected), proposer: (PoolId(5), Incarnation(9)), primary: PoolId(5), members };
        Change::Configure { volume: VolumeId(79), proposal }
    };
    let history = vec![
        uncordon,
        node("n3"),
        pool("n3", 6, Vec::new()),
        Change::CreateVolume { name: name("pair"), size_bytes: 1 << 30, spec, source: None },
        pool("n1", 5, vec![present(1), member(79, Role::Primary, None)]),
        pool("n3", 6, vec![member(79, Role::Learner, Some(Progress { left: 1, groups: 2 }))]),
        configure(grown, 1),
        Change::Attach {
            volume: name("pair"),
            client: name("host"),
            mode: AccessMode::ReadWrite,
            token: TokenHash([3; 32]),
            claim: Claim::Take,
        },
        Change::HandOver { volume: name("pair"), pool: two },
    ];
    let state = applied(state(), 5000, history);
    let lost = ["n1", "n3"].map(|node| Change::Lose { node: name(node) });
    let back = pool("n1", 5, vec![present(1)]);
    let state = applied(state, 6000, lost.into_iter().chain([node("n1"), back]));
    applied(state, 800_000, [Change::Tick])
}

fn entry_of(index: u64, request: Option<RequestId>, change: Change) -> Entry {
    let command = Command { at: Time(1_700_000_000_000), request, change };
    Entry { log_id: log_id(7, 2, index), payload: EntryPayload::Normal(command) }
}

fn entries_of(changes: Vec<(&'static str, Change)>, from: u64) -> Vec<(String, Entry)> {
    let named = |(index, (name, change)): (u64, (&str, Change))| {
        (format!("entry-{name}"), entry_of(index, Some(RequestId(index.into())), change))
    };
    (from..).zip(changes).map(named).collect()
}

fn entries_of_version_1() -> Vec<(String, Entry)> {
    let mut entries = vec![
        ("entry-blank".to_owned(), Entry { log_id: log_id(7, 2, 1), payload: EntryPayload::Blank }),
        (
            "entry-membership".to_owned(),
            Entry { log_id: log_id(7, 2, 2), payload: EntryPayload::Membership(membership()) },
        ),
    ];
    entries.extend(entries_of(changes_of_version_1(), 3));
    entries.push(("entry-without-request".to_owned(), entry_of(99, None, Change::Lose { node: name("n1") })));
    entries
}

#[test]
fn entries_of_version_1_are_read() {
    for (name, entry) in entries_of_version_1() {
        check_read(1, &name, &entry, record::read_entry);
    }
}

#[test]
fn entries_of_version_2_are_read_and_written_as_they_were() {
    for (name, entry) in entries_of_version_1().into_iter().chain(entries_of(changes_of_version_2(), 50)) {
        check(2, &name, &entry, &record::write_entry(&entry), record::read_entry);
    }
}

#[test]
fn entries_of_version_3_are_read_and_written_as_they_were() {
    for (name, entry) in entries_of(changes_of_version_3(), 70) {
        check(3, &name, &entry, &record::write_entry(&entry), record::read_entry);
    }
}

#[test]
fn entries_of_version_4_are_read_and_written_as_they_were() {
    for (name, entry) in entries_of(changes_of_version_4(), 90) {
        check(4, &name, &entry, &record::write_entry(&entry), record::read_entry);
    }
}

#[test]
fn entries_of_version_5_are_read_and_written_as_they_were() {
    for (name, entry) in entries_of(changes_of_version_5(), 110) {
        check(5, &name, &entry, &record::write_entry(&entry), record::read_entry);
    }
}

#[test]
fn marks_are_read_and_written_as_they_were() {
    let id = log_id(7, 2, 1 << 40);
    check_mark("log-id", &id, &record::write_log_id(&id), record::read_log_id);
    for (name, vote) in [("vote", Vote::new(8, 3)), ("vote-committed", Vote::new_committed(8, 3))] {
        check_mark(name, &vote, &record::write_vote(&vote), record::read_vote);
    }
    let whole = Identity { voter: 2, store: StoreId(11), cluster: Some(ClusterId(12)) };
    for (name, identity) in [("identity", whole), ("identity-new", Identity { cluster: None, ..whole })] {
        check_mark(name, &(1, identity), &record::write_identity(1, &identity), record::read_identity);
    }
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembership::new(Some(log_id(6, 1, 5)), membership()),
        snapshot_id: "7-2-5".to_owned(),
    };
    let current = Current { meta, generation: 3, len_bytes: 1234, checksum: 0xdead_beef };
    check_mark("current-snapshot", &current, &record::write_current(&current), record::read_current);
}

/// A record that is what it was in version 1.
fn check_mark<T: PartialEq + Debug>(name: &str, value: &T, bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, Invalid>) {
    let kept = check_read(1, name, value, read);
    assert_eq!(kept, bytes, "{name} is written in other bytes now: that takes another version");
}

fn read_contents(bytes: &[u8]) -> Result<Contents, Invalid> {
    record::read_state(bytes).map(|state| state.contents().clone())
}

#[test]
fn a_state_of_version_1_is_read() {
    let contents = state().contents().clone();
    assert!(!contents.tombstones.is_empty() && !contents.ended.is_empty(), "it has one of everything");
    check_read(1, "state", &contents, read_contents);
}

#[test]
fn a_state_of_version_2_is_read() {
    let contents = replicated().contents().clone();
    let volume = &contents.volumes[&VolumeId(79)];
    let replication = volume.replication.as_ref().unwrap();
    assert!(replication.lost_since.is_some() && volume.replicas.len() > 1, "it has one of everything: {volume:?}");
    check_read(2, "state", &contents, read_contents);
}

#[test]
fn a_state_of_version_3_is_read() {
    let contents = with_snapshots().contents().clone();
    let is_everything = [
        !contents.graves.is_empty(),
        !contents.foreign_snapshots.is_empty(),
        contents.groups.len() == 2,
        contents.snapshots.len() >= 5,
        contents.volumes.values().any(|volume| volume.retired.is_some()),
        contents.volumes.values().any(|volume| volume.source.is_some()),
        contents.volumes.values().any(|volume| volume.schedules.values().any(|schedule| schedule.last.is_some())),
        contents.operations.values().any(|operation| operation.failed.is_some()),
    ];
    assert_eq!(is_everything, [true; 8], "it has one of everything: {contents:#?}");
    check_read(3, "state", &contents, read_contents);
}

#[test]
fn a_state_of_version_4_is_read_and_written_as_it_was() {
    let state = applied(with_removed_pools(), 95_000_000, [host(), placed("placed")]);
    let contents = state.contents().clone();
    let back = contents.removed_pools.values().filter(|pool| pool.back.is_some()).count();
    assert_eq!((contents.removed_pools.len(), back), (2, 1));
    assert!(contents.hosts.len() == 1 && contents.volumes.values().any(|volume| volume.spec.places.len() == 2));
    check(4, "state", &contents, &record::write_state(&state), read_contents);
}

#[test]
fn a_state_of_version_5_is_read_and_written_as_it_was() {
    let state = with_a_recovery();
    let contents = state.contents().clone();
    let recovered = contents.recovered.as_ref().unwrap();
    let back = recovered.given_up.values().filter(|back| back.is_some()).count();
    assert!(recovered.resumed && !recovered.doubted.is_empty() && !recovered.unknown_snapshots.is_empty());
    assert_eq!((recovered.given_up.len(), back), (2, 1), "{recovered:?}");
    check(5, "state", &contents, &record::write_state(&state), read_contents);
}
