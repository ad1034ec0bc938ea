//! Who finds what under which name.

use core::net::IpAddr;

use node::{Door, Network, NodeConfig, ReplicaIntent};

use crate::rig::{MIB, Rig, intended};
use crate::wanted::Holder::{Reader, Writer};
use crate::wanted::{Holder, change, held, replica_of, token, whole};
use crate::wire::{EPERM, GO, LIST, Request, TRIM, naming, option};

const READ_ONLY: u16 = 1 << 1;
const MULTI_CONN: u16 = 1 << 8;

fn open(replica: ReplicaIntent) -> ReplicaIntent {
    ReplicaIntent { open: true, ..replica }
}

/// Clients without a token may come from 10.0.0.0/8.
fn rig(multi_conn: bool) -> Rig {
    let networks = vec![Network::parse("10.0.0.0/8").unwrap()];
    Rig::empty_with(128 * MIB, NodeConfig { open_networks: networks, multi_conn, ..intended() })
}

fn from(address: &str) -> Door {
    let address: IpAddr = address.parse().unwrap();
    Door::Client { peer: Some(address) }
}

const FAR: &str = "192.0.2.1";
const NEAR: &str = "10.2.3.4";

/// Size and flags of the export, if the client is let in.
fn find(rig: &mut Rig, door: Door, export: &str) -> Option<(u64, u16)> {
    let peer = rig.open_by(door, export);
    let found = rig.peers[peer].listener.export;
    rig.peers[peer].gone = true;
    rig.run();
    found
}

/// All that a server says to somebody who asks for an export.
fn answer(rig: &mut Rig, export: &str) -> Vec<u8> {
    let peer = rig.open_by(from(FAR), export);
    assert!(rig.peers[peer].listener.refused.is_some(), "{export}");
    rig.peers[peer].listener.said.clone()
}

#[test]
fn whoever_may_not_use_a_volume_cannot_tell_whether_there_is_one() {
    let mut rig = rig(true);
    let attached = [Reader { client: 1, generation: 2 }, Reader { client: 2, generation: 3 }];
    let missing = ReplicaIntent { may_create: false, ..held(3, &attached) };
    let missing = ReplicaIntent { volume: block::VolumeId(9), name: "missing".to_owned(), ..missing };
    rig.intend(whole(1, vec![held(3, &attached), open(replica_of(2, "open")), replica_of(3, "closed"), missing]));
    let nothing = answer(&mut rig, "nothing");
    let right = token(1, 2);
    let names = [
        String::new(),
        "v".to_owned(),
        "open".to_owned(),
        "closed".to_owned(),
        "missing".to_owned(),
        format!("missing@{right}"),
        "v@".to_owned(),
        format!("v@{}", token(1, 1)),
        format!("v@{}", token(2, 2)),
        format!("v@{}", &right[1..]),
        format!("v@{right}0"),
        format!("v@{right}@"),
        format!("v@@{right}"),
        format!("v@{}", right.replacen('0', "A", 1)),
        format!("open@{right}"),
        format!("closed@{right}"),
        format!("@{right}"),
        format!("v@1@{right}"),
    ];
    for name in names {
        assert!(answer(&mut rig, &name) == nothing, "{name}");
    }
    assert!(find(&mut rig, from(FAR), &format!("v@{right}")).is_some());
    assert!(find(&mut rig, from(FAR), &format!("v@{}", token(2, 3))).is_some());
}

#[test]
fn who_may_come_without_a_token_depends_on_the_volume_and_on_where_from() {
    let mut rig = rig(true);
    let local = Door::Client { peer: None };
    let writer = [Writer { client: 1, generation: 1 }];
    for (revision, replica, near) in [
        (1, open(held(0, &[])), true),
        (2, held(0, &[]), false),
        (3, open(held(1, &writer)), false),
        (4, open(held(2, &[])), true),
    ] {
        rig.intend(change(revision, vec![replica]));
        assert_eq!(find(&mut rig, from(NEAR), "v").is_some(), near, "revision {revision}");
        assert_eq!(find(&mut rig, local, "v").is_some(), near, "revision {revision}");
        assert!(find(&mut rig, from(FAR), "v").is_none(), "revision {revision}");
        assert!(find(&mut rig, from("::ffff:10.2.3.4"), "v").is_some() == near, "revision {revision}");
    }
}

#[test]
fn what_an_export_can_do_depends_on_how_the_client_was_let_in() {
    let cases: [(&[Holder], bool, &str, u16); 5] = [
        (&[], true, "v", MULTI_CONN),
        (&[], false, "v", 0),
        (&[Writer { client: 1, generation: 1 }], true, "writer", 0),
        (&[Reader { client: 1, generation: 1 }], true, "reader", READ_ONLY | MULTI_CONN),
        (&[Reader { client: 1, generation: 1 }], false, "reader", READ_ONLY | MULTI_CONN),
    ];
    for (holders, multi_conn, who, expected) in cases {
        let mut rig = rig(multi_conn);
        rig.intend(whole(1, vec![open(held(1, holders))]));
        let name = if holders.is_empty() { "v".to_owned() } else { format!("v@{}", token(1, 1)) };
        let (size_bytes, flags) = find(&mut rig, from(NEAR), &name).expect(who);
        assert_eq!((size_bytes, flags & (READ_ONLY | MULTI_CONN)), (4 * MIB, expected), "{who}");
    }
}

#[test]
fn a_reader_changes_nothing_beside_a_volume_that_others_may_change() {
    let mut rig = rig(true);
    rig.intend(whole(1, vec![open(held(0, &[]))]));
    let writer = rig.connect();
    rig.write(writer, 0, &[5; 4096]);
    rig.intend(change(2, vec![held(1, &[Reader { client: 1, generation: 1 }])]));
    let reader = rig.connect_to(&format!("v@{}", token(1, 1)), false);
    for request in [Request::write(0, &[1; 4096]), Request::write(0, &[1; 100_000]), Request::new(TRIM, 0, 4096)] {
        assert_eq!(rig.call(reader, &request).error, EPERM);
    }
    assert_eq!(rig.read(reader, 0, 4096), [5; 4096]);
}

#[test]
fn trusted_clients_are_shown_open_volumes_and_nobody_else_is_shown_a_list() {
    let mut rig = rig(true);
    let writer = held(1, &[Writer { client: 1, generation: 1 }]);
    let not_there = ReplicaIntent { may_create: false, ..open(replica_of(4, "not-there")) };
    rig.intend(whole(1, vec![open(writer), open(replica_of(2, "open")), replica_of(3, "closed"), not_there]));
    let mut list = |door| {
        let peer = rig.connect_by(door);
        rig.peers[peer].outgoing.extend([&3_u32.to_be_bytes()[..], &option(LIST, &[])].concat());
        rig.run();
        let listener = &rig.peers[peer].listener;
        (listener.listed.clone(), listener.refused)
    };
    assert_eq!(list(from(NEAR)), (vec!["open".to_owned()], None));
    assert_eq!(list(from(FAR)), (vec![], Some((1 << 31) + 2)));
}

#[test]
fn the_empty_name_is_the_default_exports() {
    let config = NodeConfig { default_export: Some("v".to_owned()), ..intended() };
    let mut rig = Rig::empty_with(128 * MIB, config);
    let peer = rig.connect_to("", false);
    assert!(rig.peers[peer].listener.refused.is_some());
    rig.intend(whole(1, vec![open(held(0, &[]))]));
    let peer = rig.connect_to("", false);
    assert!(rig.peers[peer].listener.export.is_some());
}

#[test]
fn a_client_may_ask_for_many_names_before_it_is_let_in() {
    let mut rig = rig(true);
    rig.intend(whole(1, vec![held(1, &[Writer { client: 1, generation: 1 }])]));
    let peer = rig.connect_by(from(FAR));
    let mut bytes = 3_u32.to_be_bytes().to_vec();
    for wrong in 0..20 {
        bytes.extend(naming(GO, &format!("v@{}", token(wrong, 7))));
    }
    bytes.extend(naming(GO, &format!("v@{}", token(1, 1))));
    rig.peers[peer].outgoing.extend(bytes);
    rig.run();
    assert!(rig.peers[peer].listener.export.is_some());
    rig.write(peer, 0, &[1; 100]);
}
