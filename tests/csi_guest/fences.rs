//! A volume is taken from the node while pods write it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use tests::cluster::parts;
use tests::nbd::Client;
use tests::wait;

use crate::calls::{Calls, Claim, MIB, Shape};
use crate::machine::{Machine, WHOLE_MAX};

/// A device ends within 15 s after its volume was taken away. An emulated machine is given as much again.
const ENDED_MAX: Duration = Duration::from_secs(30);
/// One request's worth of the volume.
const PART_BYTES: u32 = 1 << 20;
const SIZE_BYTES: i64 = 64 * MIB;

/// All of a volume, as its next client finds it.
fn contents(client: &mut Client<TcpStream>) -> Vec<u8> {
    let parts = (0..u64::try_from(SIZE_BYTES).expect("a size")).step_by(PART_BYTES as usize);
    parts.flat_map(|offset| client.read(offset, PART_BYTES).expect("it is served")).collect()
}

/// The next one that has the volume.
fn next_client(machine: &Machine, claim: &Claim) -> Client<TcpStream> {
    let uris = machine.cluster.shell().attach(&claim.id, "other");
    let (address, export) = parts(&uris[0]);
    Client::open(TcpStream::connect(address).expect("it listens"), export).expect("it is let in")
}

/// The writer of a claim has ended, and with an error.
fn writer_failed(machine: &Machine, claim: &Claim) {
    let ended = format!("[ -e /writers/{0}/ended ] && [ -s /writers/{0}/errors ]", claim.id);
    let failed = wait::within(ENDED_MAX, || machine.holds(&ended).then_some(()));
    assert!(failed.is_some(), "{} still writes\n{}", claim.id, machine.log());
}

fn begin(machine: &Machine, calls: &Calls, name: &str, shape: Shape) -> Claim {
    let mut claim = calls.create(name, shape, SIZE_BYTES, None).expect("the volume is made");
    machine.cluster.whole(&claim.id, WHOLE_MAX);
    calls.bring(&mut claim);
    claim
}

/// All that could have told the pod dies before the volume is taken away: the next plugin does it.
fn fenced_without_an_agent(machine: &Machine, claim: &Claim) {
    let calls = machine.calls();
    machine.kill_plugin();
    machine.kill_agent(claim);
    machine.goes_on(claim);
    calls.take(claim).expect("it is taken from the node");
    machine.start_plugin();
    let started = Instant::now();
    writer_failed(machine, claim);
    machine.note(&format!("the next plugin has ended a device that nobody kept, after {:.1?}", started.elapsed()));
    calls.put_away(claim);
}

#[test]
fn what_a_fenced_guest_writes_late_changes_nothing_and_its_devices_end() {
    let Some(machine) = Machine::start("what_a_fenced_guest_writes_late_changes_nothing_and_its_devices_end") else {
        return;
    };
    let calls = machine.calls();
    let mut mounted = begin(&machine, &calls, "mounted", Shape::Ext4);
    let raw = begin(&machine, &calls, "raw", Shape::Block);
    machine.shell(&format!("echo kept > {}/marker; sync", mounted.target()));
    machine.write(&mounted);
    // A pod that writes its device without end, past the page cache, and one that waits in it.
    machine.shell(&format!(
        "mkdir -p /writers/raw\n\
         cat > /raw << 'END'\n\
         while dd if=/dev/urandom of={} bs=64k count=64 oflag=direct conv=notrunc 2> /writers/raw/said; do \
         echo x >> /writers/raw/rounds; done\n\
         cp /writers/raw/said /writers/raw/errors; touch /writers/raw/ended\n\
         END\n\
         sh /raw < /dev/null > /dev/null 2>&1 &",
        raw.target()
    ));
    wait::until("the device to be written", || machine.holds("[ -s /writers/raw/rounds ]").then_some(()));
    for claim in [&mounted, &raw] {
        let asked = Instant::now();
        calls.take(claim).expect("it is taken from the node, which writes");
        let taken = Instant::now();
        machine.note(&format!("{} was taken away in {:.2?}", claim.id, asked.elapsed()));
        // Who has it next sees what there is now, and nothing else ever.
        let mut next = next_client(&machine, claim);
        let before = contents(&mut next);
        writer_failed(&machine, claim);
        machine.note(&format!("its writer saw an error after {:.1?}", taken.elapsed()));
        assert!(before == contents(&mut next), "late bytes of {} arrived", claim.id);
        assert!(before.iter().any(|byte| *byte != 0), "something had been written");
        drop(next);
        machine.cluster.run(&["volume", "detach", &claim.id, "--client", "other"]);
    }
    // The node is none the worse. What it takes on is not met by pods that still know the devices of before.
    let third = begin(&machine, &calls, "third", Shape::Ext4);
    machine.write(&third);
    let devices = [&mounted, &raw, &third].map(|claim| machine.device(claim));
    assert!(devices[2] != devices[0] && devices[2] != devices[1], "{devices:?}");
    assert!(!machine.holds(&format!("dd if={} bs=4k count=1 2>&1 | grep -q '1+0 records in'", raw.target())));
    for claim in [&mounted, &raw] {
        let stats = calls.stats(claim).expect("figures, or that there are none");
        assert!(stats.volume_condition.expect("a condition").abnormal);
        calls.put_away(claim);
    }
    // And the volume is as good as before: its journal is replayed, and what was synced is there.
    machine.shell("rm -r /writers/mounted /writers/raw; dmesg -c > /dev/null");
    calls.bring(&mut mounted);
    assert_eq!(machine.shell(&format!("cat {}/marker", mounted.target())), "kept");
    machine.write(&mounted);
    machine.check(&mounted);
    calls.put_away(&mounted);
    fenced_without_an_agent(&machine, &third);
    machine.is_clean();
    for claim in [&mounted, &raw, &third] {
        calls.delete(claim).expect("it is deleted");
    }
    machine.cluster_is_empty();
}
