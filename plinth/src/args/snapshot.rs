//! `plinth snapshot`, and what of `plinth volume` is about snapshots.

use clap::Subcommand;

use super::archive::DiffArgs;
use super::connection::{ConnectionArgs, WaitArgs};
use super::value::Pair;
use super::volume::CopiesArgs;
use crate::output::size;

/// `plinth snapshot`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth snapshot create monday --volume db
  plinth snapshot list --volume db
  plinth snapshot group create night data log         several volumes at one instant
  plinth volume create restored --from-snapshot monday
  plinth snapshot delete monday")]
pub struct SnapshotArgs {
    /// The cluster.
    #[command(flatten)]
    pub connection: ConnectionArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: SnapshotCommand,
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Keep a volume as it is now, also while it is used
    #[command(
        after_help = "Example:\n  plinth snapshot create monday --volume db --label why=upgrade\nIt holds every write that was acknowledged before. One of that name and volume that is there already is fine."
    )]
    Create {
        /// Its name, one of all snapshots of the cluster
        name: String,
        /// Of which volume
        #[arg(long, value_name = "NAME")]
        volume: String,
        /// A label of the snapshot; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Pair>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show all snapshots, with the space that each alone takes
    #[command(
        visible_alias = "ls",
        after_help = "EXCLUSIVE comes back if only that snapshot is deleted; SHARED is held by others, too. Both in one replica."
    )]
    List {
        /// Only those of this volume, also of one that was deleted
        #[arg(long, value_name = "NAME")]
        volume: Option<String>,
        /// Only those of this group
        #[arg(long, value_name = "NAME")]
        group: Option<String>,
        /// Also those without a name of their own, which are kept until what is cloned from them is there
        #[arg(long)]
        all: bool,
    },
    /// Show one snapshot
    Show {
        /// Its name
        name: String,
    },
    /// Show which ranges a snapshot holds, or which changed since another one
    Diff(DiffArgs),
    /// Delete snapshots
    #[command(
        after_help = "Example:\n  plinth snapshot delete monday tuesday\nThe names are free at once, the space when the volume's nodes have freed it. Volumes that were cloned from them stay."
    )]
    Delete {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Snapshots of several volumes at one instant
    #[command(subcommand)]
    Group(GroupCommand),
}

/// What to do with group snapshots.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Keep several volumes as they are at one instant: all of them, or none
    #[command(
        after_help = "Example:\n  plinth snapshot group create night data log\nmakes the snapshots night-data and night-log. Writes wait for some milliseconds meanwhile."
    )]
    Create {
        /// Its name; its snapshots are called NAME-VOLUME
        name: String,
        /// The volumes
        #[arg(required = true, value_name = "VOLUME")]
        volumes: Vec<String>,
        /// A label of the group and its snapshots; may be given several times
        #[arg(long, value_name = "KEY=VALUE")]
        label: Vec<Pair>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show all groups
    #[command(visible_alias = "ls")]
    List,
    /// Show one group and its snapshots
    Show {
        /// Its name
        name: String,
    },
    /// Delete groups with their snapshots
    Delete {
        /// Their names
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
}

/// Options of `plinth volume clone`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume clone db test                 as it is now, ready at once
  plinth volume clone db test --size 20GiB --replicas 1
Nothing is copied: both share what neither writes. The source can be deleted.")]
pub struct CloneArgs {
    /// The volume that it begins as
    pub source: String,
    /// Its name
    pub name: String,
    /// Its size, at least the source's [default: the source's]
    #[arg(long, value_parser = size::parse)]
    pub size: Option<u64>,
    /// Its replicas.
    #[command(flatten)]
    pub copies: CopiesArgs,
    /// A label of the volume; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<Pair>,
    /// Whether to wait.
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// What to do with a volume's schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    /// Have snapshots taken by themselves, and all but the last of them deleted
    #[command(
        after_help = "Examples:\n  plinth volume schedule set db hourly --cron @hourly --keep 24\n  plinth volume schedule set db nightly --cron '30 2 * * *' --keep 7\nTimes are UTC. Snapshots are called db-nightly-20260102t0230z. Only what the schedule made itself is deleted."
    )]
    Set {
        /// The volume's name
        volume: String,
        /// The schedule's name
        name: String,
        /// When: minute, hour, day of the month, month, day of the week, in UTC; or @hourly, @daily, @weekly, @monthly, @yearly
        #[arg(long, value_name = "EXPRESSION")]
        cron: String,
        /// How many of its snapshots are kept, 1 to 200
        #[arg(long, value_name = "N")]
        keep: u32,
    },
    /// Show a volume's schedules
    #[command(visible_alias = "ls")]
    List {
        /// The volume's name
        volume: String,
    },
    /// Take a schedule away; what it made stays
    Remove {
        /// The volume's name
        volume: String,
        /// The schedule's name
        name: String,
    },
}
