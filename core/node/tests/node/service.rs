//! What a single client is served.

use node::{Command, NodeConfig, limits};

use crate::rig::{MIB, Rig};
use crate::wire::{BLOCK_STATUS, CACHE, EINVAL, ENOSPC, EPERM, FLUSH, READ, Request, TRIM, WRITE, WRITE_ZEROES};

fn pattern(len_bytes: usize, seed: usize) -> Vec<u8> {
    (0..len_bytes).map(|at| u8::try_from((at * 31 + at / 251 + seed) % 251 + 1).unwrap()).collect()
}

#[test]
fn what_is_written_is_read_whatever_its_size_and_place() {
    let mut rig = Rig::new(256 * MIB, 64 * MIB);
    let peer = rig.connect();
    assert_eq!(rig.peers[peer].listener.export.unwrap().0, 64 * MIB);
    let mut offset = 0;
    for len_bytes in [1, 511, 4096, 5000, 32_767, 32_768, 40_000, 65_536, 300_000, 1 << 20, (1 << 20) + 1, 3_000_000] {
        for skew in [0, 1, 512, 4095] {
            let bytes = pattern(len_bytes, skew);
            rig.write(peer, offset + skew as u64, &bytes);
            assert!(
                rig.read(peer, offset + skew as u64, u32::try_from(len_bytes).unwrap()) == bytes,
                "{len_bytes} {skew}"
            );
            offset = (offset + (skew + len_bytes) as u64).next_multiple_of(4096);
        }
    }
    rig.assert_idle();
}

#[test]
fn the_largest_requests_are_served_aligned_or_not() {
    let mut rig = Rig::new(256 * MIB, 100 * MIB);
    let peer = rig.connect();
    let len_bytes = limits::PAYLOAD_BYTES_MAX;
    for offset in [0, 4096 * 3 + 1] {
        let bytes = pattern(len_bytes as usize, 7);
        rig.write(peer, offset, &bytes);
        assert!(rig.read(peer, offset, len_bytes) == bytes);
    }
    let mut structured = rig.connect_to("v", true);
    assert!(rig.read(structured, 4096 * 3 + 1, len_bytes) == pattern(len_bytes as usize, 7));
    structured += 1;
    assert_eq!(structured, rig.peers.len());
    rig.assert_idle();
}

#[test]
fn zeroes_and_trims_of_gigabytes_end() {
    let mut rig = Rig::new(128 * MIB, 8192 * MIB);
    let peer = rig.connect();
    let bytes = pattern(8192, 1);
    for offset in [0, 1000 * MIB - 4096, 4095 * MIB] {
        rig.write(peer, offset, &bytes);
    }
    let zeroes = Request::new(WRITE_ZEROES, 1, u32::MAX - 4096);
    assert_eq!(rig.call(peer, &zeroes).error, 0);
    assert_eq!(rig.read(peer, 0, 4096)[..2], [bytes[0], 0]);
    assert!(rig.read(peer, 1000 * MIB - 4096, 8192).iter().all(|&byte| byte == 0));
    rig.write(peer, 0, &bytes);
    assert_eq!(rig.call(peer, &Request::new(TRIM, 4096, u32::MAX)).error, 0);
    assert!(rig.read(peer, 4096, 4096).iter().all(|&byte| byte == 0));
    assert_eq!(rig.read(peer, 0, 4096), bytes[..4096]);
    rig.assert_idle();
}

#[test]
fn a_trim_keeps_partial_blocks_and_zeroes_do_not() {
    let mut rig = Rig::new(128 * MIB, MIB);
    let peer = rig.connect();
    let full = vec![7; 5 * 4096];
    for (command, kept) in [(TRIM, true), (WRITE_ZEROES, false)] {
        rig.write(peer, 0, &full);
        assert_eq!(rig.call(peer, &Request::new(command, 100, 4 * 4096)).error, 0);
        let found = rig.read(peer, 0, 5 * 4096);
        let expected = |at: usize| match at {
            0..100 => 7,
            4096..16384 => 0,
            100..4096 | 16384..16484 => {
                if kept {
                    7
                } else {
                    0
                }
            }
            _ => 7,
        };
        assert!(found.iter().enumerate().all(|(at, &byte)| byte == expected(at)));
    }
}

#[test]
fn a_flush_and_a_forced_write_end_after_a_sync() {
    let mut rig = Rig::new(128 * MIB, MIB);
    let peer = rig.connect();
    for request in [Request::write(0, &[1; 4096]).fua(), Request::write(5, &[2; 40_000]).fua()] {
        let before = rig.syncs;
        assert_eq!(rig.call(peer, &request).error, 0);
        assert!(rig.syncs > before);
    }
    rig.write(peer, 0, &[3; 4096]);
    let before = rig.syncs;
    assert_eq!(rig.call(peer, &Request::new(FLUSH, 0, 0)).error, 0);
    assert!(rig.syncs > before);
    for command in [TRIM, WRITE_ZEROES] {
        let before = rig.syncs;
        assert_eq!(rig.call(peer, &Request::new(command, 0, 10_000).fua()).error, 0);
        assert!(rig.syncs > before);
    }
}

#[test]
fn what_is_allocated_is_told_to_the_byte() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let peer = rig.connect_to("v", true);
    rig.write(peer, 8192, &[1; 8192]);
    let status = rig.call(peer, &Request::new(BLOCK_STATUS, 4095, 4096 * 4 + 1));
    assert_eq!(status.extents, [(4097, 3), (8192, 0), (4096, 3)]);
    let read = rig.call(peer, &Request::new(READ, 8191, 4096));
    assert_eq!((read.error, &read.data[..2], read.data.len()), (0, &[0, 1][..], 4096));
    assert_eq!(rig.call(peer, &Request::new(CACHE, 0, 4096)).error, 0);
}

#[test]
fn what_may_not_be_is_refused_and_the_connection_goes_on() {
    let mut rig = Rig::new(128 * MIB, MIB);
    let peer = rig.connect();
    let size = MIB;
    assert_eq!(rig.call(peer, &Request::new(READ, size - 1, 2)).error, EINVAL);
    assert_eq!(rig.call(peer, &Request::write(size - 1, &[0; 2])).error, ENOSPC);
    assert_eq!(rig.call(peer, &Request::write(size - 4096, &[0; 400_000])).error, ENOSPC);
    assert_eq!(rig.call(peer, &Request::write(u64::MAX, &[0; 4096])).error, ENOSPC);
    assert_eq!(rig.call(peer, &Request::new(TRIM, size, 1)).error, EINVAL);
    assert_eq!(rig.call(peer, &Request::new(READ, 0, 0)).error, EINVAL);
    rig.write(peer, size - 1, &[9]);
    assert_eq!(rig.read(peer, size - 1, 1), [9]);
    rig.assert_idle();
}

#[test]
fn a_read_only_export_refuses_changes_only() {
    let mut rig = Rig::new(128 * MIB, MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[5; 4096]);
    rig.handle(node::Event::Stop);
    rig.run();
    let config = NodeConfig { read_only: ["v".to_owned()].into(), ..NodeConfig::default() };
    let mut rig = Rig::on(rig.disk, config);
    let peer = rig.connect();
    assert_eq!(rig.peers[peer].listener.export.unwrap().1 & 2, 2, "the client is told");
    for request in [Request::write(0, &[1; 4096]), Request::write(0, &[1; 100_000]), Request::new(TRIM, 0, 4096)] {
        assert_eq!(rig.call(peer, &request).error, EPERM);
    }
    assert_eq!(rig.read(peer, 0, 4096), [5; 4096]);
    assert_eq!(rig.node.volumes().next().unwrap().counters.errors, 3);
}

#[test]
fn a_payload_may_be_cut_anywhere() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.transfer_max = usize::MAX;
    for (offset, len_bytes) in [(0_u64, 36_864_usize), (77, 33_000)] {
        let mut cuts: Vec<usize> = (0..80).chain((80..len_bytes).step_by(1021)).collect();
        cuts.extend([len_bytes, len_bytes + 27]);
        for cut in cuts {
            let bytes = pattern(len_bytes, cut);
            let cookie = rig.ask(peer, &Request::write(offset, &bytes));
            let rest = rig.peers[peer].outgoing.split_off(cut.min(len_bytes + 28));
            rig.run();
            rig.peers[peer].outgoing = rest;
            rig.run();
            assert_eq!(rig.reply(peer, cookie).unwrap().error, 0, "cut at {cut}");
            assert!(rig.read(peer, offset, u32::try_from(len_bytes).unwrap()) == bytes, "cut at {cut}");
        }
    }
}

#[test]
fn requests_are_counted_and_measured() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[1; 8192]);
    rig.write(peer, 1, &[1; 10]);
    rig.read(peer, 0, 4096);
    rig.call(peer, &Request::new(FLUSH, 0, 0));
    rig.call(peer, &Request::new(TRIM, 0, 4096));
    rig.call(peer, &Request::new(WRITE, 4 * MIB, 0));
    let summary = rig.node.volumes().next().unwrap();
    let counters = summary.counters;
    assert_eq!((counters.writes, counters.written_bytes, counters.reads, counters.read_bytes), (2, 8202, 1, 4096));
    assert_eq!((counters.flushes, counters.zeroings, counters.in_flight, summary.clients), (1, 1, 0, 1));
    assert!(rig.measured >= 5);
    let listed = rig.order(Command::ListVolumes).unwrap();
    assert_eq!(listed, node::Answer::Volumes(vec![summary]));
}
