//! One voter with a runtime of its own, so that it can be killed at any moment.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Answer, Change, State};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;

use super::PATIENCE;
use crate::raft::{Consensus, Leadership, MembershipError, ProposeError, Start, StartError, VoterConfig, VoterStatus};

/// How long what is under way in a killed voter may take to notice.
const KILL_MAX: Duration = Duration::from_secs(10);

/// A voter, running or not.
pub(super) struct Voter {
    pub id: u64,
    folder: TempDir,
    address: SocketAddr,
    /// Entries between two snapshots.
    snapshot_entries: u64,
    /// Whom it asks before it founds a cluster.
    pub others: Vec<String>,
    running: Option<Running>,
}

struct Running {
    consensus: Arc<Consensus>,
    runtime: Runtime,
}

impl Voter {
    /// The first voter of a new cluster.
    pub fn found(id: u64) -> Self {
        Self::new(id, Start::Bootstrap, 5000)
    }

    /// One that waits to be added.
    pub fn join(id: u64) -> Self {
        Self::new(id, Start::Join, 5000)
    }

    pub fn new(id: u64, start: Start, snapshot_entries: u64) -> Self {
        let mut voter = Self::idle(id);
        voter.snapshot_entries = snapshot_entries;
        voter.start(start).unwrap();
        voter
    }

    /// One that has not been started yet.
    pub fn idle(id: u64) -> Self {
        let (folder, address) = (tempfile::tempdir().unwrap(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        Self { id, folder, address, snapshot_entries: 5000, others: Vec::new(), running: None }
    }

    /// It is to be started at another address.
    pub fn move_away(&mut self) {
        self.address.set_port(0);
    }

    /// Starts it, at the address it had before if it had one.
    pub fn start(&mut self, start: Start) -> Result<(), StartError> {
        assert!(self.running.is_none());
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(listen(self.address));
        self.address = listener.local_addr().unwrap();
        let config =
            VoterConfig { id: self.id, data: self.data(), address: self.address(), start, others: self.others.clone() };
        let consensus = runtime.block_on(Consensus::start_with(config, self.snapshot_entries))?;
        let consensus = Arc::new(consensus);
        let server = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(consensus.service())
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        self.running = Some(Running { consensus, runtime });
        Ok(())
    }

    /// Ends it at once: nothing that it still wanted to do is done.
    pub fn kill(&mut self) {
        let Running { consensus, runtime } = self.running.take().unwrap();
        runtime.shutdown_timeout(KILL_MAX);
        drop(consensus);
    }

    /// Ends it in good order.
    pub fn stop(&mut self) {
        let Running { consensus, runtime } = self.running.take().unwrap();
        runtime.block_on(consensus.stop());
        drop(consensus);
        runtime.shutdown_timeout(KILL_MAX);
    }

    /// Its disk is gone.
    pub fn wipe(&mut self) {
        assert!(self.running.is_none());
        std::fs::remove_dir_all(self.data()).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("voter")
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub fn consensus(&self) -> &Consensus {
        &self.running().consensus
    }

    /// None if it does not run.
    pub fn leadership(&self) -> Option<Leadership> {
        self.running.as_ref().map(|running| running.consensus.leadership())
    }

    pub fn propose(&self, change: Change) -> Result<Answer, ProposeError> {
        self.running().runtime.block_on(self.consensus().propose(change, None))
    }

    pub fn linearize(&self) -> Result<(), ProposeError> {
        self.running().runtime.block_on(self.consensus().linearize())
    }

    pub fn add(&self, id: u64, address: String) -> Result<(), MembershipError> {
        self.running().runtime.block_on(self.consensus().add_voter(id, address))
    }

    pub fn remove(&self, id: u64) -> Result<(), MembershipError> {
        self.running().runtime.block_on(self.consensus().remove_voter(id))
    }

    pub fn voters(&self) -> Vec<VoterStatus> {
        self.consensus().voters()
    }

    pub fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        self.consensus().read(look)
    }
}

impl Drop for Voter {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}

/// The address of a voter that was just killed may take a moment to be free.
async fn listen(address: SocketAddr) -> TcpListener {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
