//! Many volumes at once while the plugin is killed again and again.
//!
//! `VOLUMES=100 RESTART_EVERY=5 cargo test --release -p tests --test csi_node many_volumes -- --nocapture`

use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::cluster::{Cluster, Shell};
use tests::skip::skip;
use tests::wait;
use tonic::{Code, Status};

use crate::plugin::{Caller, Node, lacking};

const WORKERS: u64 = 10;
/// Volumes, and how many seconds a plugin lives, if nobody says otherwise.
const VOLUMES: u64 = 30;
const RESTART_EVERY: u64 = 5;
/// What is written to a volume.
const WRITTEN_BYTES: usize = 4 << 20;
/// What a pool may have in use more than before: what its store notes of volumes that are gone.
const POOL_SLACK_BYTES: u64 = 4 << 20;

pub fn number(variable: &str, usual: u64) -> u64 {
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
    shell.run(&["volume", "create", volume, "--size", "16MiB", "--replicas", "3"]);
    shell.run(&["volume", "attach", volume, "--client", node]);
    surely("stage", || caller.stage(volume));
    surely("publish", || caller.publish(volume, volume));
    let path = caller.target(volume).join("file");
    let mut file = fs::File::create(&path).expect("the host does it");
    file.write_all(&vec![7; WRITTEN_BYTES]).and_then(|()| file.sync_all()).expect("the host does it");
    drop(file);
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
    let volumes = number("VOLUMES", VOLUMES);
    let life_of_plugin = Duration::from_secs(number("RESTART_EVERY", RESTART_EVERY));
    let cluster = Cluster::on_loopback();
    let used_before = cluster.live_bytes();
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
                if since.elapsed() > life_of_plugin {
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
    assert_eq!(node.files(), ["attach", "csi.log", "csi.sock", "pods", "staging"]);
    cluster.settle();
    assert_eq!(cluster.json(&["volume", "list"]).as_array().unwrap().len(), 0);
    wait::until("the pools to be empty", || {
        let pools = cluster.json(&["pool", "list"]);
        pools.as_array()?.iter().all(|pool| pool["replicas"].as_u64() == Some(0)).then_some(())
    });
    wait::until("the pools' space to be back", || {
        let all_back =
            cluster.live_bytes().iter().zip(&used_before).all(|(now, before)| *now <= before + POOL_SLACK_BYTES);
        all_back.then_some(())
    });
    println!("used of the pools: {used_before:?} bytes before, {:?} after", cluster.live_bytes());
}
