//! `plinth volume import`: an archive becomes a volume's content.

use anyhow::{Context, Result, bail};
use archive::Header;
use attach::Remote;
use block::{BLOCK_BYTES, BlockRange, Request};
use indicatif::ProgressBar;
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;
use serde::Serialize;

use super::export::{bar, bytes_of};
use super::loan::Loan;
use crate::archives::{Piece, Reader};
use crate::args::{ConnectionArgs, ImportArgs};
use crate::output::{self, size};
use client::{Client, ClientError, request_id};

/// Zeroed at once: 1 GiB.
const ZEROES_MAX: u32 = 1 << 18;
/// What says which snapshot a volume holds: the archive's cluster and snapshot.
const LABEL: &str = "imported";

/// What became of it.
#[derive(Serialize)]
struct Imported {
    volume: String,
    snapshot: String,
    data_bytes: u64,
}

/// Reads the archive into the volume.
pub async fn run(connection: &ConnectionArgs, args: &ImportArgs) -> Result<()> {
    let mut reader = Reader::open(&args.file).await?;
    let header = reader.header().clone();
    let mut client = Client::new(connection);
    let (volume, is_new) = target(&mut client, args, &header).await?;
    let volume_name = volume.name.clone();
    let labels = volume.spec.clone().unwrap_or_default().labels;
    // From here on it holds neither what it held nor what it will.
    note(&mut client, &volume_name, labels.clone(), begun(&header)).await?;
    let (loan, remote) = Loan::of(connection, volume).await?;
    let mut import = Import {
        remote,
        // What an archive of everything does not have reads as zeroes, and a new volume does already.
        fills: header.base.is_none() && !is_new,
        at: 0,
        skip: args.from_block,
        data_blocks: 0,
        is_refused: false,
    };
    let progress = bar(header.size_bytes)?;
    let mut ended = tokio::select! {
        ended = import.read(&mut reader, &progress) => ended,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    progress.finish_and_clear();
    // What the volume refused is missing somewhere before.
    if ended.is_err() && !import.is_refused && import.flush().await.is_ok() {
        let at = import.at;
        ended = ended.with_context(|| format!("the volume has blocks up to {at}; go on with --from-block {at}"));
    }
    loan.give_back().await;
    ended?;
    note(&mut Client::new(connection), &volume_name, labels, label(header.cluster, header.snapshot)).await?;
    let data_bytes = import.data_blocks * BLOCK_BYTES as u64;
    let imported = Imported { volume: volume_name, snapshot: header.snapshot_name, data_bytes };
    output::show(connection.output, &imported, |_| imported.text())
}

/// The volume that the archive goes into, and whether it was just made.
async fn target(client: &mut Client, args: &ImportArgs, header: &Header) -> Result<(v1::Volume, bool)> {
    if args.create && !is_there(client, &args.name).await? {
        let spec = v1::VolumeSpec { replicas: args.replicas, ..v1::VolumeSpec::default() };
        let change = client.create_volume(&args.name, header.size_bytes, spec, None).await?;
        if let Some(operation) = change.operation {
            client.finish(operation).await?;
        }
        return Ok((client.volume(&args.name).await?, args.from_block == 0));
    }
    let volume = client.volume(&args.name).await?;
    check(&volume, args, header)?;
    Ok((volume, false))
}

async fn is_there(client: &mut Client, name: &str) -> Result<bool, ClientError> {
    match client.volume(name).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Changes fit only on what they are changes of.
fn check(volume: &v1::Volume, args: &ImportArgs, header: &Header) -> Result<()> {
    let name = &volume.name;
    if volume.size_bytes < header.size_bytes {
        bail!(
            "volume {name} has {}, and the snapshot has {}: plinth volume resize {name} {}",
            size::show(volume.size_bytes),
            size::show(header.size_bytes),
            header.size_bytes
        );
    }
    let held = volume.spec.as_ref().and_then(|spec| spec.labels.get(LABEL)).cloned().unwrap_or_default();
    match header.base {
        _ if args.force => Ok(()),
        // The same archive again does no harm, wherever it broke off.
        _ if held == begun(header) => Ok(()),
        Some(base) if held == label(header.cluster, base) => Ok(()),
        Some(_) => bail!(
            "the archive has changes since another snapshot, and volume {name} does not hold that one: import that one \
             first, or use --force if its content is the same"
        ),
        None => bail!("volume {name} is there already: use --force to overwrite all of it"),
    }
}

fn label(cluster: u128, snapshot: u64) -> String {
    format!("{cluster:032x}-{snapshot:016x}")
}

/// What a volume says that holds a part of the archive.
fn begun(header: &Header) -> String {
    format!("{}-begun", label(header.cluster, header.snapshot))
}

/// The volume says what it holds.
async fn note(
    client: &mut Client,
    name: &str,
    mut labels: std::collections::BTreeMap<String, String>,
    held: String,
) -> Result<()> {
    labels.insert(LABEL.to_owned(), held);
    let request = v1::ModifyVolumeRequest {
        request_id: request_id()?,
        name: name.to_owned(),
        labels: Some(v1::Labels { labels }),
        ..v1::ModifyVolumeRequest::default()
    };
    client.call(request, async |channel, request| VolumeServiceClient::new(channel).modify(request).await).await?;
    Ok(())
}

/// What has been written.
struct Import {
    remote: Remote,
    fills: bool,
    /// Behind the last block that was asked to be written.
    at: u64,
    /// Blocks before this are there.
    skip: u64,
    data_blocks: u64,
    is_refused: bool,
}

impl Import {
    async fn read(&mut self, reader: &mut Reader, progress: &ProgressBar) -> Result<()> {
        while let Some(piece) = reader.next().await? {
            match piece {
                Piece::Data(range, data) => {
                    self.fill(range.first.0).await?;
                    self.data_blocks += u64::from(range.count.0);
                    if range.end().0 > self.skip {
                        self.ask(Request::Write { range: bytes_of(range), fua: false }, data).await?;
                    }
                    self.at = range.end().0;
                }
                Piece::Zeroes(range) => {
                    self.fill(range.first.0).await?;
                    self.zero(range.first.0, range.end().0).await?;
                }
            }
            progress.set_position(self.at * BLOCK_BYTES as u64);
        }
        self.fill(reader.header().size_bytes / BLOCK_BYTES as u64).await?;
        self.flush().await
    }

    /// What no record was of.
    async fn fill(&mut self, upto: u64) -> Result<()> {
        if self.fills { self.zero(self.at, upto).await } else { Ok(()) }
    }

    async fn zero(&mut self, from: u64, upto: u64) -> Result<()> {
        let mut at = from.max(self.skip);
        while at < upto {
            let count = u32::try_from(upto - at).unwrap_or(u32::MAX).min(ZEROES_MAX);
            let range = bytes_of(BlockRange::new(at, count));
            let request = Request::WriteZeroes { range, fua: false, fast_only: false, keep_allocated: false };
            self.ask(request, Vec::new()).await?;
            at += u64::from(count);
        }
        self.at = self.at.max(upto);
        Ok(())
    }

    async fn ask(&mut self, request: Request, payload: Vec<u8>) -> Result<()> {
        while !self.remote.has_room() {
            self.reply().await?;
        }
        self.remote.ask(request, payload);
        Ok(())
    }

    /// Everything asked for is on stable media.
    async fn flush(&mut self) -> Result<()> {
        while !self.remote.is_idle() {
            self.reply().await?;
        }
        self.remote.ask(Request::Flush, Vec::new());
        self.reply().await
    }

    async fn reply(&mut self) -> Result<()> {
        let replied = self.remote.reply().await;
        self.is_refused |= replied.is_err();
        replied?;
        Ok(())
    }
}

impl Imported {
    fn text(&self) -> String {
        let Self { volume, snapshot, data_bytes } = self;
        format!("volume {volume} holds snapshot {snapshot}: {} of data\n", size::show(*data_bytes))
    }
}
