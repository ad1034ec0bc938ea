//! Three nodes, three voters, each in a network namespace of its own; a volume with three replicas, and a client at work.

use std::thread;
use std::time::Duration;

use tests::checked::{CheckedClient, Habits, Load};
use tests::cluster::{Cluster, VolumeView};
use tests::namespaces;
use tests::pools;
use tests::random::seed;
use tests::skip::skip;

/// The volume.
pub const VOLUME: &str = "db";
/// Who has it.
const CLIENT: &str = "host1";
/// Its size: more groups than are copied at once.
const SIZE: &str = "16MiB";
/// How long a volume may take to be whole again when nothing is wrong any more.
pub const WHOLE_PATIENCE: Duration = Duration::from_secs(90);
/// How long everything may take to be read.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);

/// All of it.
pub struct Scene {
    pub cluster: Cluster,
    pub seed: u64,
    load: Option<Load>,
    client: Option<CheckedClient>,
}

impl Scene {
    /// Starts it; none where that cannot be, which is said.
    pub fn start(test: &str) -> Option<Self> {
        Self::start_with(test, Habits::default(), |_| {})
    }

    /// The same with another client, and something done to the cluster before the volume is made.
    pub fn start_with(test: &str, habits: Habits, prepare: impl FnOnce(&mut Cluster)) -> Option<Self> {
        if let Some(why) = namespaces::why_no_faults() {
            skip(test, &why);
            return None;
        }
        let seed = seed();
        println!("PLINTH_SEED={seed}");
        let mut cluster = Cluster::small_in_namespaces();
        cluster.enter_as_client();
        prepare(&mut cluster);
        cluster.create_replicated(VOLUME, SIZE);
        let client = CheckedClient::new(cluster.shell().attach(VOLUME, CLIENT), habits, seed);
        Some(Self { cluster, seed, load: None, client: Some(client) })
    }

    /// The client at work.
    pub fn load(&mut self) -> &mut Load {
        let client = &mut self.client;
        self.load.get_or_insert_with(|| Load::start(client.take().expect("it rests or works")))
    }

    /// The client at rest.
    pub fn client(&mut self) -> &mut CheckedClient {
        if let Some(load) = self.load.take() {
            self.client = Some(load.stop());
        }
        self.client.as_mut().expect("it rests")
    }

    /// Lets the client work until so many requests were answered, and answers the longest time without an answer since
    /// [`Load::mark`].
    pub fn resume(&mut self, limit: Duration) -> Duration {
        let load = self.load();
        load.await_answers(100, limit);
        load.longest()
    }

    /// Waits until all replicas are in sync, and reads everything.
    pub fn settle(&mut self) -> VolumeView {
        let view = self.cluster.whole(VOLUME, WHOLE_PATIENCE);
        self.check();
        view
    }

    /// Everything is there.
    pub fn check(&mut self) {
        let seed = self.seed;
        let checked = self.client().check_all(CHECK_PATIENCE);
        checked.unwrap_or_else(|broken| panic!("PLINTH_SEED={seed}: {broken}"));
    }

    /// Every replica is read while it is used, and all are equal.
    pub fn verify(&self) -> u64 {
        let verified = self.cluster.verify(VOLUME, WHOLE_PATIENCE);
        verified.unwrap_or_else(|difference| panic!("PLINTH_SEED={}: {difference}", self.seed))
    }

    /// Everything is on every disk: see [`pools::compare`]. All nodes are stopped for it, and started again.
    pub fn compare(&mut self) -> usize {
        self.client().hang_up();
        let view = self.look().expect("the cluster answers");
        self.cluster.node_names().iter().for_each(|node| self.cluster.stop_node(node));
        let paths: Vec<_> = view.nodes.iter().map(|node| self.cluster.pool_path(node)).collect();
        let seed = self.seed;
        let blocks = pools::compare(&paths, view.id);
        let blocks = blocks.unwrap_or_else(|difference| panic!("PLINTH_SEED={seed}: {difference}"));
        self.cluster.start_nodes();
        blocks
    }

    /// How the volume is.
    pub fn look(&self) -> Option<VolumeView> {
        self.cluster.shell().look(VOLUME)
    }

    /// The primary's node, and that of a backup.
    pub fn pair(&self) -> (String, String) {
        let view = self.cluster.whole(VOLUME, WHOLE_PATIENCE);
        let backup = view.backup().expect("it is whole").clone();
        (view.primary.expect("it is whole"), backup)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("{}", self.cluster.last_words());
        }
    }
}
