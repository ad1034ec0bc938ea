//! What a primary keeps, and one that is about to be: the members, their leases, what is in flight.

use std::collections::{BTreeMap, VecDeque};

use block::{BlockRange, Epoch, Incarnation, Instant, PoolId, WriteSeq};

use crate::configuration::Configuration;
use crate::event::{Effect, OpId, ReadId, Times};
use crate::hand_over::HandOver;
use crate::log::Log;
use crate::message::Message;
use crate::replica::{Context, Replica, Role};
use crate::stall::{Pauses, Stall};
use crate::teach::Pupil;

/// A primary, or one that is about to be.
#[derive(Debug)]
pub(crate) struct Leading<P> {
    pub me: PoolId,
    pub configuration: Configuration,
    pub log: Log<P>,
    pub stage: Stage,
    /// Every other member, and one that is entering.
    pub members: BTreeMap<PoolId, Member>,
    /// A change of the configuration that may be decided at any time.
    pub pending: Option<Pending>,
    /// A learner that takes part: it may be a member without this replica knowing it.
    pub entering: Option<PoolId>,
    pub pupils: BTreeMap<PoolId, Pupil<P>>,
    pub last_read: ReadId,
    /// Groups that may be read for learners now.
    pub lessons: u32,
    /// Whether its own store keeps up.
    pub stall: Stall,
    pub pauses: Pauses,
    pub flight: Flight,
    /// Who is to be primary instead, as was asked for.
    pub successor: Option<PoolId>,
    pub hand_over: HandOver,
    /// It does not serve earlier, unless the primary before it goes by its epoch: until then that one may answer reads.
    pub not_before: Instant,
    pub predecessor: Option<PoolId>,
    /// What was announced as stable last.
    pub stable: WriteSeq,
    /// When the last heartbeat was sent.
    pub beaten: Option<Instant>,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// All members were lost. What may differ between the replicas is being marked.
    Restamping,
    /// The members' logs are being brought together.
    Reconciling { fetching: bool, pushed: bool },
    /// It serves.
    Active,
}

/// Another member, as the primary sees it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub incarnation: Incarnation,
    pub session: Session,
    /// When the last heartbeat was sent that it answered.
    pub lease_from: Option<Instant>,
    /// The same, or since when it is waited for.
    pub heard: Instant,
    /// What had arrived there when it said so in this epoch; for reconciling.
    pub position: Option<u64>,
    pub applied: u64,
    pub durable: u64,
    /// Its pool is nearly full.
    pub tight: bool,
    pub stall: Stall,
}

/// Whether changes can be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Session {
    /// There is no connection, since then.
    Broken(Instant),
    /// It was asked how far it is, then.
    Asked(Instant),
    /// It gets every change.
    Open,
}

/// A change of the configuration on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pending {
    pub wish: Wish,
    pub retry_at: Instant,
}

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Members that do not answer go, and those that are not wanted.
    Remove,
    /// The learner that has entered becomes a member.
    Add(PoolId),
    /// Another member becomes primary.
    HandOver,
    /// That the changes asked for before cannot be decided any more.
    Nothing,
}

/// Clients' requests that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    /// They end when they are applied everywhere.
    pub plain: VecDeque<(u64, OpId)>,
    /// They end when they are on stable media everywhere. Some are nobody's: what the replica itself wants.
    pub durable: VecDeque<(WriteSeq, Option<OpId>)>,
    /// What is being changed.
    pub ranges: VecDeque<(u64, BlockRange)>,
}

impl Flight {
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.durable.is_empty()
    }
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Restamping => "recovering",
            Self::Reconciling { .. } => "reconciling",
            Self::Active => "primary",
        }
    }
}

impl Member {
    pub fn new(incarnation: Incarnation, session: Session, now: Instant) -> Self {
        let (applied, durable, tight, stall) = (0, 0, false, Stall::default());
        Self { incarnation, session, lease_from: None, heard: now, position: None, applied, durable, tight, stall }
    }

    /// It answered what was sent then.
    pub fn answered(&mut self, sent: Instant) {
        self.lease_from = self.lease_from.max(Some(sent));
        self.heard = self.heard.max(sent);
    }

    fn is_leased(&self, now: Instant, times: &Times) -> bool {
        self.lease_from.is_some_and(|from| now < from + times.lease)
    }

    /// Whether it is to be removed.
    pub fn is_lost(&self, now: Instant, times: &Times) -> bool {
        let broken = matches!(self.session, Session::Broken(since) if now >= since + times.reconnect);
        broken || now >= self.heard + times.removal
    }

    /// When it will be.
    pub fn lost_at(&self, times: &Times) -> Instant {
        let silent = self.heard + times.removal;
        match self.session {
            Session::Broken(since) => silent.min(since + times.reconnect),
            Session::Asked(_) | Session::Open => silent,
        }
    }
}

impl<P: Clone> Leading<P> {
    pub fn new(me: PoolId, configuration: Configuration, log: Log<P>, stage: Stage, stable: WriteSeq) -> Self {
        Self {
            me,
            log,
            stage,
            members: BTreeMap::new(),
            pending: None,
            entering: None,
            pupils: BTreeMap::new(),
            // One that leads again later begins behind every number it used before.
            last_read: ReadId(u64::from(configuration.epoch.0) << 32),
            lessons: 0,
            stall: Stall::default(),
            pauses: Pauses::new(),
            flight: Flight::default(),
            successor: None,
            hand_over: HandOver::No,
            not_before: Instant::default(),
            predecessor: None,
            stable,
            beaten: None,
            configuration,
        }
    }

    /// It leads no more: what has not ended here may end anywhere, or not at all.
    pub fn depose(&self, cx: &mut Context<'_, P>) {
        self.pupils.keys().for_each(|peer| cx.out.push(Effect::Disconnect { peer: *peer }));
        let plain = self.flight.plain.iter().map(|(_, op)| *op);
        let ops = plain.chain(self.flight.durable.iter().filter_map(|(_, op)| *op)).collect();
        cx.out.push(Effect::Deposed { ops });
    }

    /// Whether every replica that may be a member under whatever configuration is in force has promised not to seek
    /// primacy at this moment.
    pub fn is_leased(&self, now: Instant, times: &Times) -> bool {
        self.members.values().all(|member| member.is_leased(now, times))
    }

    /// Goes by this configuration: its members are asked how far they are.
    pub fn go_by(&mut self, configuration: Configuration, now: Instant) {
        self.pending = None;
        self.entering = None;
        self.hand_over = HandOver::No;
        self.successor = self.successor.filter(|to| configuration.members.contains_key(to));
        let others: BTreeMap<PoolId, Incarnation> =
            configuration.others(self.me).map(|member| (member, configuration.members[&member])).collect();
        self.members.retain(|member, _| others.contains_key(member));
        for (peer, incarnation) in others {
            let member =
                self.members.entry(peer).or_insert_with(|| Member::new(incarnation, Session::Broken(now), now));
            member.position = None;
        }
        self.configuration = configuration;
    }

    /// Asks a member how far it is.
    pub fn greet(&mut self, peer: PoolId, cx: &mut Context<'_, P>) {
        if let Some(member) = self.members.get_mut(&peer)
            && self.configuration.members.contains_key(&peer)
        {
            member.session = Session::Asked(cx.now);
            let configuration = self.configuration.clone();
            let message = Message::NewEpoch { configuration, sent: cx.now };
            cx.out.push(Effect::Send { to: peer, message });
        }
    }

    pub fn greet_all(&mut self, links: &std::collections::BTreeSet<PoolId>, cx: &mut Context<'_, P>) {
        let peers: Vec<PoolId> = self.members.keys().copied().filter(|peer| links.contains(peer)).collect();
        peers.into_iter().for_each(|peer| self.greet(peer, cx));
    }

    /// The connection is gone, and with it what a learner was to learn.
    pub fn broken(&mut self, peer: PoolId, now: Instant) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.session = Session::Broken(now);
        }
        self.pupils.remove(&peer);
    }

    /// Sends to everyone who may be a member.
    pub fn send_all(&self, cx: &mut Context<'_, P>, message: &Message<P>) {
        for (peer, member) in &self.members {
            if member.session == Session::Open {
                cx.out.push(Effect::Send { to: *peer, message: message.clone() });
            }
        }
    }
}

impl<P: Clone> Replica<P> {
    /// The configuration changed, and this replica is still primary, or still about to be.
    pub(crate) fn lead_on(&mut self, configuration: Configuration, cx: &mut Context<'_, P>) {
        self.see(configuration.epoch, cx);
        let Role::Leading(leading) = &mut self.role else { return };
        leading.go_by(configuration, cx.now);
        let members = &leading.configuration.members;
        leading.pupils.retain(|peer, _| {
            if !members.contains_key(peer) {
                cx.out.push(Effect::Disconnect { peer: *peer });
            }
            false
        });
        if matches!(leading.stage, Stage::Reconciling { .. }) {
            leading.stage = Stage::Reconciling { fetching: false, pushed: false };
        }
        leading.greet_all(&self.links, cx);
        self.advance(cx);
    }

    /// Whether a message of this epoch is for this replica as primary, and from a member as it is meant.
    pub(crate) fn hears(&self, from: PoolId, incarnation: Incarnation, epoch: Epoch) -> bool {
        matches!(&self.role, Role::Leading(leading) if leading.configuration.epoch == epoch
            && leading.members.get(&from).is_some_and(|member| member.incarnation == incarnation))
    }

    pub(crate) fn heartbeat_ack(&mut self, from: PoolId, incarnation: Incarnation, epoch: Epoch, sent: Instant) {
        if self.hears(from, incarnation, epoch)
            && let Role::Leading(leading) = &mut self.role
            && let Some(member) = leading.members.get_mut(&from)
        {
            member.answered(sent);
        }
    }

    pub(crate) fn ack(
        &mut self,
        from: PoolId,
        incarnation: Incarnation,
        applied: u64,
        durable: u64,
        cx: &mut Context<'_, P>,
    ) {
        let Role::Leading(leading) = &mut self.role else { return };
        let Some(member) = leading.members.get_mut(&from) else { return };
        // Only what this incarnation says: another one may have lost what the member had.
        if member.incarnation != incarnation {
            return;
        }
        member.applied = member.applied.max(applied);
        member.durable = member.durable.max(durable);
        self.advance(cx);
    }

    /// A member says whether its pool is nearly full.
    pub(crate) fn note_room(&mut self, from: PoolId, incarnation: Incarnation, tight: bool) {
        if let Role::Leading(leading) = &mut self.role
            && let Some(member) = leading.members.get_mut(&from).filter(|member| member.incarnation == incarnation)
        {
            member.tight = tight;
        }
    }

    /// A member says how far it is.
    pub(crate) fn epoch_ack(
        &mut self,
        from: PoolId,
        received: u64,
        (applied, durable): (u64, u64),
        sent: Instant,
        cx: &mut Context<'_, P>,
    ) {
        let Role::Leading(leading) = &mut self.role else { return };
        let Some(member) = leading.members.get_mut(&from) else { return };
        member.answered(sent);
        member.position = Some(received);
        // It answers no reads any more.
        leading.predecessor.take_if(|predecessor| *predecessor == from);
        member.applied = member.applied.max(applied);
        member.durable = member.durable.max(durable);
        if leading.stage == Stage::Active {
            leading.open(from, received, cx);
        }
        self.advance(cx);
    }

    /// What has ended by now?
    pub(crate) fn advance(&mut self, cx: &mut Context<'_, P>) {
        let Role::Leading(leading) = &mut self.role else { return };
        match leading.stage {
            Stage::Restamping => {}
            Stage::Reconciling { .. } => leading.reconcile(cx),
            Stage::Active => {}
        }
        if leading.stage == Stage::Active {
            leading.commit(cx);
            let stable = leading.stable;
            self.announce(stable, cx);
        }
    }
}
