//! What goes wrong in one run, drawn from its seed.

use std::fmt;
use std::time::Duration;

use tests::random::Random;

/// Something goes wrong, or comes right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A node is killed. It stays away until it is started.
    Kill(&'static str),
    /// All nodes are killed at one moment.
    KillAll,
    /// A node ends in good order.
    Stop(&'static str),
    /// What does not run is started.
    StartAll,
    /// A node stands still until everything comes right.
    Pause(&'static str),
    /// Nodes that stand still go on.
    Resume,
    /// Nothing of the first reaches the second.
    Cut(&'static str, &'static str),
    /// Nothing reaches it.
    Deafen(&'static str),
    /// It reaches nobody.
    Mute(&'static str),
    /// So many percent of all packets are lost.
    Lose(u8),
    /// All links work.
    Heal,
    /// The voter that leads is killed, and comes back with the next fault.
    KillLeader,
}

/// What is done, and how long the client works before.
#[derive(Clone, Debug)]
pub struct Step {
    pub after: Duration,
    pub fault: Fault,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Whoever is killed loses power, and with it what was not synced.
    pub loses_power: bool,
    pub steps: Vec<Step>,
}

const NODES: [&str; 3] = ["n1", "n2", "n3"];

impl Schedule {
    /// The schedule of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::seeded(seed);
        let loses_power = random.one_in(3);
        let steps = 2 + random.below(6);
        let steps = (0..steps).map(|_| Step {
            after: Duration::from_millis(random.pick(&[20, 150, 400, 700, 1200, 1800])),
            fault: fault(&mut random),
        });
        Self { loses_power, steps: steps.collect() }
    }
}

fn fault(random: &mut Random) -> Fault {
    let (one, other) = (random.index(3), 1 + random.index(2));
    let (node, other) = (NODES[one], NODES[(one + other) % 3]);
    match random.below(24) {
        0..4 => Fault::Kill(node),
        4 => Fault::KillAll,
        5 => Fault::Stop(node),
        6..10 => Fault::StartAll,
        10..12 => Fault::Pause(node),
        12..14 => Fault::Resume,
        14..16 => Fault::Cut(node, other),
        16 => Fault::Deafen(node),
        17 => Fault::Mute(node),
        18 => Fault::Lose(random.pick(&[2, 5, 20])),
        19..22 => Fault::Heal,
        22 => Fault::KillLeader,
        _ => Fault::Kill(node),
    }
}

impl Fault {
    /// Its kind, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kill(_) => "node killed",
            Self::KillAll => "all nodes killed",
            Self::Stop(_) => "node stopped",
            Self::StartAll => "nodes started",
            Self::Pause(_) => "node stood still",
            Self::Resume => "nodes went on",
            Self::Cut(_, _) => "one direction of a link cut",
            Self::Deafen(_) => "node hears nobody",
            Self::Mute(_) => "nobody hears a node",
            Self::Lose(_) => "packets lost",
            Self::Heal => "links healed",
            Self::KillLeader => "leader of the voters killed",
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|step| format!("{:?} {:?}", step.after, step.fault));
        f.write_str(if self.loses_power { "losing power, " } else { "" })?;
        f.write_str(&steps.collect::<Vec<_>>().join(", "))
    }
}
