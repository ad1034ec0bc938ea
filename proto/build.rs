//! Makes Rust of the .proto files, without a protoc.

use std::error::Error;

const FILES: [&str; 11] = [
    "plinth/v1/volume.proto",
    "plinth/v1/snapshot.proto",
    "plinth/v1/operation.proto",
    "plinth/v1/node.proto",
    "plinth/v1/host.proto",
    "plinth/v1/cluster.proto",
    "plinth/link/link.proto",
    "plinth/raft/raft.proto",
    "plinth/record/command.proto",
    "plinth/record/state.proto",
    "csi/csi.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=plinth");
    println!("cargo::rerun-if-changed=csi");
    let descriptors = protox::compile(FILES, ["."])?;
    // Clients get a channel, and make no connections themselves: the name `connect` is free for calls.
    tonic_prost_build::configure().btree_map(".").build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
