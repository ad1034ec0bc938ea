//! What containers may do to their host, what they ask of it, and how it knows that they are well.

use serde_json::Value;

use crate::chart::{production, rendered};
use crate::objects::{containers, is_ours, text, texts, title, workloads};
use crate::{assert_found, assert_none};

/// Containers that own the host they are on, and why: workload, container.
const PRIVILEGED: [(&str, &str); 2] = [
    // Mounts, loads a module, makes block devices.
    ("plinth-csi-node", "plinth"),
    // Opens a disk; only where the pool is one.
    ("plinth-storage", "storage"),
];
/// Containers that run as root without its powers: they own files of root's on the host.
const ROOT: [(&str, &str); 3] =
    [("plinth-csi-node", "registrar"), ("plinth-csi-node", "liveness-probe"), ("plinth-storage", "storage")];

/// Powers of root that a container has, and why.
const POWERS: [(&str, &str, &str); 1] = [
    // Registers its buffers with the kernel, whatever the host's RLIMIT_MEMLOCK is: Kubernetes has no say in that.
    ("plinth-storage", "storage", "IPC_LOCK"),
];

fn has_unexplained_powers(workload: &Value, container: &Value) -> bool {
    let added = texts(&container["securityContext"]["capabilities"]["add"]);
    let explained = |power: &String| {
        POWERS.iter().any(|(one, other, allowed)| named(&[(one, other)], workload, container) && power == allowed)
    };
    !added.iter().all(explained)
}

fn named(list: &[(&str, &str)], workload: &Value, container: &Value) -> bool {
    let (workload, container) = (text(&workload["metadata"]["name"]), text(&container["name"]));
    list.iter().any(|(one, other)| workload.starts_with(one) && container == *other)
}

/// What a container may not do, or does not say.
fn complaints(objects: &[Value]) -> Vec<String> {
    let each = |workload| containers(workload).map(move |container| (workload, container));
    let mut complaints = Vec::new();
    for (workload, container) in workloads(objects).flat_map(each) {
        let wrong = confinement(workload, container).into_iter().chain(care(workload, container));
        let name = format!("{}, container {}", title(workload), text(&container["name"]));
        complaints.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
    }
    complaints
}

fn confinement(workload: &Value, container: &Value) -> Vec<&'static str> {
    let security = &container["securityContext"];
    let is_privileged = security["privileged"] == true;
    let may_be_root = named(&ROOT, workload, container) || is_privileged;
    let is_confined =
        security["allowPrivilegeEscalation"] == false && texts(&security["capabilities"]["drop"]) == ["ALL"];
    let rows = [
        (is_privileged && !named(&PRIVILEGED, workload, container), "is privileged"),
        (!is_privileged && !is_confined, "does not give up root's powers"),
        (has_unexplained_powers(workload, container), "asks for powers"),
        (security["readOnlyRootFilesystem"] != true, "may write its image"),
        (security["runAsNonRoot"] != true && !may_be_root, "may be root"),
        (security["runAsNonRoot"] == true && security["runAsUser"] != 65532, "is nobody that is known"),
        (security["seccompProfile"]["type"].is_null() && !is_privileged, "has no seccomp profile"),
    ];
    rows.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, complaint)| complaint).collect()
}

fn care(workload: &Value, container: &Value) -> Vec<&'static str> {
    let requests = &container["resources"]["requests"];
    let image = text(&container["image"]);
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map(|(_, tag)| tag);
    // A Job ends; the probe of another container is none's.
    let is_probed = workload["kind"] == "Job" || container["name"] == "liveness-probe";
    let serves = is_ours(container) && workload["metadata"]["name"] != "plinth-csi-controller" && !is_probed;
    let has_http = container["ports"].as_array().into_iter().flatten().any(|port| port["name"] == "http");
    let rows = [
        (requests["cpu"].is_null() || requests["memory"].is_null(), "says not what it needs of CPU and memory"),
        (container["livenessProbe"].is_null() && !is_probed, "has no liveness probe"),
        (container["readinessProbe"].is_null() && serves && has_http, "has no readiness probe"),
        (tag.is_none_or(|tag| tag.is_empty() || tag == "latest"), "is of no certain version"),
        (container["env"].as_array().into_iter().flatten().any(is_secret), "has a secret in its environment"),
    ];
    rows.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, complaint)| complaint).collect()
}

fn is_secret(variable: &Value) -> bool {
    !variable["valueFrom"]["secretKeyRef"].is_null()
}

#[test]
fn containers_are_confined_watched_and_sized() {
    let Some(rendered) = rendered("containers_are_confined_watched_and_sized") else { return };
    for one in rendered {
        assert_none(one.name, &complaints(&one.objects));
    }
}

#[test]
fn a_file_as_pool_needs_no_privileges() {
    let Some(rendered) = rendered("a_file_as_pool_needs_no_privileges") else { return };
    for one in rendered {
        let nodes = workloads(&one.objects).filter(|one| text(&one["metadata"]["name"]).starts_with("plinth-storage"));
        let privileged = nodes.flat_map(containers).filter(|one| one["securityContext"]["privileged"] == true).count();
        assert_eq!(privileged, if one.name == "production" { 3 } else { 0 }, "{}", one.name);
    }
}

#[test]
fn planted_carelessness_is_found() {
    let Some(objects) = production("planted_carelessness_is_found") else { return };
    let plants: [(&str, Value, &str); 10] = [
        ("/securityContext/capabilities", serde_json::json!({"drop": ["ALL"], "add": ["IPC_LOCK"]}), "asks for powers"),
        ("/securityContext/privileged", true.into(), "is privileged"),
        ("/securityContext/capabilities/drop/0", "NET_RAW".into(), "does not give up root's powers"),
        ("/securityContext/allowPrivilegeEscalation", true.into(), "does not give up root's powers"),
        ("/securityContext/readOnlyRootFilesystem", false.into(), "may write its image"),
        ("/securityContext/runAsNonRoot", false.into(), "may be root"),
        ("/securityContext/seccompProfile", Value::Null, "has no seccomp profile"),
        ("/resources/requests", Value::Null, "says not what it needs"),
        ("/livenessProbe", Value::Null, "has no liveness probe"),
        ("/image", "registry.example.net/plinth:latest".into(), "is of no certain version"),
    ];
    let at = objects.iter().position(|one| one["kind"] == "StatefulSet").expect("the voters");
    assert_none("as it is", &complaints(&objects[at..=at]));
    for (place, value, words) in plants {
        let mut planted = objects[at].clone();
        let container = planted.pointer_mut("/spec/template/spec/containers/0").expect("a container");
        match container.pointer_mut(place) {
            Some(found) => *found = value,
            None => container["securityContext"]["privileged"] = value,
        }
        assert_found(&complaints(&[planted]), words);
    }
}
