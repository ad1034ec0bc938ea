//! `plinth volume verify`: the cluster compares one range after the other, and the sum is made here. A cluster whose leader
//! changes meanwhile is asked to go on where it was.

use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use proto::v1;
use proto::v1::volume_service_client::VolumeServiceClient;

use crate::output::{self, Format};
use crate::view::Verification;
use client::{Client, ClientError};

/// Verifies it; 0 when it is sound, else 1.
pub async fn run(client: &mut Client, name: &str, data: bool, format: Format) -> Result<ExitCode> {
    let mut sum = Verification::new(name, data);
    // Draws nothing when nobody watches.
    let style = "comparing {wide_bar} {bytes} of {total_bytes}, {eta} left {msg}";
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
    let ended = compare(client, &mut sum, &bar).await;
    bar.finish_and_clear();
    ended?;
    output::show(format, &sum, |_| sum.text())?;
    Ok(if sum.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn compare(client: &mut Client, sum: &mut Verification, bar: &ProgressBar) -> Result<(), ClientError> {
    loop {
        let request = sum.request();
        let send = async |channel, request| VolumeServiceClient::new(channel).verify(request).await;
        let mut ranges = client.call(request, send).await?;
        while let Some(range) = client.next(&mut ranges).await? {
            note(sum, bar, range);
            if sum.is_complete() {
                return Ok(());
            }
        }
        client.pause().await;
    }
}

fn note(sum: &mut Verification, bar: &ProgressBar, range: v1::VerifiedRange) {
    bar.set_length(range.volume_bytes);
    bar.set_message(range.waits_for.clone());
    sum.add(range);
    bar.set_position(sum.done_bytes());
}
