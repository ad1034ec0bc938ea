//! Any node takes any volume's clients.

use tests::cluster::Cluster;
use tests::tool;
use tests::wait;

#[test]
fn a_volume_is_reached_through_every_node_and_grows_there() {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "64MiB", "--zone", "n2"]);
    let volume = shell.json(&["volume", "show", "db"]);
    assert_eq!(volume["replicas"][0]["node"], "n2");
    let uris = shell.attach("db", "host1");
    assert_eq!(uris.len(), 3, "{uris:?}");
    let source = cluster.path("source.img");
    let bytes: Vec<u8> = (0..16_u64 << 20 >> 3).flat_map(u64::to_le_bytes).collect();
    std::fs::write(&source, &bytes).unwrap();
    for uri in &uris {
        let copy = cluster.path("copy.img");
        tool::run(shell.tool("nbdcopy").arg(&source).arg(uri));
        tool::run(shell.tool("nbdcopy").arg(uri).arg(&copy));
        let copied = std::fs::read(&copy).unwrap();
        assert!(copied[..bytes.len()] == bytes[..] && copied.len() == 64 << 20, "{uri}");
    }
    shell.run(&["volume", "resize", "db", "96MiB"]);
    for uri in &uris {
        let size = tool::run(shell.tool("nbdinfo").args(["--size", uri]));
        assert_eq!(size.trim(), (96_u64 << 20).to_string(), "{uri}");
    }
}

#[test]
fn a_node_that_was_killed_comes_back_with_its_volumes() {
    let mut cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "16MiB", "--zone", "n1"]);
    shell.run(&["volume", "create", "gone", "--size", "16MiB", "--zone", "n1"]);
    let _uris = shell.attach("db", "host1");
    cluster.kill_node("n1");
    wait::until("the node to be lost", || (cluster.status()?["nodes_up"] == 2).then_some(()));
    let volume = shell.json(&["volume", "show", "db"]);
    assert_eq!(volume["phase"], "unavailable");
    let words = shell.run(&["explain", "volume", "db"]);
    assert!(words.contains("n1") && words.contains("not heard"), "{words}");
    // No dead node blocks a delete.
    shell.run(&["volume", "delete", "gone", "--no-wait"]);
    let delayed = shell.plinth(&["volume", "detach", "db", "--all", "--timeout", "2"]);
    let words = String::from_utf8(delayed.stderr).unwrap();
    assert!(delayed.status.code() == Some(1) && words.contains("n1"), "{words}");
    cluster.start_node("n1");
    cluster.settle();
    assert_eq!(shell.json(&["volume", "show", "db"])["phase"], "ready");
    let pools = shell.json(&["pool", "list"]);
    assert!(pools.as_array().unwrap().iter().all(|pool| pool["orphans"] == serde_json::json!([])), "{pools}");
}
