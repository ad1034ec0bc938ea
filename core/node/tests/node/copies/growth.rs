//! A volume that grows on one node before the others hear of it.

use std::time::Duration;

use crate::copies::trio::{NODES, Trio};
use crate::rig::MIB;

/// The primary alone hears that the volume has 8 MiB and a snapshot, and serves it so.
fn grown_at_its_primary(trio: &mut Trio) -> (usize, usize) {
    let primary = trio.until_served();
    trio.cut_off.extend((0..NODES).filter(|node| *node != primary));
    trio.want_sized(8 * MIB, &[]);
    trio.pass(Duration::from_millis(50));
    let client = trio.connect();
    let (size_bytes, _) = trio.nodes[client.0].peers[client.1].listener.export.unwrap();
    assert_eq!((client.0, size_bytes), (primary, 8 * MIB));
    client
}

#[test]
fn backups_that_were_not_told_of_the_growth_stay_and_take_what_lies_behind_their_end() {
    let mut trio = Trio::new(2);
    let client = grown_at_its_primary(&mut trio);
    let changes = trio.decider.changes;
    trio.write(client, 6 * MIB + 100, &[6; 300_000]);
    trio.want_sized(8 * MIB, &[(1, None)]);
    trio.until("the snapshot is cut", |trio| trio.snapshots(client.0).len() == 1);
    trio.write(client, 8 * MIB - 4096, &[8; 4096]);
    trio.flush(client);
    assert_eq!(trio.decider.changes, changes, "nobody left for it");
    trio.heal();
    trio.want_sized(8 * MIB, &[(1, None)]);
    trio.pass(Duration::from_secs(1));
    assert!((0..NODES).all(|node| trio.nodes[node].observed(1).unwrap().size_bytes == 8 * MIB), "all have heard");
    let (contents, snapshots) = trio.contents_with(&[]);
    assert!(snapshots.iter().all(Vec::is_empty));
    assert!(contents.iter().all(|content| content.len() == 8 << 20 && *content == contents[0]));
    assert!(contents[0][(6 << 20) + 100..][..300_000].iter().all(|byte| *byte == 6));
}

#[test]
fn a_learner_that_was_not_told_of_the_growth_is_taught_what_lies_behind_its_end() {
    let mut trio = Trio::new(1);
    let primary = trio.until_served();
    let away = (primary + 1) % NODES;
    trio.kill(away);
    let client = grown_at_its_primary(&mut trio);
    trio.write(client, 7 * MIB, &[7; 65_536]);
    trio.until("it is a member no more", |trio| trio.decider.decided.members.len() < NODES);
    // It comes back, and hears only from the control plane as it was before the volume grew.
    trio.cut_off.clear();
    trio.want_sized(4 * MIB, &[]);
    trio.start(away);
    trio.until("all are in sync", |trio| trio.decider.decided.members.len() == NODES);
    trio.want_sized(8 * MIB, &[]);
    trio.pass(Duration::from_secs(1));
    let contents = trio.contents();
    assert!(contents.iter().all(|content| content.len() == 8 << 20 && *content == contents[0]));
    assert!(contents[0][7 << 20..][..65_536].iter().all(|byte| *byte == 7));
}

#[test]
fn whoever_is_primary_next_has_the_size_that_the_one_before_showed() {
    let mut trio = Trio::new(1);
    let client = grown_at_its_primary(&mut trio);
    trio.write(client, 5 * MIB, &[5; 4096]);
    trio.kill(client.0);
    trio.cut_off.clear();
    let next = trio.connect();
    let (size_bytes, _) = trio.nodes[next.0].peers[next.1].listener.export.unwrap();
    assert_eq!(size_bytes, 8 * MIB);
    assert_eq!(trio.read(next, 5 * MIB, 8192), [[5; 4096], [0; 4096]].concat());
}

/// The primary that comes next may be asked how large the volume is at once. So it hears of a configuration only when its own
/// replica has the size that the one before may have shown.
#[test]
fn no_configuration_is_heard_before_the_replica_has_the_wanted_size() {
    let mut trio = Trio::new(1);
    let client = grown_at_its_primary(&mut trio);
    trio.kill(client.0);
    let others: Vec<usize> = (0..NODES).filter(|node| *node != client.0).collect();
    others.iter().for_each(|node| trio.nodes[*node].disk_runs = false);
    trio.cut_off.clear();
    let before = trio.decider.decided.epoch;
    trio.until("another one is to be primary", |trio| trio.decider.decided.epoch > before);
    trio.pass(Duration::from_millis(100));
    for node in others {
        let found = trio.nodes[node].observed(1).unwrap();
        assert_eq!(found.size_bytes, 4 * MIB, "its disk stands still");
        assert!(found.copy.unwrap().epoch <= before, "it would be asked, and say 4 MiB");
        trio.nodes[node].disk_runs = true;
    }
    let next = trio.connect();
    assert_eq!(trio.nodes[next.0].peers[next.1].listener.export.unwrap().0, 8 * MIB);
}
