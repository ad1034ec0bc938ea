//! The plain manifests are what the chart renders.

use std::fs;

use tests::tool;

use crate::chart::{root, tools};

#[test]
fn plain_manifests_are_what_the_chart_renders() {
    let test = "plain_manifests_are_what_the_chart_renders";
    if tools(test).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    tool::run(tool::tool("deploy/render").arg(folder.path()).current_dir(root()));
    let kept = fs::read_to_string(root().join("deploy/manifests/plinth.yaml")).unwrap();
    let fresh = fs::read_to_string(folder.path().join("plinth.yaml")).unwrap();
    let differs = kept.lines().zip(fresh.lines()).position(|(one, other)| one != other);
    assert!(kept == fresh, "deploy/manifests differs from line {differs:?} on: `make manifests`");
}
