//! The Dockerfile, as far as that can be looked at without building it.

use std::fs;

use tests::tool::{self, tool};

use crate::chart::{root, tools};

#[test]
fn the_dockerfile_has_no_known_faults() {
    let Some(tools) = tools("the_dockerfile_has_no_known_faults") else { return };
    let lint = tools.python.join("bin/hadolint");
    let lint = lint.to_str().expect("the cache's path is UTF-8");
    tool::run(tool(lint).arg("deploy/image/Dockerfile").current_dir(root()));
    let folder = tempfile::tempdir().unwrap();
    let planted = folder.path().join("Dockerfile");
    fs::write(&planted, "FROM debian:latest\nRUN apt-get update && apt-get install -y xfsprogs\n").unwrap();
    let output = tool::output(tool(lint).arg(&planted));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("DL3007") && said.contains("DL3008"), "{said}");
}
