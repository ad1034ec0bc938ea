//! `plinth csi`: the plugin of Kubernetes.

use std::process::ExitCode;

use anyhow::{Context, Result};
use csi_plugin::{Config, DevicesConfig, Mode, NodeConfig, Plugin};

use super::needed;
use crate::args::{CsiArgs, CsiMode, Pair};
use crate::exit::Usage;
use crate::output;
use crate::serve::{self, Signals};

/// Serves until a signal.
pub fn run(args: &CsiArgs) -> Result<ExitCode> {
    let config = config(args)?;
    let runtime = serve::runtime()?;
    let ended = runtime.block_on(serve(config));
    // A call into the kernel that does not come back must not keep this process.
    runtime.shutdown_background();
    ended
}

async fn serve(config: Config) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let endpoint = config.endpoint.clone();
    let mut plugin = Plugin::start(config)?;
    output::print(&format!("{} is at {endpoint}\n", csi_plugin::PLUGIN_NAME))?;
    tokio::select! {
        ended = plugin.ended() => {
            ended?;
            return Ok(ExitCode::SUCCESS);
        }
        () = signals.next() => {}
    }
    tracing::info!("stopping; a signal ends it at once");
    tokio::select! {
        () = plugin.stop() => Ok(ExitCode::SUCCESS),
        () = signals.next() => std::process::exit(serve::INTERRUPTED),
    }
}

fn config(args: &CsiArgs) -> Result<Config> {
    let mode = match args.mode {
        CsiMode::Controller => Mode::Controller,
        CsiMode::Node => Mode::Node(node(args)?),
        CsiMode::All => Mode::All(node(args)?),
    };
    Ok(Config { mode, endpoint: args.endpoint.clone(), control: args.control.clone() })
}

fn node(args: &CsiArgs) -> Result<NodeConfig> {
    let node_id = needed(args.node_id.clone(), "node-id", "host7")?;
    let labels = Pair::map(&args.label).map_err(Usage).context("--label")?;
    let folder = std::path::absolute(&args.folder.folder).context("--folder")?;
    let program = std::env::current_exe().context("the path of this program")?;
    let devices = DevicesConfig { program, folder, attacher: args.attacher };
    Ok(NodeConfig { node_id, labels, devices, volumes_max: args.max_volumes })
}
