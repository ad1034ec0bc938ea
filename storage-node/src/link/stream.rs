//! One stream to a leader: what the node holds goes out, intents come in, neither waits for the other.

use std::time::Duration;

use block::{PoolId, VolumeId};
use node::Proposal;
use proto::link::node_link_client::NodeLinkClient;
use proto::link::{FromNode, ToNode};
use tokio::select;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{Permit, Sender, channel};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::convert::{self, ClusterId, Message};
use super::delta::Said;
use super::failure::LinkError;
use super::questions::Questions;
use super::wishes::Wishes;
use super::{Linking, Subject};
use crate::control::CallError;

/// How long connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long a leader may take to welcome the node.
const WELCOME_MAX: Duration = Duration::from_secs(3);
/// A leader that says nothing is asked so often whether it is there...
const KEEPALIVE_EVERY: Duration = Duration::from_secs(1);
/// ...and must answer within this.
const KEEPALIVE_MAX: Duration = Duration::from_secs(3);
/// Between two reports; what changes meanwhile goes into one.
const REPORT_EVERY: Duration = Duration::from_millis(20);
/// How often the machine is asked without having called: for what it does not call for, like used space.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the leader may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_millis(500);
/// Reports on their way; while there are so many nothing is observed, so that changes gather.
const REPORTS_MAX: usize = 2;
/// Largest message of a leader: an intent of as many entries as one may have.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A stream to a leader that has welcomed the node.
#[derive(Debug)]
pub(super) struct Stream {
    cluster: ClusterId,
    /// The leader can be asked whether it is there.
    pongs: bool,
    outgoing: Sender<FromNode>,
    incoming: Streaming<ToNode>,
}

/// What makes a stream go on.
#[derive(Debug)]
enum Occasion<'a> {
    /// The node stops.
    Stop,
    /// The leader said something.
    Told(ToNode),
    /// A volume's primary asks for another configuration.
    Wished(VolumeId, Proposal),
    /// There may be something to say.
    Stirred,
    /// It may be said now, or never again.
    Turn(Result<Permit<'a, FromNode>, SendError<()>>),
    /// What a replica asks for may leave, or a question before it.
    Wish(Result<Permit<'a, FromNode>, SendError<()>>),
}

/// Where a stream stands.
#[derive(Debug)]
struct Course {
    said: Said,
    /// There may be something to say...
    stirred: bool,
    /// ...which is done from then on.
    not_before: Instant,
    /// The leader has taken the stream of reports down; why is still to be heard.
    deaf: bool,
    /// An intent that is all there is has come, which others can add to.
    heard_whole: bool,
    /// The pool was removed from the cluster, and that was told.
    removed: bool,
    questions: Questions,
    wishes: Wishes,
}

impl Stream {
    /// Connects and introduces the node. Nothing is said about what it holds before it is known who listens.
    pub async fn open(address: &str, subject: &Subject, ours: Option<ClusterId>) -> Result<Self, LinkError> {
        let silent = |_| LinkError::Silent { doing: "take a connection", seconds: CONNECT_MAX.as_secs() };
        let channel = timeout(CONNECT_MAX, connect(address)).await.map_err(silent)??;
        let welcomed = timeout(WELCOME_MAX, Self::introduce(channel, subject, ours));
        let silent = |_| LinkError::Silent { doing: "welcome the node", seconds: WELCOME_MAX.as_secs() };
        welcomed.await.map_err(silent)?
    }

    async fn introduce(channel: Channel, subject: &Subject, ours: Option<ClusterId>) -> Result<Self, LinkError> {
        let (outgoing, reports) = channel_of_reports();
        let hello = convert::hello(&subject.introduction, ours);
        outgoing.try_send(hello).expect("there is room for the first message");
        let mut client = NodeLinkClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut incoming = client.connect(reports).await?.into_inner();
        let first = incoming.message().await?.ok_or(LinkError::Ended)?;
        let unexpected = LinkError::OutOfTurn { found: "an intent", expected: "a welcome" };
        let (cluster, pongs) = convert::parse_first(first)?.ok_or(unexpected)?;
        match ours {
            Some(ours) if ours != cluster => Err(LinkError::Foreign { ours: ours.0, theirs: cluster.0 }),
            Some(_) | None => Ok(Self { cluster, pongs, outgoing, incoming }),
        }
    }

    /// Whose leader it is.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Goes on until the stream breaks, which is an error, or the node stops.
    pub async fn run(mut self, linking: &mut Linking) -> Result<(), LinkError> {
        let control = linking.subject.control.clone();
        let mut course = Course::new();
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let occasion = select! {
                () = control.stopping() => Occasion::Stop,
                message = self.incoming.message() => Occasion::Told(message?.ok_or(LinkError::Ended)?),
                Some((volume, wanted)) = control.proposal(), if !course.deaf => Occasion::Wished(volume, wanted),
                () = control.news(), if !course.stirred => Occasion::Stirred,
                _ = look.tick() => Occasion::Stirred,
                permit = course.turn(&self.outgoing), if course.may_say() => Occasion::Turn(permit),
                permit = self.outgoing.reserve(), if course.may_wish() => Occasion::Wish(permit),
            };
            let runs = match occasion {
                Occasion::Stop => false,
                Occasion::Told(message) => course.take(message, self.cluster, &self.outgoing, linking).await?,
                Occasion::Wished(volume, wanted) => course.wish(volume, wanted, self.pongs),
                Occasion::Wish(Ok(permit)) => course.send_wish(permit),
                Occasion::Stirred => course.stir(),
                Occasion::Turn(Ok(permit)) => course.say(permit, &linking.subject).await,
                Occasion::Turn(Err(SendError(()))) | Occasion::Wish(Err(SendError(()))) => course.go_deaf(),
            };
            if !runs {
                break;
            }
        }
        self.say_goodbye().await;
        Ok(())
    }

    /// Ends the stream in good order.
    async fn say_goodbye(self) {
        let Self { outgoing, mut incoming, .. } = self;
        drop(outgoing);
        let rest = async { while let Ok(Some(_)) = incoming.message().await {} };
        // A leader that does not answer hears of it from the connection.
        drop(timeout(GOODBYE_MAX, rest).await);
    }
}

impl Course {
    fn new() -> Self {
        Self {
            said: Said::default(),
            stirred: true,
            not_before: Instant::now(),
            deaf: false,
            heard_whole: false,
            removed: false,
            questions: Questions::default(),
            wishes: Wishes::default(),
        }
    }

    /// Once for each stream: every intent says it.
    fn note_removed(&mut self, removed: bool, pool: PoolId) {
        if removed && !self.removed {
            tracing::warn!(
                %pool,
                "this node's pool was removed from the cluster: nothing in it is used, and nothing of it is deleted. To use \
                 the disk, end this node, erase the pool and start the node again"
            );
        }
        self.removed = removed;
    }

    fn may_say(&self) -> bool {
        self.stirred && !self.deaf
    }

    fn stir(&mut self) -> bool {
        self.stirred = true;
        true
    }

    fn may_wish(&self) -> bool {
        !self.deaf && (self.wishes.is_ready() || self.wishes.asks())
    }

    fn wish(&mut self, volume: VolumeId, wanted: Proposal, pongs: bool) -> bool {
        self.wishes.add(volume, wanted);
        if !pongs {
            self.wishes.trust();
        }
        true
    }

    fn send_wish(&mut self, permit: Permit<'_, FromNode>) -> bool {
        if let Some((volume, wanted)) = self.wishes.next() {
            permit.send(convert::proposal(volume, &wanted));
        } else if let Some(number) = self.wishes.question(Instant::now()) {
            permit.send(convert::ping(number));
        }
        true
    }

    fn go_deaf(&mut self) -> bool {
        self.deaf = true;
        true
    }

    /// Waits until a report may leave.
    fn turn<'a>(
        &self,
        outgoing: &'a Sender<FromNode>,
    ) -> impl Future<Output = Result<Permit<'a, FromNode>, SendError<()>>> + use<'a> {
        let not_before = self.not_before;
        async move {
            sleep_until(not_before).await;
            outgoing.reserve().await
        }
    }

    /// Says what there is to say; not if the node has stopped.
    async fn say(&mut self, permit: Permit<'_, FromNode>, subject: &Subject) -> bool {
        self.stirred = false;
        let Ok(Some(holding)) = subject.control.observe().await else { return false };
        let now = Instant::now();
        if let Some(delta) = self.said.next(now.into_std(), &holding) {
            permit.send(convert::report(holding.pool, &subject.introduction.tags, delta));
            self.not_before = now + REPORT_EVERY;
        }
        true
    }

    /// Passes on what the leader says; not if the node has stopped.
    async fn take(
        &mut self,
        message: ToNode,
        cluster: ClusterId,
        outgoing: &Sender<FromNode>,
        linking: &mut Linking,
    ) -> Result<bool, LinkError> {
        let (intent, foreign, removed) = match convert::parse(message, cluster, linking.subject.pool)? {
            Message::Intent { intent, foreign, removed } => (intent, foreign, removed),
            Message::Decision => return Ok(true),
            Message::Pong(number) => {
                self.wishes.answered(number, Instant::now());
                return Ok(true);
            }
            Message::Compare(id, command) => {
                self.questions.ask((id, command), convert::compared, &linking.subject.control, outgoing);
                return Ok(true);
            }
            Message::Differ(id, command) => {
                self.questions.ask((id, command), convert::differed, &linking.subject.control, outgoing);
                return Ok(true);
            }
            Message::Welcome => return Err(LinkError::OutOfTurn { found: "a welcome", expected: "an intent" }),
        };
        if !(intent.whole || self.heard_whole) {
            return Err(LinkError::OutOfTurn { found: "a change", expected: "an intent that is whole" });
        }
        // The node may have come back with another pool: that is said once, not with every change.
        if foreign > 0 && intent.whole {
            tracing::warn!(entries = foreign, "an intent speaks of pools that this node does not have; ignored");
        }
        self.heard_whole = true;
        self.note_removed(removed, linking.subject.pool);
        let revision = intent.revision;
        let told = linking.tell(intent).await;
        linking.counters.intended(revision);
        match told {
            Ok(()) => Ok(true),
            Err(CallError::Stopped | CallError::Refused(_)) => Ok(false),
        }
    }
}

impl Linking {
    /// Tells the machine. Clients are let in when it knows for the first time whom it may serve: before, they would be
    /// told that volumes are missing which are there.
    async fn tell(&mut self, intent: Box<node::Intent>) -> Result<(), CallError> {
        self.subject.control.intend(intent).await?;
        if !self.listening {
            self.subject.control.listen().await?;
            self.listening = true;
        }
        Ok(())
    }
}

async fn connect(address: &str) -> Result<Channel, LinkError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_EVERY)
        .keep_alive_timeout(KEEPALIVE_MAX)
        .keep_alive_while_idle(true);
    Ok(endpoint.connect().await?)
}

fn channel_of_reports() -> (Sender<FromNode>, ReceiverStream<FromNode>) {
    let (sender, receiver) = channel(REPORTS_MAX);
    (sender, ReceiverStream::new(receiver))
}
