//! Questions to nodes that are answered on their streams. Nothing of them is kept in the log: who asked waits, or asks
//! again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster::Name;
use proto::link::{Compare, Compared, Differ, Differed, ToNode, to_node};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tonic::Status;

/// Questions at a time, of all nodes.
const QUESTIONS_MAX: usize = 64;
/// How long a node may take: a little longer than it waits for others itself.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The same when blocks are read.
const READ_MAX: Duration = Duration::from_secs(70);

type Outbound = mpsc::Sender<Result<ToNode, Status>>;

/// See the module.
#[derive(Default)]
pub(crate) struct Questions(Mutex<Open>);

#[derive(Default)]
struct Open {
    last: u64,
    /// Streams of the nodes that can be asked.
    nodes: BTreeMap<Name, Asking>,
    /// Who was asked, and where the answer goes.
    waiting: BTreeMap<u64, (Name, oneshot::Sender<Answer>)>,
}

/// A node that can be asked.
#[derive(Clone)]
struct Asking {
    outbound: Outbound,
    /// Also about snapshots.
    differs: bool,
}

/// What a node says.
pub(super) enum Answer {
    Compared(Compared),
    Differed(Differed),
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// It has no stream, or is of an earlier version.
    #[error("node {0} is not heard, or is of a version that cannot be asked")]
    NotHeard(Name),
    /// It did not answer.
    #[error("node {0} did not answer in time")]
    Silent(Name),
    /// As many questions as there may be.
    #[error("{QUESTIONS_MAX} questions are open already; wait until some have ended")]
    TooMany,
    /// It said why not.
    #[error("{0}")]
    Refused(String),
}

/// A question that is open as long as this is there.
struct Asked<'a> {
    questions: &'a Questions,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.open().waiting.remove(&self.id);
    }
}

impl Questions {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The node can be asked from now on.
    pub(super) fn begin(&self, node: &Name, outbound: Outbound, differs: bool) {
        self.open().nodes.insert(node.clone(), Asking { outbound, differs });
    }

    /// The stream has ended.
    pub(super) fn ended(&self, node: &Name, outbound: &Outbound) {
        let mut open = self.open();
        if open.nodes.get(node).is_some_and(|newest| newest.outbound.same_channel(outbound)) {
            open.nodes.remove(node);
            open.waiting.retain(|_, (asked, _)| asked != node);
        }
    }

    /// A node answers.
    pub(super) fn answered(&self, node: &Name, answer: Answer) {
        let id = match &answer {
            Answer::Compared(compared) => compared.id,
            Answer::Differed(differed) => differed.id,
        };
        let mut open = self.open();
        if open.waiting.get(&id).is_some_and(|(asked, _)| asked == node)
            && let Some((_, asker)) = open.waiting.remove(&id)
        {
            // Who asked may have given up.
            drop(asker.send(answer));
        }
    }

    /// Has a node compare replicas.
    pub async fn compare(&self, node: &Name, compare: Compare) -> Result<Compared, AskError> {
        let answer_max = if compare.reads { READ_MAX } else { ANSWER_MAX };
        let question = |id| to_node::Message::Compare(Compare { id, ..compare });
        match self.ask(node, answer_max, question).await? {
            Answer::Compared(compared) if compared.refused.is_empty() => Ok(compared),
            Answer::Compared(compared) => Err(AskError::Refused(compared.refused)),
            Answer::Differed(_) => Err(AskError::Refused(String::from("it answered another question"))),
        }
    }

    /// Has a node tell in what a snapshot differs.
    pub async fn differ(&self, node: &Name, differ: Differ) -> Result<Differed, AskError> {
        let question = |id| to_node::Message::Differ(Differ { id, ..differ });
        match self.ask(node, ANSWER_MAX, question).await? {
            Answer::Differed(differed) if differed.refused.is_empty() => Ok(differed),
            Answer::Differed(differed) => Err(AskError::Refused(differed.refused)),
            Answer::Compared(_) => Err(AskError::Refused(String::from("it answered another question"))),
        }
    }

    /// Asks a node, and waits for its answer. Whoever does not wait any more has not asked.
    async fn ask(
        &self,
        node: &Name,
        answer_max: Duration,
        question: impl Fn(u64) -> to_node::Message,
    ) -> Result<Answer, AskError> {
        let is_new = matches!(question(0), to_node::Message::Differ(_));
        let (answer, answered) = oneshot::channel();
        let (id, outbound) = {
            let mut open = self.open();
            let can = |asking: &&Asking| asking.differs || !is_new;
            let asking = open.nodes.get(node).filter(can).ok_or_else(|| AskError::NotHeard(node.clone()))?;
            let outbound = asking.outbound.clone();
            if open.waiting.len() >= QUESTIONS_MAX {
                return Err(AskError::TooMany);
            }
            open.last += 1;
            let id = open.last;
            open.waiting.insert(id, (node.clone(), answer));
            (id, outbound)
        };
        let _asked = Asked { questions: self, id };
        let exchange = async {
            let message = ToNode { message: Some(question(id)) };
            outbound.send(Ok(message)).await.map_err(|_| AskError::NotHeard(node.clone()))?;
            answered.await.map_err(|_| AskError::NotHeard(node.clone()))
        };
        timeout(answer_max, exchange).await.map_err(|_| AskError::Silent(node.clone()))?
    }
}
