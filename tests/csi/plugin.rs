//! The plugin as a process: ready when the cluster answers, gone in good order, and without a state of its own.

use std::time::Duration;

use proto::csi::controller_client::ControllerClient;
use rustix::process::Signal;
use tests::node::program;
use tests::tool::{Running, tool};
use tests::wait;
use tonic::Code;

use crate::scene::{Scene, limited, volume};

#[test]
fn a_controller_is_ready_when_the_cluster_has_answered_and_stays_so() {
    let mut scene = Scene::of_mode("controller");
    let ready = wait::until("the plugin to answer", || scene.probe());
    assert!(!ready, "there is no cluster yet");
    scene.start_cluster();
    scene.until_ready();
    scene.kill_cluster();
    assert_eq!(scene.probe(), Some(true), "to start it again would not help");
    scene.start_cluster();
    scene.until_ready();
}

/// Kubernetes starts a plugin that is not ready again, and with it whatever keeps the node's devices.
#[test]
fn a_node_is_ready_without_the_cluster() {
    let scene = Scene::of_mode("node");
    assert!(wait::until("the plugin to answer", || scene.probe()));
}

#[test]
fn a_call_that_the_cluster_does_not_answer_ends_in_time() {
    let scene = Scene::without_cluster();
    wait::until("the plugin to answer", || scene.probe());
    let begin = std::time::Instant::now();
    let status = scene.run(async |channel| {
        let mut request = tonic::Request::new(volume("db"));
        request.set_timeout(Duration::from_secs(2));
        ControllerClient::new(channel).create_volume(request).await.unwrap_err()
    });
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn it_stops_in_good_order_and_its_socket_is_gone() {
    let mut scene = Scene::new();
    let socket = scene.path("h1.sock");
    // A call that is under way is answered.
    let (answered,) = scene.run(async |channel| {
        let call =
            tokio::spawn(async move { ControllerClient::new(channel).create_volume(limited(volume("db"))).await });
        tokio::time::sleep(Duration::from_millis(5)).await;
        (call,)
    });
    scene.plugin().signal(Signal::TERM);
    let answer = scene.run(async |_| answered.await.unwrap());
    assert!(answer.is_ok() || answer.as_ref().is_err_and(|status| status.code() == Code::Unavailable), "{answer:?}");
    assert_eq!(scene.plugin().ends_within(Duration::from_secs(30)), Some(0), "{}", scene.log("h1.log"));
    assert!(!socket.exists());
}

/// Killed outright at any moment and started again, it finds what it began.
#[test]
fn a_killed_plugin_comes_back_at_its_socket_and_goes_on() {
    let mut scene = Scene::new();
    for round in 0..5 {
        let name = format!("v{round}");
        let wish = volume(&name);
        let (call,) = scene.run(async |channel| {
            let call = tokio::spawn(async move { ControllerClient::new(channel).create_volume(limited(wish)).await });
            tokio::time::sleep(Duration::from_millis(round * 3)).await;
            (call,)
        });
        scene.plugin().kill();
        // It was answered or not; nobody knows what became of it.
        let _answered = scene.run(async |_| call.await);
        scene.start_plugin("h1");
        wait::until("the plugin to be back", || scene.probe().filter(|ready| *ready));
        assert_eq!(scene.create(volume(&name)).unwrap().volume_id, name);
    }
    let named = |id: &str| id.starts_with('v');
    let listed = scene.list(0, "").unwrap();
    let ids = listed.entries.iter().map(|entry| entry.volume.clone().unwrap().volume_id);
    assert_eq!(ids.filter(|id| named(id)).count(), 5);
}

#[test]
fn a_socket_that_is_served_is_not_taken_over() {
    let scene = Scene::without_cluster();
    wait::until("the plugin to answer", || scene.probe());
    let endpoint = format!("unix://{}", scene.path("h1.sock").display());
    let arguments = ["csi", "--mode", "controller", "--endpoint", &endpoint].map(str::to_owned);
    let mut second = Running::start(&program(), &arguments, &scene.path("second.log"));
    assert_eq!(second.ends_within(wait::PATIENCE), Some(1));
    assert!(scene.log("second.log").contains("another program listens there"), "{}", scene.log("second.log"));
    assert!(scene.probe().is_some());
    let mut wrong = tool(&program().display().to_string());
    let said = tests::tool::fail(wrong.args(["csi", "--mode", "controller", "--endpoint", "tcp://127.0.0.1:1"]));
    assert!(said.contains("unix:///csi/csi.sock"), "{said}");
}
