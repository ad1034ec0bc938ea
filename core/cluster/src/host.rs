//! Hosts that use volumes, as they told of themselves. A host need not be a storage node, and nothing that must be safe
//! depends on this: who may use a volume is said by its attachments. It is known here so that a volume is not attached to a
//! host that nobody ever saw.

use crate::command::Time;
use crate::node::Labels;

/// Hosts that are remembered. The one that was not seen for the longest time makes room for another.
pub const HOSTS_MAX: usize = 10_000;

/// A host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Where it is: `zone`, `region`, `rack`.
    pub labels: Labels,
    /// When it told of itself last.
    pub seen: Time,
}
