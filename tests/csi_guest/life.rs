//! A claim from its first byte to its last, as the sidecars and the kubelet drive it.

use crate::calls::{Calls, Claim, MIB, Shape, of_snapshot, of_volume};
use crate::machine::{Machine, WHOLE_MAX};

/// A claim, its size, and the size it grows to.
struct Life {
    claim: Claim,
    size_bytes: i64,
    grown_bytes: i64,
}

impl Life {
    fn begin(machine: &Machine, calls: &Calls, shape: Shape, size_bytes: i64, grown_bytes: i64) -> Self {
        let name = format!("pvc-{}", shape.name());
        let mut claim = calls.create(&name, shape, size_bytes, None).expect("the volume is made");
        machine.cluster.whole(&claim.id, WHOLE_MAX);
        calls.bring(&mut claim);
        machine.note(&format!("{} is with its pod, as {}", claim.id, machine.device(&claim)));
        // Each call again: it finds what there is.
        calls.bring(&mut claim);
        machine.write(&claim);
        Self { claim, size_bytes, grown_bytes }
    }

    fn target(&self) -> String {
        self.claim.target()
    }

    /// Two copies: of a snapshot, and of the volume as it is, each beside its source.
    fn copy(&self, machine: &Machine, calls: &Calls, shape: Shape) {
        let target = self.target();
        machine.shell(&format!("echo before > {target}/marker; sync"));
        let snapshot = calls.snapshot(&format!("snap-{}", shape.name()), &self.claim).expect("a snapshot");
        machine.shell(&format!("echo after > {target}/marker; sync"));
        for (name, source, marker) in
            [("restored", of_snapshot(&snapshot), "before"), ("cloned", of_volume(&self.claim), "after")]
        {
            let name = format!("{name}-{}", shape.name());
            let mut copy = calls.create(&name, shape, self.size_bytes, Some(source)).expect("a copy");
            calls.bring(&mut copy);
            assert_eq!(machine.shell(&format!("cat {}/marker", copy.target())), marker);
            machine.shell(&format!("echo mine > {}/marker; sync", copy.target()));
            calls.put_away(&copy);
            calls.delete(&copy).expect("a copy is deleted");
            machine.note(&format!("{} has lived", copy.id));
        }
        assert_eq!(machine.shell(&format!("cat {target}/marker")), "after", "copies are apart");
        calls.delete_snapshot(&snapshot).expect("the snapshot is deleted");
    }

    fn grow(&self, machine: &Machine, calls: &Calls) {
        let total = || calls.stats(&self.claim).expect("figures").usage[0].total;
        let before = total();
        assert_eq!(calls.expand(&self.claim, self.grown_bytes).expect("it grows in use"), self.grown_bytes);
        let added = self.grown_bytes - self.size_bytes;
        assert!(total() > before + added * 9 / 10, "{before} {}", total());
        machine.note(&format!("{} has grown from {before} to {}", self.claim.id, total()));
    }

    fn end(&self, machine: &Machine, calls: &Calls) {
        machine.check(&self.claim);
        let condition = calls.stats(&self.claim).expect("figures").volume_condition.expect("a condition");
        assert!(!condition.abnormal, "{condition:?}");
        calls.put_away(&self.claim);
        for _ in 0..2 {
            calls.delete(&self.claim).expect("it is deleted");
        }
    }
}

#[test]
fn claims_live_on_the_kernels_nbd_client_from_their_first_byte_to_their_last() {
    let Some(mut machine) = Machine::start("claims_live_on_the_kernels_nbd_client_from_their_first_byte_to_their_last")
    else {
        return;
    };
    let calls = machine.calls();
    let lives = [
        Life::begin(&machine, &calls, Shape::Ext4, 64 * MIB, 128 * MIB),
        Life::begin(&machine, &calls, Shape::Xfs, 320 * MIB, 640 * MIB),
    ];
    let all = lives.each_ref().map(|life| &life.claim);
    machine.fail_over(all[0], &all);
    for (life, shape) in lives.iter().zip([Shape::Ext4, Shape::Xfs]) {
        life.copy(&machine, &calls, shape);
    }
    lives.iter().for_each(|life| life.grow(&machine, &calls));
    // Also what was added is written through a failover.
    machine.fail_over(all[1], &all);
    lives.iter().for_each(|life| life.end(&machine, &calls));
    machine.is_clean();
    machine.cluster_is_empty();
    machine.note("nothing is left");
}
