//! Volumes as block devices of this host.

mod agent;
mod begin;
mod end;
mod list;

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result};
use attach::Host;
use serde::Serialize;

use crate::args::{AttachArgs, AttachmentsArgs, DetachHereArgs, FolderArgs};
use crate::{output, serve};

/// A device of this host.
#[derive(Clone, Serialize)]
struct Device {
    volume: String,
    device: Option<String>,
    method: attach::Method,
    size_bytes: u64,
    read_only: bool,
    client: String,
    /// The process that keeps it.
    keeper: Option<u32>,
    /// A detach has begun.
    detaching: bool,
}

impl From<attach::Attachment> for Device {
    fn from(attachment: attach::Attachment) -> Self {
        let attach::Attachment { record, keeper } = attachment;
        Self {
            volume: record.name,
            device: record.device.map(|device| device.display().to_string()),
            method: record.method,
            size_bytes: record.size_bytes,
            read_only: record.read_only,
            client: record.client,
            keeper,
            detaching: record.ending,
        }
    }
}

/// `plinth attach`.
pub fn attach(args: &AttachArgs) -> Result<ExitCode> {
    let runtime = serve::runtime()?;
    let ended = if args.foreground { runtime.block_on(agent::run(args)) } else { runtime.block_on(begin::run(args)) };
    // A call into the kernel that does not come back must not keep this process.
    runtime.shutdown_background();
    ended
}

/// `plinth detach`.
pub fn detach(args: &DetachHereArgs) -> Result<ExitCode> {
    let runtime = serve::runtime()?;
    let ended = runtime.block_on(end::run(args));
    runtime.shutdown_background();
    ended
}

/// `plinth attachments`.
pub fn attachments(args: &AttachmentsArgs) -> Result<ExitCode> {
    list::run(args)
}

fn host(args: &FolderArgs) -> Result<Host> {
    let folder = std::path::absolute(&args.folder).context("the folder of attachments")?;
    Ok(Host::new(folder))
}

/// Who this host is, unless it was said.
fn client_name(given: Option<&str>) -> Result<String> {
    match given {
        Some(name) => Ok(name.to_owned()),
        None => {
            let name = fs::read_to_string("/proc/sys/kernel/hostname").context("the host's name; give --client")?;
            Ok(name.trim().to_lowercase())
        }
    }
}

/// Tells the device: to people its path alone, so that a script can use it as it is.
fn tell(device: &Device, format: output::Format) -> Result<()> {
    output::show(format, device, |_| format!("{}\n", device.device.as_deref().unwrap_or("no device")))
}
