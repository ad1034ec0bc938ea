//! Who may use a volume.
//!
//! Publishing attaches a volume to a node's name, with a token that nobody keeps: the node asks for one of its own when it
//! stages the volume, which is possible only while the attachment is there. So nothing secret passes through Kubernetes, and
//! a node that comes late gets nothing. A volume that the node has already stays as it is: whoever publishes again, after a
//! restart for example, must not shut out the node that uses it.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ClientError, Token};
use proto::csi;
use proto::v1;
use proto::v1::host_service_client::HostServiceClient;
use proto::v1::volume_service_client::VolumeServiceClient;
use tonic::Status;

use super::create::draw;
use super::{ControllerService, existing, finish};
use crate::capability::{self, Use};
use crate::cluster::Asking;
use crate::needed::needed;
use crate::{fault, names};

impl ControllerService {
    pub(super) async fn publish(
        &self,
        request: &csi::ControllerPublishVolumeRequest,
        time: Duration,
    ) -> Result<csi::ControllerPublishVolumeResponse, Status> {
        let (id, node) = (needed("volume_id", &request.volume_id)?, needed("node_id", &request.node_id)?);
        let capability = capability::parse(request.volume_capability.as_ref())?;
        let mode = if request.readonly { v1::AccessMode::ReadOnly } else { capability.mode };
        let asked = Use { mode, ..capability };
        let mut asking = self.ask(time);
        let volume = existing(&mut asking, id).await?;
        check_host(&mut asking, node).await?;
        check_alone(&volume, node, asked)?;
        let mode = if is_to_prepare(&volume, node, capability) { v1::AccessMode::ReadWrite } else { mode };
        let reply = attach(&mut asking, id, node, mode).await?;
        finish(&mut asking, reply.operation).await?;
        Ok(csi::ControllerPublishVolumeResponse { publish_context: context(&volume, asked) })
    }

    /// Ends with the fence: nothing of the node can reach the volume any more, whether the node lives or not.
    pub(super) async fn unpublish(
        &self,
        request: &csi::ControllerUnpublishVolumeRequest,
        time: Duration,
    ) -> Result<csi::ControllerUnpublishVolumeResponse, Status> {
        let id = needed("volume_id", &request.volume_id)?;
        let is_anybody = request.node_id.is_empty() || names::is_name(&request.node_id);
        if !names::is_name(id) || !is_anybody {
            return Ok(csi::ControllerUnpublishVolumeResponse {});
        }
        let mut asking = self.ask(time);
        let (name, client) = (id.to_owned(), request.node_id.clone());
        let wish = v1::DetachVolumeRequest { request_id: draw()?, name, client };
        let send = async |channel, wish| VolumeServiceClient::new(channel).detach(wish).await;
        match asking.call(wish, send).await {
            // A retry of what was not waited for waits for the same: the fence, not the attachment's absence.
            Ok(change) => finish(&mut asking, change.operation).await?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(fault::of_client(&error)),
        }
        Ok(csi::ControllerUnpublishVolumeResponse {})
    }
}

async fn check_host(asking: &mut Asking<'_>, node: &str) -> Result<(), Status> {
    let unknown = || Status::not_found(format!("there is no node \"{node}\": its plugin has not told of it yet"));
    if !names::is_name(node) {
        return Err(unknown());
    }
    let wish = v1::GetHostRequest { name: node.to_owned() };
    match asking.call(wish, async |channel, wish| HostServiceClient::new(channel).get(wish).await).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Err(unknown()),
        Err(error) => Err(fault::of_client(&error)),
    }
}

/// Readers would be let in beside others.
fn check_alone(volume: &v1::Volume, node: &str, asked: Use) -> Result<(), Status> {
    let other = volume.attachments.iter().find(|held| held.client != node);
    match other.filter(|_| asked.is_single_node) {
        Some(held) => Err(Status::failed_precondition(format!(
            "volume \"{}\" is published to node \"{}\", and to be used on one node only: unpublish it there",
            volume.name, held.client
        ))),
        None => Ok(()),
    }
}

/// Whether the node is the first that reads this filesystem, which begins as that of a snapshot: its journal may not be
/// empty, and what is for reading only could not be mounted. The node empties it and becomes a reader before anybody sees
/// it there; other nodes have to wait.
fn is_to_prepare(volume: &v1::Volume, node: &str, capability: Use) -> bool {
    let is_first = match volume.attachments.as_slice() {
        [] => true,
        [held] => held.client == node && held.mode() == v1::AccessMode::ReadWrite,
        _ => false,
    };
    is_first && capability.mode == v1::AccessMode::ReadOnly && !capability.is_device && volume.source.is_some()
}

async fn attach(
    asking: &mut Asking<'_>,
    volume: &str,
    node: &str,
    mode: v1::AccessMode,
) -> Result<v1::AttachVolumeReply, Status> {
    let token = Token::draw().map_err(|error| fault::of_client(&error))?;
    let wish = v1::AttachVolumeRequest {
        request_id: draw()?,
        name: volume.to_owned(),
        client: node.to_owned(),
        mode: mode.into(),
        token: token.bytes().to_vec(),
        renew: false,
        keep: true,
    };
    let attached = asking.call(wish, async |channel, wish| VolumeServiceClient::new(channel).attach(wish).await).await;
    attached.map_err(|error: ClientError| fault::of_client(&error))
}

/// What the node is told: what it will have, and how.
fn context(volume: &v1::Volume, asked: Use) -> BTreeMap<String, String> {
    let mode = if asked.mode == v1::AccessMode::ReadOnly { "ro" } else { "rw" };
    let pairs = [("volume", volume.name.clone()), ("id", volume.id.to_string()), ("mode", mode.to_owned())];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::{check_alone, context, is_to_prepare};
    use crate::capability::Use;

    #[test]
    fn a_context_has_no_secret() {
        let volume = v1::Volume { id: 7, name: "db".to_owned(), ..v1::Volume::default() };
        let asked = Use { mode: v1::AccessMode::ReadOnly, is_single_node: false, is_device: true };
        let found: Vec<_> = context(&volume, asked).into_iter().collect();
        let expected = [("id", "7"), ("mode", "ro"), ("volume", "db")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    /// What begins as something, who has it for writing, and how it is asked for.
    #[test]
    fn who_reads_first_what_begins_as_a_snapshot_prepares_it() {
        let read = Use { mode: v1::AccessMode::ReadOnly, is_single_node: false, is_device: false };
        let held = |client: &str, mode: v1::AccessMode| v1::Attachment {
            client: client.to_owned(),
            mode: mode.into(),
            generation: 1,
        };
        let (writes, reads) = (v1::AccessMode::ReadWrite, v1::AccessMode::ReadOnly);
        let rows = [
            (true, vec![], read, true),
            (true, vec![held("a", writes)], read, true),
            (true, vec![held("a", reads)], read, false),
            (true, vec![held("b", writes)], read, false),
            (true, vec![held("a", writes), held("b", reads)], read, false),
            (true, vec![], Use { is_device: true, ..read }, false),
            (true, vec![], Use { mode: writes, ..read }, false),
            (false, vec![], read, false),
        ];
        for (is_clone, attachments, capability, expected) in rows {
            let source = is_clone.then(v1::Source::default);
            let volume = v1::Volume { attachments, source, ..v1::Volume::default() };
            assert_eq!(is_to_prepare(&volume, "a", capability), expected, "{volume:?} {capability:?}");
        }
    }

    #[test]
    fn a_reader_that_is_to_be_alone_is() {
        let held = v1::Attachment { client: "a".to_owned(), mode: v1::AccessMode::ReadOnly.into(), generation: 1 };
        let volume = v1::Volume { name: "db".to_owned(), attachments: vec![held], ..v1::Volume::default() };
        let asked = |is_single_node| Use { mode: v1::AccessMode::ReadOnly, is_single_node, is_device: true };
        assert!(check_alone(&volume, "b", asked(true)).unwrap_err().message().contains("\"a\""));
        assert!(check_alone(&volume, "b", asked(false)).is_ok() && check_alone(&volume, "a", asked(true)).is_ok());
    }
}
