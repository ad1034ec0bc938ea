//! What to go on from when no member of a configuration is there as it was.
//!
//! Only a member of the last configuration may be chosen: any other replica may lack what was acknowledged. One that came
//! back has forgotten what it promised, so it is not chosen before every promise of its former life has expired. One to
//! which no power was lost since it was a member has all that was acknowledged; another has what was flushed.

use block::{Incarnation, PoolId};

use crate::command::Time;
use crate::replica::{Observed, Replica};
use crate::replication::Replication;
use crate::volume::Volume;

/// How long a backup keeps its promise not to seek primacy, with clocks that differ by no more than they may.
pub(crate) const PROMISE_MS: u64 = 1070;
/// How long the others are waited for when some members are back.
pub(crate) const WAIT_MS: u64 = 30_000;

/// What comes next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recovery {
    /// Go on from this one.
    From(Source),
    /// Wait, and look again at this time, or when something was reported.
    Waits(Option<Time>),
    /// Every member's data is gone.
    Failed,
}

/// A member that is back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub pool: PoolId,
    /// What it is now.
    pub incarnation: Incarnation,
    /// It has all that was acknowledged.
    pub warm: bool,
}

/// One that is back, and since when.
struct Back {
    source: Source,
    since: Time,
}

impl Back {
    fn is_free_at(&self) -> Time {
        Time(self.since.0.saturating_add(PROMISE_MS + 1))
    }
}

/// What is to be done about a volume no member of which has been there as it was since `lost_since`.
pub(crate) fn recovery(
    volume: &Volume,
    lost_since: Time,
    now: Time,
    takes_writes: impl Fn(PoolId) -> bool,
) -> Recovery {
    let Some(Replication { configuration, .. }) = &volume.replication else { return Recovery::Waits(None) };
    let members = || configuration.members.iter().map(|(pool, before)| (*pool, *before, &volume.replicas[pool]));
    if members().all(|(_, _, replica)| replica.observed == Observed::Nothing) {
        return Recovery::Failed;
    }
    let backs: Vec<Back> = members()
        .filter(|(pool, _, _)| takes_writes(*pool))
        .filter_map(|(pool, was, is)| back(pool, was, is))
        .collect();
    let gone = members().filter(|(_, _, replica)| replica.observed == Observed::Nothing).count();
    let patience = Time(lost_since.0.saturating_add(WAIT_MS));
    let are_all_here =
        backs.len() + gone == configuration.members.len() && backs.iter().all(|back| back.is_free_at() <= now);
    let free = backs.iter().filter(|back| back.is_free_at() <= now).map(|back| back.source);
    match free.min_by_key(|source| (!source.warm, source.pool != configuration.primary, source.pool)) {
        Some(source) if are_all_here || now >= patience => Recovery::From(source),
        Some(_) | None => {
            let times = backs.iter().map(Back::is_free_at).chain((!backs.is_empty()).then_some(patience));
            Recovery::Waits(times.filter(|time| *time > now).min())
        }
    }
}

fn back(pool: PoolId, was: Incarnation, replica: &Replica) -> Option<Back> {
    let standing = replica.standing()?;
    let source = Source { pool, incarnation: standing.incarnation, warm: standing.warm_from <= was };
    Some(Back { source, since: replica.since })
}

#[cfg(test)]
mod tests {
    use block::{Incarnation, PoolId};

    use super::{PROMISE_MS, Recovery, Source, WAIT_MS, recovery};
    use crate::command::Time;
    use crate::replica::{Observed, Replica, Standing};
    use crate::volume::tests::{present, replicated};

    const LOST: u64 = 100_000;

    /// What has become of a member, and since when.
    #[derive(Clone, Copy)]
    enum Is {
        Away,
        Gone,
        Warm(u64),
        Cold(u64),
        Failed,
    }

    fn seen(is: Is, pool: u64) -> Replica {
        let back = |warm_from| {
            let Observed::Present { size_bytes, generation, .. } = present(0) else { panic!("it is there") };
            let standing = Standing { incarnation: Incarnation(pool + 50), warm_from, ..Standing::default() };
            Observed::Present { size_bytes, generation, standing }
        };
        let (observed, since) = match is {
            Is::Away => (Observed::Unknown, LOST),
            Is::Gone => (Observed::Nothing, LOST),
            Is::Warm(since) => (back(Incarnation(pool)), since),
            Is::Cold(since) => (back(Incarnation(pool + 1)), since),
            Is::Failed => (back(Incarnation(pool)), LOST),
        };
        Replica {
            observed,
            snapshots: std::collections::BTreeMap::new(),
            since: Time(since),
            seen: true,
            fate: crate::replica::Fate::Stays,
        }
    }

    /// Members 1 (primary) and 2 of three replicas; 3 is there and was never a member.
    #[test]
    fn only_members_are_gone_on_from_and_a_warm_one_rather_than_a_cold_one() {
        use Is::{Away, Cold, Failed, Gone, Warm};
        let from = |pool: u64, warm| {
            Recovery::From(Source { pool: PoolId(pool.into()), incarnation: Incarnation(pool + 50), warm })
        };
        let later = |time| Recovery::Waits(Some(Time(time)));
        let free = LOST + PROMISE_MS + 1;
        let patience = LOST + WAIT_MS;
        let rows = [
            ("nobody is heard", Away, Away, patience * 2, Recovery::Waits(None)),
            ("all are gone", Gone, Gone, LOST, Recovery::Failed),
            ("one is gone, one not heard", Gone, Away, patience * 2, Recovery::Waits(None)),
            ("a promise may hold", Warm(LOST), Gone, free - 1, later(free)),
            ("no promise can hold", Warm(LOST), Gone, free, from(1, true)),
            ("the others are waited for", Warm(LOST), Away, free, later(patience)),
            ("but not for ever", Warm(LOST), Away, patience, from(1, true)),
            ("late, and a promise may hold", Warm(patience), Away, patience, later(patience + PROMISE_MS + 1)),
            ("all are back", Warm(LOST), Warm(LOST), free, from(1, true)),
            ("one is back for too short", Warm(LOST), Warm(free), free, later(free + PROMISE_MS + 1)),
            ("it crashes again and again", Warm(LOST), Warm(patience), patience, from(1, true)),
            ("the warm one", Cold(LOST), Warm(LOST), free, from(2, true)),
            ("a cold one if there is no other", Cold(LOST), Gone, free, from(1, false)),
            ("a cold one when the warm one is not heard", Cold(LOST), Away, patience, from(1, false)),
            ("one takes no writes", Failed, Warm(LOST), patience, from(2, true)),
            ("the only one takes no writes", Failed, Gone, patience, Recovery::Waits(None)),
        ];
        for (what, one, two, now, expected) in rows {
            let mut volume = replicated(7, 1, &[(1, 1), (2, 2)]);
            volume.replicas.insert(PoolId(1), seen(one, 1));
            volume.replicas.insert(PoolId(2), seen(two, 2));
            volume.replicas.insert(PoolId(3), seen(Warm(0), 3));
            let takes_writes = |pool| !(pool == PoolId(1) && matches!(one, Failed));
            assert_eq!(recovery(&volume, Time(LOST), Time(now), takes_writes), expected, "{what}");
        }
    }
}
