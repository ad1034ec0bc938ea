//! Below core/ there is no I/O, no clock, no thread, no lock, no randomness. Clippy's gate (core/clippy.toml) refuses
//! names one by one; here whole modules of the standard library are refused, and the gate itself is proven to work.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::workspace::{SourceFile, assert_none, root, rust_files};

/// Prefixes of standard library paths that core may not name.
const REFUSED: [&str; 17] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::sync::atomic",
    "std::sync::mpsc",
    "std::sync::Mutex",
    "std::sync::RwLock",
    "std::sync::Condvar",
    "std::sync::LazyLock",
];

#[test]
fn core_names_nothing_impure() {
    let mut places = Vec::new();
    for file in rust_files().iter().filter(|file| is_core_source(&file.path)) {
        for path in std_paths(&code(file)) {
            if REFUSED.iter().any(|refused| path.starts_with(refused)) {
                places.push(format!("{}: {path}", file.path.display()));
            }
        }
    }
    assert_none("core is pure: facts arrive in events, orders leave as effects", &places);
}

#[test]
fn core_does_not_await() {
    let mut places = Vec::new();
    for file in rust_files().iter().filter(|file| is_core_source(&file.path)) {
        for (number, line) in file.code_lines().filter(|(_, line)| awaits(line)) {
            places.push(format!("{}:{number}: {}", file.path.display(), line.trim()));
        }
    }
    assert_none("core has no futures", &places);
}

fn awaits(line: &str) -> bool {
    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.any(|word| word == "async" || word == "await")
}

fn is_core_source(path: &Path) -> bool {
    path.starts_with("core") && path.iter().nth(2).is_some_and(|part| part == "src")
}

fn code(file: &SourceFile) -> String {
    file.code_lines().map(|(_, line)| line).collect::<Vec<_>>().join(" ")
}

/// Every path below `std::`, with the groups of `use` expanded.
fn std_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("std::") {
        expand("std", &code[at + 5..], &mut paths);
    }
    paths
}

/// Appends the paths of the use tree that `rest` begins with; answers what follows it.
fn expand<'a>(prefix: &str, rest: &'a str, paths: &mut Vec<String>) -> &'a str {
    let rest = rest.trim_start();
    if let Some(mut rest) = rest.strip_prefix('{') {
        loop {
            rest = expand(prefix, rest, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let path = format!("{prefix}::{}", &rest[..end]);
    match rest[end..].strip_prefix("::") {
        Some(below) => expand(&path, below, paths),
        None => {
            paths.push(path);
            &rest[end..]
        }
    }
}

#[test]
fn groups_of_use_are_expanded() {
    let paths = std_paths("use std::{fmt, sync::{Arc, Mutex}, fs}; let a = std::env::var(x);");
    assert_eq!(paths, ["std::fmt", "std::sync::Arc", "std::sync::Mutex", "std::fs", "std::env::var"]);
}

/// A workspace like ours, with our two clippy.toml and one crate below core/, each line of it a violation.
#[test]
fn clippy_enforces_the_gate_in_crates_below_it() {
    let planted = [
        ("a", "pub fn a() -> std::time::Instant { std::time::Instant::now() }", "std::time::Instant::now"),
        ("b", "pub fn b() -> Vec<u8> { std::fs::read(\"b\").unwrap_or_default() }", "std::fs::read"),
        ("c", "pub fn c() { std::thread::spawn(|| ()); }", "std::thread::spawn"),
        ("d", "pub static D: std::sync::Mutex<u8> = std::sync::Mutex::new(0);", "std::sync::Mutex"),
        ("e", "pub fn e() -> std::collections::HashMap<u8, u8> { [].into() }", "std::collections::HashMap"),
        ("f", "pub fn f() -> Option<std::net::TcpStream> { None }", "std::net::TcpStream"),
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source: String = planted.iter().map(|(_, line, _)| format!("{line}\n")).collect();
    let report = clippy_report(folder.path(), &source);
    for (name, _, path) in planted {
        assert!(report.contains(&format!("`{path}`")), "violation {name} ({path}) went unnoticed:\n{report}");
    }
}

fn clippy_report(folder: &Path, source: &str) -> String {
    let package = folder.join("core/planted");
    fs::create_dir_all(package.join("src")).expect("a folder");
    for gate in ["clippy.toml", "core/clippy.toml"] {
        fs::copy(root().join(gate), folder.join(gate)).expect("the gate is there");
    }
    let manifest = "[package]\nname = \"planted\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";
    fs::write(folder.join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"core/planted\"]\n")
        .expect("a file");
    fs::write(package.join("Cargo.toml"), manifest).expect("a file");
    fs::write(package.join("src/lib.rs"), source).expect("a file");
    let mut clippy = Command::new(env!("CARGO"));
    clippy.args(["clippy", "--offline", "--quiet", "--workspace"]).current_dir(folder);
    clippy.env("CARGO_TARGET_DIR", folder.join("target")).env_remove("CLIPPY_CONF_DIR");
    let output = clippy.output().expect("cargo clippy starts");
    String::from_utf8_lossy(&output.stderr).into_owned()
}
