//! The store on the simulated disk. `make sim SEEDS=20000 FIRST=1` runs more seeds than `make test` does.

#![allow(clippy::print_stdout, reason = "a long run says how it goes")]

mod failures;
mod fixture;
mod lost;
mod replicas;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use tests::sim::{Lie, Outcome, Plan, run};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A failing seed says what it has to say once, at the end.
fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn outcome_of(seed: u64, plan: &Plan) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, plan))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(|text| format!("panic: {text}"));
        Err(text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default())
    })
}

#[test]
fn whatever_crash_and_fault_a_prefix_of_the_write_order_survives() {
    silence_panics();
    let (first, seeds) = (number("FIRST", 1), number("SEEDS", 2000));
    let start = Instant::now();
    let mut failures = Vec::new();
    let mut outcomes = Vec::new();
    for seed in first..first + seeds {
        match outcome_of(seed, &Plan::default()) {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => failures.push(format!("seed {seed}: {error}\n  again: make sim SEEDS=1 FIRST={seed}")),
        }
    }
    println!("{seeds} seeds, {:.0} a second", seeds as f64 / start.elapsed().as_secs_f64());
    println!("{:?}", outcomes.iter().fold(Outcome::default(), Outcome::plus));
    println!("{}", failures[..failures.len().min(5)].join("\n"));
    assert!(failures.is_empty(), "{} of {seeds} seeds failed", failures.len());
}

#[test]
fn a_disk_that_lies_is_caught() {
    silence_panics();
    for lie in [Lie::SyncsNothing, Lie::EndsEarly] {
        let plan = Plan { lie, ..Plan::default() };
        let caught = (1..=200).filter(|seed| outcome_of(*seed, &plan).is_err()).count();
        println!("{lie:?}: {caught} of 200 seeds");
        assert!(caught > 0, "{lie:?} goes unnoticed");
    }
}

/// Lives in which a small, full pool was killed again and again while it wrote checkpoints or made room, and had no
/// segment left in the end; or reclaim and a clean stop waited for each other.
#[test]
fn a_pool_always_finds_room_for_a_checkpoint() {
    silence_panics();
    let seeds = [364, 569, 606, 659, 892, 1015, 1021, 1025, 1142, 1172, 1316, 1380, 1977, 2772];
    let plan = Plan { replicas: false, ..Plan::default() };
    let failures: Vec<u64> = seeds.into_iter().filter(|seed| outcome_of(*seed, &plan).is_err()).collect();
    assert!(failures.is_empty(), "seeds {failures:?}");
}
