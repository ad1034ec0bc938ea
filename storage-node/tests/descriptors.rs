//! Descriptors of connections: closed once each, kept from programs that this one may start, and not paid for per request.
//! One test, because it counts what the whole process has.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use storage_node::{Address, Addresses, NULL_EXPORT, StorageNode};
use tokio::runtime::Runtime;

const PATIENCE: Duration = Duration::from_secs(20);
/// `O_CLOEXEC` as /proc shows it.
const CLOEXEC: u32 = 0o2_000_000;
const REQUESTS: u64 = 500;

fn descriptors() -> BTreeSet<String> {
    let names = fs::read_dir("/proc/self/fd").expect("linux");
    names.map(|entry| entry.expect("readable").file_name().into_string().expect("a number")).collect()
}

fn is_kept_from_children(descriptor: &str) -> bool {
    let Ok(facts) = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")) else { return true };
    let flags = facts.lines().find_map(|line| line.strip_prefix("flags:")).expect("every descriptor has flags");
    u32::from_str_radix(flags.trim(), 8).expect("octal") & CLOEXEC != 0
}

fn open(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    let mut hello = 3_u32.to_be_bytes().to_vec();
    hello.extend_from_slice(b"IHAVEOPT");
    hello.extend_from_slice(&1_u32.to_be_bytes());
    hello.extend_from_slice(&u32::try_from(NULL_EXPORT.len()).expect("short").to_be_bytes());
    hello.extend_from_slice(NULL_EXPORT.as_bytes());
    stream.write_all(&hello).expect("sent");
    stream.read_exact(&mut [0; 28]).expect("opened");
    stream
}

fn read_block(stream: &mut TcpStream) {
    let mut request = 0x2560_9513_u32.to_be_bytes().to_vec();
    request.extend_from_slice(&[0; 4 + 8 + 8]);
    request.extend_from_slice(&4096_u32.to_be_bytes());
    stream.write_all(&request).expect("sent");
    stream.read_exact(&mut [0; 16 + 4096]).expect("answered");
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Turns and system calls of the data thread for `REQUESTS` requests, one after the other.
fn enters(runtime: &Runtime, node: &StorageNode, stream: &mut TcpStream) -> u64 {
    let measure = || runtime.block_on(node.control().figures()).expect("it runs").turns.enters;
    let before = measure();
    (0..REQUESTS).for_each(|_| read_block(stream));
    measure() - before
}

#[test]
fn descriptors_of_connections_are_closed_once_and_cost_nothing_per_request() {
    let inherited = descriptors();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
    let addresses = Addresses { nbd: vec![Address::Tcp(([127, 0, 0, 1], 0).into())], http: None };
    let mut node = runtime.block_on(StorageNode::start_null(1 << 30, &addresses)).expect("started");
    runtime.block_on(node.control().listen()).expect("it runs");
    let Address::Tcp(address) = node.addresses().nbd[0] else { panic!("a port") };
    let idle = descriptors();

    let mut streams: Vec<_> = (0..100).map(|_| open(address)).collect();
    // The client's end and the server's.
    assert_eq!(descriptors().len(), idle.len() + 200);
    let ours: Vec<_> = descriptors().difference(&inherited).cloned().collect();
    let bare: Vec<_> = ours.iter().filter(|name| !is_kept_from_children(name)).collect();
    assert_eq!(bare, Vec::<&String>::new());
    // One for the request, one for the reply that went out, and a few for the questions themselves.
    let enters = enters(&runtime, &node, &mut streams[7]);
    assert!(enters <= 2 * REQUESTS + 20, "{enters} system calls for {REQUESTS} requests");

    streams.clear();
    wait_until("the server has hung up as well", || descriptors() == idle);
    for _ in 0..200 {
        drop(open(address));
    }
    wait_until("nothing is left", || descriptors() == idle);
    runtime.block_on(async {
        node.control().stop().await;
        tokio::time::timeout(PATIENCE, node.ended()).await.expect("in time").expect("in order");
    });
}
