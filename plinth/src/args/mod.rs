//! The command line.

mod archive;
mod cluster;
mod connection;
mod csi;
mod daemon;
mod dev;
mod host;
mod node;
mod null;
mod operation;
mod pool;
mod snapshot;
mod value;
mod volume;

use clap::{Parser, Subcommand};

pub use archive::{DiffArgs, ExportArgs, ImportArgs};
pub use cluster::{ClusterArgs, ClusterCommand, ExplainArgs, StatusArgs};
pub use connection::{ConnectionArgs, WaitArgs};
pub use csi::{CsiArgs, CsiMode};
pub use daemon::{ControlArgs, ControlCommand, StorageArgs};
pub use dev::DevArgs;
pub use host::{AttachArgs, AttachmentsArgs, DetachHereArgs, FolderArgs, MethodArg};
pub use node::{NodeArgs, NodeCommand};
pub use null::NullArgs;
pub use operation::{OperationArgs, OperationCommand};
pub use pool::{OfflineArgs, PoolCommand, RemovePoolArgs};
pub use snapshot::{CloneArgs, GroupCommand, ScheduleCommand, SnapshotArgs, SnapshotCommand};
pub use value::{Pair, PoolArg, VolumeArg};
pub use volume::{Choice, CreateArgs, DetachArgs, HandOverArgs, ModifyArgs, PromoteArgs, VolumeArgs, VolumeCommand};

/// Plinth: replicated block storage.
#[derive(Debug, Parser)]
#[command(name = "plinth", version, arg_required_else_help = true, propagate_version = true)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 used wrongly, 3 not found, 4 in conflict with what is there.
`plinth dev` starts a whole cluster on this machine; `plinth COMMAND --help` has examples.")]
pub struct Args {
    /// Log more: -v what happens, -vv everything. The environment variable PLINTH_LOG overrides it
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine, with no setup
    Dev(DevArgs),
    /// Run a voter of the control plane
    Control(ControlArgs),
    /// Run a storage node
    Storage(StorageArgs),
    /// Run the plugin by which Kubernetes uses volumes
    Csi(CsiArgs),
    /// Make, change, attach and delete volumes
    Volume(VolumeArgs),
    /// Make a volume a block device of this host, and keep it through failovers
    Attach(AttachArgs),
    /// End a volume's block device on this host
    Detach(DetachHereArgs),
    /// Show the volumes that are block devices of this host
    Attachments(AttachmentsArgs),
    /// Keep volumes as they are, look at what is kept, and delete it
    Snapshot(SnapshotArgs),
    /// Look at storage nodes and take them in and out of use
    Node(NodeArgs),
    /// Look at pools: those of a cluster, or one that nobody serves
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Look at what takes time, and wait for it
    Operation(OperationArgs),
    /// Change the cluster's voters and settings, and watch it
    Cluster(ClusterArgs),
    /// Show how the cluster is, at a glance
    Status(StatusArgs),
    /// Say in words what a thing is and what it waits for
    Explain(ExplainArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  plinth completions bash > /etc/bash_completion.d/plinth")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Serve an export that forgets everything, to measure the server itself
    #[command(hide = true)]
    Null(NullArgs),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Args, Command, VolumeCommand};
    use crate::output::Format;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split_whitespace()).map(|args| args.command)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    /// As documents have them.
    const DOCUMENTED: &[&str] = &[
        "plinth dev --nodes 3 --data d --volume a:1GiB --control 127.0.0.1:0",
        "plinth control --id 1 --data d --listen 127.0.0.1:0 --advertise c1 --bootstrap",
        "plinth control --config c.toml",
        "plinth storage --id n1 --control a:1,b:2 --pool p:1GiB --label zone=a --tag ssd --listen 127.0.0.1:0 \
         --nbd 127.0.0.1:0 --unix s --http 127.0.0.1:0 --open-network 10.0.0.0/8 --advertise n1",
        "plinth volume create db --size 10GiB --replicas 1 --zone a --node-label rack=1 --pool-tag ssd \
         --description d --label k=v --open --no-wait",
        "plinth volume list",
        "plinth volume list --retired",
        "plinth volume create db --from-snapshot monday",
        "plinth volume create db --from-snapshot monday --size 20GiB --replicas 3",
        "plinth volume clone db test --size 20GiB --replicas 1 --label a=b --no-wait",
        "plinth volume schedule set db nightly --cron @daily --keep 7",
        "plinth volume schedule remove db nightly",
        "plinth snapshot create monday --volume db --label a=b --no-wait",
        "plinth snapshot list --volume db --group night --all",
        "plinth snapshot show monday",
        "plinth snapshot delete monday tuesday --no-wait",
        "plinth snapshot group create night data log --label a=b",
        "plinth snapshot group delete night",
        "plinth explain snapshot monday",
        "plinth explain group night",
        "plinth volume show db",
        "plinth volume resize db 20GiB",
        "plinth volume create db --size 10GiB --replicas 3 --min-in-sync 2 --zone-spread required",
        "plinth volume modify db --description d --label a=b --open no",
        "plinth volume modify db --replicas 3 --min-in-sync 1 --zone-spread none --no-wait",
        "plinth volume hand-over db",
        "plinth volume hand-over db --to n2 --no-wait",
        "plinth volume promote db --replica n3 --yes-lose-data db",
        "plinth volume verify db",
        "plinth volume verify db --data",
        "plinth volume delete a b --force",
        "plinth volume attach db --client c --read-only",
        "plinth volume detach db --client c",
        "plinth volume detach db --all",
        "plinth attach db",
        "plinth attach db --device /dev/nbd3 --method nbd --read-only --client c --foreground --folder f",
        "plinth detach db --force --control a:1",
        "plinth attachments -o json",
        "plinth node list",
        "plinth node show n",
        "plinth node cordon n",
        "plinth node uncordon n",
        "plinth node drain n --no-wait",
        "plinth node undrain n",
        "plinth node remove n",
        "plinth pool list",
        "plinth pool inspect p -o yaml",
        "plinth pool check p --output json",
        "plinth operation list --all",
        "plinth operation show 1",
        "plinth operation wait 1 --timeout 5",
        "plinth cluster voters",
        "plinth cluster add-voter 2 host:10700",
        "plinth cluster remove-voter 2",
        "plinth cluster set --overcommit-percent 150",
        "plinth cluster set --replace-after 10min",
        "plinth cluster settings",
        "plinth cluster watch",
        "plinth cluster resume",
        "plinth cluster resume --without n1,n2",
        "plinth control recover --data d",
        "plinth control recover --data d --forget-voters 2,3",
        "plinth status",
        "plinth explain volume db",
        "plinth explain cluster",
        "plinth completions zsh",
    ];

    #[test]
    fn every_documented_command_is_understood() {
        for line in DOCUMENTED {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let lines = [
            "plinth volume create db",
            "plinth snapshot create monday",
            "plinth snapshot group create night",
            "plinth volume schedule set db nightly --keep 7",
            "plinth volume create db --size 1GiB --node-label zone",
            "plinth volume delete",
            "plinth volume modify db",
            "plinth volume modify db --label a=b --no-labels",
            "plinth volume modify db --zone-spread sometimes",
            "plinth volume promote db --replica n3",
            "plinth volume promote db --yes-lose-data db",
            "plinth cluster set --replace-after soon",
            "plinth volume attach db",
            "plinth attach",
            "plinth attach db --method iscsi",
            "plinth volume detach db --client c --all",
            "plinth volume list --control nowhere",
            "plinth volume list --control a:1,,b:2",
            "plinth volume list --timeout 0",
            "plinth volume list -o xml",
            "plinth control --bootstrap --join",
            "plinth control --id 1 recover --data d",
            "plinth control recover",
            "plinth cluster set",
            "plinth dev --nodes 0",
            "plinth explain thing x",
            "plinth completions csh",
        ];
        for line in lines {
            assert_eq!(parse(line).map_err(|error| error.exit_code()).expect_err(line), 2, "{line}");
        }
    }

    #[test]
    fn options_of_the_connection_stand_before_or_after_the_command() {
        for line in ["plinth volume --control a:1,b:2 -o json list", "plinth volume list --control a:1,b:2 -o json"] {
            let Command::Volume(volume) = parse(line).expect(line) else { panic!("{line}") };
            assert_eq!(volume.connection.control, ["a:1", "b:2"], "{line}");
            assert_eq!(volume.connection.output, Format::Json, "{line}");
            assert!(matches!(volume.command, VolumeCommand::List { retired: false }), "{line}");
        }
    }
}
