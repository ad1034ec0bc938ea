//! `plinth dev`: a whole cluster in this process, a voter and storage nodes, with the volumes that were asked for.
//!
//! Volumes are made through the API, as everybody else makes them.

mod hold;
mod plan;
mod start;
mod summary;
mod volumes;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::args::DevArgs;
use crate::output;
use crate::serve::{self, Signals};
use client::Client;
use hold::Hold;
use plan::Plan;
use start::Started;
use summary::Summary;

/// How long nodes and volumes may take to be ready; what takes longer is told.
const READY_MAX: Duration = Duration::from_secs(60);

/// Serves until a signal.
pub fn run(args: &DevArgs) -> Result<ExitCode> {
    let plan = Plan::new(args)?;
    plan.make_directories()?;
    let _hold = Hold::take(&plan.data, args.wait)?;
    serve::runtime()?.block_on(async {
        let Started { running, control } = start::start(&plan).await?;
        let mut signals = Signals::new()?;
        let mut client = Client::quiet(&[control.to_string()], READY_MAX);
        let names = plan.names();
        let set_up = tokio::select! {
            set_up = volumes::set_up(&mut client, &names, &args.volumes, args.replicas) => set_up,
            () = signals.next() => {
                serve::stop(running, signals).await?;
                return Ok(ExitCode::SUCCESS);
            }
        };
        let told = match set_up {
            Ok(found) => Summary { plan: &plan, nodes: &running.nodes, control, found: &found }.text().await,
            Err(error) => Err(error),
        };
        match told {
            Ok(text) => output::print(&text)?,
            Err(error) => {
                serve::stop(running, signals).await?;
                return Err(error);
            }
        }
        serve::until_signal(running, signals).await
    })
}
