//! `plinth attach`, `plinth detach` and `plinth attachments`: volumes as block devices of this host.

use std::path::PathBuf;

use clap::ValueEnum;

use super::connection::ConnectionArgs;
use crate::output::Format;

/// Where a host keeps what is attached to it: gone after a restart, as the devices are.
const FOLDER: &str = "/run/plinth/attach";

/// Which attachments.
#[derive(Clone, Debug, clap::Args)]
pub struct FolderArgs {
    /// Where this host keeps what is attached to it; it must not outlive a restart of the host
    #[arg(long, value_name = "FOLDER", env = "PLINTH_ATTACH_FOLDER", default_value = FOLDER)]
    pub folder: PathBuf,
}

/// Options of `plinth attach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth attach db                     prints the device, such as /dev/nbd0
  plinth attach db --read-only
  plinth attach db --foreground        for systemd, see docs/attach.md
  mkfs.ext4 $(plinth attach db)
Attaching a volume that is attached here prints its device, makes it as large as the volume has become, and starts the
process that keeps it if that died.")]
pub struct AttachArgs {
    /// The volume's name
    pub name: String,
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// A certain device /dev/nbdN; any that is free without
    #[arg(long, value_name = "/dev/nbdN")]
    pub device: Option<PathBuf>,
    /// How it becomes a device
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    pub method: MethodArg,
    /// For reading, beside other readers
    #[arg(long)]
    pub read_only: bool,
    /// Who this host is to the cluster [default: its host name]
    #[arg(long)]
    pub client: Option<String>,
    /// Keep the device in this process, until a signal
    #[arg(long)]
    pub foreground: bool,
    /// Only if the cluster has it attached to this client already, and never telling the cluster of its end
    #[arg(long, hide = true)]
    pub renew: bool,
    /// Where things are.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// How a volume becomes a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum MethodArg {
    /// The first of the following that this host can do
    Auto,
    /// The kernel's NBD client
    Nbd,
    /// A file by FUSE and a loop device
    Fuse,
}

/// Options of `plinth detach`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth detach db
  plinth detach db --force     also when it is in use or does not answer: what was not written is lost")]
pub struct DetachHereArgs {
    /// The volume's name
    pub name: String,
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// Also a device that is in use or does not answer: what was not written is lost
    #[arg(long)]
    pub force: bool,
    /// Where things are.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Options of `plinth attachments`.
#[derive(Debug, clap::Args)]
pub struct AttachmentsArgs {
    /// How to show it
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Where things are.
    #[command(flatten)]
    pub folder: FolderArgs,
}
