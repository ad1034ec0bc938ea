//! Lists are whole, however many pages they take.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::fake::Fake;
use crate::run::{ok, plinth, run};

fn names(json: &str) -> Vec<String> {
    let volumes: Vec<Value> = serde_json::from_str(json).expect("JSON");
    volumes.iter().map(|volume| volume["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn all_pages_are_listed() {
    let fake = Fake::start().with_volumes((0..10).map(|index| format!("v{index}")));
    let expected: Vec<_> = (0..10).map(|index| format!("v{index}")).collect();
    for (page, calls) in [(3, 4), (5, 2), (10, 1), (100, 1)] {
        fake.state().page = page;
        fake.state().seen.clear();
        assert_eq!(names(&ok(&fake.control(), "volume list -o json")), expected, "pages of {page}");
        assert_eq!(fake.state().seen.len(), calls, "pages of {page}");
    }
}

#[test]
fn a_page_that_follows_itself_is_an_error() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    fake.state().page = 0;
    let ran = run(&fake.control(), "volume list");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
    assert!(ran.err.contains("a page follows itself"), "{ran:?}");
}

#[test]
fn an_empty_list_is_a_list() {
    let fake = Fake::start();
    assert_eq!(ok(&fake.control(), "volume list"), "NAME  SIZE  PHASE  NODE  ATTACHED TO\n");
    assert_eq!(ok(&fake.control(), "volume list -o json"), "[]\n");
    assert_eq!(ok(&fake.control(), "operation list -o yaml"), "[]\n");
}

#[test]
fn operations_that_ended_are_listed_when_asked_for() {
    let fake = Fake::start();
    ok(&fake.control(), "volume create db --size 1GiB");
    assert!(!ok(&fake.control(), "operation list").contains("db"));
    assert!(ok(&fake.control(), "operation list --all").contains("create  db"));
}

#[test]
fn a_watcher_sees_every_change_and_goes_on_when_the_stream_ends() {
    let fake = Fake::start();
    let mut child = plinth(&fake.control(), "cluster watch").stdout(Stdio::piped()).spawn().expect("it runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let lines: Vec<_> = lines.take(5).collect::<Result<_, _>>().expect("lines");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    let revisions: Vec<_> = lines.iter().map(|line| line.split_whitespace().nth(1).expect("a number")).collect();
    assert_eq!(revisions, ["7", "8", "7", "8", "7"]);
    assert!(lines[0].ends_with("WARNING node n2: It is not heard."), "{lines:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    let mut child = plinth(&fake.control(), "volume list").stdout(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
    assert_eq!(run(&fake.control(), "volume list").code, 0);
}
