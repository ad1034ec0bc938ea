//! Blocks that were lost here, and what is done about each.
//!
//! ```text
//!   found ──> Ready ──> Asked ── it came ──> Storing ── persisted ──> repaired
//!               ^         │
//!               │         ├── another replica may have it ──> Ready
//!               └─ Due <──┴── nobody has it now; in the end ──> Lost ── much later ──> Ready
//! ```
//! Lost is what every member says it does not have. A member that says nothing may have it: it is waited for, as long as it
//! is a member, for the volume goes on without it or with it soon; and not longer than [`UNANSWERED_MAX`].
//!
//! Whoever finds one tells it here: a client's read, the first half of a partial write, a read for a learner, scrub,
//! reclaim. What needs it waits until it is repaired or lost. Everything is bounded: what is known, what is asked for at a
//! time, how often.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use block::{BlockIndex, BlockRange, Instant, PoolId, SnapshotId, VolumeId};
use store::{HeldBlock, Source, Token};

use crate::command::RotCounters;

/// Lost blocks that are known at a time. More are found again when they are read again.
pub(super) const CASES_MAX: usize = 16_384;
/// Blocks that others are asked for at a time.
const ASKED_MAX: usize = 32;
/// How often everybody is asked before a block counts as lost.
const ROUNDS_MAX: u32 = 6;
/// Before everybody is asked again; twice as long every time.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// Before everybody is asked again when a member said nothing.
const UNANSWERED_PAUSE: Duration = Duration::from_millis(250);
/// How long members that say nothing are waited for: less than clients wait for an answer.
const UNANSWERED_MAX: Duration = Duration::from_secs(20);
/// Before a block that is lost is asked for again.
const LOST_PAUSE: Duration = Duration::from_secs(600);
/// How often one request may meet a lost block.
const TRIES_MAX: u32 = 256;

/// Which block.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub volume: VolumeId,
    /// The snapshot that it was found in; `None`: the volume.
    pub of: Option<SnapshotId>,
    pub block: BlockIndex,
}

/// What a request reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub volume: VolumeId,
    pub of: Option<SnapshotId>,
    pub range: BlockRange,
}

impl Place {
    pub fn source(self) -> Source {
        self.of.map_or(Source::Volume(self.volume), Source::Snapshot)
    }
}

impl Span {
    pub fn of_volume(volume: VolumeId, range: BlockRange) -> Self {
        Self { volume, of: None, range }
    }

    fn place(self, block: BlockIndex) -> Place {
        Place { volume: self.volume, of: self.of, block }
    }

    fn covers(self, place: Place) -> bool {
        let inside = (self.range.first..self.range.end()).contains(&place.block);
        (self.volume, self.of) == (place.volume, place.of) && inside
    }
}

/// All that is known of lost blocks.
#[derive(Debug, Default)]
pub(crate) struct Rot {
    cases: BTreeMap<Place, Case>,
    /// What is to be looked at, and when.
    due: BTreeSet<(Instant, Place)>,
    ready: VecDeque<Place>,
    asked: usize,
    waiters: Vec<Waiter>,
    /// Some of them may go on.
    wakes: bool,
    /// How often requests that have not ended met lost blocks.
    tries: BTreeMap<Token, u32>,
    pub counters: RotCounters,
}

/// One block.
#[derive(Debug)]
pub(crate) struct Case {
    /// Where it was lost, and what it must be.
    pub held: HeldBlock,
    pub stage: Stage,
    round: u32,
    /// Who was asked in this round.
    pub tried: Vec<PoolId>,
    /// Who said in this round, or in the last one, that it does not have it.
    pub denied: Vec<PoolId>,
    since: Instant,
}

/// How a round of questions ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nobody else is to be asked, or nobody can be any more.
    Alone,
    /// Every member said that it does not have it.
    Denied,
    /// A member said nothing.
    Unanswered,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Ready,
    Due { at: Instant },
    Asked { peer: PoolId, until: Instant },
    Storing,
    Lost { retry_at: Instant },
}

/// Something that needs blocks which are being repaired.
#[derive(Debug)]
struct Waiter {
    token: Token,
    span: Span,
}

/// What becomes of a request that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outlook {
    /// It is made again.
    Again,
    /// It fails.
    Fails,
}

impl Stage {
    fn wakes_at(self) -> Option<Instant> {
        match self {
            Self::Due { at } | Self::Asked { until: at, .. } | Self::Lost { retry_at: at } => Some(at),
            Self::Ready | Self::Storing => None,
        }
    }

    fn is_lost(self) -> bool {
        matches!(self, Self::Lost { .. })
    }
}

impl Rot {
    /// A block was found lost. Whether that is new.
    pub fn found(&mut self, place: Place, held: HeldBlock, now: Instant) -> bool {
        if self.cases.get(&place).is_some_and(|case| case.held == held) {
            return false;
        }
        self.remove(place);
        if self.cases.len() >= CASES_MAX && !self.forget_one_lost() {
            return false;
        }
        self.counters.found += 1;
        let (tried, denied) = (Vec::new(), Vec::new());
        self.cases.insert(place, Case { held, stage: Stage::Ready, round: 0, tried, denied, since: now });
        self.ready.push_back(place);
        true
    }

    /// It came as lost from another replica, which had asked everybody.
    pub fn came_lost(&mut self, place: Place, held: HeldBlock, now: Instant) {
        if self.found(place, held, now) {
            self.round_ended(place, now, Verdict::Alone);
        }
    }

    fn forget_one_lost(&mut self) -> bool {
        let lost = self.cases.iter().find(|(_, case)| case.stage.is_lost()).map(|(place, _)| *place);
        lost.is_some_and(|place| self.remove(place).is_some())
    }

    pub fn get(&self, place: Place) -> Option<&Case> {
        self.cases.get(&place)
    }

    /// The next block to ask for, if there may be one.
    pub fn next_ready(&mut self, now: Instant) -> Option<Place> {
        while let Some((at, place)) = self.due.first().copied()
            && at <= now
        {
            self.set(place, Stage::Ready);
        }
        while self.asked < ASKED_MAX {
            let place = self.ready.pop_front()?;
            if self.cases.get(&place).is_some_and(|case| case.stage == Stage::Ready) {
                return Some(place);
            }
        }
        None
    }

    pub fn set(&mut self, place: Place, stage: Stage) {
        let Some(case) = self.cases.get_mut(&place) else { return };
        let before = std::mem::replace(&mut case.stage, stage);
        self.due.extend(stage.wakes_at().map(|at| (at, place)));
        if let Some(at) = before.wakes_at().filter(|at| Some(*at) != stage.wakes_at()) {
            self.due.remove(&(at, place));
        }
        let asks = |stage: Stage| usize::from(matches!(stage, Stage::Asked { .. } | Stage::Storing));
        self.asked = self.asked + asks(stage) - asks(before);
        if stage == Stage::Ready && before != Stage::Ready {
            self.ready.push_back(place);
        }
    }

    /// This one is asked now.
    pub fn ask(&mut self, place: Place, peer: PoolId, until: Instant) {
        if let Some(case) = self.cases.get_mut(&place) {
            if case.tried.is_empty() {
                case.denied.clear();
            }
            case.tried.push(peer);
        }
        self.set(place, Stage::Asked { peer, until });
    }

    /// Who was asked does not have it: the next one is.
    pub fn denied(&mut self, place: Place, peer: PoolId) {
        if let Some(case) = self.cases.get_mut(&place) {
            case.denied.push(peer);
        }
        self.set(place, Stage::Ready);
    }

    /// Everybody was asked: again later, or it is lost.
    pub fn round_ended(&mut self, place: Place, now: Instant, verdict: Verdict) {
        let Some(case) = self.cases.get_mut(&place) else { return };
        case.tried.clear();
        let was_lost = case.round >= ROUNDS_MAX;
        let again = match verdict {
            Verdict::Alone => None,
            Verdict::Unanswered => Some(UNANSWERED_PAUSE).filter(|_| now.since(case.since) < UNANSWERED_MAX),
            Verdict::Denied => {
                case.round += 1;
                Some(ROUND_PAUSE * (1 << case.round.min(ROUNDS_MAX))).filter(|_| case.round < ROUNDS_MAX)
            }
        };
        if let (Some(pause), false) = (again, was_lost) {
            return self.set(place, Stage::Due { at: now + pause });
        }
        // From now on one round at a time.
        case.round = ROUNDS_MAX;
        self.counters.lost += u64::from(!was_lost);
        self.set(place, Stage::Lost { retry_at: now + LOST_PAUSE });
        self.wakes |= !self.waiters.is_empty();
    }

    /// It is not lost any more, or nothing that counts.
    pub fn remove(&mut self, place: Place) -> Option<Case> {
        // Keeps the count and the times right.
        self.set(place, Stage::Ready);
        self.wakes |= !self.waiters.is_empty();
        self.cases.remove(&place)
    }

    /// Somebody else can be asked: what is lost of these volumes is asked for soon.
    pub fn hope(&mut self, volumes: &[VolumeId], at: Instant) {
        let lost = self.cases.iter().filter(|(place, case)| case.stage.is_lost() && volumes.contains(&place.volume));
        let lost: Vec<Place> = lost.map(|(place, _)| *place).collect();
        lost.into_iter().for_each(|place| self.set(place, Stage::Lost { retry_at: at }));
    }

    fn within(&self, span: Span) -> impl Iterator<Item = (&Place, &Case)> {
        self.cases.range(span.place(span.range.first)..span.place(span.range.end()))
    }

    /// Every block that is not lost yet.
    pub fn all_open(&self) -> Vec<Place> {
        self.cases.iter().filter(|(_, case)| !case.stage.is_lost()).map(|(place, _)| *place).collect()
    }

    /// Blocks of the span that are being repaired, and those that are lost.
    pub fn count(&self, span: Span) -> (u64, u64) {
        let lost = self.lost_within(span).count() as u64;
        (self.within(span).count() as u64 - lost, lost)
    }

    /// Blocks of the span that are lost.
    pub fn lost_within(&self, span: Span) -> impl Iterator<Item = (BlockIndex, HeldBlock)> {
        self.within(span).filter(|(_, case)| case.stage.is_lost()).map(|(place, case)| (place.block, case.held))
    }

    /// Somebody wants to know how it is now: what is lost is asked for once more. Whether anything is.
    pub fn look_again(&mut self, span: Span) -> bool {
        let lost: Vec<BlockIndex> = self.lost_within(span).map(|(block, _)| block).collect();
        lost.iter().for_each(|block| self.set(span.place(*block), Stage::Ready));
        !lost.is_empty()
    }

    /// Blocks of the span that are lost as far as is known, and of which not all of these said that they lack them: they are
    /// asked for once more. Whether there are any.
    pub fn doubt(&mut self, span: Span, who: &[PoolId], now: Instant) -> bool {
        let all_said_so = |case: &Case| who.iter().all(|peer| case.denied.contains(peer));
        let doubtful = self.within(span).filter(|(_, case)| case.stage.is_lost() && !all_said_so(case));
        let doubtful: Vec<Place> = doubtful.map(|(place, _)| *place).collect();
        let at = now + UNANSWERED_PAUSE;
        doubtful.iter().for_each(|place| self.set(*place, Stage::Due { at }));
        !doubtful.is_empty()
    }

    /// A request for the span failed: whether it waits here to be made again. What it met may be gone already, because
    /// its blocks were written meanwhile; then it is made again at once.
    pub fn judge(&mut self, token: Token, span: Span) -> Outlook {
        if !self.may_try(token) || self.count(span).1 > 0 {
            self.tries.remove(&token);
            return Outlook::Fails;
        }
        self.await_repairs(token, span);
        Outlook::Again
    }

    /// Whether a request that failed may be made once more; it counts.
    pub fn may_try(&mut self, token: Token) -> bool {
        let tries = self.tries.entry(token).or_default();
        *tries += 1;
        *tries <= TRIES_MAX
    }

    /// The request waits until nothing of the span is being repaired.
    pub fn await_repairs(&mut self, token: Token, span: Span) {
        self.waiters.push(Waiter { token, span });
        self.wakes |= self.count(span).0 == 0;
    }

    /// A request ended.
    pub fn ended(&mut self, token: Token) {
        if !self.tries.is_empty() {
            self.tries.remove(&token);
        }
    }

    /// Whether a request waits for it.
    pub fn is_awaited(&self, place: Place) -> bool {
        self.waiters.iter().any(|waiter| waiter.span.covers(place))
    }

    /// Requests whose blocks are all repaired or lost by now.
    pub fn take_woken(&mut self) -> Vec<Token> {
        self.wakes = false;
        let waiters = std::mem::take(&mut self.waiters);
        let (waiting, woken): (Vec<_>, Vec<_>) = waiters.into_iter().partition(|waiter| self.count(waiter.span).0 > 0);
        self.waiters = waiting;
        woken.into_iter().map(|waiter| waiter.token).collect()
    }

    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    pub fn lost_of(&self, volume: VolumeId) -> impl Iterator<Item = (Place, HeldBlock)> {
        let first = Place { volume, of: None, block: BlockIndex(0) };
        let last = Place { volume, of: Some(SnapshotId(u64::MAX)), block: BlockIndex(u64::MAX) };
        let all = self.cases.range(first..=last);
        all.filter(|(_, case)| case.stage.is_lost()).map(|(place, case)| (*place, case.held))
    }

    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let ready = (self.wakes || (!self.ready.is_empty() && self.asked < ASKED_MAX)).then_some(now);
        self.due.first().map(|(at, _)| *at).into_iter().chain(ready).min()
    }
}

#[cfg(test)]
mod tests {
    use block::{BlockIndex, BlockRange, Checksum, Instant, PoolId, PoolOffset, VolumeId};
    use store::{HeldBlock, Token};

    use super::{ASKED_MAX, CASES_MAX, Outlook, Place, ROUNDS_MAX, Rot, Span, Stage, UNANSWERED_MAX, Verdict};

    const NOW: Instant = Instant(1_000_000_000);

    fn place(block: u64) -> Place {
        Place { volume: VolumeId(1), of: None, block: BlockIndex(block) }
    }

    fn held(at: u64) -> HeldBlock {
        HeldBlock { at: PoolOffset(at), checksum: Checksum(7) }
    }

    fn with(blocks: u64) -> Rot {
        let mut rot = Rot::default();
        (0..blocks).for_each(|block| assert!(rot.found(place(block), held(block), NOW)));
        rot
    }

    #[test]
    fn a_block_that_nobody_has_is_lost_after_some_rounds_and_not_asked_for_again_at_once() {
        let mut rot = with(1);
        let mut now = NOW;
        for _ in 0..ROUNDS_MAX {
            now = rot.deadline(now).unwrap();
            assert_eq!(rot.next_ready(now), Some(place(0)));
            rot.ask(place(0), PoolId(2), Instant(now.0 + 1));
            rot.round_ended(place(0), now, Verdict::Denied);
        }
        assert_eq!((rot.counters.found, rot.counters.lost), (1, 1));
        assert_eq!(rot.next_ready(Instant(now.0 + 1_000_000_000)), None);
        assert!(!rot.found(place(0), held(0), NOW), "it is known");
        let later = rot.deadline(now).unwrap();
        assert_eq!(rot.next_ready(later), Some(place(0)));
        rot.round_ended(place(0), later, Verdict::Denied);
        assert_eq!((rot.counters.lost, rot.next_ready(later)), (1, None), "it is counted once");
    }

    #[test]
    fn no_more_blocks_are_asked_for_at_a_time_than_may_be() {
        let mut rot = with(100);
        let mut asked = 0;
        while let Some(place) = rot.next_ready(NOW) {
            rot.ask(place, PoolId(2), Instant(NOW.0 + 1));
            asked += 1;
        }
        assert_eq!((asked, rot.deadline(NOW)), (ASKED_MAX, Some(Instant(NOW.0 + 1))));
        rot.remove(place(0));
        assert!(rot.next_ready(NOW).is_some() && rot.next_ready(NOW).is_some(), "nobody was asked for it yet");
    }

    #[test]
    fn a_request_waits_for_all_its_blocks_and_fails_when_one_is_lost() {
        let mut rot = with(3);
        let span = |first: u64| Span::of_volume(VolumeId(1), BlockRange::new(first, 2));
        assert_eq!(rot.judge(Token(9), span(0)), Outlook::Again);
        assert!(rot.take_woken().is_empty());
        rot.remove(place(0));
        assert!(rot.take_woken().is_empty());
        rot.round_ended(place(1), NOW, Verdict::Alone);
        assert_eq!(rot.take_woken(), [Token(9)]);
        assert_eq!(rot.judge(Token(9), span(0)), Outlook::Fails);
        assert_eq!(rot.judge(Token(9), span(3)), Outlook::Again, "what it met is gone");
        assert_eq!(rot.take_woken(), [Token(9)]);
    }

    #[test]
    fn a_block_is_not_lost_while_a_member_may_have_it_and_not_waited_for_for_ever() {
        let mut rot = with(1);
        let mut now = NOW;
        assert_eq!(rot.next_ready(now), Some(place(0)));
        while now.since(NOW) < UNANSWERED_MAX {
            rot.round_ended(place(0), now, Verdict::Unanswered);
            assert_eq!(rot.counters.lost, 0);
            now = rot.deadline(now).unwrap();
            assert_eq!(rot.next_ready(now), Some(place(0)));
        }
        rot.round_ended(place(0), now, Verdict::Unanswered);
        assert_eq!(rot.counters.lost, 1);
    }

    #[test]
    fn who_did_not_say_that_it_lacks_a_block_is_asked_before_it_is_told_that_it_is_lost() {
        let mut rot = with(1);
        let span = Span::of_volume(VolumeId(1), BlockRange::new(0, 64));
        rot.next_ready(NOW);
        rot.ask(place(0), PoolId(2), NOW);
        rot.denied(place(0), PoolId(2));
        rot.round_ended(place(0), NOW, Verdict::Alone);
        assert!(!rot.doubt(span, &[PoolId(2)], NOW));
        assert!(rot.doubt(span, &[PoolId(2), PoolId(3)], NOW));
        assert_eq!(rot.count(span), (1, 0));
    }

    #[test]
    fn when_as_many_are_known_as_may_be_lost_ones_are_forgotten_first() {
        let mut rot = with(CASES_MAX as u64);
        assert!(!rot.found(place(1 << 30), held(0), NOW));
        rot.set(place(5), Stage::Lost { retry_at: NOW });
        assert!(rot.found(place(1 << 30), held(0), NOW));
        assert!(rot.get(place(5)).is_none());
    }
}
