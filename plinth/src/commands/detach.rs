//! `plinth volume detach`.

use anyhow::Result;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;

use super::volume::settled;
use crate::args::DetachArgs;
use crate::exit::Usage;
use crate::output::Format;
use client::{Client, ClientError, request_id};

/// Detaches whom the command names, or the only one there is.
pub async fn run(client: &mut Client, args: &DetachArgs, format: Format) -> Result<()> {
    let whom = match (&args.client, args.all) {
        (Some(whom), _) => Some(whom.clone()),
        (None, true) => Some(String::new()),
        (None, false) => only_one(client.volume(&args.name).await?)?,
    };
    let change = match whom {
        Some(whom) => detach(client, &args.name, whom).await?,
        None => v1::VolumeChange { volume: Some(client.volume(&args.name).await?), operation: None },
    };
    settled(client, change, args.wait, format, "is detached").await
}

/// Shuts a client out.
///
/// # Errors
/// See [`ClientError`].
pub async fn detach(client: &mut Client, name: &str, whom: String) -> Result<v1::VolumeChange, ClientError> {
    let request = v1::DetachVolumeRequest { request_id: request_id()?, name: name.to_owned(), client: whom };
    client.call(request, async |channel, request| VolumeServiceClient::new(channel).detach(request).await).await
}

/// Nobody, the only client, or a complaint that there are several.
fn only_one(volume: v1::Volume) -> Result<Option<String>, Usage> {
    let mut clients: Vec<String> = volume.attachments.into_iter().map(|attachment| attachment.client).collect();
    match clients.len() {
        0 | 1 => Ok(clients.pop()),
        _ => Err(Usage(format!(
            "volume {} is attached to {}: name one with --client, or take --all",
            volume.name,
            clients.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::only_one;

    #[test]
    fn a_client_may_be_left_out_when_there_is_one() {
        let attached = |clients: &[&str]| {
            let attachment = |client: &&str| v1::Attachment { client: (*client).to_owned(), mode: 2, generation: 1 };
            let attachments = clients.iter().map(attachment).collect();
            only_one(v1::Volume { name: "db".into(), attachments, ..v1::Volume::default() })
        };
        assert_eq!(attached(&[]).unwrap(), None);
        assert_eq!(attached(&["a"]).unwrap().as_deref(), Some("a"));
        assert!(attached(&["a", "b"]).unwrap_err().to_string().contains("attached to a, b: name one with --client"));
    }
}
