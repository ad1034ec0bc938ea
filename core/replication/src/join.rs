//! A replica that is not in sync: asks the primary to be taught, takes copies and changes, and comes in.

use block::{Epoch, Instant, PoolId};

use crate::entry::Entry;
use crate::event::{Content, Effect};
use crate::log::Log;
use crate::message::Message;
use crate::replica::{Context, Replica, Role};
use crate::snapshot::Snapshot;

/// What the primary says when it begins to teach.
#[derive(Debug)]
pub(crate) struct Lesson {
    pub epoch: Epoch,
    pub nonce: u64,
    pub groups: u64,
    pub snapshots: Vec<Snapshot>,
}

/// Nobody teaches it.
#[derive(Debug, Default)]
pub(crate) struct Idle {
    /// When it asks, if it may.
    join_at: Instant,
}

/// Being taught.
#[derive(Debug)]
pub(crate) struct Learner<P> {
    /// The teacher's.
    pub epoch: Epoch,
    /// The primary.
    pub teacher: PoolId,
    /// What there was to copy, and what is stored of it.
    groups: u64,
    stored: u64,
    entered: Option<Entered<P>>,
}

/// It has everything and takes part, but is no member yet.
#[derive(Debug)]
struct Entered<P> {
    log: Log<P>,
    promise: Instant,
    /// All that it had when it entered is on stable media.
    settled: bool,
    told: bool,
}

impl<P: Clone> Learner<P> {
    /// Whether others may count on it.
    pub fn is_in(&self) -> bool {
        self.entered.is_some()
    }

    /// Groups that are still to be copied to it, and all there were when it began.
    pub fn progress(&self) -> Option<(u64, u64)> {
        self.entered.is_none().then(|| (self.groups.saturating_sub(self.stored), self.groups))
    }

    pub fn received(&self) -> u64 {
        self.entered.as_ref().map_or(0, |entered| entered.log.received())
    }

    pub fn log(&mut self) -> Option<&mut Log<P>> {
        self.entered.as_mut().map(|entered| &mut entered.log)
    }

    pub fn promise(&mut self) -> Option<&mut Instant> {
        self.entered.as_mut().map(|entered| &mut entered.promise)
    }

    /// What a member that came in this way goes on with.
    pub fn into_log(self) -> (Log<P>, Instant) {
        let entered = self.entered.expect("only who has entered becomes a member");
        (entered.log, entered.promise)
    }

    /// The store has more.
    pub fn note(&mut self, applied: u64, durable: u64, tight: bool, cx: &mut Context<'_, P>) {
        if let Some(entered) = &mut self.entered {
            entered.log.note(applied, durable);
            let (applied, durable) = (entered.log.applied(), entered.log.durable());
            let message = Message::Ack { epoch: self.epoch, applied, durable, tight };
            cx.out.push(Effect::Send { to: self.teacher, message });
        }
    }
}

impl<P: Clone> Replica<P> {
    /// Asks the primary, when there is one and it was not asked just now.
    pub(crate) fn join(&mut self, content: &impl Content, cx: &mut Context<'_, P>) {
        let Role::Idle(idle) = &mut self.role else { return };
        let Some(newest) = &self.newest else { return };
        let wanted = newest.primary != self.me && !newest.has(self.me, self.incarnation) && self.able;
        if !wanted || cx.now < idle.join_at || !self.links.contains(&newest.primary) {
            return;
        }
        idle.join_at = cx.now + self.times.join_retry;
        self.nonce += 1;
        let stable = newest.comparable(self.stable);
        let message = Message::Join {
            incarnation: self.incarnation,
            nonce: self.nonce,
            stable,
            dirty: content.changed_since(stable),
            snapshots: content.snapshots(),
        };
        cx.out.push(Effect::Send { to: newest.primary, message });
    }

    pub(crate) fn join_deadline(&self, idle: &Idle) -> Option<Instant> {
        let newest = self.newest.as_ref()?;
        let wanted = newest.primary != self.me && !newest.has(self.me, self.incarnation) && self.able;
        (wanted && self.links.contains(&newest.primary)).then_some(idle.join_at)
    }

    /// The primary begins to teach.
    pub(crate) fn start(&mut self, from: PoolId, lesson: &Lesson, content: &impl Content, cx: &mut Context<'_, P>) {
        let Lesson { epoch, nonce, groups, ref snapshots } = *lesson;
        if !matches!(self.role, Role::Idle(_)) {
            return;
        }
        // An answer to an older request: since then another primary may have written here, what this one does not know.
        if nonce != self.nonce || epoch < self.epoch_seen {
            return cx.out.push(Effect::Disconnect { peer: from });
        }
        self.nonce += 1;
        self.see(epoch, cx);
        // What a primary before may have cut that nobody else has, perhaps under the number of one that there is.
        let ghosts = content.snapshots().into_iter().filter(|mine| !snapshots.iter().any(|found| found.is(mine)));
        ghosts.for_each(|ghost| cx.out.push(Effect::DropSnapshot { id: ghost.id }));
        self.role = Role::Learner(Learner { epoch, teacher: from, groups, stored: 0, entered: None });
    }

    /// Whether what a teacher sends before the end is taken.
    pub(crate) fn learns_from(&self, from: PoolId, epoch: Epoch) -> bool {
        matches!(&self.role, Role::Learner(learner)
            if learner.teacher == from && learner.epoch == epoch && !learner.is_in())
    }

    /// One more group survives the process.
    pub(crate) fn group_stored(&mut self, cx: &mut Context<'_, P>) {
        if let Role::Learner(Learner { epoch, teacher, stored, entered: None, .. }) = &mut self.role {
            *stored += 1;
            cx.out.push(Effect::Send { to: *teacher, message: Message::Copied { epoch: *epoch } });
        }
    }

    /// It has everything, and takes part from now on.
    pub(crate) fn enter(&mut self, last: u64, tail: Vec<Entry<P>>, cx: &mut Context<'_, P>) {
        self.last = self.last.max(last);
        if let Role::Learner(learner) = &mut self.role {
            let log = Log::starting_after(last, tail);
            learner.entered = Some(Entered { log, promise: Instant::default(), settled: false, told: false });
            cx.out.push(Effect::Settle);
        }
    }

    /// What it had when it entered is on stable media: a member has nothing flushed in its cache only.
    pub(crate) fn settled(&mut self, cx: &mut Context<'_, P>) {
        if let Role::Learner(Learner { entered: Some(entered), .. }) = &mut self.role {
            entered.settled = true;
        }
        self.say_flushed(cx);
    }

    /// Says so, once the epoch is kept, too.
    pub(crate) fn say_flushed(&mut self, cx: &mut Context<'_, P>) {
        if let Role::Learner(learner) = &mut self.role
            && self.epoch_kept >= learner.epoch
            && let Some(entered) = &mut learner.entered
            && entered.settled
            && !entered.told
        {
            entered.told = true;
            let message = Message::Flushed { epoch: learner.epoch };
            cx.out.push(Effect::Send { to: learner.teacher, message });
        }
    }
}
