//! Who may use a volume: one node that writes, or nodes that read, and nobody who was shut out.

use proto::csi;
use proto::csi::controller_client::ControllerClient;
use proto::csi::volume_capability::access_mode::Mode;
use proto::v1;
use tonic::Code;

use crate::scene::{Scene, limited, mounted, publish_request, volume};

fn attachments(scene: &Scene, volume: &str) -> Vec<v1::Attachment> {
    scene.ask(async |mut client| {
        let request = v1::GetVolumeRequest { name: volume.to_owned() };
        client.get(request).await.unwrap().into_inner().attachments
    })
}

/// What a node does when it stages a volume.
fn renew(scene: &Scene, volume: &str, host: &str) -> Result<v1::AttachVolumeReply, tonic::Status> {
    scene.ask(async |mut client| {
        let request = v1::AttachVolumeRequest {
            name: volume.to_owned(),
            client: host.to_owned(),
            mode: v1::AccessMode::ReadWrite.into(),
            token: vec![7; 16],
            renew: true,
            ..Default::default()
        };
        client.attach(request).await.map(tonic::Response::into_inner)
    })
}

#[test]
fn what_is_asked_for_is_checked_in_order() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    let mode = Mode::SingleNodeWriter;
    let rows = [
        ("", "h1", mode, Code::InvalidArgument),
        ("db", "", mode, Code::InvalidArgument),
        ("db", "h1", Mode::Unknown, Code::InvalidArgument),
        ("db", "h1", Mode::MultiNodeSingleWriter, Code::InvalidArgument),
        ("none", "h1", mode, Code::NotFound),
        ("No Name", "h1", mode, Code::NotFound),
        ("db", "stranger", mode, Code::NotFound),
        ("db", "Not A Host", mode, Code::NotFound),
    ];
    for (volume, host, mode, expected) in rows {
        let status = scene.publish(volume, host, mode, false).unwrap_err();
        assert_eq!(status.code(), expected, "{volume} {host} {mode:?}: {status}");
    }
    let incapable =
        csi::ControllerPublishVolumeRequest { volume_capability: None, ..publish_request("db", "h1", mode, false) };
    let found = scene.call(async |mut client, request| client.controller_publish_volume(request).await, incapable);
    assert_eq!(found.unwrap_err().code(), Code::InvalidArgument);
    assert!(attachments(&scene, "db").is_empty());
    for (volume, host) in [("db", "h1"), ("none", "h1"), ("No Name", "h1"), ("db", "stranger"), ("db", "Not A Host")] {
        scene.unpublish(volume, host).unwrap();
    }
    assert_eq!(scene.unpublish("", "h1").unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn one_node_writes_or_many_read() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    let context = scene.publish("db", "h1", Mode::SingleNodeWriter, false).unwrap();
    let keys: Vec<&str> = context.keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "mode", "volume"], "a context has no secret");
    let second = scene.publish("db", "h2", Mode::SingleNodeWriter, false).unwrap_err();
    assert_eq!(second.code(), Code::FailedPrecondition);
    assert!(second.message().contains("h1"), "it is said who has it: {second}");
    for mode in [Mode::SingleNodeWriter, Mode::MultiNodeReaderOnly] {
        let flipped = scene.publish("db", "h1", mode, true).unwrap_err();
        assert_eq!(flipped.code(), Code::AlreadyExists, "{flipped}");
    }
    assert_eq!(scene.delete("db").unwrap_err().code(), Code::FailedPrecondition);
    scene.unpublish("db", "h1").unwrap();

    scene.publish("db", "h1", Mode::MultiNodeReaderOnly, false).unwrap();
    scene.publish("db", "h2", Mode::MultiNodeReaderOnly, true).unwrap();
    assert_eq!(attachments(&scene, "db").len(), 2);
    scene.unpublish("db", "h1").unwrap();
    let alone = scene.publish("db", "h1", Mode::SingleNodeReaderOnly, true).unwrap_err();
    assert_eq!(alone.code(), Code::FailedPrecondition);
    assert!(alone.message().contains("h2"), "{alone}");
    scene.unpublish("db", "").unwrap();
    assert!(attachments(&scene, "db").is_empty());
    scene.delete("db").unwrap();
}

/// As a virtual machine does that moves from one node to another.
#[test]
fn nodes_share_a_device_and_each_is_shut_out_by_itself() {
    let scene = Scene::new();
    scene.create(volume("vm")).unwrap();
    let shared = Mode::MultiNodeMultiWriter;
    for host in ["h1", "h2"] {
        scene.publish("vm", host, shared, false).unwrap();
        renew(&scene, "vm", host).unwrap();
    }
    let before = attachments(&scene, "vm");
    assert!(before.len() == 2 && before.iter().all(|held| held.mode() == v1::AccessMode::Shared), "{before:?}");
    scene.publish("vm", "h1", shared, false).unwrap();
    assert_eq!(attachments(&scene, "vm"), before, "whoever asks again changes nothing");
    let alone = scene.publish("vm", "h1", Mode::SingleNodeWriter, false).unwrap_err();
    assert!(alone.code() == Code::FailedPrecondition && alone.message().contains("h2"), "{alone}");
    assert_eq!(scene.publish("vm", "h1", Mode::MultiNodeReaderOnly, false).unwrap_err().code(), Code::AlreadyExists);
    let mount = csi::ControllerPublishVolumeRequest {
        volume_capability: Some(mounted(shared)),
        ..publish_request("vm", "h1", shared, false)
    };
    let refused = scene.call(async |mut client, request| client.controller_publish_volume(request).await, mount);
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "a filesystem has one kernel that writes");
    scene.unpublish("vm", "h1").unwrap();
    assert_eq!(renew(&scene, "vm", "h1").unwrap_err().code(), Code::FailedPrecondition);
    let left = attachments(&scene, "vm");
    assert_eq!(left.iter().map(|held| held.client.as_str()).collect::<Vec<_>>(), ["h2"]);
    assert_eq!(left[0].generation, before.iter().find(|held| held.client == "h2").unwrap().generation, "as it was");
    scene.unpublish("vm", "h2").unwrap();
    scene.delete("vm").unwrap();
}

/// The attacher asks again after every restart: a node that uses the volume must not notice.
#[test]
fn publishing_again_leaves_the_node_that_uses_the_volume_alone() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    let context = scene.publish("db", "h1", Mode::SingleNodeWriter, false).unwrap();
    let staged = renew(&scene, "db", "h1").unwrap().generation;
    for _ in 0..3 {
        assert_eq!(scene.publish("db", "h1", Mode::SingleNodeMultiWriter, false).unwrap(), context);
    }
    let held = attachments(&scene, "db");
    assert_eq!((held.len(), held[0].generation), (1, staged), "the token that the node has is still the one");
}

/// A node that was given up, and that comes back late, gets nothing, and its replacement keeps what it has.
#[test]
fn a_node_that_was_unpublished_cannot_stage_any_more() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    assert_eq!(renew(&scene, "db", "h1").unwrap_err().code(), Code::FailedPrecondition, "it was never published");
    scene.publish("db", "h1", Mode::SingleNodeWriter, false).unwrap();
    renew(&scene, "db", "h1").unwrap();
    scene.unpublish("db", "h1").unwrap();
    assert_eq!(renew(&scene, "db", "h1").unwrap_err().code(), Code::FailedPrecondition);
    scene.publish("db", "h2", Mode::SingleNodeWriter, false).unwrap();
    assert_eq!(renew(&scene, "db", "h1").unwrap_err().code(), Code::FailedPrecondition);
    let held = attachments(&scene, "db");
    assert!(held.len() == 1 && held[0].client == "h2", "{held:?}");
}

#[test]
fn calls_at_one_time_join_and_none_is_sent_away() {
    let scene = Scene::new();
    let codes = scene.run(async |channel| {
        let create = |name: &'static str| {
            let mut client = ControllerClient::new(channel.clone());
            tokio::spawn(async move { client.create_volume(limited(volume(name))).await.map(drop) })
        };
        let publish = |host: &'static str| {
            let mut client = ControllerClient::new(channel.clone());
            let request = publish_request("db", host, Mode::SingleNodeWriter, false);
            tokio::spawn(async move { client.controller_publish_volume(limited(request)).await.map(drop) })
        };
        let mut codes = Vec::new();
        for task in (0..8).map(|_| create("db")).collect::<Vec<_>>() {
            codes.push(task.await.unwrap().err().map(|status| status.to_string()));
        }
        for task in (0..8).map(|_| publish("h1")).collect::<Vec<_>>() {
            codes.push(task.await.unwrap().err().map(|status| status.to_string()));
        }
        codes
    });
    assert!(codes.iter().all(Option::is_none), "{codes:?}");
    assert_eq!(attachments(&scene, "db").len(), 1);
}

/// Of two nodes that want it at one time one gets it, and the other hears who.
#[test]
fn of_two_nodes_one_gets_the_volume() {
    let scene = Scene::new();
    scene.create(volume("db")).unwrap();
    let answers = scene.run(async |channel| {
        let publish = |host: &'static str| {
            let mut client = ControllerClient::new(channel.clone());
            let request = publish_request("db", host, Mode::SingleNodeWriter, false);
            tokio::spawn(async move { client.controller_publish_volume(limited(request)).await.map(drop) })
        };
        let (one, two) = (publish("h1"), publish("h2"));
        [one.await.unwrap(), two.await.unwrap()]
    });
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(refused.len() == 1 && refused[0].code() == Code::FailedPrecondition, "{refused:?}");
}
