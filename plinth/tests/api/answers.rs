//! What commands print and how they end.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::run::{ok, run};

#[test]
fn exit_codes_tell_what_went_wrong() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    ok(&fake.control(), "volume attach db --client host1");
    let rows = [
        ("volume show db", 0),
        ("status", 0),
        ("volume show nothing", 3),
        ("volume resize nothing 1GiB", 3),
        ("operation show 99", 3),
        ("volume create db --size 2GiB", 4),
        ("volume delete db", 4),
        ("cluster add-voter 2 c2:10700", 4),
        ("volume create odd --size 5000", 2),
        ("volume create odd --size big", 2),
        ("volume modify db --label a=1 --label a=2", 2),
        // The server has no such service.
        ("node list", 1),
    ];
    for (line, code) in rows {
        let ran = run(&fake.control(), line);
        assert_eq!(ran.code, code, "{line}: {ran:?}");
        if code != 0 {
            assert!(!ran.err.is_empty() && ran.out.is_empty(), "{line}: {ran:?}");
        }
    }
}

#[test]
fn the_token_is_told_to_the_client_and_sent_once() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    let out = ok(&fake.control(), "volume attach db --client host1 -o json");
    let told: Value = serde_json::from_str(&out).expect("JSON");
    let sent: String = fake.state().token.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sent.len(), 32);
    assert_eq!(told["uris"], json!([format!("nbd://10.0.0.1:10809/db@{sent}")]));
    assert_eq!((&told["mode"], &told["client"]), (&json!("read_write"), &json!("host1")));
    let again = ok(&fake.control(), "volume attach db --client host1 -o json");
    assert!(!again.contains(&sent), "every attachment has its own token");
}

#[test]
fn the_token_is_in_no_log() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    let ran = run(&fake.control(), "volume attach db --client host1 -vvv");
    let sent: String = fake.state().token.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(ran.out.contains(&sent));
    assert!(!ran.err.contains(&sent), "{ran:?}");
}

#[test]
fn the_only_client_need_not_be_named() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    assert_eq!(run(&fake.control(), "volume detach db").code, 0, "nobody is there");
    ok(&fake.control(), "volume attach db --client r1 --read-only");
    ok(&fake.control(), "volume attach db --client r2 --read-only");
    let ran = run(&fake.control(), "volume detach db");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.err.contains("attached to r1, r2"), "{ran:?}");
    ok(&fake.control(), "volume detach db --client r1");
    ok(&fake.control(), "volume detach db");
    assert!(fake.state().volumes["db"].attachments.is_empty());
}

#[test]
fn every_volume_of_a_delete_is_tried() {
    let fake = Fake::start().with_volumes(["one".to_owned(), "two".to_owned()]);
    let ran = run(&fake.control(), "volume delete one nothing two");
    assert_eq!((ran.code, ran.out.as_str()), (3, "volume one is deleted\nvolume two is deleted\n"), "{ran:?}");
    assert!(ran.err.contains("there is no volume \"nothing\""), "{ran:?}");
}

#[test]
fn options_reach_the_cluster() {
    let fake = Fake::start();
    let line = "volume create db --size 1GiB --zone a --label team=web --pool-tag ssd --description orders --open";
    ok(&fake.control(), line);
    let spec = fake.state().volumes["db"].spec.clone().expect("a spec");
    assert_eq!((spec.open, spec.description.as_str()), (true, "orders"));
    assert_eq!((spec.labels["team"].as_str(), spec.node_selector["zone"].as_str()), ("web", "a"));
    ok(&fake.control(), "volume modify db --no-labels --open no");
    let spec = fake.state().volumes["db"].spec.clone().expect("a spec");
    assert!(spec.labels.is_empty() && !spec.open && spec.description == "orders", "{spec:?}");
}

#[test]
fn json_and_yaml_tell_the_same() {
    let fake = Fake::start().with_volumes(["db".to_owned()]);
    for line in ["volume list", "volume show db", "status", "cluster voters", "cluster set --full-percent 80"] {
        let json: Value = serde_json::from_str(&ok(&fake.control(), &format!("{line} -o json"))).expect("JSON");
        let yaml: Value = yaml_serde::from_str(&ok(&fake.control(), &format!("{line} -o yaml"))).expect("YAML");
        assert_eq!(json, yaml, "{line}");
    }
}

#[test]
fn explanations_are_sentences() {
    let fake = Fake::start();
    assert_eq!(ok(&fake.control(), "explain volume db"), "This is volume db.\nIt waits.\n");
    assert_eq!(ok(&fake.control(), "explain cluster"), "This is cluster .\nIt waits.\n");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ok("127.0.0.1:1", &format!("completions {shell}"));
        assert!(script.contains("add-voter") && script.contains("overcommit-percent"), "{shell}");
    }
}
