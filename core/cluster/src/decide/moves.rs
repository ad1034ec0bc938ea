//! Which replicas come and go: because another number of them is wanted, or one is to be replaced.
//!
//! The rule: nothing is given up before what is to be there instead is in sync, and nothing is begun while nobody serves
//! the volume. One is added at a time and one is given up at a time, so there are never more than one too many. A replica
//! that is a member goes only when without it as many are in sync as are wanted.

use block::PoolId;

use crate::replica::{Fate, Reason, Replica};
use crate::replication::Replication;
use crate::volume::{Phase, Volume};

/// What comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Move {
    /// Another replica is to be placed.
    Place,
    /// One of these is to be given up.
    Drop(Surplus),
}

/// Replicas one of which is not needed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Surplus(pub Vec<PoolId>);

/// What is to be done about the number and places of a volume's replicas, given what is to become of each.
pub(crate) fn next_move(volume: &Volume) -> Option<Move> {
    if !may_begin(volume) || volume.replicas.values().any(|replica| replica.fate == Fate::Goes) {
        return None;
    }
    let wanted = usize::from(volume.spec.replicas);
    if let Some(gone) = gone(volume) {
        return Some(Move::Drop(Surplus(vec![gone])));
    }
    if volume.replicas.len() > wanted {
        return surplus(volume, wanted).map(Move::Drop);
    }
    (sound(volume).count() < wanted).then_some(Move::Place)
}

/// Nobody could fill a new replica, and nobody could say that it is in sync. A volume that is being made has nothing to be
/// filled with; one that had a single replica gets its configuration first.
fn may_begin(volume: &Volume) -> bool {
    match volume.replication {
        Some(_) => volume.active_primary().is_some(),
        None => volume.phase == Phase::Creating && (volume.spec.replicas > 1 || volume.source.is_some()),
    }
}

/// Replicas that are to stay.
fn sound(volume: &Volume) -> impl Iterator<Item = PoolId> {
    volume.replicas.iter().filter(|(_, replica)| replica.fate == Fate::Stays).map(|(pool, _)| *pool)
}

/// One that is no copy of anything: where it was there is room for another.
fn gone(volume: &Volume) -> Option<PoolId> {
    let is_gone = |replica: &Replica| replica.fate == Fate::Moves(Reason::Gone);
    let gone = volume.replicas.iter().find(|(pool, replica)| is_gone(replica) && !is_member(volume, **pool));
    volume.replication.as_ref().and(gone).map(|(pool, _)| *pool)
}

fn is_member(volume: &Volume, pool: PoolId) -> bool {
    volume.replication.as_ref().is_some_and(|replication| replication.configuration.members.contains_key(&pool))
}

/// There is one too many: which of them is not needed?
fn surplus(volume: &Volume, wanted: usize) -> Option<Surplus> {
    let Replication { configuration, .. } = volume.replication.as_ref()?;
    let in_sync: Vec<PoolId> = volume.in_sync().collect();
    let is_filled = sound(volume).all(|pool| in_sync.contains(&pool));
    let has_too_many = sound(volume).count() > wanted;
    let all = || volume.replicas.iter();
    let members = |pool: &PoolId| configuration.members.contains_key(pool);
    let rows: [(bool, Vec<PoolId>); 4] = [
        // To be replaced, and no member: nothing is lost with it that counts, once all that stay are in sync.
        (
            is_filled,
            all().filter(|(pool, it)| it.fate != Fate::Stays && !members(pool)).map(|(pool, _)| *pool).collect(),
        ),
        // To be replaced, and a member.
        (
            true,
            all()
                .filter(|(pool, it)| it.fate != Fate::Stays && may_go(volume, **pool))
                .map(|(pool, _)| *pool)
                .collect(),
        ),
        // More than wanted would stay: one that is not in sync goes first.
        (has_too_many, sound(volume).filter(|pool| !members(pool)).collect()),
        (has_too_many, sound(volume).filter(|pool| in_sync.contains(pool) && may_go(volume, *pool)).collect()),
    ];
    rows.into_iter().find(|(holds, pools)| *holds && !pools.is_empty()).map(|(_, pools)| Surplus(pools))
}

/// Whether a member is not needed: the primary is, and so is any one without which too few would be in sync.
fn may_go(volume: &Volume, pool: PoolId) -> bool {
    let Some(Replication { configuration, .. }) = &volume.replication else { return false };
    let others = volume.in_sync().filter(|other| *other != pool).count();
    let enough = others >= usize::from(volume.spec.replicas) && others >= configuration.members_min;
    enough && configuration.primary != pool && configuration.members.contains_key(&pool)
}

/// Whether a replica that was given up is still not needed. One that is no member never comes back.
pub(crate) fn still_goes(volume: &Volume, pool: PoolId) -> bool {
    !is_member(volume, pool) || may_go(volume, pool)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use block::PoolId;

    use super::{Move, Surplus, next_move, still_goes};
    use crate::command::Time;
    use crate::replica::{Fate, Observed, Reason, Replica, Role};
    use crate::replication::Replication;
    use crate::volume::Volume;
    use crate::volume::tests::{present, replicated};

    /// How a replica is.
    #[derive(Clone, Copy)]
    enum Is {
        /// A member as it was. Pool 1 is the primary.
        In,
        /// There, and being filled.
        Fill,
        /// Not heard, and no member any more.
        Away,
        /// Not heard, and still a member.
        Lost,
        /// Its pool is there without it.
        Gone,
    }

    /// What it is, how many are wanted, what there is, what is to be done.
    type Row<'a> = (&'a str, u8, &'a [(Is, Fate)], Option<Move>);

    fn volume(wanted: u8, replicas: &[(Is, Fate)]) -> Volume {
        let all = (1_u32..).zip(replicas);
        let is_member = |is: &Is| matches!(is, Is::In | Is::Lost);
        let members: Vec<(u128, u64)> =
            all.clone().filter(|(_, (is, _))| is_member(is)).map(|(at, _)| (at.into(), at.into())).collect();
        let mut volume = replicated(7, 1, &members);
        volume.spec.replicas = wanted;
        for (at, (is, fate)) in all {
            let observed = match is {
                Is::In | Is::Fill => present(at.into()),
                Is::Away | Is::Lost => Observed::Unknown,
                Is::Gone => Observed::Nothing,
            };
            let replica = Replica { observed, snapshots: BTreeMap::new(), since: Time(0), seen: true, fate: *fate };
            let known = volume.replicas.insert(PoolId(at.into()), replica);
            if let (Some(known), Is::In) = (known, is) {
                volume.replicas.get_mut(&PoolId(at.into())).unwrap().observed = known.observed;
            }
        }
        volume
    }

    #[test]
    fn nothing_is_given_up_before_its_replacement_is_in_sync() {
        use Fate::{Goes, Moves, Stays};
        use Is::{Away, Fill, Gone, In, Lost};
        let (silent, drains, gone) = (Moves(Reason::Silent), Moves(Reason::Draining), Moves(Reason::Gone));
        let drop = |pools: &[u128]| Some(Move::Drop(Surplus(pools.iter().map(|pool| PoolId(*pool)).collect())));
        let rows: [Row<'_>; 17] = [
            ("all is well", 3, &[(In, Stays), (In, Stays), (In, Stays)], None),
            ("one is being filled", 3, &[(In, Stays), (In, Stays), (Fill, Stays)], None),
            ("more are wanted", 3, &[(In, Stays), (In, Stays)], Some(Move::Place)),
            ("one is silent", 3, &[(In, Stays), (In, Stays), (Away, silent)], Some(Move::Place)),
            ("its replacement is being filled", 3, &[(In, Stays), (In, Stays), (Away, silent), (Fill, Stays)], None),
            ("its replacement is there", 3, &[(In, Stays), (In, Stays), (Away, silent), (In, Stays)], drop(&[3])),
            ("it came back", 3, &[(In, Stays), (In, Stays), (Fill, Stays), (In, Stays)], drop(&[3])),
            (
                "it is a member that is not heard",
                3,
                &[(In, Stays), (In, Stays), (Lost, silent), (In, Stays)],
                drop(&[3]),
            ),
            ("two are silent", 3, &[(In, Stays), (Away, silent), (Away, silent)], Some(Move::Place)),
            (
                "two are silent, one is added",
                3,
                &[(In, Stays), (Away, silent), (Away, silent), (In, Stays)],
                drop(&[2, 3]),
            ),
            ("one drains", 2, &[(In, Stays), (In, drains)], Some(Move::Place)),
            ("and another is in sync", 2, &[(In, Stays), (In, drains), (In, Stays)], drop(&[2])),
            ("the primary drains", 2, &[(In, drains), (In, Stays), (In, Stays)], None),
            ("one is on its way out", 2, &[(In, Stays), (In, Stays), (In, Goes)], None),
            ("fewer are wanted", 2, &[(In, Stays), (In, Stays), (In, Stays)], drop(&[2, 3])),
            ("fewer are wanted than are in sync", 1, &[(In, Stays), (Fill, Stays), (In, Stays)], drop(&[2])),
            ("one is gone", 3, &[(In, Stays), (In, Stays), (Gone, gone)], drop(&[3])),
        ];
        for (what, wanted, replicas, expected) in rows {
            assert_eq!(next_move(&volume(wanted, replicas)), expected, "{what}");
        }
    }

    #[test]
    fn nothing_is_begun_while_nobody_serves() {
        let mut volume = volume(3, &[(Is::In, Fate::Stays), (Is::Away, Fate::Moves(Reason::Silent))]);
        assert_eq!(next_move(&volume), Some(Move::Place));
        if let Observed::Present { standing, .. } = &mut volume.replicas.get_mut(&PoolId(1)).unwrap().observed {
            standing.role = Role::Reconciling;
        }
        assert_eq!(next_move(&volume), None);
    }

    #[test]
    fn one_that_was_given_up_is_kept_after_all_when_it_is_needed() {
        let mut volume = volume(2, &[(Is::In, Fate::Stays), (Is::In, Fate::Stays), (Is::In, Fate::Goes)]);
        assert!(still_goes(&volume, PoolId(3)));
        volume.replicas.get_mut(&PoolId(2)).unwrap().observed = Observed::Unknown;
        assert!(!still_goes(&volume, PoolId(3)));
        let Replication { configuration, .. } = volume.replication.as_mut().unwrap();
        configuration.members.remove(&PoolId(3));
        assert!(still_goes(&volume, PoolId(3)), "what is no member may be deleted by now");
    }
}
