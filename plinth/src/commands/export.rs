//! `plinth volume export`: a snapshot, or what changed since another one, as an archive.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use anyhow::{Context, Result, bail};
use archive::{DATA_BLOCKS_MAX, Header};
use attach::{Remote, Reply};
use block::{BLOCK_BYTES, BlockRange, ByteRange, Pages, Request};
use control_plane::LOAN_OF_LABEL;
use indicatif::{ProgressBar, ProgressStyle};
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use serde::Serialize;

use super::loan::{Loan, client_name};
use crate::archives::{Writer, is_standard};
use crate::args::{ConnectionArgs, ExportArgs};
use crate::output::{self, size};
use client::{Client, request_id};

/// Reads under way.
const READS_MAX: usize = 16;

/// What became of it.
#[derive(Serialize)]
struct Exported {
    snapshot: String,
    since: Option<String>,
    file: String,
    data_bytes: u64,
}

/// Writes the archive, and cleans up whatever happens.
pub async fn run(connection: &ConnectionArgs, args: &ExportArgs) -> Result<()> {
    let (mut client, borrower) = (Client::new(connection), client_name()?);
    let (snapshot, is_taken) = match &args.snapshot {
        Some(name) => (client.snapshot(name).await?, false),
        None => (take(&mut client, &args.name, &borrower).await?, true),
    };
    let ended = export(connection, args, &snapshot, borrower).await;
    if is_taken {
        let request = v1::DeleteSnapshotRequest { request_id: request_id()?, name: snapshot.name.clone() };
        let mut client = Client::new(connection);
        let send = async |channel, request| SnapshotServiceClient::new(channel).delete(request).await;
        if let Err(error) = client.call(request, send).await {
            let name = &snapshot.name;
            crate::complain(&format!("snapshot {name} is left behind: {error}; plinth snapshot delete {name}"));
        }
    }
    let exported = ended?;
    if !is_standard(&args.file) {
        output::show(connection.output, &exported, |_| exported.text())?;
    }
    Ok(())
}

/// A snapshot for this alone, needed by the volume that is called `borrower`.
async fn take(client: &mut Client, volume: &str, borrower: &str) -> Result<v1::Snapshot> {
    let drawn: String = request_id()?.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let request = v1::CreateSnapshotRequest {
        request_id: request_id()?,
        name: format!("export-{drawn}"),
        volume: volume.to_owned(),
        labels: [(LOAN_OF_LABEL.to_owned(), borrower.to_owned())].into(),
        ..v1::CreateSnapshotRequest::default()
    };
    let name = request.name.clone();
    let send = async |channel, request| SnapshotServiceClient::new(channel).create(request).await;
    if let Some(operation) = client.call(request, send).await?.operation {
        client.finish(operation).await?;
    }
    Ok(client.snapshot(&name).await?)
}

async fn export(
    connection: &ConnectionArgs,
    args: &ExportArgs,
    snapshot: &v1::Snapshot,
    borrower: String,
) -> Result<Exported> {
    if snapshot.volume != args.name {
        bail!("snapshot {} is of volume {}, not of {}", snapshot.name, snapshot.volume, args.name);
    }
    let header = header(connection, args, snapshot).await?;
    let mut writer = match args.resume {
        true => Writer::resume(&args.file, &header).await?,
        false => Writer::create(&args.file, &header).await?,
    };
    let (loan, remote) = Loan::of_snapshot(connection, &snapshot.name, borrower).await?;
    let ended = tokio::select! {
        ended = copy(connection, args, snapshot, remote, &mut writer) => ended,
        never = loan.keep() => match never {},
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    loan.give_back().await;
    if let Err(error) = ended {
        writer.flush().await?;
        return Err(error).with_context(|| unfinished(&args.file));
    }
    let data_bytes = writer.data_blocks() * BLOCK_BYTES as u64;
    writer.finish().await?;
    let file = args.file.display().to_string();
    Ok(Exported { snapshot: snapshot.name.clone(), since: args.since.clone(), file, data_bytes })
}

fn unfinished(file: &Path) -> String {
    match is_standard(file) {
        true => "the archive is not complete".to_owned(),
        false => format!("{} is not complete; go on with --resume", file.display()),
    }
}

async fn header(connection: &ConnectionArgs, args: &ExportArgs, snapshot: &v1::Snapshot) -> Result<Header> {
    let mut client = Client::new(connection);
    let base = match &args.since {
        Some(name) => Some(client.snapshot(name).await?.id),
        None => None,
    };
    let cluster = super::status::ask(&mut client).await?.cluster;
    Ok(Header {
        cluster: u128::from_str_radix(&cluster, 16).context("the cluster's id is none")?,
        volume: snapshot.volume_id,
        volume_name: snapshot.volume.clone(),
        snapshot: snapshot.id,
        snapshot_name: snapshot.name.clone(),
        base,
        size_bytes: snapshot.size_bytes,
        created_ms: snapshot.created_ms,
    })
}

/// What is to be appended, in order.
enum Next {
    Data { range: BlockRange, number: u64 },
    Zeroes { range: BlockRange },
}

/// Ranges that are read, and are written in the order in which they were asked for.
struct Copy<'a> {
    remote: Remote,
    writer: &'a mut Writer,
    queue: VecDeque<Next>,
    read: BTreeMap<u64, Pages>,
}

async fn copy(
    connection: &ConnectionArgs,
    args: &ExportArgs,
    snapshot: &v1::Snapshot,
    remote: Remote,
    writer: &mut Writer,
) -> Result<()> {
    let bar = bar(snapshot.size_bytes)?;
    let begin = writer.end();
    let mut copy = Copy { remote, writer, queue: VecDeque::new(), read: BTreeMap::new() };
    let mut at = begin * BLOCK_BYTES as u64;
    while at < snapshot.size_bytes {
        let mut client = Client::new(connection);
        let request = v1::DiffSnapshotRequest {
            name: snapshot.name.clone(),
            base: args.since.clone().unwrap_or_default(),
            base_at: None,
            offset_bytes: at,
        };
        let send = async |channel, request| SnapshotServiceClient::new(channel).diff(request).await;
        let mut pieces = client.call(request, send).await?;
        while let Some(piece) = client.next(&mut pieces).await? {
            bar.set_message(piece.waits_for.clone());
            for range in &piece.ranges {
                copy.range(range, at).await?;
            }
            at = at.max(piece.next_bytes);
            bar.set_position(at);
        }
        if at < snapshot.size_bytes {
            client.pause().await;
        }
    }
    copy.rest().await?;
    bar.finish_and_clear();
    Ok(())
}

/// Draws nothing when nobody watches.
pub(super) fn bar(total_bytes: u64) -> Result<ProgressBar> {
    let style = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left {msg}";
    Ok(ProgressBar::new(total_bytes).with_style(ProgressStyle::with_template(style)?))
}

impl Copy<'_> {
    /// Takes a range, as far as it lies behind `from`.
    async fn range(&mut self, range: &v1::DiffRange, from: u64) -> Result<()> {
        let first = range.offset_bytes.max(from) / BLOCK_BYTES as u64;
        let end = (range.offset_bytes + range.len_bytes) / BLOCK_BYTES as u64;
        let step_max = if range.zeroes { u32::MAX } else { DATA_BLOCKS_MAX };
        let mut at = first;
        while at < end {
            let count = u32::try_from(end - at).unwrap_or(u32::MAX).min(step_max);
            self.make_room().await?;
            let range = BlockRange::new(at, count);
            self.queue.push_back(match step_max {
                u32::MAX => Next::Zeroes { range },
                _ => Next::Data { range, number: self.remote.ask(read(range), Vec::new()) },
            });
            at += u64::from(count);
        }
        Ok(())
    }

    async fn make_room(&mut self) -> Result<()> {
        while self.queue.len() >= READS_MAX || !self.remote.has_room() {
            self.advance().await?;
        }
        Ok(())
    }

    async fn rest(&mut self) -> Result<()> {
        while !self.queue.is_empty() {
            self.advance().await?;
        }
        Ok(())
    }

    /// Appends what is next, when it has been read.
    async fn advance(&mut self) -> Result<()> {
        match self.queue.front() {
            Some(Next::Zeroes { range }) => self.writer.zeroes(*range).await?,
            Some(Next::Data { range, number }) => {
                let Some(pages) = self.read.remove(number) else {
                    let Reply { number, data } = self.remote.reply().await?;
                    self.read.insert(number, data.context("a read was answered without data")?);
                    return Ok(());
                };
                self.writer.data(*range, &pages.bytes()[..range.count.0 as usize * BLOCK_BYTES]).await?;
            }
            None => return Ok(()),
        }
        self.queue.pop_front();
        Ok(())
    }
}

fn read(range: BlockRange) -> Request {
    Request::Read { range: bytes_of(range) }
}

/// As a client names them; no more than 4 GiB.
pub(super) fn bytes_of(range: BlockRange) -> ByteRange {
    let len_bytes = u32::try_from(u64::from(range.count.0) * BLOCK_BYTES as u64).expect("ranges are cut");
    ByteRange::new(range.first.0 * BLOCK_BYTES as u64, len_bytes)
}

impl Exported {
    fn text(&self) -> String {
        let Self { snapshot, since, file, data_bytes } = self;
        let since = since.as_ref().map(|since| format!(", changes since {since}")).unwrap_or_default();
        format!("{file} has snapshot {snapshot}{since}: {} of data\n", size::show(*data_bytes))
    }
}
