//! What is wrong, and what a thing is doing, in words for people.

mod doubt;
mod lost;
mod replicas;
mod snapshots;

use block::{PoolId, SnapshotId, VolumeId};

use crate::group::GroupId;
use crate::name::Name;
use crate::node::{Admin, Link, Node, Pool};
use crate::operation::{OperationId, OperationKind};
use crate::refusal::access;
use crate::replica::Observed;
use crate::state::State;
use crate::volume::{Health, Volume};

/// How bad a problem is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Data cannot be reached.
    Critical,
    /// Something is degraded.
    Warning,
    /// Worth knowing.
    Notice,
}

/// Something an operator should look at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `node n1`.
    pub subject: String,
    /// What is wrong and what to do.
    pub sentence: String,
}

/// Volumes of a pool that is to be emptied of which is told what they wait for.
const DRAINING_MAX: usize = 20;
/// How full a pool may be, in percent, before it is a problem.
const ALMOST_FULL_PERCENT: u64 = 95;

impl State {
    /// What is wrong, the worst first; `most` of it at most.
    #[must_use]
    pub fn problems(&self, most: usize) -> Vec<Problem> {
        let nodes = self.nodes().filter_map(|(name, node)| self.node_problem(name, node));
        let pools = self
            .pools()
            .flat_map(|(id, pool)| pool_problems(id, pool))
            .chain(self.removed_pool_problems())
            .chain(self.given_up_problems());
        let volumes = self
            .volumes(None)
            .filter_map(|(id, volume)| self.doubt_problem(id, volume).or_else(|| self.volume_problem(volume)));
        let mut problems: Vec<Problem> =
            self.listening_problem().into_iter().chain(nodes).chain(pools).chain(volumes).collect();
        problems.sort_by_key(|problem| problem.severity);
        problems.truncate(most);
        problems
    }

    fn node_problem(&self, name: &Name, node: &Node) -> Option<Problem> {
        let volumes: usize = self.pools_of(name).map(|(id, _)| self.volumes_in(id)).sum();
        let subject = format!("node {name}");
        match (node.link, node.admin) {
            (Link::Lost { .. }, _) => Some(Problem {
                severity: if volumes > 0 { Severity::Critical } else { Severity::Warning },
                subject,
                sentence: match volumes {
                    0 => format!(
                        "it is not heard, and nothing is on it. Start it, or look at its network; if it is gone for good: plinth node remove {name}"
                    ),
                    _ => format!(
                        "it is not heard; {volumes} volumes are on it. Start it, or look at its network; if it is gone for good: plinth node drain {name} makes elsewhere what others have, too, and plinth explain node {name} says what is left; then plinth node remove {name}"
                    ),
                },
            }),
            (Link::Up { .. }, Admin::Draining) => Some(Problem {
                severity: Severity::Notice,
                subject,
                sentence: match volumes {
                    0 => format!(
                        "it is empty, and nothing new is placed on it. To take it away: stop it, then plinth node remove {name}; or plinth node undrain {name}"
                    ),
                    _ => format!(
                        "it is being emptied: {volumes} volumes are still on it. plinth explain node {name} says what they wait for; plinth node undrain {name} keeps them"
                    ),
                },
            }),
            (Link::Up { .. }, Admin::Cordoned) => Some(Problem {
                severity: Severity::Notice,
                subject,
                sentence: format!("it is cordoned: nothing new is placed on it. plinth node uncordon {name}"),
            }),
            (Link::Up { .. }, Admin::Schedulable) => None,
        }
    }

    /// A pool that was removed and is there again.
    fn removed_pool_problems(&self) -> impl Iterator<Item = Problem> {
        self.removed_pools().filter_map(|(id, pool)| {
            let (node, _) = pool.back.as_ref()?;
            Some(Problem {
                severity: Severity::Warning,
                subject: format!("pool {id}"),
                sentence: format!(
                    "it was removed, and node {node} has it again: nothing in it is used, and nothing of it is deleted. Its replicas are older than what took their place. Format it anew to use the disk, or take it out of the node"
                ),
            })
        })
    }

    /// One that is on a lost node is told with the node.
    fn volume_problem(&self, volume: &Volume) -> Option<Problem> {
        if volume.is_replicated() {
            return self.replicated_problem(volume).or_else(|| self.lost_blocks_problem(volume));
        }
        let subject = format!("volume {}", volume.name);
        let pool = self.pool(volume.home())?;
        match volume.health() {
            Health::Lost => Some(Problem {
                severity: Severity::Critical,
                subject,
                sentence: format!(
                    "node {} has opened pool {}, and the volume is not in it: its data is gone unless the pool was exchanged. Bring the old pool back, or delete the volume",
                    pool.node,
                    volume.home()
                ),
            }),
            Health::Unavailable if pool_is_missing(self, pool) => Some(Problem {
                severity: Severity::Critical,
                subject,
                sentence: format!("node {} is heard and has not opened pool {}", pool.node, volume.home()),
            }),
            Health::Unavailable | Health::Creating | Health::Changing | Health::Ready => {
                self.lost_blocks_problem(volume)
            }
            // Of several replicas only.
            Health::Degraded | Health::Blocked | Health::Recovering | Health::Failed | Health::NeedsAttach => None,
        }
    }

    /// What a volume is, what is going on with it and what it waits for.
    #[must_use]
    pub fn explain_volume(&self, name: &Name) -> Option<Vec<String>> {
        let retired = || self.retired().find(|(_, volume)| volume.name == *name);
        let (id, volume) = self.volume(name).or_else(retired)?;
        let mut sentences = match volume.is_replicated() {
            true => self.explain_replicated(volume),
            false => vec![self.explain_replica(volume, self.pool(volume.home())?)],
        };
        sentences.extend(self.doubt_problem(id, volume).map(|problem| problem.sentence));
        sentences.extend(self.explain_lost_blocks(volume));
        sentences.extend(self.explain_snapshots_of(id, volume));
        if volume.retired.is_some() {
            return Some(sentences);
        }
        if volume.attachments.held().is_empty() {
            let open = if volume.spec.open { "; clients of open networks may use it by its name" } else { "" };
            sentences.push(format!("Nobody has it attached{open}."));
        }
        for held in volume.attachments.held() {
            let mode = access(held.mode);
            sentences.push(format!("It is attached to {} {mode}, generation {}.", held.client, held.generation.0));
        }
        sentences.extend(self.index.running_of(id).filter_map(|operation| self.explain_operation(operation)));
        Some(sentences)
    }

    fn explain_replica(&self, volume: &Volume, pool: &Pool) -> String {
        let (name, id, node) = (&volume.name, volume.home(), &pool.node);
        match (volume.health(), volume.at_home().observed) {
            (Health::Ready, _) => format!("Volume {name} is ready: its replica is on node {node}, in pool {id}."),
            (Health::Changing, _) => format!("Volume {name} is there, on node {node}, and being changed."),
            (Health::Creating, Observed::Nothing) => {
                format!("Volume {name} is being made on node {node}, in pool {id}.")
            }
            (Health::Creating, _) => format!("Volume {name} was to be made on node {node}, which is not heard."),
            (Health::Unavailable, _) if pool_is_missing(self, pool) => {
                let other = match self.is_exchanged(id) {
                    true => ", and has another one: start it with the pool that it had. What was written is only there",
                    false => "",
                };
                format!("Volume {name} cannot be reached: node {node} has not opened pool {id}{other}.")
            }
            (Health::Unavailable, _) => format!("Volume {name} cannot be reached: node {node} is not heard."),
            (Health::Lost | Health::Failed, _) => {
                format!("Volume {name} is lost: pool {id} on node {node} is there without it.")
            }
            (Health::Degraded | Health::Blocked | Health::Recovering | Health::NeedsAttach, _) => {
                format!("Volume {name} is on node {node}, and should have other replicas.")
            }
        }
    }

    /// What an operation is and what it waits for.
    #[must_use]
    pub fn explain_operation(&self, id: OperationId) -> Option<String> {
        let operation = self.operation(id)?;
        let volume = self.volume_in_words(operation.kind.volume());
        let what = match operation.kind {
            OperationKind::Create(_) => format!("{volume} is made"),
            OperationKind::Resize(_, size_bytes) => format!("{volume} grows to {size_bytes} bytes"),
            OperationKind::Delete(_) => format!("the space of {volume} is freed"),
            OperationKind::Attach(_, generation) => {
                format!("attachments of {volume} up to generation {} are made known", generation.0)
            }
            OperationKind::Snapshot(_, id) => format!("{} of {volume} is cut", self.snapshot_in_words(id)),
            OperationKind::DeleteSnapshot(_, id) => {
                format!("the space of {} of {volume} is freed", self.snapshot_in_words(id))
            }
            OperationKind::Retire(..) => format!("{volume} is deleted, and its snapshots are kept"),
            OperationKind::Group(_, id) => format!("{} is taken", self.group_in_words(id)),
            OperationKind::DeleteGroup(_, id) => format!("the space of {} is freed", self.group_in_words(id)),
        };
        if let Some(why) = &operation.failed {
            return Some(format!("Operation {} has failed: {what}; {why}.", id.0));
        }
        Some(match self.waits_for(id) {
            Some(waiting) => format!("Operation {} goes on: {what}. It waits: {waiting}.", id.0),
            None => format!("Operation {} has ended: {what}.", id.0),
        })
    }

    fn volume_in_words(&self, id: VolumeId) -> String {
        self.name_of(id).map_or_else(|| format!("a deleted volume, number {id}"), |name| format!("volume {name}"))
    }

    fn snapshot_in_words(&self, id: SnapshotId) -> String {
        let name = self.contents.snapshots.get(&id).map(|snapshot| &snapshot.name);
        let name = name.or_else(|| self.graves_of(id).next().map(|(_, grave)| &grave.name));
        name.map_or_else(|| format!("snapshot number {id}"), |name| format!("snapshot {name}"))
    }

    fn group_in_words(&self, id: GroupId) -> String {
        let name = self.group_of(id).map(|group| &group.name);
        name.map_or_else(|| format!("group snapshot number {}", id.0), |name| format!("group snapshot {name}"))
    }

    /// What a node is and what is wrong with it.
    #[must_use]
    pub fn explain_node(&self, name: &Name) -> Option<Vec<String>> {
        let node = self.node(name)?;
        let heard = match node.link {
            Link::Up { .. } => "is heard",
            Link::Lost { .. } => "is not heard",
        };
        let pools: Vec<_> = self.pools_of(name).collect();
        let volumes: usize = pools.iter().map(|(id, _)| self.volumes_in(*id)).sum();
        let mut sentences =
            vec![format!("Node {name} {heard}; {} pools and {volumes} volumes are on it.", pools.len())];
        sentences.extend(self.node_problem(name, node).map(|problem| problem.sentence));
        for (id, pool) in pools {
            sentences.extend(self.explain_pool(id));
            sentences.extend(pool_problems(id, pool).map(|problem| problem.sentence));
            if node.admin == Admin::Draining {
                sentences.extend(self.explain_draining(id));
            }
        }
        Some(sentences)
    }

    /// What the volumes that are still in a pool wait for.
    fn explain_draining(&self, pool: PoolId) -> Vec<String> {
        let volumes = self.index.volumes_in(pool).into_iter();
        let volumes = volumes.filter_map(|id| self.contents.volumes.get(&id)).take(DRAINING_MAX);
        volumes
            .map(|volume| match volume.is_replicated() {
                true => self.explain_replicated(volume).join(" "),
                false => format!("Volume {} is moved when it is there, and its node is heard.", volume.name),
            })
            .collect()
    }

    /// What a pool is.
    #[must_use]
    pub fn explain_pool(&self, id: PoolId) -> Option<String> {
        if let Some(removed) = self.contents.removed_pools.get(&id) {
            return Some(match &removed.back {
                None => format!("Pool {id} of node {} was removed, and nobody came with it since.", removed.node),
                Some((node, _)) => format!(
                    "Pool {id} was removed, and node {node} has it again: nothing in it is used, and nothing of it is deleted."
                ),
            });
        }
        let pool = self.pool(id)?;
        let state = if pool.open { "is open" } else { "is not open" };
        Some(format!(
            "Pool {id} of node {} {state}: {} of {} bytes are used, {} are promised to {} volumes.",
            pool.node,
            pool.used_bytes,
            pool.capacity_bytes,
            self.promised_bytes(id),
            self.volumes_in(id)
        ))
    }
}

/// `40 s`, `12 min`, `3 h`.
fn duration(ms: u64) -> String {
    match ms.div_ceil(1000) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Whether a pool is not open although its node is heard.
fn pool_is_missing(state: &State, pool: &Pool) -> bool {
    !pool.open && state.node(&pool.node).is_some_and(Node::is_up)
}

fn pool_problems(id: PoolId, pool: &Pool) -> impl Iterator<Item = Problem> {
    let used_percent = pool.used_percent();
    let problem = move |severity, sentence| Problem { severity, subject: format!("pool {id}"), sentence };
    let node = &pool.node;
    let failed = pool.failed.then(|| {
        let sentence = format!(
            "its device on node {node} failed: it takes no more writes. Look at the device, then start the node again"
        );
        problem(Severity::Critical, sentence)
    });
    let full = (used_percent >= ALMOST_FULL_PERCENT).then(|| {
        let sentence = format!(
            "it is {used_percent} % full: delete or discard something on node {node}, or writes fail when it is full"
        );
        problem(Severity::Warning, sentence)
    });
    let orphans = (!pool.orphans.is_empty()).then(|| {
        let sentence =
            format!("{} volumes in it are not known to the cluster; they are left alone", pool.orphans.len());
        problem(Severity::Notice, sentence)
    });
    [failed, full, orphans].into_iter().flatten()
}
