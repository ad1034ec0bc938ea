//! Parameters of storage classes and of their mutable kind, VolumeAttributesClass.

use std::collections::BTreeMap;

use proto::v1;
use tonic::Status;

use crate::names;

/// Labels that the plugin gives to what it makes, so that a retry is told from another wish.
const NAME_LABEL: &str = "csi.plinth.dev/name";
const PARAMETERS_LABEL: &str = "csi.plinth.dev/parameters";
/// Before the name of a parameter that nodes are told.
const CONTEXT_LABEL: &str = "csi.plinth.dev/context.";

/// Those that may change while a volume is used.
const MUTABLE: [&str; 4] = ["replicas", "minInSync", "zoneSpread", "description"];
/// Where a volume is placed.
const POOL_TAGS: &str = "poolTags";
const NODE_SELECTOR: &str = "nodeSelector";
/// What nodes are told as they are.
const CONTEXT: [&str; 2] = ["attacher", "mkfsOptions"];
/// What Kubernetes says of its own objects: kept as labels, for people.
const OBJECTS: [(&str, &str); 9] = [
    ("csi.storage.k8s.io/pvc/name", "kubernetes.io/claim"),
    ("csi.storage.k8s.io/pvc/namespace", "kubernetes.io/namespace"),
    ("csi.storage.k8s.io/pv/name", "kubernetes.io/volume"),
    ("csi.storage.k8s.io/volumesnapshot/name", "kubernetes.io/snapshot"),
    ("csi.storage.k8s.io/volumesnapshot/namespace", "kubernetes.io/namespace"),
    ("csi.storage.k8s.io/volumesnapshotcontent/name", "kubernetes.io/content"),
    ("csi.storage.k8s.io/volumegroupsnapshot/name", "kubernetes.io/group"),
    ("csi.storage.k8s.io/volumegroupsnapshot/namespace", "kubernetes.io/namespace"),
    ("csi.storage.k8s.io/volumegroupsnapshotcontent/name", "kubernetes.io/content"),
];
/// Which filesystem comes in the volume's capability.
const FS_TYPE: &str = "csi.storage.k8s.io/fstype";

/// Of a class, by name.
pub(crate) type Given = BTreeMap<String, String>;

/// A parameter that cannot be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ParameterError {
    #[error("parameter {name} is not known; known are {known}")]
    Unknown { name: String, known: String },
    #[error("parameter {name} is \"{found}\": it is {expected}")]
    Value { name: &'static str, found: String, expected: &'static str },
}

impl From<ParameterError> for Status {
    fn from(error: ParameterError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// How a new volume is to be kept. The name is Kubernetes'.
pub(crate) fn spec(name: &str, given: &Given, mutable: &Given) -> Result<v1::VolumeSpec, ParameterError> {
    let all: Given = given.iter().chain(mutable).map(|(key, value)| (key.clone(), value.clone())).collect();
    let known = MUTABLE.into_iter().chain([POOL_TAGS, NODE_SELECTOR, FS_TYPE]).chain(CONTEXT);
    check_known(all.keys(), known.chain(OBJECTS.map(|(key, _)| key)))?;
    check_known(mutable.keys(), MUTABLE)?;
    let changes = modification(&all)?;
    Ok(v1::VolumeSpec {
        replicas: changes.replicas.unwrap_or(1),
        in_sync_min: changes.in_sync_min.unwrap_or_default(),
        zone_spread: changes.zone_spread.unwrap_or_else(|| v1::ZoneSpread::Preferred.into()),
        pool_tags: all.get(POOL_TAGS).map(|tags| listed(tags).map(str::to_owned).collect()).unwrap_or_default(),
        node_selector: all.get(NODE_SELECTOR).map(|labels| pairs(labels)).transpose()?.unwrap_or_default(),
        description: changes.description.unwrap_or_default(),
        labels: labels(name, &all),
        ..v1::VolumeSpec::default()
    })
}

/// What is to change of a volume: all of it, or nothing.
pub(crate) fn changes(volume: &str, given: &Given) -> Result<v1::ModifyVolumeRequest, ParameterError> {
    check_known(given.keys(), MUTABLE)?;
    Ok(v1::ModifyVolumeRequest { name: volume.to_owned(), ..modification(given)? })
}

/// Labels of a snapshot or a group of them.
pub(crate) fn snapshot_labels(name: &str, given: &Given) -> Result<BTreeMap<String, String>, ParameterError> {
    check_known(given.keys(), OBJECTS.map(|(key, _)| key))?;
    Ok(labels(name, given))
}

/// Whether the volume was made by the plugin, of the same name and with the same parameters. What of them has changed since
/// does not count.
pub(crate) fn is_same(there: &v1::VolumeSpec, wish: &v1::VolumeSpec) -> bool {
    [NAME_LABEL, PARAMETERS_LABEL].iter().all(|label| there.labels.get(*label) == wish.labels.get(*label))
}

/// What nodes are told of a volume.
pub(crate) fn context(spec: &v1::VolumeSpec) -> BTreeMap<String, String> {
    let told = |(key, value): (&String, &String)| Some((key.strip_prefix(CONTEXT_LABEL)?.to_owned(), value.clone()));
    spec.labels.iter().filter_map(told).collect()
}

fn labels(name: &str, all: &Given) -> BTreeMap<String, String> {
    let objects = OBJECTS.iter().filter_map(|(key, label)| Some(((*label).to_owned(), all.get(*key)?.clone())));
    let context = CONTEXT.iter().filter_map(|key| Some((format!("{CONTEXT_LABEL}{key}"), all.get(*key)?.clone())));
    let own = [(NAME_LABEL.to_owned(), name.to_owned()), (PARAMETERS_LABEL.to_owned(), fingerprint(all))];
    objects.chain(context).chain(own).collect()
}

/// Tells one set of parameters from another.
fn fingerprint(all: &Given) -> String {
    let written: String =
        all.iter().map(|(key, value)| format!("{}:{key}={}:{value};", key.len(), value.len())).collect();
    names::digest(&written)
}

fn check_known<'a>(
    names: impl Iterator<Item = &'a String>,
    known: impl IntoIterator<Item = &'static str>,
) -> Result<(), ParameterError> {
    let known: Vec<&str> = known.into_iter().collect();
    for name in names {
        if !known.contains(&name.as_str()) {
            return Err(ParameterError::Unknown { name: name.clone(), known: known.join(", ") });
        }
    }
    Ok(())
}

fn modification(given: &Given) -> Result<v1::ModifyVolumeRequest, ParameterError> {
    let count = |name: &'static str| given.get(name).map(|text| count(name, text)).transpose();
    Ok(v1::ModifyVolumeRequest {
        replicas: count("replicas")?,
        in_sync_min: count("minInSync")?,
        zone_spread: given.get("zoneSpread").map(|text| spread(text)).transpose()?.map(Into::into),
        description: given.get("description").cloned(),
        ..v1::ModifyVolumeRequest::default()
    })
}

fn count(name: &'static str, text: &str) -> Result<u32, ParameterError> {
    let refuse = || ParameterError::Value { name, found: text.to_owned(), expected: "a number from 1 to 5" };
    text.parse().ok().filter(|count| (1..=5).contains(count)).ok_or_else(refuse)
}

fn spread(text: &str) -> Result<v1::ZoneSpread, ParameterError> {
    match text {
        "required" => Ok(v1::ZoneSpread::Required),
        "preferred" => Ok(v1::ZoneSpread::Preferred),
        "none" => Ok(v1::ZoneSpread::None),
        _ => {
            let (name, expected) = ("zoneSpread", "required, preferred or none");
            Err(ParameterError::Value { name, found: text.to_owned(), expected })
        }
    }
}

fn pairs(text: &str) -> Result<BTreeMap<String, String>, ParameterError> {
    let (name, expected) = (NODE_SELECTOR, "labels such as rack=7,disk=ssd");
    let pair = |pair: &str| {
        let refuse = || ParameterError::Value { name, found: text.to_owned(), expected };
        pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(refuse)
    };
    listed(text).map(pair).collect()
}

fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty())
}

#[cfg(test)]
mod tests {
    use proto::v1::ZoneSpread;

    use super::{Given, ParameterError, changes, context, is_same, snapshot_labels, spec};

    fn given(pairs: &[(&str, &str)]) -> Given {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_class_says_how_a_volume_is_kept() {
        let class = given(&[
            ("replicas", "2"),
            ("zoneSpread", "none"),
            ("poolTags", "ssd, nvme"),
            ("nodeSelector", "rack=7,disk=a=b"),
            ("mkfsOptions", "-m 0"),
            ("csi.storage.k8s.io/pvc/name", "data"),
            ("csi.storage.k8s.io/fstype", "xfs"),
        ]);
        let found = spec("pvc-1", &class, &given(&[("replicas", "3"), ("minInSync", "2")])).unwrap();
        assert_eq!((found.replicas, found.in_sync_min, found.zone_spread()), (3, 2, ZoneSpread::None));
        assert_eq!(found.pool_tags, ["ssd", "nvme"]);
        assert_eq!(found.node_selector, given(&[("rack", "7"), ("disk", "a=b")]));
        assert_eq!(found.labels["kubernetes.io/claim"], "data");
        assert_eq!(context(&found), given(&[("mkfsOptions", "-m 0")]));
        assert!(!found.open, "nobody comes without a token");
    }

    #[test]
    fn what_is_not_known_or_makes_no_sense_is_refused_with_what_would() {
        let error = spec("v", &given(&[("replica", "3")]), &Given::new()).unwrap_err();
        assert!(error.to_string().contains("replicas, minInSync"), "{error}");
        let rows =
            [("replicas", "0"), ("replicas", "6"), ("minInSync", "x"), ("zoneSpread", "maybe"), ("nodeSelector", "a")];
        for (name, value) in rows {
            let found = spec("v", &given(&[(name, value)]), &Given::new());
            assert!(matches!(found, Err(ParameterError::Value { .. })), "{name} {value}");
        }
        let rigid = given(&[("poolTags", "ssd")]);
        assert!(matches!(spec("v", &Given::new(), &rigid), Err(ParameterError::Unknown { .. })));
        assert!(matches!(changes("v", &rigid), Err(ParameterError::Unknown { .. })));
        assert!(matches!(snapshot_labels("s", &rigid), Err(ParameterError::Unknown { .. })));
    }

    #[test]
    fn other_parameters_or_another_name_make_another_volume() {
        let one = spec("v", &given(&[("replicas", "1")]), &Given::new()).unwrap();
        assert!(is_same(&one, &spec("v", &given(&[("replicas", "1")]), &Given::new()).unwrap()));
        assert!(!is_same(&one, &spec("v", &given(&[("replicas", "2")]), &Given::new()).unwrap()));
        assert!(!is_same(&one, &spec("w", &given(&[("replicas", "1")]), &Given::new()).unwrap()));
        assert!(!is_same(&proto::v1::VolumeSpec::default(), &one), "somebody else made it");
    }
}
