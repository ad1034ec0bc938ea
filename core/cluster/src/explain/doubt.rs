//! What an operator has to decide after most voters were lost.

use block::VolumeId;

use super::{Problem, Severity};
use crate::name::Name;
use crate::recovered::Doubt;
use crate::state::State;
use crate::volume::Volume;

impl State {
    /// Nothing is decided, because nodes are only listened to.
    pub(super) fn listening_problem(&self) -> Option<Problem> {
        let unheard: Vec<&str> = self.unheard_nodes().into_iter().map(Name::as_str).collect();
        let next = match unheard.as_slice() {
            [] => String::from("all nodes are heard: plinth cluster resume"),
            nodes => format!(
                "not heard yet: {}. Start them, then plinth cluster resume; --without names those that are gone for good",
                nodes.join(",")
            ),
        };
        self.is_listening().then(|| Problem {
            severity: Severity::Critical,
            subject: String::from("cluster"),
            sentence: format!(
                "it was recovered from one voter. Clients go on, and nothing else is done before nodes have told what the lost voters may have decided; {next}"
            ),
        })
    }

    /// Why nothing is decided about a volume, and what to do.
    pub(super) fn doubt_problem(&self, id: VolumeId, volume: &Volume) -> Option<Problem> {
        let name = &volume.name;
        let sentence = match self.doubt(id, volume)? {
            Doubt::Newer { pool, epoch } => format!(
                "Nothing is decided about volume {name}: its replica on {} goes by configuration {}, and these voters know of {} only, so voters that are lost decided after that. To go on from that replica, and have clients attach the volume again: plinth volume promote {name} --replica {} --yes-lose-data {name}",
                self.place_in_words(pool),
                epoch.0,
                volume.epoch().0,
                self.node_name(pool),
            ),
            Doubt::Stray(pool) => format!(
                "Nothing is decided about volume {name}: pool {pool} of node {} has a copy that these voters know nothing of, and that may be newer. If it is not wanted, drain and stop that node, keep its disk, and plinth pool remove {pool}",
                self.node_name(pool),
            ),
            Doubt::Unheard => format!(
                "Nothing is decided about volume {name}: nodes were given up that may have had something newer. To go on from a replica that is left, whatever it lacks: plinth volume promote {name} --replica NODE --yes-lose-data {name}"
            ),
        };
        Some(Problem { severity: Severity::Critical, subject: format!("volume {name}"), sentence })
    }

    /// A pool that was given up and is there again.
    pub(super) fn given_up_problems(&self) -> impl Iterator<Item = Problem> {
        let all = self.contents.recovered.iter().flat_map(|recovered| &recovered.given_up);
        all.filter_map(|(id, back)| {
            let node = back.as_ref()?;
            Some(Problem {
                severity: Severity::Warning,
                subject: format!("pool {id}"),
                sentence: format!(
                    "it was given up when the cluster was resumed, and node {node} has it again: nothing in it is used, and nothing of it is deleted. It may hold what was written last and is nowhere else. plinth pool remove {id} forgets it; then format it anew to use the disk"
                ),
            })
        })
    }
}
