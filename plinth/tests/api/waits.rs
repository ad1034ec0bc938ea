//! What takes time is waited for, unless nobody wants to or the time is over.

use std::process::Stdio;

use crate::fake::Fake;
use crate::run::{ok, run};

/// So many that nobody sees the end.
const FOR_EVER: u64 = u64::MAX;

#[test]
fn a_command_returns_when_its_operation_has_ended() {
    let fake = Fake::start();
    fake.state().waits = 1;
    let out = ok(&fake.control(), "volume create db --size 1GiB");
    assert_eq!(out, "volume db is there (1GiB)\n");
    assert_eq!(fake.state().operations[&1].ended_ms, Some(2));
}

#[test]
fn without_waiting_the_operation_is_told() {
    let fake = Fake::start();
    fake.state().waits = FOR_EVER;
    let out = ok(&fake.control(), "volume create db --size 1GiB --no-wait");
    assert_eq!(out, "volume db: operation 1 goes on\n");
    assert!(fake.state().seen.iter().all(|seen| seen.method != "wait"));
    let out = ok(&fake.control(), "volume delete db --no-wait");
    assert_eq!(out, "volume db is deleted; operation 2 frees its space\n");
}

#[test]
fn when_the_time_is_over_it_says_what_it_waits_for() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    fake.state().waits = FOR_EVER;
    let ran = run(&fake.control(), "volume resize db 2GiB --timeout 1");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    let words = "operation 1 (resize volume db) goes on after 1 s: node n1 is not heard";
    assert!(ran.err.contains(words) && ran.err.contains("plinth operation wait 1"), "{ran:?}");
}

#[test]
fn an_attach_that_takes_too_long_still_tells_the_token() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    fake.state().waits = FOR_EVER;
    let ran = run(&fake.control(), "volume attach db --client c --timeout 1");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("nbd://10.0.0.1:10809/db@"), "{ran:?}");
}

#[test]
fn an_operation_can_be_waited_for_later() {
    let fake = Fake::start();
    fake.state().waits = 2;
    ok(&fake.control(), "volume create db --size 1GiB --no-wait");
    let ran = run(&fake.control(), "operation wait 1 --timeout 1");
    assert_eq!(ran.code, 1, "{ran:?}");
    let out = ok(&fake.control(), "operation wait 1");
    assert!(out.contains("ended"), "{out}");
    assert_eq!(run(&fake.control(), "operation wait 9").code, 3);
}

#[test]
fn an_operation_that_was_forgotten_has_ended() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    fake.state().waits = FOR_EVER;
    let child =
        crate::run::plinth(&fake.control(), "volume resize db 2GiB").stdout(Stdio::null()).spawn().expect("it runs");
    let begin = std::time::Instant::now();
    while !fake.state().seen.iter().any(|seen| seen.method == "wait") {
        assert!(begin.elapsed() < std::time::Duration::from_secs(30), "it waits");
        std::thread::yield_now();
    }
    fake.state().operations.clear();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
}
