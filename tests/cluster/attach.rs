//! Volumes as block devices of this host, by FUSE and a loop device: nodes, agents and detaches die in between.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tests::cluster::Cluster;
use tests::device::{AttachHost, Mounted};
use tests::skip::skip;
use tests::tool::{Running, run, tool};
use tests::wait;

use tests::writer::{primary, whole};

use crate::replicas::replicated;

const KILLS: usize = 3;
/// Longest time that a detach by force may take, whatever is there or not.
const FORCED_MAX: Duration = Duration::from_secs(20);

/// What this machine lacks to run these tests.
pub fn lacking() -> Option<&'static str> {
    let tests = [
        (rustix::process::geteuid().is_root(), "only root may mount"),
        (Path::new("/dev/fuse").exists(), "there is no /dev/fuse"),
        (Path::new("/dev/loop-control").exists(), "there are no loop devices"),
    ];
    tests.into_iter().find(|(there, _)| !there).map(|(_, what)| what)
}

fn attachments_of(cluster: &Cluster) -> usize {
    cluster.json(&["volume", "show", "db"])["attachments"].as_array().expect("a list").len()
}

/// One replica on one of the nodes.
pub fn simple() -> Cluster {
    let cluster = Cluster::on_loopback();
    cluster.run(&["volume", "create", "db", "--size", "64MiB"]);
    cluster
}

/// A program that writes with checksums and verifies them, for a time.
pub fn fio(folder: &Path, log: &Path, seconds: u64) -> Running {
    let arguments = [
        "--name=v".to_owned(),
        format!("--directory={}", folder.display()),
        "--rw=randrw --ioengine=psync --numjobs=4 --bsrange=4k-64k --size=8m --direct=1 --fsync=32".to_owned(),
        "--verify=crc32c --verify_fatal=1 --verify_backlog=256 --verify_state_save=0 --time_based".to_owned(),
        format!("--runtime={seconds}"),
    ];
    let words: Vec<String> = arguments[2..4].iter().flat_map(|line| line.split(' ')).map(str::to_owned).collect();
    let arguments = [&arguments[..2], &words, &arguments[4..]].concat();
    Running::start(Path::new("fio"), &arguments, log)
}

#[test]
fn a_filesystem_sees_no_error_while_primaries_are_killed() {
    if let Some(what) = lacking() {
        return skip("a_filesystem_sees_no_error_while_primaries_are_killed", what);
    }
    let mut cluster = replicated();
    let host = AttachHost::of(cluster.shell());
    let device = host.attach("db");
    run(tool("mkfs.ext4").args(["-q", "-E", "lazy_itable_init=0"]).arg(&device));
    let mounted = Mounted::new(&device);
    let log = cluster.path("fio.log");
    let mut fio = fio(mounted.path(), &log, 30);
    for round in 0..KILLS {
        thread::sleep(Duration::from_secs(2));
        let killed = primary(&cluster);
        cluster.kill_node(&killed);
        let begin = Instant::now();
        let file = File::create(mounted.path().join(format!("round{round}"))).unwrap();
        file.write_all_at(&[7; 4096], 0).unwrap();
        file.sync_all().unwrap();
        println!("round {round}: {killed} was killed; a file was synced after {:.1?}", begin.elapsed());
        // It listens elsewhere now.
        cluster.start_node(&killed);
        whole(&cluster);
    }
    let code = fio.ends_within(Duration::from_secs(90));
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("err= 0") && !said.contains("verify:"), "{said}");
    assert!(mounted.options().starts_with("rw"), "{}", mounted.options());
    drop(mounted);
    run(tool("fsck.ext4").args(["-f", "-n"]).arg(&device));
    host.run(&["detach", "db"]);
    assert_eq!(host.remains(), [""; 0]);
}

#[test]
fn a_primary_that_hangs_is_left_for_the_next() {
    if let Some(what) = lacking() {
        return skip("a_primary_that_hangs_is_left_for_the_next", what);
    }
    let mut cluster = replicated();
    let host = AttachHost::of(cluster.shell());
    let device = File::options().read(true).write(true).open(host.attach("db")).unwrap();
    let hung = primary(&cluster);
    device.write_all_at(&[1; 8192], 0).unwrap();
    device.sync_all().unwrap();
    cluster.node_process(&hung).signal(Signal::STOP);
    let begin = Instant::now();
    device.write_all_at(&[2; 8192], 4096).unwrap();
    device.sync_all().unwrap();
    println!("{hung} hung; a write was synced after {:.1?}", begin.elapsed());
    assert!(begin.elapsed() < Duration::from_secs(30));
    cluster.node_process(&hung).signal(Signal::CONT);
    whole(&cluster);
    let mut bytes = [0; 12288];
    device.read_exact_at(&mut bytes, 0).unwrap();
    assert!(bytes[..4096] == [1; 4096] && bytes[4096..] == [2; 8192]);
}

#[test]
fn attach_and_detach_can_be_repeated_and_leave_nothing() {
    if let Some(what) = lacking() {
        return skip("attach_and_detach_can_be_repeated_and_leave_nothing", what);
    }
    let cluster = simple();
    let host = AttachHost::of(cluster.shell());
    for _ in 0..3 {
        let device = host.attach("db");
        assert_eq!(host.attach("db"), device, "it is attached already");
        assert_eq!(attachments_of(&cluster), 1);
        let mut file = File::options().write(true).open(&device).unwrap();
        file.write_all(&[3; 65536]).unwrap();
        drop(file);
        host.run(&["detach", "db"]);
        assert_eq!(host.remains(), [""; 0]);
        assert_eq!(attachments_of(&cluster), 0);
        host.run(&["detach", "db"]);
    }
    let mut bytes = vec![0; 65536];
    File::open(host.attach("db")).unwrap().read_exact(&mut bytes).unwrap();
    assert!(bytes == [3; 65536], "what was written is flushed by a detach");
    host.run(&["detach", "db"]);
}

#[test]
fn an_attach_that_is_refused_leaves_nothing() {
    if let Some(what) = lacking() {
        return skip("an_attach_that_is_refused_leaves_nothing", what);
    }
    let mut cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let refused = host.plinth(&["attach", "none", "--method", "fuse"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let _uris = cluster.shell().attach("db", "another");
    let refused = host.plinth(&["attach", "db", "--method", "fuse", "--client", "tester"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(4) && words.contains("another"), "{words}");
    assert_eq!(host.remains(), [""; 0]);
    cluster.run(&["volume", "detach", "db", "--all"]);
    // The cluster gives it, and nobody serves it.
    ["n1", "n2", "n3"].iter().for_each(|node| cluster.kill_node(node));
    let refused = host.plinth(&["attach", "db", "--method", "fuse", "--client", "tester", "--timeout", "3"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    ["n1", "n2", "n3"].iter().for_each(|node| cluster.start_node(node));
    wait::until("the rest to be undone", || {
        let _ = host.plinth(&["detach", "db"]);
        (host.remains().is_empty() && attachments_of(&cluster) == 0).then_some(())
    });
}

#[test]
fn a_device_in_use_is_not_detached() {
    if let Some(what) = lacking() {
        return skip("a_device_in_use_is_not_detached", what);
    }
    let cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let device = host.attach("db");
    run(tool("mkfs.ext4").arg("-q").arg(&device));
    let mounted = Mounted::new(&device);
    let refused = host.plinth(&["detach", "db"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains(mounted.path().to_str().unwrap()), "{words}");
    std::fs::write(mounted.path().join("file"), "it goes on").unwrap();
    drop(mounted);
    host.run(&["detach", "db"]);
    assert_eq!(host.remains(), [""; 0]);
}

#[test]
fn an_agent_that_was_killed_is_replaced_and_the_attachment_goes_on() {
    if let Some(what) = lacking() {
        return skip("an_agent_that_was_killed_is_replaced_and_the_attachment_goes_on", what);
    }
    let cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let device = host.attach("db");
    let file = File::options().write(true).open(&device).unwrap();
    file.write_all_at(&[5; 65536], 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    let agent = i32::try_from(host.keeper("db").expect("somebody keeps it")).unwrap();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::KILL).unwrap();
    wait::until("nobody to keep it", || host.keeper("db").is_none().then_some(()));
    assert_eq!(attachments_of(&cluster), 1, "the attachment survives its agent");
    let again = host.attach("db");
    assert!(host.keeper("db").is_some_and(|id| id != u64::from(agent.unsigned_abs())));
    let mut bytes = vec![0; 65536];
    File::open(&again).unwrap().read_exact(&mut bytes).unwrap();
    assert!(bytes == [5; 65536]);
    host.run(&["detach", "db"]);
    assert_eq!(host.remains(), [""; 0]);
}

#[test]
fn an_attachment_that_was_ended_from_outside_does_not_come_back() {
    if let Some(what) = lacking() {
        return skip("an_attachment_that_was_ended_from_outside_does_not_come_back", what);
    }
    let cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let _device = host.attach("db");
    let agent = i32::try_from(host.keeper("db").expect("somebody keeps it")).unwrap();
    kill_process(Pid::from_raw(agent).unwrap(), Signal::KILL).unwrap();
    cluster.run(&["volume", "detach", "db", "--all"]);
    let _uris = cluster.shell().attach("db", "another");
    let refused = host.plinth(&["attach", "db", "--method", "fuse"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && words.contains("has ended this attachment"), "{words}");
    host.run(&["detach", "db", "--force"]);
    assert_eq!(host.remains(), [""; 0]);
    assert_eq!(attachments_of(&cluster), 1, "that of another is left alone");
}

#[test]
fn a_forced_detach_of_a_device_that_hangs_is_bounded() {
    if let Some(what) = lacking() {
        return skip("a_forced_detach_of_a_device_that_hangs_is_bounded", what);
    }
    let mut cluster = simple();
    let host = AttachHost::of(cluster.shell());
    let device = host.attach("db");
    ["n1", "n2", "n3"].iter().for_each(|node| cluster.kill_node(node));
    let mut writer = Command::new("dd");
    writer.args(["if=/dev/zero", "bs=64k", "count=16", "oflag=direct"]).arg(format!("of={}", device.display()));
    let mut writer = writer.stderr(Stdio::null()).spawn().unwrap();
    let name = device.file_name().unwrap().to_str().unwrap();
    let in_flight = format!("/sys/block/{name}/inflight");
    wait::until("the write to hang", || {
        let counts = std::fs::read_to_string(&in_flight).ok()?;
        counts.split_whitespace().any(|count| count != "0").then_some(())
    });
    let begin = Instant::now();
    // The nodes cannot say that the client is shut out; the cluster goes on with that.
    let _ = host.plinth(&["detach", "db", "--force", "--timeout", "2"]);
    println!("a forced detach took {:.1?}", begin.elapsed());
    assert!(begin.elapsed() < FORCED_MAX);
    let ended = wait::until("the writer to see an error", || writer.try_wait().unwrap());
    assert!(!ended.success(), "what was not written is not acknowledged");
    ["n1", "n2", "n3"].iter().for_each(|node| cluster.start_node(node));
    host.run(&["detach", "db", "--timeout", "60"]);
    assert_eq!(host.remains(), [""; 0]);
    assert_eq!(attachments_of(&cluster), 0);
}
