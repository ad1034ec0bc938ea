//! Many volumes at once while the plugin is killed again and again; and how long each step takes.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Shell};
use tests::skip::skip;
use tests::wait;
use tonic::{Code, Status};

use crate::plugin::{Caller, Node, lacking};

const WORKERS: u64 = 10;
/// How long a plugin lives.
const LIFE: Duration = Duration::from_secs(5);

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Until it is done: the plugin may be away.
fn surely(what: &str, ask: impl Fn() -> Result<(), Status>) {
    wait::until(what, || match ask() {
        Ok(()) => Some(()),
        Err(status) => {
            let lost = matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::AlreadyExists);
            assert!(!lost, "{what}: {status}");
            None
        }
    });
}

fn life(shell: &Shell, caller: &Caller, node: &str, volume: &str) {
    shell.run(&["volume", "create", volume, "--size", "16MiB"]);
    shell.run(&["volume", "attach", volume, "--client", node]);
    surely("stage", || caller.stage(volume));
    surely("publish", || caller.publish(volume, volume));
    let file = caller.target(volume).join("file");
    fs::write(&file, volume).expect("the host does it");
    fs::File::open(&file).expect("the host does it").sync_all().expect("the host does it");
    surely("unpublish", || caller.unpublish(volume, volume));
    surely("unstage", || caller.unstage(volume));
    shell.run(&["volume", "detach", volume, "--client", node]);
    shell.run(&["volume", "delete", volume]);
}

#[test]
fn many_volumes_come_and_go_and_leave_nothing() {
    if let Some(what) = lacking() {
        return skip("many_volumes_come_and_go_and_leave_nothing", what);
    }
    let volumes = number("VOLUMES", 30);
    let cluster = Cluster::on_loopback();
    let mut node = Node::start(&cluster, "node-a");
    let (next, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let shell = cluster.shell();
    let begin = Instant::now();
    let mut restarts = 0;
    thread::scope(|scope| {
        let callers: Vec<Caller> = (0..WORKERS).map(|_| node.caller()).collect();
        let work = |caller: Caller| {
            loop {
                let volume = next.fetch_add(1, Ordering::Relaxed);
                if volume >= volumes {
                    return;
                }
                life(&shell, &caller, "node-a", &format!("claim{volume}"));
            }
        };
        let workers: Vec<_> = callers.into_iter().map(|caller| scope.spawn(move || work(caller))).collect();
        let (done, node, restarts) = (&done, &mut node, &mut restarts);
        let restarting = scope.spawn(move || {
            let mut since = Instant::now();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(20));
                if since.elapsed() > LIFE {
                    node.restart();
                    *restarts += 1;
                    since = Instant::now();
                }
            }
        });
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        restarting.join().unwrap();
        ended.into_iter().for_each(|worker| worker.unwrap());
    });
    println!("{volumes} volumes in {:.1?}, the plugin was killed {restarts} times", begin.elapsed());
    node.is_clean();
    cluster.settle();
    assert_eq!(cluster.json(&["volume", "list"]).as_array().unwrap().len(), 0);
    wait::until("the pools to be empty", || {
        let pools = cluster.json(&["pool", "list"]);
        pools.as_array()?.iter().all(|pool| pool["replicas"].as_u64() == Some(0)).then_some(())
    });
}

/// Figures, not a promise: `cargo test ... -- --ignored --nocapture claim_to_mounted`.
#[test]
#[ignore = "it measures, for some minutes"]
fn claim_to_mounted() {
    let cluster = Cluster::on_loopback();
    let node = Node::start(&cluster, "node-a");
    let (caller, shell) = (node.caller(), cluster.shell());
    let mut steps: [Vec<Duration>; 7] = Default::default();
    for round in 0..number("ROUNDS", 20) {
        let volume = format!("claim{round}");
        let mut timed = |step: usize, work: &dyn Fn()| {
            let begin = Instant::now();
            work();
            steps[step].push(begin.elapsed());
        };
        timed(0, &|| drop(shell.run(&["volume", "create", &volume, "--size", "5GiB", "--replicas", "3"])));
        timed(1, &|| node.give(&volume));
        timed(2, &|| caller.stage(&volume).unwrap());
        timed(3, &|| caller.publish(&volume, &volume).unwrap());
        timed(4, &|| caller.unpublish(&volume, &volume).unwrap());
        timed(5, &|| caller.unstage(&volume).unwrap());
        timed(6, &|| node.take(&volume));
        shell.run(&["volume", "delete", &volume]);
        // The pools are promised away until it is gone.
        cluster.settle();
    }
    let names = ["create", "attach", "stage", "publish", "unpublish", "unstage", "detach"];
    for (name, times) in names.iter().zip(&mut steps) {
        times.sort();
        println!("{name}: p50 {:.0?}, longest {:.0?}", times[times.len() / 2], times[times.len() - 1]);
    }
}
