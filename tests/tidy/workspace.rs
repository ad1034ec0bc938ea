//! The work tree as the rules see it: its files, their text, and what cargo knows of the crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_path_buf()
}

/// A file of the work tree.
pub struct SourceFile {
    /// Path from the root.
    pub path: PathBuf,
    /// What it says.
    pub text: String,
}

impl SourceFile {
    /// Reads a file by its path from the root.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let text = std::fs::read_to_string(root().join(&path))
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        Self { path, text }
    }

    /// The lines with `//` comments cut off, numbered from 1.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().map(without_comment).enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Every text file with one of these endings that git tracks or would track.
pub fn files(endings: &[&str]) -> Vec<SourceFile> {
    let listed = output(Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]));
    let wanted = |path: &&str| endings.iter().any(|ending| path.ends_with(ending));
    let present = |path: &&str| root().join(path).is_file();
    listed.split_terminator('\0').filter(wanted).filter(present).map(SourceFile::read).collect()
}

/// Every Rust file.
pub fn rust_files() -> Vec<SourceFile> {
    files(&[".rs"])
}

/// A member of the workspace.
pub struct Member {
    /// Its name.
    pub name: String,
    /// Path of its folder from the root.
    pub folder: PathBuf,
    /// Names of its normal and build dependencies in the workspace.
    pub workspace: Vec<String>,
    /// Names of its normal and build dependencies from elsewhere.
    pub external: Vec<String>,
}

/// The members of the workspace as `cargo metadata` tells them.
pub fn members() -> Vec<Member> {
    let text = output(Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--no-deps", "--offline"]));
    let metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let manifest = Path::new(package["manifest_path"].as_str().expect("a path"));
    let folder = manifest.parent().expect("a manifest lies in a folder");
    let used = package["dependencies"].as_array().expect("dependencies").iter().filter(|one| one["kind"] != "dev");
    let (workspace, external): (Vec<&Value>, Vec<&Value>) = used.partition(|one| one["source"].is_null());
    Member {
        name: package["name"].as_str().expect("a name").to_owned(),
        folder: folder.strip_prefix(root()).expect("members lie below the root").to_path_buf(),
        workspace: names(&workspace),
        external: names(&external),
    }
}

fn names(dependencies: &[&Value]) -> Vec<String> {
    let mut names: Vec<String> =
        dependencies.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

fn output(command: &mut Command) -> String {
    let output = command.current_dir(root()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("names are UTF-8")
}

/// The line up to its `//` comment; `//` behind a colon belongs to an address.
fn without_comment(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Fails with every broken place, if there is one.
pub fn assert_none(rule: &str, places: &[String]) {
    assert!(places.is_empty(), "{rule}:\n  {}", places.join("\n  "));
}
