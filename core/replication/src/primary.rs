//! An active primary: gives every change its place, and acknowledges what every member has.

use block::{BlockRange, Instant, PoolId, SnapshotId, WriteSeq};

use crate::configuration::Configuration;
use crate::entry::{Change, Entry};
use crate::event::{Effect, OpId};
use crate::lead::{Leading, Stage};
use crate::message::Message;
use crate::replica::{Context, Replica, Role};

/// Why a request is not taken. Nothing was changed; it can be made again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotServing {
    /// This replica is not primary.
    #[error("this replica is not primary")]
    NotPrimary,
    /// There are fewer members than the volume may be written with.
    #[error("too few replicas are in sync")]
    TooFew,
    /// As much is in flight as may be, or another member is about to be primary.
    #[error("too much is in flight, or another replica is about to be primary")]
    Busy,
}

impl<P: Clone> Leading<P> {
    fn push(&mut self, entry: Entry<P>, cx: &mut Context<'_, P>) {
        self.log.push(entry.clone());
        let message = Message::Prepare {
            epoch: self.configuration.epoch,
            entry: entry.clone(),
            acked: self.acked(),
            stable: self.stable,
        };
        self.send_all(cx, &message);
        self.teach_change(&entry, cx);
        cx.out.push(Effect::Apply { entry });
    }

    /// Changes up to here are applied by everyone who may be a member.
    pub fn acked(&self) -> u64 {
        self.members.values().map(|member| member.applied).fold(self.log.applied(), u64::min)
    }

    /// Changes up to here are on stable media of everyone who may be a member.
    fn stable_everywhere(&self) -> u64 {
        self.members.values().map(|member| member.durable).fold(self.log.durable(), u64::min)
    }

    /// Acknowledges what may be acknowledged.
    pub fn commit(&mut self, cx: &mut Context<'_, P>) {
        if self.configuration.members.len() < self.configuration.members_min {
            return;
        }
        let (acked, durable) = (self.acked(), self.stable_everywhere());
        let flight = &mut self.flight;
        while flight.ranges.front().is_some_and(|(n, _)| *n <= acked) {
            flight.ranges.pop_front();
        }
        while flight.plain.front().is_some_and(|(n, _)| *n <= acked)
            && let Some((_, op)) = flight.plain.pop_front()
        {
            cx.out.push(Effect::Completed { op });
        }
        while flight.durable.front().is_some_and(|(seq, _)| seq.n <= durable)
            && let Some((seq, op)) = flight.durable.pop_front()
        {
            cx.out.extend(op.map(|op| Effect::Completed { op }));
            // With the epoch in which it was given its place: one that was decided since says nothing of what came
            // before it.
            self.stable = self.stable.max(seq);
        }
        self.log.forget(acked);
    }
}

impl<P: Clone> Replica<P> {
    /// Whether [`Replica::submit`] takes a change with so many blocks of payload now.
    ///
    /// # Errors
    /// See [`NotServing`].
    pub fn may_submit(&self, payload_blocks: u32) -> Result<(), NotServing> {
        let leading = self.active().ok_or(NotServing::NotPrimary)?;
        if leading.configuration.members.len() < leading.configuration.members_min {
            return Err(NotServing::TooFew);
        }
        if leading.log.is_full(payload_blocks) || leading.hand_over.is_closed() {
            return Err(NotServing::Busy);
        }
        Ok(())
    }

    /// Whether changes that take more of the pool should be taken. Should a member whose pool is nearly full have to leave,
    /// too few might be left for the volume to be written at all: better to refuse what is new while what is in flight
    /// still fits.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let Some(leading) = self.active() else { return true };
        let Configuration { members, members_min, .. } = &leading.configuration;
        let is_tight = |pool: &PoolId| match leading.members.get(pool) {
            Some(member) => member.tight,
            None => self.tight,
        };
        members.keys().filter(|pool| !is_tight(pool)).count() >= *members_min
    }

    /// Takes a client's change. Its place in the order is decided by this call; [`Effect::Completed`] follows when every
    /// member has it, or [`Effect::Deposed`] when that will not be known here.
    ///
    /// # Errors
    /// See [`NotServing`].
    pub fn submit(
        &mut self,
        now: Instant,
        op: OpId,
        change: Change<P>,
        fua: bool,
        out: &mut Vec<Effect<P>>,
    ) -> Result<WriteSeq, NotServing> {
        self.admit(now, Some(op), change, fua, out)
    }

    /// Makes what the volume holds now a snapshot of so many blocks. It is there for good when [`Replica::vouches_for`] its
    /// place.
    ///
    /// # Errors
    /// See [`NotServing`].
    pub fn cut(
        &mut self,
        now: Instant,
        id: SnapshotId,
        blocks: u64,
        out: &mut Vec<Effect<P>>,
    ) -> Result<WriteSeq, NotServing> {
        self.admit(now, None, Change::Snapshot { id, blocks }, false, out)
    }

    /// Blocks that nobody uses any more become zeroes.
    ///
    /// # Errors
    /// See [`NotServing`].
    pub fn zero(&mut self, now: Instant, range: BlockRange, out: &mut Vec<Effect<P>>) -> Result<WriteSeq, NotServing> {
        self.admit(now, None, Change::Zero { range }, false, out)
    }

    /// Has everything up to this place made stable everywhere, unless it is, or is about to be. For what an earlier primary
    /// gave its place.
    ///
    /// # Errors
    /// See [`NotServing`].
    pub fn make_stable(&mut self, now: Instant, at: WriteSeq, out: &mut Vec<Effect<P>>) -> Result<(), NotServing> {
        let leading = self.active().ok_or(NotServing::NotPrimary)?;
        if at <= self.stable || leading.flight.durable.iter().any(|(seq, _)| *seq >= at) {
            return Ok(());
        }
        self.admit(now, None, Change::Flush, false, out).map(drop)
    }

    /// Whether a snapshot at this place that is here is there for good, as far as this replica can tell: a primary says so when
    /// it is on stable media everywhere, others speak for themselves only.
    #[must_use]
    pub fn vouches_for(&self, at: WriteSeq) -> bool {
        !matches!(self.role, Role::Leading(_)) || at <= self.stable
    }

    fn admit(
        &mut self,
        now: Instant,
        op: Option<OpId>,
        change: Change<P>,
        fua: bool,
        out: &mut Vec<Effect<P>>,
    ) -> Result<WriteSeq, NotServing> {
        self.may_submit(change.payload_blocks())?;
        let leading = self.active_mut().ok_or(NotServing::NotPrimary)?;
        let seq = WriteSeq { epoch: leading.configuration.epoch, n: leading.log.received() + 1 };
        if let Some(range) = change.range() {
            leading.flight.ranges.push_back((seq.n, range));
        }
        let entry = Entry { seq, change, fua };
        if entry.is_durable() {
            leading.flight.durable.push_back((seq, op));
        } else {
            leading.flight.plain.extend(op.map(|op| (seq.n, op)));
        }
        leading.push(entry, &mut Context { now, out });
        self.last = self.last.max(seq.n);
        Ok(seq)
    }

    /// Whether what was read is what was acknowledged last. Ask when the content is there, not before: at this moment
    /// nobody else is primary.
    #[must_use]
    pub fn may_answer_reads(&self, now: Instant) -> bool {
        self.active().is_some_and(|leading| leading.is_leased(now, &self.times))
    }

    /// The last change in flight that overlaps the range: its blocks must not be read before it is acknowledged, for it
    /// may not be there after a failover.
    #[must_use]
    pub fn change_in_flight(&self, range: BlockRange) -> Option<u64> {
        let ranges = &self.active()?.flight.ranges;
        ranges.iter().rev().find(|(_, changing)| changing.overlaps(range)).map(|(n, _)| *n)
    }

    /// Whether that change, which changes blocks, is not acknowledged yet.
    #[must_use]
    pub fn is_in_flight(&self, n: u64) -> bool {
        self.active().is_some_and(|leading| leading.flight.ranges.front().is_some_and(|(first, _)| *first <= n))
    }

    /// Whether it is primary and serves.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.active().is_some()
    }

    fn active(&self) -> Option<&Leading<P>> {
        match &self.role {
            Role::Leading(leading) if leading.stage == Stage::Active => Some(leading),
            _ => None,
        }
    }

    fn active_mut(&mut self) -> Option<&mut Leading<P>> {
        match &mut self.role {
            Role::Leading(leading) if leading.stage == Stage::Active => Some(leading),
            _ => None,
        }
    }
}
