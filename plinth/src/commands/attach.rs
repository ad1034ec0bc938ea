//! `plinth volume attach`: the token is drawn here, told to its client, and to the cluster, which keeps a hash.

use std::fmt::Write;

use anyhow::Result;
use proto::v1::volume_service_client::VolumeServiceClient;
use proto::v1::{AccessMode, AttachVolumeReply, AttachVolumeRequest};
use serde::Serialize;

use crate::args::WaitArgs;
use crate::output::{self, Format};
use crate::view::{self, Mode};
use client::{Client, ClientError, Token, request_id};

/// Who is to have what.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The volume.
    pub name: &'a str,
    /// Who.
    pub client: &'a str,
    /// Alone, or beside whom.
    pub mode: AccessMode,
    /// Only in place of the attachment that the client has already.
    pub renew: bool,
}

/// The mode of one that reads, or of one that writes alone.
pub fn alone_or_reading(read_only: bool) -> AccessMode {
    if read_only { AccessMode::ReadOnly } else { AccessMode::ReadWrite }
}

/// How a client reaches the volume that it may use now.
#[derive(Serialize)]
struct Attached {
    volume: String,
    client: String,
    mode: Mode,
    generation: u64,
    /// The NBD export, with the token in it.
    export: String,
    /// The volume's own node first; the others relay.
    uris: Vec<String>,
    operation: Option<view::Operation>,
}

/// Attaches it and prints how it is reached.
pub async fn run(client: &mut Client, wish: Wish<'_>, wait: WaitArgs, format: Format) -> Result<()> {
    let token = Token::draw()?;
    let mut reply = attach(client, wish, &token).await?;
    let waited = match reply.operation.take_if(|_| !wait.no_wait) {
        Some(operation) => client.finish(operation).await.map(drop),
        None => Ok(()),
    };
    // The token is told in any case: the client is attached, and nobody else knows it.
    let attached = Attached::of(wish, &token, reply);
    output::show(format, &attached, |_| attached.text())?;
    Ok(waited?)
}

/// Attaches it; the client may connect when the answer's operation has ended.
///
/// # Errors
/// See [`ClientError`].
pub async fn attach(client: &mut Client, wish: Wish<'_>, token: &Token) -> Result<AttachVolumeReply, ClientError> {
    let request = AttachVolumeRequest {
        request_id: request_id()?,
        name: wish.name.to_owned(),
        client: wish.client.to_owned(),
        mode: wish.mode.into(),
        token: token.bytes().to_vec(),
        renew: wish.renew,
        ..AttachVolumeRequest::default()
    };
    client.call(request, async |channel, request| VolumeServiceClient::new(channel).attach(request).await).await
}

impl Attached {
    fn of(wish: Wish<'_>, token: &Token, reply: AttachVolumeReply) -> Self {
        let export = format!("{}@{}", wish.name, token.hex());
        Self {
            volume: wish.name.to_owned(),
            client: wish.client.to_owned(),
            mode: wish.mode.into(),
            generation: reply.generation,
            uris: reply.nbd_addresses.iter().map(|address| format!("nbd://{address}/{export}")).collect(),
            export,
            operation: reply.operation.map(view::Operation::from),
        }
    }

    fn text(&self) -> String {
        let Self { volume, client, .. } = self;
        let mut text = format!("volume {volume} is attached to {client} for {}\n\n", self.mode.purpose());
        for uri in &self.uris {
            text += &format!("  {uri}\n");
        }
        text += &self.suggestions();
        if let Some(operation) = &self.operation {
            let id = operation.id;
            text += &format!("\n{client} can connect when operation {id} has ended: plinth operation wait {id}\n");
        }
        text += &format!(
            "\nWhoever has the token can use the volume; it is not shown again. To end it:\n  \
             plinth volume detach {volume} --client {client}\n"
        );
        text
    }

    /// What to type, at the first address.
    fn suggestions(&self) -> String {
        let Some(uri) = self.uris.first() else {
            return "No node takes NBD clients now: see plinth node list.\n".to_owned();
        };
        let address = uri.trim_start_matches("nbd://").split('/').next().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "10809"));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let (nbdcopy, drive, device) = match self.mode {
            Mode::ReadOnly => (format!("{uri} disk.img"), ",readonly=on", " -readonly"),
            Mode::ReadWrite | Mode::Shared | Mode::Unknown => (format!("disk.img {uri}"), "", ""),
        };
        let mut text = String::from("\nTry\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "  nbdinfo {uri}");
        let _ = writeln!(text, "  nbdcopy {nbdcopy}");
        let _ = writeln!(text, "  qemu-system-x86_64 -drive file={uri},format=raw,if=virtio{drive}");
        let _ = writeln!(text, "  nbd-client -N {} {host} {port} /dev/nbd0{device}", self.export);
        text
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::AttachVolumeReply;

    use super::{Attached, Wish, alone_or_reading};
    use client::Token;

    fn attached(read_only: bool, addresses: &[&str]) -> (Attached, String) {
        let token = Token::draw().unwrap();
        let nbd_addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
        let reply = AttachVolumeReply { generation: 7, nbd_addresses, ..AttachVolumeReply::default() };
        (
            Attached::of(
                Wish { name: "db", client: "host1", mode: alone_or_reading(read_only), renew: false },
                &token,
                reply,
            ),
            token.hex(),
        )
    }

    #[test]
    fn the_client_is_told_where_to_go_and_what_to_type() {
        let (attached, token) = attached(false, &["10.0.0.1:10809", "[fd00::2]:10809"]);
        let expected = format!(
            "\
volume db is attached to host1 for writing

  nbd://10.0.0.1:10809/db@{token}
  nbd://[fd00::2]:10809/db@{token}

Try
  nbdinfo nbd://10.0.0.1:10809/db@{token}
  nbdcopy disk.img nbd://10.0.0.1:10809/db@{token}
  qemu-system-x86_64 -drive file=nbd://10.0.0.1:10809/db@{token},format=raw,if=virtio
  nbd-client -N db@{token} 10.0.0.1 10809 /dev/nbd0

Whoever has the token can use the volume; it is not shown again. To end it:
  plinth volume detach db --client host1
"
        );
        assert_eq!(attached.text(), expected);
    }

    #[test]
    fn a_reader_is_told_how_to_read() {
        let (attached, token) = attached(true, &["[fd00::2]:10809"]);
        let text = attached.text();
        assert!(text.contains("is attached to host1 for reading"), "{text}");
        assert!(text.contains(&format!("nbd-client -N db@{token} fd00::2 10809 /dev/nbd0 -readonly")), "{text}");
    }

    #[test]
    fn without_a_node_for_clients_that_is_said() {
        assert!(attached(false, &[]).0.text().contains("No node takes NBD clients now"));
    }
}
