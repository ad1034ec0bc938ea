//! States that random histories lead to: what was kept and loaded again is the same, and goes on in the same way.

use std::collections::BTreeMap;

use block::{Epoch, Incarnation, PoolId, SnapshotId, VolumeId, WriteSeq};
use cluster::{
    AccessMode, Addresses, Admin, Change, ClusterId, Command, Generation, GroupId, Hold, HoldState, Labels,
    Modification, Name, NodeReport, PoolReport, Progress, Proposal, ReplicaReport, Replicas, RequestId, Revision, Role,
    SnapshotCopy, Source, Standing, State, Time, TokenHash, VolumeSpec,
};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use proptest::{option, proptest};

use crate::record::{read_state, write_state};

const GIB: u64 = 1 << 30;

fn one_of(letter: char, count: u8) -> impl Strategy<Value = Name> {
    (0..count).prop_map(move |number| format!("{letter}{number}").parse().unwrap())
}

fn report() -> impl Strategy<Value = Change> {
    let parts = (1..12_u64, 1..4_u64, 0..3_u64, 1..4_u64, any::<bool>(), 0..3_u32, snapshots(), option::of(hold()));
    let replica =
        parts.prop_map(|(volume, gib, generation, incarnation, leads, epoch, snapshots, hold)| ReplicaReport {
            volume: VolumeId(volume),
            size_bytes: gib * GIB,
            generation: Generation(generation),
            standing: Standing {
                incarnation: Incarnation(incarnation),
                warm_from: Incarnation(incarnation - 1),
                epoch: Epoch(epoch),
                role: if leads { Role::Primary } else { Role::Learner },
                unable: false,
                resync: (!leads).then_some(Progress { left: gib, groups: 4 }),
                lost_blocks: u64::from(epoch),
                hold,
                cut_refused: None,
                branch_points: epoch,
            },
            snapshots,
        });
    let replicas = (vec(replica, 0..6), vec(1..12_u64, 0..3), any::<bool>());
    (0..3_u8, 0..60_u64, replicas).prop_map(|(number, heard, (present, gone, whole))| {
        let gone = gone.into_iter().map(VolumeId).collect();
        let replicas = if whole { Replicas::All(present) } else { Replicas::Changed { present, gone } };
        let pool = PoolReport {
            id: PoolId(u128::from(number) + 1),
            capacity_bytes: 8 * GIB,
            used_bytes: GIB,
            tags: vec!["ssd".to_owned()],
            failed: false,
            replicas,
        };
        let node = format!("n{number}").parse().unwrap();
        Change::Report { node, report: NodeReport { heard: Revision(heard), pools: vec![pool] } }
    })
}

fn snapshots() -> impl Strategy<Value = BTreeMap<SnapshotId, SnapshotCopy>> {
    let copy = (0..2_u32, 1..4_u64).prop_map(|(epoch, n)| {
        let at = WriteSeq { epoch: Epoch(epoch), n };
        SnapshotCopy { at, size_bytes: GIB, exclusive_bytes: n, shared_bytes: 9 }
    });
    btree_map((1..20_u64).prop_map(SnapshotId), copy, 0..5)
}

fn hold() -> impl Strategy<Value = Hold> {
    let states = [HoldState::Held, HoldState::Cut, HoldState::Released, HoldState::Broken];
    (1..9_u64, select(states.to_vec())).prop_map(|(group, state)| Hold { group: GroupId(group), state })
}

fn snapshot_change() -> impl Strategy<Value = Change> {
    let labels = Labels::new;
    prop_oneof![
        6 => (one_of('s', 6), one_of('v', 6))
            .prop_map(move |(name, volume)| Change::CreateSnapshot { name, volume, labels: labels() }),
        2 => one_of('s', 6).prop_map(|snapshot| Change::DeleteSnapshot { snapshot }),
        3 => (one_of('g', 3), vec(one_of('v', 6), 1..3))
            .prop_map(move |(name, volumes)| Change::CreateGroup { name, volumes, labels: labels() }),
        1 => one_of('g', 3).prop_map(|group| Change::DeleteGroup { group }),
        1 => (one_of('v', 6), 1..3_u32).prop_map(|(volume, keep)| Change::SetSchedule {
            volume,
            schedule: "often".parse().unwrap(),
            cron: "* * * * *".parse().unwrap(),
            keep,
        }),
        1 => one_of('v', 6)
            .prop_map(|volume| Change::RemoveSchedule { volume, schedule: "often".parse().unwrap() }),
        3 => (one_of('v', 6), one_of('s', 6), one_of('v', 6), any::<bool>()).prop_map(|(name, snapshot, volume, is)| {
            let source = Some(if is { Source::Snapshot(snapshot) } else { Source::Volume(volume) });
            Change::CreateVolume { name, size_bytes: 0, spec: VolumeSpec::default(), source }
        }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let register = one_of('n', 3).prop_map(|node| Change::Register {
        node,
        addresses: Addresses { peers: "a:1".to_owned(), nbd: vec!["a:2".to_owned()] },
        labels: Labels::from([("zone".to_owned(), "a".to_owned())]),
    });
    let create = (one_of('v', 6), 1..4_u64, 1..4_u8).prop_map(|(name, gib, replicas)| Change::CreateVolume {
        name,
        size_bytes: gib * GIB,
        spec: VolumeSpec { replicas, ..VolumeSpec::default() },
        source: None,
    });
    let member = || (1..4_u128, 1..4_u64).prop_map(|(pool, incarnation)| (PoolId(pool), Incarnation(incarnation)));
    let configure =
        (1..12_u64, 1..4_u32, member(), vec(member(), 0..3)).prop_map(|(volume, expected, proposer, others)| {
            let members = others.into_iter().chain([proposer]).collect();
            let proposal = Proposal { expected: Epoch(expected), proposer, primary: proposer.0, members };
            Change::Configure { volume: VolumeId(volume), proposal }
        });
    let copies = (one_of('v', 6), 1..4_u8).prop_map(|(volume, replicas)| Change::ModifyVolume {
        volume,
        modification: Modification { replicas: Some(replicas), ..Modification::default() },
    });
    let attach = (one_of('v', 6), one_of('c', 3), any::<bool>()).prop_map(|(volume, client, writes)| Change::Attach {
        volume,
        client,
        mode: if writes { AccessMode::ReadWrite } else { AccessMode::ReadOnly },
        token: TokenHash([7; 32]),
        claim: cluster::Claim::Take,
    });
    prop_oneof![
        3 => register,
        1 => one_of('n', 3).prop_map(|node| Change::Lose { node }),
        4 => report(),
        1 => one_of('n', 3).prop_map(|node| Change::Administer { node, admin: Admin::Cordoned }),
        1 => one_of('n', 3).prop_map(|node| Change::RemoveNode { node }),
        1 => (1..4_u128, any::<bool>()).prop_map(|(pool, force)| Change::RemovePool { pool: PoolId(pool), force }),
        5 => create,
        10 => snapshot_change(),
        1 => (one_of('v', 6), 1..6_u64).prop_map(|(volume, gib)| Change::ResizeVolume { volume, size_bytes: gib * GIB }),
        2 => (one_of('v', 6), any::<bool>()).prop_map(|(volume, force)| Change::DeleteVolume { volume, force }),
        3 => attach,
        4 => configure,
        1 => copies,
        1 => (one_of('v', 6), 1..4_u128).prop_map(|(volume, pool)| Change::ForcePromote { volume, pool: PoolId(pool) }),
        1 => (one_of('v', 6), 1..4_u128).prop_map(|(volume, pool)| Change::HandOver { volume, pool: PoolId(pool) }),
        2 => Just(Change::Tick),
        1 => Just(Change::Recover),
        2 => vec(one_of('n', 3), 0..3).prop_map(|without| Change::Resume { without: without.into_iter().collect() }),
        1 => (one_of('v', 6), option::of(one_of('c', 3))).prop_map(|(volume, client)| Change::Detach { volume, client }),
    ]
}

fn commands(changes: Vec<(Option<u8>, Change)>) -> Vec<Command> {
    let found = (None, Change::Found { cluster: ClusterId(9) });
    let all = std::iter::once(found).chain(changes);
    let command = |(at, (request, change)): (u64, (Option<u8>, Change))| Command {
        // Some wait for minutes.
        at: Time(at * 20_000),
        request: request.map(|request| RequestId(request.into())),
        change,
    };
    (1..).zip(all).map(command).collect()
}

proptest! {
    #[test]
    fn a_state_that_was_kept_goes_on_as_if_nothing_had_been(
        before in vec((option::of(any::<u8>()), change()), 0..80),
        after in vec((option::of(any::<u8>()), change()), 0..40),
    ) {
        let mut state = State::default();
        for command in commands(before) {
            let _answered_or_refused = state.apply(command);
        }
        let bytes = write_state(&state);
        let mut loaded = read_state(&bytes).unwrap();
        assert_eq!(loaded.contents(), state.contents());
        assert_eq!(write_state(&loaded), bytes);
        for command in commands(after) {
            assert_eq!(loaded.apply(command.clone()), state.apply(command), "both answer the same");
        }
        assert_eq!(loaded.contents(), state.contents());
    }

    #[test]
    fn rotten_states_are_refused_or_read_but_never_a_panic(
        changes in vec((option::of(any::<u8>()), change()), 0..40),
        at: usize,
        flip in 1..=u8::MAX,
    ) {
        let mut state = State::default();
        for command in commands(changes) {
            let _answered_or_refused = state.apply(command);
        }
        let mut bytes = write_state(&state);
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let _refused_or_not = read_state(&bytes);
        bytes.truncate(at);
        let _refused_or_not = read_state(&bytes);
    }
}
