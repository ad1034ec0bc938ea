//! fio writes, reads back and verifies, over several connections.

use tests::node::Home;
use tests::tool::{run, tool};

fn fio(uri: &str, arguments: &[&str]) {
    let common = ["--name=verify", "--ioengine=nbd", "--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"];
    run(tool("fio").args(common).arg(format!("--uri={uri}")).args(arguments));
}

#[test]
fn four_connections_verify_what_they_wrote() {
    let home = Home::default();
    let node = home.start();
    let regions = ["--numjobs=4", "--size=48m", "--offset_increment=64m", "--iodepth=16"];
    let mixed = ["--rw=randrw", "--rwmixread=30", "--bsrange=4k-64k", "--verify_backlog=1024", "--io_size=256m"];
    fio(&node.tcp_uri(), &[&regions[..], &mixed].concat());
}

#[test]
fn unaligned_writes_with_flushes_verify() {
    let home = Home::default();
    let node = home.start();
    let small = ["--rw=randwrite", "--bsrange=512-9k", "--bs_unaligned=0", "--blockalign=512", "--size=64m"];
    let flushing = ["--iodepth=8", "--io_size=32m", "--fsync=64", "--do_verify=1"];
    fio(&node.uri(), &[&small[..], &flushing].concat());
}

#[test]
fn trimmed_ranges_do_not_disturb_their_neighbours() {
    let home = Home::default();
    let node = home.start();
    // One at a time: fio sends the write of a block without waiting for the trim of the same block.
    let trims = ["--rw=randtrimwrite", "--bs=16k", "--size=64m", "--iodepth=1", "--io_size=64m"];
    fio(&node.uri(), &trims);
}
