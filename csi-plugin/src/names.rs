//! Names that Kubernetes gives, as names of the cluster, and the cluster's names as ids.
//!
//! A volume's id is its name in the cluster, and so is a snapshot's and a group's: a volume that somebody made by hand can
//! be used by its name, and what the plugin made is found by `plinth volume list`. A name that the cluster takes stays as it
//! is, which those of Kubernetes do (`pvc-...`); any other becomes `csi-READABLE-HASH`. The hash alone tells names apart.

use sha2::{Digest, Sha256};

/// Longest name of a volume that stays as it is. With a group's and a dash it makes the name of the group's snapshot.
const VOLUME_BYTES_MAX: usize = 76;
/// The same for a snapshot or a group.
const SNAPSHOT_BYTES_MAX: usize = 51;
/// Longest name in the cluster.
const NAME_BYTES_MAX: usize = 128;
const PREFIX: &str = "csi-";
/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 32;
/// What is left of a name that was hashed.
const READABLE_MAX: usize = SNAPSHOT_BYTES_MAX - PREFIX.len() - HASH_DIGITS - 1;
const _: () = assert!(VOLUME_BYTES_MAX + 1 + SNAPSHOT_BYTES_MAX == NAME_BYTES_MAX, "a group's snapshot has a name");

/// What a volume is called in the cluster.
pub(crate) fn volume(name: &str) -> String {
    fitting(name, VOLUME_BYTES_MAX)
}

/// What a snapshot, or a group of them, is called in the cluster.
pub(crate) fn snapshot(name: &str) -> String {
    fitting(name, SNAPSHOT_BYTES_MAX)
}

/// Whether something in the cluster can be called so. An id that cannot be is that of nothing.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let all = text.chars().all(|c| plain(c) || matches!(c, '.' | '_' | '-'));
    text.starts_with(plain) && all && text.len() <= NAME_BYTES_MAX
}

/// The first digits of a text's SHA-256.
pub(crate) fn digest(text: &str) -> String {
    let digits = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits[..HASH_DIGITS].to_owned()
}

fn fitting(name: &str, bytes_max: usize) -> String {
    if is_name(name) && name.len() <= bytes_max && !is_made(name) {
        return name.to_owned();
    }
    // As short as any: paths of sockets on the node have the name in them.
    let readable: String = name.chars().map(readable).take(READABLE_MAX).collect();
    format!("{PREFIX}{readable}-{}", digest(name))
}

/// A name that looks like one of ours is hashed as well, so that nobody gets the volume of another.
fn is_made(name: &str) -> bool {
    let hash = name.rsplit_once('-').map(|(_, hash)| hash);
    name.starts_with(PREFIX) && hash.is_some_and(|hash| hash.len() == HASH_DIGITS)
}

fn readable(c: char) -> char {
    match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_') => c,
        _ => '-',
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME_BYTES_MAX, is_name, snapshot, volume};

    #[test]
    fn names_of_kubernetes_stay_as_they_are() {
        let uuid = "0f2a3c1e-1234-4321-8765-0123456789ab";
        for prefix in ["pvc-", "snapshot-", "groupsnapshot-"] {
            let name = format!("{prefix}{uuid}");
            assert_eq!(volume(&name), name);
            assert_eq!(snapshot(&name), name);
        }
    }

    #[test]
    fn any_name_becomes_one_of_the_cluster_and_no_two_become_the_same() {
        let long = "x".repeat(128);
        let longer = format!("{}y", "x".repeat(127));
        let made = volume("A");
        let names = ["A", "a", "\u{e4}", "a b", "-a", "", ".", "a/b", "../..", &long, &longer, "csi-a", &made];
        let mut found: Vec<String> = names.iter().map(|name| volume(name)).collect();
        for name in found.iter().chain(&names.map(snapshot)) {
            assert!(is_name(name), "{name}");
        }
        let longest = names.iter().map(|name| volume(name).len() + 1 + snapshot(name).len()).max();
        assert!(longest.unwrap() <= NAME_BYTES_MAX, "{longest:?}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), names.len());
        assert!(volume("Sanity Volume").starts_with("csi-sanity-volume-"));
    }
}
