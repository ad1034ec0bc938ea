//! Rules on single files: length, names, where `unsafe` is, nothing left behind.

use crate::workspace::{SourceFile, assert_none, files, members, rust_files};

const LINES_MAX: usize = 800;
const BANNED_MODULES: [&str; 12] = [
    "util",
    "utils",
    "utilities",
    "common",
    "helper",
    "helpers",
    "misc",
    "types",
    "manager",
    "info",
    "prelude",
    "stuff",
];
/// The only files with `unsafe`: the ring, the buffers the kernel is told of, and the reactor's tests, which lend
/// buffers of their own.
const UNSAFE_FILES: [&str; 3] =
    ["storage-node/src/ring.rs", "storage-node/src/buffers.rs", "storage-node/src/drill.rs"];
/// Marks of work left behind, spelled so that this file does not hold them.
const LEFTOVERS: [&str; 5] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("db", "g!("), concat!("todo", "!(")];
/// Places that exist on one machine only.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

#[test]
fn no_file_is_longer_than_a_reader_will_bear() {
    let long = |file: &SourceFile| {
        let lines = file.text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", file.path.display()))
    };
    let places: Vec<_> = rust_files().iter().filter_map(long).collect();
    assert_none("a Rust file has at most 800 lines: split it by role", &places);
}

#[test]
fn no_module_is_named_after_nothing() {
    let banned = |file: &SourceFile| {
        let parts = file.path.iter().filter_map(|part| part.to_str());
        let name = parts.map(|part| part.trim_end_matches(".rs")).find(|part| BANNED_MODULES.contains(part));
        name.map(|name| format!("{}: {name}", file.path.display()))
    };
    let mut places: Vec<_> = rust_files().iter().filter_map(banned).collect();
    places.extend(rust_files().iter().flat_map(banned_inline_modules));
    assert_none("a module's name says what is in it", &places);
}

fn banned_inline_modules(file: &SourceFile) -> Vec<String> {
    let module = |line: &str| {
        let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
        words.windows(2).any(|pair| pair[0] == "mod" && BANNED_MODULES.contains(&pair[1]))
    };
    let lines = file.code_lines().filter(|(_, line)| module(line));
    lines.map(|(number, line)| format!("{}:{number}: {}", file.path.display(), line.trim())).collect()
}

#[test]
fn unsafe_lives_in_the_reactor_only() {
    let mut places = Vec::new();
    for file in rust_files().iter().filter(|file| !UNSAFE_FILES.iter().any(|allowed| file.path.ends_with(allowed))) {
        for (number, line) in file.code_lines() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| word == concat!("un", "safe")) {
                places.push(format!("{}:{number}: {}", file.path.display(), line.trim()));
            }
        }
    }
    assert_none("only the reactor's ring and buffers hold such code", &places);
}

#[test]
fn nothing_is_left_behind() {
    let texts = files(&[".rs", ".md", ".toml", ".sh", ".py", ".yml", ".yaml", "Makefile", ".ci/run"]);
    assert_none("finish it, or write an issue", &places_of(&texts, &LEFTOVERS));
}

#[test]
fn no_text_names_a_path_of_one_machine() {
    let texts = files(&[".rs", ".md", ".toml", ".sh", ".py", ".yml", ".yaml", "Makefile", ".ci/run"]);
    assert_none("a reader has another machine", &places_of(&texts, &MACHINE_PATHS));
}

fn places_of(texts: &[SourceFile], needles: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for file in texts {
        for (index, line) in file.text.lines().enumerate() {
            if needles.iter().any(|needle| line.contains(needle)) {
                places.push(format!("{}:{}: {}", file.path.display(), index + 1, line.trim()));
            }
        }
    }
    places
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let missing = |manifest: &SourceFile| {
        let squeezed: String = manifest.text.split_whitespace().collect();
        (!squeezed.contains("[lints]workspace=true")).then(|| manifest.path.display().to_string())
    };
    let manifests = members().into_iter().map(|member| SourceFile::read(member.folder.join("Cargo.toml")));
    let places: Vec<_> = manifests.filter_map(|manifest| missing(&manifest)).collect();
    assert_none("[lints] workspace = true is missing", &places);
}
