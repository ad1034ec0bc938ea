//! New volumes, their sizes, places and parameters.

use proto::csi;
use proto::csi::volume_capability::access_mode::Mode;
use proto::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};
use proto::v1;
use tonic::Code;

use crate::scene::{GIB, MIB, Scene, capability, mounted, parameters, volume, zone};

fn sized(name: &str, required_bytes: i64, limit_bytes: i64) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes }),
        ..volume(name)
    }
}

fn from(name: &str, kind: Type) -> csi::CreateVolumeRequest {
    csi::CreateVolumeRequest {
        volume_content_source: Some(csi::VolumeContentSource { r#type: Some(kind) }),
        capacity_range: None,
        ..volume(name)
    }
}

fn placed(
    name: &str,
    replicas: &str,
    spread: &str,
    requisite: &[&str],
    preferred: &[&str],
) -> csi::CreateVolumeRequest {
    let all = |zones: &[&str]| zones.iter().map(|name| zone(name)).collect();
    csi::CreateVolumeRequest {
        parameters: parameters([("replicas", replicas), ("zoneSpread", spread)]),
        accessibility_requirements: Some(csi::TopologyRequirement {
            requisite: all(requisite),
            preferred: all(preferred),
        }),
        ..volume(name)
    }
}

fn code<T: std::fmt::Debug>(found: Result<T, tonic::Status>) -> Code {
    found.map_or_else(|status| status.code(), |value| panic!("it was to be refused: {value:?}"))
}

#[test]
fn a_volume_is_made_once_and_another_wish_of_its_name_is_refused() {
    let scene = Scene::new();
    let class = parameters([("replicas", "2"), ("mkfsOptions", "-m 0")]);
    let wish = csi::CreateVolumeRequest { parameters: class, ..sized("pvc-1", GIB, 2 * GIB) };
    let made = scene.create(wish.clone()).unwrap();
    assert_eq!((made.volume_id.as_str(), made.capacity_bytes), ("pvc-1", GIB));
    assert_eq!(made.volume_context, parameters([("mkfsOptions", "-m 0")]));
    assert_eq!(scene.create(wish.clone()).unwrap(), made);
    assert_eq!(scene.create(csi::CreateVolumeRequest { capacity_range: None, ..wish.clone() }).unwrap(), made);

    let other = |what: &str, wish| {
        let status = scene.create(wish).unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists, "{what}: {status}");
        assert!(status.message().contains(what), "{what}: {status}");
    };
    other("size", csi::CreateVolumeRequest { parameters: wish.parameters.clone(), ..sized("pvc-1", 2 * GIB, 0) });
    other("size", csi::CreateVolumeRequest { parameters: wish.parameters.clone(), ..sized("pvc-1", MIB, 2 * MIB) });
    other("parameters", csi::CreateVolumeRequest { parameters: parameters([("replicas", "1")]), ..wish.clone() });
    scene.create(volume("base")).unwrap();
    let source = Type::Volume(VolumeSource { volume_id: "base".to_owned() });
    other("source", csi::CreateVolumeRequest { parameters: wish.parameters.clone(), ..from("pvc-1", source) });
    // What a person made is not taken for a volume of Kubernetes.
    other("parameters", sized("first", 0, 0));

    // A change made since does not make the retry of the creation another wish.
    modify(&scene, "pvc-1", &[("replicas", "3")]).unwrap();
    assert_eq!(scene.create(wish).unwrap(), made);
}

#[test]
fn requests_are_checked_in_order_and_sizes_are_exact() {
    let scene = Scene::new();
    let none = csi::CreateVolumeRequest { volume_capabilities: Vec::new(), ..volume("x") };
    let unknown = csi::CreateVolumeRequest { parameters: parameters([("color", "red")]), ..volume("x") };
    let shared = |mode| csi::CreateVolumeRequest { volume_capabilities: vec![capability(mode)], ..volume("x") };
    let files = vec![mounted(Mode::MultiNodeMultiWriter)];
    let files = csi::CreateVolumeRequest { volume_capabilities: files, ..volume("x") };
    let missing = |kind| from("x", kind);
    let snapshot_id = "none".to_owned();
    let rows = [
        (volume(""), Code::InvalidArgument),
        (none, Code::InvalidArgument),
        (unknown, Code::InvalidArgument),
        (shared(Mode::Unknown), Code::InvalidArgument),
        (shared(Mode::MultiNodeSingleWriter), Code::InvalidArgument),
        (files, Code::InvalidArgument),
        (sized("x", -1, 0), Code::InvalidArgument),
        (sized("x", GIB + 1, GIB + 1), Code::OutOfRange),
        (sized("x", 2 * GIB, GIB), Code::OutOfRange),
        (sized("x", i64::MAX, 0), Code::OutOfRange),
        (missing(Type::Snapshot(SnapshotSource { snapshot_id })), Code::NotFound),
        (missing(Type::Volume(VolumeSource { volume_id: "None At All".to_owned() })), Code::NotFound),
        (missing(Type::Volume(VolumeSource { volume_id: String::new() })), Code::InvalidArgument),
        (sized("x", 60 << 40, 0), Code::ResourceExhausted),
    ];
    for (wish, expected) in rows {
        assert_eq!(code(scene.create(wish.clone())), expected, "{wish:?}");
    }
    assert_eq!(scene.create(sized("exact", 4097 * 4096, 4097 * 4096)).unwrap().capacity_bytes, 4097 * 4096);
    assert_eq!(scene.create(sized("least", 1, 0)).unwrap().capacity_bytes, MIB);
    assert_eq!(scene.create(sized("whole", 64 * MIB + 1, 0)).unwrap().capacity_bytes, 64 * MIB + 4096);

    let long = "x".repeat(128);
    let strange = ["A Name / with \u{e4}", long.as_str(), "UPPER", "upper", "-"];
    let ids: Vec<String> = strange.iter().map(|name| scene.create(volume(name)).unwrap().volume_id).collect();
    assert!(ids.iter().all(|id| id.len() <= 128), "{ids:?}");
    for (name, id) in strange.iter().zip(&ids) {
        assert_eq!(scene.create(volume(name)).unwrap().volume_id, *id);
        scene.delete(id).unwrap();
        scene.delete(id).unwrap();
    }
    scene.delete("never was").unwrap();
    assert_eq!(code(scene.delete("")), Code::InvalidArgument);
}

#[test]
fn what_begins_as_something_says_so_and_is_not_smaller() {
    let scene = Scene::new();
    scene.create(sized("origin", 128 * MIB, 0)).unwrap();
    let snapshot = scene.snapshot("snapshot-1", "origin").unwrap();
    assert!(snapshot.ready_to_use && snapshot.size_bytes == 128 * MIB && snapshot.creation_time.is_some());
    let sources = [
        Type::Snapshot(SnapshotSource { snapshot_id: snapshot.snapshot_id.clone() }),
        Type::Volume(VolumeSource { volume_id: "origin".to_owned() }),
    ];
    for (index, kind) in sources.into_iter().enumerate() {
        let wish = from(&format!("copy-{index}"), kind);
        let copy = scene.create(wish.clone()).unwrap();
        assert_eq!((copy.content_source, copy.capacity_bytes), (wish.volume_content_source.clone(), 128 * MIB));
        let of = |required_bytes, limit_bytes, name: &str| csi::CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes }),
            ..wish.clone()
        };
        assert_eq!(code(scene.create(of(64 * MIB, 0, "small"))), Code::OutOfRange);
        assert_eq!(code(scene.create(of(0, 64 * MIB, "limited"))), Code::OutOfRange);
        let larger = scene.create(of(256 * MIB, 0, &format!("larger-{index}"))).unwrap();
        assert_eq!(larger.capacity_bytes, 256 * MIB);
    }
    // Snapshots outlive their volume.
    scene.delete("origin").unwrap();
    let again = from("late", Type::Snapshot(SnapshotSource { snapshot_id: snapshot.snapshot_id }));
    assert_eq!(scene.create(again).unwrap().capacity_bytes, 128 * MIB);
}

#[test]
fn a_volume_is_where_it_has_to_be_or_nowhere() {
    let scene = Scene::new();
    let near = scene.create(placed("near", "1", "none", &["node1", "node2"], &["node2", "node1"])).unwrap();
    assert_eq!(near.accessible_topology, [zone("node2")]);
    let second = scene.create(placed("second", "1", "none", &["nowhere", "node3"], &["nowhere"])).unwrap();
    assert_eq!(second.accessible_topology, [zone("node3")]);
    let spread = scene.create(placed("spread", "2", "required", &["node1", "node3"], &["node3"])).unwrap();
    assert_eq!(spread.accessible_topology, [zone("node1"), zone("node3")]);
    let nodes = scene.ask(async |mut client| {
        let request = v1::GetVolumeRequest { name: "spread".to_owned() };
        let volume = client.get(request).await.unwrap().into_inner();
        volume.replicas.into_iter().map(|replica| replica.node).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(nodes.into_iter().collect::<Vec<_>>(), ["node1", "node3"]);

    let nowhere = [
        placed("n", "1", "none", &["nowhere"], &[]),
        placed("n", "3", "required", &["node1", "node2"], &[]),
        placed("n", "2", "none", &["node1"], &[]),
    ];
    for wish in nowhere {
        let status = scene.create(wish.clone()).unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{wish:?} {status}");
    }
    // The same name, to be used elsewhere; and the retry of a host that is chosen anew.
    assert_eq!(code(scene.create(placed("near", "1", "none", &["node3"], &[]))), Code::AlreadyExists);
    let retried = scene.create(placed("near", "1", "none", &["node1", "node2"], &["node1", "node2"])).unwrap();
    assert_eq!(retried, near);
}

fn modify(scene: &Scene, volume: &str, pairs: &[(&str, &str)]) -> Result<(), tonic::Status> {
    let mutable_parameters = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let request =
        csi::ControllerModifyVolumeRequest { volume_id: volume.to_owned(), mutable_parameters, ..Default::default() };
    scene.call(async |mut client, request| client.controller_modify_volume(request).await, request).map(drop)
}

#[test]
fn all_that_is_to_change_changes_or_nothing() {
    let scene = Scene::new();
    scene.create(csi::CreateVolumeRequest { parameters: parameters([("replicas", "2")]), ..volume("db") }).unwrap();
    let spec = || {
        scene.ask(async |mut client| {
            let request = v1::GetVolumeRequest { name: "db".to_owned() };
            client.get(request).await.unwrap().into_inner().spec.unwrap()
        })
    };
    let before = spec();
    let refused: [&[(&str, &str)]; 4] = [
        &[("replicas", "3"), ("color", "red")],
        &[("description", "new"), ("minInSync", "4")],
        &[("replicas", "3"), ("zoneSpread", "sometimes")],
        &[("replicas", "3"), ("poolTags", "ssd")],
    ];
    for pairs in refused {
        assert_eq!(code(modify(&scene, "db", pairs)), Code::InvalidArgument, "{pairs:?}");
        assert_eq!(spec(), before, "{pairs:?}");
    }
    assert_eq!(code(modify(&scene, "none", &[("replicas", "3")])), Code::NotFound);
    assert_eq!(code(modify(&scene, "", &[("replicas", "3")])), Code::InvalidArgument);
    modify(&scene, "db", &[("replicas", "3"), ("minInSync", "2"), ("zoneSpread", "required")]).unwrap();
    let after = spec();
    assert_eq!((after.replicas, after.in_sync_min, after.zone_spread()), (3, 2, v1::ZoneSpread::Required));
}

fn expand(scene: &Scene, volume: &str, required_bytes: i64, limit_bytes: i64) -> Result<i64, tonic::Status> {
    let request = csi::ControllerExpandVolumeRequest {
        volume_id: volume.to_owned(),
        capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes }),
        ..Default::default()
    };
    let grown = scene.call(async |mut client, request| client.controller_expand_volume(request).await, request);
    grown.map(|grown| {
        assert!(grown.node_expansion_required);
        grown.capacity_bytes
    })
}

#[test]
fn a_volume_grows_also_while_it_is_published_and_never_shrinks() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    scene.publish("db", "h1", Mode::SingleNodeWriter, false).unwrap();
    assert_eq!(expand(&scene, "db", 128 * MIB, 0).unwrap(), 128 * MIB);
    assert_eq!(expand(&scene, "db", 128 * MIB, 0).unwrap(), 128 * MIB);
    assert_eq!(expand(&scene, "db", 64 * MIB, 0).unwrap(), 128 * MIB);
    assert_eq!(code(expand(&scene, "db", 64 * MIB, 64 * MIB)), Code::OutOfRange);
    assert_eq!(code(expand(&scene, "none", 64 * MIB, 0)), Code::NotFound);
    assert_eq!(code(expand(&scene, "", 64 * MIB, 0)), Code::InvalidArgument);
    let rangeless = csi::ControllerExpandVolumeRequest { volume_id: "db".to_owned(), ..Default::default() };
    let found = scene.call(async |mut client, request| client.controller_expand_volume(request).await, rangeless);
    assert_eq!(code(found), Code::InvalidArgument);
}

#[test]
fn lists_are_exact_and_tell_who_has_what() {
    let scene = Scene::new();
    let before = scene.list(0, "").unwrap().entries.len();
    for index in 0..5 {
        scene.create(volume(&format!("v{index}"))).unwrap();
    }
    scene.publish("v3", "h2", Mode::SingleNodeWriter, false).unwrap();
    let all = scene.list(0, "").unwrap();
    assert_eq!((all.entries.len(), all.next_token.as_str()), (before + 5, ""));
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let page = scene.list(2, &token).unwrap();
        assert!(page.entries.len() <= 2);
        found.extend(page.entries);
        token = page.next_token;
        if token.is_empty() {
            break;
        }
    }
    let ids = |entries: &[csi::list_volumes_response::Entry]| -> Vec<String> {
        entries.iter().map(|entry| entry.volume.clone().unwrap().volume_id).collect()
    };
    assert_eq!(ids(&found), ids(&all.entries));
    let entry = all.entries.iter().find(|entry| entry.volume.as_ref().unwrap().volume_id == "v3").unwrap();
    let status = entry.status.clone().unwrap();
    assert_eq!((status.published_node_ids, status.volume_condition.unwrap().abnormal), (vec!["h2".to_owned()], false));
    for wrong in ["invalid-token", "s:v1", "v1"] {
        assert_eq!(code(scene.list(0, wrong)), Code::Aborted, "{wrong}");
    }
    scene.unpublish("v3", "h2").unwrap();
    scene.delete("v3").unwrap();
    assert_eq!(scene.list(0, "").unwrap().entries.len(), before + 4);
    let get = |id: &str| {
        let request = csi::ControllerGetVolumeRequest { volume_id: id.to_owned() };
        scene.call(async |mut client, request| client.controller_get_volume(request).await, request)
    };
    assert_eq!(get("v4").unwrap().volume.unwrap().capacity_bytes, 64 * MIB);
    assert_eq!((code(get("v3")), code(get(""))), (Code::NotFound, Code::InvalidArgument));
}

#[test]
fn capacity_is_what_can_be_made_there() {
    let scene = Scene::new();
    let room = |class, place| {
        let request = csi::GetCapacityRequest { parameters: class, accessible_topology: place, ..Default::default() };
        scene.call(async |mut client, request| client.get_capacity(request).await, request).unwrap()
    };
    let everywhere = room(parameters([]), None);
    let there = room(parameters([]), Some(zone("node1")));
    let largest = there.maximum_volume_size.unwrap();
    assert!(largest > GIB && there.available_capacity >= largest, "{there:?}");
    assert!(everywhere.available_capacity > there.available_capacity, "{everywhere:?}");
    assert_eq!(room(parameters([]), Some(zone("nowhere"))).maximum_volume_size, Some(0));
    assert_eq!(room(parameters([("replicas", "3")]), Some(zone("node1"))).available_capacity, 0);
    let wish = placed("all", "1", "none", &["node1"], &[]);
    let range = Some(csi::CapacityRange { required_bytes: largest, limit_bytes: largest });
    scene.create(csi::CreateVolumeRequest { capacity_range: range, ..wish }).unwrap();
    let left = room(parameters([]), Some(zone("node1")));
    assert!(left.maximum_volume_size < Some(largest), "{left:?}, before {there:?}");
}

#[test]
fn capabilities_are_confirmed_or_it_is_said_why_not() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    let validate = |id: &str, capabilities: Vec<csi::VolumeCapability>| {
        let request = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: id.to_owned(),
            volume_capabilities: capabilities,
            ..Default::default()
        };
        scene.call(async |mut client, request| client.validate_volume_capabilities(request).await, request)
    };
    let (writer, shared) = (capability(Mode::SingleNodeWriter), Mode::MultiNodeMultiWriter);
    let good = vec![writer.clone(), capability(Mode::MultiNodeReaderOnly), capability(shared)];
    let good = validate("db", good).unwrap();
    assert_eq!(good.confirmed.unwrap().volume_capabilities.len(), 3);
    let bad = validate("db", vec![writer.clone(), mounted(shared)]).unwrap();
    assert!(bad.confirmed.is_none() && bad.message.contains("MULTI_NODE_MULTI_WRITER"), "{bad:?}");
    assert_eq!(code(validate("none", vec![writer])), Code::NotFound);
    assert_eq!(code(validate("db", vec![])), Code::InvalidArgument);
}
