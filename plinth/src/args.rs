//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::size;

/// Plinth: replicated block storage.
#[derive(Debug, Parser)]
#[command(name = "plinth", version, arg_required_else_help = true, propagate_version = true)]
pub struct Args {
    /// Log more: -v what happens, -vv everything. The environment variable PLINTH_LOG overrides it
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve volumes from a file or a disk on this machine, with no setup
    Dev(DevArgs),
    /// Look at a pool that nobody serves
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Serve an export that forgets everything, to measure the server itself
    #[command(hide = true)]
    Null(NullArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth dev                                   a 1GiB volume `demo` in ./data
  plinth dev --volume vol1:20GiB --volume vol2:5GiB
  plinth dev --pool /dev/nvme1n1 --volume db:100GiB
Volumes and their data survive a restart. Sizes: 512MiB, 10GiB, 2TiB, or 512M, 10G, 2T; GB and TB are decimal. A volume is made of whole blocks of 4KiB.")]
pub struct DevArgs {
    /// Directory for the pool and the unix socket; made when it is missing
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// A volume that is to exist: made when it is missing, grown when it is smaller [default: demo:1GiB in an empty pool]
    #[arg(long = "volume", value_name = "NAME:SIZE")]
    pub volumes: Vec<VolumeArg>,
    /// The pool: a file, made when it is missing, or a block device [default: DIR/pool, 10GiB or what the disk has]
    #[arg(long, value_name = "PATH[:SIZE]")]
    pub pool: Option<PoolArg>,
    /// Address for NBD clients
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10809", value_parser = parse_address)]
    pub nbd: SocketAddr,
    /// Unix socket for NBD clients [default: DIR/nbd.sock]
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9220", value_parser = parse_address)]
    pub http: SocketAddr,
    /// How long to wait for a pool that another process has not let go of yet
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    pub wait: Duration,
}

#[derive(Debug, Subcommand)]
pub enum PoolCommand {
    /// Show what a pool holds: geometry, checkpoint, segments, volumes and their space
    Inspect {
        /// The pool's file or block device
        path: PathBuf,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
    /// Verify every block of a pool; exits with 1 when damage is found
    Check {
        /// The pool's file or block device
        path: PathBuf,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(Debug, clap::Args)]
pub struct NullArgs {
    /// Size of the export
    #[arg(long, value_name = "SIZE", default_value = "64GiB", value_parser = size::parse)]
    pub size: u64,
    /// Address for NBD clients
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10809", value_parser = parse_address)]
    pub nbd: SocketAddr,
    /// Unix socket for NBD clients
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address for metrics and health
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub http: Option<SocketAddr>,
}

/// Volumes are made of whole blocks; other sizes are rounded up.
const BLOCK_BYTES: u64 = 4096;

/// `NAME:SIZE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeArg {
    pub name: String,
    pub size_bytes: u64,
}

/// `PATH` or `PATH:SIZE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolArg {
    pub path: PathBuf,
    pub size_bytes: Option<u64>,
}

impl FromStr for VolumeArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, size)) = text.rsplit_once(':') else {
            return Err("a volume is NAME:SIZE, such as vol1:10GiB".to_owned());
        };
        if name.is_empty() {
            return Err("the name before the colon is missing: NAME:SIZE, such as vol1:10GiB".to_owned());
        }
        let size_bytes = size::parse(size)?;
        let whole_blocks = size_bytes.checked_next_multiple_of(BLOCK_BYTES).unwrap_or(size_bytes);
        Ok(Self { name: name.to_owned(), size_bytes: whole_blocks })
    }
}

impl FromStr for PoolArg {
    type Err = String;

    /// What follows the last colon is a size if it looks like one or follows nothing; otherwise the colon belongs to
    /// the path.
    fn from_str(text: &str) -> Result<Self, String> {
        let whole = || Ok(Self { path: text.into(), size_bytes: None });
        match text.rsplit_once(':') {
            _ if text.is_empty() => Err("the path is missing: PATH[:SIZE], such as data/pool:10GiB".to_owned()),
            None => whole(),
            Some(("", _)) => Err("the path before the colon is missing: PATH[:SIZE]".to_owned()),
            Some((_, tail)) if !tail.starts_with(|c: char| c.is_ascii_digit()) || tail.contains('/') => whole(),
            Some((path, tail)) => match size::parse(tail) {
                Ok(size_bytes) => Ok(Self { path: path.into(), size_bytes: Some(size_bytes) }),
                // Names such as /dev/disk/by-path/pci-0000:00:04.0 have colons of their own.
                Err(_) if PathBuf::from(text).exists() => whole(),
                Err(error) => Err(error),
            },
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let example = "write HOST:PORT, such as 127.0.0.1:10809; port 0 takes a free one";
    match text.to_socket_addrs() {
        Ok(mut found) => found.next().ok_or_else(|| format!("the name has no address; {example}")),
        Err(error) => Err(format!("{error}; {example}")),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|_| "a whole number of seconds is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Args, PoolArg, VolumeArg};

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_volume_is_a_name_and_a_size() {
        let volume = |name: &str, size_bytes| Ok(VolumeArg { name: name.to_owned(), size_bytes });
        assert_eq!("vol1:10GiB".parse(), volume("vol1", 10 << 30));
        assert_eq!("a:b:1MiB".parse(), volume("a:b", 1 << 20));
        assert_eq!("vol1:2GB".parse(), volume("vol1", 2_000_003_072));
        for text in ["", "vol1", ":1GiB", "vol1:", "vol1:big", "vol1:0"] {
            assert!(text.parse::<VolumeArg>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_is_a_path_and_perhaps_a_size() {
        let pool = |path: &str, size_bytes| Ok(PoolArg { path: path.into(), size_bytes });
        let rows = [
            ("data/pool", pool("data/pool", None)),
            ("data/pool:10GiB", pool("data/pool", Some(10 << 30))),
            ("/dev/nvme1n1", pool("/dev/nvme1n1", None)),
            ("/dev/disk/by-id/nvme-eui:x", pool("/dev/disk/by-id/nvme-eui:x", None)),
            ("/a:1/pool", pool("/a:1/pool", None)),
            ("/a:1/pool:1GiB", pool("/a:1/pool", Some(1 << 30))),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", ":10GiB", "pool:10Zorb", "pool:0"] {
            assert!(text.parse::<PoolArg>().is_err(), "{text}");
        }
    }
}
