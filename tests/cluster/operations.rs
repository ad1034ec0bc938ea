//! Two hundred operations while the leader is killed again and again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Role};
use tests::namespaces;
use tests::random::seed;
use tests::skip::skip;

use crate::history::{User, compare};

const USERS: u64 = 4;
const OPERATIONS: usize = 200;
/// Between two kills.
const KILL_PERIOD: Duration = Duration::from_secs(3);
/// How long a killed voter stays away.
const AWAY: Duration = Duration::from_secs(1);

#[test]
fn every_operation_ends_once_while_leaders_are_killed() {
    act_while_leaders_are_killed(Cluster::on_loopback());
}

#[test]
fn every_operation_ends_once_while_leaders_are_killed_across_namespaces() {
    if let Some(why) = namespaces::why_not() {
        return skip("every_operation_ends_once_while_leaders_are_killed_across_namespaces", &why);
    }
    act_while_leaders_are_killed(Cluster::in_namespaces());
}

fn act_while_leaders_are_killed(mut cluster: Cluster) {
    let seed = seed();
    let begin = Instant::now();
    let done = AtomicBool::new(false);
    let shell = cluster.shell();
    let mut kills = 0;
    let users: Vec<User> = thread::scope(|scope| {
        let act = |number| {
            let mut user = User::new(shell.clone(), number, seed);
            move || {
                (0..OPERATIONS / usize::try_from(USERS).unwrap()).for_each(|_| user.act());
                user
            }
        };
        let workers: Vec<_> = (0..USERS).map(|number| scope.spawn(act(number))).collect();
        let watcher = scope.spawn(|| {
            let users: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Release);
            users
        });
        while !done.load(Ordering::Acquire) {
            kill_the_leader(&mut cluster, &done);
            kills += 1;
        }
        watcher.join().unwrap().into_iter().map(|user| user.expect("a user gets what it asks for")).collect()
    });
    println!("{OPERATIONS} operations in {:.1?} with {kills} kills of leaders", begin.elapsed());
    cluster.settle();
    compare(&cluster.json(&["volume", "list"]), &users);
    compare_pools(&cluster, &users);
    compare_exports(&cluster, &users);
    delete_everything(&cluster, &users);
}

fn kill_the_leader(cluster: &mut Cluster, done: &AtomicBool) {
    let wait = |duration: Duration| {
        let until = Instant::now() + duration;
        while Instant::now() < until && !done.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(20));
        }
    };
    wait(KILL_PERIOD - AWAY);
    let leader = cluster.leader();
    cluster.kill_voter(leader);
    wait(AWAY);
    cluster.start_voter(leader, Role::Joiner);
}

/// The nodes hold what the cluster knows of, and nothing else.
fn compare_pools(cluster: &Cluster, users: &[User]) {
    let pools = cluster.json(&["pool", "list"]);
    let pools = pools.as_array().unwrap();
    assert!(pools.iter().all(|pool| pool["orphans"] == serde_json::json!([])), "{pools:?}");
    let held: u64 = pools.iter().map(|pool| pool["replicas"].as_u64().unwrap()).sum();
    assert_eq!(held, users.iter().map(|user| user.volumes.len() as u64).sum::<u64>());
}

/// Who has a volume is let in at every node; who had it is not.
fn compare_exports(cluster: &Cluster, users: &[User]) {
    let shell = cluster.shell();
    for user in users {
        let holders = user.volumes.values().filter_map(|volume| volume.holder.as_ref());
        for uri in holders.flat_map(|holder| &holder.uris).take(12) {
            assert!(shell.is_let_in(uri), "{uri} is refused");
        }
        for uri in user.ended.iter().rev().take(6) {
            assert!(!shell.is_let_in(uri), "{uri} has ended");
        }
    }
}

/// With everything deleted, all space comes back.
fn delete_everything(cluster: &Cluster, users: &[User]) {
    let names: Vec<&str> = users.iter().flat_map(|user| user.volumes.keys().map(String::as_str)).collect();
    let mut arguments = vec!["volume", "delete", "--force"];
    arguments.extend(&names);
    if !names.is_empty() {
        cluster.run(&arguments);
    }
    cluster.settle();
    let pools = cluster.json(&["pool", "list"]);
    assert!(
        pools.as_array().unwrap().iter().all(|pool| pool["replicas"] == 0 && pool["promised_bytes"] == 0),
        "{pools}"
    );
}
