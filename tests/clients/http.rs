//! The node tells how it is over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use tests::node::{Home, Node};

/// Status line and body of a GET.
fn get(node: &Node, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(node.address("http")).expect("the node listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit above zero");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.lines().next().expect("a status line").to_owned(), body.to_owned())
}

#[test]
fn a_serving_node_is_healthy_and_other_paths_are_unknown() {
    let home = Home::default();
    let node = home.start();
    assert!(get(&node, "/healthz").0.contains(" 200 "));
    assert!(get(&node, "/nothing").0.contains(" 404 "));
}

#[test]
fn metrics_count_what_clients_do() {
    let home = Home::default();
    let node = home.start();
    let mut client = node.client();
    for step in 0..100 {
        client.write(step * 8192, &[1; 4096], 0).expect("a write");
    }
    client.flush().expect("a flush");
    let (status, metrics) = get(&node, "/metrics");
    assert!(status.contains(" 200 "), "{status}");
    let samples = metrics.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for sample in samples.clone() {
        let value = sample.rsplit(' ').next().expect("a value");
        assert!(value.parse::<f64>().is_ok(), "not a sample: {sample}");
    }
    let counted =
        samples.filter(|line| line.contains("vol1")).any(|line| line.ends_with(" 100") || line.ends_with(" 100.0"));
    assert!(counted, "no sample of the volume counts its 100 writes:\n{metrics}");
}
