//! `plinth null`.

use std::process::ExitCode;

use anyhow::Result;
use storage_node::{Address, Addresses, NULL_EXPORT, StorageNode};

use crate::args::NullArgs;
use crate::output::{self, uri};
use crate::serve::{self, Running, Signals};

/// Serves the null export until a signal.
pub fn run(args: &NullArgs) -> Result<ExitCode> {
    serve::runtime()?.block_on(async {
        let unix = args.unix.iter().cloned().map(Address::Unix);
        let addresses = Addresses { nbd: [Address::Tcp(args.nbd)].into_iter().chain(unix).collect(), http: args.http };
        let node = StorageNode::start_null(args.size, &addresses).await?;
        let signals = Signals::new()?;
        node.control().listen().await?;
        for address in &node.addresses().nbd {
            output::print(&format!("{}\n", uri::volume(NULL_EXPORT, address)))?;
        }
        serve::until_signal(Running::of(node), signals).await
    })
}
