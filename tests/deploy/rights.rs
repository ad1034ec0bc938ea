//! Who may ask Kubernetes for what: exactly this, and nobody else anything.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chart::{production, rendered};
use crate::objects::{of_kind, text, texts, title, workloads};
use crate::{assert_found, assert_none};

const READ: &str = "get list watch";

/// A role, and what it may do: group/resource and verbs. From what each sidecar documents; no secrets, no writing of nodes.
const ROLES: [(&str, &[(&str, &str)]); 6] = [
    (
        "plinth-csi-provisioner",
        &[
            ("/persistentvolumes", "get list watch create patch delete"),
            ("/persistentvolumeclaims", "get list watch update"),
            ("/nodes", READ),
            ("/events", "list watch create update patch"),
            ("storage.k8s.io/storageclasses", READ),
            ("storage.k8s.io/csinodes", READ),
            ("storage.k8s.io/volumeattachments", READ),
            ("storage.k8s.io/volumeattributesclasses", READ),
            ("snapshot.storage.k8s.io/volumesnapshots", READ),
            ("snapshot.storage.k8s.io/volumesnapshotcontents", READ),
        ],
    ),
    (
        "plinth-csi-attacher",
        &[
            ("/persistentvolumes", "get list watch patch"),
            ("storage.k8s.io/csinodes", READ),
            ("storage.k8s.io/volumeattachments", "get list watch patch"),
            ("storage.k8s.io/volumeattachments/status", "patch"),
        ],
    ),
    (
        "plinth-csi-resizer",
        &[
            ("/persistentvolumes", "get list watch patch"),
            ("/persistentvolumeclaims", READ),
            ("/persistentvolumeclaims/status", "patch"),
            ("/pods", READ),
            ("/events", "list watch create update patch"),
            ("storage.k8s.io/volumeattributesclasses", READ),
        ],
    ),
    (
        "plinth-csi-snapshotter",
        &[
            ("/events", "list watch create update patch"),
            ("snapshot.storage.k8s.io/volumesnapshotclasses", READ),
            ("snapshot.storage.k8s.io/volumesnapshotcontents", "get list watch update patch"),
            ("snapshot.storage.k8s.io/volumesnapshotcontents/status", "update patch"),
            ("groupsnapshot.storage.k8s.io/volumegroupsnapshotclasses", READ),
            ("groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents", "get list watch update patch"),
            ("groupsnapshot.storage.k8s.io/volumegroupsnapshotcontents/status", "update patch"),
        ],
    ),
    (
        "plinth-csi-health-monitor",
        &[
            ("/persistentvolumes", READ),
            ("/persistentvolumeclaims", READ),
            ("/pods", READ),
            ("/nodes", READ),
            ("/events", "get list watch create patch"),
        ],
    ),
    (
        // In its namespace only: who leads, and how much space there is where.
        "plinth-csi-controller",
        &[
            ("coordination.k8s.io/leases", "get list watch create update patch delete"),
            ("storage.k8s.io/csistoragecapacities", "get list watch create update patch delete"),
            ("/pods", "get"),
            ("apps/replicasets", "get"),
        ],
    ),
];

/// The only account that has rights.
const ACCOUNT: &str = "plinth-csi-controller";

type Rights = BTreeMap<String, BTreeSet<String>>;

fn allowed(role: &str) -> Rights {
    let rows = ROLES.iter().find(|(name, _)| *name == role).map_or(&[][..], |(_, rows)| rows);
    let words = |verbs: &str| verbs.split(' ').map(str::to_owned).collect();
    rows.iter().map(|(resource, verbs)| ((*resource).to_owned(), words(verbs))).collect()
}

fn granted(role: &Value) -> Rights {
    let mut rights = Rights::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.entry(format!("{group}/{resource}")).or_default().extend(texts(&rule["verbs"]));
            }
        }
    }
    rights
}

/// Rights that are not in the table; with `exactly`, also those of the table that are missing.
fn wrong_rights(objects: &[Value], exactly: bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for role in of_kind(objects, "ClusterRole").chain(of_kind(objects, "Role")) {
        let (mut allowed, name) = (allowed(text(&role["metadata"]["name"])), title(role));
        for (resource, verbs) in granted(role) {
            let expected = allowed.remove(&resource).unwrap_or_default();
            let more: Vec<&String> = verbs.difference(&expected).collect();
            let less: Vec<&String> = expected.difference(&verbs).filter(|_| exactly).collect();
            if !more.is_empty() || !less.is_empty() {
                complaints.push(format!("{name}: {resource}: too much {more:?}, too little {less:?}"));
            }
        }
        complaints.extend(allowed.keys().filter(|_| exactly).map(|resource| format!("{name}: {resource}: missing")));
    }
    complaints
}

/// Rights that reach somebody else, and accounts with a token that need none.
fn wrong_accounts(objects: &[Value]) -> Vec<String> {
    let mut complaints = Vec::new();
    for binding in of_kind(objects, "ClusterRoleBinding").chain(of_kind(objects, "RoleBinding")) {
        for subject in binding["subjects"].as_array().into_iter().flatten() {
            if subject["kind"] != "ServiceAccount" || subject["name"] != ACCOUNT || subject["namespace"] != "plinth" {
                complaints.push(format!("{}: gives rights to {subject}", title(binding)));
            }
        }
    }
    for workload in workloads(objects) {
        let pod = &workload["spec"]["template"]["spec"];
        let account = text(&pod["serviceAccountName"]);
        let known = of_kind(objects, "ServiceAccount").any(|one| text(&one["metadata"]["name"]) == account);
        if !known || pod["automountServiceAccountToken"] != (account == ACCOUNT) {
            complaints.push(format!("{}: runs as {account:?}, known: {known}, or its token is wrong", title(workload)));
        }
    }
    complaints
}

#[test]
fn nobody_may_do_more_than_it_must() {
    let Some(rendered) = rendered("nobody_may_do_more_than_it_must") else { return };
    for one in rendered {
        let exactly = one.name == "production";
        assert_none(one.name, &wrong_rights(&one.objects, exactly));
        assert_none(one.name, &wrong_accounts(&one.objects));
    }
}

#[test]
fn a_right_too_many_is_found() {
    let Some(objects) = production("a_right_too_many_is_found") else { return };
    let mut planted = objects.to_vec();
    for object in &mut planted {
        match (text(&object["kind"]), text(&object["metadata"]["name"])) {
            ("ClusterRole", "plinth-csi-attacher") => object["rules"][0]["resources"][0] = "secrets".into(),
            ("ClusterRole", "plinth-csi-provisioner") => object["rules"][3]["verbs"][0] = "update".into(),
            ("ClusterRole", "plinth-csi-resizer") => object["rules"][0]["verbs"][0] = "*".into(),
            ("RoleBinding", _) => object["subjects"][0]["name"] = "default".into(),
            ("DaemonSet", "plinth-csi-node-a") => {
                object["spec"]["template"]["spec"]["automountServiceAccountToken"] = true.into();
            }
            _ => {}
        }
    }
    let rights = wrong_rights(&planted, true);
    for words in ["attacher: /secrets", "provisioner: /nodes", "resizer: /persistentvolumes"] {
        assert_found(&rights, words);
    }
    let accounts = wrong_accounts(&planted);
    assert_found(&accounts, "gives rights to");
    assert_found(&accounts, "plinth-csi-node-a");
}
