//! Labels lead where they should: what selects pods finds them, and no pod belongs to two.

use serde_json::{Map, Value};

use crate::chart::{production, rendered};
use crate::objects::{of_kind, title, workloads};
use crate::{assert_found, assert_none};

type Labels = Map<String, Value>;

/// Whether what asks for `wanted` finds what has `labels`.
fn selects(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn labels(value: &Value) -> Labels {
    value.as_object().cloned().unwrap_or_default()
}

/// Everything that selects pods, and what it selects.
fn selectors(objects: &[Value]) -> Vec<(String, Labels)> {
    let mut found = Vec::new();
    for object in objects {
        let spec = &object["spec"];
        let selector = match object["kind"].as_str().unwrap_or_default() {
            "Service" => &spec["selector"],
            "PodDisruptionBudget" | "DaemonSet" | "Deployment" | "StatefulSet" => &spec["selector"]["matchLabels"],
            "NetworkPolicy" => &spec["podSelector"]["matchLabels"],
            _ => continue,
        };
        found.push((title(object), labels(selector)));
    }
    found
}

fn complaints(objects: &[Value]) -> Vec<String> {
    let pods: Vec<(String, Labels)> = workloads(objects)
        .map(|workload| (title(workload), labels(&workload["spec"]["template"]["metadata"]["labels"])))
        .collect();
    let mut complaints = Vec::new();
    for (name, wanted) in selectors(objects) {
        let found: Vec<&String> =
            pods.iter().filter(|(_, labels)| selects(&wanted, labels)).map(|(pod, _)| pod).collect();
        let owns_pods = ["DaemonSet", "Deployment", "StatefulSet"].iter().any(|kind| name.starts_with(kind));
        if wanted.is_empty() || found.is_empty() || (owns_pods && found != [&name]) {
            complaints.push(format!("{name}: selects {found:?}"));
        }
    }
    for monitor in of_kind(objects, "ServiceMonitor") {
        let wanted = labels(&monitor["spec"]["selector"]["matchLabels"]);
        if !of_kind(objects, "Service").any(|service| selects(&wanted, &labels(&service["metadata"]["labels"]))) {
            complaints.push(format!("{}: selects no Service", title(monitor)));
        }
    }
    complaints
}

#[test]
fn what_selects_pods_finds_its_own() {
    let Some(rendered) = rendered("what_selects_pods_finds_its_own") else { return };
    for one in rendered {
        assert_none(one.name, &complaints(&one.objects));
    }
}

#[test]
fn a_selector_that_finds_nothing_or_too_much_is_found() {
    let Some(objects) = production("a_selector_that_finds_nothing_or_too_much_is_found") else { return };
    let component = "/spec/selector/matchLabels/app.kubernetes.io~1component";
    let mut planted = objects.to_vec();
    for object in &mut planted {
        match title(object).as_str() {
            "PodDisruptionBudget plinth-control" => *object.pointer_mut(component).expect("a label") = "kontrol".into(),
            "DaemonSet plinth-storage-a" => {
                object["spec"]["selector"]["matchLabels"].as_object_mut().expect("labels").remove("plinth.dev/zone");
            }
            _ => {}
        }
    }
    let found = complaints(&planted);
    assert_found(&found, "PodDisruptionBudget plinth-control: selects []");
    assert_found(&found, "DaemonSet plinth-storage-a: selects [");
}
