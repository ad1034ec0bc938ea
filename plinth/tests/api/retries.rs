//! A change happens once, whatever becomes of voters and connections; other voters are asked when one is no use.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::fake::{Fake, Fault};
use crate::run::{ok, run};

#[test]
fn a_change_is_asked_for_with_one_request_id_until_it_is_answered() {
    let fake = Fake::start();
    fake.state().faults.extend([Fault::Unavailable, Fault::Lost, Fault::Lost]);
    ok(&fake.control(), "volume create db --size 1GiB");
    let state = fake.state();
    let ids: Vec<_> =
        state.seen.iter().filter(|seen| seen.method == "create").map(|seen| seen.request_id.clone()).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 16), "{ids:?}");
    assert_eq!(state.operations.len(), 1, "it was made once");
}

#[test]
fn two_commands_are_two_changes() {
    let fake = Fake::start();
    ok(&fake.control(), "volume create one --size 1GiB");
    ok(&fake.control(), "volume create two --size 1GiB");
    assert_eq!(fake.state().done.len(), 2);
}

#[test]
fn every_change_of_a_volume_may_be_asked_for_again() {
    let lines = [
        "volume resize db 2GiB",
        "volume modify db --description x",
        "volume attach db --client c",
        "volume detach db --all",
        "volume delete db",
    ];
    for line in lines {
        let fake = Fake::start().with_volumes(["db".to_owned()]);
        fake.state().faults.extend([Fault::Lost]);
        ok(&fake.control(), line);
        assert_eq!(fake.state().done.len(), 1, "{line}");
    }
}

/// Hangs up on every client after that many bytes.
fn rude(bytes: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // Ends with the process.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            // A client that sends less has gone.
            let _ = stream.read_exact(&mut vec![0; bytes]);
        }
    });
    address
}

#[test]
fn a_voter_that_is_down_or_breaks_off_is_passed_over() {
    let fake = Fake::start();
    let down = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    // Before the first word, in the middle of the client's, and after a request that may have been heard.
    let control = format!("{down},{},{},{},{}", rude(0), rude(30), rude(200), fake.address);
    ok(&control, "volume create db --size 1GiB");
    assert_eq!(fake.state().done.len(), 1);
}

#[test]
fn a_voter_that_says_nothing_is_passed_over() {
    let fake = Fake::start();
    // It connects, and nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let control = format!("{},{}", silent.local_addr().expect("bound"), fake.address);
    let out = ok(&control, "status");
    assert!(out.contains("1 of 2 up"), "{out}");
}

#[test]
fn nobody_there_is_told_when_the_time_is_over() {
    let down = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let begin = Instant::now();
    let ran = run(&down.to_string(), "volume list --timeout 1");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    let refused = format!("did not answer within 1 s ({down}: Connection refused");
    assert!(ran.err.contains(&refused) && ran.err.contains("--control"), "{ran:?}");
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_cluster_without_a_leader_is_told_when_the_time_is_over() {
    let fake = Fake::start();
    fake.state().faults.extend([Fault::Unavailable; 1000]);
    let ran = run(&fake.control(), "volume list --timeout 1");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("there is no leader"), "{ran:?}");
}

#[test]
fn a_refusal_is_not_asked_for_again() {
    let fake = Fake::start();
    let ran = run(&fake.control(), "volume show db");
    assert_eq!((ran.code, ran.err.as_str()), (3, "plinth: there is no volume \"db\"\n"), "{ran:?}");
    assert_eq!(fake.state().seen.len(), 1);
}
