//! `plinth null`.

use std::process::ExitCode;

use anyhow::Result;
use storage_node::{Address, Addresses, NULL_EXPORT, StorageNode};

use crate::args::NullArgs;
use crate::serve::Signals;
use crate::{output, serve, summary};

/// Serves the null export until a signal.
pub fn run(args: &NullArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(async {
        let unix = args.unix.iter().cloned().map(Address::Unix);
        let addresses = Addresses { nbd: [Address::Tcp(args.nbd)].into_iter().chain(unix).collect(), http: args.http };
        let node = StorageNode::start_null(args.size, &addresses).await?;
        let signals = Signals::new()?;
        node.control().listen().await?;
        for address in &node.addresses().nbd {
            output::print(&format!("{}\n", summary::uri(NULL_EXPORT, address)))?;
        }
        serve::until_signal(node, signals).await
    })
}
