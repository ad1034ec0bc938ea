//! The plugin dies at any moment of every step, and the step is asked for again.

use std::thread;
use std::time::{Duration, Instant};

use tests::random::Random;
use tests::wait;
use tonic::{Code, Status};

use crate::calls::{Calls, Claim, MIB, Shape};
use crate::machine::{Machine, WHOLE_MAX};

const ROUNDS: i64 = 3;
/// What is asked of the node, in this order.
const STEPS: [&str; 5] = ["stage", "publish", "expand", "unpublish", "unstage"];

fn ask(calls: &Calls, claim: &Claim, step: &str, size_bytes: i64) -> Result<(), Status> {
    match step {
        "stage" => calls.stage(claim),
        "publish" => calls.publish(claim),
        "expand" => calls.expand(claim, size_bytes).map(drop),
        "unpublish" => calls.unpublish(claim),
        "unstage" => calls.unstage(claim),
        other => unreachable!("{other} is no step"),
    }
}

/// Asks, kills the plugin after a while, and asks the next one until it is done.
fn killed_at(machine: &Machine, claim: &Claim, step: &str, size_bytes: i64, after: Duration) {
    let calls = machine.calls();
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&calls, claim, step, size_bytes));
        thread::sleep(after);
        machine.kill_plugin();
        let interrupted = asking.join().expect("it ends");
        machine.note(&format!("{step}, killed after {after:.1?}: {:?}", interrupted.map_err(|status| status.code())));
    });
    machine.start_plugin();
    let calls = machine.calls();
    wait::until("the step to be done", || match ask(&calls, claim, step, size_bytes) {
        Ok(()) => Some(()),
        Err(status) => {
            // What ran on behind the one that was killed may be in the way for a moment.
            assert!(!matches!(status.code(), Code::InvalidArgument | Code::NotFound | Code::AlreadyExists), "{status}");
            None
        }
    });
}

#[test]
fn a_plugin_that_is_killed_at_any_step_is_followed_by_one_that_goes_on() {
    let Some(machine) = Machine::start("a_plugin_that_is_killed_at_any_step_is_followed_by_one_that_goes_on") else {
        return;
    };
    let mut random = Random::seeded(7);
    let calls = machine.calls();
    let claims: Vec<Claim> = ["timed", "killed"]
        .iter()
        .map(|name| {
            let claim = calls.create(name, Shape::Ext4, 64 * MIB, None).expect("the volume is made");
            machine.cluster.whole(&claim.id, WHOLE_MAX);
            claim
        })
        .collect();
    let [mut timed, mut claim] = <[Claim; 2]>::try_from(claims).expect("there are two");
    calls.give(&mut timed).expect("it is published to the node");
    let times = STEPS.map(|step| {
        let begin = Instant::now();
        ask(&calls, &timed, step, 96 * MIB).expect("nothing is in the way");
        machine.note(&format!("{step} takes {:.1?}", begin.elapsed()));
        begin.elapsed()
    });
    for round in 0..ROUNDS {
        calls.give(&mut claim).expect("it is published to the node");
        for (step, time) in STEPS.iter().zip(times) {
            let after = time.mul_f64(0.01 * f64::from(u8::try_from(random.below(110)).expect("below 110")));
            killed_at(&machine, &claim, step, (96 + round * 16) * MIB, after);
            if *step == "publish" {
                let file = format!("{}/rounds", claim.target());
                let before = machine.shell(&format!("cat {file} 2> /dev/null | wc -l"));
                assert_eq!(before, round.to_string(), "nothing was formatted anew");
                machine.shell(&format!("echo {round} >> {file}"));
            }
        }
        machine.is_clean();
        calls.take(&claim).expect("it is taken from the node");
    }
    machine.kernel_saw_no_error();
    calls.take(&timed).expect("it is taken from the node");
    for claim in [&timed, &claim] {
        calls.delete(claim).expect("it is deleted");
    }
    machine.cluster_is_empty();
}
