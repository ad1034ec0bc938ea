//! Records as version 1 wrote them: they are read as what they were, and written in the same bytes today. A record that
//! changes has another version, and its old bytes stay here to be read.
//!
//! `PLINTH_WRITE_FIXTURES=1` writes those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use block::{PoolId, VolumeId};
use cluster::{
    AccessMode, Addresses, Admin, Change, ClusterId, Command, Generation, Labels, Modification, Name, NodeReport,
    PoolReport, ReplicaReport, Replicas, RequestId, Revision, Settings, State, Time, TokenHash, VolumeSpec,
};
use openraft::testing::log_id;
use openraft::{EntryPayload, Membership, SnapshotMeta, StoredMembership, Vote};

use crate::raft::{Entry, StoreId, Voter};
use crate::record::{self, Current, Invalid};
use crate::store::Identity;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/record-v1")
}

fn check<T: PartialEq + Debug>(name: &str, value: &T, bytes: &[u8], read: impl Fn(&[u8]) -> Result<T, Invalid>) {
    let path = folder().join(format!("{name}.bin"));
    if !path.exists() && std::env::var("PLINTH_WRITE_FIXTURES").is_ok() {
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    let kept = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(read(&kept).unwrap(), *value, "{name} means something else now");
    assert_eq!(kept, bytes, "{name} is written in other bytes now: that takes another version");
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
        pool_tags: vec!["ssd".to_owned()],
        node_selector: labels(),
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
    ReplicaReport { volume: VolumeId(volume), size_bytes: 1 << 30, generation: Generation(1) }
}

fn attach(mode: AccessMode) -> Change {
    Change::Attach { volume: name("db"), client: name("host"), mode, token: TokenHash([3; 32]) }
}

fn create(volume: &str) -> Change {
    Change::CreateVolume { name: name(volume), size_bytes: 1 << 30, spec: spec() }
}

fn changes() -> Vec<(&'static str, Change)> {
    let modification =
        Modification { description: Some("old orders".to_owned()), labels: Some(Labels::new()), open: Some(false) };
    let settings = Settings { overcommit_percent: 200, full_percent: 80 };
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

fn membership() -> Membership<u64, Voter> {
    let voter = |id: u64| (id, Voter { address: format!("v{id}:4700"), store: StoreId(u128::from(id) << 100) });
    let members: BTreeMap<u64, Voter> = [1, 2, 4].map(voter).into();
    Membership::new(vec![BTreeSet::from([1]), BTreeSet::from([1, 2])], members)
}

/// One of everything that a state can hold.
fn state() -> State {
    let mut state = State::default();
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
    for (at, change) in (1000..).zip(history) {
        let request = Some(RequestId(u128::from(at) << 64));
        state.apply(Command { at: Time(at), request, change }).unwrap();
    }
    state
}

#[test]
fn entries_of_version_1_are_read() {
    let entry = |index, payload| Entry { log_id: log_id(7, 2, index), payload };
    let command = |request, change| EntryPayload::Normal(Command { at: Time(1_700_000_000_000), request, change });
    let mut entries = vec![
        ("entry-blank", entry(1, EntryPayload::Blank)),
        ("entry-membership", entry(2, EntryPayload::Membership(membership()))),
    ];
    let names: Vec<(String, Change)> =
        changes().into_iter().map(|(name, change)| (format!("entry-{name}"), change)).collect();
    for (index, (name, change)) in (3..).zip(&names) {
        entries.push((name, entry(index, command(Some(RequestId(u128::from(index))), change.clone()))));
    }
    entries.push(("entry-without-request", entry(99, command(None, Change::Lose { node: name("n1") }))));
    for (name, entry) in entries {
        check(name, &entry, &record::write_entry(&entry), record::read_entry);
    }
}

#[test]
fn marks_of_version_1_are_read() {
    let id = log_id(7, 2, 1 << 40);
    check("log-id", &id, &record::write_log_id(&id), record::read_log_id);
    for (name, vote) in [("vote", Vote::new(8, 3)), ("vote-committed", Vote::new_committed(8, 3))] {
        check(name, &vote, &record::write_vote(&vote), record::read_vote);
    }
    let whole = Identity { voter: 2, store: StoreId(11), cluster: Some(ClusterId(12)) };
    for (name, identity) in [("identity", whole), ("identity-new", Identity { cluster: None, ..whole })] {
        check(name, &(1, identity), &record::write_identity(1, &identity), record::read_identity);
    }
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembership::new(Some(log_id(6, 1, 5)), membership()),
        snapshot_id: "7-2-5".to_owned(),
    };
    let current = Current { meta, generation: 3, len_bytes: 1234, checksum: 0xdead_beef };
    check("current-snapshot", &current, &record::write_current(&current), record::read_current);
}

#[test]
fn a_state_of_version_1_is_read() {
    let contents = state().contents().clone();
    assert!(!contents.tombstones.is_empty() && !contents.ended.is_empty(), "it has one of everything");
    let read = |bytes: &[u8]| record::read_state(bytes).map(|state| state.contents().clone());
    check("state", &contents, &record::write_state(&state()), read);
}
