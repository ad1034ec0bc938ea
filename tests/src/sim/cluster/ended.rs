//! Checker: when faults have stopped, every operation ends; and when everything is deleted, nothing is left.

use cluster::{Observed, State};

use super::machine::Machine;

/// Every operation has ended, but for those on volumes whose data is gone.
pub(super) fn check_operations(state: &State) -> Result<(), String> {
    for id in state.running_operations() {
        let operation = state.operation(id).expect("it goes on");
        let waits = state.waits_for(id);
        if !matches!(waits, Some(cluster::Waiting::Data { .. })) {
            return Err(format!("{operation:?} does not end: it waits for {waits:?}"));
        }
    }
    for (id, volume) in state.volumes(None) {
        if volume.at_home().observed != Observed::Nothing && !volume.is_settled() {
            return Err(format!("volume {id} is not what it should be: {volume:?}"));
        }
    }
    Ok(())
}

/// No replica, no snapshot, no tombstone, no grave, no orphan, no space.
pub(super) fn check_nothing_is_left<'a>(
    state: &State,
    machines: impl Iterator<Item = &'a Machine>,
) -> Result<(), String> {
    if let Some((id, tombstone)) = state.tombstones().next() {
        return Err(format!("volume {id} is deleted and its space is not free: {tombstone:?}"));
    }
    let contents = state.contents();
    if !(contents.volumes.is_empty() && contents.snapshots.is_empty() && contents.groups.is_empty()) {
        let left = (contents.volumes.keys(), contents.snapshots.keys(), contents.groups.keys());
        return Err(format!("all was deleted, and these are left: {left:?}"));
    }
    if let Some(((id, pool), grave)) = contents.graves.first_key_value() {
        return Err(format!("{id:?} is deleted and still in pool {pool}: {grave:?}"));
    }
    if let Some((id, pool)) = state.pools().find(|(_, pool)| !pool.orphans.is_empty()) {
        return Err(format!("pool {id} holds what nobody knows: {:?}", pool.orphans));
    }
    for machine in machines {
        let left: Vec<_> = machine.held().keys().collect();
        let live_bytes = machine.node().map_or(0, |node| node.store().space().live_bytes);
        if !left.is_empty() || live_bytes > 0 {
            return Err(format!("pool {} holds {left:?} and {live_bytes} bytes after all was deleted", machine.pool));
        }
    }
    Ok(())
}
