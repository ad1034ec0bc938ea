//! The dashboard asks for figures that there are.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use serde_json::Value;
use tests::node::program;
use tests::tool::Running;
use tests::wait;

use crate::assert_none;
use crate::chart::root;

/// Every name of a figure in the dashboard's expressions.
fn asked_for() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("deploy/helm/plinth/dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| target["expr"].as_str().expect("an expression"));
    expressions.flat_map(names).collect()
}

fn names(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("plinth_")).map(str::to_owned).collect()
}

/// Every name under which a program tells something at `address`.
fn told(address: SocketAddr) -> Option<BTreeSet<String>> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names = types.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        "histogram" => format!("{name}_bucket"),
        _ => name.to_owned(),
    });
    Some(names.collect()).filter(|names: &BTreeSet<String>| !names.is_empty())
}

/// What a voter and a storage node tell.
fn figures() -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let [api, control, storage] = [0; 3].map(|_| {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        free.expect("loopback has ports")
    });
    let data = path("data").display().to_string();
    let pool = format!("{}:256MiB", path("pool").display());
    let start = |line: &str, more: [(&str, String); 3]| {
        let mut arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        arguments.extend(more.into_iter().flat_map(|(option, value)| [option.to_owned(), value]));
        Running::start(&program(), &arguments, &path("log"))
    };
    let voter = [("--data", data), ("--listen", api.to_string()), ("--http", control.to_string())];
    let node = [("--pool", pool), ("--control", api.to_string()), ("--http", storage.to_string())];
    let _voter = start("control --id 1 --bootstrap", voter);
    let _node = start("storage --id n1 --listen 127.0.0.1:0 --nbd 127.0.0.1:0", node);
    let mut figures = wait::until("the voter's figures", || told(control));
    figures.append(&mut wait::until("the node's figures", || told(storage)));
    figures
}

#[test]
fn the_dashboard_asks_for_figures_that_there_are() {
    let (asked, told) = (asked_for(), figures());
    assert!(asked.len() > 20, "{asked:?}");
    assert_none("nobody tells these", &asked.difference(&told).cloned().collect::<Vec<_>>());
    assert!(!told.contains("plinth_volume_operations"), "a counter's samples end in _total: {told:?}");
    assert_eq!(names("rate(plinth_none_total[5m]) / plinth_x{a=\"b\"}"), ["plinth_none_total", "plinth_x"]);
}
