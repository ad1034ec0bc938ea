//! Which replica of a volume is primary, by an operator's word.

use block::PoolId;
use cluster::{Change, Fate, Name, State, Volume};
use proto::v1;
use tonic::Status;

use super::fault::{invalid, not_found, refused};
use super::volumes::shown;
use super::{Desk, parse};

impl Desk {
    pub(super) async fn hand_over_volume(
        &self,
        request: v1::HandOverVolumeRequest,
    ) -> Result<v1::HandOverVolumeReply, Status> {
        let v1::HandOverVolumeRequest { request_id, name, node } = request;
        let name = parse::name("name", &name)?;
        let node = parse::optional_name("node", &node)?;
        let pool = self.look(|state| successor(state, &name, node.as_ref())).await??;
        self.propose(Change::HandOver { volume: name.clone(), pool }, parse::request_id(&request_id)?).await?;
        self.consensus.read(|state| {
            let node = state.pool(pool).map(|pool| pool.node.to_string()).unwrap_or_default();
            Ok(v1::HandOverVolumeReply { volume: Some(shown(state, &name)?), node })
        })
    }

    pub(super) async fn promote_replica(&self, request: v1::PromoteVolumeRequest) -> Result<v1::Volume, Status> {
        let v1::PromoteVolumeRequest { request_id, name, node, lose_data_of } = request;
        let (name, node) = (parse::name("name", &name)?, parse::name("node", &node)?);
        if lose_data_of != name.as_str() {
            let found = lose_data_of.escape_default();
            let sentence = format!(
                "\"{found}\"; what the other replicas of volume \"{name}\" had and this one lacks is lost for good: say \"{name}\" if that is meant"
            );
            return Err(invalid("lose_data_of", sentence));
        }
        let pool = self.look(|state| replica_on(state, &name, &node)).await??;
        self.propose(Change::ForcePromote { volume: name.clone(), pool }, parse::request_id(&request_id)?).await?;
        self.consensus.read(|state| shown(state, &name))
    }
}

fn named<'a>(state: &'a State, name: &Name) -> Result<&'a Volume, Status> {
    let missing = || not_found("no-such-volume", format!("there is no volume \"{name}\""));
    state.volume(name).map(|(_, volume)| volume).ok_or_else(missing)
}

/// Where the volume's replica on that node is.
fn replica_on(state: &State, name: &Name, node: &Name) -> Result<PoolId, Status> {
    let volume = named(state, name)?;
    let is_there = |pool: &PoolId| state.pool(*pool).is_some_and(|pool| pool.node == *node);
    let others: Vec<&str> = volume.replicas.keys().filter_map(|pool| Some(state.pool(*pool)?.node.as_str())).collect();
    volume.replicas.keys().copied().find(is_there).ok_or_else(|| {
        let sentence =
            format!("volume \"{name}\" has no replica on node \"{node}\"; it has some on {}", others.join(", "));
        not_found("no-such-replica", sentence)
    })
}

/// Who is to be primary: the replica of that node, or any other than now that is in sync and stays where it is.
fn successor(state: &State, name: &Name, node: Option<&Name>) -> Result<PoolId, Status> {
    if let Some(node) = node {
        return replica_on(state, name, node);
    }
    let volume = named(state, name)?;
    let others = volume.in_sync().filter(|pool| *pool != volume.home());
    others.min_by_key(|pool| volume.replicas[pool].fate != Fate::Stays).ok_or_else(|| {
        let sentence = format!(
            "volume \"{name}\" has no other replica that is in sync: ask for one with plinth volume modify {name} --replicas 2, or wait for one; plinth explain volume {name} tells how they are"
        );
        refused("no-other-in-sync", sentence)
    })
}
