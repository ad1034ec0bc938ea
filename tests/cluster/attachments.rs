//! Who may use a volume, proved with bytes.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tests::cluster::{A_WHILE, Cluster, Shell, parts};
use tests::nbd::{Client, Kind, Request};
use tests::wait;

const BLOCK: usize = 4096;

fn connect(uri: &str) -> Client<TcpStream> {
    let (address, export) = parts(uri);
    Client::open(TcpStream::connect(address).unwrap(), export).unwrap_or_else(|refused| panic!("{uri}: {refused:?}"))
}

fn image(uri: &str, blocks: u64) -> Vec<u8> {
    let mut client = connect(uri);
    (0..blocks).flat_map(|block| client.read(block * BLOCK as u64, 4096).unwrap()).collect()
}

/// Writes all over the volume without waiting for more than a few replies, until it is shut out or told to end.
fn write_on(mut client: Client<TcpStream>, blocks: u64, end: &AtomicBool, written: &AtomicU64) {
    for number in 1_u64.. {
        let request = Request {
            kind: Kind::Write,
            flags: 0,
            cookie: number,
            offset: number % blocks * BLOCK as u64,
            len_bytes: 4096,
        };
        let payload: Vec<u8> = number.to_le_bytes().repeat(BLOCK / 8);
        if end.load(Ordering::Acquire) || client.send(request, &payload).is_err() {
            return;
        }
        if number > 16 {
            match client.receive() {
                Ok(reply) if reply.error == 0 => written.fetch_add(1, Ordering::AcqRel),
                Ok(_) => 0,
                Err(_) => return,
            };
        }
    }
}

/// Detaches a client that writes, and proves that nothing of it is applied afterwards.
fn fence(shell: &Shell, uri: &str, fresh: &str) {
    let blocks = 256;
    let (end, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let writer = connect(uri);
    thread::scope(|scope| {
        let zombie = scope.spawn(|| write_on(writer, blocks, &end, &written));
        wait::until("the client to write", || (written.load(Ordering::Acquire) > 500).then_some(()));
        shell.run(&["volume", "detach", "db", "--all"]);
        let next = shell.attach("db", fresh).remove(0);
        let before = image(&next, blocks);
        let count = written.load(Ordering::Acquire);
        thread::sleep(A_WHILE);
        assert!(image(&next, blocks) == before, "a client that was shut out changed the volume");
        println!("{count} writes before the detach, {} acknowledged after it", written.load(Ordering::Acquire) - count);
        end.store(true, Ordering::Release);
        zombie.join().unwrap();
        assert!(!shell.is_let_in(uri), "its token has ended");
    });
}

#[test]
fn a_client_that_is_shut_out_while_it_writes_changes_nothing_more() {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "16MiB"]);
    for round in 0..5 {
        // A force detach of whoever has it, then a new one; directly and through a node that relays.
        shell.run(&["volume", "detach", "db", "--all"]);
        let uris = shell.attach("db", &format!("zombie{round}"));
        fence(&shell, &uris[usize::from(round % 2 == 1)], &format!("fresh{round}"));
    }
}

#[test]
fn a_second_writer_is_refused_with_the_holder_and_readers_share() {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "db", "--size", "16MiB"]);
    let _uris = shell.attach("db", "host1");
    let refused = shell.plinth(&["volume", "attach", "db", "--client", "host2"]);
    let words = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(4), "{words}");
    assert!(words.contains("host1") && words.contains("detach"), "{words}");
    shell.run(&["volume", "detach", "db", "--client", "host1"]);
    for reader in ["host1", "host2"] {
        let attached = shell.json(&["volume", "attach", "db", "--client", reader, "--read-only"]);
        let mut client = connect(attached["uris"][0].as_str().unwrap());
        assert!(client.read(0, 4096).is_ok());
        assert_eq!(client.write(0, &[1; BLOCK], 0), Err(1), "EPERM");
    }
}

#[test]
fn an_open_volume_is_anybodys_until_somebody_attaches_it() {
    let cluster = Cluster::on_loopback();
    let shell = cluster.shell();
    shell.run(&["volume", "create", "shut", "--size", "16MiB"]);
    shell.run(&["volume", "create", "db", "--size", "16MiB", "--open"]);
    let nodes = shell.json(&["node", "list"]);
    for node in nodes.as_array().unwrap() {
        let address = node["nbd_addresses"][0].as_str().unwrap();
        assert!(shell.is_let_in(&format!("nbd://{address}/db")), "at {address}");
        assert!(!shell.is_let_in(&format!("nbd://{address}/shut")), "at {address}");
    }
    let address = nodes[0]["nbd_addresses"][0].as_str().unwrap();
    let mut anybody = connect(&format!("nbd://{address}/db"));
    anybody.write(0, &[1; BLOCK], 0).unwrap();
    let uris = shell.attach("db", "host1");
    let request = Request { kind: Kind::Write, flags: 0, cookie: 1, offset: 0, len_bytes: 4096 };
    let _sent_or_not = anybody.send(request, &[9; BLOCK]);
    assert!(anybody.receive().is_err(), "it was dropped");
    assert!(!shell.is_let_in(&format!("nbd://{address}/db")));
    assert_eq!(connect(&uris[0]).read(0, 4096).unwrap(), [1; BLOCK]);
}
