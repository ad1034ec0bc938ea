//! `plinth detach`: ends the device, tells the cluster, and forgets both.

use std::process::ExitCode;

use anyhow::{Context, Result};
use attach::{Ending, Host, Record};
use proto::v1::Volume;
use serde_json::json;

use super::host;
use crate::args::{ConnectionArgs, DetachHereArgs};
use crate::{commands, output};
use client::Client;

/// Detaches the volume; one that is not attached here is fine.
pub async fn run(args: &DetachHereArgs) -> Result<ExitCode> {
    let ending = if args.force { Ending::Forced } else { Ending::Orderly };
    let was_there = end(&host(&args.folder)?, &args.name, &args.connection, ending).await?;
    let name = &args.name;
    output::show(args.connection.output, &json!({ "detached": name, "was_attached": was_there }), |_| {
        if was_there {
            format!("volume {name} is detached from this host\n")
        } else {
            format!("volume {name} is not attached to this host\n")
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Ends all there is of an attachment, whether it is whole or not; whether there was one.
pub async fn end(host: &Host, name: &str, connection: &ConnectionArgs, ending: Ending) -> Result<bool> {
    let Some(found) = host.find(name)? else {
        // At most a folder that a process left before it did anything.
        host.forget(name)?;
        return Ok(false);
    };
    host.lower(name, ending).await?;
    tell_cluster(&found.record, connection)
        .await
        .with_context(|| format!("the device is gone; `plinth detach {name}` tells the cluster when it answers"))?;
    host.forget(name)?;
    Ok(true)
}

/// Ends all there is on this host, and leaves what the cluster knows as it is.
pub async fn end_here(host: &Host, name: &str, ending: Ending) -> Result<()> {
    host.lower(name, ending).await?;
    Ok(host.forget(name)?)
}

/// Ends our attachment in the cluster, and no later one of the same name.
async fn tell_cluster(record: &Record, connection: &ConnectionArgs) -> Result<()> {
    let mut client = Client::new(connection);
    let volume = match client.volume(&record.name).await {
        Err(error) if error.is_not_found() => return Ok(()),
        found => found?,
    };
    if !is_ours(&volume, record) {
        return Ok(());
    }
    let change = commands::detach_volume(&mut client, &record.name, record.client.clone()).await?;
    if let Some(operation) = change.operation {
        client.finish(operation).await?;
    }
    Ok(())
}

/// Whether the cluster still knows the attachment. Where its number is not known (the answer to the attach never came),
/// one of our client's is taken for it.
pub fn is_ours(volume: &Volume, record: &Record) -> bool {
    volume.attachments.iter().any(|attachment| {
        attachment.client == record.client && (record.generation == 0 || attachment.generation == record.generation)
    })
}

#[cfg(test)]
mod tests {
    use attach::{Method, Record};
    use proto::v1::{Attachment, Volume};

    use super::is_ours;

    #[test]
    fn a_later_attachment_of_the_same_client_is_not_ours() {
        let attachment = |client: &str, generation| Attachment { client: client.to_owned(), mode: 1, generation };
        let volume = Volume { attachments: vec![attachment("a", 5), attachment("b", 7)], ..Volume::default() };
        let record =
            |client: &str, generation| Record { generation, ..Record::new("db", client, String::new(), Method::Fuse) };
        assert!(is_ours(&volume, &record("a", 5)));
        assert!(is_ours(&volume, &record("b", 0)), "its number never came");
        assert!(!is_ours(&volume, &record("b", 5)));
        assert!(!is_ours(&volume, &record("c", 5)));
    }
}
