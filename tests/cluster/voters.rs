//! What the loss of voters means.

use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Role};
use tests::tool;
use tests::wait;

use crate::history::{User, compare};

/// How long the API may be away when the leader dies.
const FAILOVER_MAX: Duration = Duration::from_secs(2);

#[test]
fn another_voter_leads_when_the_leader_is_killed() {
    let mut cluster = Cluster::on_loopback();
    let mut away = Vec::new();
    for round in 0..5 {
        let leader = cluster.leader();
        cluster.kill_voter(leader);
        let begin = Instant::now();
        cluster.run(&["volume", "list"]);
        let answered = begin.elapsed();
        cluster.run(&["volume", "create", &format!("round{round}"), "--size", "1MiB"]);
        println!("round {round}: an answer after {answered:.1?}, a volume was made after {:.1?}", begin.elapsed());
        away.push(answered);
        cluster.start_voter(leader, Role::Joiner);
        wait::until("all voters to be heard", || {
            let status = cluster.status()?;
            let silent = status["problems"]
                .as_array()?
                .iter()
                .any(|problem| problem["subject"].as_str().unwrap().starts_with("voter"));
            (!silent).then_some(())
        });
    }
    away.sort_unstable();
    println!("away for {away:.1?}");
    assert!(away.iter().all(|away| *away < FAILOVER_MAX), "{away:?}");
}

#[test]
fn a_voter_that_lost_its_disk_is_replaced_while_operations_run() {
    let mut cluster = Cluster::on_loopback();
    let mut user = User::new(cluster.shell(), 1, 1);
    let user = thread::scope(|scope| {
        let worker = scope.spawn(move || {
            (0..40).for_each(|_| user.act());
            user
        });
        let leader = cluster.leader();
        let lost = cluster.voter_ids().into_iter().find(|id| *id != leader).unwrap();
        cluster.wipe_voter(lost);
        cluster.run(&["cluster", "remove-voter", &lost.to_string()]);
        cluster.start_voter(4, Role::Joiner);
        cluster.add_voter(4);
        worker.join().unwrap()
    });
    // The new one counts: with one of the old ones gone, it and the other are most of three.
    let old = cluster.voter_ids()[0];
    cluster.kill_voter(old);
    wait::until("the rest to lead", || cluster.status());
    cluster.settle();
    compare(&cluster.json(&["volume", "list"]), std::slice::from_ref(&user));
}

#[test]
fn a_wiped_voter_is_not_resurrected() {
    let mut cluster = Cluster::on_loopback();
    let leader = cluster.leader();
    cluster.run(&["volume", "create", "db", "--size", "1MiB"]);
    let other = cluster.voter_ids().into_iter().find(|id| *id != leader).unwrap();
    let another = cluster.voter_ids().into_iter().find(|id| *id != leader && *id != other).unwrap();
    // It comes back empty under its old number, and the voter that has everything dies: those who are left must not
    // agree on a state without the volume.
    cluster.kill_voter(other);
    std::fs::remove_dir_all(cluster.voter_data(other)).unwrap();
    cluster.start_voter(other, Role::Joiner);
    cluster.kill_voter(leader);
    let listed = wait::within(Duration::from_secs(20), || {
        let output = cluster.shell().plinth(&["volume", "list", "-o", "json", "--timeout", "3"]);
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert!(listed.as_deref().is_none_or(|listed| listed.contains("\"db\"")), "voter {another} forgot: {listed:?}");
}

#[test]
fn clients_go_on_while_all_voters_are_away() {
    let mut cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    let uri = cluster.shell().attach("db", "host1").remove(0);
    let mut fio = cluster.shell().tool("fio");
    fio.args(["--name=v", "--ioengine=nbd", &format!("--uri={uri}"), "--rw=randwrite", "--bs=4k", "--size=32m"]);
    fio.args([
        "--iodepth=8",
        "--time_based",
        "--runtime=12",
        "--rate_iops=2000",
        "--verify=crc32c",
        "--verify_state_save=0",
        "--verify_fatal=1",
        "--do_verify=0",
    ]);
    let said = thread::scope(|scope| {
        let running = scope.spawn(move || tool::run(&mut fio));
        thread::sleep(Duration::from_secs(2));
        cluster.kill_voters();
        thread::sleep(Duration::from_secs(6));
        for id in cluster.voter_ids() {
            cluster.start_voter(id, Role::Joiner);
        }
        running.join().unwrap()
    });
    assert!(said.contains("err= 0"), "{said}");
    cluster.settle();
    let volume = cluster.json(&["volume", "show", "db"]);
    assert_eq!((&volume["phase"], &volume["attachments"][0]["client"]), (&"ready".into(), &"host1".into()));
    cluster.run(&["volume", "detach", "db", "--client", "host1"]);
    assert!(!cluster.shell().is_let_in(&uri));
}
