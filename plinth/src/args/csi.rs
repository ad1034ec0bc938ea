//! Options of `plinth csi`.

use clap::ValueEnum;
use csi_plugin::{Attacher, Endpoint};

use super::host::FolderArgs;
use super::value::{self, Pair};

/// Options of `plinth csi`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  plinth csi --mode controller --control c1:10700,c2:10700,c3:10700
  plinth csi --mode node --control c1:10700,c2:10700,c3:10700 --node-id host7 --label zone=a
  plinth csi --mode all --endpoint unix:///tmp/csi.sock --control 127.0.0.1:10700 --node-id me
See docs/csi.md; deploy/ has what Kubernetes needs around it.")]
pub struct CsiArgs {
    /// Which services it has
    #[arg(long, value_enum, env = "PLINTH_CSI_MODE")]
    pub mode: CsiMode,
    /// The unix socket on which it is reached; one that nobody listens on any more is replaced
    #[arg(long, value_name = "unix:///PATH", env = "PLINTH_CSI_ENDPOINT", default_value = "unix:///csi/csi.sock")]
    pub endpoint: Endpoint,
    /// Addresses of the cluster's voters; tried in turn, any of them answers
    #[arg(
        long,
        value_name = "ADDR,..",
        env = "PLINTH_CONTROL",
        default_value = "127.0.0.1:10700",
        value_delimiter = ',',
        value_parser = value::endpoint
    )]
    pub control: Vec<String>,
    /// What this host is called, in Kubernetes and as the client that volumes are attached to
    #[arg(long, value_name = "NAME", env = "PLINTH_NODE_ID", required_if_eq_any = [("mode", "node"), ("mode", "all")])]
    pub node_id: Option<String>,
    /// Where this host is, for volumes that are to be near: zone=a, region=r, rack=7
    #[arg(long, value_name = "KEY=VALUE", env = "PLINTH_NODE_LABELS", value_delimiter = ',')]
    pub label: Vec<Pair>,
    /// How volumes become devices of this host, unless their StorageClass says so: auto, nbd, iscsi or fuse
    #[arg(long, env = "PLINTH_CSI_ATTACHER", default_value_t = Attacher::Auto)]
    pub attacher: Attacher,
    /// How many volumes this host takes; 0 leaves that to Kubernetes
    #[arg(long, value_name = "N", env = "PLINTH_CSI_MAX_VOLUMES", default_value_t = 0)]
    pub max_volumes: u32,
    /// Where this host keeps what is attached.
    #[command(flatten)]
    pub folder: FolderArgs,
}

/// Which services it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum CsiMode {
    /// What is done once for the whole cluster
    Controller,
    /// What is done on each host that uses volumes
    Node,
    /// Both
    All,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::Args;

    #[test]
    fn a_host_has_a_name_and_an_endpoint_is_a_unix_socket() {
        let rows = [
            ("plinth csi --mode controller", true),
            (
                "plinth csi --mode node --endpoint unix:///c.sock --control a:1,b:2 --node-id h --label zone=a,rack=1",
                true,
            ),
            ("plinth csi --mode all --node-id h", true),
            ("plinth csi --mode node --node-id h --attacher fuse --max-volumes 7 --folder /x", true),
            ("plinth csi --mode node --node-id h --attacher magic", false),
            ("plinth csi", false),
            ("plinth csi --mode node", false),
            ("plinth csi --mode controller --endpoint tcp://a:1", false),
        ];
        for (line, understood) in rows {
            assert_eq!(Args::try_parse_from(line.split_whitespace()).is_ok(), understood, "{line}");
        }
    }
}
