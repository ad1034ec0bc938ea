//! What goes wrong while a group is taken, drawn from a seed.

use std::fmt;
use std::thread;
use std::time::Duration;

use tests::cluster::{Cluster, Role};
use tests::random::Random;

/// How long the volumes may take to be whole again.
const WHOLE_MAX: Duration = Duration::from_secs(120);
/// A group is asked for, and this long afterwards something goes wrong: all its phases lie in that.
const DELAY_MAX_MS: u64 = 120;
/// For how long a node stands still: less than a primary holds, and more than a group lasts with all attempts.
const PAUSE_MS: [u64; 7] = [5, 30, 100, 200, 400, 900, 2500];

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    Nothing,
    KillPrimary { node: String, delay: Duration },
    KillOther { node: String, delay: Duration },
    KillLeader { voter: u64, delay: Duration },
    PausePrimary { node: String, delay: Duration, pause: Duration },
    PauseOther { node: String, delay: Duration, pause: Duration },
}

impl Fault {
    /// In a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::KillPrimary { .. } => "primary killed",
            Self::KillOther { .. } => "backup killed",
            Self::KillLeader { .. } => "leader killed",
            Self::PausePrimary { .. } => "primary paused",
            Self::PauseOther { .. } => "backup paused",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => write!(out, "nothing"),
            Self::KillPrimary { node, delay } | Self::KillOther { node, delay } => {
                write!(out, "{}: {node} after {delay:?}", self.kind())
            }
            Self::KillLeader { voter, delay } => write!(out, "{}: {voter} after {delay:?}", self.kind()),
            Self::PausePrimary { node, delay, pause } | Self::PauseOther { node, delay, pause } => {
                write!(out, "{}: {node} after {delay:?} for {pause:?}", self.kind())
            }
        }
    }
}

/// The cluster, and what goes wrong with it.
pub struct Faults {
    pub cluster: Cluster,
    random: Random,
    volumes: [&'static str; 2],
    voter_away: Option<u64>,
}

impl Faults {
    pub fn new(cluster: Cluster, random: Random, volumes: [&'static str; 2]) -> Self {
        Self { cluster, random, volumes, voter_away: None }
    }

    /// What goes wrong next.
    pub fn draw(&mut self) -> Fault {
        let drawn = self.random.below(100);
        let delay = Duration::from_millis(self.random.below(DELAY_MAX_MS));
        let pause = Duration::from_millis(self.random.pick(&PAUSE_MS));
        let which = self.random.index(2);
        if drawn < 35 {
            return Fault::Nothing;
        }
        let primaries = self.apart();
        let primary = primaries[which].clone();
        let nodes = self.cluster.node_names();
        let other = nodes.into_iter().find(|node| !primaries.contains(node)).expect("three nodes, two primaries");
        match drawn {
            0..47 => Fault::KillPrimary { node: primary, delay },
            47..52 => Fault::KillOther { node: other, delay },
            52..62 => Fault::KillLeader { voter: self.cluster.leader(), delay },
            62..88 => Fault::PausePrimary { node: primary, delay, pause },
            _ => Fault::PauseOther { node: other, delay, pause },
        }
    }

    /// Lets it go wrong.
    pub fn make(&mut self, fault: &Fault) {
        match fault {
            Fault::Nothing => {}
            Fault::KillPrimary { node, delay } | Fault::KillOther { node, delay } => {
                thread::sleep(*delay);
                self.cluster.kill_node(node);
            }
            Fault::KillLeader { voter, delay } => {
                thread::sleep(*delay);
                self.cluster.kill_voter(*voter);
                self.voter_away = Some(*voter);
            }
            Fault::PausePrimary { node, delay, pause } | Fault::PauseOther { node, delay, pause } => {
                thread::sleep(*delay);
                self.cluster.pause_node(node);
                thread::sleep(*pause);
                self.cluster.resume_node(node);
            }
        }
    }

    /// What is away comes back; the next group may be asked for before it is.
    pub fn mend(&mut self) {
        self.cluster.start_nodes();
        if let Some(voter) = self.voter_away.take() {
            self.cluster.start_voter(voter, Role::Joiner);
        }
    }

    /// Everything works, and nothing goes on.
    pub fn come_right(&mut self) {
        self.mend();
        for volume in self.volumes {
            self.cluster.whole(volume, WHOLE_MAX);
        }
        self.cluster.settle();
    }

    /// Both volumes are whole and have different primaries: these.
    fn apart(&mut self) -> [String; 2] {
        let shell = self.cluster.shell();
        loop {
            let views = self.volumes.map(|volume| self.cluster.whole(volume, WHOLE_MAX));
            let primaries = views.each_ref().map(|view| view.primary.clone().expect("it is whole"));
            if primaries[0] != primaries[1] {
                return primaries;
            }
            let to = views[1].backup().expect("it is whole").clone();
            // Another leader or another primary may come in between: then it is looked at again.
            let _ended = shell.plinth(&["volume", "hand-over", self.volumes[1], "--to", &to, "--timeout", "20"]);
        }
    }
}
