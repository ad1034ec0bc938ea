//! A leader of the control plane that believes what it hears and says what it is told to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

use proto::link::node_link_server::{NodeLink, NodeLinkServer};
use proto::link::{FromNode, Hello, Hold, Intent, Report, SnapshotReport, ToNode, Welcome, from_node, to_node};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use crate::PATIENCE;

/// The cluster that most leaders here lead.
pub const CLUSTER: [u8; 16] = [0xc1; 16];

/// Serves until it is dropped; then its connections break, as after a kill.
pub struct Leader {
    address: SocketAddr,
    streams: Receiver<Stream>,
    /// Dropped without waiting.
    runtime: Option<Runtime>,
}

/// What a leader does with a node that comes.
#[derive(Clone)]
pub enum Manner {
    /// Welcomes it to a cluster.
    Welcome(Vec<u8>),
    /// Says who leads.
    Redirect(String),
}

/// One stream of one node, from the leader's end.
pub struct Stream {
    pub hello: Hello,
    known: RefCell<Known>,
    heard: Receiver<Heard>,
    say: UnboundedSender<Result<ToNode, Status>>,
}

/// What the reports of a stream come to.
#[derive(Clone, Default, Debug)]
pub struct Known {
    pub heard: u64,
    /// Size and generation of each.
    pub replicas: BTreeMap<u64, (u64, u64)>,
    /// Snapshots of each, and its hold.
    pub snapshots: BTreeMap<u64, Vec<SnapshotReport>>,
    pub holds: BTreeMap<u64, Hold>,
    pub reports: u64,
}

/// What came of a node.
#[derive(Debug)]
pub enum Heard {
    Report(Report),
    /// It ended the stream in good order.
    Goodbye,
    Broken,
}

struct Service {
    manner: Manner,
    streams: Sender<Stream>,
}

impl Leader {
    /// Welcomes nodes to [`CLUSTER`].
    pub fn new() -> Self {
        Self::with(Manner::Welcome(CLUSTER.to_vec()))
    }

    pub fn with(manner: Manner) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), manner)
    }

    pub fn at(address: SocketAddr, manner: Manner) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (sender, streams) = channel();
        let _guard = runtime.enter();
        let incoming = TcpIncoming::bind(address).unwrap();
        let address = incoming.local_addr().unwrap();
        let service = NodeLinkServer::new(Service { manner, streams: sender });
        runtime.spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        Self { address, streams, runtime: Some(runtime) }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The next stream of a node.
    pub fn stream(&self) -> Stream {
        self.streams.recv_timeout(PATIENCE).expect("a node comes")
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Stream {
    /// The next report.
    pub fn report(&self) -> Report {
        match self.heard.recv_timeout(PATIENCE).expect("the node says something") {
            Heard::Report(report) => {
                self.known.borrow_mut().learn(&report);
                report
            }
            other => panic!("a report was expected, and came {other:?}"),
        }
    }

    /// Takes reports until what is known is enough.
    pub fn until(&self, enough: impl Fn(&Known) -> bool) -> Known {
        while !enough(&self.known.borrow()) {
            self.report();
        }
        self.known.borrow().clone()
    }

    /// Waits until the node goes by this intent and holds so many replicas.
    pub fn until_holding(&self, heard: u64, replicas: usize) {
        self.until(|known| known.heard >= heard && known.replicas.len() == replicas);
    }

    /// How the stream ends; reports before that are passed over.
    pub fn end(&self) -> Heard {
        loop {
            match self.heard.recv_timeout(PATIENCE).expect("the node says something") {
                Heard::Report(_) => {}
                end => return end,
            }
        }
    }

    /// Whether the stream ends without a report.
    pub fn hears_nothing(&self) -> bool {
        !matches!(self.heard.recv_timeout(PATIENCE).expect("the node says something"), Heard::Report(_))
    }

    pub fn intend(&self, intent: Intent) {
        self.say(ToNode { message: Some(to_node::Message::Intent(intent)) });
    }

    pub fn say(&self, message: ToNode) {
        self.say.send(Ok(message)).expect("the stream is open");
    }

    pub fn break_off(self, status: Status) {
        self.say.send(Err(status)).expect("the stream is open");
    }
}

impl Known {
    fn learn(&mut self, report: &Report) {
        (self.heard, self.reports) = (report.heard, self.reports + 1);
        for pool in &report.pools {
            assert!(!(pool.whole && self.reports > 1), "all is said once");
            self.replicas.extend(pool.replicas.iter().map(|one| (one.volume, (one.size_bytes, one.generation))));
            self.snapshots.extend(pool.replicas.iter().map(|one| (one.volume, one.snapshots.clone())));
            self.holds.extend(pool.replicas.iter().filter_map(|one| Some((one.volume, one.hold?))));
            self.replicas.retain(|volume, _| !pool.gone.contains(volume));
        }
    }
}

/// As a voter says that another one leads.
pub fn redirect(leader: &str) -> Status {
    let mut status = Status::unavailable("not the leader");
    status.metadata_mut().insert("plinth-leader", leader.parse().unwrap());
    status
}

#[tonic::async_trait]
impl NodeLink for Service {
    type ConnectStream = UnboundedReceiverStream<Result<ToNode, Status>>;

    async fn connect(&self, request: Request<Streaming<FromNode>>) -> Result<Response<Self::ConnectStream>, Status> {
        let cluster = match &self.manner {
            Manner::Redirect(leader) => return Err(redirect(leader)),
            Manner::Welcome(cluster) => cluster.clone(),
        };
        let mut from_node = request.into_inner();
        let Some(FromNode { message: Some(from_node::Message::Hello(hello)) }) = from_node.message().await? else {
            return Err(Status::invalid_argument("no hello"));
        };
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        say.send(Ok(ToNode { message: Some(to_node::Message::Welcome(Welcome { cluster, pongs: false })) })).unwrap();
        let (heard, hears) = channel();
        tokio::spawn(listen(from_node, heard));
        drop(self.streams.send(Stream { hello, known: RefCell::default(), heard: hears, say }));
        Ok(Response::new(UnboundedReceiverStream::new(said)))
    }
}

async fn listen(mut from_node: Streaming<FromNode>, heard: Sender<Heard>) {
    loop {
        let (news, is_last) = match from_node.message().await {
            Ok(Some(FromNode { message: Some(from_node::Message::Report(report)) })) => (Heard::Report(report), false),
            Ok(Some(other)) => panic!("a report was expected, and came {other:?}"),
            Ok(None) => (Heard::Goodbye, true),
            Err(_) => (Heard::Broken, true),
        };
        if heard.send(news).is_err() || is_last {
            return;
        }
    }
}
