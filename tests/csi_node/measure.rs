//! Figures, and no promise: how long a claim takes from nothing to mounted, and back.
//!
//! `cargo test --release -p tests --test csi_node claim_to_mounted -- --ignored --nocapture`

use std::time::{Duration, Instant};

use tests::cluster::Cluster;
use tests::wait;

use crate::controller::Claim;
use crate::many::number;
use crate::plugin::{Node, mount};

const STEPS: [&str; 8] = [
    "CreateVolume",
    "ControllerPublishVolume",
    "NodeStageVolume",
    "NodePublishVolume",
    "NodeUnpublishVolume",
    "NodeUnstageVolume",
    "ControllerUnpublishVolume",
    "DeleteVolume",
];
/// Of those, so many lead to the mounted filesystem.
const STEPS_UP: usize = 4;
const CLAIM_BYTES: i64 = 10 << 30;
/// The pools are small, and take their room from the disk at once: more is promised in them than they have.
const OVERCOMMIT_PERCENT: &str = "3000";

#[test]
#[ignore = "it measures, for some minutes"]
fn claim_to_mounted() {
    let cluster = Cluster::on_loopback();
    cluster.run(&["cluster", "set", "--overcommit-percent", OVERCOMMIT_PERCENT]);
    let node = Node::with_controller(&cluster, "node-a");
    let (caller, ext4) = (node.caller(), mount("ext4"));
    let warm = Claim::new("warm", CLAIM_BYTES, ext4.clone());
    wait::until("the controller", || caller.create(warm.clone()).ok());
    caller.delete("warm").unwrap();
    cluster.settle();
    let mut steps: [Vec<Duration>; STEPS.len()] = Default::default();
    let mut up = Vec::new();
    for round in 0..number("ROUNDS", 20) {
        let volume = format!("claim{round}");
        let claim = Claim::new(&volume, CLAIM_BYTES, ext4.clone());
        let mut timed = |step: usize, work: &dyn Fn()| {
            let begin = Instant::now();
            work();
            steps[step].push(begin.elapsed());
        };
        timed(0, &|| drop(caller.create(claim.clone()).unwrap()));
        timed(1, &|| drop(caller.attach(&volume, "node-a", ext4.clone()).unwrap()));
        timed(2, &|| caller.stage_as(&volume, ext4.clone(), &[]).unwrap());
        timed(3, &|| caller.publish_as(&volume, &volume, ext4.clone(), false).unwrap());
        timed(4, &|| caller.unpublish(&volume, &volume).unwrap());
        timed(5, &|| caller.unstage_at_last(&volume));
        timed(6, &|| caller.detach(&volume, "node-a").unwrap());
        timed(7, &|| caller.delete(&volume).unwrap());
        up.push(steps[..STEPS_UP].iter().filter_map(|times| times.last()).sum());
        cluster.settle();
    }
    for (name, times) in STEPS.iter().zip(&mut steps) {
        println!("{}", shown(name, times));
    }
    println!("{}", shown("claim to mounted", &mut up));
    node.is_clean();
}

fn shown(name: &str, times: &mut [Duration]) -> String {
    times.sort();
    format!("{name}: p50 {:.0?}, longest {:.0?}", times[times.len() / 2], times[times.len() - 1])
}
