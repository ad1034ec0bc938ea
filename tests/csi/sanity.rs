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
fn run(scene: &Scene, name: &str, socket: &str, options: &[&str]) -> Result<(), String> {
    let program = program().expect("it was looked for");
    let parameters = scene.path("mutable.yaml");
    fs::write(&parameters, "replicas: \"2\"\n").unwrap();
    let (target, staging) = (scene.path(&format!("{name}-target")), scene.path(&format!("{name}-staging")));
    let mut command: Command = tool(program.to_str().unwrap());
    command.arg(format!("--csi.endpoint=unix://{}", scene.path(socket).display()));
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

/// In four ways: as devices and as filesystems, asked at one socket, and the controller at another than the node.
#[test]
fn the_interfaces_own_tests_pass() {
    if program().is_none() {
        skip::skip("csi_sanity", "csi-sanity is not built: .ci/csi-sanity builds it, with Go");
        return;
    }
    let scene = Scene::new();
    let split = format!("--csi.controllerendpoint=unix://{}", scene.path("h1.sock").display());
    for kind in ["block", "mount"] {
        let access = format!("--csi.testvolumeaccesstype={kind}");
        for (name, socket, more) in [("one", "h1.sock", ""), ("split", "h2.sock", split.as_str())] {
            let options: Vec<&str> = [access.as_str(), more].into_iter().filter(|one| !one.is_empty()).collect();
            let ended = run(&scene, &format!("{kind}-{name}"), socket, &options);
            assert!(ended.is_ok(), "{kind} {name}: {}\n{}", ended.unwrap_err(), scene.log("h1.log"));
        }
    }
    assert_eq!(scene.list(0, "").unwrap().entries.len(), 1, "nothing is left but what was there");
}
