//! A volume that one command uses for a while, over NBD: attached under a name of its own, and given back at the end. What
//! was made for it is renewed all the time: if the command is killed, the control plane deletes it.

use anyhow::Result;
use attach::{Directory, Identity, Remote};
use control_plane::LOAN_LABEL;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::sleep;

use super::attach::{Wish, alone_or_reading, attach};
use super::detach::detach;
use crate::args::ConnectionArgs;
use client::{Client, ClientError, Token, request_id};

/// How long a copy waits for a volume that nobody serves.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the control plane hears that the command lives.
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// A volume that is attached to this command.
pub struct Loan<'a> {
    connection: &'a ConnectionArgs,
    volume: v1::Volume,
    client: String,
    /// It was made for this, and goes at the end.
    is_made: bool,
}

impl<'a> Loan<'a> {
    /// Attaches a volume that is there.
    pub async fn of(connection: &'a ConnectionArgs, volume: v1::Volume) -> Result<(Self, Remote)> {
        let loan = Self { connection, volume, client: client_name()?, is_made: false };
        loan.open(false).await
    }

    /// Makes a volume of a snapshot, to read it. It is called `client`: see [`client_name`].
    pub async fn of_snapshot(connection: &'a ConnectionArgs, snapshot: &str, client: String) -> Result<(Self, Remote)> {
        let request = v1::CreateVolumeRequest {
            request_id: request_id()?,
            name: client.clone(),
            size_bytes: 0,
            spec: Some(v1::VolumeSpec {
                replicas: 1,
                description: format!("snapshot {snapshot}, while it is exported"),
                labels: [(LOAN_LABEL.to_owned(), "0".to_owned())].into(),
                ..v1::VolumeSpec::default()
            }),
            source: Some(v1::Source { from: Some(v1::source::From::Snapshot(snapshot.to_owned())) }),
        };
        let mut asking = Client::new(connection);
        let made =
            asking.call(request, async |channel, request| VolumeServiceClient::new(channel).create(request).await);
        let v1::VolumeChange { volume, operation } = made.await?;
        let volume = volume.ok_or(ClientError::Garbled("lacks the volume"))?;
        let loan = Self { connection, volume, client, is_made: true };
        if let Some(operation) = operation
            && let Err(error) = asking.finish(operation).await
        {
            loan.give_back().await;
            return Err(error.into());
        }
        loan.open(true).await
    }

    async fn open(self, read_only: bool) -> Result<(Self, Remote)> {
        match self.remote(read_only).await {
            Ok(remote) => Ok((self, remote)),
            Err(error) => {
                self.give_back().await;
                Err(error)
            }
        }
    }

    async fn remote(&self, read_only: bool) -> Result<Remote> {
        let (mut asking, token) = (Client::new(self.connection), Token::draw()?);
        let mode = alone_or_reading(read_only);
        let wish = Wish { name: &self.volume.name, client: &self.client, mode, renew: false };
        let reply = attach(&mut asking, wish, &token).await?;
        if let Some(operation) = reply.operation {
            asking.finish(operation).await?;
        }
        let export = format!("{}@{}", self.volume.name, token.hex());
        let identity = Identity { volume: self.volume.id, size_bytes: self.volume.size_bytes };
        let (directory, _told) = Directory::new(reply.nbd_addresses);
        Ok(Remote::open(export, identity, directory, PATIENCE).await?)
    }

    /// Says all the time that it is used. One that is not renewed for a minute is deleted.
    pub async fn keep(&self) -> Infallible {
        for number in 1_u64.. {
            sleep(RENEW_EVERY).await;
            // Each has its own patience: one that was used for a while gives up at once.
            let mut asking = Client::new(self.connection);
            let labels = [(LOAN_LABEL.to_owned(), number.to_string())].into();
            let request = v1::ModifyVolumeRequest {
                request_id: request_id().unwrap_or_default(),
                name: self.volume.name.clone(),
                labels: Some(v1::Labels { labels }),
                ..v1::ModifyVolumeRequest::default()
            };
            let send = async |channel, request| VolumeServiceClient::new(channel).modify(request).await;
            if let Err(error) = asking.call(request, send).await {
                // Should it be gone, reading it says so.
                tracing::debug!(%error, "the loan is not renewed");
            }
        }
        std::future::pending().await
    }

    /// Detaches it, and deletes what was made for this. What fails is said: nobody else would.
    pub async fn give_back(self) {
        let mut asking = Client::new(self.connection);
        let ended = if self.is_made {
            let request = v1::DeleteVolumeRequest {
                request_id: request_id().unwrap_or_default(),
                name: self.volume.name.clone(),
                force: true,
            };
            let deleted =
                asking.call(request, async |channel, request| VolumeServiceClient::new(channel).delete(request).await);
            deleted.await.map(drop)
        } else {
            detach(&mut asking, &self.volume.name, self.client.clone()).await.map(drop)
        };
        if let Err(error) = ended {
            let (name, what) = (&self.volume.name, if self.is_made { "delete" } else { "detach" });
            crate::complain(&format!("volume {name} is left behind: {error}; plinth volume {what} {name}"));
        }
    }
}

/// What this command is called as a client, and a volume that it makes.
pub fn client_name() -> Result<String> {
    let drawn: String = request_id()?.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("copy-{drawn}"))
}
