//! csi-sanity, the test program of the interface's authors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::skip;
use tests::tool::{output, tool};

use crate::scene::Scene;

/// Where `.ci/csi-sanity` puts it.
fn program() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let program = cache.join("plinth/tools/go/bin/csi-sanity");
    program.exists().then_some(program)
}

/// One run of it, with these options; answers what it printed when it failed.
fn run(scene: &Scene, name: &str, options: &[&str]) -> Result<(), String> {
    let program = program().expect("it was looked for");
    let parameters = scene.path("mutable.yaml");
    fs::write(&parameters, "replicas: \"2\"\n").unwrap();
    let (target, staging) = (scene.path(&format!("{name}-target")), scene.path(&format!("{name}-staging")));
    let mut command: Command = tool(program.to_str().unwrap());
    command.arg(format!("--csi.endpoint=unix://{}", scene.path("h1.sock").display()));
    command.arg(format!("--csi.mountdir={}", target.display()));
    command.arg(format!("--csi.stagingdir={}", staging.display()));
    command.args(["--csi.testvolumesize=67108864", "--csi.testvolumeexpandsize=134217728"]);
    command.arg(format!("--csi.testvolumemutableparameters={}", parameters.display()));
    command.args(["--ginkgo.no-color", "--ginkgo.timeout=3m"]).args(options);
    let ended = output(&mut command);
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let summary = said.lines().find(|line| line.contains("Passed |")).unwrap_or_default();
    println!("csi-sanity, {name}: {summary}");
    if ended.status.success() { Ok(()) } else { Err(said) }
}

/// What can be checked without a device: everything about the controller.
#[test]
fn the_interfaces_own_tests_pass_for_the_controller() {
    if program().is_none() {
        skip::skip("csi_sanity", "csi-sanity is not built: .ci/csi-sanity builds it, with Go");
        return;
    }
    let scene = Scene::new();
    let only = "--ginkgo.skip=Node Service|NodeGetVolumeStats|should work \\[Serial\\]|volume lifecycle";
    for (name, kind) in [("block", "block"), ("mount", "mount")] {
        let access = format!("--csi.testvolumeaccesstype={kind}");
        let ended = run(&scene, name, &[&access, only]);
        assert!(ended.is_ok(), "{}\n{}", ended.unwrap_err(), scene.log("h1.log"));
    }
}
