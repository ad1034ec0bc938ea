//! `plinth dev` and looking at its pool.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rustix::process::Signal;

use crate::process::{Serving, directory, run};

/// `plinth dev` on ports the kernel chooses and a pool of 256 MiB.
fn start(directory: &Path, args: &[&str]) -> Serving {
    let common =
        ["dev", "--nbd", "127.0.0.1:0", "--http", "127.0.0.1:0", "--control", "127.0.0.1:0", "--pool", "pool:256MiB"];
    Serving::start(directory, &[&common, args].concat(), "stay.\n")
}

fn get(dev: &Serving, path: &str) -> String {
    let mut stream = TcpStream::connect(dev.word_after("Metrics http://")).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn help_and_version_are_told_on_standard_output() {
    let directory = directory();
    let (code, out, _) = run(directory.path(), &["--version"]);
    assert_eq!((code, out.as_str()), (Some(0), concat!("plinth ", env!("CARGO_PKG_VERSION"), "\n")));
    let (code, out, _) = run(directory.path(), &["dev", "--help"]);
    assert_eq!(code, Some(0));
    for option in ["--data", "--volume", "--pool", "--nbd", "--unix", "--http", "--wait", "Examples:"] {
        assert!(out.contains(option), "{option}: {out}");
    }
}

#[test]
fn misuse_is_told_with_an_example_and_exits_with_2() {
    let directory = directory();
    let rows: [(&[&str], &str); 7] = [
        (&["frobnicate"], "unrecognized subcommand"),
        (&["dev", "--volume", "vol1"], "a volume is NAME:SIZE, such as vol1:10GiB"),
        (&["dev", "--volume", "vol1:big"], "\"big\" is no size"),
        (&["dev", "--volume", "a:1GiB", "--volume", "a:2GiB"], "names \"a\" twice"),
        (&["dev", "--pool", "pool:0"], "must be more than 0"),
        (&["dev", "--nbd", "nowhere"], "write HOST:PORT"),
        (&["pool", "inspect"], "<PATH>"),
    ];
    for (args, words) in rows {
        let (code, _, err) = run(directory.path(), args);
        assert_eq!(code, Some(2), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).expect("read").count(), 0, "nothing was made");
}

#[test]
fn what_cannot_be_done_is_told_in_a_sentence_and_exits_with_1() {
    let directory = directory();
    let mut letter = std::fs::File::create(directory.path().join("letter")).expect("made");
    letter.write_all(b"Dear pool,").expect("written");
    letter.set_len(1 << 30).expect("set");
    std::fs::create_dir(directory.path().join("there")).expect("made");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let taken = taken.local_addr().expect("bound").to_string();
    let rows: [(&[&str], &str); 6] = [
        (&["--pool", "small:1MiB"], "too small for a pool; give it at least"),
        (&["--pool", "no/such/directory/pool"], "its directory does not exist"),
        (&["--pool", "there"], "this is a directory"),
        (&["--pool", "letter"], "not a Plinth pool (it begins with \"Dear poo\")"),
        (&["--data", "/dev/null/x"], "choose another one with --data"),
        (&["--http", &taken], "choose another address"),
    ];
    for (args, words) in rows {
        let (code, out, err) =
            run(directory.path(), &[&["dev", "--nbd", "127.0.0.1:0", "--control", "127.0.0.1:0"], args].concat());
        assert_eq!((code, out.as_str()), (Some(1), ""), "{args:?}: {err}");
        assert!(err.starts_with("plinth: ") && err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn a_first_start_makes_a_volume_and_says_how_to_reach_it() {
    let directory = directory();
    let dev = start(directory.path(), &[]);
    for words in ["serves 1 volume from pool", "  demo    1GiB  nbd://127.0.0.1:", "/demo", "nbdinfo nbd://"] {
        assert!(dev.summary.contains(words), "{words}: {}", dev.summary);
    }
    let socket = directory.path().canonicalize().expect("there").join("data/nbd.sock");
    assert!(dev.summary.contains(&format!("nbd+unix:///demo?socket={}\n", socket.display())), "{}", dev.summary);
    assert!(get(&dev, "/healthz").ends_with("\r\n\r\nok\n"));
    let metrics = get(&dev, "/metrics");
    for line in ["plinth_volume_size_bytes{volume=\"demo\"} 1073741824", "plinth_pool_poisoned 0", "# EOF"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    dev.stop();
}

#[test]
fn volumes_survive_a_restart_grow_and_never_shrink() {
    let directory = directory();
    start(directory.path(), &["--volume", "one:64MiB", "--volume", "two:64MiB"]).stop();
    let dev = start(directory.path(), &[]);
    assert!(dev.summary.contains("serves 2 volumes"), "{}", dev.summary);
    dev.signal(Signal::KILL);
    dev.wait();
    let dev = start(directory.path(), &["--volume", "one:64MiB", "--volume", "two:128MiB"]);
    assert!(dev.summary.contains("two     128MiB"), "{}", dev.summary);
    dev.stop();
    let shrink = [
        "dev",
        "--nbd",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
        "--control",
        "127.0.0.1:0",
        "--pool",
        "pool",
        "--volume",
        "two:1MiB",
    ];
    let (code, _, err) = run(directory.path(), &shrink);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("volume \"two\" has 128MiB, and --volume asks for 1MiB: a volume does not shrink"), "{err}");
}

#[test]
fn a_pool_is_not_served_twice() {
    let directory = directory();
    let dev = start(directory.path(), &[]);
    let again = ["dev", "--nbd", "127.0.0.1:0", "--unix", "other.sock", "--http", "127.0.0.1:0", "--pool", "pool"];
    let (code, _, err) = run(directory.path(), &[&again[..], &["--wait", "0"]].concat());
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains(&format!("process {} (plinth) holds its lock", dev.id())), "{err}");
    dev.stop();
}

#[test]
fn an_interrupt_is_a_clean_stop() {
    let directory = directory();
    let dev = start(directory.path(), &[]);
    dev.signal(Signal::INT);
    assert_eq!(dev.wait().code(), Some(0));
    assert!(!directory.path().join("data/nbd.sock").exists());
}

#[test]
fn a_pool_can_be_looked_at_when_nobody_serves_it() {
    let directory = directory();
    let dev = start(directory.path(), &["--volume", "one:64MiB"]);
    let (code, _, err) = run(directory.path(), &["pool", "inspect", "pool"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("(plinth) holds its lock"), "{err}");
    dev.stop();

    let (code, out, err) = run(directory.path(), &["pool", "inspect", "pool"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.lines().any(|line| line.split_whitespace().eq(["closed", "in", "order"])), "{out}");
    assert!(out.lines().any(|line| line.contains("volume  one   64MiB")), "{out}");
    let (code, out, err) = run(directory.path(), &["pool", "inspect", "pool", "-o", "json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found["versions"][0]["name"], "one");
    assert_eq!(found["versions"][0]["size_bytes"], 64 << 20);

    let (code, out, err) = run(directory.path(), &["pool", "check", "pool"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("pool: sound"), "{out}");
    damage(&directory.path().join("pool"));
    let (code, out, err) = run(directory.path(), &["pool", "check", "pool"]);
    assert_eq!((code, err.as_str()), (Some(1), ""));
    assert!(out.contains("superblock 1 at 0x0: damaged"), "{out}");
    let (code, out, _) = run(directory.path(), &["pool", "check", "pool", "--output", "json"]);
    assert_eq!(code, Some(1));
    let found: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(found["sound"], false);

    for (path, words) in [("nothing", "cannot open it"), ("data", "this is a directory")] {
        let (code, _, err) = run(directory.path(), &["pool", "check", path]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains(words), "{err}");
    }
}

/// Overwrites part of the first superblock.
fn damage(pool: &Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(pool).expect("opened");
    file.write_all(&[0xff; 100]).expect("written");
}
