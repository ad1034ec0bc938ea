//! Comparing replicas: the sum of what the cluster says range by range, and how the command ends.

use proto::v1;

use crate::fake::Fake;
use crate::run::{ok, run};

const MIB: u64 = 1 << 20;

fn replica(node: &str, lost: u64) -> v1::VerifiedReplica {
    v1::VerifiedReplica { node: node.into(), blocks: 10, read: 10, repaired: 1, lost, ..v1::VerifiedReplica::default() }
}

/// A volume of two ranges.
fn ranges(lost: u64, differences: Vec<v1::Difference>) -> Vec<v1::VerifiedRange> {
    let range = |offset_bytes| v1::VerifiedRange {
        offset_bytes,
        len_bytes: 64 * MIB,
        volume_bytes: 128 * MIB,
        replicas: vec![replica("n1", 0), replica("n2", lost)],
        ..v1::VerifiedRange::default()
    };
    vec![range(0), v1::VerifiedRange { differences, ..range(64 * MIB) }]
}

fn fake(ranges: Vec<v1::VerifiedRange>) -> Fake {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    fake.state().ranges = ranges;
    fake
}

#[test]
fn equal_replicas_are_told_after_the_last_range_although_every_stream_breaks_off() {
    let fake = fake(ranges(0, Vec::new()));
    let out = ok(&fake.control(), "volume verify db --data");
    assert!(out.ends_with("volume db: 2 replicas are equal\n"), "{out}");
    assert!(out.contains("128MiB"), "{out}");
    let asked = fake.state().seen.iter().filter(|seen| seen.method == "verify").count();
    assert_eq!(asked, 2);
}

#[test]
fn a_difference_ends_it_with_1_and_says_who_holds_what() {
    let held = |node: &str, digest| v1::HeldThere { node: node.into(), digest };
    let held = vec![held("n1", 0xab), held("n2", 0xcd)];
    let fake = fake(ranges(0, vec![v1::Difference { offset_bytes: 64 * MIB, len_bytes: 256 << 10, held }]));
    let ran = run(&fake.control(), "volume verify db");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("differs at 67108864, 256KiB: n1 has 000000ab, n2 has 000000cd"), "{ran:?}");
    assert!(ran.out.contains("volume db: DIFFERENT"), "{ran:?}");
    let json: serde_json::Value = serde_json::from_str(&run(&fake.control(), "volume verify db -o json").out).unwrap();
    assert_eq!((&json["sound"], &json["differences_found"]), (&false.into(), &1.into()));
    assert_eq!(json["differences"][0]["held"]["n2"], "000000cd");
}

#[test]
fn lost_blocks_end_it_with_1() {
    let mut ranges = ranges(3, Vec::new());
    let lost = |snapshot: &str| v1::LostBlock { snapshot: snapshot.into(), offset_bytes: 12_288 };
    ranges.iter_mut().for_each(|range| range.lost = vec![lost(""), lost("monday")]);
    let fake = fake(ranges);
    let ran = run(&fake.control(), "volume verify db --data");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("6 blocks are LOST"), "{ran:?}");
    let named = "lost at 12288 of the volume\nlost at 12288 of snapshot monday\n";
    assert!(ran.out.contains(named), "each once: {ran:?}");
}

#[test]
fn a_volume_that_is_not_there_is_said_so() {
    assert_eq!(run(&fake(Vec::new()).control(), "volume verify nothing").code, 3);
}
