//! `plinth volume schedule`.

use anyhow::Result;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;

use crate::args::ScheduleCommand;
use crate::output::{self, Format, Moment};
use crate::view;
use client::{Client, ClientError, request_id};

/// Runs the command.
pub async fn run(client: &mut Client, command: &ScheduleCommand, format: Format) -> Result<()> {
    match command {
        ScheduleCommand::Set { volume, name, cron, keep } => {
            let schedule =
                v1::Schedule { name: name.clone(), cron: cron.clone(), keep: *keep, ..v1::Schedule::default() };
            let schedules = of(set(client, volume, schedule).await?);
            output::show(format, &schedules, |_| format!("volume {volume} has schedule {name}\n"))
        }
        ScheduleCommand::List { volume } => {
            let schedules = of(client.volume(volume).await?);
            output::show(format, &schedules, |_| view::Schedule::table(&schedules, Moment::now()))
        }
        ScheduleCommand::Remove { volume, name } => {
            let schedules = of(remove(client, volume, name).await?);
            output::show(format, &schedules, |_| {
                format!("volume {volume} has schedule {name} no more; what it made stays\n")
            })
        }
    }
}

fn of(volume: v1::Volume) -> Vec<view::Schedule> {
    volume.schedules.into_iter().map(view::Schedule::from).collect()
}

async fn set(client: &mut Client, volume: &str, schedule: v1::Schedule) -> Result<v1::Volume, ClientError> {
    let request =
        v1::SetScheduleRequest { request_id: request_id()?, volume: volume.to_owned(), schedule: Some(schedule) };
    client.call(request, async |channel, request| VolumeServiceClient::new(channel).set_schedule(request).await).await
}

async fn remove(client: &mut Client, volume: &str, name: &str) -> Result<v1::Volume, ClientError> {
    let (volume, schedule) = (volume.to_owned(), name.to_owned());
    let request = v1::RemoveScheduleRequest { request_id: request_id()?, volume, schedule };
    client
        .call(request, async |channel, request| VolumeServiceClient::new(channel).remove_schedule(request).await)
        .await
}
