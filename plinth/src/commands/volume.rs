//! `plinth volume`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use proto::v1;
use proto::v1::AccessMode;
use serde::Serialize;

use super::{attach, clone, delete, detach, replicas, schedule, verify};
use crate::args::{CreateArgs, Pair, VolumeArgs, VolumeCommand, WaitArgs};
use crate::exit::Usage;
use crate::output::{self, Format, Moment, size};
use crate::view;
use client::{Client, ClientError};

/// A volume after a change, and what still goes on.
#[derive(Serialize)]
pub struct Change {
    volume: view::Volume,
    operation: Option<view::Operation>,
}

/// Runs the command.
pub async fn run(args: &VolumeArgs) -> Result<ExitCode> {
    let mut client = Client::new(&args.connection);
    let format = args.connection.output;
    match &args.command {
        VolumeCommand::Create(create) => {
            let (size, spec, source) = clone::wish(&mut client, create, spec(create)?).await?;
            let change = client.create_volume(&create.name, size, spec, source).await?;
            settled(&mut client, change, create.wait, format, "is there").await?;
        }
        VolumeCommand::Clone(args) => {
            let change = clone::clone(&mut client, args).await?;
            settled(&mut client, change, args.wait, format, "is there").await?;
        }
        VolumeCommand::List { retired: true } => {
            let volumes: Vec<_> = client.retired_volumes().await?.into_iter().map(view::Volume::from).collect();
            output::show(format, &volumes, |_| view::Volume::retired_table(&volumes, Moment::now()))?;
        }
        VolumeCommand::List { retired: false } => {
            let volumes: Vec<_> = client.volumes().await?.into_iter().map(view::Volume::from).collect();
            output::show(format, &volumes, |detail| view::Volume::table(&volumes, detail, Moment::now()))?;
        }
        VolumeCommand::Schedule(command) => schedule::run(&mut client, command, format).await?,
        VolumeCommand::Show { name } => {
            let volume = view::Volume::from(client.volume(name).await?);
            output::show(format, &volume, |_| volume.facts(Moment::now()))?;
        }
        VolumeCommand::Resize { name, size, wait } => {
            let change = client.resize_volume(name, *size).await?;
            settled(&mut client, change, *wait, format, "is larger now").await?;
        }
        VolumeCommand::Modify(modify) => replicas::modify(&mut client, modify, format).await?,
        VolumeCommand::HandOver(hand_over) => replicas::hand_over(&mut client, hand_over, format).await?,
        VolumeCommand::Promote(promote) => replicas::promote(&mut client, promote, format).await?,
        VolumeCommand::Verify { name, data } => return verify::run(&mut client, name, *data, format).await,
        VolumeCommand::Delete { names, force, wait } => {
            return delete::run(&mut client, names, *force, *wait, format).await;
        }
        VolumeCommand::Attach { name, client: who, read_only, shared, wait } => {
            let mode = if *shared { AccessMode::Shared } else { attach::alone_or_reading(*read_only) };
            let wish = attach::Wish { name, client: who, mode, renew: false };
            attach::run(&mut client, wish, *wait, format).await?;
        }
        VolumeCommand::Export(export) => super::export::run(&args.connection, export).await?,
        VolumeCommand::Import(import) => super::import::run(&args.connection, import).await?,
        VolumeCommand::Detach(detach) => detach::run(&mut client, detach, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How `plinth dev` keeps its volumes: nobody needs a token.
pub fn open_spec(replicas: u32) -> v1::VolumeSpec {
    v1::VolumeSpec { replicas, open: true, ..v1::VolumeSpec::default() }
}

fn spec(args: &CreateArgs) -> Result<v1::VolumeSpec> {
    let zone = args.zone.iter().map(|zone| Pair { key: "zone".to_owned(), value: zone.clone() });
    let selector: Vec<Pair> = args.node_label.iter().cloned().chain(zone).collect();
    Ok(v1::VolumeSpec {
        replicas: args.copies.replicas.unwrap_or(1),
        in_sync_min: args.copies.min_in_sync.unwrap_or(0),
        zone_spread: args.copies.zone_spread.map(|spread| v1::ZoneSpread::from(spread).into()).unwrap_or_default(),
        pool_tags: args.pool_tag.clone(),
        node_selector: labels(&selector)?,
        description: args.description.clone(),
        labels: labels(&args.label)?,
        open: args.open,
        places: Vec::new(),
    })
}

pub(super) fn labels(pairs: &[Pair]) -> Result<BTreeMap<String, String>, Usage> {
    Pair::map(pairs).map_err(Usage)
}

/// Waits for the end of a change, unless nobody wants to, and shows what it led to.
pub async fn settled(
    client: &mut Client,
    change: v1::VolumeChange,
    wait: WaitArgs,
    format: Format,
    done: &str,
) -> Result<()> {
    let volume = change.volume.ok_or(ClientError::Garbled("lacks the volume"))?;
    let change = match change.operation {
        Some(operation) if wait.no_wait => {
            Change { volume: volume.into(), operation: Some(view::Operation::from(operation)) }
        }
        Some(operation) => {
            client.finish(operation).await?;
            Change { volume: client.volume(&volume.name).await?.into(), operation: None }
        }
        None => Change { volume: volume.into(), operation: None },
    };
    output::show(format, &change, |_| sentence(&change, done))
}

fn sentence(change: &Change, done: &str) -> String {
    let view::Volume { name, size_bytes, .. } = &change.volume;
    match &change.operation {
        None => format!("volume {name} {done} ({})\n", size::show(*size_bytes)),
        Some(operation) => format!("volume {name}: operation {} goes on\n", operation.id),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::spec;
    use crate::args::{Args, Command, VolumeCommand};
    use crate::exit::Exit;

    fn spec_of(line: &str) -> anyhow::Result<proto::v1::VolumeSpec> {
        let args = Args::try_parse_from(line.split_whitespace()).expect(line);
        let Command::Volume(volume) = args.command else { panic!("{line}") };
        let VolumeCommand::Create(create) = volume.command else { panic!("{line}") };
        spec(&create)
    }

    #[test]
    fn options_become_the_spec() {
        let spec = spec_of(
            "plinth volume create db --size 1GiB --zone a --node-label rack=7 --pool-tag ssd --label team=web --open",
        );
        let spec = spec.unwrap();
        assert_eq!(
            spec.node_selector,
            [("rack".to_owned(), "7".to_owned()), ("zone".to_owned(), "a".to_owned())].into()
        );
        assert_eq!((spec.replicas, spec.open, spec.pool_tags), (1, true, vec!["ssd".to_owned()]));
        assert_eq!(spec.labels, [("team".to_owned(), "web".to_owned())].into());
    }

    #[test]
    fn two_zones_are_misuse() {
        let error = spec_of("plinth volume create db --size 1GiB --zone a --node-label zone=b").unwrap_err();
        assert_eq!(Exit::of(&error), Exit::Usage);
        assert!(error.to_string().contains("label zone is given as \"b\" and as \"a\""), "{error}");
    }
}
