//! `plinth volume`.

use clap::{Subcommand, ValueEnum};
use proto::v1;

use super::archive::{ExportArgs, ImportArgs};
use super::connection::{ConnectionArgs, WaitArgs};
use super::snapshot::{CloneArgs, ScheduleCommand};
use super::value::Pair;
use crate::output::size;

/// `plinth volume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume create db --size 10GiB
  plinth volume attach db --client host1      prints the address and a token for it
  plinth volume resize db 20GiB
  plinth volume modify db --replicas 3
  plinth volume hand-over db --to n2
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
    /// Make a volume that begins as another one is now
    Clone(CloneArgs),
    /// Show all volumes
    #[command(visible_alias = "ls")]
    List {
        /// Instead those that were deleted, and whose snapshots are kept
        #[arg(long)]
        retired: bool,
    },
    /// Have snapshots of a volume taken by themselves
    #[command(subcommand)]
    Schedule(ScheduleCommand),
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
    /// Change what may change while a volume is used: the number of its replicas, too
    Modify(ModifyArgs),
    /// Let another replica that is in sync serve a volume; nothing is lost, and clients go on there
    HandOver(HandOverArgs),
    /// Go on from a replica that is not in sync, when those that are in sync are gone for good: LOSES DATA
    Promote(PromoteArgs),
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
        after_help = "Example:\n  plinth volume delete scratch1 scratch2\nThe names are free at once, the space when the volumes' nodes have freed it. Snapshots stay, and what they hold."
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
    /// Let a client use a volume: alone for writing, or beside others for reading, or for writing if they know of each other
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
        /// For writing, beside others that share it: a cluster's file system, or a virtual machine that moves
        #[arg(long, conflicts_with = "read_only")]
        shared: bool,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Write a snapshot of a volume, or what changed since another one, to a file or pipe
    Export(ExportArgs),
    /// Make an exported snapshot a volume's content
    Import(ImportArgs),
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
  plinth volume create db --size 10GiB --replicas 3
  plinth volume create db --size 10GiB --zone a --pool-tag ssd --label team=web
  plinth volume create restored --from-snapshot monday
  plinth volume create scratch --size 1GiB --open     clients of open networks need no token")]
pub struct CreateArgs {
    /// Its name: 1 to 128 characters of a-z, 0-9, '.', '_' and '-', the first a letter or digit
    pub name: String,
    /// Its size: whole blocks of 4KiB, from 1MiB to 64TiB
    #[arg(long, value_parser = size::parse, required_unless_present = "from_snapshot")]
    pub size: Option<u64>,
    /// The snapshot that it begins as; nothing is copied, and it is at least as large [size and replicas: the snapshot's]
    #[arg(long, value_name = "NAME")]
    pub from_snapshot: Option<String>,
    /// Its replicas.
    #[command(flatten)]
    pub copies: CopiesArgs,
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

/// How a volume is kept.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct CopiesArgs {
    /// On how many nodes it is kept, 1 to 5
    #[arg(long, value_name = "N")]
    pub replicas: Option<u32>,
    /// How many replicas must be in sync for writes: with fewer they wait [default: half of them, rounded up]
    #[arg(long, value_name = "N")]
    pub min_in_sync: Option<u32>,
    /// Whether replicas are in different zones: always, as long as there are others, or wherever [default: preferred]
    #[arg(long, value_name = "HOW")]
    pub zone_spread: Option<Spread>,
}

/// Whether replicas are in different zones. A node without the label `zone` is a zone of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Spread {
    /// No zone has two
    Required,
    /// No zone has two as long as there are others
    Preferred,
    /// Zones are not looked at
    None,
}

impl From<Spread> for v1::ZoneSpread {
    fn from(spread: Spread) -> Self {
        match spread {
            Spread::Required => Self::Required,
            Spread::Preferred => Self::Preferred,
            Spread::None => Self::None,
        }
    }
}

/// Options of `plinth volume hand-over`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume hand-over db              to any replica that is in sync
  plinth volume hand-over db --to n2
Clients go on by themselves; nothing that was acknowledged is lost.")]
pub struct HandOverArgs {
    /// Its name
    pub name: String,
    /// The node whose replica is to serve it
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// Options of `plinth volume promote`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  plinth volume promote db --replica n3 --yes-lose-data db
When every replica that is in sync is gone for good, the volume can go on from one that is not. What was written since that
one was in sync is lost, whatever was acknowledged, and clients must attach the volume again. Refused as long as a replica
that is in sync is there: the volume goes on from it by itself. `plinth explain volume db` says how they are.")]
pub struct PromoteArgs {
    /// Its name
    pub name: String,
    /// The node whose replica it is to go on from
    #[arg(long, value_name = "NODE")]
    pub replica: String,
    /// The volume's name once more: what only the other replicas have is lost for good
    #[arg(long, value_name = "NAME")]
    pub yes_lose_data: String,
}

/// Options of `plinth volume modify`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args([
    "description", "label", "no_labels", "open", "replicas", "min_in_sync", "zone_spread",
]))]
#[command(after_help = "\
Examples:
  plinth volume modify db --description 'orders' --label team=web --label tier=1
  plinth volume modify db --replicas 3          while it is used; waits until all are in sync
  plinth volume modify db --min-in-sync 1       it can be written although the others are away")]
pub struct ModifyArgs {
    /// Its name
    pub name: String,
    /// What it is for
    #[arg(long)]
    pub description: Option<String>,
    /// All its labels: those that are not given go away
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Pair>,
    /// Take all its labels away
    #[arg(long, conflicts_with = "label")]
    pub no_labels: bool,
    /// Whether clients of open networks may use it without a token while nobody has it attached
    #[arg(long)]
    pub open: Option<Choice>,
    /// Its replicas.
    #[command(flatten)]
    pub copies: CopiesArgs,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
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
