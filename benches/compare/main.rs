//! Runs the same fio jobs against Plinth and everything it is compared with, interleaved, and prints a table of ratios.
//!
//! The machine is shared and noisy, so nothing here is an absolute figure: in each round every job goes to every
//! peer in turn, and what counts are ratios of medians over the rounds, and the server's CPU time per operation. The
//! client has one half of the cores, whoever serves it the other.
//!
//! Environment: `ROUNDS` (3), `JOB_SECONDS` (5), `SIZE_GIB` (2, size of the volume), `PEERS` (names with commas
//! between, default all), `BENCH_DIR` (where the files go, default the target folder), `PLINTH_BIN`.

mod bar;
mod fio;
mod idle;
mod job;
mod meter;
mod peer;
mod report;
mod scene;
mod server;

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use job::{JOBS, Job};
use peer::Peer;
use report::{Measured, Report};
use scene::Scene;
use server::Target;

fn main() -> ExitCode {
    let scene = Scene::from_environment();
    let peers: Vec<Peer> = scene.peers().into_iter().filter(Peer::is_installed).collect();
    let targets: Vec<(Peer, Target)> = peers.iter().map(|peer| (*peer, peer.start(&scene))).collect();
    for (peer, target) in &targets {
        say(format_args!("filling {}", peer.name()));
        peer.fill(target, &scene);
    }
    let mut report = Report::new(&scene, &peers);
    for round in 0..scene.rounds {
        for job in &JOBS {
            run_job(round, job, &targets, &scene, &mut report);
        }
    }
    drop(targets);
    if peers.contains(&Peer::Plinth) {
        report.set_idle(idle::measure(&scene));
    }
    let text = report.text();
    say(&text);
    let path = report.save(&text);
    say(format_args!("written to {} and .json beside it", path.display()));
    if report.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every peer once, in an order that turns round with every round.
fn run_job(round: u32, job: &'static Job, targets: &[(Peer, Target)], scene: &Scene, report: &mut Report) {
    let mut order: Vec<&(Peer, Target)> = targets.iter().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    for (peer, target) in order {
        meter::settle();
        let before = meter::Reading::take(target, scene);
        let run = fio::run(job, target, scene);
        let processor = meter::processor_seconds(target);
        meter::settle();
        let spent = meter::Reading::take(target, scene).since(&before, processor);
        say(format_args!("round {round} {:12} {:14} {:9.0} IOPS", job.name, peer.name(), run.iops));
        report.push(*peer, job, Measured { run, spent });
    }
}

/// Prints a line; a reader who has gone is no reason to stop.
fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
