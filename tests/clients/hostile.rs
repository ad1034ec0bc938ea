//! Clients that talk garbage, stall or vanish cost nothing but their own connection.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tests::nbd::{Client, Kind, Request, bound, greet, receive_option, send_option};
use tests::node::{Home, Node};
use tests::random::{Random, seed};
use tests::wait;

const OPTION_EXPORT_NAME: u32 = 1;
const OPTION_LIST: u32 = 3;
const OPTION_GO: u32 = 7;
const ERROR_BIT: u32 = 1 << 31;

fn connect(node: &Node) -> UnixStream {
    let stream = UnixStream::connect(node.socket()).expect("the node listens");
    bound(&stream, Duration::from_secs(20));
    stream
}

/// A good client whose data must survive whatever happens beside it.
struct Bystander {
    client: Client,
    memory_before: u64,
}

impl Bystander {
    fn new(node: &Node) -> Self {
        let mut client = node.client();
        client.write(0, b"bystander", 0).expect("a write");
        Self { client, memory_before: node.resident_bytes() }
    }

    /// Still served, quickly, in a process that did not grow and closed the connections of the others.
    fn check(&mut self, node: &Node) {
        let begin = Instant::now();
        assert_eq!(self.client.read(0, 9).expect("a read"), b"bystander");
        assert!(begin.elapsed() < Duration::from_secs(5), "a read beside bad clients took {:?}", begin.elapsed());
        wait::until("the bad connections to be closed", || (node.descriptors() < 60).then_some(()));
        let grown = node.resident_bytes().saturating_sub(self.memory_before);
        assert!(grown < 256 << 20, "bad clients cost {grown} bytes");
        drop(node.client());
    }
}

#[test]
fn random_bytes_instead_of_a_handshake() {
    let seed = seed();
    println!("PLINTH_SEED={seed}");
    let mut random = Random::seeded(seed);
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    for attempt in 0..200 {
        let mut stream = connect(&node);
        let len = usize::try_from(random.below(5000)).expect("small");
        let noise = random.bytes(len);
        // The server may hang up before all is written.
        let _ = stream.write_all(&noise);
        if attempt % 2 == 0 {
            let _ = stream.shutdown(Shutdown::Write);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
    }
    bystander.check(&node);
}

#[test]
fn random_bytes_instead_of_requests() {
    let seed = seed();
    println!("PLINTH_SEED={seed}");
    let mut random = Random::seeded(seed);
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    for _ in 0..200 {
        let mut client = node.client();
        let noise = random.bytes(600);
        let _ = client.stream().write_all(&noise);
        let _ = client.stream().write_all(&[0; 600]);
        let mut rest = [0; 64];
        let closed = client.stream().read(&mut rest);
        assert!(matches!(closed, Ok(0) | Err(_)), "garbage is answered by hanging up: {rest:?}");
    }
    bystander.check(&node);
}

#[test]
fn options_that_lie_about_their_length() {
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    for option in [OPTION_EXPORT_NAME, OPTION_LIST, OPTION_GO, 6, 8, 9, 10, 12345] {
        for (stated, sent) in [(u32::MAX, 100), (1 << 20, 4096), (5000, 5000), (3, 3), (70_000, 70_000)] {
            let mut stream = connect(&node);
            greet(&mut stream).expect("a greeting");
            let mut bytes = b"IHAVEOPT".to_vec();
            bytes.extend_from_slice(&option.to_be_bytes());
            bytes.extend_from_slice(&u32::to_be_bytes(stated));
            bytes.extend_from_slice(&vec![0xff; sent]);
            let _ = stream.write_all(&bytes);
        }
    }
    bystander.check(&node);
}

#[test]
fn unknown_and_malformed_options_are_refused_and_the_handshake_goes_on() {
    let home = Home::default();
    let node = home.start();
    let mut stream = connect(&node);
    greet(&mut stream).expect("a greeting");
    for (option, payload) in [(4242, vec![]), (4242, vec![7; 100]), (OPTION_GO, vec![0, 0]), (OPTION_LIST, vec![1])] {
        send_option(&mut stream, option, &payload).expect("sent");
        let (kind, _) = receive_option(&mut stream).expect("an answer");
        assert!(kind & ERROR_BIT != 0, "option {option} with {payload:?} is answered with {kind}");
    }
    send_option(&mut stream, OPTION_LIST, &[]).expect("sent");
    let (kind, _) = receive_option(&mut stream).expect("an answer");
    assert_eq!(kind, 2, "the list follows");
}

#[test]
fn options_without_end_are_not_served_without_end() {
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    let mut stream = connect(&node);
    greet(&mut stream).expect("a greeting");
    let hung_up = (0..100_000).any(|_| {
        let asked = send_option(&mut stream, 4242, &[0; 32]);
        asked.and_then(|()| receive_option(&mut stream)).is_err()
    });
    assert!(hung_up, "100 000 options were answered");
    bystander.check(&node);
}

#[test]
fn clients_that_vanish_in_the_middle_of_a_write() {
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    for round in 0..60_u64 {
        let mut client = node.client();
        let len_bytes = [4096, 65536, 1 << 20, 32 << 20][usize::try_from(round % 4).expect("small")];
        let request = Request { kind: Kind::Write, flags: 0, cookie: round, offset: 1 << 20, len_bytes };
        let part = [0, 1, 4095, 40_000][usize::try_from(round / 4 % 4).expect("small")].min(len_bytes as usize - 1);
        client.send(request, &vec![9; part]).expect("sent");
    }
    bystander.check(&node);
    let data = bystander.client.read(1 << 20, 40 << 10).expect("a read");
    let whole = |block: &[u8]| block.iter().all(|byte| *byte == block[0]);
    assert!(data.chunks(4096).all(whole), "a block is written whole or not at all");
}

#[test]
fn clients_that_stall_in_the_middle_of_a_write_keep_nobody_waiting() {
    let home = Home::default();
    let mut node = home.start();
    let mut bystander = Bystander::new(&node);
    let mut stalled: Vec<Client> = (0..100).map(|_| node.client()).collect();
    for (number, client) in (0..).zip(&mut stalled) {
        let len_bytes = [4096, 1 << 20, 32 << 20][usize::try_from(number % 3).expect("small")];
        let request = Request { kind: Kind::Write, flags: 0, cookie: number, offset: 1 << 20, len_bytes };
        client.send(request, &[9; 3000]).expect("sent");
    }
    for step in 0..200_u64 {
        let begin = Instant::now();
        bystander.client.write(64 << 20 | step << 12, &[7; 65536], 0).expect("a write");
        assert!(begin.elapsed() < Duration::from_secs(5), "a write beside stalled ones took {:?}", begin.elapsed());
    }
    // A stop waits for admitted writes, but not for ever.
    assert_eq!(node.stop_within(Duration::from_secs(30)), 0, "{}", node.log());
}

#[test]
fn clients_that_never_read_their_replies() {
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    let mut greedy: Vec<Client> = (0..20).map(|_| node.client()).collect();
    for client in &mut greedy {
        bound(client.stream(), Duration::from_millis(200));
        for cookie in 0..10_000 {
            let request = Request { kind: Kind::Read, flags: 0, cookie, offset: 0, len_bytes: 1 << 20 };
            // The node stops taking requests at some point: then the send times out.
            if client.send(request, &[]).is_err() {
                break;
            }
        }
    }
    for step in 0..100 {
        bystander.client.write(1 << 20, &[step; 4096], 0).expect("a write");
    }
    let grown = node.resident_bytes().saturating_sub(bystander.memory_before);
    assert!(grown < 1 << 30, "20 clients that do not read cost {grown} bytes");
    drop(greedy);
    wait::until("the bad connections to be closed", || (node.descriptors() < 60).then_some(()));
    assert_eq!(bystander.client.read(0, 9).expect("a read"), b"bystander");
}

#[test]
fn stalled_handshakes_do_not_keep_others_out() {
    let home = Home::default();
    let node = home.start();
    let mut bystander = Bystander::new(&node);
    let stalled: Vec<UnixStream> = (0..100).map(|_| connect(&node)).collect();
    let half: Vec<UnixStream> = (0..100).map(|_| connect(&node)).collect();
    for mut stream in &half {
        stream.write_all(&[0, 0, 0]).expect("sent");
    }
    let mut client = node.client();
    client.write(8192, b"let in", 0).expect("a write");
    drop((stalled, half));
    bystander.check(&node);
}
