//! A full pool refuses writes with ENOSPC, keeps what it has, and takes writes again after a discard.

use std::time::Duration;

use tests::nbd::{Client, Kind};
use tests::node::{Home, Options, VOLUME};
use tests::random::Random;
use tests::wait;

const ENOSPC: u32 = 28;
const STEP: u32 = 1 << 20;

fn piece(step: u64) -> Vec<u8> {
    Random::seeded(step + 1).bytes(STEP as usize)
}

/// Writes pieces one after the other until one is refused; answers how many were taken.
fn fill(client: &mut Client, limit: u64) -> u64 {
    for step in 0..limit {
        match client.write(step * u64::from(STEP), &piece(step), 0) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error, ENOSPC, "piece {step}");
                return step;
            }
        }
    }
    panic!("{limit} MiB fit into a smaller pool");
}

fn assert_pieces(client: &mut Client, steps: std::ops::Range<u64>) {
    for step in steps {
        assert!(client.read(step * u64::from(STEP), STEP).expect("a read") == piece(step), "piece {step}");
    }
}

#[test]
fn a_full_pool_says_so_and_recovers_by_a_discard() {
    let home = Home::new(Options { volumes: vec![format!("{VOLUME}:2GiB")], pool: "512MiB".into() });
    let mut node = home.start();
    let mut client = node.client();
    let taken = fill(&mut client, 2048);
    assert!(taken > 256, "only {taken} MiB of a pool of 512 MiB could be written");
    client.flush().expect("a full pool flushes");
    assert_pieces(&mut client, 0..taken);

    client.clear(Kind::Trim, 0, STEP * 64).expect("a full pool discards");
    wait::within(Duration::from_secs(30), || client.write(u64::from(STEP), &piece(1), 0).ok())
        .expect("a discard of 64 MiB makes room");
    assert_pieces(&mut client, 1..2);
    assert_pieces(&mut client, 64..taken);

    // Full again, killed while full, and still all there.
    for step in 2048 - 256..2048 {
        if client.write(step * u64::from(STEP), &piece(step), 0).is_err() {
            break;
        }
    }
    node.running.kill();
    let node = home.start();
    let mut client = node.client();
    assert_pieces(&mut client, 1..2);
    assert_pieces(&mut client, 64..taken);
    assert_eq!(client.read(0, STEP).expect("a read"), vec![0; STEP as usize]);
    for offset in [0, 1 << 30] {
        client.clear(Kind::Trim, offset, 1 << 30).expect("a full pool discards after a restart");
    }
    wait::within(Duration::from_secs(30), || client.write(0, &piece(9), 0).ok()).expect("room again");
}

#[test]
fn overwriting_for_ever_needs_no_more_room_than_the_data() {
    let home = Home::new(Options { volumes: vec![format!("{VOLUME}:128MiB")], pool: "512MiB".into() });
    let node = home.start();
    let mut client = node.client();
    let mut random = Random::seeded(3);
    let mut latest = vec![0; 128];
    for round in 1..2000_u64 {
        let place = random.below(128);
        latest[usize::try_from(place).expect("few")] = round;
        let written = client.write(place * u64::from(STEP), &piece(round), 0);
        assert_eq!(written, Ok(()), "overwrite {round}");
    }
    for (place, round) in latest.into_iter().enumerate().filter(|(_, round)| *round > 0) {
        let data = client.read(place as u64 * u64::from(STEP), STEP).expect("a read");
        assert!(data == piece(round), "place {place} holds overwrite {round}");
    }
}
