//! The way from the control thread to the data thread: a bounded queue of calls, each with its own way back.

use std::sync::Arc;

use block::VolumeId;
use node::{Answer, Command, ControlError, Intent, Proposal};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::figures::Figures;
use crate::machine::Holding;
use crate::wake::Wake;

/// Commands that may wait for an answer; the next caller waits for a place.
pub(crate) const COMMANDS_MAX: u32 = 64;
/// Calls that may wait to be taken by the data thread.
const CALLS_MAX: usize = 64;
/// Proposals that may wait for whoever takes them to the control plane. One that does not fit is made again.
const PROPOSALS_MAX: usize = 1024;

/// A call to the data thread.
#[derive(Debug)]
pub(crate) enum Call {
    /// For the machine.
    Command {
        /// What is asked.
        command: Command,
        /// Where the answer goes.
        caller: Caller,
    },
    /// A copy of all counters.
    Measure {
        /// Where it goes.
        figures: oneshot::Sender<Box<Figures>>,
    },
    /// What the control plane wants the node to be.
    Intend(Box<Intent>),
    /// What the control plane is told of the node.
    Observe {
        /// Where it goes.
        holding: oneshot::Sender<Option<Holding>>,
    },
    /// Let clients in.
    Listen,
    /// Finish what was admitted, then end.
    Stop,
}

/// Who waits for an answer. Holds a place among [`COMMANDS_MAX`] until it is answered or dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    answer: oneshot::Sender<Result<Answer, ControlError>>,
    _place: OwnedSemaphorePermit,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The machine refused.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The data thread has ended.
    #[error("the storage node has stopped")]
    Stopped,
}

/// Calls the data thread. Clones share one queue.
#[derive(Clone, Debug)]
pub struct Control {
    calls: mpsc::Sender<Call>,
    places: Arc<Semaphore>,
    wake: Arc<Wake>,
    news: Arc<Notify>,
    /// Taken by one at a time.
    proposals: Arc<Mutex<mpsc::Receiver<(VolumeId, Proposal)>>>,
    /// Whether a stop was asked for.
    stopping: Arc<watch::Sender<bool>>,
}

/// The data thread's end.
#[derive(Debug)]
pub(crate) struct Calls {
    queue: mpsc::Receiver<Call>,
    /// To call when there is something new to observe.
    pub news: Arc<Notify>,
    proposals: mpsc::Sender<(VolumeId, Proposal)>,
}

impl Control {
    pub(crate) fn new(wake: Arc<Wake>) -> (Self, Calls) {
        let (sender, receiver) = mpsc::channel(CALLS_MAX);
        let places = Arc::new(Semaphore::new(COMMANDS_MAX as usize));
        let news = Arc::new(Notify::new());
        let (proposals, proposed) = mpsc::channel(PROPOSALS_MAX);
        let calls = Calls { queue: receiver, news: Arc::clone(&news), proposals };
        let (proposals, stopping) = (Arc::new(Mutex::new(proposed)), Arc::new(watch::Sender::new(false)));
        (Self { calls: sender, places, wake, news, proposals, stopping }, calls)
    }

    /// Asks the machine to do `command`.
    ///
    /// # Errors
    /// The machine's refusal, or that the node has stopped.
    pub async fn command(&self, command: Command) -> Result<Answer, CallError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| CallError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        self.call(Call::Command { command, caller: Caller { answer, _place: place } }).await?;
        Ok(answered.await.map_err(|_| CallError::Stopped)??)
    }

    /// All counters, as of now.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn figures(&self) -> Result<Box<Figures>, CallError> {
        let (figures, measured) = oneshot::channel();
        self.call(Call::Measure { figures }).await?;
        measured.await.map_err(|_| CallError::Stopped)
    }

    /// Tells the machine what it should be. Intents take effect in the order they are told.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn intend(&self, intent: Box<Intent>) -> Result<(), CallError> {
        self.call(Call::Intend(intent)).await
    }

    /// What the machine holds.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn observe(&self) -> Result<Option<Holding>, CallError> {
        let (holding, observed) = oneshot::channel();
        self.call(Call::Observe { holding }).await?;
        observed.await.map_err(|_| CallError::Stopped)
    }

    /// Waits until there may be something new to observe; told once to one who waits.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    /// Waits for the next wish of a volume's primary for another configuration, and takes it to be carried to the control
    /// plane. What is not decided is wished for again. None when the node has stopped.
    pub async fn proposal(&self) -> Option<(VolumeId, Proposal)> {
        self.proposals.lock().await.recv().await
    }

    /// Waits until somebody has asked for a stop.
    pub(crate) async fn stopping(&self) {
        // The sender is here as long as this is.
        drop(self.stopping.subscribe().wait_for(|stopping| *stopping).await);
    }

    /// Lets clients in. Those who came before waited.
    ///
    /// # Errors
    /// The node has stopped.
    pub async fn listen(&self) -> Result<(), CallError> {
        self.call(Call::Listen).await
    }

    /// Asks for a clean stop; [`crate::StorageNode::ended`] tells when it is done. A node that has already stopped is
    /// fine.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        drop(self.call(Call::Stop).await);
    }

    async fn call(&self, call: Call) -> Result<(), CallError> {
        self.calls.send(call).await.map_err(|_| CallError::Stopped)?;
        self.wake.call();
        Ok(())
    }
}

impl Caller {
    /// Answers. The caller may have given up waiting.
    pub fn answer(self, answer: Result<Answer, ControlError>) {
        drop(self.answer.send(answer));
    }
}

impl Calls {
    /// A volume wishes for another configuration. Without room it will wish again.
    pub fn propose(&self, volume: VolumeId, proposal: Proposal) {
        drop(self.proposals.try_send((volume, proposal)));
    }

    /// The next call, if one waits.
    pub fn next(&mut self) -> Option<Call> {
        self.queue.try_recv().ok()
    }
}
