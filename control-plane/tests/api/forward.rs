//! Whoever is asked, the leader answers.

use control_plane::Start;
use proto::v1;

use crate::node::{Node, connect, hello};
use crate::plane::{Clients, GIB, founder, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_does_not_lead_passes_requests_on_and_sends_nodes_away() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let leader = founder(folders[0].path()).await;
    let clients = Clients::of(leader.address());
    clients.until("a leader", |status| status.leader == 1).await;
    let follower = start(2, folders[1].path(), Start::Join).await;
    let add = v1::AddVoterRequest { id: 2, address: follower.address().to_string() };
    let again = add.clone();
    let voters = clients.cluster().add_voter(add).await.unwrap().into_inner().voters;
    assert_eq!(voters.iter().map(|voter| (voter.id, voter.votes)).collect::<Vec<_>>(), [(1, true), (2, true)]);

    let repeated = clients.cluster().add_voter(again).await.unwrap().into_inner().voters;
    assert_eq!(repeated.len(), 2, "who asks again hears that it is done");

    let _node = Node::start("n1", 1, leader.address()).await;
    let others = Clients::of(follower.address());
    others.until("the node", |status| status.capacity_bytes > 0).await;
    let made = others.create("db", GIB).await.unwrap();
    others.finish(made.operation).await;
    let listed = others.volumes().list(v1::ListVolumesRequest::default()).await.unwrap().into_inner();
    assert_eq!(listed.volumes.len(), 1);
    let error = connect(hello("n2"), follower.address()).await.err().unwrap();
    let named = error.metadata().get("plinth-leader").map(|address| address.to_str().unwrap().to_owned());
    assert_eq!(named, Some(leader.address().to_string()), "{error}");
    follower.stop().await;
    leader.stop().await;
}
