//! Whoever asks the control plane for things: it asks again when no answer comes, and twice when it is impatient.

use block::VolumeId;
use cluster::{AccessMode, Answer, Change, Command, Labels, Name, OperationKind, RequestId, Source, Time, VolumeSpec};

use super::client::Permit;
use super::voters::{Fate, Ticket, VOTERS, Voters};
use crate::random::Random;

struct Request {
    id: RequestId,
    change: Change,
    /// The token's digits, for an attachment.
    token: String,
    tickets: Vec<Ticket>,
}

/// Everybody who asks for things.
pub(super) struct Operator {
    takes_snapshots: bool,
    requests: Vec<Request>,
    last_request: u128,
    pub permits: Vec<Permit>,
    now: u64,
}

pub(super) const REQUESTS_MAX: usize = 6;
/// Names that there are; few, so that what is wanted is often there already, or in the way.
const VOLUMES: u64 = 4;
const SNAPSHOTS: u64 = 4;
const GROUPS: u64 = 2;
const MIB: u64 = 1 << 20;

pub(super) fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

impl Operator {
    pub fn new(takes_snapshots: bool) -> Self {
        Self { requests: Vec::new(), last_request: 0, permits: Vec::new(), now: 0, takes_snapshots }
    }

    /// A command at a time that voters' clocks do not agree on.
    pub fn command(&mut self, request: Option<RequestId>, change: Change, random: &mut Random) -> Command {
        self.now += random.below(5);
        Command { at: Time(self.now.saturating_sub(random.below(100))), request, change }
    }

    /// Time goes on also while nobody says anything.
    pub fn time_passes(&mut self, ms: u64) {
        self.now += ms;
    }

    pub fn now(&self) -> Time {
        Time(self.now)
    }

    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }

    /// Wants something.
    pub fn wish(&mut self, random: &mut Random) {
        let volume = any("v", VOLUMES, random);
        let client = any("c", 3, random);
        let change = match random.below(if self.takes_snapshots { 26 } else { 16 }) {
            0..4 => {
                let size_bytes = (1 + random.below(2)) * MIB;
                Change::CreateVolume { name: volume, size_bytes, spec: VolumeSpec::default(), source: None }
            }
            4 => Change::DeleteVolume { volume, force: random.one_in(2) },
            5 => Change::ResizeVolume { volume, size_bytes: (1 + random.below(4)) * MIB },
            6..12 => {
                let mode = if random.one_in(4) { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
                return self.attach(volume, client, mode, random);
            }
            12..16 => Change::Detach { volume, client: random.one_in(2).then_some(client) },
            _ => wish_of_snapshots(volume, random),
        };
        self.ask(change, String::new());
    }

    /// Wants a volume for a client.
    pub fn attach(&mut self, volume: Name, client: Name, mode: AccessMode, random: &mut Random) {
        let token = format!("{:016x}{:016x}", random.number(), random.number());
        let hash = node::TokenHash::of_text(&token).expect("32 digits");
        self.ask(
            Change::Attach { volume, client, mode, token: cluster::TokenHash(hash.0), claim: cluster::Claim::Take },
            token,
        );
    }

    /// Wants this, if it does not want too much already.
    pub fn ask(&mut self, change: Change, token: String) {
        if self.requests.len() < REQUESTS_MAX {
            self.last_request += 1;
            let id = RequestId(self.last_request);
            self.requests.push(Request { id, change, token, tickets: Vec::new() });
        }
    }

    /// Asks a voter that believes to lead, and takes answers.
    pub fn work(&mut self, voters: &mut Voters, random: &mut Random) {
        for mut request in std::mem::take(&mut self.requests) {
            if let Some(answer) = answered(&request.tickets, voters) {
                if let Ok(answer) = answer {
                    self.permits.extend(permit(&request, &answer, voters));
                }
                continue;
            }
            request.tickets.retain(|ticket| voters.fate(*ticket) == Fate::Waits);
            let leaders: Vec<usize> = (0..VOTERS).filter(|&voter| voters.leads(voter).is_some()).collect();
            if !leaders.is_empty() && (request.tickets.is_empty() || random.one_in(40)) {
                let command = self.command(Some(request.id), request.change.clone(), random);
                request.tickets.push(voters.propose(random.pick(&leaders), command));
            }
            self.requests.push(request);
        }
    }
}

fn any(kind: &str, of: u64, random: &mut Random) -> Name {
    name(&format!("{kind}{}", random.below(of)))
}

fn wish_of_snapshots(volume: Name, random: &mut Random) -> Change {
    let snapshot = any("s", SNAPSHOTS, random);
    match random.below(10) {
        0..3 => Change::CreateSnapshot { name: snapshot, volume, labels: Labels::new() },
        3 => Change::DeleteSnapshot { snapshot },
        4..6 => clone(volume, Source::Snapshot(snapshot)),
        6 => clone(volume, Source::Volume(any("v", VOLUMES, random))),
        7..9 => {
            let mut volumes = vec![volume, any("v", VOLUMES, random), any("v", VOLUMES, random)];
            volumes.sort();
            volumes.dedup();
            Change::CreateGroup { name: any("g", GROUPS, random), volumes, labels: Labels::new() }
        }
        _ => Change::DeleteGroup { group: any("g", GROUPS, random) },
    }
}

/// A volume that begins as another one, as large as that.
pub(super) fn clone(name: Name, source: Source) -> Change {
    Change::CreateVolume { name, size_bytes: 0, spec: VolumeSpec::default(), source: Some(source) }
}

fn answered(tickets: &[Ticket], voters: &Voters) -> Option<Result<Answer, cluster::Refusal>> {
    tickets.iter().find_map(|ticket| match voters.fate(*ticket) {
        Fate::Answered(answer) => Some(answer),
        Fate::Waits | Fate::Unknown => None,
    })
}

/// What an attachment lets its client do.
fn permit(request: &Request, answer: &Answer, voters: &Voters) -> Option<Permit> {
    let (Change::Attach { volume, mode, .. }, Answer::Attached { generation, operation }) = (&request.change, answer)
    else {
        return None;
    };
    let id = volume_of(voters, *operation)?;
    let export = format!("{volume}@{}", request.token);
    Some(Permit { volume: id, export, generation: generation.0, writes: *mode == AccessMode::ReadWrite })
}

fn volume_of(voters: &Voters, operation: cluster::OperationId) -> Option<VolumeId> {
    match voters.decided().operation(operation)?.kind {
        OperationKind::Attach(volume, _) => Some(volume),
        OperationKind::Create(_)
        | OperationKind::Resize(..)
        | OperationKind::Delete(_)
        | OperationKind::Snapshot(..)
        | OperationKind::DeleteSnapshot(..)
        | OperationKind::Retire(..)
        | OperationKind::Group(..)
        | OperationKind::DeleteGroup(..) => None,
    }
}
