//! Records that make no sense: each is refused with the name of the field.

use prost::Message;
use proto::record as wire;
use proto::record::command::Change;
use proto::record::entry::Payload;

use crate::record::{read_current, read_entry, read_identity, read_state};

fn entry(payload: Option<Payload>) -> wire::Entry {
    wire::Entry { id: Some(wire::LogId::default()), payload }
}

fn command(request: &[u8], change: Option<Change>) -> wire::Entry {
    entry(Some(Payload::Command(wire::Command { at: 1, request: request.to_vec(), change })))
}

fn attach(mode: i32, token_hash: &[u8]) -> wire::Entry {
    let attach = wire::Attach {
        volume: "v".to_owned(),
        client: "c".to_owned(),
        mode,
        token_hash: token_hash.to_vec(),
        claim: 0,
    };
    command(&[], Some(Change::Attach(attach)))
}

fn report(replicas: Option<wire::pool_report::Replicas>, id: &[u8]) -> wire::Entry {
    let pool = wire::PoolReport { id: id.to_vec(), replicas, ..wire::PoolReport::default() };
    command(&[], Some(Change::Report(wire::Report { node: "n".to_owned(), heard: 0, pools: vec![pool] })))
}

fn membership(configurations: Vec<wire::VoterSet>, members: Vec<wire::Member>) -> wire::Entry {
    entry(Some(Payload::Membership(wire::Membership { configurations, members })))
}

fn member(id: u64, store: &[u8]) -> wire::Member {
    wire::Member { id, address: "a:1".to_owned(), store: store.to_vec() }
}

#[test]
fn an_entry_is_refused_with_the_name_of_its_field() {
    let lose = |node: &str| command(&[], Some(Change::Lose(wire::Lose { node: node.to_owned() })));
    let all = || Some(wire::pool_report::Replicas::All(wire::AllReplicas::default()));
    let create = wire::CreateVolume { name: "v".to_owned(), size_bytes: 1, spec: None, source: None };
    let spec = Some(wire::VolumeSpec { replicas: 300, ..wire::VolumeSpec::default() });
    let crowded = wire::CreateVolume { spec, ..create.clone() };
    let administer = |admin| command(&[], Some(Change::Administer(wire::Administer { node: "n".to_owned(), admin })));
    let rows = [
        (entry(None), "entry.payload is missing"),
        (wire::Entry { id: None, ..lose("n") }, "entry.id is missing"),
        (command(&[], None), "command.change is missing"),
        (command(&[1; 15], lose("n").payload.and_then(change_of)), "command.request has 15 bytes, not 16"),
        (lose("Not A Name"), "lose.node is not valid"),
        (administer(0), "administer.admin is not valid: 0"),
        (administer(99), "administer.admin is not valid: 99"),
        (attach(0, &[1; 32]), "attach.mode is not valid"),
        (attach(1, &[1; 31]), "attach.token_hash has 31 bytes, not 32"),
        (report(None, &[1; 16]), "pool_report.replicas is missing"),
        (report(all(), &[]), "pool_report.id has 0 bytes, not 16"),
        (command(&[], Some(Change::CreateVolume(create))), "create_volume.spec is missing"),
        (command(&[], Some(Change::CreateVolume(crowded))), "spec.replicas is not valid"),
        (membership(Vec::new(), vec![member(1, &[])]), "member.store has 0 bytes, not 16"),
        (
            membership(Vec::new(), vec![member(1, &[1; 16]), member(1, &[1; 16])]),
            "membership.members stands there twice",
        ),
        (membership(vec![wire::VoterSet { voters: vec![2] }], vec![member(1, &[1; 16])]), "voter 2 is no member"),
    ];
    for (entry, expected) in rows {
        let words = read_entry(&entry.encode_to_vec()).unwrap_err().to_string();
        assert!(words.contains(expected), "{words} should be about: {expected}");
    }
    let words = read_entry(b"\xff").unwrap_err().to_string();
    assert!(words.contains("the field entry cannot be read"), "{words}");
}

fn change_of(payload: Payload) -> Option<Change> {
    match payload {
        Payload::Command(command) => command.change,
        Payload::Blank(_) | Payload::Membership(_) => None,
    }
}

#[test]
fn a_state_is_refused_with_the_name_of_its_field() {
    let good = wire::State { version: 1, settings: Some(wire::Settings::default()), ..wire::State::default() };
    read_state(&good.encode_to_vec()).unwrap();
    let node = wire::Node { name: "n".to_owned(), admin: 1, ..wire::Node::default() };
    let pool = wire::Pool { id: vec![1; 16], node: "n".to_owned(), ..wire::Pool::default() };
    let answered = wire::AnsweredRequest { request: Vec::new(), answer: None };
    let operation = wire::Operation { id: 1, kind: None, ..wire::Operation::default() };
    let snapshot = wire::Snapshot {
        id: 1,
        name: "s".to_owned(),
        source_name: "v".to_owned(),
        cut: Some(wire::snapshot::Cut::WantedUntil(1)),
        maker: Some(wire::snapshot::Maker::Person(wire::Person {})),
        ..wire::Snapshot::default()
    };
    let rows = [
        (wire::State { version: 0, ..good.clone() }, "state.version is missing"),
        (wire::State { version: 6, ..good.clone() }, "start the program that wrote it"),
        (wire::State { settings: None, ..good.clone() }, "state.settings is missing"),
        (wire::State { cluster: vec![1], ..good.clone() }, "state.cluster has 1 bytes"),
        (wire::State { nodes: vec![node], ..good.clone() }, "node.link is missing"),
        (wire::State { pools: vec![pool.clone()], ..good.clone() }, "a pool is of no node"),
        (wire::State { pools: vec![pool.clone(), pool], ..good.clone() }, "state.pools stands there twice"),
        (wire::State { requests: vec![answered], ..good.clone() }, "answered_request.request is missing"),
        (wire::State { operations: vec![operation], ..good.clone() }, "operation.kind is missing"),
        (wire::State { volumes: vec![wire::Volume::default()], ..good.clone() }, "volume.phase is not valid: 0"),
        (wire::State { tombstones: vec![wire::Tombstone::default()], ..good.clone() }, "tombstone.name is not valid"),
        (wire::State { snapshots: vec![wire::Snapshot::default()], ..good.clone() }, "snapshot.cut is missing"),
        (wire::State { snapshots: vec![snapshot], ..good.clone() }, "a snapshot is of a volume that is not there"),
        (wire::State { groups: vec![wire::Group::default()], ..good.clone() }, "group.name is not valid"),
        (wire::State { graves: vec![wire::Grave::default()], ..good.clone() }, "grave.name is not valid"),
        (wire::State { removed_pools: vec![wire::RemovedPool::default()], ..good }, "removed_pool.node is not valid"),
    ];
    for (state, expected) in rows {
        let words = read_state(&state.encode_to_vec()).unwrap_err().to_string();
        assert!(words.contains(expected), "{words} should be about: {expected}");
    }
}

#[test]
fn other_records_are_refused_with_the_name_of_their_field() {
    let words = read_identity(&wire::Identity::default().encode_to_vec()).unwrap_err().to_string();
    assert!(words.contains("identity.store has 0 bytes, not 16"), "{words}");
    let words = read_current(&wire::CurrentSnapshot::default().encode_to_vec()).unwrap_err().to_string();
    assert!(words.contains("current_snapshot.meta is missing"), "{words}");
}
