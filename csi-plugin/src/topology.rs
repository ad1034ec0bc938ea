//! Places, as Kubernetes and as the cluster call them: `topology.plinth.dev/zone` is the nodes' label `zone`.

use std::collections::BTreeMap;

use proto::csi::{Topology, TopologyRequirement};
use proto::v1::{Place, VolumeSpec, ZoneSpread};

const PREFIX: &str = "topology.plinth.dev/";
const RACK: &str = "rack";

/// Labels of a node as the place it is in.
pub(crate) fn of_labels(labels: &BTreeMap<String, String>) -> Topology {
    let segments = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone()));
    Topology { segments: segments.collect() }
}

/// The labels that a node there has. A key that is not ours is no label of any node: nothing is there.
pub(crate) fn labels(topology: &Topology) -> BTreeMap<String, String> {
    let label = |key: &String| key.strip_prefix(PREFIX).unwrap_or(key).to_owned();
    topology.segments.iter().map(|(key, value)| (label(key), value.clone())).collect()
}

/// Where a volume can be used: where its replicas are to be.
pub(crate) fn accessible(spec: &VolumeSpec) -> Vec<Topology> {
    spec.places.iter().map(|place| of_labels(&place.labels)).collect()
}

/// Ways to keep a volume so that it is where it has to be, the best first. Never empty.
///
/// A volume whose replicas are to be together, or that has one only, is in one of the places: in a preferred one, else in
/// any that will do. Of one whose replicas are to be apart each is in one of them. A rack is too small a place for several.
pub(crate) fn plans(spec: &VolumeSpec, required: Option<&TopologyRequirement>) -> Vec<VolumeSpec> {
    let Some(required) = required else { return vec![spec.clone()] };
    let is_together = spec.replicas <= 1 || spec.zone_spread() == ZoneSpread::None;
    let all = |terms: &[Topology]| distinct(terms.iter().map(|term| place(term, spec.replicas)));
    let requisite = all(&required.requisite);
    let within = |places| VolumeSpec { places, ..spec.clone() };
    if !is_together {
        return vec![within(requisite)];
    }
    let terms = distinct(all(&required.preferred).into_iter().chain(requisite));
    if terms.is_empty() {
        return vec![spec.clone()];
    }
    terms.into_iter().map(|term| within(vec![term])).collect()
}

/// Whether a volume that is there can be used where it has to be.
pub(crate) fn fits(there: &VolumeSpec, required: Option<&TopologyRequirement>) -> bool {
    let Some(required) = required.filter(|required| !required.requisite.is_empty()) else { return true };
    let terms: Vec<Place> = required.requisite.iter().map(|term| place(term, there.replicas)).collect();
    there.places.is_empty() || there.places.iter().any(|place| terms.contains(place))
}

fn place(term: &Topology, replicas: u32) -> Place {
    let mut labels = labels(term);
    if replicas > 1 {
        labels.remove(RACK);
    }
    Place { labels }
}

fn distinct(places: impl Iterator<Item = Place>) -> Vec<Place> {
    let mut found = Vec::new();
    for place in places {
        if !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proto::csi::{Topology, TopologyRequirement};
    use proto::v1::{VolumeSpec, ZoneSpread};

    use super::{accessible, fits, labels, of_labels, plans};

    type Zones = &'static [&'static str];

    fn zone(zone: &str) -> Topology {
        Topology { segments: [("topology.plinth.dev/zone".to_owned(), zone.to_owned())].into() }
    }

    fn required(requisite: &[&str], preferred: &[&str]) -> Option<TopologyRequirement> {
        let all = |zones: &[&str]| zones.iter().map(|name| zone(name)).collect();
        Some(TopologyRequirement { requisite: all(requisite), preferred: all(preferred) })
    }

    fn spec(replicas: u32, spread: ZoneSpread) -> VolumeSpec {
        VolumeSpec { replicas, zone_spread: spread.into(), ..VolumeSpec::default() }
    }

    fn zones(specs: &[VolumeSpec]) -> Vec<Vec<String>> {
        let of = |spec: &VolumeSpec| spec.places.iter().map(|place| place.labels["zone"].clone()).collect();
        specs.iter().map(of).collect()
    }

    /// How it is kept, requisite, preferred: the places to try, one after the other.
    #[test]
    fn what_is_together_is_in_the_first_place_that_will_do_and_what_is_apart_in_all() {
        let rows: [(VolumeSpec, Zones, Zones, &[Zones]); 6] = [
            (spec(1, ZoneSpread::Preferred), &["a", "b"], &["b", "a"], &[&["b"], &["a"]]),
            (spec(3, ZoneSpread::None), &["a", "b"], &["b"], &[&["b"], &["a"]]),
            (spec(3, ZoneSpread::None), &["a", "a"], &[], &[&["a"]]),
            (spec(3, ZoneSpread::Required), &["a", "b"], &["b"], &[&["a", "b"]]),
            (spec(3, ZoneSpread::Preferred), &[], &["b"], &[&[]]),
            (spec(1, ZoneSpread::None), &[], &[], &[&[]]),
        ];
        for (spec, requisite, preferred, expected) in rows {
            let found = zones(&plans(&spec, required(requisite, preferred).as_ref()));
            assert_eq!(found, expected, "{spec:?} {requisite:?} {preferred:?}");
        }
        assert_eq!(zones(&plans(&spec(1, ZoneSpread::None), None)), [Vec::<String>::new()]);
    }

    #[test]
    fn what_is_there_fits_if_it_can_be_used_in_one_of_the_places() {
        let [in_a] = &plans(&spec(1, ZoneSpread::None), required(&["a"], &[]).as_ref())[..] else { panic!("one") };
        assert!(fits(in_a, required(&["b", "a"], &[]).as_ref()) && fits(in_a, None));
        assert!(!fits(in_a, required(&["b"], &[]).as_ref()));
        assert!(fits(&spec(1, ZoneSpread::None), required(&["b"], &[]).as_ref()));
        assert_eq!(accessible(in_a), [zone("a")]);
    }

    #[test]
    fn a_place_is_what_its_labels_say_and_back() {
        let there = [("zone", "a"), ("rack", "7")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let topology = of_labels(&there);
        let keys: Vec<&str> = topology.segments.keys().map(String::as_str).collect();
        assert_eq!(keys, ["topology.plinth.dev/rack", "topology.plinth.dev/zone"]);
        assert_eq!(labels(&topology), there);
    }

    #[test]
    fn a_rack_is_too_small_for_several() {
        let mut term = zone("a");
        term.segments.insert("topology.plinth.dev/rack".to_owned(), "7".to_owned());
        let required = TopologyRequirement { requisite: vec![term], preferred: Vec::new() };
        let keys = |replicas| plans(&spec(replicas, ZoneSpread::None), Some(&required))[0].places[0].labels.len();
        assert_eq!((keys(1), keys(3)), (2, 1));
    }
}
