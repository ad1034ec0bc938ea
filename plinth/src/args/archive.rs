//! What of `plinth volume` and `plinth snapshot` is about archives and differences.

use std::path::PathBuf;

/// Options of `plinth volume export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume export db db.plinth                                   as it is now
  plinth volume export db monday.plinth --snapshot monday
  plinth volume export db tuesday.plinth --snapshot tuesday --since monday
  plinth volume export db - --snapshot monday | ssh backup 'cat > monday.plinth'
  plinth volume export db monday.plinth --snapshot monday --resume    after it broke off
What reads as zeroes takes no space. Every record has checksums; plinth volume import verifies them.")]
pub struct ExportArgs {
    /// The volume's name
    pub name: String,
    /// The file to write; - is standard output
    pub file: PathBuf,
    /// Which of its snapshots; one is taken for this, if it is left out
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<String>,
    /// Only what changed since this snapshot
    #[arg(long, value_name = "NAME", requires = "snapshot")]
    pub since: Option<String>,
    /// Go on with a file that is not complete
    #[arg(long, requires = "snapshot")]
    pub resume: bool,
}

/// Options of `plinth volume import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth volume import db2 monday.plinth --create --replicas 3
  plinth volume import db2 tuesday.plinth        changes since monday, which db2 holds
  ssh backup 'cat monday.plinth' | plinth volume import db2 - --create
Nobody else may have the volume attached meanwhile. It remembers what it holds in the label `imported`.")]
pub struct ImportArgs {
    /// The volume's name
    pub name: String,
    /// The archive; - is standard input
    pub file: PathBuf,
    /// Make the volume
    #[arg(long)]
    pub create: bool,
    /// How many replicas it gets, if it is made
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "create")]
    pub replicas: u32,
    /// Overwrite what the volume holds, or take changes whatever it holds
    #[arg(long)]
    pub force: bool,
    /// Go on with an import that broke off: blocks before this one are there
    #[arg(long, value_name = "BLOCK", default_value_t = 0)]
    pub from_block: u64,
}

/// Options of `plinth snapshot diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth snapshot diff tuesday                      all that does not read as zeroes
  plinth snapshot diff tuesday --since monday       what changed, in blocks of 4 KiB
  plinth snapshot diff tuesday --since-at 7.1234    of a snapshot that is gone: in groups of 256 KiB")]
pub struct DiffArgs {
    /// The snapshot's name
    pub name: String,
    /// Only what changed since this one
    #[arg(long, value_name = "NAME")]
    pub since: Option<String>,
    /// Only what changed since one that is gone was cut there, as `plinth snapshot show` said
    #[arg(long, value_name = "EPOCH.N", value_parser = parse_cut, conflicts_with = "since")]
    pub since_at: Option<(u32, u64)>,
}

fn parse_cut(text: &str) -> Result<(u32, u64), String> {
    let parsed = text.split_once('.').and_then(|(epoch, n)| Some((epoch.parse().ok()?, n.parse().ok()?)));
    parsed.ok_or_else(|| format!("\"{text}\" is no place in an order: 7.1234, for example"))
}
