//! Volumes with three replicas, and nodes that die under them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::Cluster;
use tests::wait;
use tests::writer::{Writer, primary, replicas_in_sync, whole};

/// Longest time without an acknowledgement when the primary dies.
const GAP_MAX: Duration = Duration::from_secs(5);
const ROUNDS: u64 = 3;

/// A cluster with a volume that has a replica on every node.
pub fn replicated() -> Cluster {
    let cluster = Cluster::on_loopback();
    wait::until("all nodes to be heard", || (cluster.status()?["nodes_up"] == 3).then_some(()));
    cluster.run(&["volume", "create", "db", "--size", "64MiB", "--replicas", "3"]);
    whole(&cluster);
    cluster
}

#[test]
fn nothing_acknowledged_is_lost_when_primaries_are_killed() {
    let mut cluster = replicated();
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), 1);
    (0..200).for_each(|_| writer.write());
    for round in 0..ROUNDS {
        let killed = primary(&cluster);
        let stop = AtomicBool::new(false);
        writer.longest = Duration::ZERO;
        thread::scope(|scope| {
            let writing = scope.spawn(|| {
                writer.last = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    writer.write();
                }
            });
            thread::sleep(Duration::from_millis(500));
            cluster.kill_node(&killed);
            thread::sleep(Duration::from_secs(6));
            stop.store(true, Ordering::Relaxed);
            writing.join().unwrap();
        });
        println!("round {round}: {killed} was killed, {:.1?} without an acknowledgement", writer.longest);
        assert!(writer.longest < GAP_MAX, "{:?}", writer.longest);
        assert_ne!(primary(&cluster), killed);
        cluster.start_node(&killed);
        whole(&cluster);
        // It listens elsewhere now.
        writer.move_to(cluster.shell().attach("db", "host1"));
        writer.check();
    }
    cluster.run(&["volume", "detach", "db", "--client", "host1"]);
    cluster.run(&["volume", "delete", "db"]);
}

#[test]
fn a_backup_that_dies_is_missed_for_a_moment_only() {
    let mut cluster = replicated();
    let serving = primary(&cluster);
    let backup = ["n1", "n2", "n3"].into_iter().find(|node| *node != serving).unwrap();
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), 2);
    (0..200).for_each(|_| writer.write());
    writer.longest = Duration::ZERO;
    cluster.kill_node(backup);
    (0..2000).for_each(|_| writer.write());
    println!("{:.1?} without an acknowledgement", writer.longest);
    assert!(writer.longest < GAP_MAX, "{:?}", writer.longest);
    assert_eq!(replicas_in_sync(&cluster), 2);
    cluster.start_node(backup);
    whole(&cluster);
    writer.move_to(cluster.shell().attach("db", "host1"));
    writer.check();
}
