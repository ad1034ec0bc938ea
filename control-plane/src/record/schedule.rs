//! Schedules of volumes.

use block::SnapshotId;
use cluster::{Change, Cron, Name, Run, Schedule, Time};
use proto::record as wire;
use proto::record::command::Change as Wire;
use proto::record::run::Made;

use super::invalid::{Invalid, name, required};

fn parse_cron(text: &str, field: &'static str) -> Result<Cron, Invalid> {
    text.parse().map_err(|error| Invalid::value(field, error))
}

pub(super) fn parse_set(found: &wire::SetSchedule) -> Result<Change, Invalid> {
    Ok(Change::SetSchedule {
        volume: name(&found.volume, "set_schedule.volume")?,
        schedule: name(&found.schedule, "set_schedule.schedule")?,
        cron: parse_cron(&found.cron, "set_schedule.cron")?,
        keep: found.keep,
    })
}

pub(super) fn encode_set(volume: &Name, schedule: &Name, cron: &Cron, keep: u32) -> Wire {
    let (volume, schedule, cron) = (volume.to_string(), schedule.to_string(), cron.to_string());
    Wire::SetSchedule(wire::SetSchedule { volume, schedule, cron, keep })
}

pub(super) fn parse_remove(found: &wire::RemoveSchedule) -> Result<Change, Invalid> {
    Ok(Change::RemoveSchedule {
        volume: name(&found.volume, "remove_schedule.volume")?,
        schedule: name(&found.schedule, "remove_schedule.schedule")?,
    })
}

pub(super) fn encode_remove(volume: &Name, schedule: &Name) -> Wire {
    Wire::RemoveSchedule(wire::RemoveSchedule { volume: volume.to_string(), schedule: schedule.to_string() })
}

pub(super) fn parse_schedule(found: wire::Schedule) -> Result<(Name, Schedule), Invalid> {
    let wire::Schedule { name: schedule, cron, keep, next, last } = found;
    let cron = parse_cron(&cron, "schedule.cron")?;
    let last = last.map(parse_run).transpose()?;
    Ok((name(&schedule, "schedule.name")?, Schedule { cron, keep, next: Time(next), last }))
}

pub(super) fn encode_schedule((name, schedule): (&Name, &Schedule)) -> wire::Schedule {
    let Schedule { cron, keep, next, last } = schedule;
    let last = last.as_ref().map(encode_run);
    wire::Schedule { name: name.to_string(), cron: cron.to_string(), keep: *keep, next: next.0, last }
}

fn parse_run(found: wire::Run) -> Result<Run, Invalid> {
    let made = match required(found.made, "run.made")? {
        Made::Snapshot(id) => Ok(SnapshotId(id)),
        Made::Failed(why) => Err(why),
    };
    Ok(Run { at: Time(found.at), made })
}

fn encode_run(run: &Run) -> wire::Run {
    let made = match &run.made {
        Ok(id) => Made::Snapshot(id.0),
        Err(why) => Made::Failed(why.clone()),
    };
    wire::Run { at: run.at.0, made: Some(made) }
}
