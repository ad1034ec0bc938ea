//! `plinth pool inspect` and `plinth pool check`: look at a pool that nobody serves.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use storage_node::{BadBlock, CheckReport, Inspection, OfflinePool, SuperblockCopy, VersionFacts, VersionName};

use crate::args::OfflineArgs;
use crate::output::{self, size, table};

/// Bad blocks that a table lists one by one.
const LISTED_MAX: usize = 20;

/// Shows what it holds.
pub fn inspect(args: &OfflineArgs) -> Result<ExitCode> {
    let inspection = OfflinePool::open(&args.path)?.inspect()?;
    output::show(args.output, &inspection_json(&inspection), |_| inspection_text(&args.path, &inspection))?;
    Ok(ExitCode::SUCCESS)
}

/// Verifies every block; fails with 1 when one is bad.
pub fn check(args: &OfflineArgs) -> Result<ExitCode> {
    let pool = OfflinePool::open(&args.path)?;
    // Draws nothing when nobody watches.
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "verifying {wide_bar} {human_pos} of {human_len} blocks, {eta} left",
    )?);
    let report = pool.check(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    })?;
    bar.finish_and_clear();
    output::show(args.output, &check_json(&report), |_| check_text(&args.path, &report))?;
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn inspection_text(path: &Path, pool: &Inspection) -> String {
    let closed = match (pool.clean, pool.cold) {
        (true, _) => "in order",
        (false, false) => "not in order (the process ended; the machine runs on)",
        (false, true) => "not in order, and the machine restarted since: unflushed writes may be lost",
    };
    let facts = output::facts([
        ("pool", pool.pool.to_string()),
        ("path", path.display().to_string()),
        ("format version", pool.format_version.to_string()),
        (
            "size",
            format!(
                "{} in {} segments of {}",
                size::show(pool.pool_bytes),
                pool.segments,
                size::show(pool.segment_bytes)
            ),
        ),
        ("segments in use", pool.used_segments.to_string()),
        ("data", format!("{} of {}", size::show(pool.live_bytes), size::show(pool.capacity_bytes))),
        ("block map", size::show(pool.map_bytes)),
        ("closed", closed.to_owned()),
        (
            "opened",
            format!("{} times, {} of them after the machine lost its caches", pool.incarnation, pool.cold_starts),
        ),
        (
            "log",
            format!(
                "checkpoint before batch {}, {} batches behind it, the last is {}",
                pool.replay_from, pool.replayed_batches, pool.last_lsn
            ),
        ),
        ("superblock 1", copy_text(&pool.superblocks[0])),
        ("superblock 2", copy_text(&pool.superblocks[1])),
    ]);
    format!("{facts}\n{}", table::lines(versions_table(&pool.versions)))
}

fn versions_table(versions: &[VersionFacts]) -> Table {
    let mut table = table::new(&["VERSION", "FROM", "KIND", "NAME", "SIZE", "ALLOCATED", "EXCLUSIVE", "SHARED"]);
    table::align_right(&mut table, &[4, 5, 6, 7]);
    for version in versions {
        let (kind, name) = name_of(&version.kind);
        table.add_row([
            version.id.to_string(),
            version.parent.map_or("-".to_owned(), |parent| parent.to_string()),
            kind.to_owned(),
            name,
            size::show(version.size_bytes),
            size::show(version.space.logical_bytes),
            size::show(version.space.exclusive_bytes),
            size::show(version.space.shared_bytes),
        ]);
    }
    table
}

fn name_of(name: &VersionName) -> (&'static str, String) {
    match name {
        // A node of a cluster writes NAME@NUMBER: a name may have been that of an earlier volume, too.
        VersionName::Volume(id, name) => {
            let plain = name.strip_suffix(&format!("@{}", id.0)).unwrap_or(name);
            ("volume", plain.to_owned())
        }
        VersionName::Snapshot(id) => ("snapshot", id.to_string()),
        VersionName::Hidden => ("branch point", "-".to_owned()),
    }
}

/// The number of a volume, which is never used again.
fn volume_of(name: &VersionName) -> Option<u64> {
    match name {
        VersionName::Volume(id, _) => Some(id.0),
        VersionName::Snapshot(_) | VersionName::Hidden => None,
    }
}

fn copy_text(copy: &SuperblockCopy) -> String {
    match &copy.number {
        Ok(number) => format!("valid, number {number}"),
        Err(damage) => format!("damaged: {damage}"),
    }
}

fn check_text(path: &Path, report: &CheckReport) -> String {
    let mut text = String::new();
    for (index, copy) in report.superblocks.iter().enumerate() {
        if copy.number.is_err() {
            text += &format!("superblock {} at {}: {}\n", index + 1, copy.at, copy_text(copy));
        }
    }
    for bad in report.bad.iter().take(LISTED_MAX) {
        let (kind, name) = name_of(&bad.version);
        text += &format!("{kind} {name}, block {} at {}: {}\n", bad.block, bad.at, fault(bad));
    }
    if report.bad.len() > LISTED_MAX {
        text += &format!("and {} more\n", report.bad.len() - LISTED_MAX);
    }
    let (path, blocks) = (path.display(), report.blocks);
    if report.is_sound() {
        text += &format!("{path}: sound; {blocks} blocks verified\n");
    } else {
        text += &format!("{path}: damaged; {} of {blocks} blocks are bad\n", report.bad.len());
    }
    text
}

fn fault(bad: &BadBlock) -> String {
    bad.error.map_or("the checksum differs".to_owned(), |error| error.to_string())
}

fn inspection_json(pool: &Inspection) -> Value {
    let version = |version: &VersionFacts| {
        let (kind, name) = name_of(&version.kind);
        json!({
            "version": version.id,
            "parent": version.parent,
            "kind": kind,
            "name": name,
            "volume": volume_of(&version.kind),
            "size_bytes": version.size_bytes,
            "logical_bytes": version.space.logical_bytes,
            "exclusive_bytes": version.space.exclusive_bytes,
            "shared_bytes": version.space.shared_bytes,
            "reclaimable_bytes": version.space.reclaimable_bytes,
        })
    };
    json!({
        "pool": pool.pool.to_string(),
        "format_version": pool.format_version,
        "pool_bytes": pool.pool_bytes,
        "segment_bytes": pool.segment_bytes,
        "segments": pool.segments,
        "used_segments": pool.used_segments,
        "capacity_bytes": pool.capacity_bytes,
        "live_bytes": pool.live_bytes,
        "map_bytes": pool.map_bytes,
        "clean": pool.clean,
        "cold": pool.cold,
        "incarnation": pool.incarnation,
        "cold_starts": pool.cold_starts,
        "replay_from_lsn": pool.replay_from.0,
        "replayed_batches": pool.replayed_batches,
        "last_lsn": pool.last_lsn.0,
        "superblocks": pool.superblocks.iter().map(copy_json).collect::<Vec<_>>(),
        "versions": pool.versions.iter().map(version).collect::<Vec<_>>(),
    })
}

fn copy_json(copy: &SuperblockCopy) -> Value {
    match &copy.number {
        Ok(number) => json!({ "offset": copy.at.0, "number": number }),
        Err(damage) => json!({ "offset": copy.at.0, "damage": damage.to_string() }),
    }
}

fn check_json(report: &CheckReport) -> Value {
    let bad = |bad: &BadBlock| {
        let (kind, name) = name_of(&bad.version);
        json!({ "offset": bad.at.0, "kind": kind, "name": name, "block": bad.block, "fault": fault(bad) })
    };
    json!({
        "sound": report.is_sound(),
        "blocks": report.blocks,
        "bad": report.bad.iter().map(bad).collect::<Vec<_>>(),
        "superblocks": report.superblocks.iter().map(copy_json).collect::<Vec<_>>(),
    })
}
