//! Bytes on disk do not change by accident: FORMAT.md carries a checksum of every record definition.

use block::Checksum;

use crate::workspace::{SourceFile, rust_files};

const DOCUMENT: &str = "core/layout/FORMAT.md";
const SOURCES: &str = "core/layout/src";
const LABEL: &str = "layout hash: ";

#[test]
fn the_format_document_knows_these_records() {
    let document = SourceFile::read(DOCUMENT);
    let stated = document.text.lines().find_map(|line| line.trim_matches('`').strip_prefix(LABEL));
    let found = Checksum::of(definitions().as_bytes()).to_string();
    assert_eq!(
        stated.map(|hash| hash.trim_end_matches('`')),
        Some(found.as_str()),
        "the record definitions in {SOURCES} are not those that {DOCUMENT} describes. If bytes on disk changed: raise \
         FORMAT_VERSION, read the old version too, keep a fixture of it, and describe the change in the document. Then \
         (or if only names changed) let the document say \"{LABEL}{found}\""
    );
}

#[test]
fn definitions_are_found() {
    let definitions = definitions();
    assert!(definitions.contains("struct RawSuperblock{magic:U64,"), "{definitions}");
    assert!(definitions.contains("const FORMAT_VERSION:"), "{definitions}");
}

/// Every `repr` item and every constant of the layout crate, without comments and white space, in order of the files' names.
fn definitions() -> String {
    let mut files: Vec<_> = rust_files().into_iter().filter(|file| file.path.starts_with(SOURCES)).collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    files.iter().map(definitions_of).collect()
}

fn definitions_of(file: &SourceFile) -> String {
    let mut found = String::new();
    let mut in_item = false;
    for (_, line) in file.code_lines().take_while(|(_, line)| !line.starts_with("#[cfg(test)]")) {
        in_item = in_item || starts_item(line);
        if in_item {
            found.push_str(&squeezed(line));
            in_item = !ends_item(line);
        }
    }
    found
}

fn starts_item(line: &str) -> bool {
    ["#[repr(", "const ", "pub const "].iter().any(|start| line.starts_with(start)) && !line.contains(" fn ")
}

fn ends_item(line: &str) -> bool {
    line == "}" || (line.trim_end().ends_with(';') && !line.starts_with(' ')) || line == "];"
}

fn squeezed(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let joined = words.join(" ");
    let tight = |text: String, mark: &str| text.replace(&format!("{mark} "), mark).replace(&format!(" {mark}"), mark);
    ["{", "}", ":", ",", "=", ";", "(", ")", "[", "]"].into_iter().fold(joined, tight)
}
