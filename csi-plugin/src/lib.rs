//! The Container Storage Interface, by which Kubernetes asks for volumes, in terms of the cluster's API.
//!
//! Promise: the plugin has no state of its own. Every call is one or a few calls of the API, so that it can be killed at
//! any moment and started anywhere else; a call that is repeated finds what the one before it did.
//!
//! Not here: decisions. Whether a name is taken, where a volume is placed and who may write is the cluster's to say.
//!
//! Files: `plugin` from the configuration to the end; `endpoint` the socket; `cluster` the way to the API, `deadline` how
//! long a call may take, `fault` what is answered when it fails; `identity`, `controller`, `group`, `metadata` and `node` the
//! services; `system` what a node's operating system does for a volume; `host` makes this host known to the cluster.

mod capability;
mod capacity;
mod cluster;
mod controller;
mod deadline;
mod endpoint;
mod fault;
mod group;
mod host;
mod identity;
mod metadata;
mod names;
mod needed;
mod node;
mod pages;
mod parameters;
mod plugin;
pub mod system;
mod told;
mod topology;
mod view;

pub use endpoint::{Endpoint, EndpointError};
pub use node::{Attacher, DevicesConfig, NotAnAttacher};
pub use plugin::{Config, EndError, Mode, NodeConfig, Plugin, StartError};

/// What the plugin is called: the `driver` of volumes, and the `provisioner` of storage classes.
pub const PLUGIN_NAME: &str = "csi.plinth.dev";
