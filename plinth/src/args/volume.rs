//! `plinth volume`.

use clap::{Subcommand, ValueEnum};

use super::connection::{ConnectionArgs, WaitArgs};
use super::value::Pair;
use crate::output::size;

/// `plinth volume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume create db --size 10GiB
  plinth volume attach db --client host1      prints the address and a token for it
  plinth volume resize db 20GiB
  plinth volume detach db --client host1
  plinth volume delete db")]
pub struct VolumeArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: VolumeCommand,
}

/// What to do with volumes.
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// Make a volume; one that is there already with these parameters is fine
    Create(CreateArgs),
    /// Show all volumes
    #[command(visible_alias = "ls")]
    List,
    /// Show one volume, its replicas and attachments
    Show {
        /// Its name
        name: String,
    },
    /// Make a volume larger; it never shrinks
    #[command(
        after_help = "Example:\n  plinth volume resize db 20GiB\nConnected clients see it when they connect again."
    )]
    Resize {
        /// Its name
        name: String,
        /// Its new size
        #[arg(value_parser = size::parse)]
        size: u64,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Change what may change while a volume is used
    Modify(ModifyArgs),
    /// Compare a volume's replicas while it is used; fails with 1 when they differ
    #[command(
        after_help = "Examples:\n  plinth volume verify db            compares what the replicas say they hold\n  plinth volume verify db --data     has every replica read and check all of it; bad blocks are repaired\nEnds with 0 when all replicas that were compared are equal, and with 1 when some differ or blocks are lost."
    )]
    Verify {
        /// Its name
        name: String,
        /// Have every replica read all of it from its disk; what is not what was written is repaired
        #[arg(long)]
        data: bool,
    },
    /// Delete volumes and their data
    #[command(
        after_help = "Example:\n  plinth volume delete scratch1 scratch2\nThe names are free at once, the space when the volumes' nodes have freed it."
    )]
    Delete {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Also a volume that is attached: its clients are shut out first
        #[arg(long)]
        force: bool,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let a client use a volume: alone for writing, or beside others for reading
    #[command(
        after_help = "Example:\n  plinth volume attach db --client host1\nA client that has it attached gets a new token; who has the old one is shut out."
    )]
    Attach {
        /// The volume's name
        name: String,
        /// Who, in a word: the name of a host, for example
        #[arg(long)]
        client: String,
        /// For reading, beside other readers
        #[arg(long)]
        read_only: bool,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Shut clients out, also one that is alive and writing
    #[command(
        after_help = "Example:\n  plinth volume detach db --client host1\nWhen it is done, nothing that the client sent can be applied any more."
    )]
    Detach(DetachArgs),
}

/// Options of `plinth volume create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume create db --size 10GiB
  plinth volume create db --size 10GiB --zone a --pool-tag ssd --label team=web
  plinth volume create scratch --size 1GiB --open     clients of open networks need no token")]
pub struct CreateArgs {
    /// Its name: 1 to 128 characters of a-z, 0-9, '.', '_' and '-', the first a letter or digit
    pub name: String,
    /// Its size: whole blocks of 4KiB, from 1MiB to 64TiB
    #[arg(long, value_parser = size::parse)]
    pub size: u64,
    /// On how many nodes it is kept
    #[arg(long, value_name = "N", default_value = "1")]
    pub replicas: u32,
    /// Only on nodes with this label `zone`
    #[arg(long)]
    pub zone: Option<String>,
    /// Only on nodes with this label; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub node_label: Vec<Pair>,
    /// Only in pools with this tag; may be given several times
    #[arg(long, value_name = "TAG")]
    pub pool_tag: Vec<String>,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    pub description: String,
    /// A label of the volume; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Pair>,
    /// While nobody has it attached, clients of open networks may use it without a token
    #[arg(long)]
    pub open: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Options of `plinth volume modify`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true))]
#[command(after_help = "Example:\n  plinth volume modify db --description 'orders' --label team=web --label tier=1")]
pub struct ModifyArgs {
    /// Its name
    pub name: String,
    /// What it is for
    #[arg(long, group = "change")]
    pub description: Option<String>,
    /// All its labels: those that are not given go away
    #[arg(long, value_name = "KEY=VALUE", group = "change")]
    pub label: Vec<Pair>,
    /// Take all its labels away
    #[arg(long, group = "change", conflicts_with = "label")]
    pub no_labels: bool,
    /// Whether clients of open networks may use it without a token while nobody has it attached
    #[arg(long, group = "change")]
    pub open: Option<Choice>,
}

/// Options of `plinth volume detach`.
#[derive(Debug, clap::Args)]
pub struct DetachArgs {
    /// The volume's name
    pub name: String,
    /// Whom; may be left out when one client has it attached
    #[arg(long)]
    pub client: Option<String>,
    /// Everybody
    #[arg(long, conflicts_with = "client")]
    pub all: bool,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Yes or no.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Choice {
    /// So it is
    Yes,
    /// So it is not
    No,
}
