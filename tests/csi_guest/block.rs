//! A volume that a pod has as a device.

use crate::calls::{MIB, Shape};
use crate::machine::{Machine, WHOLE_MAX};

/// Where it is written before it grows, and behind what it had; in units of 1 MiB.
const PLACES: [i64; 3] = [0, 61, 120];

#[test]
fn a_raw_device_grows_while_a_pod_has_it_open() {
    let Some(mut machine) = Machine::start("a_raw_device_grows_while_a_pod_has_it_open") else { return };
    let calls = machine.calls();
    let mut claim = calls.create("raw", Shape::Block, 64 * MIB, None).expect("the volume is made");
    machine.cluster.whole(&claim.id, WHOLE_MAX);
    calls.bring(&mut claim);
    calls.bring(&mut claim);
    let (target, device) = (claim.target(), machine.device(&claim));
    assert!(machine.holds(&format!("[ -b {target} ]")) && device.starts_with("/dev/nbd"), "{device}");
    // Somebody has it open all the time.
    machine.shell(&format!(
        "(exec 3<> {target}; touch /held; while [ -e /held ]; do sleep 0.1; done; touch /released) < /dev/null > /hold 2>&1 &"
    ));
    machine.shell("until [ -e /held ]; do sleep 0.05; done; dd if=/dev/urandom of=/blob bs=1M count=3 2> /dev/null");
    let write = |place: i64| {
        let script = format!("dd if=/blob of={target} bs=1M seek={place} conv=notrunc,fsync 2>&1");
        machine.holds(&script)
    };
    let is_there = |machine: &Machine, place: i64| {
        let script = format!(
            "echo 3 > /proc/sys/vm/drop_caches; dd if={target} bs=1M skip={place} count=3 2> /dev/null | cmp - /blob"
        );
        machine.holds(&script)
    };
    assert!(write(PLACES[0]) && write(PLACES[1]));
    assert!(!write(PLACES[2]), "it has 64 MiB");
    machine.shell("sync");
    assert_eq!(calls.expand(&claim, 128 * MIB).expect("it grows in use"), 128 * MIB);
    assert_eq!(machine.shell(&format!("blockdev --getsize64 {target}")), (128 * MIB).to_string());
    assert_eq!(calls.stats(&claim).expect("figures").usage[0].total, 128 * MIB);
    assert!(write(PLACES[2]), "{}", machine.log());
    machine.note("the device has grown");
    machine.fail_over(&claim, &[]);
    for place in PLACES {
        assert!(is_there(&machine, place), "at {place} MiB\n{}", machine.log());
    }
    machine.kernel_saw_no_error();
    machine.shell("rm /held; until [ -e /released ]; do sleep 0.05; done");
    calls.put_away(&claim);
    machine.is_clean();
    // It comes again as it was left.
    calls.bring(&mut claim);
    for place in PLACES {
        assert!(is_there(&machine, place), "at {place} MiB, staged again\n{}", machine.log());
    }
    calls.put_away(&claim);
    machine.is_clean();
    calls.delete(&claim).expect("it is deleted");
    machine.cluster_is_empty();
}
