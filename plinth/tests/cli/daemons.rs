//! A voter and a storage node as daemons, with config files.

use std::fs;
use std::path::Path;

use crate::process::{Serving, directory, run, until};

fn voter(directory: &Path) -> Serving {
    let config = "id = 1\ndata = 'voter'\nlisten = '127.0.0.1:0'\nbootstrap = true\n";
    fs::write(directory.join("control.toml"), config).expect("written");
    Serving::start(directory, &["control", "--config", "control.toml"], "\n")
}

fn node(directory: &Path, control: &str) -> Serving {
    let config = "listen = '127.0.0.1:0'\nnbd = ['127.0.0.1:0']\npool = 'pool:256MiB'\nlabel = ['zone=a']\n\
                  open_network = ['127.0.0.0/8']\nhttp = '127.0.0.1:0'\n";
    fs::write(directory.join("storage.toml"), config).expect("written");
    let args = ["storage", "--config", "storage.toml", "--id", "n1", "--control", control];
    Serving::start(directory, &args, "/metrics\n")
}

#[test]
fn a_voter_and_a_node_are_a_cluster() {
    let directory = directory();
    let voter = voter(directory.path());
    let control = voter.word_after("voter 1 is at ").to_owned();
    let node = node(directory.path(), &control);
    let ask = |line: &str| {
        let mut args: Vec<_> = line.split_whitespace().collect();
        args.extend(["--control", &control]);
        run(directory.path(), &args)
    };
    until("the node to be heard", || ask("status").1.contains("1 of 1 up").then_some(()));
    let (code, out, err) = until("the pool to be known", || {
        let ran = ask("volume create db --size 16MiB --zone a --open");
        (ran.0 == Some(0)).then_some(ran)
    });
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_ne!(ask("volume create other --size 16MiB --zone b").0, Some(0), "there is no such zone");
    node.stop();
    voter.stop();
}

#[test]
fn what_is_wrong_with_a_config_file_is_told_with_its_line() {
    let directory = directory();
    fs::write(directory.path().join("c.toml"), "id = 1\nlisen = 'x'\n").expect("written");
    for daemon in ["control", "storage"] {
        let (code, _, err) = run(directory.path(), &[daemon, "--config", "c.toml"]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.starts_with("plinth: c.toml, line "), "{err}");
    }
    let (code, _, err) = run(directory.path(), &["control", "--config", "nothing.toml"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("cannot read the config file nothing.toml"), "{err}");
}

#[test]
fn a_missing_option_is_misuse_and_makes_nothing() {
    let directory = directory();
    for (args, option) in [
        (&["control", "--id", "1", "--data", "d"][..], "--listen"),
        (&["storage", "--id", "n1", "--pool", "p"][..], "--nbd"),
    ] {
        let (code, _, err) = run(directory.path(), args);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains(&format!("{option} is missing")), "{err}");
    }
    assert_eq!(fs::read_dir(directory.path()).expect("read").count(), 0);
}

#[test]
fn an_address_that_is_taken_is_told_with_the_option() {
    let directory = directory();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = taken.local_addr().expect("bound").to_string();
    let lines = [
        (format!("control --id 1 --data d --listen {taken} --bootstrap"), "(--listen ADDR)"),
        ("control --id 1 --data d --listen 0.0.0.0:0 --bootstrap".to_owned(), "(--advertise HOST)"),
        (format!("dev --nbd 127.0.0.1:0 --http 127.0.0.1:0 --control {taken}"), "(--control ADDR)"),
    ];
    for (line, option) in lines {
        let (code, _, err) = run(directory.path(), &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(code, Some(1), "{line}: {err}");
        assert!(err.contains(option), "{line}: {err}");
    }
}
