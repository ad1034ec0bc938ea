//! Running fio and reading its figures.

use std::process::Command;

use serde_json::Value;

use crate::job::{Job, Kind};
use crate::scene::Scene;
use crate::server::{Side, Target, on};

/// What fio saw.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Operations a second; with a flush, pairs.
    pub iops: f64,
    /// Operations in all.
    pub operations: f64,
    /// Median latency of an operation; with a flush, of the pair's two medians together.
    pub p50_us: f64,
    /// 99th percentile, likewise.
    pub p99_us: f64,
}

/// Runs one job.
///
/// # Panics
/// When fio fails.
pub fn run(job: &Job, target: &Target, scene: &Scene) -> Run {
    let mut fio = command(target, scene, job.pattern, job.block_bytes, job.depth);
    if !job.whole_volume {
        fio.arg("--time_based").arg(format!("--runtime={}", scene.job_time.as_secs()));
    }
    if job.kind == Kind::Flush {
        fio.arg(match target {
            Target::File(_) => "--fdatasync=1",
            Target::Export { .. } => "--fsync=1",
        });
    }
    // The nbd engine prints a line of its own to the standard output, so the figures go to a file.
    let output = scene.path("fio.json");
    fio.arg("--output-format=json").arg(format!("--output={}", output.display()));
    execute(&mut fio);
    let text = std::fs::read_to_string(&output).expect("fio writes its output");
    let figures: Value = serde_json::from_str(&text).expect("fio writes JSON");
    figures_of(&figures["jobs"][0], job.kind)
}

/// Writes the whole volume once.
pub fn fill(target: &Target, scene: &Scene) {
    execute(command(target, scene, "write", 1 << 20, 8).arg("--output=/dev/null"));
}

fn command(target: &Target, scene: &Scene, pattern: &str, block_bytes: u32, depth: u32) -> Command {
    let mut fio = on(Side::Client, "fio");
    fio.args(["--name=job", "--randrepeat=0", "--norandommap", "--refill_buffers"]).current_dir(scene.folder());
    fio.arg(format!("--rw={pattern}")).arg(format!("--bs={block_bytes}")).arg(format!("--iodepth={depth}"));
    fio.arg(format!("--size={}", scene.volume_bytes));
    match target {
        Target::File(path) => {
            fio.args(["--ioengine=io_uring", "--direct=1"]).arg(format!("--filename={}", path.display()))
        }
        Target::Export { uri, .. } => fio.arg("--ioengine=nbd").arg(format!("--uri={uri}")),
    };
    fio
}

fn execute(fio: &mut Command) {
    let output = fio.output().unwrap_or_else(|error| panic!("{fio:?}: {error}"));
    assert!(output.status.success(), "{fio:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn figures_of(job: &Value, kind: Kind) -> Run {
    let direction = &job[if kind == Kind::Read { "read" } else { "write" }];
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("fio's figures changed: {job:#}"));
    let latency_us = |percentile: &str| {
        let own = number(&direction["clat_ns"]["percentile"][percentile]);
        let sync = job["sync"]["lat_ns"]["percentile"][percentile].as_f64().filter(|_| kind == Kind::Flush);
        (own + sync.unwrap_or(0.0)) / 1000.0
    };
    Run {
        iops: number(&direction["iops"]),
        operations: number(&direction["total_ios"]),
        p50_us: latency_us("50.000000"),
        p99_us: latency_us("99.000000"),
    }
}
