//! Connections made to listeners that the test plays itself.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use block::PoolId;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::{FdFlags, fcntl_getfd};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

use super::{DIALS_MAX, Dialled};
use crate::outbound::Outbound;
use crate::relay::RelayCounters;
use crate::wake::Wake;

const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> (Outbound, Arc<Wake>) {
    let wake = Arc::new(Wake::new().expect("made"));
    (Outbound::start(1, Arc::new(RelayCounters::default()), Arc::clone(&wake)).expect("started"), wake)
}

/// Waits for the next answer as a data thread does: for its eventfd.
fn next(outbound: &mut Outbound, wake: &Wake) -> Dialled {
    let start = Instant::now();
    loop {
        if let Some(dialled) = outbound.dials.next() {
            return dialled;
        }
        assert!(start.elapsed() < PATIENCE, "no answer came");
        rustix::io::read(wake.fd(), &mut [0_u8; 8]).expect("called");
    }
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound").to_string();
    (listener, address)
}

/// Nobody takes connections there, and the kernel has no room for another one.
fn deaf() -> (OwnedFd, Vec<TcpStream>, String) {
    let door = socket(AddressFamily::INET, SocketType::STREAM, None).expect("made");
    bind(&door, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("bound");
    listen(&door, 0).expect("listening");
    let address = SocketAddr::try_from(rustix::net::getsockname(&door).expect("bound")).expect("an address");
    let full = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = std::iter::from_fn(full).collect();
    (door, waiting, address.to_string())
}

fn ends(mut stream: TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    stream.read(&mut [0]).unwrap_or(0) == 0
}

#[test]
fn a_connection_comes_as_the_ring_needs_it() {
    let (mut outbound, wake) = start();
    let (listener, address) = listener();
    let named = address.replace("127.0.0.1", "localhost");
    for (address, peer) in [(address, PoolId(7)), (named, PoolId(8))] {
        assert!(outbound.dials.order(peer, address));
        let (far, _) = listener.accept().expect("it comes");
        let Dialled { peer: found, socket } = next(&mut outbound, &wake);
        let socket = socket.expect("connected");
        assert_eq!(found, peer);
        assert!(!fcntl_getfl(&socket).expect("open").contains(OFlags::NONBLOCK));
        assert!(fcntl_getfd(&socket).expect("open").contains(FdFlags::CLOEXEC));
        assert!(sockopt::tcp_nodelay(socket.as_fd()).expect("open"));
        assert!(sockopt::socket_keepalive(socket.as_fd()).expect("open"));
        drop(socket);
        assert!(ends(far));
    }
}

#[test]
fn what_leads_nowhere_is_answered_as_failed() {
    let (mut outbound, wake) = start();
    let (closed, address) = listener();
    drop(closed);
    for address in [address, "nobody.invalid:1".to_owned(), "no address".to_owned()] {
        assert!(outbound.dials.order(PoolId(7), address.clone()));
        let Dialled { peer, socket } = next(&mut outbound, &wake);
        assert!(peer == PoolId(7) && socket.is_none(), "{address}");
    }
}

#[test]
fn there_are_as_many_as_there_may_be_and_each_is_answered_in_time() {
    let (mut outbound, wake) = start();
    let (_door, _waiting, address) = deaf();
    let start = Instant::now();
    let count = u128::try_from(DIALS_MAX).expect("small");
    for peer in 0..count {
        assert!(outbound.dials.order(PoolId(peer), address.clone()));
    }
    assert!(!outbound.dials.order(PoolId(count), address.clone()));
    let mut answered: Vec<u128> = (0..count).map(|_| next(&mut outbound, &wake)).map(|one| one.peer.0).collect();
    assert!(start.elapsed() >= super::CONNECT_MAX);
    answered.sort_unstable();
    assert_eq!(answered, (0..count).collect::<Vec<_>>());
    assert!(outbound.dials.order(PoolId(count), address), "there is room again");
}

#[test]
fn a_stop_answers_what_is_left_and_takes_no_more() {
    let (mut outbound, wake) = start();
    let (_door, _waiting, address) = deaf();
    let (listener, open) = listener();
    assert!(outbound.dials.order(PoolId(1), address));
    assert!(outbound.dials.order(PoolId(2), open.clone()));
    let (far, _) = listener.accept().expect("it comes");
    outbound.stop();
    let mut peers = [next(&mut outbound, &wake), next(&mut outbound, &wake)].map(|dialled| {
        assert!(dialled.socket.is_none());
        dialled.peer.0
    });
    peers.sort_unstable();
    assert_eq!(peers, [1, 2]);
    assert!(ends(far));
    assert!(!outbound.dials.order(PoolId(3), open));
}

#[test]
fn a_connection_that_nobody_takes_any_more_is_closed() {
    let (mut outbound, wake) = start();
    let (listener, address) = listener();
    assert!(outbound.dials.order(PoolId(1), address));
    let (far, _) = listener.accept().expect("it comes");
    rustix::io::read(wake.fd(), &mut [0_u8; 8]).expect("the answer is there");
    drop(outbound);
    assert!(ends(far));
}
