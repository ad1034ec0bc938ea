//! `plinth snapshot diff`.

use anyhow::Result;
use proto::v1;
use proto::v1::snapshot_service_client::SnapshotServiceClient;
use serde::Serialize;

use crate::args::DiffArgs;
use crate::output::{self, Format, size};
use client::Client;

/// All ranges, and their sum.
#[derive(Serialize)]
struct Diff {
    snapshot: String,
    size_bytes: u64,
    data_bytes: u64,
    zero_bytes: u64,
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    offset_bytes: u64,
    len_bytes: u64,
    zeroes: bool,
}

/// Shows them, in order.
pub async fn run(client: &mut Client, args: &DiffArgs, format: Format) -> Result<()> {
    let mut diff =
        Diff { snapshot: args.name.clone(), size_bytes: 0, data_bytes: 0, zero_bytes: 0, ranges: Vec::new() };
    let mut request = v1::DiffSnapshotRequest {
        name: args.name.clone(),
        base: args.since.clone().unwrap_or_default(),
        base_at: args.since_at.map(|(epoch, n)| v1::Cut { epoch, n }),
        offset_bytes: 0,
    };
    while diff.size_bytes == 0 || request.offset_bytes < diff.size_bytes {
        let send = async |channel, request| SnapshotServiceClient::new(channel).diff(request).await;
        let mut pieces = client.call(request.clone(), send).await?;
        while let Some(piece) = client.next(&mut pieces).await? {
            request.offset_bytes = request.offset_bytes.max(piece.next_bytes);
            diff.add(piece);
        }
        if request.offset_bytes < diff.size_bytes {
            client.pause().await;
        }
    }
    output::show(format, &diff, |_| diff.text())
}

impl Diff {
    fn add(&mut self, piece: v1::DiffPiece) {
        self.size_bytes = self.size_bytes.max(piece.size_bytes);
        for v1::DiffRange { offset_bytes, len_bytes, zeroes } in piece.ranges {
            *(if zeroes { &mut self.zero_bytes } else { &mut self.data_bytes }) += len_bytes;
            match self.ranges.last_mut() {
                Some(last) if last.zeroes == zeroes && last.offset_bytes + last.len_bytes == offset_bytes => {
                    last.len_bytes += len_bytes;
                }
                Some(_) | None => self.ranges.push(Range { offset_bytes, len_bytes, zeroes }),
            }
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{:>16} {:>16}  WHAT\n", "OFFSET", "LENGTH");
        for Range { offset_bytes, len_bytes, zeroes } in &self.ranges {
            text += &format!("{offset_bytes:>16} {len_bytes:>16}  {}\n", if *zeroes { "zeroes" } else { "data" });
        }
        let (data, zeroes) = (size::show(self.data_bytes), size::show(self.zero_bytes));
        text + &format!("{data} of data and {zeroes} of zeroes, in a snapshot of {}\n", size::show(self.size_bytes))
    }
}
