//! Clients that do not speak the protocol, beside one that does.

use proptest::prelude::{any, prop, proptest};
use proptest::test_runner::Config;

use crate::rig::{MIB, Rig};
use crate::wire::{Request, hello};

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]
    #[test]
    fn garbage_hurts_only_its_sender(seed: u64, politeness in 0..4_usize, noise in prop::collection::vec(any::<u8>(), 0..3000)) {
        let mut rig = Rig::new(64 * MIB, 8 * MIB);
        rig.seed(seed);
        let good = rig.connect();
        let bad = rig.connect_silent();
        let polite = [Vec::new(), 3_u32.to_be_bytes().to_vec(), hello("v", false), hello("v", true)];
        rig.peers[bad].outgoing.extend(&polite[politeness]);
        if politeness >= 2 {
            rig.ask(bad, &Request::write(4 * MIB, &[1; 50_000]));
        }
        rig.peers[bad].outgoing.extend(&noise);
        for at in 0..10_u64 {
            let bytes = vec![u8::try_from(at).unwrap(); 5000];
            rig.write(good, at * 10_000, &bytes);
            assert_eq!(rig.read(good, at * 10_000, 5000), bytes);
        }
        rig.peers[bad].gone = true;
        rig.run();
        assert!(rig.peers[bad].closed && !rig.peers[good].closed);
        rig.assert_idle();
    }

    #[test]
    fn random_requests_are_all_answered_or_the_connection_ends(
        seed: u64,
        requests in prop::collection::vec((0..10_u16, 0..8_u16, any::<u64>(), any::<u32>(), any::<bool>()), 1..60),
    ) {
        let mut rig = Rig::new(64 * MIB, 8 * MIB);
        rig.seed(seed);
        let peer = rig.connect();
        for (command, flags, offset, len_bytes, near) in requests {
            let (offset, len_bytes) = if near { (offset % (9 * MIB), len_bytes % 100_000) } else { (offset, len_bytes) };
            let payload = if command == 1 && near { vec![3; len_bytes as usize] } else { Vec::new() };
            rig.ask(peer, &Request { command, flags, offset, len_bytes, payload });
        }
        rig.run();
        let open = &rig.peers[peer];
        // A write that promised more than it sent waits for it, and with it all that follows.
        assert!(open.closed || open.outgoing.is_empty());
        rig.peers[peer].gone = true;
        rig.run();
        assert!(rig.peers[peer].closed);
        rig.assert_idle();
    }
}

#[test]
fn many_clients_share_one_volume() {
    let mut rig = Rig::new(256 * MIB, 64 * MIB);
    let peers: Vec<usize> = (0..40).map(|_| rig.connect()).collect();
    let mut asked = Vec::new();
    for round in 0..20_u64 {
        for &peer in &peers {
            let offset = (peer as u64 * 20 + round) * 6000;
            asked.push((
                peer,
                offset,
                rig.ask(peer, &Request::write(offset, &vec![u8::try_from(peer).unwrap(); 6000])),
            ));
        }
    }
    rig.run();
    for (peer, offset, cookie) in asked {
        assert_eq!(rig.reply(peer, cookie).unwrap().error, 0);
        assert_eq!(rig.read(peers[0], offset, 6000), vec![u8::try_from(peer).unwrap(); 6000]);
    }
    rig.assert_idle();
}
