//! Ten thousand volumes.

use std::time::{Duration, Instant};

use proto::v1;

use crate::node::Node;
use crate::plane::{Clients, GIB, again, founder};

const VOLUMES: u64 = 10_000;
/// Clients that create at once.
const CLIENTS: u64 = 4;
/// How long a create may take at the API, for the median of all.
const CREATE_MAX: Duration = Duration::from_millis(20);
/// How long a voter may take from its start to its first answer.
const RESTART_MAX: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_volumes_are_made_listed_and_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let plane = founder(folder.path()).await;
    let clients = Clients::of(plane.address());
    let node = Node::start("n1", 1, plane.address()).await;
    clients.until("the node", |status| status.capacity_bytes > 0).await;

    let begin = Instant::now();
    let workers = (0..CLIENTS).map(|worker| {
        let clients = clients.clone();
        tokio::spawn(async move {
            let mut took = Vec::new();
            for number in (worker..VOLUMES).step_by(usize::try_from(CLIENTS).unwrap()) {
                let begin = Instant::now();
                clients.create(&format!("v{number:05}"), GIB).await.unwrap();
                took.push(begin.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        took.extend(worker.await.unwrap());
    }
    took.sort_unstable();
    let at = |part: usize| took[took.len() * part / 100];
    println!(
        "{VOLUMES} creates by {CLIENTS} clients in {:.1?}: p50 {:.1?}, p99 {:.1?}",
        begin.elapsed(),
        at(50),
        at(99)
    );
    assert!(at(50) < CREATE_MAX, "{:?}", at(50));
    clients.until("all to be ready", |status| status.volumes_ready == VOLUMES).await;

    let begin = Instant::now();
    let mut listed = 0;
    let mut page = v1::ListVolumesRequest { page_size: 1000, ..Default::default() };
    loop {
        let reply = clients.volumes().list(page.clone()).await.unwrap().into_inner();
        listed += reply.volumes.len() as u64;
        page.page_token = reply.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    println!("listed in pages of 1000 in {:.1?}", begin.elapsed());
    assert_eq!(listed, VOLUMES);

    drop((node, clients));
    plane.stop().await;
    let (begin, plane) = again(folder.path()).await;
    let status = Clients::of(plane.address()).until("the voter", |status| status.volumes > 0).await;
    println!("a voter was back with everything {:.1?} after its start", begin.elapsed());
    assert_eq!(status.volumes, VOLUMES);
    assert!(begin.elapsed() < RESTART_MAX);
    plane.stop().await;
}
