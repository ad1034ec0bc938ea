//! The process that keeps a device of the kernel's dies, and the plugin puts another in its place.

use std::time::{Duration, Instant};

use tests::wait;

use crate::calls::{Claim, MIB, Shape};
use crate::machine::{Machine, WHOLE_MAX};

/// The plugin looks every 10 s, and a process takes a while to start in a guest without hardware help.
const REVIVED_MAX: Duration = Duration::from_secs(20);
/// How long nothing is written when a primary has died and nobody keeps the device: several times what a failover takes.
const STUCK: Duration = Duration::from_secs(12);

/// Waits for another process than this one.
fn revived(machine: &Machine, claim: &Claim, dead: u32) -> u32 {
    let begin = Instant::now();
    let agent = wait::within(REVIVED_MAX, || machine.agent(claim).filter(|agent| *agent != dead));
    let agent = agent.unwrap_or_else(|| panic!("nobody keeps {} again\n{}", claim.id, machine.log()));
    machine.note(&format!("the device is kept again after {:.1?}", begin.elapsed()));
    agent
}

#[test]
fn an_agent_that_is_killed_is_revived_and_the_filesystem_sees_no_error() {
    let Some(mut machine) = Machine::start("an_agent_that_is_killed_is_revived_and_the_filesystem_sees_no_error")
    else {
        return;
    };
    let calls = machine.calls();
    let mut claim = calls.create("kept", Shape::Ext4, 64 * MIB, None).expect("the volume is made");
    machine.cluster.whole(&claim.id, WHOLE_MAX);
    calls.bring(&mut claim);
    machine.write(&claim);
    let device = machine.device(&claim);
    // The plugin lives: it sees the death, and the next primary is found.
    let dead = machine.kill_agent(&claim);
    machine.goes_on(&claim);
    revived(&machine, &claim, dead);
    machine.fail_over(&claim, &[&claim]);
    // Both die, and then the primary. As long as nobody keeps the device it waits: if it did not, what follows would prove
    // nothing of the plugin.
    machine.kill_plugin();
    let dead = machine.kill_agent(&claim);
    machine.goes_on(&claim);
    let killed = machine.cluster.primary(&claim.id);
    machine.cluster.kill_node(&killed);
    let stuck = stuck(&machine, &claim);
    assert!(machine.agent(&claim).is_none());
    machine.note(&format!("nothing was written for {stuck:.1?}"));
    machine.start_plugin();
    revived(&machine, &claim, dead);
    machine.goes_on(&claim);
    machine.cluster.start_node(&killed);
    machine.cluster.whole(&claim.id, WHOLE_MAX);
    // The device is the one that it was, and the calls find it.
    assert_eq!(machine.device(&claim), device);
    calls.stage(&claim).expect("it is staged");
    assert_eq!(calls.expand(&claim, 128 * MIB).expect("it grows in use"), 128 * MIB);
    machine.check(&claim);
    // One that dies just before the end is not in the way.
    machine.kill_plugin();
    machine.kill_agent(&claim);
    machine.start_plugin();
    calls.put_away(&claim);
    machine.is_clean();
    calls.delete(&claim).expect("it is deleted");
    machine.cluster_is_empty();
}

/// The writer stands still for as long as that is to be proved.
fn stuck(machine: &Machine, claim: &Claim) -> Duration {
    let begin = Instant::now();
    let mut since = (machine.written(claim), Instant::now());
    wait::until("the writer to stand still", || {
        let written = machine.written(claim);
        if written != since.0 {
            since = (written, Instant::now());
        }
        assert!(begin.elapsed() < STUCK * 3, "it goes on writing without anybody who keeps its device");
        (since.1.elapsed() > STUCK).then_some(())
    });
    since.1.elapsed()
}
