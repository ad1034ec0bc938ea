//! Two of three voters are lost with their disks: the third takes over, and nodes are heard before it decides anything.

use std::process::Output;

use tests::cluster::{Cluster, Role, Shell};
use tests::wait;
use tests::writer::{Writer, primary, replicas_in_sync, whole};

/// Exit code of what is refused as things are.
const CONFLICT: Option<i32> = Some(4);

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn refused(shell: &Shell, arguments: &[&str], why: &str) {
    let output = shell.plinth(arguments);
    let words = said(&output);
    assert!(output.status.code() == CONFLICT && words.contains(why), "{arguments:?}: {words}");
}

fn written(cluster: &Cluster, seed: u64) -> Writer {
    cluster.ask_for_replicated("db", "64MiB");
    whole(cluster);
    let mut writer = Writer::new(cluster.shell().attach("db", "host1"), seed);
    (0..300).for_each(|_| writer.write());
    writer
}

/// The other two are gone with their disks, and this one is made the only voter.
fn take_over(cluster: &mut Cluster, left: u64) {
    let others: Vec<u64> = cluster.voter_ids().into_iter().filter(|id| *id != left).collect();
    others.iter().for_each(|id| cluster.wipe_voter(*id));
    let data = cluster.voter_data(left).to_str().unwrap().to_owned();
    let recover = |cluster: &Cluster, forget: &str| {
        let mut arguments = vec!["control", "recover", "--data", &data];
        if !forget.is_empty() {
            arguments.extend(["--forget-voters", forget]);
        }
        cluster.shell().plinth(&arguments)
    };
    if cluster.is_voter_started(left) {
        let output = recover(cluster, "");
        assert!(!output.status.success() && said(&output).contains("in use"), "it runs: {}", said(&output));
        cluster.kill_voter(left);
    }
    let names = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let told = wait::until("the store to be let go of", || {
        let output = recover(cluster, "");
        output.status.success().then(|| said(&output))
    });
    assert!(told.contains("Nothing was changed") && told.contains(&format!("--forget-voters {names}")), "{told}");
    let output = recover(cluster, &others[0].to_string());
    assert!(!output.status.success() && said(&output).contains("name exactly"), "{}", said(&output));
    let output = recover(cluster, &names);
    assert!(output.status.success(), "{}", said(&output));
    cluster.start_voter(left, Role::Joiner);
}

fn problems(cluster: &Cluster) -> String {
    let status = cluster.status().unwrap_or_default();
    let all = status["problems"].as_array().cloned().unwrap_or_default();
    all.iter().filter_map(|problem| problem["sentence"].as_str().map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

fn resume(cluster: &Cluster) {
    wait::until("all nodes to be heard", || {
        let output = cluster.shell().plinth(&["cluster", "resume"]);
        output.status.success().then_some(())
    });
}

#[test]
fn a_cluster_that_lost_two_of_three_voters_goes_on_with_the_third_and_loses_no_write() {
    let mut cluster = Cluster::on_loopback();
    let mut writer = written(&cluster, 21);
    let left = cluster.leader();
    take_over(&mut cluster, left);
    wait::until("the operator to be told", || problems(&cluster).contains("recovered from one voter").then_some(()));
    // Clients go on, and nothing else.
    (0..200).for_each(|_| writer.write());
    refused(&cluster.shell(), &["volume", "create", "new", "--size", "1MiB"], "plinth cluster resume");
    resume(&cluster);
    (0..200).for_each(|_| writer.write());
    whole(&cluster);
    writer.check();
    // It is a cluster like any other: it fails over, makes volumes, and has three voters again.
    cluster.kill_node(&primary(&cluster));
    (0..200).for_each(|_| writer.write());
    cluster.start_nodes();
    whole(&cluster);
    cluster.run(&["volume", "create", "new", "--size", "1MiB", "--replicas", "3"]);
    for id in [4, 5] {
        cluster.start_voter(id, Role::Joiner);
        cluster.add_voter(id);
    }
    assert_eq!(cluster.json(&["cluster", "voters"]).as_array().unwrap().len(), 3);
    writer.move_to(cluster.shell().attach("db", "host1"));
    writer.check();
}

#[test]
fn a_replica_that_the_lost_voters_had_left_behind_is_not_gone_on_from() {
    let mut cluster = Cluster::on_loopback();
    let mut writer = written(&cluster, 22);
    // One voter hears no more, and one replica neither: the others go on without both.
    let left = cluster.voter_ids().into_iter().find(|id| *id != cluster.leader()).unwrap();
    cluster.kill_voter(left);
    let behind = cluster.node_names().into_iter().find(|node| *node != primary(&cluster)).unwrap();
    cluster.kill_node(&behind);
    (0..300).for_each(|_| writer.write());
    wait::until("the dead replica to be given up", || (replicas_in_sync(&cluster) == 2).then_some(()));
    (0..300).for_each(|_| writer.write());
    take_over(&mut cluster, left);
    // Everybody is started anew, so that nobody is as it was, and the one that was left behind comes first.
    cluster.kill_nodes();
    cluster.start_node(&behind);
    wait::until("its node to be heard", || (cluster.status()?["nodes_up"] == 1).then_some(()));
    refused(&cluster.shell(), &["cluster", "resume"], "not heard since");
    cluster.start_nodes();
    resume(&cluster);
    wait::until("the operator to be told", || {
        problems(&cluster).contains("voters that are lost decided after that").then_some(())
    });
    let shell = cluster.shell();
    let promote =
        |node: &str| ["volume", "promote", "db", "--replica", node, "--yes-lose-data", "db"].map(str::to_owned);
    let older = promote(&behind);
    refused(&shell, &older.each_ref().map(String::as_str), "goes by a newer configuration");
    let newer = cluster.node_names().into_iter().find(|node| *node != behind).unwrap();
    cluster.run(&promote(&newer).each_ref().map(String::as_str));
    whole(&cluster);
    writer.move_to(shell.attach("db", "host1"));
    writer.check();
    (0..100).for_each(|_| writer.write());
    let verified = shell.plinth(&["volume", "verify", "db", "--data", "--timeout", "60"]);
    assert!(verified.status.success(), "{}", said(&verified));
}
