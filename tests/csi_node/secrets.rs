//! Nobody but root on the node sees what lets a node use a volume: looked for by its value, wherever it could have gone.

use std::fs;
use std::process::{Command, Stdio};

use proto::csi::volume_capability::access_mode::Mode;
use tests::cluster::Cluster;
use tests::skip::skip;
use tests::wait;

use crate::controller::Claim;
use crate::plugin::{Node, block, in_mode, lacking};

/// What is known of every process: how it was called, and its environment. Where the secret is in it.
fn seen_in_processes(secret: &str) -> Vec<String> {
    let found_in = |entry: &fs::DirEntry, what: &str| {
        let bytes = fs::read(entry.path().join(what)).unwrap_or_default();
        let is_there = contains(&bytes, secret);
        is_there.then(|| format!("{} of process {}", what, entry.file_name().display()))
    };
    let processes = fs::read_dir("/proc").expect("it is done").flatten();
    processes.flat_map(|entry| ["cmdline", "environ"].map(|what| found_in(&entry, what))).flatten().collect()
}

fn contains(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|part| part.eq_ignore_ascii_case(secret.as_bytes()))
}

/// The search finds what is there.
fn search_is_proven(secret: &str) {
    for (argument, variable) in [(secret, "nothing"), ("nothing", secret)] {
        let mut planted = Command::new("sh")
            .args(["-c", "read line", argument])
            .env("PLANTED", variable)
            .stdin(Stdio::piped())
            .spawn()
            .expect("it is done");
        let found = wait::within(wait::PATIENCE, || Some(seen_in_processes(secret)).filter(|found| !found.is_empty()));
        planted.kill().expect("it is done");
        planted.wait().expect("it is done");
        assert!(found.is_some(), "what is planted is found");
    }
    let gone = wait::within(wait::PATIENCE, || seen_in_processes(secret).is_empty().then_some(()));
    assert!(gone.is_some(), "{:?}", seen_in_processes(secret));
}

#[test]
fn no_token_is_in_a_log_an_argument_an_environment_a_context_or_an_answer() {
    if let Some(what) = lacking() {
        return skip("no_token_is_in_a_log_an_argument_an_environment_a_context_or_an_answer", what);
    }
    let mut cluster = Cluster::on_loopback();
    let node = Node::with_controller(&cluster, "node-a");
    let (caller, shared) = (node.caller(), in_mode(block(), Mode::MultiNodeMultiWriter));
    let mut answers = Vec::new();
    let made = wait::until("the controller", || caller.create(Claim::new("db", 64 << 20, shared.clone())).ok());
    answers.push(format!("{made:?}"));
    answers.push(format!("{:?}", caller.attach("db", "node-a", shared.clone()).unwrap()));
    caller.stage_as("db", shared.clone(), &[]).unwrap();
    caller.publish_as("db", "pod", shared.clone(), false).unwrap();
    let first = node.token("db");
    assert_eq!(first.len(), 32);
    assert_eq!(seen_in_processes(&first), Vec::<String>::new());
    // What goes wrong is told, and logged: nodes that die under the device, and a volume that is taken away.
    let nodes = ["n1", "n2", "n3"];
    nodes.iter().for_each(|name| cluster.kill_node(name));
    let agent =
        wait::until("the agent to say that it broke", || Some(node.agent_log("db")).filter(|log| !log.is_empty()));
    nodes.iter().for_each(|name| cluster.start_node(name));
    cluster.settle();
    cluster.run(&["volume", "detach", "db", "--client", "node-a"]);
    answers.push(format!("{:?}", caller.stage_as("db", shared.clone(), &[])));
    answers.push(format!("{:?}", caller.publish_as("db", "pod2", shared.clone(), false)));
    answers.push(format!("{:?}", caller.stats("db", &caller.target("pod"))));
    for pod in ["pod", "pod2"] {
        caller.unpublish("db", pod).unwrap();
    }
    caller.unstage("db").unwrap();
    // Another one each time.
    answers.push(format!("{:?}", caller.attach("db", "node-a", shared.clone()).unwrap()));
    caller.stage_as("db", shared, &[]).unwrap();
    let second = node.token("db");
    assert_ne!(first, second);
    answers.push(cluster.run(&["volume", "show", "db"]));
    answers.push(cluster.run(&["explain", "volume", "db"]));
    caller.unstage("db").unwrap();
    assert!(node.log().contains("ControllerPublishVolume"), "the log says something: {}", node.log());
    for token in [first, second] {
        for text in answers.iter().chain([&agent, &node.log()]) {
            assert!(!contains(text.as_bytes(), &token), "{text}");
        }
        for process in ["voter1", "voter2", "voter3", "n1", "n2", "n3"] {
            let log = cluster.log(process);
            assert!(!contains(log.as_bytes(), &token), "{process}: {log}");
        }
        search_is_proven(&token);
    }
    node.is_clean();
}
