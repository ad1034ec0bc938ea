//! A device that fails, data that rots, a pool that is full.

use node::{Command, ControlError, Event};

use crate::rig::{MIB, Rig};
use crate::wire::{EIO, ENOSPC, FLUSH, READ, Request, TRIM, WRITE_ZEROES};

#[test]
fn rot_is_an_error_of_that_block_only_even_under_a_partial_write() {
    let mut rig = Rig::new(128 * MIB, 4 * MIB);
    let peer = rig.connect();
    let unique: [u8; 4096] = std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap());
    rig.write(peer, 0, &[1; 4096]);
    rig.write(peer, 4096, &unique);
    rig.write(peer, 8192, &[2; 4096]);
    assert_eq!(rig.disk.rot(&unique), 1);
    assert_eq!(rig.call(peer, &Request::new(READ, 0, 12_288)).error, EIO);
    assert_eq!(rig.call(peer, &Request::write(4100, &[9; 10])).error, EIO);
    assert_eq!(rig.call(peer, &Request::new(WRITE_ZEROES, 4100, 10)).error, EIO);
    assert_eq!(rig.call(peer, &Request::write(8, &[9; 40_000])).error, 0, "its last block is another one");
    assert_eq!(rig.read(peer, 4096, 4096), [9; 4096]);
    rig.write(peer, 4096, &[3; 4096]);
    assert_eq!(rig.read(peer, 4096, 4096), [3; 4096], "a whole write makes it good again");
    rig.assert_idle();
}

#[test]
fn after_a_failed_write_changes_fail_and_reads_go_on() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[1; 4096]);
    rig.disk.writes_fail = true;
    let requests = [
        Request::write(4096, &[2; 4096]),
        Request::write(8192, &vec![2; 3 << 20]),
        Request::write(1, &[2; 3]),
        Request::new(TRIM, 0, 8192),
        Request::new(WRITE_ZEROES, 1, 8192),
    ];
    let cookies: Vec<u64> = requests.iter().map(|request| rig.ask(peer, request)).collect();
    rig.run();
    for cookie in cookies {
        assert_eq!(rig.reply(peer, cookie).unwrap().error, EIO);
    }
    assert!(rig.node.store().poisoned().is_some());
    for request in &requests {
        assert_eq!(rig.call(peer, request).error, EIO);
    }
    assert_eq!(rig.call(peer, &Request::new(FLUSH, 0, 0)).error, EIO);
    assert_eq!(rig.read(peer, 0, 4096), [1; 4096]);
    let refused = rig.order(Command::CreateVolume { name: "w".to_owned(), size_bytes: MIB });
    assert_eq!(refused, Err(ControlError::Refused(store::Refusal::Poisoned)));
    rig.handle(Event::Stop);
    rig.run();
    assert!(rig.stopped);
    rig.assert_idle();
}

#[test]
fn a_failed_sync_fails_the_flush() {
    let mut rig = Rig::new(128 * MIB, 16 * MIB);
    let peer = rig.connect();
    rig.write(peer, 0, &[1; 4096]);
    rig.disk.syncs_fail = true;
    assert_eq!(rig.call(peer, &Request::new(FLUSH, 0, 0)).error, EIO);
    assert_eq!(rig.call(peer, &Request::write(0, &[1; 4096])).error, EIO);
    rig.assert_idle();
}

#[test]
fn a_full_pool_refuses_data_and_trims_make_room() {
    let mut rig = Rig::new(64 * MIB, 256 * MIB);
    let peer = rig.connect();
    let mib = vec![1; 1 << 20];
    let mut full = None;
    for at in 0..128 {
        if rig.call(peer, &Request::write(at * MIB, &mib)).error == ENOSPC {
            full = Some(at);
            break;
        }
    }
    let full = full.expect("it fills up");
    assert!(full > 20, "{full}");
    assert_eq!(rig.call(peer, &Request::write(100 * MIB, &vec![2; 5 << 20])).error, ENOSPC);
    assert_eq!(rig.call(peer, &Request::new(READ, (full - 1) * MIB, 4096)).data, [1; 4096]);
    assert_eq!(rig.call(peer, &Request::write(0, &[3; 8192])).error, 0, "an overwrite fits");
    assert_eq!(rig.call(peer, &Request::new(TRIM, 0, 10 << 20)).error, 0);
    rig.run();
    for at in 0..5 {
        assert_eq!(rig.call(peer, &Request::write(at * MIB, &mib)).error, 0, "{at}");
    }
    rig.assert_idle();
}
