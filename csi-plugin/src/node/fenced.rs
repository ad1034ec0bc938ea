//! Devices of volumes that were taken from this node while it used them.
//!
//! Requests of such a device wait for a primary that will never listen to it again, and whoever has it open waits with them,
//! even to close it. So the device is ended as soon as the cluster says that the attachment is gone: then they fail. That was
//! acknowledged to nobody, and the volume's next user has what was.

use std::collections::BTreeSet;
use std::time::Duration;

use attach::Attachment;
use tokio::time::sleep;

use super::devices::Found;
use super::turns::Turns;
use super::{LOOK_MAX, Node};

/// How often the cluster is asked for the volumes that are here.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A volume's name, and the generation of its attachment.
type Suspect = (String, u64);

impl Node {
    /// Ends the devices of attachments that have ended, without end. Two looks in a row must say so.
    pub async fn end_fenced(&self, turns: &Turns) {
        let mut before = BTreeSet::new();
        loop {
            sleep(LOOK_EVERY).await;
            let suspects = self.suspects().await;
            for (name, generation) in suspects.intersection(&before) {
                let _turn = turns.take(name).await;
                self.end_if_still(name, *generation).await;
            }
            before = suspects;
        }
    }

    /// Devices of which the cluster says that this node has no attachment. Silence says nothing.
    async fn suspects(&self) -> BTreeSet<Suspect> {
        let mut suspects = BTreeSet::new();
        for attachment in self.devices.all() {
            let Some(record) = in_use(attachment).map(|found| found.record) else { continue };
            let is_ours = match self.cluster.ask(LOOK_MAX).volume(&record.name).await {
                Ok(volume) => volume.attachments.iter().any(|one| one.client == record.client),
                Err(error) => !error.is_not_found(),
            };
            if !is_ours {
                suspects.insert((record.name, record.generation));
            }
        }
        suspects
    }

    async fn end_if_still(&self, name: &str, generation: u64) {
        let found = self.devices.attachment(name).ok().flatten().and_then(in_use);
        if found.is_none_or(|found| found.record.generation != generation) {
            return;
        }
        tracing::warn!("volume {name} was taken from this node; its device ends, and what uses it sees errors");
        if let Err(status) = self.devices.fail(name).await {
            tracing::error!("the device of volume {name}, which was taken from this node: {}", status.message());
        }
    }
}

/// One that has a device, and was given by the cluster.
fn in_use(attachment: Attachment) -> Option<Attachment> {
    match Found::from(attachment) {
        Found::Kept(found) | Found::Orphan(found) => Some(found).filter(|found| found.record.generation != 0),
        Found::Nothing | Found::Coming | Found::Dead(_) => None,
    }
}
