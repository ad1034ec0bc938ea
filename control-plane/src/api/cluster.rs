//! The cluster as a whole.

use std::pin::Pin;
use std::time::Duration;

use cluster::{Change, Health, OperationId, Settings, State};
use proto::v1;
use proto::v1::cluster_service_server::ClusterService;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::fault::{invalid, not_found, of_membership};
use super::{Desk, parse, view};
use crate::raft::{Leadership, VoterStatus};

/// Problems of a status.
const PROBLEMS_MAX: usize = 100;
/// Between two statuses of a watch.
const WATCH_PAUSE: Duration = Duration::from_millis(100);

#[tonic::async_trait]
impl ClusterService for Desk {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::StatusReply, Status>> + Send>>;

    async fn status(&self, _request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusReply>, Status> {
        self.whole_status().await.map(Response::new)
    }

    async fn watch(&self, _request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (statuses, receiver) = mpsc::channel(1);
        let desk = self.clone();
        tokio::spawn(async move {
            let mut revisions = desk.consensus.revisions();
            loop {
                revisions.mark_unchanged();
                let status = desk.whole_status().await;
                let failed = status.is_err();
                if statuses.send(status).await.is_err() || failed {
                    return;
                }
                sleep(WATCH_PAUSE).await;
                tokio::select! {
                    changed = revisions.changed() => if changed.is_err() { return },
                    () = statuses.closed() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        let v1::ExplainRequest { kind, name } = request.into_inner();
        let sentences = match kind.as_str() {
            "volume" => {
                let name = parse::name("name", &name)?;
                self.look(|state| state.explain_volume(&name)).await?
            }
            "snapshot" => {
                let name = parse::name("name", &name)?;
                self.look(|state| state.explain_snapshot(&name)).await?
            }
            "group" => {
                let name = parse::name("name", &name)?;
                self.look(|state| state.explain_group(&name)).await?
            }
            "node" => {
                let name = parse::name("name", &name)?;
                self.look(|state| state.explain_node(&name)).await?
            }
            "pool" => {
                let id = parse::pool("name", &name)?;
                self.look(|state| state.explain_pool(id).map(|sentence| vec![sentence])).await?
            }
            "operation" => {
                let id = name.parse().map_err(|_| invalid("name", "an operation is named by its number"))?;
                self.look(|state| state.explain_operation(OperationId(id)).map(|sentence| vec![sentence])).await?
            }
            "cluster" => Some(self.look(explain_cluster).await?),
            other => {
                let known = "volume, snapshot, group, node, pool, operation and cluster can be explained";
                return Err(invalid("kind", format!("\"{}\"; {known}", other.escape_default())));
            }
        };
        let missing = || not_found("not-found", format!("there is no {kind} \"{}\"", name.escape_default()));
        Ok(Response::new(v1::ExplainReply { sentences: sentences.ok_or_else(missing)? }))
    }

    async fn add_voter(&self, request: Request<v1::AddVoterRequest>) -> Result<Response<v1::VotersReply>, Status> {
        let v1::AddVoterRequest { id, address } = request.into_inner();
        if id == 0 {
            return Err(invalid("id", "0; a voter's id is 1 or more"));
        }
        // Who asks again after a lost answer hears that it is done.
        let is_done = |voter: &VoterStatus| voter.id == id && voter.votes && voter.address == address;
        if self.consensus.voters().iter().any(is_done) {
            return Ok(Response::new(self.voters()));
        }
        self.consensus.add_voter(id, address).await.map_err(|error| of_membership(&error))?;
        Ok(Response::new(self.voters()))
    }

    async fn remove_voter(
        &self,
        request: Request<v1::RemoveVoterRequest>,
    ) -> Result<Response<v1::VotersReply>, Status> {
        self.consensus.remove_voter(request.into_inner().id).await.map_err(|error| of_membership(&error))?;
        Ok(Response::new(self.voters()))
    }

    async fn resume(&self, request: Request<v1::ResumeRequest>) -> Result<Response<v1::ResumeReply>, Status> {
        let v1::ResumeRequest { request_id, without } = request.into_inner();
        let without = without.iter().map(|node| parse::name("without", node)).collect::<Result<_, _>>()?;
        self.propose(Change::Resume { without }, parse::request_id(&request_id)?).await?;
        let problems = self.look(|state| state.problems(PROBLEMS_MAX)).await?;
        Ok(Response::new(v1::ResumeReply { problems: problems.into_iter().map(view::problem).collect() }))
    }

    async fn set_settings(&self, request: Request<v1::SetSettingsRequest>) -> Result<Response<v1::Settings>, Status> {
        let v1::SetSettingsRequest { request_id, overcommit_percent, full_percent, replace_after_ms } =
            request.into_inner();
        let now = self.look(State::settings).await?;
        let settings = Settings {
            overcommit_percent: overcommit_percent.unwrap_or(now.overcommit_percent),
            full_percent: full_percent.unwrap_or(now.full_percent),
            replace_after_ms: replace_after_ms.unwrap_or(now.replace_after_ms),
        };
        self.propose(Change::Set(settings), parse::request_id(&request_id)?).await?;
        Ok(Response::new(view::settings(settings)))
    }
}

impl Desk {
    fn voters(&self) -> v1::VotersReply {
        v1::VotersReply { voters: self.consensus.voters().into_iter().map(view::voter).collect() }
    }

    async fn whole_status(&self) -> Result<v1::StatusReply, Status> {
        let mut status = self.look(of_state).await?;
        let id = self.consensus.id();
        (status.leader, status.term) = match self.consensus.leadership() {
            Leadership::Here { term } => (id, term),
            Leadership::There { .. } | Leadership::Nobody => (0, 0),
        };
        status.voters = self.voters().voters;
        let silent = status.voters.iter().filter(|voter| voter.votes && voter.id != id);
        let silent = silent.filter(|voter| voter.heard_ms.is_none_or(|heard_ms| heard_ms > SILENT_MS));
        let problems: Vec<v1::Problem> = silent.map(silent_voter).collect();
        status.problems.splice(0..0, problems);
        Ok(status)
    }
}

/// A voter that has not answered for so long is told of.
const SILENT_MS: u64 = 3000;

fn silent_voter(voter: &v1::Voter) -> v1::Problem {
    v1::Problem {
        severity: v1::problem::Severity::Warning.into(),
        subject: format!("voter {}", voter.id),
        sentence: format!(
            "it does not answer at {}. Start it; if its disk is gone, remove it and add a new one: plinth cluster remove-voter {}",
            voter.address, voter.id
        ),
    }
}

fn of_state(state: &State) -> v1::StatusReply {
    let volumes = || state.volumes(None).map(|(_, volume)| volume);
    let pools = || state.pools();
    v1::StatusReply {
        cluster: state.cluster().map(|cluster| cluster.to_string()).unwrap_or_default(),
        revision: state.revision().0,
        nodes: state.nodes().count() as u64,
        nodes_up: state.nodes().filter(|(_, node)| node.is_up()).count() as u64,
        volumes: state.volume_count() as u64,
        volumes_ready: volumes().filter(|volume| volume.health() == Health::Ready).count() as u64,
        attachments: volumes().map(|volume| volume.attachments.held().len() as u64).sum(),
        operations_running: state.running_operations().count() as u64,
        capacity_bytes: pools().map(|(_, pool)| pool.capacity_bytes).sum(),
        used_bytes: pools().map(|(_, pool)| pool.used_bytes).sum(),
        promised_bytes: pools().map(|(id, _)| state.promised_bytes(id)).sum(),
        tombstones: state.tombstones().count() as u64,
        snapshots: state.snapshot_count() as u64,
        volumes_retired: state.retired().count() as u64,
        snapshot_deletions: state.contents().graves.len() as u64,
        settings: Some(view::settings(state.settings())),
        problems: state.problems(PROBLEMS_MAX).into_iter().map(view::problem).collect(),
        ..v1::StatusReply::default()
    }
}

fn explain_cluster(state: &State) -> Vec<String> {
    let problems = state.problems(PROBLEMS_MAX);
    let operations = state.running_operations().filter_map(|id| state.explain_operation(id)).take(PROBLEMS_MAX);
    let first = match problems.len() {
        0 => "Nothing is wrong.".to_owned(),
        count => format!("{count} things are wrong or worth knowing."),
    };
    let problems = problems.into_iter().map(|problem| format!("{}: {}", problem.subject, problem.sentence));
    std::iter::once(first).chain(problems).chain(operations).collect()
}
